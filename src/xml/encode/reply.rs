//! Whole replies (DSP0201 §5.2.6).

use super::{
    super::writer::Writer, Envelope, FalseBoolean, ListEncoder, Style, class, list, object, path,
    value,
};
use crate::cim::{CimError, DataType, ParamValue, Reply, Scalar, Value};

/// Enough for most replies.
const ROOM: usize = 4096;

/// Encodes the reply to one call.
pub fn encode_reply(
    envelope: &Envelope<'_>,
    answer: &Result<Reply, CimError>,
    style: &Style,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROOM);
    if let Ok(Reply::Objects(kind, objects)) = answer {
        let encoder = ListEncoder::new(*envelope, *kind, style);
        encoder.begin(&mut bytes);
        for object in objects {
            encoder.object(object, &mut bytes);
        }
        encoder.end(&mut bytes);
        return bytes;
    }
    let mut writer = Writer::new(&mut bytes);
    envelope.open(&mut writer);
    match answer {
        Ok(reply) => content(&mut writer, reply, style),
        Err(error) => self::error(&mut writer, error),
    }
    envelope.close(&mut writer);
    bytes
}

/// ERROR. Instances of CIM_Error, which may stand in it, break wbemcli and are not sent.
pub(super) fn error(writer: &mut Writer<'_>, error: &CimError) {
    writer
        .tag("ERROR")
        .with("CODE", &error.status.code().to_string())
        .with("DESCRIPTION", &error.description)
        .open();
    writer.close("ERROR");
}

fn content(writer: &mut Writer<'_>, reply: &Reply, style: &Style) {
    match reply {
        Reply::Void => {}
        Reply::Class(class) => returned(writer, |writer| {
            class::class(writer, class, style.embedded_arrays);
        }),
        Reply::Classes(classes) => returned(writer, |writer| {
            classes.iter().for_each(|class| class::class(writer, class, style.embedded_arrays));
        }),
        Reply::ClassNames(names) => returned(writer, |writer| {
            names.iter().for_each(|name| path::class_name(writer, name));
        }),
        Reply::QualifierDeclaration(declaration) => {
            returned(writer, |writer| class::qualifier_declaration(writer, declaration));
        }
        Reply::QualifierDeclarations(declarations) => returned(writer, |writer| {
            declarations.iter().for_each(|one| class::qualifier_declaration(writer, one));
        }),
        Reply::Instance(instance) => {
            returned(writer, |writer| object::instance(writer, instance));
        }
        Reply::InstanceName(name) => {
            returned(writer, |writer| path::instance_name(writer, &name.class, &name.keys));
        }
        Reply::Property(ty, value) => returned(writer, |writer| {
            if let Some(value) = value {
                value::value(writer, Some(ty), value, FalseBoolean::Standard);
            }
        }),
        Reply::Objects(kind, objects) => returned(writer, |writer| {
            objects.iter().for_each(|object| list::object(writer, *kind, object, style));
        }),
        Reply::Pulled { kind, objects, context, query_result_class } => {
            returned(writer, |writer| {
                objects.iter().for_each(|object| list::object(writer, *kind, object, style));
            });
            sequence(writer, context.as_deref());
            if let Some(class) = query_result_class {
                writer.tag("PARAMVALUE").with("NAME", "QueryResultClass").open();
                class::class(writer, class, style.embedded_arrays);
                writer.close("PARAMVALUE");
            }
        }
        Reply::Count(count) => returned(writer, |writer| {
            if let Some(count) = count {
                value::value(writer, None, &(*count).into(), FalseBoolean::Standard);
            }
        }),
        Reply::Method { return_type, return_value, out } => {
            method(writer, return_type, return_value.as_ref(), out, style);
        }
    }
}

fn returned(writer: &mut Writer<'_>, content: impl FnOnce(&mut Writer<'_>)) {
    writer.element("IRETURNVALUE", content);
}

/// The output parameters of a pull operation.
fn sequence(writer: &mut Writer<'_>, context: Option<&str>) {
    let mut parameter = |name, value: Scalar| {
        let value = Value::Scalar(value);
        parameter_value(writer, name, None, Some(&value), FalseBoolean::Standard);
    };
    if let Some(context) = context {
        parameter("EnumerationContext", context.into());
    }
    parameter("EndOfSequence", context.is_none().into());
}

/// RETURNVALUE first and with its type, or pywbem fails; no output parameters that are NULL, or
/// wbemcli crashes.
fn method(
    writer: &mut Writer<'_>,
    return_type: &DataType,
    return_value: Option<&Value>,
    out: &[ParamValue],
    style: &Style,
) {
    let falses = style.false_booleans;
    writer
        .tag("RETURNVALUE")
        .with_some("PARAMTYPE", value::type_name(Some(return_type), return_value))
        .with_some("EmbeddedObject", value::embedded_object(Some(return_type), return_value))
        .open();
    if let Some(value) = return_value {
        value::value(writer, Some(return_type), value, falses);
    }
    writer.close("RETURNVALUE");
    for ParamValue { name, ty, value } in out {
        if value.is_some() {
            parameter_value(writer, name.as_str(), ty.as_ref(), value.as_ref(), falses);
        }
    }
}

/// PARAMVALUE of a call or a reply.
pub(super) fn parameter_value(
    writer: &mut Writer<'_>,
    name: &str,
    ty: Option<&DataType>,
    value: Option<&Value>,
    falses: FalseBoolean,
) {
    writer
        .tag("PARAMVALUE")
        .with("NAME", name)
        .with_some("PARAMTYPE", value::type_name(ty, value))
        .with_some("EmbeddedObject", value::embedded_object(ty, value))
        .open();
    if let Some(value) = value {
        value::value(writer, ty, value, falses);
    }
    writer.close("PARAMVALUE");
}
