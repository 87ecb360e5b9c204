//! The house keeps its shape: no room uses a room it may not, and no library leaks out of its room.
//!
//! The scanner reads `src/**/*.rs` as tokens (comments and literals are skipped), follows `crate::`,
//! `super::` and `use` groups to the room they name, and compares with the tables below. Test code
//! (`tests.rs` and everything under a `mod tests`) is exempt: it may build its fixtures from any room.

use std::{collections::BTreeSet, fmt, fs, path::Path};

/// The rooms from the ground up, each with those it may use (`docs/ARCHITECTURE.md`).
const ROOMS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("telemetry", &["sys"]),
    // What CIM is: no host, no task, no file.
    ("cim", &[]),
    ("xml", &["cim"]),
    ("mof", &["cim"]),
    ("query", &["cim"]),
    ("repository", &["cim", "mof"]),
    // What a host is: no CIM.
    ("store", &["sys", "telemetry"]),
    ("hypervisor", &["sys", "telemetry"]),
    ("checks", &["sys", "telemetry", "hypervisor"]),
    ("migration", &["sys", "telemetry", "store", "hypervisor", "checks"]),
    // What speaks CIM over the network and routes it.
    ("client", &["sys", "telemetry", "cim", "xml", "mof"]),
    (
        "indications",
        &["sys", "telemetry", "cim", "xml", "mof", "query", "repository", "store", "client"],
    ),
    ("ops", &["sys", "telemetry", "cim", "xml", "mof", "query", "repository", "indications"]),
    // The one place where both meet.
    (
        "providers",
        &[
            "sys",
            "telemetry",
            "cim",
            "xml",
            "mof",
            "query",
            "repository",
            "store",
            "hypervisor",
            "checks",
            "migration",
            "indications",
            "ops",
        ],
    ),
    ("http", &["sys", "telemetry", "cim", "xml", "ops"]),
    // Fills the option structs of every room; builds nothing.
    (
        "config",
        &[
            "sys",
            "telemetry",
            "cim",
            "xml",
            "repository",
            "store",
            "hypervisor",
            "checks",
            "migration",
            "indications",
            "ops",
            "providers",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "sys",
            "telemetry",
            "cim",
            "repository",
            "hypervisor",
            "checks",
            "migration",
            "client",
            "http",
            "config",
        ],
    ),
    (
        "daemon",
        &[
            "sys",
            "telemetry",
            "cim",
            "xml",
            "mof",
            "repository",
            "store",
            "hypervisor",
            "checks",
            "migration",
            "indications",
            "ops",
            "providers",
            "http",
            "config",
        ],
    ),
    ("main", &["sys", "telemetry", "checks", "cli", "config", "daemon"]),
    // No room of the program: what the targets in `fuzz/` call.
    ("fuzzing", &["cim", "xml", "mof", "query", "repository", "ops"]),
];

/// Paths that only some rooms may name. `std::fs` is open to `repository`: it reads schema directories.
const FENCED: &[(&str, Fence)] = &[
    ("tokio", Fence::Not(&["cim", "xml", "mof", "query", "repository"])),
    ("std::fs", Fence::Not(&["cim", "xml", "mof", "query"])),
    ("std::net", Fence::Not(&["cim", "xml", "mof", "query", "repository"])),
    ("std::process", Fence::Not(&["cim", "xml", "mof", "query", "repository"])),
    ("std::thread", Fence::Not(&["cim", "xml", "mof", "query", "repository"])),
    ("virt", Fence::Only(&["hypervisor"])),
    ("virt_sys", Fence::Only(&["hypervisor"])),
    ("rusqlite", Fence::Only(&["store"])),
    ("hyper", Fence::Only(&["http", "client", "indications"])),
    ("argon2", Fence::Only(&["http"])),
    ("toml", Fence::Only(&["config"])),
    ("clap", Fence::Only(&["cli", "main"])),
    ("anyhow", Fence::Only(&["cli", "daemon", "main"])),
];

enum Fence {
    Only(&'static [&'static str]),
    Not(&'static [&'static str]),
}

impl Fence {
    fn admits(&self, room: &str) -> bool {
        match self {
            Self::Only(rooms) => rooms.contains(&room),
            Self::Not(rooms) => !rooms.contains(&room),
        }
    }
}

#[test]
fn every_room_uses_only_rooms_it_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut Vec::new(), &mut files);
    assert!(files.len() > 15, "the scan found only {} files", files.len());
    let mut breaches = Vec::new();
    for (module, text, name) in &files {
        breaches.extend(check(module, text).into_iter().map(|breach| format!("{name}: {breach}")));
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_table_is_acyclic_and_names_every_room_of_the_crate() {
    for (index, (room, uses)) in ROOMS.iter().enumerate() {
        for used in *uses {
            let below = ROOMS[..index].iter().any(|(name, _)| name == used);
            assert!(below, "{room} may use {used}, which is not below it");
        }
    }
    let library = include_str!("../../src/lib.rs");
    for line in library.lines() {
        if let Some(room) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) {
            assert!(may_use(room).is_some(), "src/lib.rs has the room {room}, the table has not");
        }
    }
}

#[test]
fn a_forbidden_room_is_found_however_it_is_written() {
    let cim = &["cim", "value"];
    finds(cim, "use crate::xml::Style;", &["uses room xml (line 1)"]);
    finds(cim, "\nuse crate::{xml, cim::Value};", &["uses room xml (line 2)"]);
    finds(
        cim,
        "use crate::{cim::{Value, CimName}, ops::{self, Role}};",
        &["uses room ops (line 1)"],
    );
    finds(cim, "fn f(s: crate::store::Store) {}", &["uses room store (line 1)"]);
    finds(cim, "use super::super::checks::Finding;", &["uses room checks (line 1)"]);
    finds(cim, "mod inner { use super::super::super::http; }", &["uses room http (line 1)"]);
    finds(&["cim"], "use super::xml;", &["uses room xml (line 1)"]);
    finds(cim, "use crate::*;", &["uses every room through a glob (line 1)"]);
    finds(&["checks", "gate"], "use crate::cim;", &["uses room cim (line 1)"]);
    finds(&["main"], "fn main() { virtcimd::store::run() }", &["uses room store (line 1)"]);
}

#[test]
fn a_fenced_path_is_found_however_it_is_written() {
    let mof = &["mof", "parser"];
    finds(mof, "use std::{fmt, fs};", &["names std::fs (line 1)"]);
    finds(mof, "use std::fs::File;", &["names std::fs (line 1)"]);
    finds(mof, "fn f() { ::std::fs::read(p) }", &["names std::fs (line 1)"]);
    finds(mof, "use std::{fmt,\n process::{Command, Stdio}};", &["names std::process (line 2)"]);
    finds(mof, "async fn f() { tokio::task::yield_now().await }", &["names tokio (line 1)"]);
    finds(&["store"], "use tokio as t;", &[]);
    finds(mof, "use tokio as t;", &["names tokio (line 1)"]);
    finds(&["ops"], "fn f(d: virt::domain::Domain) {}", &["names virt (line 1)"]);
    finds(&["repository"], "use std::fs;", &[]);
}

#[test]
fn what_is_allowed_or_is_no_code_is_not_found() {
    let xml = &["xml", "decode"];
    finds(xml, "use crate::cim::{self, Value};\nuse super::reader::Reader;", &[]);
    finds(xml, "/// See `crate::http`.\n// use crate::ops;\n/* crate::store /* nested */ */", &[]);
    finds(xml, r##"const A: &str = "crate::http"; const B: &str = r#"use crate::"ops";"#;"##, &[]);
    finds(xml, "const C: char = '\"'; use crate::cim::Value; const D: char = '\"';", &[]);
    finds(xml, "fn f<'a>(x: &'a str) -> crate::cim::Value { todo(x) }", &[]);
    finds(xml, "#[cfg(test)]\nmod tests { use crate::ops; fn f() { if x { } } }", &[]);
    finds(xml, "mod tests { fn f() {} } use crate::ops;", &["uses room ops (line 1)"]);
    finds(&["xml", "tests"], "use crate::http;", &[]);
    finds(&["providers", "migration"], "use super::checks::Thing; use crate::ops::Role;", &[]);
    finds(xml, "fn f(v: Vec<u8>) { v.tokio::<u8>(); self.virt(); }", &[]);
}

#[track_caller]
fn finds(module: &[&str], text: &str, expected: &[&str]) {
    let module: Vec<String> = module.iter().map(ToString::to_string).collect();
    let found: Vec<String> = check(&module, text).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "in {module:?}: {text}");
}

/// Reads every source file below `directory` with the module path it has.
fn collect(
    directory: &Path,
    module: &mut Vec<String>,
    files: &mut Vec<(Vec<String>, String, String)>,
) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("a source file").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            // src/bin holds programs, which stand where main.rs stands.
            module.push(if module.is_empty() && stem == "bin" { "main".into() } else { stem });
            collect(&path, module, files);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && stem != "lib" {
            let mut own = module.clone();
            if stem != "mod" {
                own.push(stem);
            }
            let text = fs::read_to_string(&path).expect("UTF-8 source");
            files.push((own, text, path.display().to_string()));
        }
    }
}

fn may_use(room: &str) -> Option<&'static [&'static str]> {
    ROOMS.iter().find(|(name, _)| *name == room).map(|(_, uses)| *uses)
}

/// A path that a file names and may not.
struct Breach {
    what: String,
    line: usize,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {})", self.what, self.line)
    }
}

/// The breaches of one file, whose module is `module` (`["xml", "decode"]`).
fn check(module: &[String], text: &str) -> Vec<Breach> {
    let room = module[0].as_str();
    if module.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let uses = may_use(room).unwrap_or_else(|| panic!("the table has no room {room}"));
    let mut seen = BTreeSet::new();
    let mut breaches = Vec::new();
    for (path, line) in Scanner::new(module, text).paths() {
        let what = match path.as_slice() {
            [root, name, ..] if root == "crate" && name == "*" => {
                "uses every room through a glob".to_string()
            }
            [root, other, ..] if root == "crate" => {
                if other == room || uses.contains(&other.as_str()) || may_use(other).is_none() {
                    continue;
                }
                format!("uses room {other}")
            }
            external => {
                let fenced = FENCED.iter().find(|(fenced, fence)| {
                    let parts: Vec<&str> = fenced.split("::").collect();
                    external.len() >= parts.len()
                        && parts.iter().zip(external).all(|(part, own)| part == own)
                        && !fence.admits(room)
                });
                let Some((fenced, _)) = fenced else { continue };
                format!("names {fenced}")
            }
        };
        if seen.insert(what.clone()) {
            breaches.push(Breach { what, line });
        }
    }
    breaches
}

/// An identifier or a punctuation character, with its line.
#[derive(Clone, PartialEq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

struct Scanner<'a> {
    module: &'a [String],
    tokens: Vec<(Token, usize)>,
}

impl<'a> Scanner<'a> {
    fn new(module: &'a [String], text: &str) -> Self {
        Self { module, tokens: tokenise(text) }
    }

    /// Every path with at least two segments, or in a `use`, made absolute: those into this crate
    /// begin with `crate`.
    fn paths(&self) -> Vec<(Vec<String>, usize)> {
        let mut paths = Vec::new();
        // Inline modules we are in: the brace depth outside of each, and its name.
        let mut inline: Vec<(usize, String)> = Vec::new();
        let mut depth = 0;
        let mut at = 0;
        while at < self.tokens.len() {
            match &self.tokens[at].0 {
                Token::Mark('{') => depth += 1,
                Token::Mark('}') => {
                    depth -= 1;
                    if inline.last().is_some_and(|(outside, _)| *outside == depth) {
                        inline.pop();
                    }
                }
                Token::Word(word) if word == "mod" && self.mark(at + 2) == Some('{') => {
                    inline.push((depth, self.word(at + 1).unwrap_or_default().to_string()));
                    at += 1;
                }
                Token::Word(word) => {
                    let in_use = word == "use";
                    let start = if in_use { at + 1 } else { at };
                    let after_dot = at > 0 && matches!(self.tokens[at - 1].0, Token::Mark('.'));
                    if !after_dot
                        && (in_use
                            || self.tokens.get(at + 1).map(|t| &t.0) == Some(&Token::PathSeparator))
                    {
                        let mut found = Vec::new();
                        at = self.tree(start, &Vec::new(), &mut found).max(at + 1);
                        if !inline.iter().any(|(_, name)| name == "tests") {
                            let home: Vec<String> = self
                                .module
                                .iter()
                                .cloned()
                                .chain(inline.iter().map(|(_, name)| name.clone()))
                                .collect();
                            paths.extend(
                                found.into_iter().map(|(p, line)| (absolute(&home, p), line)),
                            );
                        }
                        continue;
                    }
                }
                Token::PathSeparator | Token::Mark(_) => {}
            }
            at += 1;
        }
        paths
    }

    /// Reads a path or use-tree at `at` behind `prefix`; returns the position after it.
    fn tree(
        &self,
        mut at: usize,
        prefix: &[String],
        found: &mut Vec<(Vec<String>, usize)>,
    ) -> usize {
        let mut path = prefix.to_vec();
        let line = self.tokens.get(at).map_or(0, |token| token.1);
        loop {
            match self.tokens.get(at).map(|token| &token.0) {
                Some(Token::PathSeparator) => at += 1,
                Some(Token::Word(word)) => {
                    path.push(word.clone());
                    at += 1;
                    if self.tokens.get(at).map(|token| &token.0) != Some(&Token::PathSeparator) {
                        break;
                    }
                }
                Some(Token::Mark('*')) => {
                    path.push("*".into());
                    at += 1;
                    break;
                }
                Some(Token::Mark('{')) => {
                    at += 1;
                    while !matches!(self.mark(at), Some('}')) && at < self.tokens.len() {
                        at = self.tree(at, &path, found);
                        // `name as other` and the comma between branches.
                        while !matches!(self.mark(at), Some(',' | '}')) && at < self.tokens.len() {
                            at += 1;
                        }
                        if self.mark(at) == Some(',') {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                _ => break,
            }
        }
        found.push((path, line));
        at
    }

    fn word(&self, at: usize) -> Option<&str> {
        match self.tokens.get(at) {
            Some((Token::Word(word), _)) => Some(word),
            _ => None,
        }
    }

    fn mark(&self, at: usize) -> Option<char> {
        match self.tokens.get(at) {
            Some((Token::Mark(mark), _)) => Some(*mark),
            _ => None,
        }
    }
}

/// Resolves `crate`, `self`, `super` and the library's own name from the module `home`.
fn absolute(home: &[String], path: Vec<String>) -> Vec<String> {
    let relative = match path.first().map(String::as_str) {
        Some("virtcimd") => {
            return std::iter::once("crate".into()).chain(path.into_iter().skip(1)).collect();
        }
        Some("self" | "super") => true,
        _ => false,
    };
    if !relative {
        return path;
    }
    let ups = path.iter().filter(|part| *part == "super").count();
    let rest = path.into_iter().filter(|part| part != "super" && part != "self");
    let base = home.len().saturating_sub(ups);
    std::iter::once("crate".into()).chain(home[..base].iter().cloned()).chain(rest).collect()
}

/// Splits source text into tokens; comments, strings, characters and lifetimes are left out.
fn tokenise(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let next = chars.get(at + 1).copied();
        match chars[at] {
            '/' if next == Some('/') => at = until(&chars, at, |c| c == '\n'),
            '/' if next == Some('*') => at = after_block_comment(&chars, at),
            '"' => at = after_string(&chars, at),
            '\'' => at = after_quote(&chars, at),
            'r' | 'b' | 'c' if raw_string_hashes(&chars, at).is_some() => {
                at = after_raw_string(&chars, at);
            }
            c if c.is_alphanumeric() || c == '_' => {
                at = until(&chars, at, |c| !c.is_alphanumeric() && c != '_');
                tokens.push((Token::Word(chars[start..at].iter().collect()), line));
            }
            ':' if next == Some(':') => {
                tokens.push((Token::PathSeparator, line));
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push((Token::Mark(c), line));
                }
                at += 1;
            }
        }
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn until(chars: &[char], from: usize, end: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|at| end(chars[*at])).unwrap_or(chars.len())
}

fn after_block_comment(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// A character literal or a lifetime.
fn after_quote(chars: &[char], from: usize) -> usize {
    match (chars.get(from + 1), chars.get(from + 2)) {
        (Some('\\'), _) => until(chars, from + 3, |c| c == '\'') + 1,
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

/// How many `#` open a raw string at `from`; `None` if none begins there.
fn raw_string_hashes(chars: &[char], from: usize) -> Option<usize> {
    let r = if chars[from] == 'r' { from } else { from + 1 };
    if chars.get(r) != Some(&'r')
        || (from > 0 && (chars[from - 1].is_alphanumeric() || chars[from - 1] == '_'))
    {
        return None;
    }
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    (chars.get(r + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn after_raw_string(chars: &[char], from: usize) -> usize {
    let hashes = raw_string_hashes(chars, from).unwrap_or_default();
    let open = until(chars, from, |c| c == '"');
    let mut at = open + 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    at
}
