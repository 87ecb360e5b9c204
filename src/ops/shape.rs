//! Which properties of instances an answer shows (DSP0200 §5.3.2).

use std::sync::Arc;

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
    /// By the names of classes. They are few, and mostly the same one again.
    shapes: Vec<(CimName, Option<Shape>)>,
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
        Self { repository, options, only: None, shapes: Vec::new() }
    }

    /// Shows of those only the ones that `class` has.
    pub(super) fn shallow(
        repository: Arc<Repository>,
        options: InstanceOptions,
        class: CimName,
    ) -> Self {
        Self { repository, options, only: Some(class), shapes: Vec::new() }
    }

    /// The instance with the properties to show, in class order, NULL or the default where the
    /// provider set nothing.
    pub(super) fn shape(&mut self, instance: Instance) -> Instance {
        let Instance { class, path, properties: mut set } = instance;
        let known = self.shapes.iter().position(|(name, _)| *name == class);
        let index = known.unwrap_or_else(|| {
            self.shapes.push((class.clone(), self.shape_of(&class)));
            self.shapes.len() - 1
        });
        let Some(shape) = &self.shapes[index].1 else {
            return Instance { class, path, properties: Vec::new() };
        };
        let mut properties = Vec::with_capacity(shape.shown.len());
        for declared in &shape.shown {
            let declared = &shape.class.properties[*declared];
            let name = declared.name.as_str();
            let origin = declared.class_origin.as_ref();
            let origin = origin.filter(|_| self.options.include_class_origin);
            properties.push(Property {
                name: declared.name.clone(),
                ty: declared.ty.clone(),
                // What was found is taken out: the next search has less to look at.
                value: match set.iter().position(|property| property.name == *name) {
                    Some(index) => {
                        let mut value = set.swap_remove(index).value;
                        self.repository.declare_embedded(value.as_mut());
                        value
                    }
                    None => declared.default.clone(),
                },
                class_origin: origin.cloned(),
            });
        }
        Instance { class, path, properties }
    }

    fn shape_of(&self, class: &CimName) -> Option<Shape> {
        let class = self.repository.class(class)?;
        let only = self.only.as_ref().and_then(|only| self.repository.class_ref(only));
        let listed = |name: &CimName| {
            self.options.properties.as_ref().is_none_or(|names| names.contains(name))
        };
        let mut shown = Vec::with_capacity(class.properties.len());
        shown.extend((0..class.properties.len()).filter(|&index| {
            let name = &class.properties[index].name;
            listed(name) && only.is_none_or(|only| only.property(name).is_some())
        }));
        Some(Shape { class, shown })
    }
}
