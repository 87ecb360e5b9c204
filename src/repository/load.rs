//! Texts → declarations → a checked schema.
//!
//! Two passes make the order of files irrelevant: first every text is read, then qualifiers, then
//! classes, superclasses before what inherits from them.
//!
//! A directory may bring a class that the program has too, as the DMTF's schema does. Then the
//! directory's replaces ours, provided that it declares at least what ours does: our providers rely
//! on that. Else ours stays, and a [`Note`] says so.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    ClassFault, Entry, LoadError, LoadProblem, Reference, Repository,
    files::{self, Builtin, Directory},
    resolve::{Part, resolve},
};
use crate::{
    cim::{CimName, Class, DataType, PropertyDeclaration, Value, qualifier},
    mof::{
        Loader, Location, Place, Reader, Sources,
        ast::{ClassDeclaration, Declaration},
        compile::{self, ClassPlaces, QualifierTypes},
    },
};

/// Something an administrator may want to know of a schema that can be used.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A directory's class was not taken because ours declares more.
    OursStays {
        /// The directory's declaration.
        location: Location,
        /// The class.
        class: CimName,
        /// What the directory's lacks, or has otherwise.
        lacks: String,
    },
    /// An element has the name of an inherited one and does not say that it overrides it; it is taken
    /// as if it did.
    ImpliedOverride {
        /// Where.
        location: Location,
        /// The class that has the other.
        origin: CimName,
    },
    /// Instances in MOF are not served.
    InstanceIgnored {
        /// Where.
        location: Location,
        /// Its class.
        class: CimName,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OursStays { location, class, lacks } => write!(
                f,
                "{location}: class `{class}` is not taken, virtcimd's own stays: here {lacks}"
            ),
            Self::ImpliedOverride { location, origin } => {
                write!(f, "{location}: this overrides what {origin} has, but lacks Override")
            }
            Self::InstanceIgnored { location, class } => {
                write!(f, "{location}: instance of `{class}` is not taken, only classes are")
            }
        }
    }
}

struct Declared {
    class: Class,
    places: ClassPlaces,
    builtin: bool,
}

#[derive(Default)]
struct Loading {
    sources: Sources,
    reader: Reader,
    qualifiers: QualifierTypes,
    classes: HashMap<CimName, Declared>,
    notes: Vec<Note>,
    problems: Vec<LoadProblem>,
}

pub(super) fn load(directories: &[PathBuf]) -> Result<Repository, LoadError> {
    let mut loading = Loading::default();
    let text = Builtin::text(files::MAIN).expect("the build script lists the main file");
    let own = loading.read_text(files::MAIN, text.into(), &mut Builtin);
    loading.take(own, true);
    let mut theirs = Vec::new();
    for directory in directories {
        theirs.append(&mut loading.read_directory(directory));
    }
    loading.take(theirs, false);
    // What does not parse leaves gaps that would be reported again and again.
    loading.stop_at_problems()?;
    loading.check_names();
    let repository = loading.build();
    loading.stop_at_problems()?;
    Ok(repository)
}

impl Loading {
    fn stop_at_problems(&mut self) -> Result<(), LoadError> {
        match std::mem::take(&mut self.problems) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(LoadError { problems }),
        }
    }

    fn fault(&mut self, place: Place, fault: ClassFault) {
        self.problems.push(LoadProblem::Class { location: self.sources.locate(place), fault });
    }

    fn read_directory(&mut self, path: &Path) -> Vec<Declaration> {
        let mut files = Vec::new();
        let mut declarations = Vec::new();
        let mut directory = match Directory::open(path, &mut files) {
            Ok(directory) => directory,
            Err(problem) => {
                self.problems.push(problem);
                return declarations;
            }
        };
        for file in files {
            let read = files::full_name(&file).and_then(|name| {
                // Another file may have included it already.
                let text = (!self.sources.contains(&name)).then(|| files::read(&name));
                Ok((name, text.transpose()?))
            });
            match read {
                Ok((_, None)) => {}
                Ok((name, Some(text))) => {
                    declarations.append(&mut self.read_text(&name, text, &mut directory));
                }
                Err(error) => self.problems.push(LoadProblem::Read { path: file, error }),
            }
        }
        declarations
    }

    fn read_text(
        &mut self,
        name: &str,
        text: std::borrow::Cow<'static, str>,
        loader: &mut dyn Loader,
    ) -> Vec<Declaration> {
        let read = self
            .sources
            .add(name, text)
            .and_then(|file| self.reader.read(&mut self.sources, file, loader));
        read.unwrap_or_else(|error| {
            self.problems.push(error.into());
            Vec::new()
        })
    }

    /// Compiles declarations, qualifiers first.
    fn take(&mut self, declarations: Vec<Declaration>, builtin: bool) {
        let mut classes = Vec::new();
        for declaration in declarations {
            match declaration {
                Declaration::Qualifier(declaration) => {
                    let at = declaration.name.at;
                    match compile::qualifier_type(&self.sources, declaration) {
                        Ok(declared) => self.take_qualifier(declared, at),
                        Err(error) => self.problems.push(error.into()),
                    }
                }
                Declaration::Class(declaration) => classes.push(declaration),
                Declaration::Instance(declaration) => self.notes.push(Note::InstanceIgnored {
                    location: self.sources.locate(declaration.class.at),
                    class: declaration.class.name,
                }),
            }
        }
        for declaration in classes {
            self.take_class(declaration, builtin);
        }
    }

    /// The first declaration of a qualifier stands; others must agree on its type.
    fn take_qualifier(&mut self, declared: crate::cim::QualifierDeclaration, at: Place) {
        match self.qualifiers.get(&declared.name) {
            Some(known) if known.ty != declared.ty || known.array != declared.array => {
                self.fault(at, ClassFault::QualifierConflict(declared.name));
            }
            Some(_) => {}
            None => {
                self.qualifiers.insert(declared.name.clone(), declared);
            }
        }
    }

    fn take_class(&mut self, declaration: ClassDeclaration, builtin: bool) {
        let (class, places) = match compile::class(&self.sources, &self.qualifiers, declaration) {
            Ok(compiled) => compiled,
            Err(error) => return self.problems.push(error.into()),
        };
        match self.classes.get(&class.name) {
            None => {}
            Some(known) if known.builtin == builtin => {
                let first = self.sources.locate(known.places.name);
                let fault = ClassFault::Duplicate { class: class.name, first };
                return self.fault(places.name, fault);
            }
            Some(ours) => {
                if let Some(lacks) = shortfall(&class, &ours.class) {
                    let location = self.sources.locate(places.name);
                    return self.notes.push(Note::OursStays { location, class: class.name, lacks });
                }
            }
        }
        self.classes.insert(class.name.clone(), Declared { class, places, builtin });
    }

    /// Superclasses, references and embedded instances name classes that exist.
    fn check_names(&mut self) {
        let mut faults = Vec::new();
        for declared in self.classes.values() {
            let Declared { class, places, .. } = declared;
            if let Some(superclass) = &class.superclass
                && !self.classes.contains_key(superclass)
            {
                let fault = ClassFault::UnknownSuperclass(superclass.clone());
                faults.push((places.superclass, fault));
            }
            let mut check = |ty: &DataType, qualifiers, element: &CimName, place| {
                let embedded = qualifier(qualifiers, "EmbeddedInstance")
                    .and_then(|found| found.value.as_ref())
                    .and_then(Value::as_str)
                    .and_then(|name| CimName::parse(name).ok());
                if let Some(class) = ty.reference_class.clone().or(embedded)
                    && !self.classes.contains_key(&class)
                {
                    faults.push((
                        place,
                        ClassFault::UnknownClass { class, element: element.clone() },
                    ));
                }
            };
            for (property, &place) in class.properties.iter().zip(&places.properties) {
                check(&property.ty, &property.qualifiers, &property.name, place);
            }
            for (method, &place) in class.methods.iter().zip(&places.methods) {
                for parameter in &method.parameters {
                    check(&parameter.ty, &parameter.qualifiers, &parameter.name, place);
                }
            }
        }
        self.add_sorted(faults);
    }

    /// Adds faults in the order of the text, which hash maps lose.
    fn add_sorted(&mut self, mut faults: Vec<(Place, ClassFault)>) {
        faults.sort_by_key(|(place, _)| *place);
        for (place, fault) in faults {
            self.fault(place, fault);
        }
    }

    /// Resolves each class once, to find what is wrong and which references it has. Resolved classes
    /// are large (the DMTF's schema has 50 000 inherited properties), so they are not kept: the
    /// repository makes those that are asked for.
    fn build(&mut self) -> Repository {
        let mut children: HashMap<&CimName, Vec<CimName>> = HashMap::new();
        let mut roots = Vec::new();
        for Declared { class, .. } in self.classes.values() {
            match &class.superclass {
                Some(superclass) => {
                    children.entry(superclass).or_default().push(class.name.clone())
                }
                None => roots.push(class.name.clone()),
            }
        }
        roots.sort();
        let mut faults = Vec::new();
        let mut implied_overrides = Vec::new();
        let mut entries = HashMap::with_capacity(self.classes.len());
        let mut references = Vec::new();
        let is_a = |class: &CimName, ancestor: &CimName| self.is_a(class, ancestor);
        let mut open: Vec<(CimName, Option<Arc<Class>>)> =
            roots.iter().map(|name| (name.clone(), None)).collect();
        while let Some((name, superclass)) = open.pop() {
            let Declared { class, places, .. } = &self.classes[&name];
            let resolved = resolve(class, superclass.as_deref(), &is_a);
            faults
                .extend(resolved.faults.into_iter().map(|(part, fault)| (places.of(part), fault)));
            let implied = resolved.implied_overrides.into_iter();
            implied_overrides.extend(implied.map(|(part, origin)| (places.of(part), origin)));
            references.extend(references_of(&resolved.class));
            let resolved = Arc::new(resolved.class);
            let mut subclasses = children.remove(&name).unwrap_or_default();
            subclasses.sort();
            open.extend(subclasses.iter().map(|name| (name.clone(), Some(resolved.clone()))));
            entries.insert(name, subclasses);
        }
        faults.extend(self.cycles(&entries));
        references.sort_by(|a, b| (&a.association, &a.role).cmp(&(&b.association, &b.role)));
        self.add_sorted(faults);
        let declared = std::mem::take(&mut self.classes);
        let classes = declared
            .into_iter()
            .filter_map(|(name, declared)| {
                let subclasses = entries.remove(&name)?;
                Some((
                    name,
                    Entry { declared: declared.class, subclasses, resolved: OnceLock::new() },
                ))
            })
            .collect();
        let mut qualifiers: Vec<_> = std::mem::take(&mut self.qualifiers).into_values().collect();
        qualifiers.sort_by(|a, b| a.name.cmp(&b.name));
        implied_overrides.sort();
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(implied_overrides.into_iter().map(|(place, origin)| Note::ImpliedOverride {
            location: self.sources.locate(place),
            origin,
        }));
        Repository { classes, roots, qualifiers, references, notes }
    }

    fn is_a(&self, class: &CimName, ancestor: &CimName) -> bool {
        let mut current = Some(class);
        // No chain is longer than there are classes; a circle would be.
        for _ in 0..=self.classes.len() {
            let Some(name) = current else { return false };
            if name == ancestor {
                return true;
            }
            current = self.classes.get(name).and_then(|known| known.class.superclass.as_ref());
        }
        false
    }

    /// The circles among the classes that no root leads to, each reported once.
    fn cycles(&self, reached: &HashMap<CimName, Vec<CimName>>) -> Vec<(Place, ClassFault)> {
        let mut seen: HashSet<&CimName> = HashSet::new();
        let mut faults = Vec::new();
        let mut names: Vec<&CimName> =
            self.classes.keys().filter(|name| !reached.contains_key(name)).collect();
        names.sort();
        for name in names {
            let mut chain: Vec<&CimName> = Vec::new();
            let mut current = Some(name);
            while let Some(name) = current {
                if let Some(start) = chain.iter().position(|&other| other == name) {
                    let circle: Vec<&str> =
                        chain[start..].iter().chain([&name]).map(|name| name.as_str()).collect();
                    let place = self.classes[name].places.superclass;
                    faults.push((place, ClassFault::Cycle(name.clone(), circle.join(" : "))));
                    break;
                }
                if !seen.insert(name) {
                    break;
                }
                chain.push(name);
                current = self.classes.get(name).and_then(|known| known.class.superclass.as_ref());
            }
        }
        faults
    }
}

impl ClassPlaces {
    fn of(&self, part: Part) -> Place {
        match part {
            Part::Class => self.name,
            Part::Superclass => self.superclass,
            Part::Property(index) => self.properties[index],
            Part::Method(index) => self.methods[index],
        }
    }
}

fn references_of(class: &Class) -> impl Iterator<Item = Reference> + '_ {
    class.properties.iter().filter_map(|property| {
        Some(Reference {
            association: class.name.clone(),
            role: property.name.clone(),
            class: property.ty.reference_class.clone()?,
        })
    })
}

/// What the candidate lacks to stand for ours: nothing our providers use may be missing or different.
fn shortfall(candidate: &Class, ours: &Class) -> Option<String> {
    if candidate.superclass != ours.superclass {
        return Some("the superclass is another".to_owned());
    }
    for property in &ours.properties {
        match candidate.property(&property.name) {
            Some(other) if other.ty == property.ty && same_key(other, property) => {}
            Some(_) => return Some(format!("property `{}` is another", property.name)),
            None => return Some(format!("property `{}` is missing", property.name)),
        }
    }
    for method in &ours.methods {
        let Some(other) = candidate.method(&method.name) else {
            return Some(format!("method `{}` is missing", method.name));
        };
        let has = |wanted: &crate::cim::Parameter| {
            other.parameters.iter().any(|known| known.name == wanted.name && known.ty == wanted.ty)
        };
        if other.return_type != method.return_type || !method.parameters.iter().all(has) {
            return Some(format!("method `{}` is another", method.name));
        }
    }
    None
}

/// Whether both are keys or neither is. What overrides a property need not say again that it is one.
fn same_key(a: &PropertyDeclaration, b: &PropertyDeclaration) -> bool {
    let overrides =
        |property: &PropertyDeclaration| qualifier(&property.qualifiers, "Override").is_some();
    a.is_key() == b.is_key() || (overrides(a) && overrides(b))
}
