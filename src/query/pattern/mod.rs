//! LIKE patterns.
//!
//! Two dialects: WQL's wildcards (`%`, `_`, `[a-z]`, `[^a-z]`), and the regular expressions of
//! DSP0202 and DSP0212: `.`, `*`, `+`, `?`, `{n,m}`, `|`, `( )`, `[ ]`, `[^ ]`, `^`, `$`, and the
//! `[ ]^` that DSP1001 writes for `[^ ]`. A pattern matches the whole string or does not match.
//!
//! A pattern becomes a small program whose states are followed all at once, one character of the
//! string at a time: the time to match is the product of both lengths, whatever the pattern.

mod program;
mod reader;
#[cfg(test)]
mod tests;

use program::Program;
use reader::Reader;

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
        let Program { mut steps, weight, .. } = Program::of(&node, room)?;
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
