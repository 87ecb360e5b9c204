//! A cursor over the elements of one message, borrowed from its bytes.
//!
//! The only place that sees XML syntax. It joins character data, CDATA and references; refuses
//! document types, entities of other names and characters XML does not have; and enforces
//! [`Limits`]. It is used like this: [`Reader::child`] opens the next child element; its attributes
//! can be asked for until it is called again; and whoever opened an element reads it to its end,
//! with [`Reader::content`], [`Reader::end`], [`Reader::skip`] or by calling `child` until it says
//! `None`.
//!
//! A *value* that is wrong (no number where a number must be, no CIM name) does not stop the cursor:
//! [`Reader::reject`] remembers the first, the reading goes on with a stand-in, and whoever began
//! takes it from [`Reader::take_fault`]. So one bad value in a well-formed request becomes the
//! operation's error, and the rest of the request is still checked.
//!
//! Unknown elements are refused, unknown attributes ignored: clients add some of their own.

use std::borrow::Cow;

use quick_xml::{
    XmlVersion,
    events::{
        BytesDecl, BytesRef, Event,
        attributes::{Attribute, Attributes},
    },
};

use super::{
    DecodeError, Limits, Position,
    error::{Limit, Quoted},
};
use crate::cim::{CimName, Namespace};

/// Elements inside each other, and attributes of one, that most messages have at most.
const ROOM: usize = 16;

/// Stands for a name that was rejected.
const REJECTED: CimName = CimName::literal("rejected");

pub(super) struct Reader<'a> {
    text: &'a str,
    xml: quick_xml::Reader<&'a [u8]>,
    limits: Limits,
    /// Elements this text is already inside of, where it is that of an embedded object.
    outer_depth: usize,
    /// Embedded objects this text is inside of, itself included.
    embedded: usize,
    elements: usize,
    /// Where the first character stands that XML does not have.
    illegal: Option<usize>,
    /// The elements that are open.
    open: Vec<&'a str>,
    /// Where the tag that was opened last begins.
    tag_at: usize,
    attributes: Vec<(&'a str, Cow<'a, str>)>,
    /// Whether the innermost element was an empty-element tag, so that its end is due.
    ends: bool,
    fault: Option<(usize, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        if bytes.len() > limits.bytes {
            return Err(DecodeError::TooLarge {
                at: Position::of(bytes, limits.bytes),
                limit: Limit::Bytes,
                allowed: limits.bytes,
            });
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| DecodeError::NotWellFormed {
            at: Position::of(bytes, error.valid_up_to()),
            what: "the bytes are not UTF-8".to_owned(),
        })?;
        let mut xml = quick_xml::Reader::from_str(text);
        xml.config_mut().check_comments = true;
        Ok(Self {
            text,
            xml,
            limits: *limits,
            outer_depth: 0,
            embedded: 0,
            elements: 0,
            illegal: first_illegal(text),
            open: Vec::with_capacity(ROOM),
            tag_at: 0,
            attributes: Vec::with_capacity(ROOM),
            ends: false,
            fault: None,
        })
    }

    /// A cursor over the text of an object embedded in a value of this one.
    pub(super) fn embedded<'t>(&self, text: &'t str) -> Result<Reader<'t>, DecodeError> {
        let mut inner = Reader::new(text.as_bytes(), &self.limits)?;
        inner.outer_depth = self.outer_depth + self.open.len();
        inner.embedded = self.embedded + 1;
        if inner.embedded > self.limits.embedded {
            return Err(inner.too_large(Limit::Embedded, self.limits.embedded));
        }
        Ok(inner)
    }

    /// Opens the document element; its name.
    pub(super) fn root(&mut self) -> Result<&'a str, DecodeError> {
        let mut declared = false;
        loop {
            let at = self.offset();
            match self.event()? {
                Event::Start(tag) => return self.enter(at, tag.name().0.len(), false),
                Event::Empty(tag) => return self.enter(at, tag.name().0.len(), true),
                Event::Decl(declaration) if !declared => {
                    self.check_declaration(at, &declaration)?;
                    declared = true;
                }
                Event::Text(text) if is_blank(&text) => {}
                Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return Err(self.not_well_formed(at, "there is no element")),
                Event::DocType(_) => return Err(self.doctype(at)),
                Event::Decl(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::GeneralRef(_)
                | Event::End(_) => {
                    return Err(self.not_well_formed(at, "something before the first element"));
                }
            }
        }
    }

    /// Opens the next child of the innermost open element, or closes that: then `None`.
    pub(super) fn child(&mut self) -> Result<Option<&'a str>, DecodeError> {
        if self.ends {
            self.leave();
            return Ok(None);
        }
        loop {
            let at = self.offset();
            match self.event()? {
                Event::Start(tag) => return self.enter(at, tag.name().0.len(), false).map(Some),
                Event::Empty(tag) => return self.enter(at, tag.name().0.len(), true).map(Some),
                Event::End(_) => {
                    self.leave();
                    return Ok(None);
                }
                Event::Text(text) if is_blank(&text) => {}
                Event::Comment(_) | Event::PI(_) => {}
                Event::GeneralRef(reference) => {
                    self.resolve(at, &reference)?;
                    return Err(self.stray_text(at));
                }
                Event::Text(_) | Event::CData(_) => return Err(self.stray_text(at)),
                Event::Eof => return Err(self.truncated()),
                Event::DocType(_) => return Err(self.doctype(at)),
                Event::Decl(_) => {
                    return Err(self.not_well_formed(at, "an XML declaration inside the document"));
                }
            }
        }
    }

    /// Opens the next child, which must be of that name.
    pub(super) fn expect(&mut self, name: &str) -> Result<(), DecodeError> {
        match self.child()? {
            Some(child) if child == name => Ok(()),
            Some(child) => Err(self.unexpected(child)),
            None => Err(self.lacks(name)),
        }
    }

    /// Closes the innermost element, which must have no more children.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        match self.child()? {
            None => Ok(()),
            Some(child) => Err(self.unexpected(child)),
        }
    }

    /// Closes the innermost element, passing over its children.
    pub(super) fn skip(&mut self) -> Result<(), DecodeError> {
        let depth = self.open.len();
        while self.open.len() >= depth {
            let at = self.offset();
            if self.ends {
                self.leave();
                continue;
            }
            match self.event()? {
                Event::Start(tag) => drop(self.enter(at, tag.name().0.len(), false)?),
                Event::Empty(tag) => drop(self.enter(at, tag.name().0.len(), true)?),
                Event::End(_) => self.leave(),
                Event::GeneralRef(reference) => drop(self.resolve(at, &reference)?),
                Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) => {}
                Event::Eof => return Err(self.truncated()),
                Event::DocType(_) => return Err(self.doctype(at)),
                Event::Decl(_) => {
                    return Err(self.not_well_formed(at, "an XML declaration inside the document"));
                }
            }
        }
        Ok(())
    }

    /// Closes the innermost element, which holds character data only; its content.
    ///
    /// White space is kept, but for the padding of clients that lay their requests out by hand:
    /// content that both begins and ends with blanks around a line break is trimmed. The writer
    /// never writes that form.
    pub(super) fn content(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let mut content = Content::default();
        while !self.ends {
            let at = self.offset();
            match self.event()? {
                Event::Text(text) => content.push_text(text.xml10_content()),
                Event::CData(text) => content.push_opaque(text.xml10_content()),
                Event::GeneralRef(reference) => content.push_char(self.resolve(at, &reference)?),
                Event::Comment(_) | Event::PI(_) => {}
                Event::End(_) => break,
                Event::Start(tag) => {
                    let name = self.enter(at, tag.name().0.len(), false)?;
                    return Err(self.unexpected(name));
                }
                Event::Empty(tag) => {
                    let name = self.enter(at, tag.name().0.len(), true)?;
                    return Err(self.unexpected(name));
                }
                Event::Eof => return Err(self.truncated()),
                Event::DocType(_) => return Err(self.doctype(at)),
                Event::Decl(_) => {
                    return Err(self.not_well_formed(at, "an XML declaration inside the document"));
                }
            }
        }
        self.leave();
        Ok(content.into_unpadded())
    }

    /// Ends the document. Clients in the field send text after it (cimtest a semicolon, some a NUL);
    /// markup there is refused.
    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        loop {
            let at = self.offset();
            let event = self.xml.read_event().map_err(|error| self.syntax(&error))?;
            match event {
                Event::Eof => return Ok(()),
                Event::Text(_) | Event::Comment(_) | Event::PI(_) | Event::GeneralRef(_) => {}
                Event::Start(_)
                | Event::Empty(_)
                | Event::End(_)
                | Event::CData(_)
                | Event::Decl(_)
                | Event::DocType(_) => {
                    return Err(self.not_well_formed(at, "markup after the document"));
                }
            }
        }
    }

    /// The attribute of the element opened last.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value)
    }

    /// The attribute of the element opened last, which must have it.
    pub(super) fn required(&self, name: &str) -> Result<&str, DecodeError> {
        self.attribute(name).ok_or_else(|| self.lacks_attribute(name))
    }

    /// The same, to be kept while the reading goes on.
    pub(super) fn required_text(&self, name: &str) -> Result<Cow<'a, str>, DecodeError> {
        let found = self.attributes.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| self.lacks_attribute(name))
    }

    /// The CIM name in an attribute that must be there.
    pub(super) fn name(&mut self, attribute: &str) -> Result<CimName, DecodeError> {
        match CimName::parse(self.required(attribute)?) {
            Ok(name) => Ok(name),
            Err(error) => {
                self.reject(error.to_string());
                Ok(REJECTED)
            }
        }
    }

    /// The CIM name in an attribute that may be there.
    pub(super) fn optional_name(
        &mut self,
        attribute: &str,
    ) -> Result<Option<CimName>, DecodeError> {
        if self.attribute(attribute).is_none() {
            return Ok(None);
        }
        self.name(attribute).map(Some)
    }

    /// A boolean attribute; `default` where it is not there.
    pub(super) fn flag(&self, attribute: &str, default: bool) -> Result<bool, DecodeError> {
        match self.attribute(attribute).map(str::trim) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) => {
                let what = format!("{attribute} is {}, not true or false", Quoted(text));
                Err(self.not_valid(what))
            }
        }
    }

    /// Remembers that a value in the element opened last is wrong, unless one was wrong before.
    pub(super) fn reject(&mut self, what: String) {
        if self.fault.is_none() {
            self.fault = Some((self.tag_at, what));
        }
    }

    /// A namespace name, or a stand-in for one that is rejected.
    pub(super) fn namespace(&mut self, text: &str) -> Result<Namespace, DecodeError> {
        Namespace::parse(text).or_else(|_| {
            self.reject(format!("{} is not a namespace name", Quoted(text)));
            Ok(Namespace::parse(REJECTED.as_str()).expect("a word is a namespace name"))
        })
    }

    /// The first wrong value, if there was one.
    pub(super) fn take_fault(&mut self) -> Option<DecodeError> {
        let (offset, what) = self.fault.take()?;
        Some(DecodeError::BadValue { at: self.position(offset), what })
    }

    /// The error for what the DTD does not have at the element opened last.
    pub(super) fn not_valid(&self, what: impl Into<String>) -> DecodeError {
        DecodeError::NotValid { at: self.position(self.tag_at), what: what.into() }
    }

    /// The error for an element that was just opened and does not belong there.
    pub(super) fn unexpected(&self, name: &str) -> DecodeError {
        match self.open.iter().rev().nth(1) {
            Some(parent) => self.not_valid(format!("element {} inside <{parent}>", Quoted(name))),
            None => self.not_valid(format!("the document is a {}", Quoted(name))),
        }
    }

    /// The error for an element that ended without the child it needs.
    pub(super) fn lacks(&self, child: &str) -> DecodeError {
        DecodeError::NotValid {
            at: self.position(self.offset()),
            what: format!("<{child}> is missing before this"),
        }
    }

    fn lacks_attribute(&self, name: &str) -> DecodeError {
        let element = self.open.last().copied().unwrap_or_default();
        self.not_valid(format!("<{element}> has no attribute {name}"))
    }

    fn enter(&mut self, at: usize, name: usize, ends: bool) -> Result<&'a str, DecodeError> {
        self.tag_at = at;
        self.ends = ends;
        let tag = &self.text[at + 1..self.offset() - if ends { 2 } else { 1 }];
        let (name_end, name) = (name, &tag[..name]);
        self.open.push(name);
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(self.too_large(Limit::Elements, self.limits.elements));
        }
        if self.outer_depth + self.open.len() > self.limits.depth {
            return Err(self.too_large(Limit::Depth, self.limits.depth));
        }
        self.attributes.clear();
        if name_end == tag.len() {
            return Ok(name);
        }
        // Most tags have nothing in them that would have to be resolved or refused, and without a branch
        // for each byte that is soon found out.
        let special = |byte: u8| matches!(byte, b'<' | b'&' | b'\t' | b'\n' | b'\r');
        let plain = !tag.bytes().fold(false, |any, byte| any | special(byte));
        let mut attributes = Attributes::new(tag, name_end);
        // It would remember all names for that, which we do anyway.
        for attribute in attributes.with_checks(false) {
            let attribute =
                attribute.map_err(|error| self.not_well_formed(at, error.to_string()))?;
            if self.attributes.len() == self.limits.attributes {
                return Err(self.too_large(Limit::Attributes, self.limits.attributes));
            }
            let key = attribute.key.0;
            if self.attribute(key).is_some() {
                let what = format!("duplicated attribute {}", Quoted(key));
                return Err(self.not_well_formed(at, what));
            }
            let value = if plain { attribute.value } else { self.resolved(at, &attribute)? };
            self.attributes.push((key, value));
        }
        Ok(name)
    }

    /// The value of an attribute with its references resolved.
    fn resolved(&self, at: usize, attribute: &Attribute<'a>) -> Result<Cow<'a, str>, DecodeError> {
        if attribute.value.contains('<') {
            return Err(self.not_well_formed(at, "`<` in an attribute"));
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| self.not_well_formed(at, error.to_string()))?;
        if matches!(value, Cow::Owned(_)) && first_illegal(&value).is_some() {
            return Err(self.illegal(at));
        }
        Ok(value)
    }

    fn leave(&mut self) {
        self.ends = false;
        self.open.pop();
    }

    fn event(&mut self) -> Result<Event<'a>, DecodeError> {
        let event = self.xml.read_event().map_err(|error| self.syntax(&error))?;
        match self.illegal {
            Some(at) if at < self.offset() => Err(self.illegal(at)),
            _ => Ok(event),
        }
    }

    /// The character a reference stands for.
    fn resolve(&self, at: usize, reference: &BytesRef<'_>) -> Result<char, DecodeError> {
        Ok(match &**reference {
            "lt" => '<',
            "gt" => '>',
            "amp" => '&',
            "quot" => '"',
            "apos" => '\'',
            name => match reference.resolve_char_ref() {
                Ok(Some(c)) if is_xml(c) => c,
                Ok(Some(_)) => return Err(self.illegal(at)),
                Ok(None) => {
                    let what = format!("entity {} is not predefined", Quoted(name));
                    return Err(self.not_well_formed(at, what));
                }
                Err(error) => return Err(self.not_well_formed(at, error.to_string())),
            },
        })
    }

    fn check_declaration(&self, at: usize, declaration: &BytesDecl<'_>) -> Result<(), DecodeError> {
        declaration.version().map_err(|error| self.not_well_formed(at, error.to_string()))?;
        match declaration.encoding() {
            None => Ok(()),
            Some(Ok(name))
                if ["utf-8", "utf8", "us-ascii"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known)) =>
            {
                Ok(())
            }
            Some(Ok(name)) => {
                let what = format!("encoding {}, but only UTF-8 is read", Quoted(&name));
                Err(self.not_well_formed(at, what))
            }
            Some(Err(error)) => Err(self.not_well_formed(at, error.to_string())),
        }
    }

    fn offset(&self) -> usize {
        usize::try_from(self.xml.buffer_position()).expect("the text is in memory")
    }

    fn position(&self, offset: usize) -> Position {
        Position::of(self.text.as_bytes(), offset)
    }

    fn not_well_formed(&self, at: usize, what: impl Into<String>) -> DecodeError {
        DecodeError::NotWellFormed { at: self.position(at), what: what.into() }
    }

    fn syntax(&self, error: &quick_xml::Error) -> DecodeError {
        let at = usize::try_from(self.xml.error_position()).expect("the text is in memory");
        self.not_well_formed(at, error.to_string())
    }

    fn truncated(&self) -> DecodeError {
        let element = self.open.last().copied().unwrap_or_default();
        self.not_well_formed(self.text.len(), format!("the text ends inside <{element}>"))
    }

    fn stray_text(&self, at: usize) -> DecodeError {
        let element = self.open.last().copied().unwrap_or_default();
        let what = format!("text inside <{element}>, which holds elements");
        DecodeError::NotValid { at: self.position(at), what }
    }

    fn illegal(&self, at: usize) -> DecodeError {
        self.not_well_formed(at, "a character that XML does not have")
    }

    fn doctype(&self, at: usize) -> DecodeError {
        self.not_well_formed(at, "document types are refused")
    }

    fn too_large(&self, limit: Limit, allowed: usize) -> DecodeError {
        DecodeError::TooLarge { at: self.position(self.tag_at), limit, allowed }
    }
}

/// Character data as it comes, in pieces; nothing is copied while it is one piece.
#[derive(Default)]
struct Content<'a> {
    text: Cow<'a, str>,
    pieces: usize,
    /// The part at the front that came as plain characters, not as references or CDATA.
    plain_head: usize,
    /// Where the plain part at the back begins.
    plain_tail: usize,
}

impl<'a> Content<'a> {
    fn push_text(&mut self, piece: Cow<'a, str>) {
        let begins = self.text.len();
        self.push(piece);
        if self.pieces == 1 {
            self.plain_head = self.text.len();
        }
        self.plain_tail = begins;
    }

    fn push_opaque(&mut self, piece: Cow<'a, str>) {
        self.push(piece);
        self.plain_tail = self.text.len();
    }

    fn push_char(&mut self, c: char) {
        self.pieces += 1;
        self.text.to_mut().push(c);
        self.plain_tail = self.text.len();
    }

    fn push(&mut self, piece: Cow<'a, str>) {
        self.pieces += 1;
        if self.text.is_empty() {
            self.text = piece;
        } else {
            self.text.to_mut().push_str(&piece);
        }
    }

    fn into_unpadded(self) -> Cow<'a, str> {
        let head = &self.text[..self.plain_head];
        let head = &head[..head.len() - head.trim_ascii_start().len()];
        let tail = &self.text[self.plain_tail..];
        let tail = &tail[tail.trim_ascii_end().len()..];
        let inside = head.len()..self.text.len() - tail.len();
        if inside.is_empty() || !head.contains('\n') || !tail.contains('\n') {
            return self.text;
        }
        match self.text {
            Cow::Borrowed(text) => Cow::Borrowed(&text[inside]),
            Cow::Owned(text) => Cow::Owned(text[inside].to_owned()),
        }
    }
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

/// XML 1.0 §2.2. A `char` is never a surrogate.
pub(super) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
}

/// Where the first character stands that XML does not have.
fn first_illegal(text: &str) -> Option<usize> {
    let suspect =
        |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xef;
    // Hardly any text has one, and without a branch for each byte that is soon found out.
    if !text.bytes().fold(false, |odd, byte| odd | suspect(byte)) {
        return None;
    }
    let mut from = 0;
    while let Some(found) = text.as_bytes()[from..].iter().position(|&byte| suspect(byte)) {
        let at = from + found;
        let c = text[at..].chars().next()?;
        if !is_xml(c) {
            return Some(at);
        }
        from = at + c.len_utf8();
    }
    None
}
