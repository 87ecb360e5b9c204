//! Why a message can't be decoded, and where.

use std::fmt;

/// Why a message can't be decoded. Each variant is one `CIMError` header of DSP0200 §7.3.3, or a
/// limit of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// It is no XML: `request-not-well-formed`.
    #[error("not well-formed XML at {at}: {what}")]
    NotWellFormed {
        /// Where.
        at: Position,
        /// What is wrong there.
        what: String,
    },
    /// It is XML, but not what DSP0201 describes: `request-not-valid`.
    #[error("not valid CIM-XML at {at}: {what}")]
    NotValid {
        /// Where.
        at: Position,
        /// What is wrong there.
        what: String,
    },
    /// A name or a value is not of its type. In a request this is no failure of the message: it
    /// becomes the operation's own error, so only replies and embedded objects end with it.
    #[error("bad value at {at}: {what}")]
    BadValue {
        /// Where.
        at: Position,
        /// Which element has which value, and what it should be.
        what: String,
    },
    /// CIMVERSION is not 2.x: `unsupported-cim-version`.
    #[error("CIM version `{0}` is not supported, 2.x is")]
    UnsupportedCimVersion(String),
    /// DTDVERSION is not 2.x: `unsupported-dtd-version`.
    #[error("DTD version `{0}` is not supported, 2.x is")]
    UnsupportedDtdVersion(String),
    /// PROTOCOLVERSION is not 1.x: `unsupported-protocol-version`.
    #[error("protocol version `{0}` is not supported, 1.x is")]
    UnsupportedProtocolVersion(String),
    /// It exceeds one of [`Limits`](super::Limits).
    #[error("more than {allowed} {limit} at {at}")]
    TooLarge {
        /// Where the limit was passed.
        at: Position,
        /// What there is too much of.
        limit: Limit,
        /// How much is allowed.
        allowed: usize,
    },
}

/// What [`Limits`](super::Limits) bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the fields of Limits")]
pub enum Limit {
    Bytes,
    Depth,
    Elements,
    Attributes,
    Embedded,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Depth => "elements inside each other",
            Self::Elements => "elements",
            Self::Attributes => "attributes on one element",
            Self::Embedded => "embedded objects inside each other",
        })
    }
}

/// A place in a message, or in the text of an embedded object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
}

impl Position {
    /// The place that many bytes into `text`.
    pub(super) fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        Self { offset, line: 1 + before.iter().filter(|&&byte| byte == b'\n').count() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} (line {})", self.offset, self.line)
    }
}

/// Text of a peer as it may stand in a message: quoted, cut, without control characters.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 64;
        match self.0.char_indices().nth(LONGEST) {
            None => write!(f, "`{}`", self.0.escape_debug()),
            Some((cut, _)) => write!(f, "`{}…`", self.0[..cut].escape_debug()),
        }
    }
}
