//! Embedded objects: an INSTANCE or a CLASS as the text of a string (DSP0201 §5.2.3.1).
//!
//! Each level of nesting is escaped once more by the message around it, so nothing here escapes.

use super::{DecodeError, EmbeddedArrays, Limits, decode, encode, reader::Reader, writer::Writer};
use crate::cim::{Class, Instance, Scalar};

/// Decodes the text of an embedded instance, with or without an XML declaration.
///
/// # Errors
/// [`DecodeError`] if the text is no INSTANCE, or one of its values is not of its type.
pub fn decode_instance(text: &str, limits: &Limits) -> Result<Instance, DecodeError> {
    let mut reader = Reader::new(text.as_bytes(), limits)?;
    match document(&mut reader)? {
        Scalar::EmbeddedInstance(instance) => Ok(*instance),
        _ => Err(reader.not_valid("the text is not an INSTANCE")),
    }
}

/// Decodes the text of an embedded object: an instance or a class.
///
/// # Errors
/// [`DecodeError`] if the text is neither, or one of its values is not of its type.
pub fn decode_object(text: &str, limits: &Limits) -> Result<Scalar, DecodeError> {
    document(&mut Reader::new(text.as_bytes(), limits)?)
}

/// Decodes the text of an object that a value of `outer` embeds.
pub(super) fn decode_inside(outer: &Reader<'_>, text: &str) -> Result<Scalar, DecodeError> {
    document(&mut outer.embedded(text)?)
}

/// Clients of libvirt-cim may spell the document element in any case (MODEL §2.11).
fn document(reader: &mut Reader<'_>) -> Result<Scalar, DecodeError> {
    let root = reader.root()?;
    let object = if root.eq_ignore_ascii_case("INSTANCE") {
        Scalar::EmbeddedInstance(Box::new(decode::instance(reader)?))
    } else if root.eq_ignore_ascii_case("CLASS") {
        Scalar::EmbeddedClass(Box::new(decode::class(reader)?))
    } else {
        return Err(reader.unexpected(root));
    };
    reader.finish()?;
    match reader.take_fault() {
        Some(fault) => Err(fault),
        None => Ok(object),
    }
}

/// The text of an instance to embed. Its path is not part of it.
pub fn encode_instance(instance: &Instance) -> String {
    into_text(|writer| encode::instance(writer, instance))
}

/// The text of a class to embed.
pub fn encode_class(class: &Class) -> String {
    into_text(|writer| encode::class(writer, class, EmbeddedArrays::Told))
}

fn into_text(write: impl FnOnce(&mut Writer<'_>)) -> String {
    let mut text = Vec::new();
    write(&mut Writer::new(&mut text));
    String::from_utf8(text).expect("the writer is given strings only")
}
