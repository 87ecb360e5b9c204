//! A class as declared and its resolved superclass → the resolved class (DSP0004 §5.1.2, §5.6.3).

use super::ClassFault;
use crate::{
    cim::{
        CimName, Class, DataType, Method, Parameter, PropertyDeclaration, Qualifier, Value,
        qualifier,
    },
    mof::compile::embedded_kind,
};

/// The part of a class that is wrong, by its number in the declaration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Class,
    Superclass,
    Property(usize),
    Method(usize),
}

/// Whether the first class is the second or inherits from it.
pub(super) type IsA<'a> = &'a dyn Fn(&CimName, &CimName) -> bool;

/// What comes of a declaration.
pub(super) struct Resolved {
    /// The class, as well as it can be made out.
    pub(super) class: Class,
    /// What is wrong with the declaration.
    pub(super) faults: Vec<(Part, ClassFault)>,
    /// Elements that override others and do not say so, with the class that has the other.
    pub(super) implied_overrides: Vec<(Part, CimName)>,
}

/// Resolves a class.
pub(super) fn resolve(declared: &Class, superclass: Option<&Class>, is_a: IsA<'_>) -> Resolved {
    let mut resolver =
        Resolver { declared, superclass, is_a, faults: Vec::new(), implied_overrides: Vec::new() };
    let class = resolver.class();
    Resolved { class, faults: resolver.faults, implied_overrides: resolver.implied_overrides }
}

struct Resolver<'a> {
    declared: &'a Class,
    superclass: Option<&'a Class>,
    is_a: IsA<'a>,
    faults: Vec<(Part, ClassFault)>,
    implied_overrides: Vec<(Part, CimName)>,
}

impl Resolver<'_> {
    fn class(&mut self) -> Class {
        let name = self.declared.name.clone();
        let inherited = self.superclass.map_or(&[][..], |superclass| &superclass.qualifiers);
        let qualifiers =
            self.merge(&self.declared.qualifiers, inherited, Part::Class, &self.declared.name);
        let class = Class {
            name,
            superclass: self.superclass.map(|superclass| superclass.name.clone()),
            qualifiers,
            properties: self.properties(),
            methods: self.methods(),
        };
        self.check_class(&class);
        class
    }

    fn check_class(&mut self, class: &Class) {
        if let Some(superclass) = self.superclass {
            if superclass.has("Terminal") {
                let fault = ClassFault::TerminalSuperclass(superclass.name.clone());
                self.faults.push((Part::Superclass, fault));
            }
            if class.is_association() && !superclass.is_association() {
                let fault = ClassFault::AssociationBelowClass(class.name.clone());
                self.faults.push((Part::Class, fault));
            }
        }
        for (index, property) in self.declared.properties.iter().enumerate() {
            if property.ty.base == crate::cim::CimType::Reference && !class.is_association() {
                let fault = ClassFault::ReferenceOutsideAssociation(property.name.clone());
                self.faults.push((Part::Property(index), fault));
            }
        }
    }

    fn properties(&mut self) -> Vec<PropertyDeclaration> {
        let (declared, superclass) = (self.declared, self.superclass);
        let inherited = superclass.map_or(&[][..], |superclass| &superclass.properties);
        let mut properties: Vec<PropertyDeclaration> = inherited
            .iter()
            .map(|property| PropertyDeclaration {
                qualifiers: propagated(&property.qualifiers),
                propagated: true,
                ..property.clone()
            })
            .collect();
        for (index, own) in declared.properties.iter().enumerate() {
            let part = Part::Property(index);
            let slot = inherited.iter().position(|property| property.name == own.name);
            self.check_override(
                part,
                &own.name,
                &own.qualifiers,
                slot.map(|slot| origin_of(&inherited[slot].class_origin, superclass)),
            );
            let Some(slot) = slot else {
                self.check_new_key(part, own);
                properties.push(PropertyDeclaration {
                    class_origin: Some(declared.name.clone()),
                    ..own.clone()
                });
                continue;
            };
            let overridden = &inherited[slot];
            let origin = origin_of(&overridden.class_origin, superclass);
            self.check_type(part, &own.name, &own.ty, &overridden.ty, origin);
            let qualifiers = self.merge(&own.qualifiers, &overridden.qualifiers, part, &own.name);
            let mut ty = own.ty.clone();
            ty.embedded = embedded_kind(&qualifiers);
            properties[slot] = PropertyDeclaration {
                name: own.name.clone(),
                ty,
                default: own.default.clone(),
                qualifiers,
                class_origin: overridden.class_origin.clone(),
                propagated: false,
            };
        }
        properties
    }

    fn methods(&mut self) -> Vec<Method> {
        let (declared, superclass) = (self.declared, self.superclass);
        let inherited = superclass.map_or(&[][..], |superclass| &superclass.methods);
        let mut methods: Vec<Method> = inherited
            .iter()
            .map(|method| Method {
                qualifiers: propagated(&method.qualifiers),
                parameters: method
                    .parameters
                    .iter()
                    .map(|parameter| Parameter {
                        qualifiers: propagated(&parameter.qualifiers),
                        ..parameter.clone()
                    })
                    .collect(),
                propagated: true,
                ..method.clone()
            })
            .collect();
        for (index, own) in declared.methods.iter().enumerate() {
            let part = Part::Method(index);
            let slot = inherited.iter().position(|method| method.name == own.name);
            self.check_override(
                part,
                &own.name,
                &own.qualifiers,
                slot.map(|slot| origin_of(&inherited[slot].class_origin, superclass)),
            );
            let Some(slot) = slot else {
                methods.push(Method { class_origin: Some(declared.name.clone()), ..own.clone() });
                continue;
            };
            let overridden = &inherited[slot];
            let origin = origin_of(&overridden.class_origin, superclass);
            self.check_type(part, &own.name, &own.return_type, &overridden.return_type, origin);
            methods[slot] = Method {
                name: own.name.clone(),
                return_type: own.return_type.clone(),
                qualifiers: self.merge(&own.qualifiers, &overridden.qualifiers, part, &own.name),
                parameters: self.parameters(part, own, overridden),
                class_origin: overridden.class_origin.clone(),
                propagated: false,
            };
        }
        methods
    }

    /// The parameters of a method that overrides another: it has those of the other and may have more,
    /// which callers who know only the other leave out.
    fn parameters(&mut self, part: Part, own: &Method, overridden: &Method) -> Vec<Parameter> {
        for parameter in &overridden.parameters {
            if !own.parameters.iter().any(|other| other.name == parameter.name) {
                let fault = ClassFault::MissingParameter {
                    method: own.name.clone(),
                    parameter: parameter.name.clone(),
                };
                self.faults.push((part, fault));
            }
        }
        let origin = origin_of(&overridden.class_origin, self.superclass).clone();
        let mut parameters = Vec::with_capacity(own.parameters.len());
        for parameter in &own.parameters {
            let inherited = overridden.parameters.iter().find(|p| p.name == parameter.name);
            let Some(inherited) = inherited else {
                parameters.push(parameter.clone());
                continue;
            };
            self.check_type(part, &parameter.name, &parameter.ty, &inherited.ty, &origin);
            let qualifiers =
                self.merge(&parameter.qualifiers, &inherited.qualifiers, part, &parameter.name);
            let mut ty = parameter.ty.clone();
            ty.embedded = embedded_kind(&qualifiers);
            parameters.push(Parameter { name: parameter.name.clone(), ty, qualifiers });
        }
        parameters
    }

    /// What an element says itself, and what of the overridden one is to be handed down.
    fn merge(
        &mut self,
        own: &[Qualifier],
        inherited: &[Qualifier],
        part: Part,
        element: &CimName,
    ) -> Vec<Qualifier> {
        let mut merged = own.to_vec();
        for handed_down in inherited.iter().filter(|qualifier| qualifier.flavor.to_subclass) {
            match own.iter().find(|qualifier| qualifier.name == handed_down.name) {
                None => merged.push(Qualifier { propagated: true, ..handed_down.clone() }),
                Some(restated)
                    if !handed_down.flavor.overridable && restated.value != handed_down.value =>
                {
                    let fault = ClassFault::QualifierNotOverridable {
                        qualifier: restated.name.clone(),
                        element: element.clone(),
                    };
                    self.faults.push((part, fault));
                }
                Some(_) => {}
            }
        }
        merged
    }

    /// An element with the name of an inherited one should say that it overrides it (libvirt-cim's own
    /// schema does not always), and no other may.
    fn check_override(
        &mut self,
        part: Part,
        element: &CimName,
        qualifiers: &[Qualifier],
        inherited_from: Option<&CimName>,
    ) {
        let stated = qualifier(qualifiers, "Override");
        let fault = match (stated, inherited_from) {
            (None, None) => return,
            (None, Some(origin)) => {
                return self.implied_overrides.push((part, origin.clone()));
            }
            (Some(_), None) => ClassFault::OverrideOfNothing(element.clone()),
            // Without a value, as in libvirt-cim's own MOF, it means the same name.
            (Some(stated), Some(_)) => match stated.value.as_ref().and_then(Value::as_str) {
                Some(name) if !element_name(name).eq_ignore_ascii_case(element.as_str()) => {
                    ClassFault::OverrideOfOther {
                        element: element.clone(),
                        overridden: name.to_owned(),
                    }
                }
                _ => return,
            },
        };
        self.faults.push((part, fault));
    }

    fn check_type(
        &mut self,
        part: Part,
        element: &CimName,
        ty: &DataType,
        inherited: &DataType,
        origin: &CimName,
    ) {
        let reference_fits = match (&ty.reference_class, &inherited.reference_class) {
            (Some(class), Some(ancestor)) => (self.is_a)(class, ancestor),
            _ => true,
        };
        if ty.base == inherited.base && ty.is_array() == inherited.is_array() && reference_fits {
            return;
        }
        let fault = ClassFault::TypeConflict {
            element: element.clone(),
            ty: shown(ty),
            inherited: shown(inherited),
            origin: origin.clone(),
        };
        self.faults.push((part, fault));
    }

    /// Instances of a class are told apart by the keys of its superclass, where that has any.
    fn check_new_key(&mut self, part: Part, own: &PropertyDeclaration) {
        let Some(superclass) = self.superclass.filter(|_| own.is_key()) else { return };
        let Some(key) = superclass.keys().next() else { return };
        let fault = ClassFault::NewKey {
            key: own.name.clone(),
            class: self.declared.name.clone(),
            origin: origin_of(&key.class_origin, Some(superclass)).clone(),
        };
        self.faults.push((part, fault));
    }
}

/// What an element that is inherited unchanged keeps of its qualifiers: all but restricted ones.
fn propagated(qualifiers: &[Qualifier]) -> Vec<Qualifier> {
    qualifiers
        .iter()
        .filter(|qualifier| qualifier.flavor.to_subclass)
        .map(|qualifier| Qualifier { propagated: true, ..qualifier.clone() })
        .collect()
}

fn origin_of<'a>(origin: &'a Option<CimName>, superclass: Option<&'a Class>) -> &'a CimName {
    origin
        .as_ref()
        .unwrap_or_else(|| &superclass.expect("an inherited element has a superclass").name)
}

/// The element that the value of an Override names, with or without its class.
fn element_name(overridden: &str) -> &str {
    overridden.rsplit('.').next().unwrap_or(overridden)
}

fn shown(ty: &DataType) -> String {
    match &ty.reference_class {
        Some(class) => format!("{class} REF{}", if ty.is_array() { "[]" } else { "" }),
        None => ty.to_string(),
    }
}
