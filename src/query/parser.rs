//! Tokens → what the query says, by recursive descent.
//!
//! ```text
//! select  = SELECT list FROM class [ [AS] alias ] [ WHERE expr ]
//! list    = "*" | column { "," column }              column = chain [ ".*" ]
//! expr    = term { OR term }                         term   = factor { AND factor }
//! factor  = NOT factor | "(" expr ")" | comp
//! comp    = operand relop operand | operand [NOT] LIKE string | operand IS [NOT] NULL
//!         | chain ISA class | operand
//! operand = chain | [chain] "#" string | literal
//! chain   = step { "." step }                        step   = [ class "::" ] name [ "[" n "]" ]
//! ```
//!
//! WQL adds `IS [NOT] TRUE`/`FALSE` after a condition. FQL is an `expr` alone, without NOT, IS, ISA
//! and labels, with `[NOT] ANY|EVERY chain`, `{…}` arrays and the literal NULL.

use super::{
    Dialect, Limits, QueryError,
    ast::{
        Chain, Columns, Comparison, Expr, Literal, Operand, OperandKind, Position, Quantifier,
        Step, Test,
    },
    lexer::{Spanned, Token, tokens},
    limits::PatternRoom,
    pattern::Pattern,
};
use crate::cim::CimName;

/// Words that can't begin an operand.
const RESERVED: [&str; 11] =
    ["SELECT", "FROM", "WHERE", "AND", "OR", "NOT", "IS", "ISA", "LIKE", "ORDER", "GROUP"];

/// The parts of a SELECT.
pub(super) struct Select {
    pub(super) columns: Columns,
    pub(super) from: CimName,
    pub(super) from_at: Position,
    pub(super) alias: Option<CimName>,
    pub(super) condition: Option<Expr>,
}

pub(super) fn parse_select(
    dialect: Dialect,
    text: &str,
    limits: &Limits,
) -> Result<Select, QueryError> {
    let mut parser = Parser::new(dialect, text, limits)?;
    let select = parser.select()?;
    parser.end()?;
    Ok(select)
}

pub(super) fn parse_filter(text: &str, limits: &Limits) -> Result<Expr, QueryError> {
    let mut parser = Parser::new(Dialect::Fql, text, limits)?;
    let condition = parser.expr()?;
    parser.end()?;
    Ok(condition)
}

struct Parser {
    dialect: Dialect,
    limits: Limits,
    tokens: Vec<Spanned>,
    next: usize,
    depth: usize,
    /// How much more may be named.
    parts_left: usize,
    /// How large further patterns may be.
    pattern_room: PatternRoom,
    /// What a chain may begin with to mean the instance itself: the FROM class and its alias.
    roots: Vec<CimName>,
}

/// An operand, of which a label alone is still without its property.
enum Parsed {
    Operand(Operand),
    Label { at: Position, label: String },
}

impl Parser {
    fn new(dialect: Dialect, text: &str, limits: &Limits) -> Result<Self, QueryError> {
        if text.len() > limits.length {
            return Err(QueryError::TooLong { limit: limits.length });
        }
        let tokens = tokens(dialect, text)?;
        Ok(Self {
            dialect,
            limits: *limits,
            tokens,
            next: 0,
            depth: 0,
            parts_left: limits.parts,
            pattern_room: PatternRoom::new(limits),
            roots: Vec::new(),
        })
    }

    fn peek(&self) -> &Token {
        &self.tokens[self.next].token
    }

    fn at(&self) -> Position {
        self.tokens[self.next].at
    }

    /// Steps over the current token; the end stays where it is.
    fn advance(&mut self) {
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word))
    }

    fn is_mark(&self, mark: &str) -> bool {
        matches!(self.peek(), Token::Mark(found) if *found == mark)
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn take_mark(&mut self, mark: &str) -> bool {
        let found = self.is_mark(mark);
        if found {
            self.advance();
        }
        found
    }

    fn unexpected(&self, expected: &'static str) -> QueryError {
        let Spanned { at, text, .. } = &self.tokens[self.next];
        QueryError::Syntax { position: at.0, expected, found: text.clone() }
    }

    fn unsupported(&self, feature: &'static str) -> QueryError {
        QueryError::Unsupported { position: self.at().0, feature }
    }

    fn word(&mut self, word: &'static str) -> Result<(), QueryError> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(word)) }
    }

    fn mark(&mut self, mark: &'static str) -> Result<(), QueryError> {
        if self.take_mark(mark) {
            return Ok(());
        }
        Err(self.unexpected(match mark {
            "(" => "`(`",
            ")" => "`)`",
            "]" => "`]`",
            "}" => "`,` or `}`",
            _ => mark,
        }))
    }

    fn name(&mut self, expected: &'static str) -> Result<CimName, QueryError> {
        let name = match self.peek() {
            Token::Word(word) => CimName::parse(word).ok(),
            _ => None,
        };
        let name = name.ok_or_else(|| self.unexpected(expected))?;
        self.advance();
        Ok(name)
    }

    fn string(&mut self, expected: &'static str) -> Result<String, QueryError> {
        let Token::Text(text) = self.peek() else { return Err(self.unexpected(expected)) };
        let text = text.clone();
        self.advance();
        Ok(text)
    }

    fn end(&self) -> Result<(), QueryError> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Mark("+" | "-" | "*" | "/" | "||") => Err(self.unsupported("arithmetic")),
            _ => Err(self.unexpected("AND, OR or the end")),
        }
    }

    /// Counts the part of the query that the current token begins.
    fn part(&mut self) -> Result<(), QueryError> {
        let too_much = QueryError::TooMuch { position: self.at().0, limit: self.limits.parts };
        self.parts_left = self.parts_left.checked_sub(1).ok_or(too_much)?;
        Ok(())
    }

    // SELECT

    fn select(&mut self) -> Result<Select, QueryError> {
        self.word("SELECT")?;
        let mut columns = self.columns()?;
        self.word("FROM")?;
        let from_at = self.at();
        let from = self.name("a class name")?;
        self.mark_joins()?;
        let alias = self.alias()?;
        self.roots = [Some(&from), alias.as_ref()].into_iter().flatten().cloned().collect();
        if let Columns::Listed(chains) = &mut columns {
            chains.iter_mut().for_each(|chain| self.find_root(chain));
            // `SELECT class.prop, alias.*` names everything.
            if chains.iter().any(|chain| chain.steps.is_empty()) {
                columns = Columns::All;
            }
        }
        let condition = if self.take_word("WHERE") { Some(self.expr()?) } else { None };
        for later in ["ORDER", "GROUP", "HAVING", "WITHIN"] {
            if self.is_word(later) {
                return Err(self.unsupported("ordering and grouping"));
            }
        }
        if condition.is_none() && *self.peek() != Token::End {
            return Err(self.unexpected("WHERE or the end"));
        }
        Ok(Select { columns, from, from_at, alias, condition })
    }

    fn mark_joins(&self) -> Result<(), QueryError> {
        if self.is_mark(",") || self.is_word("JOIN") {
            return Err(self.unsupported("a query over more than one class"));
        }
        Ok(())
    }

    fn alias(&mut self) -> Result<Option<CimName>, QueryError> {
        let alias = if self.take_word("AS") {
            Some(self.name("an alias")?)
        } else {
            match self.peek() {
                Token::Word(word) if !is_reserved(word) && !is_clause(word) => {
                    Some(self.name("an alias")?)
                }
                _ => None,
            }
        };
        self.mark_joins()?;
        Ok(alias)
    }

    fn columns(&mut self) -> Result<Columns, QueryError> {
        for modifier in ["DISTINCT", "FIRST", "COUNT"] {
            if self.is_word(modifier)
                && !matches!(self.tokens[self.next + 1].token, Token::Mark("," | ".") | Token::End)
                && !self.next_is_from()
            {
                return Err(self.unsupported("anything but a list of properties after SELECT"));
            }
        }
        let (mut all, mut chains) = (false, Vec::new());
        loop {
            if self.take_mark("*") {
                all = true;
            } else {
                chains.push(self.column()?);
            }
            if self.is_word("AS") {
                return Err(self.unsupported("renaming a column"));
            }
            if !self.take_mark(",") {
                break;
            }
        }
        Ok(if all { Columns::All } else { Columns::Listed(chains) })
    }

    fn next_is_from(&self) -> bool {
        matches!(&self.tokens[self.next + 1].token, Token::Word(word) if word.eq_ignore_ascii_case("FROM"))
    }

    /// A chain; `chain.*` is the same as the chain, for it names a whole object.
    fn column(&mut self) -> Result<Chain, QueryError> {
        match self.peek() {
            Token::Word(word) if !is_reserved(word) => {}
            _ => return Err(self.unexpected("a property or `*`")),
        }
        let chain = self.chain()?;
        if self.is_mark("#") {
            return Err(self.unexpected("`,` or FROM"));
        }
        if let Some(step) = chain.steps.iter().find(|step| step.index.is_some()) {
            return Err(QueryError::Unsupported {
                position: step.at.0,
                feature: "an array index in the select list",
            });
        }
        Ok(chain)
    }

    // Conditions

    fn deeper(&mut self) -> Result<(), QueryError> {
        let limit = self.limits.depth;
        if self.depth == limit {
            return Err(QueryError::TooDeep { position: self.at().0, limit });
        }
        self.depth += 1;
        Ok(())
    }

    fn expr(&mut self) -> Result<Expr, QueryError> {
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

    fn group(&mut self) -> Result<Expr, QueryError> {
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

    fn relation(&self) -> Option<Comparison> {
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

    fn like(&mut self) -> Result<Test, QueryError> {
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

    fn arithmetic(&self) -> Result<(), QueryError> {
        match self.peek() {
            Token::Mark("+" | "-" | "*" | "/" | "||") => Err(self.unsupported("arithmetic")),
            _ => Ok(()),
        }
    }

    // FQL

    fn fql_factor(&mut self) -> Result<Expr, QueryError> {
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

    // Operands

    fn operand(&mut self) -> Result<Parsed, QueryError> {
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
    fn literal(&self) -> Option<Literal> {
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

    fn chain(&mut self) -> Result<Chain, QueryError> {
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

    fn find_root(&self, chain: &mut Chain) {
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

fn lone_label(at: Position) -> QueryError {
    QueryError::Syntax {
        position: at.0,
        expected: "a label next to the property it belongs to",
        found: "`#`".to_owned(),
    }
}

fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved))
}

fn is_clause(word: &str) -> bool {
    ["HAVING", "WITHIN", "JOIN"].iter().any(|clause| word.eq_ignore_ascii_case(clause))
}

fn is_literal(word: &str) -> bool {
    ["TRUE", "FALSE", "NULL"].iter().any(|literal| word.eq_ignore_ascii_case(literal))
}
