//! Classes as clients ask for them: LocalOnly, IncludeQualifiers, IncludeClassOrigin, PropertyList and
//! DeepInheritance (DSP0200 §5.3.2.1, §5.3.2.9, §5.3.2.10).

use super::{Repository, resolve};
use crate::cim::{CimName, Class, ClassOptions};

impl Repository {
    /// A class with those of its parts that the options ask for; `None` if there is no such class.
    ///
    /// Local are the elements that the class declares or overrides. They keep the qualifiers they
    /// inherit, as with other servers: without them a client could not tell that the class is an
    /// association or the property a key. The property list leaves methods alone.
    pub fn view(&self, name: &CimName, options: &ClassOptions) -> Option<Class> {
        let mut class = self.resolve_once(name)?;
        if options.local_only {
            class.properties.retain(|property| !property.propagated);
            class.methods.retain(|method| !method.propagated);
        }
        if let Some(wanted) = &options.properties {
            class.properties.retain(|property| wanted.contains(&property.name));
        }
        class.qualifiers.retain(|_| options.include_qualifiers);
        for property in &mut class.properties {
            property.qualifiers.retain(|_| options.include_qualifiers);
            property.class_origin.take_if(|_| !options.include_class_origin);
        }
        for method in &mut class.methods {
            method.qualifiers.retain(|_| options.include_qualifiers);
            for parameter in &mut method.parameters {
                parameter.qualifiers.retain(|_| options.include_qualifiers);
            }
            method.class_origin.take_if(|_| !options.include_class_origin);
        }
        Some(class)
    }

    /// The class, with what it inherits, for one use. Whoever reads through all classes of a large
    /// schema should not have them stay in memory.
    fn resolve_once(&self, name: &CimName) -> Option<Class> {
        let entry = self.classes.get(name)?;
        if let Some(kept) = entry.resolved.get() {
            return Some(Class::clone(&kept.class));
        }
        let superclass = entry.declared.superclass.as_ref().and_then(|it| self.resolve_once(it));
        let is_a = |class: &CimName, ancestor: &CimName| self.is_a(class, ancestor);
        Some(resolve::resolve(&entry.declared, superclass.as_ref(), &is_a).class)
    }

    /// What EnumerateClassNames lists: the classes below a class, or, without one, the roots; only the
    /// next level or, with deep inheritance, all levels. `None` if there is no such class.
    pub fn class_names(
        &self,
        class: Option<&CimName>,
        deep_inheritance: bool,
    ) -> Option<Vec<CimName>> {
        let top = match class {
            Some(class) => &self.classes.get(class)?.subclasses,
            None => &self.roots,
        };
        Some(if deep_inheritance { self.below(top).cloned().collect() } else { top.clone() })
    }
}
