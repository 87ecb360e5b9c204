//! What can be wrong with MOF text.

use std::borrow::Cow;

use super::{Location, Place, Sources};
use crate::cim::{CimName, CimType, DateTimeError, PathError};

/// MOF text could not be read. `Display` is one line: `file:line:column: problem (hint)`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{location}: {problem}{}", hint_suffix(.hint))]
pub struct MofError {
    /// Where.
    pub location: Location,
    /// What.
    pub problem: Problem,
    /// What to do about it, where there is something to say.
    pub hint: Option<Cow<'static, str>>,
}

fn hint_suffix(hint: &Option<Cow<'static, str>>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"))
}

/// What went wrong and where, before anyone asked for the line.
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) at: Place,
    pub(super) hint: Option<Cow<'static, str>>,
}

impl Fault {
    pub(super) fn new(problem: Problem, at: Place) -> Self {
        Self { problem, at, hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn located(self, sources: &Sources) -> MofError {
        let location = sources.locate(self.at);
        MofError { location, problem: self.problem, hint: self.hint }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: Cow<'static, str>, found: String },
    #[error("{0:?} can't stand here")]
    StrayCharacter(char),
    #[error("this comment is never closed")]
    OpenComment,
    #[error("the string is not closed on its line")]
    OpenString,
    #[error("unknown escape `\\{0}`")]
    UnknownEscape(String),
    #[error("`\\x` is followed by no hexadecimal digit, or by half a surrogate pair")]
    BadCodePoint,
    #[error("a character literal holds exactly one UCS-2 character")]
    BadCharacter,
    #[error("`{0}` is not a number")]
    BadNumber(String),
    #[error("the text is longer than {} bytes", super::source::MAX_TEXT)]
    TooLong,
    #[error("`{value}` is no {ty} value")]
    WrongType { value: String, ty: CimType },
    #[error("{value} is out of range for {ty}")]
    OutOfRange { value: String, ty: CimType },
    #[error("{0}")]
    DateTime(DateTimeError),
    #[error("{0}")]
    Reference(PathError),
    #[error("expected {}", if *.array { "an array in braces" } else { "a single value" })]
    WrongShape { array: bool },
    #[error("`{0}` stands here a second time")]
    Repeated(CimName),
    #[error("qualifier `{0}` is not declared")]
    UnknownQualifier(CimName),
    #[error("qualifier `{qualifier}` can't stand on {element}")]
    WrongScope { qualifier: CimName, element: &'static str },
    #[error("flavors `{0}` and `{1}` exclude each other")]
    FlavorConflict(&'static str, &'static str),
    #[error("{0} can only stand on a string")]
    EmbeddedNotString(&'static str),
    #[error("class `{0}` does not exist")]
    UnknownClass(CimName),
    #[error("class `{class}` has no property `{property}`")]
    UnknownProperty { class: CimName, property: CimName },
    #[error("alias `${0}` names no instance here")]
    UnknownAlias(CimName),
    #[error("embedded instance: {0}")]
    Embedded(Box<MofError>),
    #[error("instances are nested too deep in each other's strings")]
    TooDeep,
    #[error("can't include `{name}`: {reason}")]
    Include { name: String, reason: String },
    #[error("`{name}` includes itself: {chain}")]
    IncludeCycle { name: String, chain: String },
    #[error("include files are nested more than {} deep", super::MAX_INCLUDE_DEPTH)]
    IncludeDepth,
}
