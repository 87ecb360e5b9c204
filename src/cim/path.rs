//! Object paths (DSP0004 §8.2, DSP0207): where a class or an instance is found.

use super::{CimName, Namespace, Scalar};

/// The path of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassPath {
    /// `host` or `host:port`; `None` in a path that is local to the server.
    pub host: Option<String>,
    /// `None` where the path is relative to the namespace of the operation.
    pub namespace: Option<Namespace>,
    /// The class.
    pub class: CimName,
}

/// The path of an instance: its creation class and key values.
#[derive(Clone, Debug, PartialEq)]
pub struct InstancePath {
    /// `host` or `host:port`; `None` in a path that is local to the server.
    pub host: Option<String>,
    /// `None` where the path is relative to the namespace of the operation.
    pub namespace: Option<Namespace>,
    /// The class.
    pub class: CimName,
    /// The keys in the order they were written; [`InstancePath::same_object`] compares without it.
    pub keys: Vec<Key>,
}

/// One key binding. Names are unique within a path that a decoder made.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The key property. DSP0201 lets a class with one key leave the name out: then it is `None`
    /// until the class definition fills it in.
    pub name: Option<CimName>,
    /// Its value.
    pub value: KeyValue,
}

/// A key's value, as far as a path tells its type.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyValue {
    /// Strings, and what is written like one: datetimes, char16.
    String(String),
    /// A boolean.
    Boolean(bool),
    /// An integer of any type.
    Integer(i128),
    /// A real.
    Real(f64),
    /// The path of another object.
    Reference(Box<ObjectPath>),
}

/// The path of a class or of an instance.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ObjectPath {
    Class(ClassPath),
    Instance(InstancePath),
}

impl ObjectPath {
    /// The class named.
    pub fn class(&self) -> &CimName {
        match self {
            Self::Class(path) => &path.class,
            Self::Instance(path) => &path.class,
        }
    }

    /// The namespace, if the path has one.
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::Class(path) => path.namespace.as_ref(),
            Self::Instance(path) => path.namespace.as_ref(),
        }
    }

    /// The instance path, if it is one.
    pub fn instance(&self) -> Option<&InstancePath> {
        match self {
            Self::Class(_) => None,
            Self::Instance(path) => Some(path),
        }
    }
}

impl From<InstancePath> for ObjectPath {
    fn from(path: InstancePath) -> Self {
        Self::Instance(path)
    }
}

impl From<ClassPath> for ObjectPath {
    fn from(path: ClassPath) -> Self {
        Self::Class(path)
    }
}

impl ClassPath {
    /// A class without host and namespace.
    pub fn local(class: CimName) -> Self {
        Self { host: None, namespace: None, class }
    }
}

impl InstancePath {
    /// A path without host and namespace.
    pub fn new<V: Into<KeyValue>>(
        class: CimName,
        keys: impl IntoIterator<Item = (CimName, V)>,
    ) -> Self {
        let keys =
            keys.into_iter().map(|(name, value)| Key { name: Some(name), value: value.into() });
        Self { host: None, namespace: None, class, keys: keys.collect() }
    }

    /// The same path in that namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The value of the key of that name.
    pub fn key(&self, name: &CimName) -> Option<&KeyValue> {
        self.keys.iter().find(|key| key.name.as_ref() == Some(name)).map(|key| &key.value)
    }

    /// The value of a string key; an empty string counts as missing, as in libvirt-cim.
    pub fn string_key(&self, name: &CimName) -> Option<&str> {
        match self.key(name) {
            Some(KeyValue::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether both paths name the same object: class and keys alike, in any order, and namespaces
    /// alike where both have one. Hosts are not compared.
    pub fn same_object(&self, other: &Self) -> bool {
        let same_namespace = match (&self.namespace, &other.namespace) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        same_namespace
            && self.class == other.class
            && self.keys.len() == other.keys.len()
            && self.keys.iter().all(|a| {
                other.keys.iter().any(|b| a.name == b.name && a.value.same_value(&b.value))
            })
    }
}

impl KeyValue {
    /// Whether two key values are equal; a number may be written as a string (DSP0201 lets
    /// VALUETYPE default to string), and so may a path.
    pub fn same_value(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Reference(a), Self::Reference(b)) => match (&**a, &**b) {
                (ObjectPath::Instance(a), ObjectPath::Instance(b)) => a.same_object(b),
                (a, b) => a == b,
            },
            (Self::Integer(n), Self::String(text)) | (Self::String(text), Self::Integer(n)) => {
                text.trim().parse() == Ok(*n)
            }
            (Self::Reference(path), Self::String(text))
            | (Self::String(text), Self::Reference(path)) => {
                ObjectPath::parse(text).is_ok_and(|other| match (&**path, &other) {
                    (ObjectPath::Instance(a), ObjectPath::Instance(b)) => a.same_object(b),
                    (a, b) => a == b,
                })
            }
            (a, b) => a == b,
        }
    }

    /// The key's string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The path, if it is a reference.
    pub fn as_reference(&self) -> Option<&ObjectPath> {
        match self {
            Self::Reference(path) => Some(path),
            _ => None,
        }
    }

    /// The key value of a property's value; `None` for what can't be a key (embedded objects).
    pub fn from_scalar(scalar: &Scalar) -> Option<Self> {
        Some(match scalar {
            Scalar::Boolean(value) => Self::Boolean(*value),
            Scalar::Real32(value) => Self::Real(f64::from(*value)),
            Scalar::Real64(value) => Self::Real(*value),
            Scalar::Char16(unit) => Self::String(char::from_u32((*unit).into())?.to_string()),
            Scalar::String(text) | Scalar::Untyped(text) => Self::String(text.clone()),
            Scalar::DateTime(value) => Self::String(value.to_string()),
            Scalar::Reference(path) => Self::Reference(path.clone()),
            Scalar::EmbeddedInstance(_) | Scalar::EmbeddedClass(_) => return None,
            Scalar::Uint8(_)
            | Scalar::Sint8(_)
            | Scalar::Uint16(_)
            | Scalar::Sint16(_)
            | Scalar::Uint32(_)
            | Scalar::Sint32(_)
            | Scalar::Uint64(_)
            | Scalar::Sint64(_) => Self::Integer(scalar.as_integer()?),
        })
    }
}

impl From<&str> for KeyValue {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for KeyValue {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<InstancePath> for KeyValue {
    fn from(path: InstancePath) -> Self {
        Self::Reference(Box::new(path.into()))
    }
}
