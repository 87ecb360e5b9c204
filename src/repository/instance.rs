//! Instances against their class: what clients send gets the declared types, what providers make gets
//! the properties they left out.

use super::Repository;
use crate::cim::{
    CimName, CimType, Class, DataType, Instance, Property, PropertyDeclaration, Scalar, Value,
};

/// An instance does not fit its class.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConformError {
    /// There is no such class.
    #[error("class `{0}` does not exist")]
    UnknownClass(CimName),
    /// A value is not of the property's type.
    #[error("property `{property}` is {expected}, received {received}")]
    WrongType {
        /// The property.
        property: CimName,
        /// Its type.
        expected: DataType,
        /// The value as the client wrote it.
        received: String,
    },
}

impl Repository {
    /// Gives the properties of an instance that a client wrote their declared types and spelling.
    /// Numbers of another width are taken if they are in range, untyped text if it reads as the type,
    /// strings where the type is written like one (datetime, char16). What the class does not have
    /// is left out, as old clients send such (MODEL trap 3); nothing is added.
    ///
    /// # Errors
    /// The class is unknown; a value can't be of its property's type.
    pub fn conform(&self, instance: Instance) -> Result<Instance, ConformError> {
        let Some(class) = self.class(&instance.class) else {
            return Err(ConformError::UnknownClass(instance.class));
        };
        let mut properties = Vec::with_capacity(instance.properties.len());
        for property in instance.properties {
            if let Some(declared) = class.property(&property.name) {
                properties.push(self.conform_property(declared, property)?);
            }
        }
        Ok(Instance { class: class.name.clone(), path: instance.path, properties })
    }

    fn conform_property(
        &self,
        declared: &PropertyDeclaration,
        property: Property,
    ) -> Result<Property, ConformError> {
        let value = match property.value {
            None => None,
            Some(value) => Some(self.conform_value(&declared.ty, value).map_err(|received| {
                ConformError::WrongType {
                    property: declared.name.clone(),
                    expected: declared.ty.clone(),
                    received,
                }
            })?),
        };
        Ok(Property {
            name: declared.name.clone(),
            ty: declared.ty.clone(),
            value,
            class_origin: property.class_origin,
        })
    }

    /// The value with the declared type, or what was received instead.
    fn conform_value(&self, ty: &DataType, value: Value) -> Result<Value, String> {
        match value {
            Value::Scalar(scalar) if !ty.is_array() => {
                self.conform_scalar(ty.base, scalar).map(Value::Scalar)
            }
            Value::Array(elements) if ty.is_array() => elements
                .into_iter()
                .map(|element| {
                    element.map(|scalar| self.conform_scalar(ty.base, scalar)).transpose()
                })
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Scalar(scalar) => Err(format!("the single value {}", shown(&scalar))),
            Value::Array(_) => Err("an array".to_owned()),
        }
    }

    fn conform_scalar(&self, ty: CimType, scalar: Scalar) -> Result<Scalar, String> {
        if scalar.cim_type() == Some(ty) {
            return Ok(scalar);
        }
        let conformed = match &scalar {
            Scalar::Untyped(text) => Scalar::parse(ty, text),
            Scalar::String(text) if matches!(ty, CimType::DateTime | CimType::Char16) => {
                Scalar::parse(ty, text)
            }
            Scalar::Real32(n) if ty == CimType::Real64 => Some(Scalar::Real64((*n).into())),
            Scalar::Real64(n) if ty == CimType::Real32 => Some(Scalar::Real32(*n as f32)),
            other => other.as_integer().and_then(|n| Scalar::from_integer(ty, n)),
        };
        conformed.ok_or_else(|| shown(&scalar))
    }

    /// The instance with every property of its class, in the order of the class: those that are
    /// missing have the class's default or NULL, those that the class does not have are left out.
    /// `None` if there is no such class.
    pub fn complete(&self, mut instance: Instance) -> Option<Instance> {
        let class = self.class(&instance.class)?;
        let properties =
            class.properties.iter().map(|declared| complete(declared, &mut instance)).collect();
        Some(Instance { class: class.name.clone(), path: instance.path, properties })
    }

    /// An instance of the class with its default values and nothing else.
    pub fn blank(&self, class: &Class) -> Instance {
        let mut instance = Instance::new(class.name.clone());
        let properties =
            class.properties.iter().map(|declared| complete(declared, &mut instance)).collect();
        instance.properties = properties;
        instance
    }
}

fn complete(declared: &PropertyDeclaration, instance: &mut Instance) -> Property {
    let given = instance.properties.iter_mut().find(|property| property.name == declared.name);
    Property {
        name: declared.name.clone(),
        ty: declared.ty.clone(),
        value: match given {
            Some(given) => given.value.take(),
            None => declared.default.clone(),
        },
        class_origin: None,
    }
}

fn shown(scalar: &Scalar) -> String {
    match scalar {
        Scalar::String(text) => format!("the string {text:?}"),
        Scalar::Untyped(text) => format!("{text:?}"),
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Real32(n) => n.to_string(),
        Scalar::Real64(n) => n.to_string(),
        Scalar::Char16(_) => "a character".to_owned(),
        Scalar::DateTime(value) => value.to_string(),
        Scalar::Reference(_) => "a reference".to_owned(),
        Scalar::EmbeddedInstance(_) => "an embedded instance".to_owned(),
        Scalar::EmbeddedClass(_) => "an embedded class".to_owned(),
        other => other.as_integer().map_or_else(String::new, |n| n.to_string()),
    }
}
