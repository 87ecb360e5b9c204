//! The names in a text: kept once, and told apart.

use std::collections::{HashMap, HashSet};

use super::{Problem, ast::Ident, error::Fault};
use crate::cim::CimName;

/// Names met so far, so that each spelling is kept in memory once.
#[derive(Default)]
pub(super) struct Names(HashMap<Box<str>, CimName>);

impl Names {
    pub(super) fn name(&mut self, text: &str) -> CimName {
        if let Some(name) = self.0.get(text) {
            return name.clone();
        }
        let name = CimName::parse(text).expect("the lexer's identifiers are names");
        self.0.insert(text.into(), name.clone());
        name
    }
}

/// Refuses a name that is there twice. Clients send MOF as well: what it costs grows with the text, not
/// with its square.
pub(super) fn check_unique<'a>(names: impl Iterator<Item = &'a Ident>) -> Result<(), Fault> {
    let mut seen = HashSet::new();
    for ident in names {
        if !seen.insert(&ident.name) {
            let problem = Problem::Repeated(ident.name.clone());
            return Err(Fault::new(problem, ident.at));
        }
    }
    Ok(())
}
