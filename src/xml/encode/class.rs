//! CLASS, METHOD, PARAMETER, QUALIFIER and QUALIFIER.DECLARATION (DSP0201 §5.2.5, §5.2.2).

use super::{
    super::{
        scope_attribute,
        writer::{Tag, Writer},
    },
    EmbeddedArrays, FalseBoolean,
    object::{self, PropertyParts},
    value,
};
use crate::cim::{
    ArrayKind, CimName, CimType, Class, Flavor, Method, Parameter, Qualifier, QualifierDeclaration,
};

/// The CLASS element alone, to be kept and sent by
/// [`ClassesEncoder`](crate::xml::ClassesEncoder) as often as it is asked for.
pub fn encode_class(class: &Class, arrays: EmbeddedArrays) -> Vec<u8> {
    let mut bytes = Vec::new();
    self::class(&mut Writer::new(&mut bytes), class, arrays);
    bytes
}

pub(in crate::xml) fn class(writer: &mut Writer<'_>, class: &Class, arrays: EmbeddedArrays) {
    writer
        .tag("CLASS")
        .with("NAME", class.name.as_str())
        .with_some("SUPERCLASS", class.superclass.as_ref().map(CimName::as_str))
        .open();
    for qualifier in &class.qualifiers {
        self::qualifier(writer, qualifier);
    }
    for property in &class.properties {
        let (ty, value) = (&property.ty, property.default.as_ref());
        let untold = arrays == EmbeddedArrays::Untold && ty.is_array();
        let embedded = value::embedded_object(Some(ty), value).filter(|_| !untold);
        object::property(
            writer,
            &PropertyParts {
                name: &property.name,
                ty,
                value,
                embedded,
                class_origin: property.class_origin.as_ref(),
                propagated: property.propagated,
                qualifiers: &property.qualifiers,
            },
        );
    }
    for method in &class.methods {
        self::method(writer, method);
    }
    writer.close("CLASS");
}

fn method(writer: &mut Writer<'_>, method: &Method) {
    writer
        .tag("METHOD")
        .with("NAME", method.name.as_str())
        .with("TYPE", method.return_type.base.name())
        .with_some("CLASSORIGIN", method.class_origin.as_ref().map(CimName::as_str))
        .with_flag("PROPAGATED", method.propagated, false)
        .open();
    for qualifier in &method.qualifiers {
        self::qualifier(writer, qualifier);
    }
    for parameter in &method.parameters {
        self::parameter(writer, parameter);
    }
    writer.close("METHOD");
}

/// That a parameter embeds objects stands in its qualifiers only.
fn parameter(writer: &mut Writer<'_>, parameter: &Parameter) {
    let ty = &parameter.ty;
    let is_reference = ty.base == CimType::Reference;
    let element = match (is_reference, ty.is_array()) {
        (false, false) => "PARAMETER",
        (false, true) => "PARAMETER.ARRAY",
        (true, false) => "PARAMETER.REFERENCE",
        (true, true) => "PARAMETER.REFARRAY",
    };
    let tag = writer.tag(element).with("NAME", parameter.name.as_str());
    let tag = if is_reference {
        tag.with_some("REFERENCECLASS", ty.reference_class.as_ref().map(CimName::as_str))
    } else {
        tag.with("TYPE", ty.base.name())
    };
    with_array_size(tag, ty.array).open();
    for qualifier in &parameter.qualifiers {
        self::qualifier(writer, qualifier);
    }
    writer.close(element);
}

fn with_array_size<'w, 'b>(tag: Tag<'w, 'b>, array: ArrayKind) -> Tag<'w, 'b> {
    match array {
        ArrayKind::Fixed(size) => tag.with("ARRAYSIZE", &size.to_string()),
        ArrayKind::Scalar | ArrayKind::Array => tag,
    }
}

pub(super) fn qualifier(writer: &mut Writer<'_>, qualifier: &Qualifier) {
    let tag = writer
        .tag("QUALIFIER")
        .with("NAME", qualifier.name.as_str())
        .with("TYPE", qualifier.ty.name())
        .with_flag("PROPAGATED", qualifier.propagated, false);
    with_flavor(tag, qualifier.flavor).open();
    if let Some(value) = &qualifier.value {
        value::value(writer, None, value, FalseBoolean::Standard);
    }
    writer.close("QUALIFIER");
}

pub(super) fn qualifier_declaration(writer: &mut Writer<'_>, declaration: &QualifierDeclaration) {
    let is_array = declaration.array != ArrayKind::Scalar;
    let tag = writer
        .tag("QUALIFIER.DECLARATION")
        .with("NAME", declaration.name.as_str())
        .with("TYPE", declaration.ty.name())
        .with("ISARRAY", if is_array { "true" } else { "false" });
    with_flavor(with_array_size(tag, declaration.array), declaration.flavor).open();
    if !declaration.scopes.is_empty() {
        let scope = declaration
            .scopes
            .iter()
            .fold(writer.tag("SCOPE"), |tag, scope| tag.with(scope_attribute(*scope), "true"));
        scope.open();
        writer.close("SCOPE");
    }
    if let Some(value) = &declaration.default {
        value::value(writer, None, value, FalseBoolean::Standard);
    }
    writer.close("QUALIFIER.DECLARATION");
}

/// Flavors that are not the DTD's defaults.
fn with_flavor<'w, 'b>(tag: Tag<'w, 'b>, flavor: Flavor) -> Tag<'w, 'b> {
    let default = Flavor::default();
    tag.with_flag("OVERRIDABLE", flavor.overridable, default.overridable)
        .with_flag("TOSUBCLASS", flavor.to_subclass, default.to_subclass)
        .with_flag("TOINSTANCE", flavor.to_instance, default.to_instance)
        .with_flag("TRANSLATABLE", flavor.translatable, default.translatable)
}
