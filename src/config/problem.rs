//! What is wrong with a configuration, and where.

use std::{cell::RefCell, fmt, path::Path, sync::Arc};

/// Where a setting was written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Place {
    /// A line of a file; lines count from 1.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line.
        line: usize,
    },
    /// A file as a whole.
    WholeFile(Arc<Path>),
    /// An argument of the command line.
    Argument(&'static str),
    /// Nowhere: a setting that is missing, or a default that does not fit.
    Nowhere,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, line } => write!(f, "{}:{line}: ", path.display())?,
            Place::WholeFile(path) => write!(f, "{}: ", path.display())?,
            Place::Argument(name) => write!(f, "{name}: ")?,
            Place::Nowhere => {}
        }
        f.write_str(&self.message)
    }
}

/// The problems found so far; reading goes on after each.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn report(&self, place: Place, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem { place, message: message.into() });
    }

    /// Everything reported, by file and line.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems
    }
}
