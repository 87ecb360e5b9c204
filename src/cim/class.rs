//! Classes, their elements and qualifiers (DSP0004 §5.1, §5.6).

use super::{ArrayKind, CimName, CimType, DataType, Value};

/// A class, either as declared or resolved (with what it inherits).
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The class name.
    pub name: CimName,
    /// The superclass; `None` for a root.
    pub superclass: Option<CimName>,
    /// Qualifiers of the class itself.
    pub qualifiers: Vec<Qualifier>,
    /// Property declarations, references included.
    pub properties: Vec<PropertyDeclaration>,
    /// Methods.
    pub methods: Vec<Method>,
}

/// A property as a class declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct PropertyDeclaration {
    /// The property name.
    pub name: CimName,
    /// Its type.
    pub ty: DataType,
    /// Its default value.
    pub default: Option<Value>,
    /// Its qualifiers.
    pub qualifiers: Vec<Qualifier>,
    /// The topmost class that declares it; known once resolved.
    pub class_origin: Option<CimName>,
    /// Whether it is inherited unchanged.
    pub propagated: bool,
}

/// A method.
#[derive(Clone, Debug, PartialEq)]
pub struct Method {
    /// The method name.
    pub name: CimName,
    /// The type of its return value, a scalar.
    pub return_type: DataType,
    /// Its qualifiers.
    pub qualifiers: Vec<Qualifier>,
    /// Its parameters in order.
    pub parameters: Vec<Parameter>,
    /// The topmost class that declares it; known once resolved.
    pub class_origin: Option<CimName>,
    /// Whether it is inherited unchanged.
    pub propagated: bool,
}

/// A parameter of a method.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The parameter name.
    pub name: CimName,
    /// Its type.
    pub ty: DataType,
    /// Its qualifiers; `In` (default true) and `Out` say which way it goes.
    pub qualifiers: Vec<Qualifier>,
}

/// A qualifier on an element.
#[derive(Clone, Debug, PartialEq)]
pub struct Qualifier {
    /// The qualifier name.
    pub name: CimName,
    /// The element type of its value.
    pub ty: CimType,
    /// Its value.
    pub value: Option<Value>,
    /// How it propagates.
    pub flavor: Flavor,
    /// Whether it comes from a superclass.
    pub propagated: bool,
}

/// How a qualifier propagates (DSP0004 §5.6.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flavor {
    /// `EnableOverride` against `DisableOverride`.
    pub overridable: bool,
    /// `ToSubclass` against `Restricted`.
    pub to_subclass: bool,
    /// `ToInstance`, deprecated.
    pub to_instance: bool,
    /// `Translatable`.
    pub translatable: bool,
}

impl Default for Flavor {
    /// EnableOverride, ToSubclass.
    fn default() -> Self {
        Self { overridable: true, to_subclass: true, to_instance: false, translatable: false }
    }
}

/// A qualifier type declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct QualifierDeclaration {
    /// The qualifier name.
    pub name: CimName,
    /// The element type.
    pub ty: CimType,
    /// Whether its value is an array.
    pub array: ArrayKind,
    /// The value an element has that does not carry the qualifier.
    pub default: Option<Value>,
    /// Which elements may carry it.
    pub scopes: Vec<Scope>,
    /// How it propagates unless the use says otherwise.
    pub flavor: Flavor,
}

/// An element kind a qualifier may stand on. `Any` is written out as all the others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the variants are the meta elements")]
pub enum Scope {
    Class,
    Association,
    Indication,
    Property,
    Reference,
    Method,
    Parameter,
}

impl Scope {
    /// Every scope, in the order of the DTD's attributes.
    pub const ALL: [Self; 7] = [
        Self::Class,
        Self::Association,
        Self::Reference,
        Self::Property,
        Self::Method,
        Self::Parameter,
        Self::Indication,
    ];
}

impl Class {
    /// The property of that name.
    pub fn property(&self, name: &CimName) -> Option<&PropertyDeclaration> {
        self.properties.iter().find(|property| property.name == *name)
    }

    /// The method of that name.
    pub fn method(&self, name: &CimName) -> Option<&Method> {
        self.methods.iter().find(|method| method.name == *name)
    }

    /// The key properties in class order; complete only on a resolved class.
    pub fn keys(&self) -> impl Iterator<Item = &PropertyDeclaration> {
        self.properties.iter().filter(|property| is_set(&property.qualifiers, "Key"))
    }

    /// Whether the boolean qualifier of that name is true on the class.
    pub fn has(&self, qualifier: &str) -> bool {
        is_set(&self.qualifiers, qualifier)
    }

    /// Whether it is an association class.
    pub fn is_association(&self) -> bool {
        self.has("Association")
    }

    /// Whether it is an indication class.
    pub fn is_indication(&self) -> bool {
        self.has("Indication")
    }

    /// Whether it is abstract.
    pub fn is_abstract(&self) -> bool {
        self.has("Abstract")
    }
}

impl PropertyDeclaration {
    /// Whether it is a key.
    pub fn is_key(&self) -> bool {
        is_set(&self.qualifiers, "Key")
    }

    /// Whether clients may set it (`Write`).
    pub fn is_writable(&self) -> bool {
        is_set(&self.qualifiers, "Write")
    }
}

impl Parameter {
    /// Whether callers pass it (`In`, true unless said otherwise).
    pub fn is_in(&self) -> bool {
        boolean(&self.qualifiers, "In").unwrap_or(true)
    }

    /// Whether the method returns it (`Out`).
    pub fn is_out(&self) -> bool {
        is_set(&self.qualifiers, "Out")
    }

    /// Whether a caller must pass it (`Required`).
    pub fn is_required(&self) -> bool {
        is_set(&self.qualifiers, "Required")
    }
}

/// The qualifier of that name.
pub fn qualifier<'a>(qualifiers: &'a [Qualifier], name: &str) -> Option<&'a Qualifier> {
    qualifiers.iter().find(|qualifier| qualifier.name == *name)
}

fn boolean(qualifiers: &[Qualifier], name: &str) -> Option<bool> {
    qualifier(qualifiers, name)
        .and_then(|qualifier| qualifier.value.as_ref())
        .and_then(Value::as_bool)
}

fn is_set(qualifiers: &[Qualifier], name: &str) -> bool {
    boolean(qualifiers, name) == Some(true)
}
