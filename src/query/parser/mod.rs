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

mod condition;
mod fql;
mod operand;

use super::{
    Dialect, Limits, QueryError,
    ast::{Chain, Columns, Expr, Position},
    lexer::{Spanned, Token, tokens},
    limits::PatternRoom,
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
