//! What patterns match, what they may cost, and what is no pattern.

use proptest::prelude::*;

use super::{reader::Node, *};
use crate::query::Limits;

fn compile(dialect: Dialect, pattern: &str) -> Result<Pattern, PatternError> {
    Pattern::compile(dialect, pattern, &mut PatternRoom::new(&Limits::default()))
}

fn matches(pattern: &Pattern, text: &str) -> bool {
    let work = Work::new(Limits::default().work);
    let matches = pattern.matches(text, &work);
    assert!(!work.is_exhausted());
    matches
}

#[track_caller]
fn check(dialect: Dialect, pattern: &str, yes: &[&str], no: &[&str]) {
    let compiled = compile(dialect, pattern).expect("a pattern");
    for text in yes {
        assert!(matches(&compiled, text), "{pattern:?} should match {text:?}");
    }
    for text in no {
        assert!(!matches(&compiled, text), "{pattern:?} should not match {text:?}");
    }
}

#[test]
fn wildcards_of_wql() {
    let check = |pattern, yes: &[&str], no: &[&str]| check(Dialect::Wql, pattern, yes, no);
    check("", &[""], &["a"]);
    check("%", &["", "a", "äöü"], &[]);
    check("a%c", &["ac", "abbc", "acc"], &["a", "acb", "bac"]);
    check("_b", &["ab", "éb"], &["b", "aab"]);
    check("[a-cx]1", &["a1", "c1", "x1"], &["d1", "-1"]);
    check("[^a-c]", &["d", "]"], &["a", ""]);
    check("[]%]", &["]", "%"], &["a"]);
    check("100[%]", &["100%"], &["100a"]);
    check("a.b*", &["a.b*"], &["axb"]);
    check("[a-]", &["a", "-"], &["b"]);
}

#[test]
fn regular_expressions_match_the_whole_string() {
    let check = |pattern, yes: &[&str], no: &[&str]| check(Dialect::Cql, pattern, yes, no);
    check("", &[""], &["a"]);
    check("abc", &["abc"], &["ab", "abcd", "xabc", "ABC"]);
    check("ab.", &["ab?", "abé", "ab\u{1F600}"], &["ab"]);
    check(r"\.ab", &[".ab"], &["xab", r"\.ab"]);
    check(".*est", &["Test", "est"], &["Tes"]);
    check("ab*cd", &["abbbbcd", "acd"], &["abxcd"]);
    check(r".\*", &["**", "a*"], &["***", "a"]);
    check("a+b?", &["a", "aab"], &["b", "abb"]);
    check("r[au]t", &["rat", "rut"], &["ret"]);
    check("r[au]^t", &["ret", "r.t"], &["rat"]);
    check("r[^au]t", &["ret"], &["rat"]);
    check("[A-Z0-9_]*", &["", "A_9"], &["a"]);
    check(r"[\]\-]", &["]", "-"], &["\\"]);
    check("[EF]{1,2}", &["E", "FE"], &["", "EFE"]);
    check("1[.]{2,}n", &["1..n", "1.....n"], &["1.n"]);
    check("a{2}", &["aa"], &["a", "aaa"]);
    check("a{x}", &["a{x}"], &["a"]);
    check("(DEF)?|GHI", &["", "DEF", "GHI"], &["DEFGHI"]);
    check("(ab|c)+d", &["abcd", "ccd"], &["d", "acd"]);
    check("^a$", &["a"], &["ba"]);
    check("a|^b$|", &["a", "b", ""], &["ab"]);
    check("a^b", &[], &["ab", "a^b"]);
    check("(a*)*b", &["b", "aab"], &["aa"]);
    check("()", &[""], &["a"]);
}

#[test]
fn what_is_no_pattern_is_refused() {
    let refused = |dialect, pattern: &str| compile(dialect, pattern).map(drop).expect_err(pattern);
    for (pattern, expected) in [
        ("*a", PatternError::NothingToRepeat('*')),
        ("a|+", PatternError::NothingToRepeat('+')),
        ("a**", PatternError::NothingToRepeat('*')),
        ("^*", PatternError::NothingToRepeat('*')),
        ("[a", PatternError::UnclosedSet),
        ("[a-", PatternError::UnclosedSet),
        ("[]", PatternError::EmptySet),
        ("[z-a]", PatternError::BackwardRange),
        ("(a", PatternError::UnclosedGroup),
        ("a)b", PatternError::UnopenedGroup),
        ("a\\", PatternError::DanglingEscape),
        ("a{3,2}", PatternError::BackwardCount),
        ("a{9999999999999999999999}", PatternError::TooLarge),
        ("((a{40}){40}){40}", PatternError::TooLarge),
        ("((((a{0}){2000}){2000}){2000}){2000}", PatternError::TooLarge),
        ("(((){2000}){2000}){2000}", PatternError::TooLarge),
    ] {
        assert_eq!(refused(Dialect::Cql, pattern), expected, "{pattern}");
    }
    assert_eq!(refused(Dialect::Fql, &"(".repeat(100_000)), PatternError::TooLarge);
    assert_eq!(refused(Dialect::Cql, &"a".repeat(5000)), PatternError::TooLarge);
    assert_eq!(refused(Dialect::Wql, "a[b"), PatternError::UnclosedSet);
    assert_eq!(refused(Dialect::Wql, "[b-a]"), PatternError::BackwardRange);
}

#[test]
fn the_patterns_that_kill_backtrackers_are_quick() {
    let bomb = "(a*)*".repeat(50) + "b";
    let bomb = compile(Dialect::Cql, &bomb).expect("a pattern");
    assert!(!matches(&bomb, &"a".repeat(2000)));
}

#[test]
fn patterns_share_their_steps() {
    let mut room = PatternRoom { steps_left: 10, ..PatternRoom::new(&Limits::default()) };
    // Three characters, and the end.
    Pattern::compile(Dialect::Cql, "a{3}", &mut room).expect("4 of 10");
    assert_eq!(room.steps_left, 6);
    // A set costs what it lists, as often as it is there.
    let refused = Pattern::compile(Dialect::Cql, "[a-cxy]{2}", &mut room).expect_err("7 of 6");
    assert_eq!((refused, room.steps_left), (PatternError::TooLargeTogether, 6));
    Pattern::compile(Dialect::Wql, "[a-cxy]b_", &mut room).expect("6 of 6");
    assert_eq!(room.steps_left, 0);
    let large = format!("[{}]{{100}}", "x".repeat(100));
    assert_eq!(compile(Dialect::Cql, &large).expect_err("10000"), PatternError::TooLarge);
}

#[test]
fn no_text_costs_more_than_there_is() {
    let pattern = compile(Dialect::Cql, "(a*){600}x").expect("a pattern");
    let work = Work::new(Limits::default().work);
    assert!(!pattern.matches(&"a".repeat(1_000_000), &work));
    assert!(work.is_exhausted());
    assert!(!pattern.matches("x", &work), "exhausted for good");
}

/// Matches by trying everything, character by character.
fn slow(node: &Node, text: &[char], total: usize, rest: &mut dyn FnMut(&[char]) -> bool) -> bool {
    match node {
        Node::Empty => rest(text),
        Node::One(matcher) => {
            text.split_first().is_some_and(|(c, after)| matcher.admits(*c) && rest(after))
        }
        Node::AtStart => text.len() == total && rest(text),
        Node::AtEnd => text.is_empty() && rest(text),
        Node::Sequence(nodes) => match nodes.split_first() {
            None => rest(text),
            Some((first, others)) => {
                slow(first, text, total, &mut |after| others_match(others, after, total, rest))
            }
        },
        Node::Choice(nodes) => nodes.iter().any(|node| slow(node, text, total, rest)),
        Node::Repeat { node, min, max } => repeat(node, *min, *max, text, total, rest),
    }
}

fn others_match(
    nodes: &[Node],
    text: &[char],
    total: usize,
    rest: &mut dyn FnMut(&[char]) -> bool,
) -> bool {
    match nodes.split_first() {
        None => rest(text),
        Some((first, others)) => {
            slow(first, text, total, &mut |after| others_match(others, after, total, rest))
        }
    }
}

fn repeat(
    node: &Node,
    min: usize,
    max: Option<usize>,
    text: &[char],
    total: usize,
    rest: &mut dyn FnMut(&[char]) -> bool,
) -> bool {
    if min == 0 && rest(text) {
        return true;
    }
    max != Some(0)
        && slow(node, text, total, &mut |after| {
            // A round that consumes nothing leads nowhere new once none is owed.
            (min > 0 || after.len() < text.len())
                && repeat(node, min.saturating_sub(1), max.map(|max| max - 1), after, total, rest)
        })
}

proptest! {
    #[test]
    fn agrees_with_a_slow_matcher(
        pattern in r"([ab.]|\[ab\]|\[\^a\]|\(a?b\)|\(a\|b\)|[ab]\*|\.\+|b\?|a\{1,2\}|\|){0,6}",
        text in "[abc]{0,6}",
    ) {
        let room = PatternRoom::new(&Limits::default());
        let mut reader = Reader::new(&pattern, &room);
        let node = reader.expression().expect("the generator writes patterns");
        let chars: Vec<char> = text.chars().collect();
        let expected = slow(&node, &chars, chars.len(), &mut |rest| rest.is_empty());
        let compiled = compile(Dialect::Cql, &pattern).expect("as above");
        prop_assert_eq!(matches(&compiled, &text), expected);
    }

    #[test]
    fn no_text_panics(pattern in ".{0,40}", text in ".{0,40}") {
        for dialect in [Dialect::Wql, Dialect::Cql] {
            if let Ok(compiled) = compile(dialect, &pattern) {
                matches(&compiled, &text);
            }
        }
    }
}
