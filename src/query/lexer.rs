//! Text → tokens, for all three languages.

use super::{Dialect, QueryError, ast::Position};
use crate::cim::{begins_name, continues_name};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword; which one only the parser can tell.
    Word(String),
    Integer(i128),
    Real(f64),
    /// A string with its escapes undone.
    Text(String),
    /// An operator or a mark of punctuation.
    Mark(&'static str),
    End,
}

/// A token and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) at: Position,
    /// As it was written, for error messages.
    pub(super) text: String,
}

/// Longer marks stand before those they begin with.
const MARKS: [&str; 22] = [
    "::", "<>", "<=", ">=", "!=", "||", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", "*",
    "#", "+", "-", "/",
];

/// How much of a token an error message shows.
const SHOWN: usize = 40;

/// Cuts the text into tokens; the last one is [`Token::End`].
pub(super) fn tokens(dialect: Dialect, text: &str) -> Result<Vec<Spanned>, QueryError> {
    let mut lexer = Lexer { dialect, text, offset: 0, position: 1 };
    let mut found = Vec::new();
    loop {
        lexer.skip_blanks();
        let (start, at) = (lexer.offset, Position(lexer.position));
        let token = lexer.next()?;
        let end = token == Token::End;
        found.push(Spanned { token, at, text: shown(&text[start..lexer.offset]) });
        if end {
            return Ok(found);
        }
    }
}

/// The beginning of a text, quoted, on one line.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        return "the end".to_owned();
    }
    let cut: String = text.chars().take(SHOWN).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", cut.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""))
}

struct Lexer<'a> {
    dialect: Dialect,
    text: &'a str,
    /// In bytes.
    offset: usize,
    /// In characters, from 1.
    position: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        self.position += 1;
        Some(c)
    }

    /// Takes characters while they are `wanted`.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.offset += end;
        self.position += rest[..end].chars().count();
        &rest[..end]
    }

    fn skip_blanks(&mut self) {
        self.take(char::is_whitespace);
    }

    fn error(&self, position: usize, expected: &'static str, found: &str) -> QueryError {
        QueryError::Syntax { position, expected, found: shown(found) }
    }

    fn next(&mut self) -> Result<Token, QueryError> {
        let Some(c) = self.peek() else { return Ok(Token::End) };
        if begins_name(c) {
            return Ok(Token::Word(self.take(continues_name).to_owned()));
        }
        if self.begins_number() {
            return self.number();
        }
        if c == '\'' || (c == '"' && self.dialect == Dialect::Wql) {
            return self.string(c);
        }
        let known = |mark: &&&str| {
            self.rest().starts_with(**mark) && (**mark != "!=" || self.dialect == Dialect::Wql)
        };
        match MARKS.iter().find(known) {
            Some(mark) => {
                self.offset += mark.len();
                self.position += mark.len();
                Ok(Token::Mark(mark))
            }
            None => {
                Err(self.error(self.position, "a name, a literal or an operator", &c.to_string()))
            }
        }
    }

    /// Whether a number begins here: a digit, or a dot or a sign that a digit follows.
    fn begins_number(&self) -> bool {
        let unsigned = self.rest().strip_prefix(['+', '-']).unwrap_or(self.rest());
        let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
        digits.starts_with(|c: char| c.is_ascii_digit())
    }

    /// Decimal, `0x` hexadecimal and `…b` binary integers, and reals, each with an optional sign.
    fn number(&mut self) -> Result<Token, QueryError> {
        let (start, position) = (self.offset, self.position);
        let negative = self.peek() == Some('-');
        self.take(|c| c == '+' || c == '-');
        let digits = self.take(|c| c.is_ascii_digit());
        if digits == "0" && matches!(self.peek(), Some('x' | 'X')) {
            self.bump();
            let digits = self.take(|c| c.is_ascii_hexdigit());
            return self.integer(start, position, negative, digits, 16);
        }
        if !digits.is_empty() && matches!(self.peek(), Some('b' | 'B')) {
            self.bump();
            return self.integer(start, position, negative, digits, 2);
        }
        let mut real = false;
        if self.peek() == Some('.') {
            real = true;
            self.bump();
            self.take(|c| c.is_ascii_digit());
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            real = true;
            self.bump();
            if matches!(self.peek(), Some('+' | '-')) {
                self.bump();
            }
            self.take(|c| c.is_ascii_digit());
        }
        if !real {
            return self.integer(start, position, negative, digits, 10);
        }
        self.no_name_after(start, position)?;
        let text = &self.text[start..self.offset];
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Real(number)),
            _ => Err(self.error(position, "a number", text)),
        }
    }

    fn integer(
        &mut self,
        start: usize,
        position: usize,
        negative: bool,
        digits: &str,
        radix: u32,
    ) -> Result<Token, QueryError> {
        self.no_name_after(start, position)?;
        let number = i128::from_str_radix(digits, radix).ok();
        let number = number.map(|n| if negative { -n } else { n });
        match number {
            Some(n) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&n) => {
                Ok(Token::Integer(n))
            }
            _ => {
                let text = &self.text[start..self.offset];
                Err(self.error(position, "an integer of at most 64 bits", text))
            }
        }
    }

    /// `123x` is neither a number nor a name.
    fn no_name_after(&mut self, start: usize, position: usize) -> Result<(), QueryError> {
        if self.peek().is_some_and(begins_name) {
            self.take(continues_name);
            return Err(self.error(position, "a number", &self.text[start..self.offset]));
        }
        Ok(())
    }

    /// A string: a doubled quote stands for itself, a backslash begins an escape of DSP0202. Before
    /// any other character the backslash stays, so that LIKE patterns need not double it.
    fn string(&mut self, quote: char) -> Result<Token, QueryError> {
        let (start, position) = (self.offset, self.position);
        self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => {
                    return Err(self.error(position, "a closed string", &self.text[start..]));
                }
                Some(c) if c == quote => {
                    if self.peek() != Some(quote) {
                        return Ok(Token::Text(text));
                    }
                    self.bump();
                    text.push(quote);
                }
                Some('\\') => self.escape(&mut text)?,
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, text: &mut String) -> Result<(), QueryError> {
        let position = self.position - 1;
        let Some(c) = self.peek() else { return Ok(()) };
        let plain = match c {
            '\\' | '\'' | '"' => Some(c),
            'b' => Some('\u{8}'),
            't' => Some('\t'),
            'n' => Some('\n'),
            'f' => Some('\u{c}'),
            'r' => Some('\r'),
            _ => None,
        };
        if let Some(plain) = plain {
            self.bump();
            text.push(plain);
            return Ok(());
        }
        let length = match c {
            'u' => 4,
            'U' => 8,
            _ => {
                text.push('\\');
                return Ok(());
            }
        };
        self.bump();
        let start = self.offset;
        for _ in 0..length {
            if !self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                break;
            }
            self.bump();
        }
        let digits = &self.text[start..self.offset];
        let decoded = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        match decoded {
            Some(decoded) if digits.len() == length => text.push(decoded),
            _ => return Err(self.error(position, "the hexadecimal code of a character", digits)),
        }
        Ok(())
    }
}
