//! Conditions: from `expr` down to `comp`.

use super::{
    Parser,
    operand::{Parsed, lone_label},
};
use crate::{
    cim::CimName,
    query::{
        Dialect, QueryError,
        ast::{Comparison, Expr, Literal, Operand, OperandKind, Position, Test},
        lexer::Token,
        pattern::Pattern,
    },
};

impl Parser {
    fn deeper(&mut self) -> Result<(), QueryError> {
        let limit = self.limits.depth;
        if self.depth == limit {
            return Err(QueryError::TooDeep { position: self.at().0, limit });
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn expr(&mut self) -> Result<Expr, QueryError> {
        let first = self.term()?;
        let mut parts = vec![first];
        while self.take_word("OR") {
            parts.push(self.term()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Or(parts) })
    }

    fn term(&mut self) -> Result<Expr, QueryError> {
        let first = self.factor()?;
        let mut parts = vec![first];
        while self.take_word("AND") {
            parts.push(self.factor()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::And(parts) })
    }

    fn factor(&mut self) -> Result<Expr, QueryError> {
        if self.dialect == Dialect::Fql {
            return self.fql_factor();
        }
        if self.take_word("NOT") {
            self.deeper()?;
            let part = self.factor()?;
            self.depth -= 1;
            return Ok(Expr::Not(Box::new(part)));
        }
        let mut expr = if self.is_mark("(") { self.group()? } else { self.comparison()? };
        let outer = self.depth;
        while self.dialect == Dialect::Wql && self.is_word("IS") {
            self.deeper()?;
            expr = self.is_truth(expr)?;
        }
        self.depth = outer;
        Ok(expr)
    }

    pub(super) fn group(&mut self) -> Result<Expr, QueryError> {
        self.mark("(")?;
        self.deeper()?;
        let expr = self.expr()?;
        self.depth -= 1;
        self.arithmetic()?;
        if !self.take_mark(")") {
            return Err(self.unexpected("AND, OR or `)`"));
        }
        Ok(expr)
    }

    fn is_truth(&mut self, operand: Expr) -> Result<Expr, QueryError> {
        self.word("IS")?;
        let negated = self.take_word("NOT");
        let truth = if self.take_word("TRUE") {
            true
        } else if self.take_word("FALSE") {
            false
        } else {
            return Err(self.unexpected("TRUE or FALSE"));
        };
        Ok(Expr::IsTruth { operand: Box::new(operand), negated, truth })
    }

    fn comparison(&mut self) -> Result<Expr, QueryError> {
        let at = self.at();
        let left = self.operand()?;
        self.arithmetic()?;
        if let Some(operator) = self.relation() {
            return self.compare(left, operator);
        }
        let Parsed::Operand(operand) = left else {
            return Err(self.unexpected("a comparison"));
        };
        if matches!(operand.kind, OperandKind::Symbol { .. }) {
            return Err(self.unexpected("a comparison"));
        }
        if self.is_word("LIKE") || self.is_word("NOT") {
            let test = self.like()?;
            return Ok(Expr::Test { operand, test });
        }
        if self.is_word("ISA") {
            return self.isa(operand, at);
        }
        if self.is_word("IS") && !self.is_truth_ahead() {
            self.advance();
            let negated = self.take_word("NOT");
            self.word("NULL")?;
            return Ok(Expr::IsNull { operand, negated });
        }
        match &operand.kind {
            OperandKind::Chain(_) | OperandKind::Literal(Literal::Boolean(_)) => {
                Ok(Expr::Truth(operand))
            }
            _ => Err(self.unexpected("a comparison")),
        }
    }

    /// WQL's `IS [NOT] TRUE|FALSE` after an operand.
    fn is_truth_ahead(&self) -> bool {
        let word = |ahead: usize, wanted: &str| {
            let token = self.tokens.get(self.next + ahead).map(|spanned| &spanned.token);
            matches!(token, Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted))
        };
        let after = if word(1, "NOT") { 2 } else { 1 };
        self.dialect == Dialect::Wql && (word(after, "TRUE") || word(after, "FALSE"))
    }

    fn isa(&mut self, operand: Operand, at: Position) -> Result<Expr, QueryError> {
        let OperandKind::Chain(chain) = operand.kind else {
            return Err(self.unexpected("a comparison"));
        };
        self.word("ISA")?;
        self.part()?;
        // Some clients quote the class.
        let class = match self.peek() {
            Token::Text(text) => CimName::parse(text).ok().inspect(|_| self.advance()),
            _ => Some(self.name("a class name")?),
        };
        match class {
            Some(class) => Ok(Expr::Isa { chain, class, at }),
            None => Err(self.unexpected("a class name")),
        }
    }

    fn compare(&mut self, left: Parsed, operator: Comparison) -> Result<Expr, QueryError> {
        let at = self.at();
        self.advance();
        let right = self.operand()?;
        self.arithmetic()?;
        let (operand, right) = match (left, right) {
            (Parsed::Operand(left), Parsed::Operand(right)) => (left, right),
            (Parsed::Operand(left), Parsed::Label { at, label }) => {
                let right = self.symbol_of(&left, at, label)?;
                (left, right)
            }
            (Parsed::Label { at, label }, Parsed::Operand(right)) => {
                (self.symbol_of(&right, at, label)?, right)
            }
            (Parsed::Label { .. }, Parsed::Label { at, .. }) => return Err(lone_label(at)),
        };
        Ok(Expr::Test { operand, test: Test::Compare { operator, right, at } })
    }

    /// A label without a property is one of the property it is compared with.
    fn symbol_of(
        &self,
        other: &Operand,
        at: Position,
        label: String,
    ) -> Result<Operand, QueryError> {
        let property = other.chain().filter(|chain| !chain.steps.is_empty()).cloned();
        let property = property.ok_or_else(|| lone_label(at))?;
        Ok(Operand { at, kind: OperandKind::Symbol { property, label } })
    }

    pub(super) fn relation(&self) -> Option<Comparison> {
        let Token::Mark(mark) = self.peek() else { return None };
        Some(match *mark {
            "=" => Comparison::Equal,
            "<>" | "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        })
    }

    pub(super) fn like(&mut self) -> Result<Test, QueryError> {
        let at = self.at();
        let negated = self.take_word("NOT");
        self.word("LIKE")?;
        let pattern_at = self.at();
        self.part()?;
        let text = self.string("a pattern in quotes")?;
        let pattern = Pattern::compile(self.dialect, &text, &mut self.pattern_room)
            .map_err(|reason| QueryError::Pattern { position: pattern_at.0, reason })?;
        Ok(Test::Like { negated, pattern, at })
    }

    pub(super) fn arithmetic(&self) -> Result<(), QueryError> {
        match self.peek() {
            Token::Mark("+" | "-" | "*" | "/" | "||") => Err(self.unsupported("arithmetic")),
            // The sign is the number's, as in `Size -1`.
            Token::Integer(..0) => Err(self.unsupported("arithmetic")),
            Token::Real(number) if *number < 0.0 => Err(self.unsupported("arithmetic")),
            _ => Ok(()),
        }
    }
}
