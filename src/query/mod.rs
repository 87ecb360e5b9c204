//! The filter languages: WQL, DMTF:CQL (DSP0202, basic) and DMTF:FQL (DSP0212). Parse, check against
//! the schema, evaluate on instances.
//!
//! [`Query`] is a SELECT, for ExecQuery, OpenQueryInstances and indication filters; [`Filter`] is an
//! FQL condition, for the FilterQuery of the other Open operations. Both are values without a
//! reference to the schema; what they need of it they ask a [`Schema`].
//!
//! WQL here is what libvirt-cim's clients expect under that name: WQL's strings in double quotes,
//! `!=`, and LIKE with `%`, and ISA and embedded property paths as in CQL.
//!
//! A comparison with NULL is neither true nor false (and so is its NOT); only what is true passes. In
//! FQL, which has a NULL literal, NULL equals NULL and differs from everything else.
//!
//! What is deliberately absent: joins, ordering, aggregates, functions and arithmetic. They are
//! recognised and refused as [`QueryError::Unsupported`].

mod ast;
mod check;
mod error;
mod eval;
mod lexer;
mod limits;
mod parser;
mod pattern;
mod project;
#[cfg(test)]
mod tests;

use std::fmt;

use ast::{Chain, Columns, Expr, Position};
pub use error::{PatternError, QueryError, TooMuchWork};
pub use limits::Limits;

use crate::cim::{CimName, Class, Instance};

/// What evaluating a query needs to know of the schema.
pub trait Schema {
    /// The class of that name, with what it inherits.
    fn class(&self, name: &CimName) -> Option<&Class>;

    /// Whether `class` is `ancestor` or one of its subclasses. A class that the schema does not have
    /// is only itself.
    fn is_a(&self, class: &CimName, ancestor: &CimName) -> bool {
        let mut current = Some(class);
        while let Some(name) = current {
            if name == ancestor {
                return true;
            }
            current = self.class(name).and_then(|class| class.superclass.as_ref());
        }
        false
    }

    /// Whether a subclass of that class declares that property.
    fn is_declared_below(&self, class: &CimName, property: &CimName) -> bool;
}

/// A language of SELECT statements.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// WQL.
    Wql,
    /// DMTF:CQL.
    Cql,
}

impl Language {
    /// The language that clients call so; case is ignored. `None` for FQL, which has no SELECT, and
    /// for what we don't speak.
    pub fn from_name(name: &str) -> Option<Self> {
        let named = |names: &[&str]| names.iter().any(|own| own.eq_ignore_ascii_case(name));
        if named(&["WQL", "WQL1", "CIM:WQL"]) {
            Some(Self::Wql)
        } else if named(&["DMTF:CQL", "CIM:CQL", "CQL"]) {
            Some(Self::Cql)
        } else {
            None
        }
    }

    /// The name by which we declare it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wql => "WQL",
            Self::Cql => "DMTF:CQL",
        }
    }

    fn dialect(self) -> Dialect {
        match self {
            Self::Wql => Dialect::Wql,
            Self::Cql => Dialect::Cql,
        }
    }
}

/// A language as lexer and parser see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Dialect {
    Wql,
    Cql,
    Fql,
}

/// A SELECT statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    language: Language,
    columns: Columns,
    from: CimName,
    from_at: Position,
    alias: Option<CimName>,
    condition: Option<Expr>,
    /// [`Limits::work`].
    work: usize,
}

/// Reads a SELECT statement.
///
/// # Errors
/// [`QueryError`] with the place of the first mistake.
pub fn parse(language: Language, text: &str, limits: &Limits) -> Result<Query, QueryError> {
    let parser::Select { columns, from, from_at, alias, condition } =
        parser::parse_select(language.dialect(), text, limits)?;
    Ok(Query { language, columns, from, from_at, alias, condition, work: limits.work })
}

impl Query {
    /// The language it was written in.
    pub fn language(&self) -> Language {
        self.language
    }

    /// The class whose instances, with those of its subclasses, it asks for.
    pub fn from_class(&self) -> &CimName {
        &self.from
    }

    /// Checks names and types as far as they are known before there is an instance: the FROM class
    /// and its properties, classes named by scopes and ISA, and what meets what in comparisons.
    /// Properties of embedded instances are known only where a scope names their class.
    ///
    /// # Errors
    /// [`QueryError`] that names the culprit and its place.
    pub fn check(&self, schema: &dyn Schema) -> Result<(), QueryError> {
        check::query(self, schema)
    }

    /// Whether the instance is of the FROM class or a subclass and the condition holds for it;
    /// `None` if that can't be said, be it that it would take too much work. That counts as no.
    pub fn matches(&self, instance: &Instance, schema: &dyn Schema) -> Option<bool> {
        self.judge(instance, schema).unwrap_or(None)
    }

    /// [`Query::matches`] for a caller who must not leave an instance out without a word.
    ///
    /// # Errors
    /// [`TooMuchWork`].
    pub fn judge(
        &self,
        instance: &Instance,
        schema: &dyn Schema,
    ) -> Result<Option<bool>, TooMuchWork> {
        if !schema.is_a(&instance.class, &self.from) {
            return Ok(Some(false));
        }
        match &self.condition {
            None => Ok(Some(true)),
            Some(condition) => {
                eval::holds(condition, instance, schema, eval::Nulls::Unknown, self.work)
            }
        }
    }

    /// The properties that the select list names; `None` if it names all, as with the class itself.
    pub fn selected(&self) -> Option<Vec<CimName>> {
        match &self.columns {
            Columns::All => None,
            Columns::Listed(columns) => {
                let first = |column: &Chain| column.steps.first().map(|step| step.property.clone());
                columns.iter().map(first).collect()
            }
        }
    }

    /// Leaves of the instance what the select list names. Where it names a property of an embedded
    /// instance, the embedded instance stays with that property alone.
    pub fn project(&self, instance: Instance, schema: &dyn Schema) -> Instance {
        match &self.columns {
            Columns::All => instance,
            Columns::Listed(columns) => project::project(instance, columns, schema),
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SELECT {} FROM {}", self.columns, self.from)?;
        if let Some(alias) = &self.alias {
            write!(f, " AS {alias}")?;
        }
        match &self.condition {
            Some(condition) => write!(f, " WHERE {condition}"),
            None => Ok(()),
        }
    }
}

/// An FQL condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    condition: Expr,
    /// [`Limits::work`].
    work: usize,
}

impl Filter {
    /// The name by which we declare the language.
    pub const LANGUAGE: &str = "DMTF:FQL";

    /// Whether clients call FQL so; case is ignored.
    pub fn is_language(name: &str) -> bool {
        [Self::LANGUAGE, "FQL"].iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Reads a filter.
    ///
    /// # Errors
    /// [`QueryError`] with the place of the first mistake.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, QueryError> {
        Ok(Self { condition: parser::parse_filter(text, limits)?, work: limits.work })
    }

    /// Checks names and types against the class whose instances are filtered, as
    /// [`Query::check`] does.
    ///
    /// # Errors
    /// [`QueryError`] that names the culprit and its place. A property that only a subclass has is
    /// none: in the instances that do not have it, it is NULL.
    pub fn check(&self, class: &CimName, schema: &dyn Schema) -> Result<(), QueryError> {
        check::filter(&self.condition, class, schema)
    }

    /// Whether the condition holds; `None` if that can't be said, be it that it would take too much
    /// work. That counts as no.
    pub fn matches(&self, instance: &Instance, schema: &dyn Schema) -> Option<bool> {
        self.judge(instance, schema).unwrap_or(None)
    }

    /// [`Filter::matches`] for a caller who must not leave an instance out without a word.
    ///
    /// # Errors
    /// [`TooMuchWork`].
    pub fn judge(
        &self,
        instance: &Instance,
        schema: &dyn Schema,
    ) -> Result<Option<bool>, TooMuchWork> {
        eval::holds(&self.condition, instance, schema, eval::Nulls::Equal, self.work)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.condition)
    }
}
