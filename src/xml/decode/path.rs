//! Names and paths of classes and instances (DSP0201 §5.2.4, §5.2.5).

use std::fmt;

use super::{
    super::{DecodeError, error::Quoted, reader::Reader},
    repeated,
};
use crate::cim::{
    CimName, CimType, ClassPath, InstancePath, Key, KeyValue, Namespace, ObjectPath, Scalar,
};

/// The path in one of the six elements that are one; `element` was just opened.
pub(super) fn object_path(
    reader: &mut Reader<'_>,
    element: &str,
) -> Result<ObjectPath, DecodeError> {
    Ok(match element {
        "INSTANCENAME" => instance_name(reader)?.into(),
        "LOCALINSTANCEPATH" => local_instance_path(reader)?.into(),
        "INSTANCEPATH" => instance_path(reader)?.into(),
        "CLASSNAME" => ClassPath::local(class_name(reader)?).into(),
        "LOCALCLASSPATH" => local_class_path(reader)?.into(),
        "CLASSPATH" => class_path(reader)?.into(),
        other => return Err(reader.unexpected(other)),
    })
}

/// INSTANCEPATH, opened.
pub(super) fn instance_path(reader: &mut Reader<'_>) -> Result<InstancePath, DecodeError> {
    reader.expect("NAMESPACEPATH")?;
    let (host, namespace) = namespace_path(reader)?;
    reader.expect("INSTANCENAME")?;
    let path = instance_name(reader)?;
    reader.end()?;
    Ok(InstancePath { host: Some(host), namespace: Some(namespace), ..path })
}

/// LOCALINSTANCEPATH, opened.
pub(super) fn local_instance_path(reader: &mut Reader<'_>) -> Result<InstancePath, DecodeError> {
    reader.expect("LOCALNAMESPACEPATH")?;
    let namespace = local_namespace_path(reader)?;
    reader.expect("INSTANCENAME")?;
    let path = instance_name(reader)?;
    reader.end()?;
    Ok(path.in_namespace(namespace))
}

/// CLASSPATH, opened.
pub(super) fn class_path(reader: &mut Reader<'_>) -> Result<ClassPath, DecodeError> {
    reader.expect("NAMESPACEPATH")?;
    let (host, namespace) = namespace_path(reader)?;
    reader.expect("CLASSNAME")?;
    let class = class_name(reader)?;
    reader.end()?;
    Ok(ClassPath { host: Some(host), namespace: Some(namespace), class })
}

/// LOCALCLASSPATH, opened.
pub(super) fn local_class_path(reader: &mut Reader<'_>) -> Result<ClassPath, DecodeError> {
    reader.expect("LOCALNAMESPACEPATH")?;
    let namespace = local_namespace_path(reader)?;
    reader.expect("CLASSNAME")?;
    let class = class_name(reader)?;
    reader.end()?;
    Ok(ClassPath { host: None, namespace: Some(namespace), class })
}

/// CLASSNAME, opened.
pub(super) fn class_name(reader: &mut Reader<'_>) -> Result<CimName, DecodeError> {
    let name = reader.name("NAME")?;
    reader.end()?;
    Ok(name)
}

fn namespace_path(reader: &mut Reader<'_>) -> Result<(String, Namespace), DecodeError> {
    reader.expect("HOST")?;
    let host = reader.content()?.trim().to_owned();
    reader.expect("LOCALNAMESPACEPATH")?;
    let namespace = local_namespace_path(reader)?;
    reader.end()?;
    Ok((host, namespace))
}

/// LOCALNAMESPACEPATH, opened: a NAMESPACE for each component, or one with slashes in it.
pub(super) fn local_namespace_path(reader: &mut Reader<'_>) -> Result<Namespace, DecodeError> {
    let mut name = String::with_capacity(32);
    while let Some(element) = reader.child()? {
        if element != "NAMESPACE" {
            return Err(reader.unexpected(element));
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(reader.required("NAME")?);
        reader.end()?;
    }
    if name.is_empty() {
        return Err(reader.lacks("NAMESPACE"));
    }
    reader.namespace(&name)
}

/// INSTANCENAME, opened: key bindings, or the value alone of a class's only key.
pub(super) fn instance_name(reader: &mut Reader<'_>) -> Result<InstancePath, DecodeError> {
    let class = reader.name("CLASSNAME")?;
    let mut keys = Vec::new();
    while let Some(element) = reader.child()? {
        match element {
            "KEYBINDING" => keys.push(key_binding(reader)?),
            _ if keys.is_empty() => {
                let value = key_value(reader, element, None)?;
                reader.end()?;
                keys.push(Key { name: None, value });
                break;
            }
            other => return Err(reader.unexpected(other)),
        }
    }
    if let Some(name) = repeated(keys.iter().filter_map(|key| key.name.as_ref())) {
        reader.reject(format!("key `{name}` is given twice"));
    }
    Ok(InstancePath { host: None, namespace: None, class, keys })
}

fn key_binding(reader: &mut Reader<'_>) -> Result<Key, DecodeError> {
    let name = reader.name("NAME")?;
    let Some(element) = reader.child()? else {
        return Err(reader.lacks("KEYVALUE"));
    };
    let value = key_value(reader, element, Some(&name))?;
    reader.end()?;
    Ok(Key { name: Some(name), value })
}

fn key_value(
    reader: &mut Reader<'_>,
    element: &str,
    name: Option<&CimName>,
) -> Result<KeyValue, DecodeError> {
    match element {
        "KEYVALUE" => {
            let kind = key_kind(reader)?;
            let text = reader.content()?;
            Ok(read_key(kind, &text).unwrap_or_else(|| {
                let owner = name.map_or(String::new(), |name| format!(" `{name}`"));
                reader.reject(format!("key{owner} is {}, not {kind}", Quoted(&text)));
                KeyValue::String(String::new())
            }))
        }
        "VALUE.REFERENCE" => Ok(KeyValue::Reference(Box::new(super::value::reference(reader)?))),
        other => Err(reader.unexpected(other)),
    }
}

#[derive(Clone, Copy)]
enum KeyKind {
    Typed(CimType),
    /// VALUETYPE says so, and nothing says which.
    Numeric,
    /// A path as text.
    Reference,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Typed(ty) => ty.fmt(f),
            Self::Numeric => f.write_str("numeric"),
            Self::Reference => f.write_str("an object path"),
        }
    }
}

/// TYPE decides; without it VALUETYPE, whose default is string.
///
/// The Java client writes the references of a path that it follows associations from as text, of the
/// TYPE that they have in MOF: `CIM_System ref`.
fn key_kind(reader: &Reader<'_>) -> Result<KeyKind, DecodeError> {
    if let Some(name) = reader.attribute("TYPE") {
        if name.ends_with(" ref") {
            return Ok(KeyKind::Reference);
        }
        return CimType::from_name(name)
            .map(KeyKind::Typed)
            .ok_or_else(|| reader.not_valid(format!("TYPE {} is not known", Quoted(name))));
    }
    match reader.attribute("VALUETYPE") {
        None | Some("string") => Ok(KeyKind::Typed(CimType::String)),
        Some("boolean") => Ok(KeyKind::Typed(CimType::Boolean)),
        Some("numeric") => Ok(KeyKind::Numeric),
        Some(other) => Err(reader.not_valid(format!("VALUETYPE {} is not known", Quoted(other)))),
    }
}

fn read_key(kind: KeyKind, text: &str) -> Option<KeyValue> {
    match kind {
        KeyKind::Typed(CimType::String) => Some(KeyValue::String(text.to_owned())),
        KeyKind::Typed(ty) => KeyValue::from_scalar(&Scalar::parse(ty, text)?),
        KeyKind::Numeric => [CimType::Sint64, CimType::Uint64, CimType::Real64]
            .into_iter()
            .find_map(|ty| Scalar::parse(ty, text))
            .and_then(|number| KeyValue::from_scalar(&number)),
        KeyKind::Reference => {
            ObjectPath::parse(text.trim()).ok().map(|path| KeyValue::Reference(Box::new(path)))
        }
    }
}
