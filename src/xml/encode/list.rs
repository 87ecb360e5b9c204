//! Lists of objects, whole or as they come.

use super::{super::writer::Writer, Envelope, Style, class, object, path};
use crate::cim::{Instance, InstancePath, KeyValue, ListKind, Object};

/// Encodes a reply that is a list, object by object.
///
/// DSP0201 has no way to report an error once objects were sent. Whoever streams a list sends an
/// [`encode_reply`](crate::xml::encode_reply) with the error if it comes first, and breaks the
/// connection off if it comes later.
#[derive(Clone, Copy, Debug)]
pub struct ListEncoder<'r> {
    envelope: Envelope<'r>,
    kind: ListKind,
    style: &'r Style,
}

impl<'r> ListEncoder<'r> {
    /// An encoder of that kind of list.
    pub fn new(envelope: Envelope<'r>, kind: ListKind, style: &'r Style) -> Self {
        Self { envelope, kind, style }
    }

    /// Appends what comes before the objects.
    pub fn begin(&self, out: &mut Vec<u8>) {
        begin(&self.envelope, out);
    }

    /// Appends one object.
    pub fn object(&self, object: &Object, out: &mut Vec<u8>) {
        self::object(&mut Writer::new(out), self.kind, object, self.style);
    }

    /// Appends what comes after the objects.
    pub fn end(&self, out: &mut Vec<u8>) {
        end(&self.envelope, out);
    }
}

/// Encodes the reply to GetClass or EnumerateClasses, class by class, from what
/// [`encode_class`](crate::xml::encode_class) made.
#[derive(Clone, Copy, Debug)]
pub struct ClassesEncoder<'r>(Envelope<'r>);

impl<'r> ClassesEncoder<'r> {
    /// An encoder of the reply in that frame.
    pub fn new(envelope: Envelope<'r>) -> Self {
        Self(envelope)
    }

    /// Appends what comes before the classes.
    pub fn begin(&self, out: &mut Vec<u8>) {
        begin(&self.0, out);
    }

    /// Appends one class.
    pub fn class(&self, encoded: &[u8], out: &mut Vec<u8>) {
        Writer::new(out).markup(encoded);
    }

    /// Appends what comes after the classes.
    pub fn end(&self, out: &mut Vec<u8>) {
        end(&self.0, out);
    }
}

fn begin(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    envelope.open(&mut writer);
    writer.open("IRETURNVALUE");
}

fn end(envelope: &Envelope<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.close("IRETURNVALUE");
    envelope.close(&mut writer);
}

/// An object in the element of its list. An object that lacks what the list is of is a mistake of
/// who made the list; what there is of it is sent.
pub(super) fn object(writer: &mut Writer<'_>, kind: ListKind, object: &Object, style: &Style) {
    match object {
        Object::Instance(instance) => self::instance(writer, kind, instance, style),
        Object::InstancePath(path) => instance_path(writer, kind, path, style),
        Object::Class(path, class) => writer.element("VALUE.OBJECTWITHPATH", |writer| {
            path::class_path(writer, path, style);
            class::class(writer, class, style.embedded_arrays);
        }),
        Object::ClassPath(path) => {
            writer.element("OBJECTPATH", |writer| path::class_path(writer, path, style));
        }
    }
}

fn instance(writer: &mut Writer<'_>, kind: ListKind, instance: &Instance, style: &Style) {
    let keyless = InstancePath::new::<KeyValue>(instance.class.clone(), []);
    let path = instance.path.as_ref().unwrap_or(&keyless);
    let with_path = |writer: &mut Writer<'_>, element| {
        writer.open(element);
        path::instance_path(writer, path, style);
        object::instance(writer, instance);
        writer.close(element);
    };
    match kind {
        ListKind::NamedInstances => {
            object::instance_with_name(writer, "VALUE.NAMEDINSTANCE", instance);
        }
        ListKind::ObjectsWithPath => with_path(writer, "VALUE.OBJECTWITHPATH"),
        ListKind::InstancesWithPath => with_path(writer, "VALUE.INSTANCEWITHPATH"),
        ListKind::Instances => object::instance(writer, instance),
        ListKind::InstanceNames | ListKind::ObjectPaths | ListKind::InstancePaths => {
            instance_path(writer, kind, path, style);
        }
    }
}

fn instance_path(writer: &mut Writer<'_>, kind: ListKind, path: &InstancePath, style: &Style) {
    match kind {
        ListKind::InstanceNames => path::instance_name(writer, &path.class, &path.keys),
        ListKind::InstancePaths => path::instance_path(writer, path, style),
        ListKind::ObjectPaths => {
            writer.element("OBJECTPATH", |writer| path::instance_path(writer, path, style));
        }
        ListKind::NamedInstances
        | ListKind::ObjectsWithPath
        | ListKind::InstancesWithPath
        | ListKind::Instances => {
            let instance =
                Instance { path: Some(path.clone()), ..Instance::new(path.class.clone()) };
            self::instance(writer, kind, &instance, style);
        }
    }
}
