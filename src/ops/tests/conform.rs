//! What a client sends gets its declared types, or an error that names it.

use super::*;
use crate::{
    cim::{Key, KeyValue, ObjectPath, ParamValue, Property, Scalar},
    ops::{Arguments, conform::Conformer},
};

/// The method whose parameters are of every kind that matters.
const METHOD: &str = "CheckVirtualSystemIsMigratableToHost";
const REQUIRED: &[&str] = &["DestinationHost"];
const SETTINGS: &str = "KVM_VirtualSystemMigrationSettingData";

fn parameter(parameter: &str, value: impl Into<Value>) -> ParamValue {
    ParamValue { name: name(parameter), ty: None, value: Some(value.into()) }
}

fn untyped(text: &str) -> Value {
    Value::Scalar(Scalar::Untyped(text.to_owned()))
}

fn arguments(mut given: Vec<ParamValue>) -> Result<Arguments, CimError> {
    if !given.iter().any(|it| it.name == *"DestinationHost") {
        given.push(parameter("DestinationHost", "x"));
    }
    conform(METHOD, given)
}

fn conform(method: &str, given: Vec<ParamValue>) -> Result<Arguments, CimError> {
    let repository = Repository::builtin();
    let class = repository.class(&name("KVM_VirtualSystemMigrationService")).unwrap();
    let method = class.method(&name(method)).unwrap();
    Conformer { repository: &repository }.arguments(method, REQUIRED, given)
}

#[track_caller]
fn refused(given: Vec<ParamValue>, status: StatusCode, texts: &[&str]) {
    let error = arguments(given).expect_err("an error");
    assert_eq!(error.status, status, "{error}");
    for text in texts {
        assert!(error.description.contains(text), "{error} does not contain {text:?}");
    }
}

fn settings(properties: Vec<(&str, Value)>) -> Value {
    let mut instance = Instance::new(name(SETTINGS));
    for (property, value) in properties {
        instance.set(name(property), value);
    }
    instance.into()
}

/// One property of the settings, conformed.
fn setting(property: &str, value: Value) -> Result<Option<Value>, CimError> {
    let given = parameter("MigrationSettingData", settings(vec![(property, value)]));
    let arguments = arguments(vec![given])?;
    let settings = arguments.instance("MigrationSettingData").expect("an instance");
    Ok(settings.value(&name(property)).cloned())
}

#[test]
fn parameters_are_taken_in_any_case_and_unknown_ones_ignored() {
    let given = vec![
        parameter("DESTINATIONHOST", "there"),
        parameter("Bogus", 5_u16),
        ParamValue { name: name("MigrationWithoutRootKey"), ty: None, value: None },
    ];
    let arguments = arguments(given).unwrap();
    assert_eq!(arguments.string("DestinationHost"), Some("there"));
    assert_eq!(arguments.boolean("MigrationWithoutRootKey"), None);
    let names: Vec<_> = arguments.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["DestinationHost", "MigrationWithoutRootKey"], "in declared order");
}

#[test]
fn required_parameters_are_named_when_missing_or_null() {
    let missing = conform(METHOD, Vec::new()).unwrap_err();
    let null = ParamValue { name: name("DestinationHost"), ty: None, value: None };
    for error in [missing, conform(METHOD, vec![null]).unwrap_err()] {
        assert_eq!(error.status, StatusCode::InvalidParameter);
        assert!(error.description.contains("DestinationHost"), "{error}");
    }
    let twice = vec![parameter("DestinationHost", "a"), parameter("destinationhost", "b")];
    refused(twice, StatusCode::InvalidParameter, &["DestinationHost", "twice"]);
}

#[test]
fn a_required_parameter_of_another_type_is_a_type_mismatch_an_optional_one_is_invalid() {
    let number = vec![parameter("DestinationHost", 5_u32)];
    refused(number, StatusCode::TypeMismatch, &["DestinationHost", "string", "uint32"]);
    let text = vec![parameter("ComputerSystem", "peer1")];
    refused(text, StatusCode::InvalidParameter, &["ComputerSystem", "reference", "string"]);
    let array = vec![parameter("DestinationHost", vec!["a".to_owned()])];
    refused(array, StatusCode::TypeMismatch, &["DestinationHost", "array"]);
    let reference = vec![parameter("MigrationSettingData", ObjectPath::from(guest_path("a")))];
    let texts = &["MigrationSettingData", "reference to KVM_ComputerSystem"];
    refused(reference, StatusCode::InvalidParameter, texts);
    let boolean = vec![parameter("MigrationWithoutRootKey", untyped("maybe"))];
    refused(boolean, StatusCode::InvalidParameter, &["MigrationWithoutRootKey", "`maybe`"]);
}

#[test]
fn values_without_a_type_get_the_declared_one() {
    let given = vec![
        parameter("DestinationHost", untyped("5")),
        parameter("MigrationWithoutRootKey", untyped(" TRUE\n")),
    ];
    let arguments = arguments(given).unwrap();
    assert_eq!(arguments.string("DestinationHost"), Some("5"));
    assert_eq!(arguments.boolean("MigrationWithoutRootKey"), Some(true));
}

#[track_caller]
fn check(property: &str, value: Value, expected: Result<Value, &[&str]>) {
    match (setting(property, value.clone()), expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, Some(expected), "{property} = {value:?}"),
        (Err(error), Err(texts)) => {
            assert_eq!(error.status, StatusCode::InvalidParameter, "{error}");
            for text in texts.iter().chain(&[property, "MigrationSettingData"]) {
                assert!(error.description.contains(text), "{error} does not contain {text:?}");
            }
        }
        (found, _) => panic!("{property} = {value:?}: {found:?}"),
    }
}

#[test]
fn properties_of_embedded_instances_are_conformed_and_named() {
    check("MigrationType", 2_u16.into(), Ok(2_u16.into()));
    check("MigrationType", 2_u64.into(), Ok(2_u16.into()));
    check("MigrationType", untyped("0x2"), Ok(2_u16.into()));
    check("MigrationType", "2".into(), Ok(2_u16.into()));
    check("MigrationType", 65_536_u32.into(), Err(&["uint16 (0 to 65535)", "65536"]));
    check("MigrationType", (-1_i16).into(), Err(&["uint16", "-1"]));
    check("TransportType", "five".into(), Err(&["uint16 (0 to 65535)", "`five`"]));
    check("TransportType", true.into(), Err(&["uint16", "boolean"]));
    check("TransportType", vec![5_u16].into(), Err(&["uint16", "array"]));
    let long = "x".repeat(1000);
    check("TransportType", long.as_str().into(), Err(&["xxx…`"]));
    check("TransportType", "a\nb".into(), Err(&["a\\nb"]));
    check("AutoConverge", untyped("true"), Ok(true.into()));
    check("CheckParameters", vec!["a".to_owned()].into(), Ok(vec!["a".to_owned()].into()));
    check("CheckParameters", untyped("a=1"), Ok(vec!["a=1".to_owned()].into()));
    check("CheckParameters", "a=1".into(), Err(&["array of string"]));
    let with_null = Value::Array(vec![None, Some("a".into())]);
    check("CheckParameters", with_null.clone(), Ok(with_null));
}

#[test]
fn null_absent_and_empty_are_told_apart() {
    let empty = Value::Array(Vec::new());
    assert_eq!(setting("CheckParameters", empty.clone()).unwrap(), Some(empty));
    let mut instance = Instance::new(name(SETTINGS));
    instance.properties.push(Property {
        name: name("CheckParameters"),
        ty: crate::cim::DataType::array(crate::cim::CimType::String),
        value: None,
        class_origin: None,
    });
    let arguments = arguments(vec![parameter("MigrationSettingData", instance)]).unwrap();
    let settings = arguments.instance("MigrationSettingData").unwrap();
    assert!(settings.property(&name("CheckParameters")).is_some());
    assert_eq!(settings.value(&name("CheckParameters")), None);
    assert!(settings.property(&name("MigrationType")).is_none(), "defaults are not filled in");
}

#[test]
fn unknown_properties_of_embedded_instances_are_ignored() {
    let value = settings(vec![("CreationClassName", SETTINGS.into()), ("Priority", 1_u16.into())]);
    let arguments = arguments(vec![parameter("MigrationSettingData", value)]).unwrap();
    let settings = arguments.instance("MigrationSettingData").unwrap();
    assert_eq!(shown(settings), ["Priority"]);
}

#[test]
fn embedded_text_is_read_as_xml_or_mof() {
    for text in [
        "instance of KVM_VirtualSystemMigrationSettingData { TransportType = 5; };",
        "<INSTANCE CLASSNAME=\"kvm_virtualsystemmigrationsettingdata\">\
         <PROPERTY NAME=\"transporttype\" TYPE=\"uint16\"><VALUE>5</VALUE></PROPERTY></INSTANCE>",
    ] {
        for value in [Value::from(text), untyped(text)] {
            let arguments = arguments(vec![parameter("MigrationSettingData", value)]).unwrap();
            let settings = arguments.instance("MigrationSettingData").unwrap();
            assert_eq!(settings.class.as_str(), SETTINGS);
            let transport = settings.value(&name("TransportType"));
            assert_eq!(transport, Some(&Value::from(5_u16)), "{text}");
        }
    }
}

#[test]
fn a_wrong_value_in_an_instance_is_an_invalid_parameter_in_xml_and_in_mof() {
    let property = |value: &str| {
        format!(
            "<PROPERTY NAME=\"MigrationType\" TYPE=\"uint16\"><VALUE>{value}</VALUE></PROPERTY>"
        )
    };
    for text in [
        format!("<INSTANCE CLASSNAME=\"{SETTINGS}\">{}</INSTANCE>", property("-1")),
        format!("<INSTANCE CLASSNAME=\"{SETTINGS}\">{}</INSTANCE>", property("70000")),
        format!("instance of {SETTINGS} {{ MigrationType = 70000; }};"),
    ] {
        let error = arguments(vec![parameter("MigrationSettingData", text.as_str())]).unwrap_err();
        assert_eq!(error.status, StatusCode::InvalidParameter, "{text}: {error}");
        assert!(error.description.contains("`MigrationType`"), "{text}: {error}");
    }
}

#[test]
fn text_that_is_no_instance_fails_in_libvirt_cims_words() {
    for text in ["", "<INSTANCE CLASSNAME=\"bro", "nonsense", "instance of X {"] {
        let given = vec![parameter("MigrationSettingData", text)];
        let error = arguments(given).unwrap_err();
        assert_eq!(error.status, StatusCode::Failed, "{error}");
        assert!(error.description.starts_with("Unable to parse embedded object"), "{error}");
        assert!(error.description.contains("MigrationSettingData"), "{error}");
    }
}

#[test]
fn an_instance_of_another_class_is_refused_and_a_subclass_taken() {
    let embed = |class: &str| vec![parameter("MigrationSettingData", Instance::new(name(class)))];
    let texts = &["CIM_VirtualSystemMigrationSettingData", "KVM_ComputerSystem"];
    refused(embed("KVM_ComputerSystem"), StatusCode::InvalidParameter, texts);
    refused(embed("KVM_Nope"), StatusCode::InvalidParameter, &["KVM_Nope", "does not exist"]);
    for class in [SETTINGS, "CIM_VirtualSystemMigrationSettingData"] {
        assert!(arguments(embed(class)).is_ok(), "{class}");
    }
    let unknown = "instance of KVM_Nope { A = 1; };";
    let given = vec![parameter("MigrationSettingData", unknown)];
    refused(given, StatusCode::InvalidParameter, &["KVM_Nope"]);
}

#[test]
fn arrays_of_embedded_instances_may_be_text_as_well() {
    let text = "instance of CIM_ResourceAllocationSettingData { InstanceID = \"a\"; };";
    let value = Value::Array(vec![
        Some(text.into()),
        None,
        Some(Instance::new(name("CIM_ResourceAllocationSettingData")).into_scalar()),
    ]);
    let arguments = arguments(vec![parameter("NewResourceSettingData", value)]).unwrap();
    let elements = arguments.value("NewResourceSettingData").and_then(Value::array).unwrap();
    let kinds: Vec<_> = elements
        .iter()
        .map(|element| matches!(element, Some(Scalar::EmbeddedInstance(_))))
        .collect();
    assert_eq!(kinds, [true, false, true]);
}

trait IntoScalar {
    fn into_scalar(self) -> Scalar;
}

impl IntoScalar for Instance {
    fn into_scalar(self) -> Scalar {
        Scalar::EmbeddedInstance(Box::new(self))
    }
}

#[test]
fn a_class_path_is_a_reference_without_keys() {
    let path = ObjectPath::Class(crate::cim::ClassPath::local(name("KVM_ComputerSystem")));
    let arguments = arguments(vec![parameter("ComputerSystem", path)]).unwrap();
    let path = arguments.path("ComputerSystem").unwrap();
    assert_eq!((path.class.as_str(), path.keys.len()), ("KVM_ComputerSystem", 0));
}

#[test]
fn references_in_parameters_get_the_keys_of_their_class() {
    let guest = path("kvm_computersystem", &[("Bogus", "x"), ("NAME", "a")]);
    let arguments = arguments(vec![parameter("ComputerSystem", ObjectPath::from(guest))]).unwrap();
    let path = arguments.path("ComputerSystem").unwrap();
    assert_eq!(path.to_string(), "KVM_ComputerSystem.Name=\"a\"");
}

#[track_caller]
fn check_path(class: &str, keys: Vec<(Option<&str>, KeyValue)>, expected: &str) {
    let repository = Repository::builtin();
    let declared = repository.class(&name(class)).unwrap();
    let keys = keys.into_iter().map(|(key, value)| Key { name: key.map(name), value }).collect();
    let path = InstancePath { keys, ..path(class, &[]) };
    let conformed = Conformer { repository: &repository }.path(&declared, path).unwrap();
    assert_eq!(conformed.to_string(), expected);
}

#[test]
fn paths_get_declared_names_order_and_types() {
    check_path(
        "kvm_computersystem",
        vec![(Some("NAME"), "a".into()), (Some("creationclassname"), "b".into())],
        "KVM_ComputerSystem.CreationClassName=\"b\",Name=\"a\"",
    );
    let id = "CIM_SettingData.InstanceID=\"5\"";
    check_path("CIM_SettingData", vec![(None, "5".into())], id);
    check_path("CIM_SettingData", vec![(Some("InstanceID"), KeyValue::Integer(5))], id);
    check_path("CIM_SettingData", vec![(Some("Nope"), "5".into())], "CIM_SettingData");
    let reference = KeyValue::from(path("cim_settingdata", &[("instanceid", "x")]));
    let repository = Repository::builtin();
    let class = repository.class(&name("CIM_SettingsDefineState")).unwrap();
    let association = InstancePath {
        keys: vec![Key { name: Some(name("settingdata")), value: reference }],
        ..path("CIM_SettingsDefineState", &[])
    };
    let conformed = Conformer { repository: &repository }.path(&class, association).unwrap();
    let key = conformed.key(&name("SettingData")).and_then(KeyValue::as_reference).unwrap();
    assert_eq!(key.to_string(), "CIM_SettingData.InstanceID=\"x\"");
}

#[test]
fn an_unnamed_key_needs_a_class_with_one_key() {
    let repository = Repository::builtin();
    let class = repository.class(&name("KVM_ComputerSystem")).unwrap();
    let keys = vec![Key { name: None, value: "a".into() }];
    let path = InstancePath { keys, ..path("KVM_ComputerSystem", &[]) };
    let error = Conformer { repository: &repository }.path(&class, path).unwrap_err();
    assert_eq!(CimError::from(error).status, StatusCode::InvalidParameter);
}
