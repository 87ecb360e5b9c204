//! CLASS, METHOD, PARAMETER, QUALIFIER and QUALIFIER.DECLARATION (DSP0201 §5.2.5, §5.2.2).

use super::{
    super::{DecodeError, error::Quoted, reader::Reader, scope_attribute},
    instance,
    value::{self, Stated},
};
use crate::cim::{
    self, ArrayKind, CimType, Class, DataType, Embedded, Flavor, Method, Parameter, Qualifier,
    QualifierDeclaration, Scope, Value,
};

/// CLASS, opened.
pub(in crate::xml) fn class(reader: &mut Reader<'_>) -> Result<Class, DecodeError> {
    let mut class = Class {
        name: reader.name("NAME")?,
        superclass: reader.optional_name("SUPERCLASS")?,
        qualifiers: Vec::new(),
        properties: Vec::new(),
        methods: Vec::new(),
    };
    while let Some(element) = reader.child()? {
        match element {
            "QUALIFIER" => class.qualifiers.push(qualifier(reader)?),
            "METHOD" => class.methods.push(method(reader)?),
            _ => class.properties.push(instance::property(reader, element)?),
        }
    }
    Ok(class)
}

fn method(reader: &mut Reader<'_>) -> Result<Method, DecodeError> {
    // TYPE may be left out, as by clients of old DTDs: then nothing is known of the value.
    let mut method = Method {
        name: reader.name("NAME")?,
        return_type: Stated::read(reader, "TYPE")?.data_type(),
        qualifiers: Vec::new(),
        parameters: Vec::new(),
        class_origin: reader.optional_name("CLASSORIGIN")?,
        propagated: reader.flag("PROPAGATED", false)?,
    };
    while let Some(element) = reader.child()? {
        match element {
            "QUALIFIER" => method.qualifiers.push(qualifier(reader)?),
            _ => method.parameters.push(parameter(reader, element)?),
        }
    }
    method.return_type.embedded = embedded_by(&method.qualifiers);
    Ok(method)
}

fn parameter(reader: &mut Reader<'_>, element: &str) -> Result<Parameter, DecodeError> {
    let is_reference = match element {
        "PARAMETER" | "PARAMETER.ARRAY" => false,
        "PARAMETER.REFERENCE" | "PARAMETER.REFARRAY" => true,
        other => return Err(reader.unexpected(other)),
    };
    let mut ty = if is_reference {
        let reference_class = reader.optional_name("REFERENCECLASS")?;
        DataType { reference_class, ..DataType::scalar(CimType::Reference) }
    } else {
        reader.required("TYPE")?;
        Stated::read(reader, "TYPE")?.data_type()
    };
    if matches!(element, "PARAMETER.ARRAY" | "PARAMETER.REFARRAY") {
        ty.array = array_size(reader)?.map_or(ArrayKind::Array, ArrayKind::Fixed);
    }
    let name = reader.name("NAME")?;
    let mut qualifiers = Vec::new();
    while let Some(child) = reader.child()? {
        match child {
            "QUALIFIER" => qualifiers.push(qualifier(reader)?),
            other => return Err(reader.unexpected(other)),
        }
    }
    ty.embedded = embedded_by(&qualifiers);
    Ok(Parameter { name, ty, qualifiers })
}

/// What the qualifiers say a string embeds: methods and parameters have no attribute for it.
pub(super) fn embedded_by(qualifiers: &[Qualifier]) -> Option<Embedded> {
    let value = |name| cim::qualifier(qualifiers, name)?.value.as_ref();
    if value("EmbeddedInstance").is_some() {
        Some(Embedded::Instance)
    } else {
        (value("EmbeddedObject")?.as_bool() == Some(true)).then_some(Embedded::Object)
    }
}

/// QUALIFIER, opened.
pub(super) fn qualifier(reader: &mut Reader<'_>) -> Result<Qualifier, DecodeError> {
    let name = reader.name("NAME")?;
    let ty = qualifier_type(reader)?;
    let flavor = flavor(reader)?;
    let propagated = reader.flag("PROPAGATED", false)?;
    let mut value = None;
    while let Some(element) = reader.child()? {
        value = qualifier_value(reader, element, ty, &name)?;
    }
    Ok(Qualifier { name, ty, value, flavor, propagated })
}

/// QUALIFIER.DECLARATION, opened.
pub(super) fn qualifier_declaration(
    reader: &mut Reader<'_>,
) -> Result<QualifierDeclaration, DecodeError> {
    let name = reader.name("NAME")?;
    let ty = qualifier_type(reader)?;
    let flavor = flavor(reader)?;
    let size = array_size(reader)?;
    let is_array = reader.flag("ISARRAY", size.is_some())?;
    let (mut default, mut scopes) = (None, Vec::new());
    while let Some(element) = reader.child()? {
        match element {
            "SCOPE" => {
                scopes = scope(reader)?;
                reader.end()?;
            }
            _ => default = qualifier_value(reader, element, ty, &name)?,
        }
    }
    let array = match (size, is_array || matches!(default, Some(Value::Array(_)))) {
        (Some(size), true) => ArrayKind::Fixed(size),
        (None, true) => ArrayKind::Array,
        (_, false) => ArrayKind::Scalar,
    };
    Ok(QualifierDeclaration { name, ty, array, default, scopes, flavor })
}

fn qualifier_value(
    reader: &mut Reader<'_>,
    element: &str,
    ty: CimType,
    name: &cim::CimName,
) -> Result<Option<Value>, DecodeError> {
    let stated = Stated { ty: Some(ty), embedded: None };
    let owner = value::owner("qualifier", name);
    match element {
        "VALUE" => Ok(value::scalar(reader, stated, owner)?.map(Value::Scalar)),
        "VALUE.ARRAY" => value::array(reader, stated, owner).map(Some),
        other => Err(reader.unexpected(other)),
    }
}

fn qualifier_type(reader: &Reader<'_>) -> Result<CimType, DecodeError> {
    let name = reader.required("TYPE")?;
    CimType::from_name(name)
        .ok_or_else(|| reader.not_valid(format!("TYPE {} is not known", Quoted(name))))
}

fn flavor(reader: &Reader<'_>) -> Result<Flavor, DecodeError> {
    let default = Flavor::default();
    Ok(Flavor {
        overridable: reader.flag("OVERRIDABLE", default.overridable)?,
        to_subclass: reader.flag("TOSUBCLASS", default.to_subclass)?,
        to_instance: reader.flag("TOINSTANCE", default.to_instance)?,
        translatable: reader.flag("TRANSLATABLE", default.translatable)?,
    })
}

fn scope(reader: &Reader<'_>) -> Result<Vec<Scope>, DecodeError> {
    let mut scopes = Vec::new();
    for scope in Scope::ALL {
        if reader.flag(scope_attribute(scope), false)? {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// The attribute ARRAYSIZE.
pub(super) fn array_size(reader: &Reader<'_>) -> Result<Option<u32>, DecodeError> {
    reader
        .attribute("ARRAYSIZE")
        .map(|text| {
            text.trim().parse().map_err(|_| {
                reader.not_valid(format!("ARRAYSIZE is {}, not a number", Quoted(text)))
            })
        })
        .transpose()
}
