//! INSTANCE and its properties, alone or with their path (DSP0201 §5.2.5).

use super::{
    super::{DecodeError, reader::Reader},
    class, path, repeated,
    value::{self, Stated},
};
use crate::cim::{ArrayKind, CimType, DataType, Instance, Property, PropertyDeclaration, Value};

/// INSTANCE, opened. Qualifiers on instances are deprecated and passed over.
pub(in crate::xml) fn instance(reader: &mut Reader<'_>) -> Result<Instance, DecodeError> {
    let mut instance = Instance::new(reader.name("CLASSNAME")?);
    while let Some(element) = reader.child()? {
        if element == "QUALIFIER" {
            reader.skip()?;
            continue;
        }
        let declared = property(reader, element)?;
        instance.properties.push(Property {
            name: declared.name,
            ty: declared.ty,
            value: declared.default,
            class_origin: declared.class_origin,
        });
    }
    if let Some(name) = repeated(instance.properties.iter().map(|property| &property.name)) {
        reader.reject(format!("property `{name}` is given twice"));
    }
    Ok(instance)
}

/// VALUE.NAMEDINSTANCE, VALUE.INSTANCEWITHPATH or VALUE.OBJECTWITHLOCALPATH, opened, of an instance.
pub(super) fn instance_with(
    reader: &mut Reader<'_>,
    path_element: &str,
) -> Result<Instance, DecodeError> {
    reader.expect(path_element)?;
    let path = match path_element {
        "INSTANCENAME" => path::instance_name(reader)?,
        "LOCALINSTANCEPATH" => path::local_instance_path(reader)?,
        _ => path::instance_path(reader)?,
    };
    reader.expect("INSTANCE")?;
    let instance = instance(reader)?;
    reader.end()?;
    Ok(Instance { path: Some(path), ..instance })
}

/// A PROPERTY of one of the three kinds, opened, of an instance or of a class.
pub(super) fn property(
    reader: &mut Reader<'_>,
    element: &str,
) -> Result<PropertyDeclaration, DecodeError> {
    let (mut ty, value_element, mut stated) = property_type(reader, element)?;
    let name = reader.name("NAME")?;
    let class_origin = reader.optional_name("CLASSORIGIN")?;
    let propagated = reader.flag("PROPAGATED", false)?;
    let (mut default, mut qualifiers) = (None, Vec::new());
    let mut has_value = false;
    while let Some(child) = reader.child()? {
        match child {
            "QUALIFIER" => qualifiers.push(class::qualifier(reader)?),
            _ if child == value_element && !has_value => {
                has_value = true;
                // Qualifiers stand before the value and say, as the attribute does, what it is.
                stated = stated.or_qualified(&qualifiers);
                let owner = value::owner("property", &name);
                default = match child {
                    "VALUE" => value::scalar(reader, stated, owner)?.map(Value::Scalar),
                    "VALUE.ARRAY" => Some(value::array(reader, stated, owner)?),
                    _ => Some(value::reference(reader)?.into()),
                };
            }
            other => return Err(reader.unexpected(other)),
        }
    }
    if !has_value {
        stated = stated.or_qualified(&qualifiers);
    }
    ty.embedded = stated.embedded;
    Ok(PropertyDeclaration { name, ty, default, qualifiers, class_origin, propagated })
}

/// The type, the element its value stands in, and what is stated of the value's type.
fn property_type(
    reader: &mut Reader<'_>,
    element: &str,
) -> Result<(DataType, &'static str, Stated), DecodeError> {
    let stated = Stated::read(reader, "TYPE")?;
    Ok(match element {
        "PROPERTY" | "PROPERTY.ARRAY" if stated.ty == Some(CimType::Reference) => {
            return Err(reader.not_valid("a reference is a PROPERTY.REFERENCE"));
        }
        "PROPERTY" => (stated.data_type(), "VALUE", stated),
        "PROPERTY.ARRAY" => {
            let array = class::array_size(reader)?.map_or(ArrayKind::Array, ArrayKind::Fixed);
            (DataType { array, ..stated.data_type() }, "VALUE.ARRAY", stated)
        }
        "PROPERTY.REFERENCE" => {
            let ty = DataType {
                reference_class: reader.optional_name("REFERENCECLASS")?,
                ..DataType::scalar(CimType::Reference)
            };
            (ty, "VALUE.REFERENCE", Stated { ty: Some(CimType::Reference), embedded: None })
        }
        other => return Err(reader.unexpected(other)),
    })
}
