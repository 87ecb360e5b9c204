//! CIM-XML (DSP0201) to `cim` and back, bounded in size and depth.
//!
//! ```text
//!             decode_request                      encode_reply, ListEncoder
//!   bytes ───────────────────▶ cim::Request   …   cim::Reply ───────────────▶ bytes     a server
//!             encode_request                      decode_reply
//!   bytes ◀─────────────────── cim::Request   …   cim::Reply ◀─────────────── bytes     a client
//! ```
//!
//! Decoding what was encoded gives back what was there. It is one pass over the bytes without a tree
//! of elements in between; encoding appends to a buffer. What clients in the field get wrong in
//! harmless ways is accepted (`reader.rs`, `decode/`); what is written is what the strictest of them
//! accept (`encode/`).
//!
//! A request that is no CIM-XML at all is a [`DecodeError`], answered on the HTTP level; a request
//! that is, but has a wrong parameter in it, carries the CIM error to answer in [`Call::request`].
//!
//! Deliberately absent: HTTP, schema knowledge (values whose type the sender did not state stay
//! [`Untyped`](crate::cim::Scalar::Untyped)) and MOF, which embedded instances may also be written in.
//!
//! Sources: DSP0200 §5, DSP0201 §5, DSP0203.

mod decode;
pub mod embedded;
mod encode;
mod error;
mod limits;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use decode::{
    Call, OpenedRequest, RequestBody, RequestMessage, Target, decode_export_reply, decode_reply,
    decode_request, open_request,
};
pub use encode::{
    ClassesEncoder, EmbeddedArrays, Envelope, FalseBoolean, ListEncoder, Style, encode_class,
    encode_export, encode_reply, encode_request,
};
pub use error::{DecodeError, Limit, Position};
pub use limits::Limits;

use crate::cim::Scope;

/// The attribute of SCOPE that stands for a scope.
fn scope_attribute(scope: Scope) -> &'static str {
    match scope {
        Scope::Class => "CLASS",
        Scope::Association => "ASSOCIATION",
        Scope::Reference => "REFERENCE",
        Scope::Property => "PROPERTY",
        Scope::Method => "METHOD",
        Scope::Parameter => "PARAMETER",
        Scope::Indication => "INDICATION",
    }
}
