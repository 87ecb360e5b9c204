//! Writes elements into a byte buffer.
//!
//! Text is escaped, and what XML can't carry replaced: one odd character in a guest's description
//! must not make the client reject the whole answer. Empty elements are written `<X></X>`, but for
//! those that [`Tag::empty`] is for: wbemcli can't read the short form of others.
//!
//! Most of what is written are constants. The small functions are inlined so that the compiler knows
//! how long these are, and copies them without a call.

use super::reader::is_xml;
use crate::cim::CimName;

pub(super) struct Writer<'b> {
    out: &'b mut Vec<u8>,
}

/// A start tag that is still open for attributes.
#[must_use = "a tag must be finished with `open` or `empty`"]
pub(super) struct Tag<'w, 'b> {
    writer: &'w mut Writer<'b>,
}

impl<'b> Writer<'b> {
    pub(super) fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Begins a start tag.
    #[inline]
    pub(super) fn tag(&mut self, name: &str) -> Tag<'_, 'b> {
        self.raw("<");
        self.raw(name);
        Tag { writer: self }
    }

    /// Begins the start tag of a property: `start` is all that stands before its name.
    #[inline]
    pub(super) fn named_tag(&mut self, start: &'static str, name: &CimName) -> Tag<'_, 'b> {
        self.raw(start);
        self.raw(name.as_str());
        self.raw("\"");
        Tag { writer: self }
    }

    /// A start tag without attributes.
    #[inline]
    pub(super) fn open(&mut self, name: &str) {
        self.tag(name).open();
    }

    /// An end tag.
    #[inline]
    pub(super) fn close(&mut self, name: &str) {
        self.raw("</");
        self.raw(name);
        self.raw(">");
    }

    /// An element that holds what `content` writes.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// Markup that is complete already.
    #[inline]
    pub(super) fn markup(&mut self, markup: &[u8]) {
        self.out.extend_from_slice(markup);
    }

    /// An integer, as character data.
    pub(super) fn integer(&mut self, number: i64) {
        self.raw(itoa::Buffer::new().format(number));
    }

    /// Character data.
    pub(super) fn text(&mut self, text: &str) {
        self.escape(text, Place::Content);
    }

    /// Character data that a reader must not take for padded: if it both begins and ends with
    /// blanks around a line break, the first of these is written as a reference.
    pub(super) fn value_text(&mut self, text: &str) {
        // A carriage return is always written as a reference, so no blank to a reader.
        let blank = |c| matches!(c, ' ' | '\t' | '\n');
        if !text.starts_with(blank) || !text.ends_with(blank) {
            return self.text(text);
        }
        let head = &text[..text.len() - text.trim_start_matches(blank).len()];
        let tail = &text[text.trim_end_matches(blank).len()..];
        match head.find('\n') {
            Some(at) if head.len() < text.len() && tail.contains('\n') => {
                self.text(&text[..at]);
                self.raw("&#10;");
                self.text(&text[at + 1..]);
            }
            _ => self.text(text),
        }
    }

    #[inline]
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn escape(&mut self, text: &str, place: Place) {
        // Hardly any text needs it, and without a branch for each byte that is soon found out.
        if !text.bytes().fold(false, |odd, byte| odd | ODD[usize::from(byte)]) {
            return self.raw(text);
        }
        let mut written = 0;
        for (at, byte) in text.bytes().enumerate() {
            let (replacement, length) = match byte {
                b'&' => ("&amp;", 1),
                b'<' => ("&lt;", 1),
                b'>' => ("&gt;", 1),
                b'\r' => ("&#13;", 1),
                b'"' if place == Place::Attribute => ("&quot;", 1),
                b'\n' if place == Place::Attribute => ("&#10;", 1),
                b'\t' if place == Place::Attribute => ("&#9;", 1),
                b'\n' | b'\t' => continue,
                0..b' ' => ("\u{fffd}", 1),
                // U+FFFE and U+FFFF begin with this byte.
                0xef if !text[at..].starts_with(is_xml) => ("\u{fffd}", 3),
                _ => continue,
            };
            self.raw(&text[written..at]);
            self.raw(replacement);
            written = at + length;
        }
        self.raw(&text[written..]);
    }
}

/// Of each byte whether some text with it is not written as it is.
const ODD: [bool; 256] = {
    let mut odd = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        odd[byte] = byte < 0x20 || matches!(byte as u8, b'&' | b'<' | b'>' | b'"' | 0xef);
        byte += 1;
    }
    odd
};

#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    Content,
    Attribute,
}

impl Tag<'_, '_> {
    /// Adds an attribute.
    #[inline]
    pub(super) fn with(self, name: &str, value: &str) -> Self {
        self.writer.raw(" ");
        self.writer.raw(name);
        self.writer.raw("=\"");
        self.writer.escape(value, Place::Attribute);
        self.writer.raw("\"");
        self
    }

    /// Adds an attribute that is a CIM name; there is nothing to escape in one.
    #[inline]
    pub(super) fn with_name(self, name: &str, value: &CimName) -> Self {
        self.plain(name, value.as_str())
    }

    /// Adds an attribute that is a word of our own, with nothing to escape.
    #[inline]
    pub(super) fn with_word(self, name: &str, value: &'static str) -> Self {
        self.plain(name, value)
    }

    #[inline(always)]
    fn plain(self, name: &str, value: &str) -> Self {
        self.writer.raw(" ");
        self.writer.raw(name);
        self.writer.raw("=\"");
        self.writer.raw(value);
        self.writer.raw("\"");
        self
    }

    /// Adds an attribute if there is a value for it.
    #[inline]
    pub(super) fn with_some(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a boolean attribute unless it has its default.
    pub(super) fn with_flag(self, name: &str, value: bool, default: bool) -> Self {
        let text = if value { "true" } else { "false" };
        self.with_some(name, (value != default).then_some(text))
    }

    /// Ends the tag of an element with content.
    pub(super) fn open(self) {
        self.writer.raw(">");
    }

    /// Ends the tag of an element without.
    pub(super) fn empty(self) {
        self.writer.raw("/>");
    }
}
