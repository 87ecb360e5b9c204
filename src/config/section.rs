//! Reading one table: each key is asked for by name and type; what nobody asked for is unknown.
//!
//! The keys a section knows are exactly those its reader asks for, so the list of known keys, from
//! which suggestions are made, cannot fall behind the code.

use std::collections::BTreeSet;

use super::{
    problem::{Place, Problems},
    tree::{Located, Node, Table},
    value::FromNode,
};

/// A value and the place it came from.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A table that is being read. [`Section::finish`] reports what was not asked for.
pub(super) struct Section<'a> {
    name: String,
    table: Option<&'a Table>,
    problems: &'a Problems,
    asked: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(table: &'a Table, problems: &'a Problems) -> Self {
        Self { name: String::new(), table: Some(table), problems, asked: BTreeSet::new() }
    }

    /// The table `key` of this one; an absent table is an empty one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let table = self.located(key).and_then(|located| match &located.node {
            Node::Table(table) => Some(table),
            other => {
                let message = format!("{} must be a table, found {other}", self.full(key));
                self.problems.report(located.place.clone(), message);
                None
            }
        });
        let name = self.full(key);
        Self { name, table, problems: self.problems, asked: BTreeSet::new() }
    }

    /// The tables of a list (`[[key]]`), each with its place.
    pub(super) fn list(&mut self, key: &'static str) -> Option<Vec<(Section<'a>, Place)>> {
        let located = self.located(key)?;
        let Node::Array(items) = &located.node else {
            let name = self.full(key);
            let message = format!("{name} must be a list of tables: write [[{name}]]");
            self.problems.report(located.place.clone(), message);
            return None;
        };
        let mut sections = Vec::new();
        for item in items {
            match &item.node {
                Node::Table(table) => {
                    let section = Self {
                        name: self.full(key),
                        table: Some(table),
                        problems: self.problems,
                        asked: BTreeSet::new(),
                    };
                    sections.push((section, item.place.clone()));
                }
                other => {
                    let message = format!("{} must hold tables, found {other}", self.full(key));
                    self.problems.report(item.place.clone(), message);
                }
            }
        }
        Some(sections)
    }

    /// Every entry of a table whose keys are the administrator's own; such a table has no unknown
    /// keys. Values of the wrong type are reported and left out.
    pub(super) fn entries<T: FromNode>(self) -> Vec<(String, Setting<T>)> {
        let mut entries = Vec::new();
        for (key, located) in self.table.into_iter().flatten() {
            if let Some(setting) = self.convert(&self.full(key), located) {
                entries.push((key.clone(), setting));
            }
        }
        entries
    }

    /// Like [`Section::entries`], for tables that hold tables.
    pub(super) fn subsections(self) -> Vec<(String, Section<'a>, Place)> {
        let mut sections = Vec::new();
        for (key, located) in self.table.into_iter().flatten() {
            let name = self.full(key);
            match &located.node {
                Node::Table(table) => {
                    let section = Self {
                        name,
                        table: Some(table),
                        problems: self.problems,
                        asked: BTreeSet::new(),
                    };
                    sections.push((key.clone(), section, located.place.clone()));
                }
                other => {
                    let message = format!("{name} must be a table, found {other}");
                    self.problems.report(located.place.clone(), message);
                }
            }
        }
        sections
    }

    /// The value of `key`; `None` if it is absent or wrong, which is reported.
    pub(super) fn setting<T: FromNode>(&mut self, key: &'static str) -> Option<Setting<T>> {
        let located = self.located(key)?;
        self.convert(&self.full(key), located)
    }

    /// The value of `key`, if it is there and right.
    pub(super) fn optional<T: FromNode>(&mut self, key: &'static str) -> Option<T> {
        self.setting(key).map(|setting| setting.value)
    }

    /// The value of `key`, or `default`.
    pub(super) fn or<T: FromNode>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Reports what is wrong with the value at `place`.
    pub(super) fn report(&self, place: &Place, message: impl Into<String>) {
        self.problems.report(place.clone(), message);
    }

    /// Whether anything at all was written in this table.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some_and(|table| !table.is_empty())
    }

    /// The key as the administrator would name it: `checks.timeout`.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_string() } else { format!("{}.{key}", self.name) }
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, located) in self.table.into_iter().flatten() {
            if self.asked.contains(key.as_str()) {
                continue;
            }
            let kind = if matches!(located.node, Node::Table(_)) { "section" } else { "key" };
            let mut message = format!("unknown {kind} `{}`", self.full(key));
            match nearest(key, self.asked.iter().copied()) {
                Some(known) => message.push_str(&format!("; did you mean `{known}`?")),
                None => {
                    let known: Vec<&str> = self.asked.iter().copied().collect();
                    message.push_str(&format!("; known here: {}", known.join(", ")));
                }
            }
            self.problems.report(located.place.clone(), message);
        }
    }

    fn located(&mut self, key: &'static str) -> Option<&'a Located> {
        self.asked.insert(key);
        self.table?.get(key)
    }

    fn convert<T: FromNode>(&self, name: &str, located: &Located) -> Option<Setting<T>> {
        match T::from_node(&located.node) {
            Ok(value) => Some(Setting { value, place: located.place.clone() }),
            Err(reason) => {
                self.problems.report(located.place.clone(), format!("{name}: {reason}"));
                None
            }
        }
    }
}

/// The candidate that is probably meant by `written`; `None` if none is near.
pub(super) fn nearest<'a>(
    written: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&written, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions and substitutions lie between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
