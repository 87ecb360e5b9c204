//! The model to elements: one file per family of elements of DSP0201.
//!
//! Written as the strictest clients read it (pywbem refuses unknown attributes, wbemcli most
//! empty-element tags), with the attributes of DSP0203 in its spelling.

mod class;
mod export;
mod list;
mod object;
mod path;
mod reply;
mod request;
mod value;

pub use class::encode_class;
pub use export::encode_export;
pub use list::{ClassesEncoder, ListEncoder};
pub use reply::encode_reply;
pub use request::encode_request;

pub(super) use class::class;
pub(super) use object::instance;

use super::writer::Writer;
use crate::cim::Namespace;

/// How a reply is written for one client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Style {
    /// HOST of paths that need one and have none.
    pub host: String,
    /// Namespace of paths that need one and have none: the request's.
    pub namespace: Namespace,
    /// How a method's false booleans are written.
    pub false_booleans: FalseBoolean,
    /// Whether classes say what their array properties embed.
    pub embedded_arrays: EmbeddedArrays,
}

/// Whether the declaration of an array property tells in EmbeddedObject what it embeds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum EmbeddedArrays {
    /// As DSP0201 has it.
    #[default]
    Told,
    /// Not at all: wbemcli gives up on a class with that attribute on an array. The qualifiers of the
    /// same name tell it as well.
    Untold,
}

/// How a false boolean is written that a method returns, as its value or in an output parameter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FalseBoolean {
    /// `FALSE`.
    #[default]
    Standard,
    /// As an empty VALUE: pywbem reads any text there as true, and this as false.
    EmptyValue,
}

/// What frames a reply: the parts of it that repeat the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Envelope<'m> {
    id: &'m str,
    protocol_version: &'m str,
    name: &'m str,
    response: &'static str,
}

impl<'m> Envelope<'m> {
    /// The frame of a reply to an intrinsic operation; `name` is spelled as the request did.
    pub fn intrinsic(id: &'m str, protocol_version: &'m str, name: &'m str) -> Self {
        Self { id, protocol_version, name, response: "IMETHODRESPONSE" }
    }

    /// The frame of a reply to a method call; `name` is spelled as the request did.
    pub fn method(id: &'m str, protocol_version: &'m str, name: &'m str) -> Self {
        Self { id, protocol_version, name, response: "METHODRESPONSE" }
    }

    fn open(&self, writer: &mut Writer<'_>) {
        open_message(writer, self.id, self.protocol_version);
        writer.open("SIMPLERSP");
        writer.tag(self.response).with("NAME", self.name).open();
    }

    fn close(&self, writer: &mut Writer<'_>) {
        writer.close(self.response);
        writer.close("SIMPLERSP");
        close_message(writer);
    }
}

const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

fn open_message(writer: &mut Writer<'_>, id: &str, protocol_version: &str) {
    writer.markup(DECLARATION);
    writer.tag("CIM").with("CIMVERSION", "2.0").with("DTDVERSION", "2.0").open();
    writer.tag("MESSAGE").with("ID", id).with("PROTOCOLVERSION", protocol_version).open();
}

fn close_message(writer: &mut Writer<'_>) {
    writer.close("MESSAGE");
    writer.close("CIM");
}
