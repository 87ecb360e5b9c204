//! Replies and exports: what they look like on the wire, and those of other servers.

use proptest::prelude::*;

use super::{
    super::{
        DecodeError, EmbeddedArrays, Envelope, FalseBoolean, Limits, Style, decode_export_reply,
        decode_reply, embedded, encode_class, encode_export, encode_reply, encode_request,
    },
    arbitrary, dtd,
};
use crate::cim::{
    ArrayKind, CimError, CimName, CimType, Class, ClassPath, DataType, Embedded, Flavor, Instance,
    InstancePath, KeyValue, ListKind, Method, Namespace, Object, Operation, ParamValue, Parameter,
    PropertyDeclaration, Qualifier, QualifierDeclaration, Reply, Scalar, Scope, StatusCode, Value,
};

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

fn style() -> Style {
    Style {
        host: "host:5989".to_owned(),
        namespace: Namespace::parse("root/virt").unwrap(),
        false_booleans: FalseBoolean::Standard,
        embedded_arrays: EmbeddedArrays::Told,
    }
}

const FRAME: (&str, &str) = (
    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<CIM CIMVERSION=\"2.0\" DTDVERSION=\"2.0\"><MESSAGE ID=\"9\" PROTOCOLVERSION=\"1.0\"><SIMPLERSP>",
    "</SIMPLERSP></MESSAGE></CIM>",
);

/// Encodes an intrinsic operation's reply and compares what is inside the frame.
#[track_caller]
fn check(operation: &str, reply: Result<Reply, CimError>, expected: &str) {
    let envelope = Envelope::intrinsic("9", "1.0", operation);
    let text = String::from_utf8(encode_reply(&envelope, &reply, &style())).unwrap();
    let inside = text.strip_prefix(FRAME.0).unwrap().strip_suffix(FRAME.1).unwrap();
    let expected = format!(r#"<IMETHODRESPONSE NAME="{operation}">{expected}</IMETHODRESPONSE>"#);
    assert_eq!(inside, expected);
}

fn method_reply(reply: Reply, false_booleans: FalseBoolean) -> String {
    let style = Style { false_booleans, ..style() };
    let bytes = encode_reply(&Envelope::method("9", "1.0", "Do"), &Ok(reply), &style);
    let text = String::from_utf8(bytes).unwrap();
    let inside = text.strip_prefix(FRAME.0).unwrap().strip_suffix(FRAME.1).unwrap();
    let inside = inside.strip_prefix(r#"<METHODRESPONSE NAME="Do">"#).unwrap();
    inside.strip_suffix("</METHODRESPONSE>").unwrap().to_owned()
}

fn out(name: &str, ty: DataType, value: Option<Value>) -> ParamValue {
    ParamValue { name: self::name(name), ty: Some(ty), value }
}

fn path() -> InstancePath {
    InstancePath::new(name("C"), [(name("k"), "v")])
}

const NAMED: &str = r#"<INSTANCENAME CLASSNAME="C"><KEYBINDING NAME="k"><KEYVALUE VALUETYPE="string" TYPE="string">v</KEYVALUE></KEYBINDING></INSTANCENAME>"#;
const INSTANCE: &str = r#"<INSTANCE CLASSNAME="C"></INSTANCE>"#;
const LOCAL: &str =
    r#"<LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/></LOCALNAMESPACEPATH>"#;

#[test]
fn lists_in_the_elements_of_their_operation() {
    let hosted = format!(
        "<INSTANCEPATH><NAMESPACEPATH><HOST>host:5989</HOST>{LOCAL}</NAMESPACEPATH>{NAMED}</INSTANCEPATH>"
    );
    let check_one = |kind, element: &str, object: &Object| {
        let reply = Reply::Objects(kind, vec![object.clone()]);
        check("X", Ok(reply), &format!("<IRETURNVALUE>{element}</IRETURNVALUE>"));
    };
    let bare = Object::InstancePath(path());
    let whole = Object::Instance(Instance { path: Some(path()), ..Instance::new(name("C")) });
    check_one(
        ListKind::NamedInstances,
        &format!("<VALUE.NAMEDINSTANCE>{NAMED}{INSTANCE}</VALUE.NAMEDINSTANCE>"),
        &whole,
    );
    check_one(ListKind::InstanceNames, NAMED, &bare);
    check_one(ListKind::InstanceNames, NAMED, &whole);
    check_one(
        ListKind::ObjectsWithPath,
        &format!("<VALUE.OBJECTWITHPATH>{hosted}{INSTANCE}</VALUE.OBJECTWITHPATH>"),
        &whole,
    );
    check_one(ListKind::ObjectPaths, &format!("<OBJECTPATH>{hosted}</OBJECTPATH>"), &bare);
    check_one(
        ListKind::InstancesWithPath,
        &format!("<VALUE.INSTANCEWITHPATH>{hosted}{INSTANCE}</VALUE.INSTANCEWITHPATH>"),
        &whole,
    );
    check_one(ListKind::InstancePaths, &hosted, &bare);
    check_one(ListKind::Instances, INSTANCE, &whole);
    let class = format!(
        r#"<OBJECTPATH><CLASSPATH><NAMESPACEPATH><HOST>host:5989</HOST>{LOCAL}</NAMESPACEPATH><CLASSNAME NAME="C"/></CLASSPATH></OBJECTPATH>"#
    );
    check_one(ListKind::ObjectPaths, &class, &Object::ClassPath(ClassPath::local(name("C"))));
}

#[test]
fn replies_without_a_list() {
    check("DeleteInstance", Ok(Reply::Void), "");
    check("GetClass", Err(CimError::new(StatusCode::NotFound, "no \"C\"\n<here>")), {
        r#"<ERROR CODE="6" DESCRIPTION="no &quot;C&quot;&#10;&lt;here&gt;"></ERROR>"#
    });
    let empty = Reply::Objects(ListKind::NamedInstances, Vec::new());
    check("EnumerateInstances", Ok(empty), "<IRETURNVALUE></IRETURNVALUE>");
    let names = Reply::ClassNames(vec![name("A"), name("B")]);
    let returned = r#"<IRETURNVALUE><CLASSNAME NAME="A"/><CLASSNAME NAME="B"/></IRETURNVALUE>"#;
    check("EnumerateClassNames", Ok(names), returned);
    check("EnumerationCount", Ok(Reply::Count(None)), "<IRETURNVALUE></IRETURNVALUE>");
    let property = Reply::Property(DataType::scalar(CimType::Uint8), Some(7_u8.into()));
    check("GetProperty", Ok(property), "<IRETURNVALUE><VALUE>7</VALUE></IRETURNVALUE>");
}

#[test]
fn pulled_lists_say_whether_they_go_on() {
    let pulled = |context: Option<&str>| Reply::Pulled {
        kind: ListKind::InstancePaths,
        objects: Vec::new(),
        context: context.map(str::to_owned),
        query_result_class: None,
    };
    check(
        "PullInstancePaths",
        Ok(pulled(Some("c"))),
        r#"<IRETURNVALUE></IRETURNVALUE><PARAMVALUE NAME="EnumerationContext" PARAMTYPE="string"><VALUE>c</VALUE></PARAMVALUE><PARAMVALUE NAME="EndOfSequence" PARAMTYPE="boolean"><VALUE>FALSE</VALUE></PARAMVALUE>"#,
    );
    check(
        "PullInstancePaths",
        Ok(pulled(None)),
        r#"<IRETURNVALUE></IRETURNVALUE><PARAMVALUE NAME="EndOfSequence" PARAMTYPE="boolean"><VALUE>TRUE</VALUE></PARAMVALUE>"#,
    );
}

#[test]
fn instances_and_their_values() {
    let mut instance = Instance::new(name("C"))
        .with(name("s"), "a\r\n<&>\"'")
        .with(name("b"), false)
        .with(name("a"), Value::Array(vec![Some(1_u16.into()), None]))
        .with(name("e"), Instance::new(name("E")).with(name("i"), Instance::new(name("F"))));
    let target = path().in_namespace(Namespace::parse("root/virt").unwrap());
    instance.set(name("r"), crate::cim::ObjectPath::from(target));
    instance.properties[4].ty.reference_class = Some(name("R"));
    instance.properties.push(crate::cim::Property {
        name: name("n"),
        ty: DataType::array(CimType::DateTime),
        value: None,
        class_origin: Some(name("O")),
    });
    let inner = r#"&lt;INSTANCE CLASSNAME="E"&gt;&lt;PROPERTY NAME="i" TYPE="string" EmbeddedObject="instance"&gt;&lt;VALUE&gt;&amp;lt;INSTANCE CLASSNAME="F"&amp;gt;&amp;lt;/INSTANCE&amp;gt;&lt;/VALUE&gt;&lt;/PROPERTY&gt;&lt;/INSTANCE&gt;"#;
    let expected = [
        r#"<IRETURNVALUE><INSTANCE CLASSNAME="C">"#,
        "<PROPERTY NAME=\"s\" TYPE=\"string\"><VALUE>a&#13;\n&lt;&amp;&gt;\"'</VALUE></PROPERTY>",
        r#"<PROPERTY NAME="b" TYPE="boolean"><VALUE>FALSE</VALUE></PROPERTY>"#,
        r#"<PROPERTY.ARRAY NAME="a" TYPE="uint16"><VALUE.ARRAY><VALUE>1</VALUE><VALUE.NULL></VALUE.NULL></VALUE.ARRAY></PROPERTY.ARRAY>"#,
        r#"<PROPERTY NAME="e" TYPE="string" EmbeddedObject="instance"><VALUE>"#,
        inner,
        "</VALUE></PROPERTY>",
        r#"<PROPERTY.REFERENCE NAME="r" REFERENCECLASS="R"><VALUE.REFERENCE><LOCALINSTANCEPATH>"#,
        LOCAL,
        NAMED,
        "</LOCALINSTANCEPATH></VALUE.REFERENCE></PROPERTY.REFERENCE>",
        r#"<PROPERTY.ARRAY NAME="n" TYPE="datetime" CLASSORIGIN="O"></PROPERTY.ARRAY>"#,
        "</INSTANCE></IRETURNVALUE>",
    ];
    check("GetInstance", Ok(Reply::Instance(instance)), &expected.concat());
}

#[test]
fn what_xml_can_not_carry_is_replaced() {
    let text = "a\0\u{1}\u{b}\u{1f}\u{fffe}\u{ffff}\u{ffff}é\u{fefe}\u{ffee}\u{7f}\u{10ffff}z";
    let instance = Instance::new(name("C"))
        .with(name("s"), text)
        .with(name("c"), Value::Array(vec![Some(Scalar::Char16(0xd800)), Some(Scalar::Char16(7))]));
    let encoded = embedded::encode_instance(&instance);
    let decoded = embedded::decode_instance(&encoded, &Limits::default()).unwrap();
    let clean = "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}é\u{fefe}\u{ffee}\u{7f}\u{10ffff}z";
    assert_eq!(decoded.value(&name("s")).and_then(Value::as_str), Some(clean));
    let replaced = Some(Scalar::Char16(0xfffd));
    let units = decoded.value(&name("c")).and_then(Value::array).unwrap();
    assert_eq!(units, [replaced.clone(), replaced]);
    let error = CimError::new(StatusCode::Failed, "a\0b");
    check("X", Err(error), "<ERROR CODE=\"1\" DESCRIPTION=\"a\u{fffd}b\"></ERROR>");
}

#[test]
fn methods_return_their_value_first_and_no_nulls() {
    let boolean = || DataType::scalar(CimType::Boolean);
    let findings =
        DataType { embedded: Some(Embedded::Instance), ..DataType::array(CimType::String) };
    let reply = Reply::Method {
        return_type: DataType::scalar(CimType::Uint32),
        return_value: Some(0_u32.into()),
        out: vec![
            out("IsMigratable", boolean(), Some(false.into())),
            out("Nothing", boolean(), None),
            out("Findings", findings, Some(vec![Instance::new(name("E"))].into())),
            out("None", DataType::array(CimType::Reference), Some(Value::Array(Vec::new()))),
        ],
    };
    let expected = [
        r#"<RETURNVALUE PARAMTYPE="uint32"><VALUE>0</VALUE></RETURNVALUE>"#,
        r#"<PARAMVALUE NAME="IsMigratable" PARAMTYPE="boolean"><VALUE>FALSE</VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="Findings" PARAMTYPE="string" EmbeddedObject="instance"><VALUE.ARRAY><VALUE>&lt;INSTANCE CLASSNAME="E"&gt;&lt;/INSTANCE&gt;</VALUE></VALUE.ARRAY></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="None" PARAMTYPE="reference"><VALUE.REFARRAY></VALUE.REFARRAY></PARAMVALUE>"#,
    ];
    assert_eq!(method_reply(reply, FalseBoolean::Standard), expected.concat());
}

#[test]
fn false_of_a_method_is_empty_for_clients_that_read_any_text_as_true() {
    let boolean = DataType::scalar(CimType::Boolean);
    let embedded = Instance::new(name("E")).with(name("b"), false);
    let reply = Reply::Method {
        return_type: boolean.clone(),
        return_value: Some(false.into()),
        out: vec![
            out("t", boolean.clone(), Some(true.into())),
            out("f", boolean, Some(false.into())),
            out("a", DataType::array(CimType::Boolean), Some(vec![true, false].into())),
            out("s", DataType::scalar(CimType::String), Some("FALSE".into())),
            out("e", DataType::scalar(CimType::String), Some(embedded.into())),
        ],
    };
    let expected = [
        r#"<RETURNVALUE PARAMTYPE="boolean"><VALUE></VALUE></RETURNVALUE>"#,
        r#"<PARAMVALUE NAME="t" PARAMTYPE="boolean"><VALUE>TRUE</VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="f" PARAMTYPE="boolean"><VALUE></VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="a" PARAMTYPE="boolean"><VALUE.ARRAY><VALUE>TRUE</VALUE><VALUE></VALUE></VALUE.ARRAY></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="s" PARAMTYPE="string"><VALUE>FALSE</VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="e" PARAMTYPE="string" EmbeddedObject="instance"><VALUE>&lt;INSTANCE CLASSNAME="E"&gt;&lt;PROPERTY NAME="b" TYPE="boolean"&gt;&lt;VALUE&gt;FALSE&lt;/VALUE&gt;&lt;/PROPERTY&gt;&lt;/INSTANCE&gt;</VALUE></PARAMVALUE>"#,
    ];
    assert_eq!(method_reply(reply, FalseBoolean::EmptyValue), expected.concat());
}

fn qualifier(name: &str, value: impl Into<Value>) -> Qualifier {
    let value = value.into();
    let ty = value.scalar().and_then(Scalar::cim_type).unwrap();
    Qualifier {
        name: self::name(name),
        ty,
        value: Some(value),
        flavor: Flavor::default(),
        propagated: false,
    }
}

#[test]
fn classes_with_everything() {
    let parameter = Parameter {
        name: name("p"),
        ty: DataType { embedded: Some(Embedded::Instance), ..DataType::array(CimType::String) },
        qualifiers: vec![qualifier("EmbeddedInstance", "E")],
    };
    let method = Method {
        name: name("M"),
        return_type: DataType::scalar(CimType::Uint32),
        qualifiers: Vec::new(),
        parameters: vec![parameter],
        class_origin: Some(name("C")),
        propagated: true,
    };
    let key = Qualifier {
        flavor: Flavor { overridable: false, translatable: true, ..Flavor::default() },
        propagated: true,
        ..qualifier("Key", true)
    };
    let class = Class {
        name: name("D"),
        superclass: Some(name("C")),
        qualifiers: vec![key],
        properties: Vec::new(),
        methods: vec![method],
    };
    let expected = [
        r#"<CLASS NAME="D" SUPERCLASS="C">"#,
        r#"<QUALIFIER NAME="Key" TYPE="boolean" PROPAGATED="true" OVERRIDABLE="false" TRANSLATABLE="true"><VALUE>TRUE</VALUE></QUALIFIER>"#,
        r#"<METHOD NAME="M" TYPE="uint32" CLASSORIGIN="C" PROPAGATED="true"><PARAMETER.ARRAY NAME="p" TYPE="string"><QUALIFIER NAME="EmbeddedInstance" TYPE="string"><VALUE>E</VALUE></QUALIFIER></PARAMETER.ARRAY></METHOD></CLASS>"#,
    ];
    assert_eq!(
        String::from_utf8(encode_class(&class, EmbeddedArrays::Told)).unwrap(),
        expected.concat()
    );
    // What a parameter embeds stands in its qualifiers, and is found there again.
    let text = embedded::encode_class(&class);
    let decoded = embedded::decode_object(&text, &Limits::default());
    assert_eq!(decoded, Ok(Scalar::EmbeddedClass(Box::new(class))));
}

#[test]
fn what_arrays_embed_is_not_told_to_wbemcli() {
    let property = |array| PropertyDeclaration {
        name: name("p"),
        ty: DataType {
            array,
            embedded: Some(Embedded::Object),
            ..DataType::scalar(CimType::String)
        },
        default: None,
        qualifiers: Vec::new(),
        class_origin: None,
        propagated: false,
    };
    let encoded = |array, arrays| {
        let class = Class {
            name: name("C"),
            superclass: None,
            qualifiers: Vec::new(),
            properties: vec![property(array)],
            methods: Vec::new(),
        };
        String::from_utf8(encode_class(&class, arrays)).unwrap()
    };
    for (array, arrays, told) in [
        (ArrayKind::Array, EmbeddedArrays::Told, true),
        (ArrayKind::Array, EmbeddedArrays::Untold, false),
        (ArrayKind::Fixed(2), EmbeddedArrays::Untold, false),
        (ArrayKind::Scalar, EmbeddedArrays::Untold, true),
    ] {
        let text = encoded(array, arrays);
        assert_eq!(text.contains("EmbeddedObject=\"object\""), told, "{text}");
    }
}

#[test]
fn qualifier_declarations() {
    let declaration = QualifierDeclaration {
        name: name("Q"),
        ty: CimType::String,
        array: ArrayKind::Array,
        default: None,
        scopes: vec![Scope::Property, Scope::Indication],
        flavor: Flavor { to_subclass: false, ..Flavor::default() },
    };
    check(
        "GetQualifier",
        Ok(Reply::QualifierDeclaration(Box::new(declaration))),
        r#"<IRETURNVALUE><QUALIFIER.DECLARATION NAME="Q" TYPE="string" ISARRAY="true" TOSUBCLASS="false"><SCOPE PROPERTY="true" INDICATION="true"></SCOPE></QUALIFIER.DECLARATION></IRETURNVALUE>"#,
    );
}

fn decode(operation: &Operation, inside: &str) -> Result<Result<Reply, CimError>, DecodeError> {
    let (open, close) = FRAME;
    decode_reply(format!("{open}{inside}{close}").as_bytes(), operation, &Limits::default())
}

fn query() -> Operation {
    Operation::ExecQuery { language: "WQL".to_owned(), query: "q".to_owned() }
}

#[test]
fn queries_answered_in_any_of_three_elements() {
    let local = format!("<LOCALINSTANCEPATH>{LOCAL}{NAMED}</LOCALINSTANCEPATH>");
    let text = format!(
        r#"<IMETHODRESPONSE NAME="ExecQuery"><IRETURNVALUE>
        <VALUE.OBJECT>{INSTANCE}</VALUE.OBJECT>
        <VALUE.OBJECTWITHLOCALPATH>{local}{INSTANCE}</VALUE.OBJECTWITHLOCALPATH>
        </IRETURNVALUE></IMETHODRESPONSE>"#
    );
    let namespace = Namespace::parse("root/virt").unwrap();
    let bare = Instance::new(name("C"));
    let located = Instance { path: Some(path().in_namespace(namespace)), ..bare.clone() };
    let expected = vec![Object::Instance(bare), Object::Instance(located)];
    let expected = Reply::Objects(ListKind::ObjectsWithPath, expected);
    assert_eq!(decode(&query(), &text), Ok(Ok(expected)));
}

#[test]
fn errors_with_instances_and_unknown_codes() {
    let text = r#"<IMETHODRESPONSE NAME="execquery"><ERROR CODE="4711"><INSTANCE CLASSNAME="CIM_Error"/></ERROR></IMETHODRESPONSE>"#;
    assert_eq!(decode(&query(), text), Ok(Err(CimError::new(StatusCode::Failed, ""))));
}

#[test]
fn what_is_no_reply_to_the_operation_is_not_valid() {
    let check =
        |operation: &Operation, inside: &str, mentions: &str| match decode(operation, inside) {
            Err(error @ DecodeError::NotValid { .. }) => {
                assert!(error.to_string().contains(mentions), "{error}");
            }
            other => panic!("{other:?} for {inside}"),
        };
    let get = Operation::GetInstance { path: path(), options: Default::default() };
    check(&get, r#"<IMETHODRESPONSE NAME="GetClass"/>"#, "the reply is to `GetClass`");
    check(&get, r#"<METHODRESPONSE NAME="GetInstance"/>"#, "element `METHODRESPONSE`");
    check(&get, r#"<IMETHODRESPONSE NAME="GetInstance"/>"#, "has not what GetInstance returns");
    check(&get, "", "<IMETHODRESPONSE> is missing");
    let pull = Operation::PullInstances { context: String::new(), max_object_count: 1 };
    let endless = r#"<IMETHODRESPONSE NAME="PullInstances"><IRETURNVALUE/><PARAMVALUE NAME="EndOfSequence"><VALUE>FALSE</VALUE></PARAMVALUE></IMETHODRESPONSE>"#;
    check(&pull, endless, "has not what PullInstances returns");
    let ended = endless.replace("FALSE", " true ");
    assert!(decode(&pull, &ended).is_ok());
}

#[test]
fn a_reply_with_a_value_not_of_its_type_is_an_error() {
    let get = Operation::GetInstance { path: path(), options: Default::default() };
    let text = r#"<IMETHODRESPONSE NAME="GetInstance"><IRETURNVALUE><INSTANCE CLASSNAME="C"><PROPERTY NAME="p" TYPE="uint8"><VALUE>-1</VALUE></PROPERTY></INSTANCE></IRETURNVALUE></IMETHODRESPONSE>"#;
    match decode(&get, text) {
        Err(DecodeError::BadValue { what, .. }) => {
            assert_eq!(what, "property `p` is `-1`, not uint8");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn embedded_instances_say_what_is_wrong_with_them() {
    let error = |text: &str| {
        embedded::decode_instance(text, &Limits::default()).expect_err(text).to_string()
    };
    assert!(error("").contains("there is no element"));
    assert!(error("instance of C { };").contains("before the first element"));
    assert!(error("<CLASS NAME='C'/>").contains("not an INSTANCE"));
    assert!(error("<HTML/>").contains("the document is a `HTML`"));
    assert!(error("<INSTANCE/>").contains("no attribute CLASSNAME"));
    assert!(error("<INSTANCE CLASSNAME='C'>").contains("ends inside <INSTANCE>"));
    let text = "<INSTANCE CLASSNAME='C'><PROPERTY NAME='p' TYPE='uint8'><VALUE>x</VALUE></PROPERTY></INSTANCE>";
    assert!(error(text).contains("property `p` is `x`, not uint8"));
    assert!(error("<!DOCTYPE x><INSTANCE CLASSNAME='C'/>").contains("document types are refused"));
}

#[test]
fn exports_and_their_answers() {
    let indication = Instance::new(name("I")).with(name("p"), 1_u8);
    let text = String::from_utf8(encode_export("9", &indication)).unwrap();
    let inside = r#"<SIMPLEEXPREQ><EXPMETHODCALL NAME="ExportIndication"><EXPPARAMVALUE NAME="NewIndication"><INSTANCE CLASSNAME="I"><PROPERTY NAME="p" TYPE="uint8"><VALUE>1</VALUE></PROPERTY></INSTANCE></EXPPARAMVALUE></EXPMETHODCALL></SIMPLEEXPREQ>"#;
    let (open, close) = (FRAME.0.replace("<SIMPLERSP>", ""), FRAME.1.replace("</SIMPLERSP>", ""));
    assert_eq!(text, format!("{open}{inside}{close}"));

    let decode = |answer: &str| {
        let body = format!(
            r#"<?xml version="1.0" encoding="utf-8" ?><CIM CIMVERSION="2.0" DTDVERSION="2.4"><MESSAGE ID="9" PROTOCOLVERSION="1.4"><SIMPLEEXPRSP>{answer}</SIMPLEEXPRSP></MESSAGE></CIM>"#
        );
        decode_export_reply(body.as_bytes(), &Limits::default())
    };
    for taken in ["", "<IRETURNVALUE/>", "<IRETURNVALUE>\n</IRETURNVALUE>"] {
        let text =
            format!(r#"<EXPMETHODRESPONSE NAME="ExportIndication">{taken}</EXPMETHODRESPONSE>"#);
        assert_eq!(decode(&text), Ok(Ok(())), "{taken}");
    }
    let refused = r#"<EXPMETHODRESPONSE NAME="ExportIndication"><ERROR CODE="1" DESCRIPTION="later"/></EXPMETHODRESPONSE>"#;
    assert_eq!(decode(refused), Ok(Err(CimError::new(StatusCode::Failed, "later"))));
    assert!(matches!(decode("<IMETHODRESPONSE/>"), Err(DecodeError::NotValid { .. })));
}

#[test]
fn numbers_in_paths_state_no_width() {
    let keys = [
        (name("i"), KeyValue::Integer(-5)),
        (name("r"), KeyValue::Real(2.0)),
        (name("b"), KeyValue::Boolean(true)),
    ];
    let reply = Reply::InstanceName(InstancePath::new(name("C"), keys));
    let expected = [
        r#"<IRETURNVALUE><INSTANCENAME CLASSNAME="C">"#,
        r#"<KEYBINDING NAME="i"><KEYVALUE VALUETYPE="numeric">-5</KEYVALUE></KEYBINDING>"#,
        r#"<KEYBINDING NAME="r"><KEYVALUE VALUETYPE="numeric">2.0</KEYVALUE></KEYBINDING>"#,
        r#"<KEYBINDING NAME="b"><KEYVALUE VALUETYPE="boolean" TYPE="boolean">TRUE</KEYVALUE></KEYBINDING>"#,
        "</INSTANCENAME></IRETURNVALUE>",
    ];
    check("CreateInstance", Ok(reply), &expected.concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn everything_written_is_as_the_strictest_clients_read_it(
        request in arbitrary::request(),
        (operation, reply) in arbitrary::operation().prop_flat_map(|operation| {
            let reply = arbitrary::reply_to(&operation);
            (Just(operation), reply)
        }),
        indication in arbitrary::instance(1),
    ) {
        let envelope = match operation {
            Operation::InvokeMethod { .. } => Envelope::method("1", "1.0", operation.name()),
            _ => Envelope::intrinsic("1", "1.0", operation.name()),
        };
        dtd::check(&encode_reply(&envelope, &reply, &style()));
        dtd::check(&encode_request("1", &request));
        dtd::check(&encode_export("1", &indication));
    }
}
