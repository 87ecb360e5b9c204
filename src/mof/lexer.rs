//! Text → tokens (DSP0004 annex A).
//!
//! Keywords are not tokens: MOF lets most of them stand as names, so the parser knows them by their
//! place. A token keeps its byte offset only; lines and columns are counted when a message needs them.

use std::borrow::Cow;

use super::Problem;
use crate::cim::{begins_name, continues_name};

/// How far the text must be MOF.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// DSP0004.
    Standard,
    /// Also what libvirt-cim's reader of embedded instances took (MODEL 2.11): strings in single
    /// quotes, strings that end with their line, backslashes that escape nothing.
    Embedded,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind<'t> {
    Identifier(&'t str),
    /// `$Name`, without the dollar sign.
    Alias(&'t str),
    /// `#pragma`.
    Pragma,
    String(Cow<'t, str>),
    Char(u16),
    Integer(i128),
    Real(f64),
    /// One of `{ } [ ] ( ) , ; : =`.
    Punctuation(u8),
    End,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: TokenKind<'t>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What is wrong, and where.
#[derive(Debug, PartialEq)]
pub(super) struct LexError {
    pub(super) problem: Problem,
    pub(super) at: usize,
    pub(super) hint: Option<&'static str>,
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
    dialect: Dialect,
}

impl<'t> Lexer<'t> {
    /// Reads from `position` on; a byte order mark at the start is passed over.
    pub(super) fn new(text: &'t str, position: usize, dialect: Dialect) -> Self {
        let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, position: position.max(mark), dialect }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// The next token; [`TokenKind::End`] again and again at the end.
    pub(super) fn next(&mut self) -> Result<Token<'t>, LexError> {
        self.skip_blanks_and_comments()?;
        let start = self.position;
        let kind = match self.peek(0) {
            None => TokenKind::End,
            Some(b @ (b'{' | b'}' | b'[' | b']' | b'(' | b')' | b',' | b';' | b':' | b'=')) => {
                self.position += 1;
                TokenKind::Punctuation(b)
            }
            Some(b'"') => TokenKind::String(self.string(b'"')?),
            Some(b'\'') if self.dialect == Dialect::Embedded => {
                TokenKind::String(self.string(b'\'')?)
            }
            Some(b'\'') => TokenKind::Char(self.character()?),
            Some(b'0'..=b'9' | b'+' | b'-' | b'.') => self.number()?,
            Some(b'$') => {
                self.position += 1;
                match self.identifier() {
                    Some(name) => TokenKind::Alias(name),
                    None => return Err(self.stray(start, Some("an alias is `$` and a name"))),
                }
            }
            Some(b'#') => {
                self.position += 1;
                match self.identifier() {
                    Some(word) if word.eq_ignore_ascii_case("pragma") => TokenKind::Pragma,
                    _ => return Err(self.stray(start, Some("only `#pragma` begins with `#`"))),
                }
            }
            Some(_) => match self.identifier() {
                Some(name) => TokenKind::Identifier(name),
                None => return Err(self.stray(start, None)),
            },
        };
        Ok(Token { kind, start, end: self.position })
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.position + ahead).copied()
    }

    fn stray(&self, at: usize, hint: Option<&'static str>) -> LexError {
        let c = self.text[at..].chars().next().unwrap_or('\0');
        LexError { problem: Problem::StrayCharacter(c), at, hint }
    }

    fn skip_blanks_and_comments(&mut self) -> Result<(), LexError> {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0c | 0x0b) => self.position += 1,
                Some(b'/') if self.peek(1) == Some(b'/') => {
                    let rest = &self.text[self.position..];
                    self.position += rest.find('\n').unwrap_or(rest.len());
                }
                Some(b'/') if self.peek(1) == Some(b'*') => {
                    let at = self.position;
                    let Some(length) = self.text[at + 2..].find("*/") else {
                        return Err(LexError { problem: Problem::OpenComment, at, hint: None });
                    };
                    self.position = at + 2 + length + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    /// A name at the current place.
    fn identifier(&mut self) -> Option<&'t str> {
        let rest = &self.text[self.position..];
        let end = rest
            .char_indices()
            .find(|&(index, c)| !(begins_name(c) || index > 0 && continues_name(c)))
            .map_or(rest.len(), |(index, _)| index);
        self.position += end;
        (end > 0).then_some(&rest[..end])
    }

    fn string(&mut self, quote: u8) -> Result<Cow<'t, str>, LexError> {
        let open = self.position;
        self.position += 1;
        let mut decoded: Option<String> = None;
        let mut run = self.position;
        loop {
            let at = self.position;
            match self.peek(0) {
                Some(b) if b == quote => self.position += 1,
                Some(b'\\') => {
                    let text = decoded.get_or_insert_default();
                    text.push_str(&self.text[run..at]);
                    match self.escape()? {
                        Some(c) => text.push(c),
                        None => text.push('\\'),
                    }
                    run = self.position;
                    continue;
                }
                Some(b'\n' | b'\r') if self.dialect == Dialect::Embedded => {}
                None | Some(b'\n' | b'\r') => {
                    return Err(LexError {
                        problem: Problem::OpenString,
                        at: open,
                        hint: Some("a long text is written as several strings side by side"),
                    });
                }
                Some(_) => {
                    self.position += 1;
                    continue;
                }
            }
            let tail = &self.text[run..at];
            return Ok(match decoded {
                None => Cow::Borrowed(tail),
                Some(mut text) => {
                    text.push_str(tail);
                    Cow::Owned(text)
                }
            });
        }
    }

    /// What the backslash at the current place stands for; `None` for the backslash itself.
    fn escape(&mut self) -> Result<Option<char>, LexError> {
        let at = self.position;
        self.position += 1;
        let c = match self.peek(0) {
            Some(b'b') => '\u{8}',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\u{c}',
            Some(b'r') => '\r',
            Some(b'"') => '"',
            Some(b'\'') => '\'',
            Some(b'\\') => '\\',
            Some(b'x' | b'X') => {
                let bad = LexError { problem: Problem::BadCodePoint, at, hint: None };
                return match self.code_point() {
                    Some(c) => Ok(Some(c)),
                    None if self.dialect == Dialect::Embedded => {
                        self.position = at + 1;
                        Ok(None)
                    }
                    None => Err(bad),
                };
            }
            _ if self.dialect == Dialect::Embedded => return Ok(None),
            // Not in DSP0004, but in schemas in use (`\)` in libvirt-cim's).
            Some(b) if b.is_ascii_punctuation() => char::from(b),
            _ => {
                let escaped = self.text[at + 1..].chars().next().map(String::from);
                return Err(LexError {
                    problem: Problem::UnknownEscape(escaped.unwrap_or_default()),
                    at,
                    hint: Some("a backslash itself is written `\\\\`"),
                });
            }
        };
        self.position += 1;
        Ok(Some(c))
    }

    /// The character of `\x` and up to four hexadecimal digits, or of two such that make a
    /// surrogate pair. The current place is the `x`, afterwards the end of the digits.
    fn code_point(&mut self) -> Option<char> {
        let unit = self.hex_unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit);
        }
        if self.peek(0) != Some(b'\\') || !matches!(self.peek(1), Some(b'x' | b'X')) {
            return None;
        }
        self.position += 1;
        let low = self.hex_unit()?;
        let in_pair = (0xdc00..0xe000).contains(&low);
        in_pair.then(|| char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)))?
    }

    /// The number after the `x` at the current place.
    fn hex_unit(&mut self) -> Option<u32> {
        self.position += 1;
        let start = self.position;
        while self.position - start < 4 && self.peek(0).is_some_and(|b| b.is_ascii_hexdigit()) {
            self.position += 1;
        }
        u32::from_str_radix(&self.text[start..self.position], 16).ok()
    }

    fn character(&mut self) -> Result<u16, LexError> {
        let at = self.position;
        let bad = || LexError { problem: Problem::BadCharacter, at, hint: None };
        self.position += 1;
        let c = match self.text[self.position..].chars().next() {
            Some('\\') => self.escape()?.ok_or_else(bad)?,
            None | Some('\'' | '\n' | '\r') => return Err(bad()),
            Some(c) => {
                self.position += c.len_utf8();
                c
            }
        };
        if self.peek(0) != Some(b'\'') {
            return Err(bad());
        }
        self.position += 1;
        u16::try_from(u32::from(c)).map_err(|_| bad())
    }

    fn number(&mut self) -> Result<TokenKind<'t>, LexError> {
        let start = self.position;
        self.position += 1;
        while let Some(b) = self.peek(0) {
            let exponent_sign = (b == b'+' || b == b'-')
                && matches!(self.text.as_bytes()[self.position - 1], b'e' | b'E')
                && self.text[start..self.position].contains('.');
            if !(b.is_ascii_alphanumeric() || b == b'.' || b == b'_' || exponent_sign) {
                break;
            }
            self.position += 1;
        }
        let written = &self.text[start..self.position];
        classify_number(written).ok_or_else(|| LexError {
            problem: Problem::BadNumber(written.to_owned()),
            at: start,
            hint: match written.trim_start_matches(['+', '-']).as_bytes() {
                [b'0', b'0'..=b'9', ..] => Some("a leading zero makes a number octal"),
                [.., b'.'] => Some("a real has digits after its point"),
                _ => None,
            },
        })
    }
}

fn classify_number(written: &str) -> Option<TokenKind<'static>> {
    let (negative, digits) = match written.as_bytes()[0] {
        b'-' => (true, &written[1..]),
        b'+' => (false, &written[1..]),
        _ => (false, written),
    };
    if let Some((whole, fraction)) = digits.split_once('.') {
        let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
            Some((fraction, exponent)) => (fraction, Some(exponent)),
            None => (fraction, None),
        };
        let exponent_digits = exponent.map(|e| e.strip_prefix(['+', '-']).unwrap_or(e));
        let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let valid = all_digits(whole)
            && !fraction.is_empty()
            && all_digits(fraction)
            && exponent_digits.is_none_or(|e| !e.is_empty() && all_digits(e));
        let number: f64 = written.parse().ok()?;
        return (valid && number.is_finite()).then_some(TokenKind::Real(number));
    }
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [.., b'b' | b'B'] => (2, &digits[..digits.len() - 1]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // from_str_radix would take a second sign.
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return None;
    }
    let n = i128::from_str_radix(digits, radix).ok()?;
    Some(TokenKind::Integer(if negative { -n } else { n }))
}
