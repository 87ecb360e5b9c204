//! The parameters of the call that made a job, as CIM_InstMethodCall shows them: an instance of a class
//! `__MethodParameters` with a property of each parameter's name and type; references are their paths.
//!
//! Whoever may look at jobs may look at them. So what may be a secret is not kept: passwords, and what
//! check programs are told beyond the names. And as they are kept as long as the job is remembered,
//! they are bounded.

use crate::{
    cim::{CimName, CimType, DataType, Instance, InstancePath, Property, Scalar, Value},
    xml::{Limits, embedded},
};

const CLASS: CimName = CimName::literal("__MethodParameters");

/// Longer texts are cut.
const MAX_TEXT: usize = 4096;

/// Of longer arrays the rest is left out.
const MAX_ELEMENTS: usize = 256;

/// If all of them together are longer, those that are instances are left out.
const MAX_TOTAL: usize = 128 << 10;

/// What stands in the place of a secret, and of what was cut.
const HIDDEN: &str = "***";
const CUT: char = '…';

/// The parameters as text, for [`input`].
pub(super) fn keep<'a>(
    arguments: impl Iterator<Item = (&'a CimName, Option<&'a Value>)>,
) -> String {
    let mut parameters = Instance::new(CLASS);
    for (name, value) in arguments {
        if let Some(value) = value {
            parameters.properties.push(property(name, shown(name, value)));
        }
    }
    let text = embedded::encode_instance(&parameters);
    if text.len() <= MAX_TOTAL {
        return text;
    }
    for parameter in &mut parameters.properties {
        if parameter.ty.embedded.is_some() {
            parameter.value = None;
        }
    }
    embedded::encode_instance(&parameters)
}

/// The parameters that went in; `None` if they were not kept, as by an earlier program.
pub(super) fn input(text: &str) -> Option<Instance> {
    embedded::decode_instance(text, &Limits::for_replies()).ok()
}

/// The parameters that came out of a call that made a job.
pub(super) fn output(job: &InstancePath) -> Instance {
    Instance::new(CLASS).with(CimName::literal("Job"), job.to_string())
}

fn property(name: &CimName, value: Value) -> Property {
    // Its type follows from the value.
    let shown = Instance::new(CLASS).with(name.clone(), value).properties.pop();
    shown.unwrap_or_else(|| Property {
        name: name.clone(),
        ty: DataType::scalar(CimType::String),
        value: None,
        class_origin: None,
    })
}

fn shown(name: &CimName, value: &Value) -> Value {
    match value {
        Value::Scalar(scalar) => Value::Scalar(shown_scalar(name, scalar)),
        Value::Array(elements) => {
            let elements = elements.iter().take(MAX_ELEMENTS);
            Value::Array(elements.map(|it| it.as_ref().map(|it| shown_scalar(name, it))).collect())
        }
    }
}

fn shown_scalar(name: &CimName, scalar: &Scalar) -> Scalar {
    match scalar {
        Scalar::String(text) | Scalar::Untyped(text) => Scalar::String(shown_text(name, text)),
        Scalar::Reference(path) => Scalar::String(cut(&path.to_string())),
        Scalar::EmbeddedInstance(instance) => {
            let mut instance = instance.clone();
            for property in &mut instance.properties {
                property.value = property.value.as_ref().map(|it| shown(&property.name, it));
            }
            Scalar::EmbeddedInstance(instance)
        }
        Scalar::EmbeddedClass(class) => Scalar::String(class.name.to_string()),
        plain @ (Scalar::Boolean(_)
        | Scalar::Uint8(_)
        | Scalar::Sint8(_)
        | Scalar::Uint16(_)
        | Scalar::Sint16(_)
        | Scalar::Uint32(_)
        | Scalar::Sint32(_)
        | Scalar::Uint64(_)
        | Scalar::Sint64(_)
        | Scalar::Real32(_)
        | Scalar::Real64(_)
        | Scalar::Char16(_)
        | Scalar::DateTime(_)) => plain.clone(),
    }
}

fn shown_text(name: &CimName, text: &str) -> String {
    let name = name.as_str().to_ascii_lowercase();
    if name == "checkparameters" {
        // NAME=VALUE, by convention.
        return match text.split_once('=') {
            Some((key, _)) => format!("{}={HIDDEN}", cut(key)),
            None => HIDDEN.to_owned(),
        };
    }
    if name.contains("password") { HIDDEN.to_owned() } else { cut(text) }
}

fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{CUT}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pairs: &[(&'static str, Value)]) -> Instance {
        let names: Vec<_> = pairs.iter().map(|(name, _)| CimName::literal(name)).collect();
        let values = pairs.iter().map(|(_, value)| Some(value));
        input(&keep(names.iter().zip(values))).expect("what was kept can be shown")
    }

    fn text<'a>(instance: &'a Instance, name: &'static str) -> &'a str {
        instance.value(&CimName::literal(name)).and_then(Value::as_str).expect("a text")
    }

    #[test]
    fn each_parameter_is_a_property_of_its_type() {
        let guest = InstancePath::new(
            CimName::literal("KVM_ComputerSystem"),
            [(CimName::literal("Name"), "web")],
        );
        let settings = Instance::new(CimName::literal("KVM_VirtualSystemMigrationSettingData"))
            .with(CimName::literal("MigrationType"), 2_u16);
        let shown = kept(&[
            ("ComputerSystem", Value::from(crate::cim::ObjectPath::from(guest.clone()))),
            ("DestinationHost", "hostb".into()),
            ("MigrationWithoutRootKey", true.into()),
            ("MigrationSettingData", settings.clone().into()),
            ("NewResourceSettingData", vec![settings.clone(), settings.clone()].into()),
        ]);
        assert_eq!(shown.class, CLASS);
        assert_eq!(text(&shown, "ComputerSystem"), guest.to_string());
        assert_eq!(text(&shown, "DestinationHost"), "hostb");
        let value = |name| shown.value(&CimName::literal(name));
        assert_eq!(value("MigrationWithoutRootKey"), Some(&true.into()));
        assert_eq!(value("MigrationSettingData"), Some(&settings.clone().into()));
        assert_eq!(value("NewResourceSettingData"), Some(&vec![settings.clone(), settings].into()));
    }

    #[test]
    fn secrets_are_not_kept() {
        let console = Instance::new(CimName::literal("KVM_GraphicsResourceAllocationSettingData"))
            .with(CimName::literal("Password"), "hunter2");
        let settings = Instance::new(CimName::literal("KVM_VirtualSystemMigrationSettingData"))
            .with(
                CimName::literal("CheckParameters"),
                vec!["token=hunter2".to_owned(), "hunter2".to_owned()],
            );
        let arguments = [
            (CimName::literal("NewResourceSettingData"), Value::from(vec![console])),
            (CimName::literal("MigrationSettingData"), Value::from(settings)),
        ];
        let kept = keep(arguments.iter().map(|(name, value)| (name, Some(value))));
        assert!(kept.contains("token=***"), "{kept}");
        assert!(!kept.contains("hunter2"), "{kept}");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = "ä".repeat(MAX_TEXT);
        let shown = kept(&[("DestinationHost", long.as_str().into())]);
        assert_eq!(text(&shown, "DestinationHost"), format!("{}…", "ä".repeat(MAX_TEXT / 2)));
        let many = Instance::new(CimName::literal("KVM_X"))
            .with(CimName::literal("Y"), vec![long.clone(); MAX_ELEMENTS * 2]);
        let shown = kept(&[("MigrationSettingData", many.into()), ("DestinationHost", "b".into())]);
        assert_eq!(shown.value(&CimName::literal("MigrationSettingData")), None);
        assert_eq!(text(&shown, "DestinationHost"), "b");
    }
}
