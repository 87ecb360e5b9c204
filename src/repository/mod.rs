//! The schema: every class resolved, immutable after start, one for all namespaces.
//!
//! The MOF of `schema/` is inside the program; `schema.directories` adds to it ([`Repository::load`]).
//! All of it is read, compiled and checked at start. A class is resolved (given what it inherits) when it
//! is first asked for, and kept.
//!
//! What is deliberately absent: instances, namespaces, and any change after start.
//!
//! Sources: DSP0004 §5.1.2 (inheritance), §5.6.3 (qualifiers), DSP0200 §5.3.2 (GetClass and the like).

mod error;
mod files;
mod instance;
mod load;
mod resolve;
#[cfg(test)]
mod tests;
mod view;

use std::{
    cmp::Reverse,
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

pub use error::{ClassFault, LoadError, LoadProblem};
pub use load::Note;

use crate::cim::{CimName, Class, PropertyDeclaration, QualifierDeclaration};

/// The classes and qualifier declarations of the daemon. Names are found without regard to case.
#[derive(Debug)]
pub struct Repository {
    classes: HashMap<CimName, Entry>,
    roots: Vec<CimName>,
    qualifiers: Vec<QualifierDeclaration>,
    references: Vec<Reference>,
    notes: Vec<Note>,
}

#[derive(Debug)]
struct Entry {
    declared: Class,
    /// Direct subclasses, sorted.
    subclasses: Vec<CimName>,
    resolved: OnceLock<Resolved>,
}

/// A class with what it inherits.
#[derive(Debug)]
struct Resolved {
    class: Arc<Class>,
    /// Which of its properties are keys, in the order of paths.
    keys: Vec<usize>,
}

impl Resolved {
    /// Keeps the names that every instance of the class repeats.
    fn new(mut class: Class) -> Self {
        class.name = class.name.kept();
        for property in &mut class.properties {
            let PropertyDeclaration { name, ty, class_origin, .. } = property;
            *name = name.kept();
            for name in [&mut ty.reference_class, class_origin].into_iter().flatten() {
                *name = name.kept();
            }
        }
        let keys = path_order(&class);
        Self { class: Arc::new(class), keys }
    }
}

/// A reference property of an association class, inherited ones included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// The association class.
    pub association: CimName,
    /// The property.
    pub role: CimName,
    /// The class that it refers to.
    pub class: CimName,
}

impl Repository {
    /// The schema inside the program, made once.
    pub fn builtin() -> Arc<Self> {
        static BUILTIN: OnceLock<Arc<Repository>> = OnceLock::new();
        BUILTIN
            .get_or_init(|| Arc::new(Self::load(&[]).expect("the tests load the schema inside")))
            .clone()
    }

    /// The schema inside the program and the `*.mof` files of directories, in any order.
    ///
    /// # Errors
    /// Everything that is wrong, each with its file and line.
    pub fn load(directories: &[PathBuf]) -> Result<Self, LoadError> {
        load::load(directories)
    }

    /// What an administrator may want to know of the directories' files.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The class, with what it inherits.
    pub fn class(&self, name: &CimName) -> Option<Arc<Class>> {
        self.class_ref(name).cloned()
    }

    /// The class, with what it inherits, for as long as the repository lives.
    pub fn class_ref(&self, name: &CimName) -> Option<&Arc<Class>> {
        self.resolved(name).map(|resolved| &resolved.class)
    }

    /// The keys of a class in the order of paths: those of derived classes first, as in
    /// `SystemCreationClassName, SystemName, CreationClassName, Name`. None of an unknown class.
    pub fn keys<'s>(
        &'s self,
        class: &CimName,
    ) -> impl ExactSizeIterator<Item = &'s PropertyDeclaration> + use<'s> {
        let (properties, keys) = match self.resolved(class) {
            Some(Resolved { class, keys }) => (&class.properties[..], &keys[..]),
            None => (&[][..], &[][..]),
        };
        keys.iter().map(|&index| &properties[index])
    }

    fn resolved(&self, name: &CimName) -> Option<&Resolved> {
        // From the class up to the first that is resolved already, then down again.
        let mut chain = Vec::new();
        let mut current = Some(name);
        let mut resolved = None;
        while let Some(name) = current {
            let entry = self.classes.get(name)?;
            resolved = entry.resolved.get();
            if resolved.is_some() {
                break;
            }
            chain.push(entry);
            current = entry.declared.superclass.as_ref();
        }
        let is_a = |class: &CimName, ancestor: &CimName| self.is_a(class, ancestor);
        for entry in chain.into_iter().rev() {
            let superclass = resolved.map(|resolved| &*resolved.class);
            let class = || resolve::resolve(&entry.declared, superclass, &is_a).class;
            resolved = Some(entry.resolved.get_or_init(|| Resolved::new(class())));
        }
        resolved
    }

    /// Whether there is such a class.
    pub fn contains(&self, name: &CimName) -> bool {
        self.classes.contains_key(name)
    }

    /// The superclass; `None` for a root and for an unknown class.
    pub fn superclass(&self, name: &CimName) -> Option<&CimName> {
        self.classes.get(name)?.declared.superclass.as_ref()
    }

    /// Whether the class is the other or inherits from it. Unknown classes inherit from nothing.
    pub fn is_a(&self, class: &CimName, ancestor: &CimName) -> bool {
        std::iter::successors(Some(class), |name| self.superclass(name))
            .any(|name| name == ancestor)
    }

    /// The classes without superclass, sorted.
    pub fn roots(&self) -> &[CimName] {
        &self.roots
    }

    /// The classes that directly inherit from a class, sorted; none of an unknown class.
    pub fn subclasses(&self, name: &CimName) -> &[CimName] {
        self.classes.get(name).map_or(&[], |entry| &entry.subclasses)
    }

    /// All classes that inherit from a class, superclasses first; without the class itself.
    pub fn descendants<'a>(&'a self, name: &CimName) -> impl Iterator<Item = &'a CimName> {
        self.below(self.subclasses(name))
    }

    /// Whether a class that inherits from that one declares the property.
    pub fn is_declared_below(&self, class: &CimName, property: &CimName) -> bool {
        self.descendants(class)
            .filter_map(|name| self.classes.get(name))
            .any(|entry| entry.declared.property(property).is_some())
    }

    /// The classes given and all that inherit from them, superclasses first.
    fn below<'a>(&'a self, names: &'a [CimName]) -> impl Iterator<Item = &'a CimName> {
        let mut open: Vec<&CimName> = names.iter().rev().collect();
        std::iter::from_fn(move || {
            let next = open.pop()?;
            open.extend(self.subclasses(next).iter().rev());
            Some(next)
        })
    }

    /// The qualifier declarations, sorted by name.
    pub fn qualifiers(&self) -> &[QualifierDeclaration] {
        &self.qualifiers
    }

    /// The declaration of a qualifier.
    pub fn qualifier(&self, name: &CimName) -> Option<&QualifierDeclaration> {
        let found = self.qualifiers.binary_search_by(|known| known.name.cmp(name)).ok()?;
        Some(&self.qualifiers[found])
    }

    /// The references that an instance of the class, or the class itself, can stand in: those to the
    /// class or to one that it inherits from. Sorted by association and role.
    pub fn references_to<'a>(&'a self, class: &CimName) -> impl Iterator<Item = &'a Reference> {
        self.references.iter().filter(|reference| self.is_a(class, &reference.class))
    }

    /// The references that an association has.
    pub fn references_of<'a>(
        &'a self,
        association: &CimName,
    ) -> impl Iterator<Item = &'a Reference> {
        self.references.iter().filter(|reference| reference.association == *association)
    }
}

/// The numbers of the key properties in the order of paths.
fn path_order(class: &Class) -> Vec<usize> {
    let origin_of = |index: &usize| &class.properties[*index].class_origin;
    let is_key = |index: &usize| class.properties[*index].is_key();
    let mut keys: Vec<usize> = (0..class.properties.len()).filter(is_key).collect();
    // A resolved class has what it inherits first, so an origin that begins later is derived.
    keys.sort_by_key(|key| {
        Reverse(class.properties.iter().position(|it| it.class_origin == *origin_of(key)))
    });
    keys
}
