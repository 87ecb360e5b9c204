//! What queries may cost.

use std::cell::Cell;

/// How much one query may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The longest query we read, in bytes.
    pub length: usize,
    /// How deep parentheses and NOTs may stand inside each other; at most [`Limits::DEEPEST`].
    pub depth: usize,
    /// How many properties, values and classes a query may name. Each costs memory as long as the query
    /// is there, and time for each instance.
    pub parts: usize,
    /// How many steps all LIKE patterns of a query may have together, about one for each character;
    /// `{n,m}` multiplies. One pattern alone may have half of them.
    pub pattern_steps: usize,
    /// How deep the groups of a pattern may stand inside each other; at most [`Limits::DEEPEST`].
    pub pattern_depth: usize,
    /// How much of the steps of LIKE patterns may be followed for one instance. Evaluation does not wait
    /// for anything, so this is how long others may have to wait for it.
    pub work: usize,
}

impl Limits {
    /// No limit of a depth may be higher: what is nested is read and judged by recursion.
    pub const DEEPEST: usize = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            length: 64 * 1024,
            depth: 64,
            parts: 2000,
            pattern_steps: 4000,
            pattern_depth: 32,
            work: 20_000_000,
        }
    }
}

/// What is left of [`Limits::work`] while one instance is judged; `None` once too little was left.
pub(super) struct Work(Cell<Option<usize>>);

impl Work {
    pub(super) fn new(steps: usize) -> Self {
        Self(Cell::new(Some(steps)))
    }

    /// Takes `steps` of what is left. `false` if there is not that much, then and ever after.
    pub(super) fn spend(&self, steps: usize) -> bool {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(steps)));
        !self.is_exhausted()
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.0.get().is_none()
    }
}

/// What the LIKE patterns of a query may still cost, and what one of them may.
pub(super) struct PatternRoom {
    /// [`Limits::pattern_steps`] without those of the patterns that were read.
    pub(super) steps_left: usize,
    /// The steps of one pattern.
    pub(super) steps_alone: usize,
    /// [`Limits::pattern_depth`].
    pub(super) depth: usize,
}

impl PatternRoom {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            steps_left: limits.pattern_steps,
            steps_alone: limits.pattern_steps.div_ceil(2),
            depth: limits.pattern_depth,
        }
    }
}
