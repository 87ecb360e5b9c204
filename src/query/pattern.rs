//! LIKE patterns.
//!
//! Two dialects: WQL's wildcards (`%`, `_`, `[a-z]`, `[^a-z]`), and the regular expressions of
//! DSP0202 and DSP0212: `.`, `*`, `+`, `?`, `{n,m}`, `|`, `( )`, `[ ]`, `[^ ]`, `^`, `$`, and the
//! `[ ]^` that DSP1001 writes for `[^ ]`. A pattern matches the whole string or does not match.
//!
//! A pattern becomes a small program whose states are followed all at once, one character of the
//! string at a time: the time to match is the product of both lengths, whatever the pattern.

use super::{
    Dialect,
    error::PatternError,
    limits::{PatternRoom, Work},
};

/// A compiled LIKE pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    text: String,
    program: Vec<Step>,
}

/// Patterns are equal if they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Debug)]
enum Step {
    One(Matcher),
    /// Goes on at both places.
    Fork(usize, usize),
    Jump(usize),
    AtStart,
    AtEnd,
    Accept,
}

#[derive(Clone, Debug)]
enum Matcher {
    Any,
    Char(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Matcher {
    /// How many steps it costs: a set is kept, and looked through, range by range.
    fn weight(&self) -> usize {
        match self {
            Self::Any | Self::Char(_) => 1,
            Self::Set { ranges, .. } => ranges.len(),
        }
    }

    fn admits(&self, c: char) -> bool {
        match self {
            Self::Any => true,
            Self::Char(own) => *own == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

impl Pattern {
    /// Compiles a pattern into steps that are taken from `room`.
    pub(super) fn compile(
        dialect: Dialect,
        text: &str,
        room: &mut PatternRoom,
    ) -> Result<Self, PatternError> {
        let mut reader = Reader::new(text, room);
        let node = match dialect {
            Dialect::Wql => reader.wildcards()?,
            Dialect::Cql | Dialect::Fql => reader.expression()?,
        };
        let mut program = Program { steps: Vec::new(), weight: 0, room };
        emit(&node, &mut program)?;
        program.push(Step::Accept)?;
        let Program { mut steps, weight, .. } = program;
        room.steps_left -= weight;
        steps.shrink_to_fit();
        Ok(Self { text: text.to_owned(), program: steps })
    }

    /// The pattern as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole text. What that costs is taken from `work`; if that does not
    /// suffice, the answer says nothing.
    pub(super) fn matches(&self, text: &str, work: &Work) -> bool {
        if !work.spend(self.program.len()) {
            return false;
        }
        let mut current = States::new(self.program.len());
        let mut next = States::new(self.program.len());
        let mut chars = text.chars().peekable();
        self.follow(&mut current, 0, true, chars.peek().is_none());
        while let Some(c) = chars.next() {
            let at_end = chars.peek().is_none();
            let mut cost = current.list.len();
            next.clear();
            for &state in &current.list {
                let Step::One(matcher) = &self.program[state] else { continue };
                cost += matcher.weight();
                if matcher.admits(c) {
                    self.follow(&mut next, state + 1, false, at_end);
                }
            }
            if next.list.is_empty() || !work.spend(cost) {
                return false;
            }
            std::mem::swap(&mut current, &mut next);
        }
        current.list.iter().any(|&state| matches!(self.program[state], Step::Accept))
    }

    /// Adds `state` and all it leads to without a character.
    fn follow(&self, states: &mut States, state: usize, at_start: bool, at_end: bool) {
        let mut pending = vec![state];
        while let Some(state) = pending.pop() {
            if !states.add(state) {
                continue;
            }
            match &self.program[state] {
                Step::Fork(one, other) => pending.extend([*one, *other]),
                Step::Jump(target) => pending.push(*target),
                Step::AtStart if at_start => pending.push(state + 1),
                Step::AtEnd if at_end => pending.push(state + 1),
                Step::AtStart | Step::AtEnd | Step::One(_) | Step::Accept => {}
            }
        }
    }
}

/// A set of states in the order they were reached.
struct States {
    list: Vec<usize>,
    member: Vec<bool>,
}

impl States {
    fn new(size: usize) -> Self {
        Self { list: Vec::with_capacity(size), member: vec![false; size] }
    }

    fn add(&mut self, state: usize) -> bool {
        let new = !std::mem::replace(&mut self.member[state], true);
        if new {
            self.list.push(state);
        }
        new
    }

    fn clear(&mut self) {
        for state in self.list.drain(..) {
            self.member[state] = false;
        }
    }
}

enum Node {
    Empty,
    One(Matcher),
    AtStart,
    AtEnd,
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    /// `max` is `None` for "without end".
    Repeat {
        node: Box<Node>,
        min: usize,
        max: Option<usize>,
    },
}

/// A program in the making.
struct Program<'a> {
    steps: Vec<Step>,
    /// What the steps cost.
    weight: usize,
    /// What they may cost, for the other patterns of the query have taken the rest.
    room: &'a PatternRoom,
}

impl Program<'_> {
    fn len(&self) -> usize {
        self.steps.len()
    }

    fn push(&mut self, step: Step) -> Result<(), PatternError> {
        self.weight += match &step {
            Step::One(matcher) => matcher.weight(),
            Step::Fork(..) | Step::Jump(_) | Step::AtStart | Step::AtEnd | Step::Accept => 1,
        };
        if self.weight > self.room.steps_alone {
            return Err(PatternError::TooLarge);
        }
        if self.weight > self.room.steps_left {
            return Err(PatternError::TooLargeTogether);
        }
        self.steps.push(step);
        Ok(())
    }
}

fn emit(node: &Node, program: &mut Program<'_>) -> Result<(), PatternError> {
    let before = program.len();
    emit_node(node, program)?;
    if program.len() == before {
        // Whatever costs time here costs a step, or `(((){9}){9})…` would cost time without end.
        program.push(Step::Jump(before + 1))?;
    }
    Ok(())
}

fn emit_node(node: &Node, program: &mut Program<'_>) -> Result<(), PatternError> {
    match node {
        Node::Empty => Ok(()),
        Node::One(matcher) => program.push(Step::One(matcher.clone())),
        Node::AtStart => program.push(Step::AtStart),
        Node::AtEnd => program.push(Step::AtEnd),
        Node::Sequence(nodes) => nodes.iter().try_for_each(|node| emit(node, program)),
        Node::Choice(nodes) => emit_choice(nodes, program),
        Node::Repeat { node, min, max } => emit_repeat(node, *min, *max, program),
    }
}

fn emit_choice(nodes: &[Node], program: &mut Program<'_>) -> Result<(), PatternError> {
    let mut jumps = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        if index + 1 == nodes.len() {
            emit(node, program)?;
            break;
        }
        let fork = program.len();
        program.push(Step::Fork(fork + 1, 0))?;
        emit(node, program)?;
        jumps.push(program.len());
        program.push(Step::Jump(0))?;
        program.steps[fork] = Step::Fork(fork + 1, program.len());
    }
    let end = program.len();
    for jump in jumps {
        program.steps[jump] = Step::Jump(end);
    }
    Ok(())
}

fn emit_repeat(
    node: &Node,
    min: usize,
    max: Option<usize>,
    program: &mut Program<'_>,
) -> Result<(), PatternError> {
    for _ in 0..min {
        emit(node, program)?;
    }
    let Some(max) = max else {
        let fork = program.len();
        program.push(Step::Fork(0, 0))?;
        emit(node, program)?;
        program.push(Step::Jump(fork))?;
        program.steps[fork] = Step::Fork(fork + 1, program.len());
        return Ok(());
    };
    let mut forks = Vec::new();
    for _ in min..max {
        forks.push(program.len());
        program.push(Step::Fork(0, 0))?;
        emit(node, program)?;
    }
    let end = program.len();
    for fork in forks {
        program.steps[fork] = Step::Fork(fork + 1, end);
    }
    Ok(())
}

struct Reader<'a> {
    chars: Vec<char>,
    next: usize,
    /// How many groups are open.
    groups: usize,
    room: &'a PatternRoom,
}

impl<'a> Reader<'a> {
    fn new(text: &str, room: &'a PatternRoom) -> Self {
        Self { chars: text.chars().collect(), next: 0, groups: 0, room }
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.next).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.next += 1;
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn wildcards(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        while let Some(c) = self.bump() {
            nodes.push(match c {
                '%' => Node::Repeat { node: Box::new(Node::One(Matcher::Any)), min: 0, max: None },
                '_' => Node::One(Matcher::Any),
                '[' => Node::One(self.wildcard_set()?),
                _ => Node::One(Matcher::Char(c)),
            });
        }
        Ok(Node::Sequence(nodes))
    }

    /// Within `[ ]` of WQL nothing is escaped; `]` may stand first.
    fn wildcard_set(&mut self) -> Result<Matcher, PatternError> {
        let negated = self.take('^');
        let mut ranges = Vec::new();
        loop {
            let c = self.bump().ok_or(PatternError::UnclosedSet)?;
            if c == ']' && !ranges.is_empty() {
                return Ok(Matcher::Set { negated, ranges });
            }
            ranges.push(self.range_from(c, Reader::bump)?);
        }
    }

    /// `c`, or a range that begins with it, whose other end `end` reads.
    fn range_from(
        &mut self,
        c: char,
        end: impl Fn(&mut Self) -> Option<char>,
    ) -> Result<(char, char), PatternError> {
        let range = self.peek() == Some('-')
            && self.chars.get(self.next + 1).is_some_and(|&after| after != ']');
        if !range {
            return Ok((c, c));
        }
        self.next += 1;
        let high = end(self).ok_or(PatternError::UnclosedSet)?;
        if high < c {
            return Err(PatternError::BackwardRange);
        }
        Ok((c, high))
    }

    fn expression(&mut self) -> Result<Node, PatternError> {
        let node = self.choice()?;
        match self.peek() {
            None => Ok(node),
            Some(_) => Err(PatternError::UnopenedGroup),
        }
    }

    fn choice(&mut self) -> Result<Node, PatternError> {
        let mut nodes = vec![self.sequence()?];
        while self.take('|') {
            nodes.push(self.sequence()?);
        }
        Ok(Node::Choice(nodes))
    }

    fn sequence(&mut self) -> Result<Node, PatternError> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let node = self.atom()?;
            nodes.push(self.repeated(node)?);
        }
        Ok(if nodes.is_empty() { Node::Empty } else { Node::Sequence(nodes) })
    }

    fn atom(&mut self) -> Result<Node, PatternError> {
        let Some(c) = self.bump() else { return Ok(Node::Empty) };
        Ok(match c {
            '.' => Node::One(Matcher::Any),
            '^' => Node::AtStart,
            '$' => Node::AtEnd,
            '[' => Node::One(self.set()?),
            '(' => self.group()?,
            '\\' => Node::One(Matcher::Char(self.bump().ok_or(PatternError::DanglingEscape)?)),
            '*' | '+' | '?' => return Err(PatternError::NothingToRepeat(c)),
            _ => Node::One(Matcher::Char(c)),
        })
    }

    fn group(&mut self) -> Result<Node, PatternError> {
        if self.groups == self.room.depth {
            return Err(PatternError::TooLarge);
        }
        self.groups += 1;
        let node = self.choice()?;
        self.groups -= 1;
        if self.take(')') { Ok(node) } else { Err(PatternError::UnclosedGroup) }
    }

    fn set(&mut self) -> Result<Matcher, PatternError> {
        let leading = self.take('^');
        let mut ranges = Vec::new();
        while !self.take(']') {
            let c = self.set_character().ok_or(PatternError::UnclosedSet)?;
            ranges.push(self.range_from(c, Reader::set_character)?);
        }
        if ranges.is_empty() {
            return Err(PatternError::EmptySet);
        }
        let trailing = self.take('^');
        Ok(Matcher::Set { negated: leading || trailing, ranges })
    }

    fn set_character(&mut self) -> Option<char> {
        match self.bump()? {
            '\\' => self.bump(),
            c => Some(c),
        }
    }

    fn repeated(&mut self, node: Node) -> Result<Node, PatternError> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts()? {
                Some(counts) => counts,
                None => return Ok(node),
            },
            _ => return Ok(node),
        };
        // `counts` stops at the brace, so one character is left in each case.
        self.next += 1;
        if matches!(self.peek(), Some('*' | '+' | '?')) {
            return Err(PatternError::NothingToRepeat(self.chars[self.next]));
        }
        if matches!(node, Node::AtStart | Node::AtEnd) {
            return Err(PatternError::NothingToRepeat(self.chars[self.next - 1]));
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    /// `{n}`, `{n,}` or `{n,m}`, up to its closing brace; anything else after `{` makes it an
    /// ordinary character.
    fn counts(&mut self) -> Result<Option<(usize, Option<usize>)>, PatternError> {
        let start = self.next;
        self.next += 1;
        let counts = self.number().and_then(|min| {
            if self.peek() == Some('}') {
                return Some((min, Some(min)));
            }
            if !self.take(',') {
                return None;
            }
            let max = self.number();
            (self.peek() == Some('}')).then_some((min, max))
        });
        match counts {
            None => {
                self.next = start;
                Ok(None)
            }
            Some((min, Some(max))) if max < min => Err(PatternError::BackwardCount),
            Some((min, max)) if min.max(max.unwrap_or(0)) > self.room.steps_alone => {
                Err(PatternError::TooLarge)
            }
            Some(counts) => Ok(Some(counts)),
        }
    }

    fn number(&mut self) -> Option<usize> {
        let start = self.next;
        let mut number = 0usize;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            number = number.saturating_mul(10).saturating_add(digit as usize);
            self.next += 1;
        }
        (self.next > start).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
        let refused =
            |dialect, pattern: &str| compile(dialect, pattern).map(drop).expect_err(pattern);
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
    fn slow(
        node: &Node,
        text: &[char],
        total: usize,
        rest: &mut dyn FnMut(&[char]) -> bool,
    ) -> bool {
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
                    && repeat(
                        node,
                        min.saturating_sub(1),
                        max.map(|max| max - 1),
                        after,
                        total,
                        rest,
                    )
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
}
