//! Builds instances by the names of their properties.

use crate::cim::{CimName, Instance, Scalar, Value};

/// How many properties an instance has room for at once; most have fewer.
const ROOM: usize = 16;

/// An instance in the making.
pub(super) struct Facts(Instance);

impl Facts {
    /// An instance of that class, about which nothing is known yet.
    pub(super) fn of(class: CimName) -> Self {
        Self(Instance { properties: Vec::with_capacity(ROOM), ..Instance::new(class) })
    }

    /// An instance of a class whose instances name it in their keys.
    pub(super) fn named(class: CimName) -> Self {
        let creation_class = Value::from(class.as_str());
        Self::of(class).set("CreationClassName", creation_class)
    }

    /// Sets a property that was not set before.
    pub(super) fn set(mut self, property: &'static str, value: impl Into<Value>) -> Self {
        let name = CimName::literal(property);
        debug_assert!(self.0.property(&name).is_none(), "{property} is set twice");
        self.0.push(name, value);
        self
    }

    /// Sets a property if there is a value; else it is NULL.
    pub(super) fn set_some(self, property: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(property, value),
            None => self,
        }
    }

    /// The instance.
    pub(super) fn done(self) -> Instance {
        self.0
    }
}

/// An array of strings.
pub(super) fn strings<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
    Value::Array(texts.into_iter().map(|text| Some(Scalar::String(text.into()))).collect())
}
