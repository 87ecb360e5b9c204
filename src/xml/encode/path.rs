//! Names and paths of classes and instances (DSP0201 §5.2.4, §5.2.5).

use std::borrow::Cow;

use super::{super::writer::Writer, Style};
use crate::cim::{CimName, ClassPath, InstancePath, Key, KeyValue, Namespace, ObjectPath, Scalar};

/// VALUE.REFERENCE, in the shortest form that has what the path knows.
pub(super) fn reference(writer: &mut Writer<'_>, path: &ObjectPath) {
    writer.element("VALUE.REFERENCE", |writer| match path {
        ObjectPath::Instance(path) => {
            let InstancePath { host, namespace, class, keys } = path;
            let (host, namespace) = (host.as_deref(), namespace.as_ref());
            relative(writer, host, namespace, ["INSTANCEPATH", "LOCALINSTANCEPATH"], |writer| {
                instance_name(writer, class, keys);
            });
        }
        ObjectPath::Class(path) => {
            let (host, namespace) = (path.host.as_deref(), path.namespace.as_ref());
            relative(writer, host, namespace, ["CLASSPATH", "LOCALCLASSPATH"], |writer| {
                class_name(writer, &path.class);
            });
        }
    });
}

/// A name in the element for a path with host, in that for a path with a namespace only, or alone.
fn relative(
    writer: &mut Writer<'_>,
    host: Option<&str>,
    namespace: Option<&Namespace>,
    [full, local]: [&str; 2],
    name: impl FnOnce(&mut Writer<'_>),
) {
    match (host, namespace) {
        (Some(host), Some(namespace)) => writer.element(full, |writer| {
            namespace_path(writer, host, namespace);
            name(writer);
        }),
        (None, Some(namespace)) => writer.element(local, |writer| {
            local_namespace_path(writer, namespace);
            name(writer);
        }),
        (_, None) => name(writer),
    }
}

/// INSTANCEPATH, completed from the style.
pub(super) fn instance_path(writer: &mut Writer<'_>, path: &InstancePath, style: &Style) {
    writer.element("INSTANCEPATH", |writer| {
        let host = path.host.as_ref().unwrap_or(&style.host);
        namespace_path(writer, host, path.namespace.as_ref().unwrap_or(&style.namespace));
        instance_name(writer, &path.class, &path.keys);
    });
}

/// CLASSPATH, completed from the style.
pub(super) fn class_path(writer: &mut Writer<'_>, path: &ClassPath, style: &Style) {
    writer.element("CLASSPATH", |writer| {
        let host = path.host.as_ref().unwrap_or(&style.host);
        namespace_path(writer, host, path.namespace.as_ref().unwrap_or(&style.namespace));
        class_name(writer, &path.class);
    });
}

/// LOCALINSTANCEPATH or LOCALCLASSPATH, in that namespace whatever the path says.
pub(super) fn local_path(writer: &mut Writer<'_>, path: &ObjectPath, namespace: &Namespace) {
    match path {
        ObjectPath::Instance(path) => writer.element("LOCALINSTANCEPATH", |writer| {
            local_namespace_path(writer, namespace);
            instance_name(writer, &path.class, &path.keys);
        }),
        ObjectPath::Class(path) => writer.element("LOCALCLASSPATH", |writer| {
            local_namespace_path(writer, namespace);
            class_name(writer, &path.class);
        }),
    }
}

pub(super) fn class_name(writer: &mut Writer<'_>, class: &CimName) {
    writer.tag("CLASSNAME").with("NAME", class.as_str()).empty();
}

pub(super) fn instance_name(writer: &mut Writer<'_>, class: &CimName, keys: &[Key]) {
    writer.tag("INSTANCENAME").with("CLASSNAME", class.as_str()).open();
    for key in keys {
        match &key.name {
            Some(name) => {
                writer.tag("KEYBINDING").with("NAME", name.as_str()).open();
                key_value(writer, &key.value);
                writer.close("KEYBINDING");
            }
            None => key_value(writer, &key.value),
        }
    }
    writer.close("INSTANCENAME");
}

/// KEYVALUE with the types the path knows. A number's TYPE stands in its class only, and VALUETYPE
/// says what is needed to read it.
fn key_value(writer: &mut Writer<'_>, value: &KeyValue) {
    let (value_type, ty, text) = match value {
        KeyValue::Reference(path) => return reference(writer, path),
        KeyValue::String(text) => ("string", Some("string"), Cow::Borrowed(text.as_str())),
        KeyValue::Boolean(true) => ("boolean", Some("boolean"), Cow::Borrowed("TRUE")),
        KeyValue::Boolean(false) => ("boolean", Some("boolean"), Cow::Borrowed("FALSE")),
        KeyValue::Integer(number) => ("numeric", None, Cow::Owned(number.to_string())),
        KeyValue::Real(number) => {
            let text = Scalar::Real64(*number).text().expect("a number has a text").into_owned();
            ("numeric", None, Cow::Owned(text))
        }
    };
    writer.tag("KEYVALUE").with("VALUETYPE", value_type).with_some("TYPE", ty).open();
    writer.value_text(&text);
    writer.close("KEYVALUE");
}

fn namespace_path(writer: &mut Writer<'_>, host: &str, namespace: &Namespace) {
    writer.element("NAMESPACEPATH", |writer| {
        writer.element("HOST", |writer| writer.text(host));
        local_namespace_path(writer, namespace);
    });
}

pub(super) fn local_namespace_path(writer: &mut Writer<'_>, namespace: &Namespace) {
    writer.element("LOCALNAMESPACEPATH", |writer| {
        for component in namespace.components() {
            writer.tag("NAMESPACE").with("NAME", component).empty();
        }
    });
}
