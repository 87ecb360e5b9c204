//! What the text says, with the place of everything a message may have to point at. Nothing is
//! checked here that needs another declaration.

use super::Place;
use crate::cim::{CimName, CimType, DataType, Namespace, Scope};

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: CimName,
    /// Its place.
    pub at: Place,
}

/// One declaration.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Declaration {
    Qualifier(QualifierType),
    Class(ClassDeclaration),
    Instance(InstanceDeclaration),
}

/// `Qualifier Name : type = default, Scope(…), Flavor(…);`
#[derive(Clone, Debug, PartialEq)]
pub struct QualifierType {
    /// The qualifier.
    pub name: Ident,
    /// Its type, a scalar or an array.
    pub ty: DataType,
    /// Its default.
    pub default: Option<Initializer>,
    /// Where it may stand; `any` is written out.
    pub scopes: Vec<Scope>,
    /// Its flavors.
    pub flavors: Vec<(FlavorWord, Place)>,
}

/// `class Name as $Alias : Superclass { … };`
#[derive(Clone, Debug, PartialEq)]
pub struct ClassDeclaration {
    /// The class.
    pub name: Ident,
    /// What it inherits from.
    pub superclass: Option<Ident>,
    /// Its own qualifiers.
    pub qualifiers: Vec<QualifierUse>,
    /// Its properties and references in order.
    pub properties: Vec<PropertyDeclaration>,
    /// Its methods in order.
    pub methods: Vec<MethodDeclaration>,
}

/// A property or reference of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyDeclaration {
    /// The property.
    pub name: Ident,
    /// Its type.
    pub ty: DataType,
    /// Its default.
    pub default: Option<Initializer>,
    /// Its qualifiers.
    pub qualifiers: Vec<QualifierUse>,
}

/// A method of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct MethodDeclaration {
    /// The method.
    pub name: Ident,
    /// The type of its return value.
    pub return_type: CimType,
    /// Its parameters in order.
    pub parameters: Vec<ParameterDeclaration>,
    /// Its qualifiers.
    pub qualifiers: Vec<QualifierUse>,
}

/// A parameter of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterDeclaration {
    /// The parameter.
    pub name: Ident,
    /// Its type.
    pub ty: DataType,
    /// Its qualifiers.
    pub qualifiers: Vec<QualifierUse>,
}

/// A qualifier on an element.
#[derive(Clone, Debug, PartialEq)]
pub struct QualifierUse {
    /// The qualifier.
    pub name: Ident,
    /// Its value; `None` where only the name stands.
    pub value: Option<Initializer>,
    /// Flavors that differ from the declaration.
    pub flavors: Vec<(FlavorWord, Place)>,
}

/// A flavor keyword (DSP0004 §5.6.3; `ToInstance` is deprecated).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the variants are the keywords")]
pub enum FlavorWord {
    EnableOverride,
    DisableOverride,
    ToSubclass,
    Restricted,
    ToInstance,
    Translatable,
}

impl FlavorWord {
    pub(super) const ALL: [Self; 6] = [
        Self::EnableOverride,
        Self::DisableOverride,
        Self::ToSubclass,
        Self::Restricted,
        Self::ToInstance,
        Self::Translatable,
    ];

    /// The keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::EnableOverride => "EnableOverride",
            Self::DisableOverride => "DisableOverride",
            Self::ToSubclass => "ToSubclass",
            Self::Restricted => "Restricted",
            Self::ToInstance => "ToInstance",
            Self::Translatable => "Translatable",
        }
    }
}

/// `instance of Class as $Alias { … };`
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceDeclaration {
    /// The class.
    pub class: Ident,
    /// The name by which later references mean it.
    pub alias: Option<Ident>,
    /// The namespace in force (`#pragma namespace`).
    pub namespace: Option<Namespace>,
    /// Its qualifiers, which CIM deprecates.
    pub qualifiers: Vec<QualifierUse>,
    /// Its property values in order.
    pub properties: Vec<(Ident, Initializer)>,
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Initializer {
    /// Where it begins.
    pub at: Place,
    /// The value.
    pub value: InitialValue,
}

/// One literal, or a list in braces.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum InitialValue {
    One(Literal),
    Many(Vec<(Literal, Place)>),
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Literal {
    Null,
    Boolean(bool),
    Integer(i128),
    Real(f64),
    Char(u16),
    String(String),
    /// `$Name`.
    Alias(CimName),
}
