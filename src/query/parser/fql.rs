//! What FQL has in the place of a `factor`.

use super::{
    Parser, is_literal, is_reserved,
    operand::{Parsed, lone_label},
};
use crate::query::{
    QueryError,
    ast::{Chain, Expr, Literal, Operand, OperandKind, Quantifier, Test},
    lexer::Token,
};

impl Parser {
    pub(super) fn fql_factor(&mut self) -> Result<Expr, QueryError> {
        if self.is_mark("(") {
            return self.group();
        }
        let negated = self.take_word("NOT");
        let quantifier = if self.take_word("ANY") {
            Quantifier::Any
        } else if self.take_word("EVERY") {
            Quantifier::Every
        } else if negated {
            return Err(self.unexpected("ANY or EVERY"));
        } else {
            let operand = Operand { at: self.at(), kind: OperandKind::Chain(self.property()?) };
            let test = self.fql_test()?;
            return Ok(Expr::Test { operand, test });
        };
        let array = self.property()?;
        let test = self.fql_test()?;
        Ok(Expr::Quantified { negated, quantifier, array, test })
    }

    fn property(&mut self) -> Result<Chain, QueryError> {
        match self.peek() {
            Token::Word(word) if !is_reserved(word) && !is_literal(word) => self.chain(),
            _ => Err(self.unexpected("a property")),
        }
    }

    fn fql_test(&mut self) -> Result<Test, QueryError> {
        if self.is_word("LIKE") || self.is_word("NOT") {
            return self.like();
        }
        let Some(operator) = self.relation() else {
            return Err(self.unexpected("a comparison or LIKE"));
        };
        let at = self.at();
        self.advance();
        let right_at = self.at();
        let right = if self.is_mark("{") {
            Operand { at: right_at, kind: OperandKind::Array(self.array()?) }
        } else {
            match self.operand()? {
                Parsed::Operand(operand) => operand,
                Parsed::Label { at, .. } => return Err(lone_label(at)),
            }
        };
        Ok(Test::Compare { operator, right, at })
    }

    fn array(&mut self) -> Result<Vec<Literal>, QueryError> {
        self.mark("{")?;
        let mut literals = Vec::new();
        while !self.is_mark("}") {
            self.part()?;
            literals.push(self.literal().ok_or_else(|| self.unexpected("a literal or `}`"))?);
            self.advance();
            if !self.take_mark(",") {
                break;
            }
            if self.is_mark("}") {
                return Err(self.unexpected("a literal"));
            }
        }
        self.mark("}")?;
        Ok(literals)
    }
}
