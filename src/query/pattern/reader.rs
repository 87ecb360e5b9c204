//! The text of a pattern → what it says, in either dialect.

use super::Matcher;
use crate::query::{PatternError, limits::PatternRoom};

/// What a pattern says.
pub(super) enum Node {
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

pub(super) struct Reader<'a> {
    chars: Vec<char>,
    next: usize,
    /// How many groups are open.
    groups: usize,
    room: &'a PatternRoom,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &str, room: &'a PatternRoom) -> Self {
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

    pub(super) fn wildcards(&mut self) -> Result<Node, PatternError> {
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

    pub(super) fn expression(&mut self) -> Result<Node, PatternError> {
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
