//! Instances: a creation class and property values.

use super::{CimName, CimType, DataType, InstancePath, Value};

/// An instance. Providers set the properties they know; `ops` completes it from the class.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The creation class.
    pub class: CimName,
    /// Its path, where known; `None` in embedded instances and in CreateInstance requests.
    pub path: Option<InstancePath>,
    /// Property values in order; names are unique.
    pub properties: Vec<Property>,
}

/// A property of an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// The property name.
    pub name: CimName,
    /// Its type.
    pub ty: DataType,
    /// Its value; `None` is NULL.
    pub value: Option<Value>,
    /// The topmost declaring class, where the client asked for it.
    pub class_origin: Option<CimName>,
}

impl Instance {
    /// An instance without properties and path.
    pub fn new(class: CimName) -> Self {
        Self { class, path: None, properties: Vec::new() }
    }

    /// Sets a property, taking its type from the value; a later value replaces an earlier one.
    pub fn set(&mut self, name: CimName, value: impl Into<Value>) {
        let property = Property::new(name, value.into());
        match self.properties.iter_mut().find(|existing| existing.name == property.name) {
            Some(existing) => *existing = property,
            None => self.properties.push(property),
        }
    }

    /// Adds a property that is not there yet, taking its type from the value.
    pub fn push(&mut self, name: CimName, value: impl Into<Value>) {
        self.properties.push(Property::new(name, value.into()));
    }

    /// The same as [`Instance::set`], for building in one expression.
    #[must_use]
    pub fn with(mut self, name: CimName, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// The property of that name, NULL or not.
    pub fn property(&self, name: &CimName) -> Option<&Property> {
        self.properties.iter().find(|property| property.name == *name)
    }

    /// The value of the property of that name; `None` if NULL or absent.
    pub fn value(&self, name: &CimName) -> Option<&Value> {
        self.property(name).and_then(|property| property.value.as_ref())
    }
}

impl Property {
    fn new(name: CimName, value: Value) -> Self {
        Self { name, ty: type_of(&value), value: Some(value), class_origin: None }
    }
}

/// The type a value shows; an empty or all-NULL array shows strings.
fn type_of(value: &Value) -> DataType {
    let (first, array) = match value {
        Value::Scalar(scalar) => (Some(scalar), false),
        Value::Array(elements) => (elements.iter().flatten().next(), true),
    };
    let base = first.and_then(super::Scalar::cim_type).unwrap_or(CimType::String);
    let mut ty = if array { DataType::array(base) } else { DataType::scalar(base) };
    ty.embedded = match first {
        Some(super::Scalar::EmbeddedInstance(_)) => Some(super::Embedded::Instance),
        Some(super::Scalar::EmbeddedClass(_)) => Some(super::Embedded::Object),
        _ => None,
    };
    ty
}
