//! Instances as their class describes them.

use super::Repository;
use crate::cim::{Instance, Property, Scalar, Value};

impl Repository {
    /// The instance with every property of its class, in the order of the class: those that are
    /// missing have the class's default or NULL, those that the class does not have are left out.
    /// `None` if there is no such class.
    pub fn complete(&self, mut instance: Instance) -> Option<Instance> {
        let class = self.class(&instance.class)?;
        let mut given = std::mem::take(&mut instance.properties);
        instance.class = class.name.clone();
        instance.properties = class
            .properties
            .iter()
            .map(|declared| Property {
                name: declared.name.clone(),
                ty: declared.ty.clone(),
                value: match given.iter_mut().find(|property| property.name == declared.name) {
                    Some(property) => property.value.take(),
                    None => declared.default.clone(),
                },
                class_origin: None,
            })
            .collect();
        Some(instance)
    }

    /// Gives the properties of the instances in a value, and of those in these, the types that their
    /// classes declare.
    pub fn declare_embedded(&self, value: Option<&mut Value>) {
        let each = |scalar: &mut Scalar| {
            let Scalar::EmbeddedInstance(embedded) = scalar else { return };
            let class = self.class_ref(&embedded.class);
            for Property { name, ty, value, .. } in &mut embedded.properties {
                if let Some(declared) = class.and_then(|class| class.property(name)) {
                    *ty = declared.ty.clone();
                }
                self.declare_embedded(value.as_mut());
            }
        };
        match value {
            Some(Value::Scalar(scalar)) => each(scalar),
            Some(Value::Array(elements)) => elements.iter_mut().flatten().for_each(each),
            None => {}
        }
    }
}
