//! Operands: `operand`, `chain` and `step`.

use super::{Parser, is_reserved};
use crate::query::{
    Dialect, QueryError,
    ast::{Chain, Literal, Operand, OperandKind, Position, Step},
    lexer::Token,
};

/// An operand, of which a label alone is still without its property.
pub(super) enum Parsed {
    Operand(Operand),
    Label { at: Position, label: String },
}

impl Parser {
    pub(super) fn operand(&mut self) -> Result<Parsed, QueryError> {
        let at = self.at();
        if self.dialect != Dialect::Fql && self.take_mark("#") {
            self.part()?;
            let label = self.string("a label in quotes")?;
            return Ok(Parsed::Label { at, label });
        }
        if let Some(literal) = self.literal() {
            if literal == Literal::Null && self.dialect != Dialect::Fql {
                return Err(self.unexpected("a value (IS NULL asks for NULL)"));
            }
            self.part()?;
            self.advance();
            return Ok(Parsed::Operand(Operand { at, kind: OperandKind::Literal(literal) }));
        }
        match self.peek() {
            Token::Word(word) if !is_reserved(word) => {}
            _ => return Err(self.unexpected("a property or a literal")),
        }
        let chain = self.chain()?;
        if self.dialect != Dialect::Fql && self.is_mark("#") && !chain.steps.is_empty() {
            self.advance();
            self.part()?;
            let label = self.string("a label in quotes")?;
            let kind = OperandKind::Symbol { property: chain, label };
            return Ok(Parsed::Operand(Operand { at, kind }));
        }
        Ok(Parsed::Operand(Operand { at, kind: OperandKind::Chain(chain) }))
    }

    /// The literal that the current token is.
    pub(super) fn literal(&self) -> Option<Literal> {
        Some(match self.peek() {
            Token::Integer(number) => Literal::Integer(*number),
            Token::Real(number) => Literal::Real(*number),
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Word(word) if word.eq_ignore_ascii_case("TRUE") => Literal::Boolean(true),
            Token::Word(word) if word.eq_ignore_ascii_case("FALSE") => Literal::Boolean(false),
            Token::Word(word) if word.eq_ignore_ascii_case("NULL") => Literal::Null,
            Token::Word(_) | Token::Mark(_) | Token::End => return None,
        })
    }

    pub(super) fn chain(&mut self) -> Result<Chain, QueryError> {
        let at = self.at();
        let mut steps = vec![self.step()?];
        if self.is_mark("(") {
            return Err(QueryError::Unsupported { position: at.0, feature: "a function call" });
        }
        while self.take_mark(".") {
            if self.dialect != Dialect::Fql && self.take_mark("*") {
                break;
            }
            steps.push(self.step()?);
        }
        let mut chain = Chain { at, root: None, steps };
        self.find_root(&mut chain);
        Ok(chain)
    }

    pub(super) fn find_root(&self, chain: &mut Chain) {
        if chain.root.is_none()
            && let [first, ..] = chain.steps.as_slice()
            && first.scope.is_none()
            && first.index.is_none()
            && self.roots.contains(&first.property)
        {
            chain.root = Some(chain.steps.remove(0).property);
        }
    }

    fn step(&mut self) -> Result<Step, QueryError> {
        let at = self.at();
        self.part()?;
        let first = self.name("a property name")?;
        let (scope, property) = if self.dialect != Dialect::Fql && self.take_mark("::") {
            (Some(first), self.name("a property name")?)
        } else {
            (None, first)
        };
        let index = if self.take_mark("[") { Some(self.index()?) } else { None };
        Ok(Step { at, scope, property, index })
    }

    fn index(&mut self) -> Result<u32, QueryError> {
        if matches!(self.peek(), Token::Mark("*") | Token::Real(_)) {
            return Err(self.unsupported("a range of array indices"));
        }
        let index = match self.peek() {
            Token::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        };
        let index = index.ok_or_else(|| self.unexpected("an array index"))?;
        self.advance();
        if self.is_mark(",") || self.is_mark(".") {
            return Err(self.unsupported("more than one array index"));
        }
        self.mark("]")?;
        Ok(index)
    }
}

pub(super) fn lone_label(at: Position) -> QueryError {
    QueryError::Syntax {
        position: at.0,
        expected: "a label next to the property it belongs to",
        found: "`#`".to_owned(),
    }
}
