//! VALUE, VALUE.ARRAY, VALUE.REFERENCE and VALUE.REFARRAY (DSP0201 §5.2.3).

use super::{
    super::{embedded, writer::Writer},
    FalseBoolean, path,
};
use crate::cim::{CimType, DataType, Embedded, Scalar, Value};

/// The value in the element that fits it and its declared type, if it has one.
pub(super) fn value(
    writer: &mut Writer<'_>,
    ty: Option<&DataType>,
    value: &Value,
    falses: FalseBoolean,
) {
    match value {
        Value::Scalar(element) => scalar(writer, element, falses),
        Value::Array(elements) => {
            let name = if is_reference(ty, Some(value)) { "VALUE.REFARRAY" } else { "VALUE.ARRAY" };
            writer.open(name);
            for element in elements {
                match element {
                    Some(element) => scalar(writer, element, falses),
                    None => writer.element("VALUE.NULL", |_| {}),
                }
            }
            writer.close(name);
        }
    }
}

fn scalar(writer: &mut Writer<'_>, scalar: &Scalar, falses: FalseBoolean) {
    if let Scalar::Reference(path) = scalar {
        return path::reference(writer, path);
    }
    writer.open("VALUE");
    match scalar {
        Scalar::Boolean(false) if falses == FalseBoolean::EmptyValue => {}
        Scalar::EmbeddedInstance(instance) => writer.text(&embedded::encode_instance(instance)),
        Scalar::EmbeddedClass(class) => writer.text(&embedded::encode_class(class)),
        Scalar::String(text) | Scalar::Untyped(text) => writer.value_text(text),
        plain => match plain.as_integer().map(i64::try_from) {
            Some(Ok(number)) => writer.integer(number),
            _ => writer.value_text(&plain.text().unwrap_or_default()),
        },
    }
    writer.close("VALUE");
}

/// The name of the element type, for TYPE and PARAMTYPE: what the value shows if it shows one, for
/// that is what a reader must be able to read; `None` for a value of unstated type.
pub(super) fn type_name(ty: Option<&DataType>, value: Option<&Value>) -> Option<&'static str> {
    match value.and_then(first) {
        None => ty.map(|ty| ty.base.name()),
        Some(scalar) => scalar.cim_type().map(CimType::name),
    }
}

/// What EmbeddedObject says, if the string is one.
pub(super) fn embedded_object(
    ty: Option<&DataType>,
    value: Option<&Value>,
) -> Option<&'static str> {
    let shown = match value.and_then(first) {
        Some(Scalar::EmbeddedInstance(_)) => Some(Embedded::Instance),
        Some(Scalar::EmbeddedClass(_)) => Some(Embedded::Object),
        _ => None,
    };
    ty.and_then(|ty| ty.embedded).or(shown).map(|embedded| match embedded {
        Embedded::Instance => "instance",
        Embedded::Object => "object",
    })
}

/// Whether it is an array: what the value is, else what the type says.
pub(super) fn is_array(ty: &DataType, value: Option<&Value>) -> bool {
    match value {
        Some(value) => matches!(value, Value::Array(_)),
        None => ty.is_array(),
    }
}

/// Whether it refers to objects: what the value does, else what the type says.
pub(super) fn is_reference(ty: Option<&DataType>, value: Option<&Value>) -> bool {
    match value.and_then(first) {
        Some(scalar) => matches!(scalar, Scalar::Reference(_)),
        None => ty.is_some_and(|ty| ty.base == CimType::Reference),
    }
}

/// The first element that is not NULL.
fn first(value: &Value) -> Option<&Scalar> {
    match value {
        Value::Scalar(scalar) => Some(scalar),
        Value::Array(elements) => elements.iter().flatten().next(),
    }
}
