//! INSTANCE, and properties of instances and classes (DSP0201 §5.2.5).

use super::{super::writer::Writer, FalseBoolean, class, path, value};
use crate::cim::{ArrayKind, CimName, DataType, Instance, Property, Qualifier, Value};

/// INSTANCE; its path is not part of it.
pub(in crate::xml) fn instance(writer: &mut Writer<'_>, instance: &Instance) {
    writer.tag("INSTANCE").with_name("CLASSNAME", &instance.class).open();
    for Property { name, ty, value, class_origin } in &instance.properties {
        // wbemcli knows no EmbeddedObject of arrays and gives up on the whole reply. Only an array that
        // holds something needs it, and those it never asks for.
        let embedded = match value {
            None if ty.is_array() => None,
            value => value::embedded_object(Some(ty), value.as_ref()),
        };
        property(
            writer,
            &PropertyParts {
                name,
                ty,
                value: value.as_ref(),
                embedded,
                class_origin: class_origin.as_ref(),
                propagated: false,
                qualifiers: &[],
            },
        );
    }
    writer.close("INSTANCE");
}

/// An element that holds the instance after its name; just the class where it has no path.
pub(super) fn instance_with_name(writer: &mut Writer<'_>, element: &str, instance: &Instance) {
    writer.open(element);
    match &instance.path {
        Some(path) => path::instance_name(writer, &path.class, &path.keys),
        None => path::instance_name(writer, &instance.class, &[]),
    }
    self::instance(writer, instance);
    writer.close(element);
}

/// What a property has in an instance or in a class.
pub(super) struct PropertyParts<'p> {
    pub(super) name: &'p CimName,
    pub(super) ty: &'p DataType,
    pub(super) value: Option<&'p Value>,
    /// What EmbeddedObject says.
    pub(super) embedded: Option<&'static str>,
    pub(super) class_origin: Option<&'p CimName>,
    pub(super) propagated: bool,
    pub(super) qualifiers: &'p [Qualifier],
}

/// PROPERTY, PROPERTY.ARRAY or PROPERTY.REFERENCE. CIM has no properties that are arrays of
/// references.
pub(super) fn property(writer: &mut Writer<'_>, property: &PropertyParts<'_>) {
    let PropertyParts { ty, value, .. } = *property;
    let is_reference = value::is_reference(Some(ty), value);
    let (start, end): (_, &[u8]) = if is_reference {
        ("<PROPERTY.REFERENCE NAME=\"", b"</PROPERTY.REFERENCE>")
    } else if value::is_array(ty, value) {
        ("<PROPERTY.ARRAY NAME=\"", b"</PROPERTY.ARRAY>")
    } else {
        ("<PROPERTY NAME=\"", b"</PROPERTY>")
    };
    let tag = writer.named_tag(start, property.name);
    let tag = if is_reference {
        tag.with_some("REFERENCECLASS", ty.reference_class.as_ref().map(CimName::as_str))
    } else {
        match value::type_name(Some(ty), value) {
            Some(word) => tag.with_word("TYPE", word),
            None => tag,
        }
    };
    let tag = match ty.array {
        ArrayKind::Fixed(size) if !is_reference => tag.with("ARRAYSIZE", &size.to_string()),
        ArrayKind::Fixed(_) | ArrayKind::Scalar | ArrayKind::Array => tag,
    };
    tag.with_some("CLASSORIGIN", property.class_origin.map(CimName::as_str))
        .with_flag("PROPAGATED", property.propagated, false)
        .with_some("EmbeddedObject", property.embedded)
        .open();
    for qualifier in property.qualifiers {
        class::qualifier(writer, qualifier);
    }
    if let Some(value) = value {
        value::value(writer, Some(ty), value, FalseBoolean::Standard);
    }
    writer.markup(end);
}
