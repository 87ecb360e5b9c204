//! Which properties of instances an answer shows (DSP0200 §5.3.2).

use std::{collections::HashMap, sync::Arc};

use crate::{
    cim::{CimName, Class, Instance, InstanceOptions, Property},
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
    shapes: HashMap<CimName, Option<Shape>>,
}

/// What is shown of the instances of a class.
struct Shape {
    class: Arc<Class>,
    /// Which of its properties.
    shown: Vec<usize>,
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
            let shape = self.shape_of(&instance.class);
            self.shapes.insert(instance.class.clone(), shape);
        }
        let Instance { class, path, mut properties } = instance;
        let Some(shape) = &self.shapes[&class] else {
            return Instance { class, path, properties: Vec::new() };
        };
        let shown = shape.shown.iter().map(|&index| &shape.class.properties[index]);
        let properties = shown
            .map(|declared| {
                // What was found is taken out: the next search has less to look at.
                let set = properties.iter().position(|property| property.name == declared.name);
                let value = match set {
                    Some(index) => properties.swap_remove(index).value,
                    None => declared.default.clone(),
                };
                let origin = declared.class_origin.as_ref();
                let origin = origin.filter(|_| self.options.include_class_origin);
                Property {
                    name: declared.name.clone(),
                    ty: declared.ty.clone(),
                    value,
                    class_origin: origin.cloned(),
                }
            })
            .collect();
        Instance { class, path, properties }
    }

    fn shape_of(&self, class: &CimName) -> Option<Shape> {
        let class = self.repository.class(class)?;
        let only = self.only.as_ref().and_then(|only| self.repository.class_ref(only));
        let listed = |name: &CimName| {
            self.options.properties.as_ref().is_none_or(|names| names.contains(name))
        };
        let declared = class.properties.iter().enumerate();
        let shown = declared.filter(|(_, property)| {
            listed(&property.name)
                && only.is_none_or(|only| only.property(&property.name).is_some())
        });
        let shown = shown.map(|(index, _)| index).collect();
        Some(Shape { class, shown })
    }
}
