//! Which properties of instances an answer shows (DSP0200 §5.3.2).

use std::{collections::HashMap, sync::Arc};

use crate::{
    cim::{CimName, DataType, Instance, InstanceOptions, Property, Value},
    repository::Repository,
};

/// Completes instances from their classes and takes out what the client does not want to see.
///
/// It remembers what it found out about a class, for a list repeats few classes many times.
pub(super) struct Shaper {
    repository: Arc<Repository>,
    options: InstanceOptions,
    /// The class whose properties alone are shown: DeepInheritance is false.
    only: Option<CimName>,
    shapes: HashMap<CimName, Vec<Slot>>,
}

/// A property that is shown.
struct Slot {
    name: CimName,
    ty: DataType,
    default: Option<Value>,
    class_origin: Option<CimName>,
}

impl Shaper {
    /// Shows each property of the creation class that `options` lets through.
    pub(super) fn deep(repository: Arc<Repository>, options: InstanceOptions) -> Self {
        Self { repository, options, only: None, shapes: HashMap::new() }
    }

    /// Shows of those only the ones that `class` has.
    pub(super) fn shallow(
        repository: Arc<Repository>,
        options: InstanceOptions,
        class: CimName,
    ) -> Self {
        Self { repository, options, only: Some(class), shapes: HashMap::new() }
    }

    /// The instance with the properties to show, in class order, NULL or the default where the
    /// provider set nothing.
    pub(super) fn shape(&mut self, instance: Instance) -> Instance {
        if !self.shapes.contains_key(&instance.class) {
            let slots = self.slots(&instance.class);
            self.shapes.insert(instance.class.clone(), slots);
        }
        let slots = &self.shapes[&instance.class];
        let Instance { class, path, mut properties } = instance;
        let properties = slots
            .iter()
            .map(|slot| {
                let set = properties.iter_mut().find(|property| property.name == slot.name);
                let value = match set {
                    Some(property) => property.value.take(),
                    None => slot.default.clone(),
                };
                Property {
                    name: slot.name.clone(),
                    ty: slot.ty.clone(),
                    value,
                    class_origin: slot.class_origin.clone(),
                }
            })
            .collect();
        Instance { class, path, properties }
    }

    fn slots(&self, class: &CimName) -> Vec<Slot> {
        let Some(class) = self.repository.class(class) else {
            return Vec::new();
        };
        let only = self.only.as_ref().and_then(|only| self.repository.class(only));
        let listed = |name: &CimName| {
            self.options.properties.as_ref().is_none_or(|names| names.contains(name))
        };
        let shown = class.properties.iter().filter(|property| {
            listed(&property.name)
                && only.as_ref().is_none_or(|only| only.property(&property.name).is_some())
        });
        shown
            .map(|property| Slot {
                name: property.name.clone(),
                ty: property.ty.clone(),
                default: property.default.clone(),
                class_origin: match self.options.include_class_origin {
                    true => property.class_origin.clone(),
                    false => None,
                },
            })
            .collect()
    }
}
