//! libvirt's XML as a small tree: bounded, and tolerant of everything it does not know.
//!
//! libvirt's documents have no mixed content, so an element is a name, attributes, children and text.
//! Comments and processing instructions are dropped; DOCTYPE and entities of one's own are refused.

use std::fmt::Write;

use quick_xml::{
    Reader, XmlVersion,
    escape::{escape, resolve_predefined_entity},
    events::{BytesStart, Event},
};

/// A guest with thousands of devices has about a megabyte.
const MAX_BYTES: usize = 16 << 20;
/// libvirt's own documents are about ten deep; a backing chain nests two levels an image.
const MAX_DEPTH: usize = 512;

/// An element of an XML document.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Element {
    /// The name, with its prefix if it has one: `qemu:commandline`.
    pub name: String,
    /// The attributes in order.
    pub attributes: Vec<(String, String)>,
    /// The child elements in order.
    pub children: Vec<Element>,
    /// The text, entities resolved, without the white space around it.
    pub text: String,
}

/// Why a document is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ElementError {
    /// It is longer than we read.
    #[error("XML of {0} bytes is longer than {MAX_BYTES}")]
    TooLong(usize),
    /// It is nested deeper than we read.
    #[error("XML is nested deeper than {MAX_DEPTH} elements at byte {0}")]
    TooDeep(u64),
    /// It is not well-formed.
    #[error("malformed XML at byte {offset}: {reason}")]
    Malformed {
        /// Where.
        offset: u64,
        /// What.
        reason: String,
    },
}

impl Element {
    /// Reads a document's root element.
    ///
    /// # Errors
    /// [`ElementError`].
    pub fn parse(xml: &str) -> Result<Self, ElementError> {
        if xml.len() > MAX_BYTES {
            return Err(ElementError::TooLong(xml.len()));
        }
        Builder { reader: Reader::from_str(xml), open: Vec::new() }.run()
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub fn children_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element at a path of names below this one, e.g. `os/type`.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |element, name| element.child(name))
    }

    /// The text at a path; `None` where there is no such element or it is empty.
    pub fn text_at(&self, path: &str) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str()).filter(|text| !text.is_empty())
    }

    /// An attribute at a path.
    pub fn attribute_at(&self, path: &str, name: &str) -> Option<&str> {
        self.at(path).and_then(|element| element.attribute(name))
    }

    /// The element as XML, without white space between elements.
    pub fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        for (key, value) in &self.attributes {
            write!(out, " {key}=\"{}\"", escape_attribute(value))
                .expect("a String takes everything");
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        out.push_str(&escape(&self.text));
        for child in &self.children {
            child.write(out);
        }
        write!(out, "</{}>", self.name).expect("a String takes everything");
    }
}

/// Readers turn white space in attributes into blanks unless it is written as references.
fn escape_attribute(value: &str) -> String {
    escape(value).replace('\t', "&#9;").replace('\n', "&#10;").replace('\r', "&#13;")
}

struct Builder<'a> {
    reader: Reader<&'a [u8]>,
    /// The elements we are in, outermost first.
    open: Vec<Element>,
}

impl Builder<'_> {
    fn run(mut self) -> Result<Element, ElementError> {
        loop {
            let event = match self.reader.read_event() {
                Ok(event) => event,
                Err(error) => {
                    let offset = self.reader.error_position();
                    return Err(ElementError::Malformed { offset, reason: error.to_string() });
                }
            };
            match event {
                Event::Start(start) => {
                    let element = self.element(&start)?;
                    if self.open.len() == MAX_DEPTH {
                        return Err(ElementError::TooDeep(self.reader.buffer_position()));
                    }
                    self.open.push(element);
                }
                Event::Empty(start) => {
                    let element = self.element(&start)?;
                    if let Some(root) = self.close(element) {
                        return Ok(root);
                    }
                }
                Event::End(_) => {
                    let mut element =
                        self.open.pop().ok_or_else(|| self.malformed("an end without a start"))?;
                    element.text = element.text.trim().to_owned();
                    if let Some(root) = self.close(element) {
                        return Ok(root);
                    }
                }
                Event::Text(text) => self.text(&text.xml10_content()),
                Event::CData(text) => self.text(&text.xml10_content()),
                Event::GeneralRef(reference) => {
                    let resolved = match reference.resolve_char_ref() {
                        Ok(Some(character)) => Some(character.to_string()),
                        Ok(None) => resolve_predefined_entity(&reference).map(str::to_owned),
                        Err(_) => None,
                    };
                    let text = resolved.ok_or_else(|| self.malformed("an unknown entity"))?;
                    self.text(&text);
                }
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(self.malformed("a document type")),
                Event::Eof => return Err(self.malformed("the document ends early")),
            }
        }
    }

    fn element(&self, start: &BytesStart<'_>) -> Result<Element, ElementError> {
        let mut element = Element { name: start.name().as_ref().to_owned(), ..Element::default() };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| self.malformed(&error.to_string()))?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| self.malformed(&error.to_string()))?;
            element.attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
        }
        Ok(element)
    }

    /// Hands a finished element to its parent; the root comes back.
    fn close(&mut self, element: Element) -> Option<Element> {
        match self.open.last_mut() {
            Some(parent) => {
                parent.children.push(element);
                None
            }
            None => Some(element),
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(element) = self.open.last_mut() {
            element.text.push_str(text);
        }
    }

    fn malformed(&self, reason: &str) -> ElementError {
        ElementError::Malformed { offset: self.reader.buffer_position(), reason: reason.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_libvirt_writes() {
        let root = Element::parse(
            "<?xml version='1.0'?>\n<!-- made by -->\n<domain type='kvm' id='7'>\n  \
             <name>a &amp; b&#x41;</name>\n  <os><type arch='x86_64'>hvm</type></os>\n  \
             <description><![CDATA[1 < 2]]></description>\n  <x/>\n  <x n='2'/>\n</domain>\n",
        )
        .unwrap();
        assert_eq!(root.attribute("type"), Some("kvm"));
        assert_eq!(root.text_at("name"), Some("a & bA"));
        assert_eq!(root.attribute_at("os/type", "arch"), Some("x86_64"));
        assert_eq!(root.text_at("description"), Some("1 < 2"));
        assert_eq!(root.text_at("x"), None);
        assert_eq!(root.children_named("x").count(), 2);
        assert_eq!(root.text, "");
    }

    #[test]
    fn refuses_what_libvirt_never_writes() {
        #[track_caller]
        fn check(xml: &str, expected: &str) {
            let error = Element::parse(xml).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        check("", "ends early");
        check("<a>", "at byte");
        check("<a><b></a></b>", "at byte");
        check("</a>", "at byte");
        check("<a b='1' b='2'/>", "at byte");
        check("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "document type");
        check("<a>&x;</a>", "unknown entity");
        check("<a b='&x;'/>", "at byte");
        check("<a>&#0;</a>", "unknown entity");
        check(&"<a>".repeat(MAX_DEPTH + 1), "nested deeper");
        check(&" ".repeat(MAX_BYTES + 1), "longer than");
    }

    fn any_element() -> impl Strategy<Value = Element> {
        let name = "[a-z][a-z0-9_]{0,5}";
        let text = "[a-z<>&'\"]{0,8}";
        let value = "[a-z<>&'\" \t\r\n]{0,8}";
        let leaf = (name, proptest::collection::btree_map(name, value, 0..3), text).prop_map(
            |(name, attributes, text)| Element {
                name,
                attributes: attributes.into_iter().collect(),
                children: Vec::new(),
                text,
            },
        );
        leaf.prop_recursive(4, 32, 4, |inner| {
            (inner.clone(), proptest::collection::vec(inner, 0..4)).prop_map(
                |(mut element, children)| {
                    element.children = children;
                    element
                },
            )
        })
    }

    proptest! {
        #[test]
        fn writing_and_reading_is_the_identity(element in any_element()) {
            prop_assert_eq!(Element::parse(&element.to_xml()), Ok(element));
        }

        #[test]
        fn strange_text_is_read_or_refused(xml in ".{0,200}") {
            let _ = Element::parse(&xml);
        }
    }
}
