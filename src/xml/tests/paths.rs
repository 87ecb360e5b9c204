//! Names of instances and references to objects as clients write them.

use super::requests::{NAMESPACE, check_refused, intrinsic, operation, parameter};
use crate::cim::{CimName, CimType, DataType, InstancePath, KeyValue, Operation, StatusCode};

/// The path that GetInstance asks for with that content of INSTANCENAME.
#[track_caller]
fn path(keys: &str) -> InstancePath {
    let parameter = format!(
        r#"<IPARAMVALUE NAME="InstanceName"><INSTANCENAME CLASSNAME="C">{keys}</INSTANCENAME></IPARAMVALUE>"#
    );
    match operation(&intrinsic("GetInstance", &parameter)) {
        Operation::GetInstance { path, .. } => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn key_values_in_every_form() {
    let key = |content: &str| {
        path(&format!(r#"<KEYBINDING NAME="k">{content}</KEYBINDING>"#)).keys.remove(0).value
    };
    let string = |text: &str| KeyValue::String(text.to_owned());
    assert_eq!(key("<KEYVALUE>5</KEYVALUE>"), string("5"));
    assert_eq!(key("<KEYVALUE/>"), string(""));
    assert_eq!(key(r#"<KEYVALUE VALUETYPE="string">TRUE</KEYVALUE>"#), string("TRUE"));
    assert_eq!(key(r#"<KEYVALUE VALUETYPE="numeric"> 0x10 </KEYVALUE>"#), KeyValue::Integer(16));
    assert_eq!(
        key(r#"<KEYVALUE VALUETYPE="numeric">18446744073709551615</KEYVALUE>"#),
        KeyValue::Integer(u64::MAX.into())
    );
    assert_eq!(key(r#"<KEYVALUE VALUETYPE="numeric">1.5</KEYVALUE>"#), KeyValue::Real(1.5));
    assert_eq!(key(r#"<KEYVALUE VALUETYPE="boolean">true</KEYVALUE>"#), KeyValue::Boolean(true));
    assert_eq!(key(r#"<KEYVALUE TYPE="sint8">-1</KEYVALUE>"#), KeyValue::Integer(-1));
    assert_eq!(key(r#"<KEYVALUE TYPE="UINT8">7</KEYVALUE>"#), KeyValue::Integer(7));
    let datetime = "20261123181055.000001+060";
    assert_eq!(
        key(&format!(r#"<KEYVALUE TYPE="datetime">{datetime}</KEYVALUE>"#)),
        string(datetime)
    );
    assert_eq!(path("").keys, []);
    let unnamed = path("<KEYVALUE>x</KEYVALUE>").keys.remove(0);
    assert_eq!((unnamed.name, unnamed.value), (None, string("x")));
}

#[test]
fn references_in_all_six_forms() {
    let reference = |content: &str| {
        let text = format!(
            r#"<PARAMVALUE NAME="p"><VALUE.REFERENCE>{content}</VALUE.REFERENCE></PARAMVALUE>"#
        );
        let (ty, value) = parameter(&text);
        assert_eq!(ty, Some(DataType::scalar(CimType::Reference)));
        value.and_then(|value| value.as_reference().cloned()).unwrap().to_string()
    };
    let hosted = format!("<NAMESPACEPATH><HOST> h </HOST>{NAMESPACE}</NAMESPACEPATH>");
    let instance = r#"<INSTANCENAME CLASSNAME="C"><KEYBINDING NAME="k"><KEYVALUE>v</KEYVALUE></KEYBINDING></INSTANCENAME>"#;
    let class = r#"<CLASSNAME NAME="C"></CLASSNAME>"#;
    let written = [
        (instance.to_owned(), "C.k=\"v\""),
        (
            format!("<LOCALINSTANCEPATH>{NAMESPACE}{instance}</LOCALINSTANCEPATH>"),
            "root/virt:C.k=\"v\"",
        ),
        (format!("<INSTANCEPATH>{hosted}{instance}</INSTANCEPATH>"), "//h/root/virt:C.k=\"v\""),
        (class.to_owned(), "C"),
        (format!("<LOCALCLASSPATH>{NAMESPACE}{class}</LOCALCLASSPATH>"), "root/virt:C"),
        (format!("<CLASSPATH>{hosted}{class}</CLASSPATH>"), "//h/root/virt:C"),
    ];
    for (content, expected) in written {
        assert_eq!(reference(&content), expected);
    }
}

#[test]
fn the_java_client_writes_reference_keys_as_text() {
    let key = |text: &str| {
        let content = format!(
            r#"<KEYBINDING NAME="Filter"><KEYVALUE TYPE="CIM_X ref" VALUETYPE="string">{text}</KEYVALUE></KEYBINDING>"#
        );
        path(&content).keys.remove(0).value
    };
    let read = key("/root/virt:CIM_X.Name=&quot;a \\&quot;b\\&quot;&quot;,N=5");
    let KeyValue::Reference(read) = read else { panic!("{read:?}") };
    let object = read.instance().unwrap();
    assert_eq!(object.namespace.as_ref().unwrap().as_str(), "root/virt");
    assert_eq!(object.string_key(&CimName::literal("Name")), Some("a \"b\""));
    assert_eq!(object.key(&CimName::literal("N")), Some(&KeyValue::Integer(5)));
}

#[test]
fn a_text_that_is_no_path_is_no_reference() {
    let parameter = r#"<IPARAMVALUE NAME="InstanceName"><INSTANCENAME CLASSNAME="C"><KEYBINDING NAME="k"><KEYVALUE TYPE="C ref">5</KEYVALUE></KEYBINDING></INSTANCENAME></IPARAMVALUE>"#;
    let request = intrinsic("GetInstance", parameter);
    check_refused(&request, StatusCode::InvalidParameter, "key `k` is `5`, not an object path");
}
