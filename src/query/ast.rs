//! What a query says, and how it is written down again.

use std::fmt;

use super::pattern::Pattern;
use crate::cim::CimName;

/// A place in the text, in characters from 1. Where something stands is no part of what it says, so
/// all positions are equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position(pub(super) usize);

impl PartialEq for Position {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The select list.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Columns {
    All,
    Listed(Vec<Chain>),
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    Or(Vec<Expr>),
    And(Vec<Expr>),
    Not(Box<Expr>),
    /// A boolean on its own.
    Truth(Operand),
    Test {
        operand: Operand,
        test: Test,
    },
    /// FQL: the test holds for any element, or for every one.
    Quantified {
        negated: bool,
        quantifier: Quantifier,
        array: Chain,
        test: Test,
    },
    IsNull {
        operand: Operand,
        negated: bool,
    },
    /// WQL: `IS [NOT] TRUE`, `IS [NOT] FALSE`.
    IsTruth {
        operand: Box<Expr>,
        negated: bool,
        truth: bool,
    },
    Isa {
        chain: Chain,
        class: CimName,
        at: Position,
    },
}

/// What is asked of one value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Compare { operator: Comparison, right: Operand, at: Position },
    Like { negated: bool, pattern: Pattern, at: Position },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quantifier {
    Any,
    Every,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) at: Position,
    pub(super) kind: OperandKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum OperandKind {
    Chain(Chain),
    Literal(Literal),
    /// FQL: `{1, 2}`.
    Array(Vec<Literal>),
    /// `property#'label'`: the ValueMap value that the property's Values call so.
    Symbol {
        property: Chain,
        label: String,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// FQL only.
    Null,
    Boolean(bool),
    Integer(i128),
    Real(f64),
    Text(String),
}

/// A path from the instance to a value: through properties, into embedded instances.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chain {
    pub(super) at: Position,
    /// The FROM class or its alias, where the chain was written with it in front.
    pub(super) root: Option<CimName>,
    /// Empty for the instance itself, which only `root` can name.
    pub(super) steps: Vec<Step>,
}

/// One step of a path: `[class::]property[index]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) at: Position,
    pub(super) scope: Option<CimName>,
    pub(super) property: CimName,
    pub(super) index: Option<u32>,
}

impl Comparison {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// Whether it asks only whether two values are the same.
    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }
}

impl Operand {
    pub(super) fn chain(&self) -> Option<&Chain> {
        match &self.kind {
            OperandKind::Chain(chain) => Some(chain),
            OperandKind::Literal(_) | OperandKind::Array(_) | OperandKind::Symbol { .. } => None,
        }
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Listed(chains) => separated(f, chains, ", "),
        }
    }
}

fn separated<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: &str,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// Writes an expression as a part of a larger one.
struct Part<'a>(&'a Expr);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expr::Or(_) | Expr::And(_) | Expr::Not(_) | Expr::IsTruth { .. } => {
                write!(f, "({})", self.0)
            }
            Expr::Truth(_)
            | Expr::Test { .. }
            | Expr::Quantified { .. }
            | Expr::IsNull { .. }
            | Expr::Isa { .. } => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::Or(parts) => separated(f, &parts.iter().map(Part).collect::<Vec<_>>(), " OR "),
            Self::And(parts) => separated(f, &parts.iter().map(Part).collect::<Vec<_>>(), " AND "),
            Self::Not(part) => write!(f, "NOT {}", Part(part)),
            Self::Truth(operand) => write!(f, "{operand}"),
            Self::Test { operand, test } => write!(f, "{operand} {test}"),
            Self::Quantified { negated, quantifier, array, test } => {
                let quantifier = match quantifier {
                    Quantifier::Any => "ANY",
                    Quantifier::Every => "EVERY",
                };
                write!(f, "{}{quantifier} {array} {test}", not(negated))
            }
            Self::IsNull { operand, negated } => write!(f, "{operand} IS {}NULL", not(negated)),
            Self::IsTruth { operand, negated, truth } => {
                let truth = if *truth { "TRUE" } else { "FALSE" };
                write!(f, "{} IS {}{truth}", Part(operand), not(negated))
            }
            Self::Isa { chain, class, .. } => write!(f, "{chain} ISA {class}"),
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { operator, right, .. } => write!(f, "{} {right}", operator.text()),
            Self::Like { negated, pattern, .. } => {
                write!(f, "{}LIKE ", if *negated { "NOT " } else { "" })?;
                quoted(f, pattern.text())
            }
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            OperandKind::Chain(chain) => write!(f, "{chain}"),
            OperandKind::Literal(literal) => write!(f, "{literal}"),
            OperandKind::Array(literals) => {
                f.write_str("{")?;
                separated(f, literals, ", ")?;
                f.write_str("}")
            }
            OperandKind::Symbol { property, label } => {
                write!(f, "{property}#")?;
                quoted(f, label)
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(true) => f.write_str("TRUE"),
            Self::Boolean(false) => f.write_str("FALSE"),
            Self::Integer(number) => write!(f, "{number}"),
            // The debug form always has a dot or an exponent and reads back to the same number.
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => quoted(f, text),
        }
    }
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\'' => f.write_str("\\'")?,
            '\\' => f.write_str("\\\\")?,
            _ => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(root) = &self.root {
            write!(f, "{root}{}", if self.steps.is_empty() { "" } else { "." })?;
        }
        separated(f, &self.steps, ".")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scope) = &self.scope {
            write!(f, "{scope}::")?;
        }
        write!(f, "{}", self.property)?;
        match self.index {
            Some(index) => write!(f, "[{index}]"),
            None => Ok(()),
        }
    }
}
