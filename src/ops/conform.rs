//! Gives what a client sent its declared types.
//!
//! Types that the sender states are hints only: old clients state none, or wrong ones. The class
//! decides; what can't be of the declared type is refused, naming parameter and property, what was
//! received and what is allowed.
//!
//! ```text
//! value without type ──▶ text of the declared type
//! integer ──▶ integer of the declared width, if it is in range
//! text where an embedded instance belongs ──▶ XML or MOF, parsed, then the same for its properties
//! ```

use std::{borrow::Cow, fmt};

use super::embedded::{self, EmbeddedError};
use crate::{
    cim::{
        ArrayKind, CimError, CimName, CimType, Class, ClassPath, DataType, Embedded, Instance,
        InstancePath, Key, KeyValue, Method, ObjectPath, ParamValue, Property, Qualifier, Scalar,
        StatusCode, Value, qualifier,
    },
    repository::Repository,
};

/// How deep embedded instances may nest in each other's strings.
const MAX_NESTING: usize = 8;

/// How much of a wrong value an error message repeats.
const MAX_SHOWN: usize = 64;

/// The input parameters of a method call, in the order of their declaration. Those the caller left
/// out are not there; those it set to NULL are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments(Vec<(CimName, Option<Value>)>);

impl Arguments {
    /// The value of a parameter; `None` if it is NULL or was left out.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let found = self.0.iter().find(|(parameter, _)| *parameter == *name);
        found.and_then(|(_, value)| value.as_ref())
    }

    /// The value of a string parameter.
    pub fn string(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(Value::as_str)
    }

    /// The value of a boolean parameter.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.value(name).and_then(Value::as_bool)
    }

    /// The value of an embedded instance parameter.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.value(name).and_then(Value::as_instance)
    }

    /// The path in a reference parameter. A class path counts as an instance path without keys, as in
    /// CMPI.
    pub fn path(&self, name: &str) -> Option<Cow<'_, InstancePath>> {
        Some(match self.value(name).and_then(Value::as_reference)? {
            ObjectPath::Instance(path) => Cow::Borrowed(path),
            ObjectPath::Class(ClassPath { host, namespace, class }) => Cow::Owned(InstancePath {
                host: host.clone(),
                namespace: namespace.clone(),
                class: class.clone(),
                keys: Vec::new(),
            }),
        })
    }

    /// All that were passed, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&CimName, Option<&Value>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }
}

/// What a client sent is not of the declared type.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConformError {
    #[error("{place} must be {expected}, received {received}")]
    Type { place: Place, expected: String, received: String },
    #[error("{place} must be {expected}, received `{received}`")]
    Value { place: Place, expected: String, received: String },
    #[error("{place} has {received} elements; at most {allowed} are allowed")]
    TooLong { place: Place, allowed: u32, received: usize },
    #[error("{place} must hold an instance of {expected}, received one of {received}")]
    WrongClass { place: Place, expected: CimName, received: CimName },
    #[error("{place} holds an instance of {received}, a class that does not exist")]
    UnknownClass { place: Place, received: CimName },
    #[error("{place} nests instances deeper than {MAX_NESTING}")]
    TooDeep { place: Place },
    // libvirt-cim's words come first.
    #[error("Unable to parse embedded object: {place}: {source}")]
    Embedded { place: Place, source: Box<EmbeddedError> },
    #[error("parameter `{0}` is given twice")]
    Twice(CimName),
    #[error("parameter `{0}` is required")]
    Missing(&'static str),
    #[error("the path names a key without a name, but {class} has {count} keys")]
    UnnamedKey { class: CimName, count: usize },
}

impl ConformError {
    /// The status a client gets. As in libvirt-cim a required parameter of a wrong type is a type
    /// mismatch, and text that is no instance simply fails. Where it is one with a wrong value, that value
    /// is the invalid parameter.
    fn status(&self, required: bool) -> StatusCode {
        match self {
            Self::Type { place: Place { property: None, .. }, .. } if required => {
                StatusCode::TypeMismatch
            }
            Self::Embedded { source, .. } if !source.is_bad_value() => StatusCode::Failed,
            Self::Type { .. }
            | Self::Value { .. }
            | Self::TooLong { .. }
            | Self::WrongClass { .. }
            | Self::UnknownClass { .. }
            | Self::TooDeep { .. }
            | Self::Embedded { .. }
            | Self::Twice(_)
            | Self::Missing(_)
            | Self::UnnamedKey { .. } => StatusCode::InvalidParameter,
        }
    }

    fn to_cim(&self, required: bool) -> CimError {
        CimError::new(self.status(required), self.to_string())
    }
}

impl From<ConformError> for CimError {
    fn from(error: ConformError) -> Self {
        error.to_cim(false)
    }
}

/// Where a value stands in a request.
#[derive(Clone, Debug)]
pub(super) struct Place {
    parameter: CimName,
    property: Option<CimName>,
    depth: usize,
}

impl Place {
    fn parameter(name: &CimName) -> Self {
        Self { parameter: name.clone(), property: None, depth: 0 }
    }

    fn property(&self, name: &CimName) -> Self {
        Self {
            parameter: self.parameter.clone(),
            property: Some(name.clone()),
            depth: self.depth + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.property {
            Some(property) => write!(f, "property `{property}` of parameter `{}`", self.parameter),
            None => write!(f, "parameter `{}`", self.parameter),
        }
    }
}

/// Conforms values to the classes of a repository.
#[derive(Clone, Copy)]
pub(super) struct Conformer<'r> {
    pub(super) repository: &'r Repository,
}

/// What an element is declared to hold.
struct Declared<'r> {
    ty: &'r DataType,
    /// The class its `EmbeddedInstance` qualifier names.
    embeds: Option<CimName>,
}

impl<'r> Declared<'r> {
    fn new(ty: &'r DataType, qualifiers: &[Qualifier]) -> Self {
        let class = qualifier(qualifiers, "EmbeddedInstance")
            .and_then(|qualifier| qualifier.value.as_ref())
            .and_then(Value::as_str)
            .and_then(|class| CimName::parse(class).ok());
        Self { ty, embeds: class }
    }

    /// What a client may send, for messages.
    fn expected(&self) -> String {
        let element = match (self.ty.base.integer_range(), &self.embeds) {
            (Some((least, most)), _) => format!("{} ({least} to {most})", self.ty.base),
            (None, Some(class)) => format!("embedded instance of {class}"),
            (None, None) => self.ty.base.to_string(),
        };
        match self.ty.array {
            ArrayKind::Scalar => format!("a {element}"),
            ArrayKind::Array | ArrayKind::Fixed(_) => format!("an array of {element}"),
        }
    }
}

impl Conformer<'_> {
    /// The input parameters of a call. Parameters the method does not have are ignored, as libvirt-cim
    /// ignores them.
    pub(super) fn arguments(
        &self,
        method: &Method,
        required: &'static [&'static str],
        mut given: Vec<ParamValue>,
    ) -> Result<Arguments, CimError> {
        let mut arguments = Vec::new();
        for parameter in method.parameters.iter().filter(|parameter| parameter.is_in()) {
            let Some(index) = given.iter().position(|it| it.name == parameter.name) else {
                continue;
            };
            let value = given.swap_remove(index).value;
            if given.iter().any(|it| it.name == parameter.name) {
                return Err(ConformError::Twice(parameter.name.clone()).into());
            }
            let declared = Declared::new(&parameter.ty, &parameter.qualifiers);
            let place = Place::parameter(&parameter.name);
            let value = value.map(|value| self.value(&place, &declared, value)).transpose();
            let is_required = required.iter().any(|name| parameter.name == *name);
            let value = value.map_err(|error| error.to_cim(is_required))?;
            arguments.push((parameter.name.clone(), value));
        }
        let arguments = Arguments(arguments);
        match required.iter().find(|name| arguments.value(name).is_none()) {
            Some(name) => Err(ConformError::Missing(name).into()),
            None => Ok(arguments),
        }
    }

    fn value(
        &self,
        place: &Place,
        declared: &Declared<'_>,
        value: Value,
    ) -> Result<Value, ConformError> {
        match (declared.ty.array, value) {
            (ArrayKind::Scalar, Value::Scalar(scalar)) => {
                Ok(Value::Scalar(self.scalar(place, declared, scalar)?))
            }
            (kind @ (ArrayKind::Array | ArrayKind::Fixed(_)), Value::Array(elements)) => {
                if let ArrayKind::Fixed(allowed) = kind
                    && usize::try_from(allowed).is_ok_and(|allowed| elements.len() > allowed)
                {
                    let (place, received) = (place.clone(), elements.len());
                    return Err(ConformError::TooLong { place, allowed, received });
                }
                let conform = |scalar| self.scalar(place, declared, scalar);
                let elements = elements.into_iter().map(|element| element.map(conform).transpose());
                Ok(Value::Array(elements.collect::<Result<_, _>>()?))
            }
            // wbemcli can't say that one value is an array.
            (ArrayKind::Array | ArrayKind::Fixed(_), Value::Scalar(text @ Scalar::Untyped(_))) => {
                Ok(Value::Array(vec![Some(self.scalar(place, declared, text)?)]))
            }
            (ArrayKind::Array | ArrayKind::Fixed(_), Value::Scalar(scalar)) => {
                Err(wrong_type(place, declared, describe(&scalar)))
            }
            (ArrayKind::Scalar, Value::Array(_)) => {
                Err(wrong_type(place, declared, "an array".to_owned()))
            }
        }
    }

    fn scalar(
        &self,
        place: &Place,
        declared: &Declared<'_>,
        scalar: Scalar,
    ) -> Result<Scalar, ConformError> {
        match (declared.ty.embedded, scalar) {
            (Some(_), Scalar::EmbeddedInstance(instance)) => {
                Ok(Scalar::EmbeddedInstance(Box::new(self.embedded(place, declared, *instance)?)))
            }
            (Some(Embedded::Instance), Scalar::String(text) | Scalar::Untyped(text)) => {
                let instance = embedded::parse(&text).map_err(|source| ConformError::Embedded {
                    place: place.clone(),
                    source: Box::new(source),
                })?;
                Ok(Scalar::EmbeddedInstance(Box::new(self.embedded(place, declared, instance)?)))
            }
            (Some(Embedded::Object), Scalar::Untyped(text)) => Ok(Scalar::String(text)),
            (Some(Embedded::Object), same @ (Scalar::EmbeddedClass(_) | Scalar::String(_))) => {
                Ok(same)
            }
            (None, Scalar::Reference(path)) if declared.ty.base == CimType::Reference => {
                Ok(Scalar::Reference(Box::new(self.reference(*path)?)))
            }
            (None, scalar) => {
                conform_plain(declared.ty.base, scalar).map_err(|wrong| match wrong {
                    Wrong::Type(received) => wrong_type(place, declared, received),
                    Wrong::Value(received) => ConformError::Value {
                        place: place.clone(),
                        expected: declared.expected(),
                        received,
                    },
                })
            }
            (Some(_), scalar) => Err(wrong_type(place, declared, describe(&scalar))),
        }
    }

    /// An embedded instance with declared types. Properties its class does not have are ignored:
    /// cimtest sends a CreationClassName with setting data.
    fn embedded(
        &self,
        place: &Place,
        declared: &Declared<'_>,
        instance: Instance,
    ) -> Result<Instance, ConformError> {
        if place.depth >= MAX_NESTING {
            return Err(ConformError::TooDeep { place: place.clone() });
        }
        let Some(class) = self.repository.class(&instance.class) else {
            let place = place.clone();
            return Err(ConformError::UnknownClass { place, received: instance.class });
        };
        if let Some(expected) = &declared.embeds
            && !self.repository.is_a(&class.name, expected)
        {
            return Err(ConformError::WrongClass {
                place: place.clone(),
                expected: expected.clone(),
                received: class.name.clone(),
            });
        }
        self.properties(place, &class, instance)
    }

    /// An instance that an operation carries as its parameter `name`. The caller has looked for
    /// properties that its class does not have: those are left out.
    pub(super) fn instance(
        &self,
        name: &CimName,
        class: &Class,
        instance: Instance,
    ) -> Result<Instance, CimError> {
        let path = instance.path.clone();
        let conformed = self.properties(&Place::parameter(name), class, instance)?;
        Ok(Instance { path, ..conformed })
    }

    fn properties(
        &self,
        place: &Place,
        class: &Class,
        instance: Instance,
    ) -> Result<Instance, ConformError> {
        let mut conformed = Instance::new(class.name.clone());
        for property in instance.properties {
            let Some(declaration) = class.property(&property.name) else {
                continue;
            };
            let declared = Declared::new(&declaration.ty, &declaration.qualifiers);
            let place = place.property(&declaration.name);
            let value = property.value.map(|value| self.value(&place, &declared, value));
            conformed.properties.push(Property {
                name: declaration.name.clone(),
                ty: declaration.ty.clone(),
                value: value.transpose()?,
                class_origin: None,
            });
        }
        Ok(conformed)
    }

    /// The path with the keys of its class, named, typed and in order. Keys the class does not
    /// have are dropped: libvirt-cim tolerates them, and cimtest sends some. A key that is missing, or
    /// whose value can't be of the declared type, is left for the provider to find nothing with.
    pub(super) fn path(
        &self,
        class: &Class,
        path: InstancePath,
    ) -> Result<InstancePath, ConformError> {
        let InstancePath { host, namespace, class: _, mut keys } = path;
        let mut declared = self.repository.keys(&class.name);
        if let [Key { name: name @ None, .. }] = keys.as_mut_slice() {
            let count = declared.len();
            *name = match declared.next() {
                Some(only) if count == 1 => Some(only.name.clone()),
                _ => {
                    let class = class.name.clone();
                    return Err(ConformError::UnnamedKey { class, count });
                }
            };
            declared = self.repository.keys(&class.name);
        }
        let mut conformed = Vec::with_capacity(declared.len());
        for key in declared {
            let found = keys.iter().position(|it| it.name.as_ref() == Some(&key.name));
            if let Some(index) = found {
                let value = self.key_value(key.ty.base, keys.swap_remove(index).value)?;
                conformed.push(Key { name: Some(key.name.clone()), value });
            }
        }
        Ok(InstancePath { host, namespace, class: class.name.clone(), keys: conformed })
    }

    /// The path in a reference. Whether its class exists is for whoever follows it to find out.
    fn reference(&self, path: ObjectPath) -> Result<ObjectPath, ConformError> {
        Ok(match path {
            ObjectPath::Instance(path) => match self.repository.class(&path.class) {
                Some(class) => self.path(&class, path)?.into(),
                None => path.into(),
            },
            ObjectPath::Class(_) => path,
        })
    }

    fn key_value(&self, ty: CimType, value: KeyValue) -> Result<KeyValue, ConformError> {
        Ok(match (ty, value) {
            (CimType::Reference, KeyValue::Reference(path)) => {
                KeyValue::Reference(Box::new(self.reference(*path)?))
            }
            // A number or a boolean that the client did not quote is still the text of a string key.
            (CimType::String | CimType::DateTime | CimType::Char16, KeyValue::Integer(n)) => {
                KeyValue::String(n.to_string())
            }
            (CimType::String, KeyValue::Boolean(value)) => KeyValue::String(value.to_string()),
            (CimType::String, KeyValue::Real(value)) => KeyValue::String(value.to_string()),
            (ty, KeyValue::String(text)) if ty != CimType::String => Scalar::parse(ty, &text)
                .as_ref()
                .and_then(KeyValue::from_scalar)
                .unwrap_or(KeyValue::String(text)),
            (CimType::String, KeyValue::String(text)) => KeyValue::String(without_layout(text)),
            (_, value) => value,
        })
    }
}

/// A name that stands on a line of its own, as old clients lay out their XML. No name here begins or
/// ends with a line break; blanks alone may belong to it.
fn without_layout(text: String) -> String {
    let trimmed = text.trim_matches(is_blank);
    let at = trimmed.as_ptr() as usize - text.as_ptr() as usize;
    let (before, after) = (&text[..at], &text[at + trimmed.len()..]);
    if before.contains('\n') || after.contains('\n') { trimmed.to_owned() } else { text }
}

/// White space of XML.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

enum Wrong {
    Type(String),
    Value(String),
}

/// A scalar of the plain type `ty`.
fn conform_plain(ty: CimType, scalar: Scalar) -> Result<Scalar, Wrong> {
    if scalar.cim_type() == Some(ty)
        && !matches!(scalar, Scalar::EmbeddedInstance(_) | Scalar::EmbeddedClass(_))
    {
        return Ok(scalar);
    }
    match scalar {
        // MOF and careless clients write numbers and datetimes as strings.
        Scalar::Untyped(text) | Scalar::String(text) if ty != CimType::Reference => {
            Scalar::parse(ty, &text).ok_or_else(|| Wrong::Value(shown(&text)))
        }
        other => match other.as_integer().filter(|_| ty.is_integer()) {
            Some(n) => Scalar::from_integer(ty, n).ok_or_else(|| Wrong::Value(n.to_string())),
            None => Err(Wrong::Type(describe(&other))),
        },
    }
}

fn wrong_type(place: &Place, declared: &Declared<'_>, received: String) -> ConformError {
    ConformError::Type { place: place.clone(), expected: declared.expected(), received }
}

/// What kind of thing a scalar is, for messages.
fn describe(scalar: &Scalar) -> String {
    match scalar {
        Scalar::EmbeddedInstance(instance) => format!("an embedded instance of {}", instance.class),
        Scalar::EmbeddedClass(class) => format!("the embedded class {}", class.name),
        Scalar::Reference(path) => format!("a reference to {}", path.class()),
        Scalar::Untyped(text) => format!("`{}`", shown(text)),
        other => match other.cim_type() {
            Some(ty) => format!("a {ty}"),
            None => "a value without type".to_owned(),
        },
    }
}

/// The beginning of a text, on one line.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(MAX_SHOWN).collect();
    if text.chars().count() > MAX_SHOWN {
        shown.push('…');
    }
    shown
}
