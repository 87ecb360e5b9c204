//! Why a query is refused.

use crate::cim::CimName;

/// Why a query is no query, or can't be asked of a class. Positions count characters from 1.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// The text does not follow the grammar.
    #[error("at character {position}: expected {expected}, found {found}")]
    Syntax {
        /// Where.
        position: usize,
        /// What could have stood there.
        expected: &'static str,
        /// What stood there.
        found: String,
    },
    /// The text is longer than we read.
    #[error("the query is longer than {limit} bytes")]
    TooLong {
        /// [`super::Limits::length`].
        limit: usize,
    },
    /// Parentheses or NOTs stand too deep inside each other.
    #[error("at character {position}: nested more than {limit} deep")]
    TooDeep {
        /// Where the limit was passed.
        position: usize,
        /// [`super::Limits::depth`].
        limit: usize,
    },
    /// It names more than we evaluate.
    #[error("at character {position}: more than {limit} properties, values and classes are named")]
    TooMuch {
        /// Where the limit was passed.
        position: usize,
        /// [`super::Limits::parts`].
        limit: usize,
    },
    /// The pattern of a LIKE is none.
    #[error("at character {position}: bad LIKE pattern: {reason}")]
    Pattern {
        /// Where the pattern's string begins.
        position: usize,
        /// What is wrong with it.
        reason: PatternError,
    },
    /// The language has it, this server does not.
    #[error("at character {position}: {feature} is not supported")]
    Unsupported {
        /// Where.
        position: usize,
        /// The feature.
        feature: &'static str,
    },
    /// A class that the schema does not have.
    #[error("at character {position}: there is no class `{class}`")]
    UnknownClass {
        /// Where it is named.
        position: usize,
        /// The class.
        class: CimName,
    },
    /// A property that its class does not have.
    #[error("at character {position}: class `{class}` has no property `{property}`")]
    UnknownProperty {
        /// Where it is named.
        position: usize,
        /// The class.
        class: CimName,
        /// The property.
        property: CimName,
    },
    /// A label that the property's Values do not have.
    #[error("at character {position}: property `{property}` has no value labelled `{label}`")]
    UnknownLabel {
        /// Where it is named.
        position: usize,
        /// The property.
        property: CimName,
        /// The label.
        label: String,
    },
    /// Types that do not go together.
    #[error("at character {position}: {problem}")]
    Type {
        /// Where the comparison or the operand stands.
        position: usize,
        /// The sentence.
        problem: String,
    },
}

/// What is wrong with a LIKE pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PatternError {
    #[error("`{0}` has nothing before it to repeat")]
    NothingToRepeat(char),
    #[error("`[` is not closed")]
    UnclosedSet,
    #[error("`[]` matches nothing")]
    EmptySet,
    #[error("a range in `[]` runs backwards")]
    BackwardRange,
    #[error("`(` is not closed")]
    UnclosedGroup,
    #[error("`)` closes nothing")]
    UnopenedGroup,
    #[error("`\\` at the end escapes nothing")]
    DanglingEscape,
    #[error("in a repetition {{n,m}} n must not exceed m")]
    BackwardCount,
    #[error("too large")]
    TooLarge,
    #[error("too large together with those before it")]
    TooLargeTogether,
}

/// An instance has texts so long that looking for the query's LIKE patterns in them takes too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an instance has too long texts for the query's LIKE patterns")]
pub struct TooMuchWork;

impl QueryError {
    /// Where the error stands, in characters from 1; `None` where the text as a whole is wrong.
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::TooLong { .. } => None,
            Self::Syntax { position, .. }
            | Self::TooDeep { position, .. }
            | Self::TooMuch { position, .. }
            | Self::Pattern { position, .. }
            | Self::Unsupported { position, .. }
            | Self::UnknownClass { position, .. }
            | Self::UnknownProperty { position, .. }
            | Self::UnknownLabel { position, .. }
            | Self::Type { position, .. } => Some(*position),
        }
    }
}
