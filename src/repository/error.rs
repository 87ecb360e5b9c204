//! What can be wrong with a schema.

use std::{fmt, io, path::PathBuf};

use crate::{
    cim::CimName,
    mof::{Location, MofError},
};

/// A schema can't be used. Holds everything that was found, so that one run shows all there is to
/// mend; `Display` is one line for each problem.
#[derive(Debug, thiserror::Error)]
pub struct LoadError {
    /// At least one.
    pub problems: Vec<LoadProblem>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// One thing that is wrong with a schema.
#[derive(Debug, thiserror::Error)]
pub enum LoadProblem {
    /// A file or directory can't be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// More files than any schema has.
    #[error("{}: more than {limit} MOF files", .path.display())]
    TooManyFiles {
        /// The directory that had one too many.
        path: PathBuf,
        /// How many there may be in all directories.
        limit: usize,
    },
    /// The text of a declaration is wrong.
    #[error(transparent)]
    Mof(#[from] MofError),
    /// A class does not fit the others.
    #[error("{location}: {fault}")]
    Class {
        /// Where.
        location: Location,
        /// What.
        fault: ClassFault,
    },
}

/// How a class does not fit the others.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ClassFault {
    #[error("class `{class}` is declared twice, first at {first}")]
    Duplicate { class: CimName, first: Location },
    #[error("qualifier `{0}` is declared with another type elsewhere")]
    QualifierConflict(CimName),
    #[error("superclass `{0}` does not exist")]
    UnknownSuperclass(CimName),
    #[error("class `{0}` inherits from itself: {1}")]
    Cycle(CimName, String),
    #[error("superclass `{0}` is terminal")]
    TerminalSuperclass(CimName),
    #[error("class `{0}` is an association, its superclass is not")]
    AssociationBelowClass(CimName),
    #[error("only associations have references; `{0}` is in none")]
    ReferenceOutsideAssociation(CimName),
    #[error("class `{class}`, which `{element}` names, does not exist")]
    UnknownClass { class: CimName, element: CimName },
    #[error("`{element}` overrides `{overridden}`; it can only override what has its own name")]
    OverrideOfOther { element: CimName, overridden: String },
    #[error("`{0}` overrides nothing")]
    OverrideOfNothing(CimName),
    #[error("`{element}` is `{ty}`, but `{inherited}` in {origin}")]
    TypeConflict { element: CimName, ty: String, inherited: String, origin: CimName },
    #[error("qualifier `{qualifier}` of `{element}` can't be given another value here")]
    QualifierNotOverridable { qualifier: CimName, element: CimName },
    #[error("`{method}` has no parameter `{parameter}`, which the method it overrides has")]
    MissingParameter { method: CimName, parameter: CimName },
    #[error("key `{key}` is new in `{class}`, but {origin} already settles the keys")]
    NewKey { key: CimName, class: CimName, origin: CimName },
}
