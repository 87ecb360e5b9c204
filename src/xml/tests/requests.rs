//! Requests as clients in the field write them, and what is wrong with others.

use super::super::{
    Call, DecodeError, Limits, RequestBody, RequestMessage, Target, decode_request,
};
use crate::cim::{
    CimError, CimName, CimType, DataType, Embedded, Instance, InstancePath, ObjectPath, Operation,
    ParamValue, Request, Scalar, StatusCode, Value,
};

pub(super) const NAMESPACE: &str =
    r#"<LOCALNAMESPACEPATH><NAMESPACE NAME="root"/><NAMESPACE NAME="virt"/></LOCALNAMESPACEPATH>"#;

fn message(call: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="7" PROTOCOLVERSION="1.0"><SIMPLEREQ>{call}</SIMPLEREQ></MESSAGE></CIM>"#
    )
}

pub(super) fn intrinsic(name: &str, parameters: &str) -> String {
    message(&format!(r#"<IMETHODCALL NAME="{name}">{NAMESPACE}{parameters}</IMETHODCALL>"#))
}

fn method(parameters: &str) -> String {
    let path = format!(r#"<LOCALCLASSPATH>{NAMESPACE}<CLASSNAME NAME="C"/></LOCALCLASSPATH>"#);
    message(&format!(r#"<METHODCALL NAME="Do">{path}{parameters}</METHODCALL>"#))
}

fn decode(text: &str) -> Result<RequestMessage, DecodeError> {
    decode_request(text.as_bytes(), &Limits::default())
}

#[track_caller]
fn call(text: &str) -> Call {
    match decode(text).unwrap_or_else(|error| panic!("{error} in {text}")).body {
        RequestBody::Simple(call) => *call,
        RequestBody::Multiple => panic!("one request in {text}"),
    }
}

#[track_caller]
pub(super) fn operation(text: &str) -> Operation {
    call(text).request.unwrap_or_else(|error| panic!("{error} in {text}")).operation
}

#[track_caller]
fn refused(text: &str) -> CimError {
    call(text).request.expect_err(text)
}

#[track_caller]
pub(super) fn check_refused(text: &str, status: StatusCode, mentions: &str) {
    let error = refused(text);
    assert_eq!(error.status, status, "{error}");
    assert!(error.description.contains(mentions), "{error}");
}

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

/// The parameters of a method call.
#[track_caller]
fn parameters(text: &str) -> Vec<ParamValue> {
    match operation(&method(text)) {
        Operation::InvokeMethod { parameters, .. } => parameters,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn parameter(text: &str) -> (Option<DataType>, Option<Value>) {
    let ParamValue { ty, value, .. } = parameters(text).remove(0);
    (ty, value)
}

#[test]
fn requests_laid_out_by_hand() {
    // As cimtest's indication tester writes them: blanks before the declaration, values on lines
    // of their own, a semicolon after the document.
    let text = r#"
    <?xml version="1.0" encoding="utf-8"?>
    <CIM CIMVERSION="2.0" DTDVERSION="2.0">
      <MESSAGE ID="4711" PROTOCOLVERSION="1.0">
        <SIMPLEREQ>
          <IMETHODCALL NAME="DeleteInstance">
            <LOCALNAMESPACEPATH>
              <NAMESPACE NAME="root"/>
              <NAMESPACE NAME="PG_InterOp"/>
            </LOCALNAMESPACEPATH>
            <IPARAMVALUE NAME="InstanceName">
              <INSTANCENAME
                  CLASSNAME="CIM_IndicationSubscription">
                <KEYBINDING NAME="Filter">
                  <VALUE.REFERENCE>
                    <INSTANCENAME CLASSNAME="CIM_IndicationFilter">
                      <KEYBINDING NAME="Name">
                        <KEYVALUE>
                          a filter
                        </KEYVALUE>
                      </KEYBINDING>
                    </INSTANCENAME>
                  </VALUE.REFERENCE>
                </KEYBINDING>
              </INSTANCENAME>
            </IPARAMVALUE>
          </IMETHODCALL>
        </SIMPLEREQ>
      </MESSAGE>
    </CIM>;
    "#;
    let filter = InstancePath::new(name("CIM_IndicationFilter"), [(name("Name"), "a filter")]);
    let subscription = name("CIM_IndicationSubscription");
    let path = InstancePath::new(subscription, [(name("Filter"), filter)]);
    assert_eq!(operation(text), Operation::DeleteInstance { path });
    assert!(decode(text.trim()).is_ok(), "without the blanks");
    assert!(decode(&format!("\u{feff}{}\0\0", text.trim())).is_ok(), "a byte order mark, NULs");
}

#[test]
fn blanks_in_values_are_kept_unless_they_are_padding() {
    let value = |content: &str| {
        let text = format!(
            r#"<PARAMVALUE NAME="p" PARAMTYPE="string"><VALUE>{content}</VALUE></PARAMVALUE>"#
        );
        parameter(&text).1.and_then(|value| value.as_str().map(str::to_owned)).unwrap()
    };
    assert_eq!(value("\n   a b\r\n  "), "a b");
    assert_eq!(value("  a  "), "  a  ");
    assert_eq!(value("a\n"), "a\n");
    assert_eq!(value("\na"), "\na");
    assert_eq!(value(" \n "), " \n ");
    assert_eq!(value("&#10;a\n"), "\na\n");
    assert_eq!(value("\na&#10;"), "\na\n");
    assert_eq!(value("<![CDATA[\na\n]]>"), "\na\n");
    assert_eq!(value("\n<![CDATA[a]]>\n"), "a");
    assert_eq!(value("a\r\nb\rc&#13;"), "a\nb\nc\r");
    assert_eq!(value("&lt;<![CDATA[<&]]>&#x41;<!-- none -->&quot;&apos;&amp;&gt;"), "<<&A\"'&>");
    assert_eq!(value(""), "");
}

#[test]
fn parameters_with_and_without_types() {
    let untyped = |text: &str| Value::Scalar(Scalar::Untyped(text.to_owned()));
    let string = DataType::scalar(CimType::String);
    let check = |text: &str, ty: Option<DataType>, value: Option<Value>| {
        assert_eq!(parameter(text), (ty, value), "{text}");
    };
    check(r#"<PARAMVALUE NAME="p"/>"#, None, None);
    check(r#"<PARAMVALUE NAME="p"><VALUE>5</VALUE></PARAMVALUE>"#, None, Some(untyped("5")));
    check(r#"<PARAMVALUE NAME="p"><VALUE.ARRAY/></PARAMVALUE>"#, None, Some(Value::Array(vec![])));
    check(
        r#"<PARAMVALUE NAME="p" TYPE="uint16"><VALUE> 5 </VALUE></PARAMVALUE>"#,
        Some(DataType::scalar(CimType::Uint16)),
        Some(5_u16.into()),
    );
    check(
        r#"<PARAMVALUE NAME="p" PARAMTYPE="string"><VALUE.ARRAY><VALUE>a</VALUE><VALUE.NULL/></VALUE.ARRAY></PARAMVALUE>"#,
        Some(DataType::array(CimType::String)),
        Some(Value::Array(vec![Some("a".into()), None])),
    );
    check(
        r#"<PARAMVALUE NAME="p" PARAMTYPE="reference"><CLASSNAME NAME="C"/></PARAMVALUE>"#,
        Some(DataType::scalar(CimType::Reference)),
        Some(ObjectPath::Class(crate::cim::ClassPath::local(name("C"))).into()),
    );
    let embedded = DataType { embedded: Some(Embedded::Instance), ..string };
    let instance = Value::from(Instance::new(name("C")));
    for text in [
        r#"<PARAMVALUE NAME="p" PARAMTYPE="string" EmbeddedObject="instance"><VALUE>&lt;INSTANCE CLASSNAME="C"/></VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="p" EMBEDDEDOBJECT="instance"><VALUE>&lt;?xml version="1.0"?>&lt;instance CLASSNAME="C">&lt;/instance></VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="p" PARAMTYPE="instance"><VALUE><![CDATA[<INSTANCE CLASSNAME="C"/>]]></VALUE></PARAMVALUE>"#,
        r#"<PARAMVALUE NAME="p"><INSTANCE CLASSNAME="C"/></PARAMVALUE>"#,
    ] {
        check(text, Some(embedded.clone()), Some(instance.clone()));
    }
    // MOF, or nonsense: for whoever knows the declared type.
    check(
        r#"<PARAMVALUE NAME="p" EmbeddedObject="instance"><VALUE>instance of C { };</VALUE></PARAMVALUE>"#,
        Some(embedded),
        Some("instance of C { };".into()),
    );
}

#[test]
fn a_property_of_a_class_may_say_by_qualifier_what_it_embeds() {
    let qualifier =
        r#"<QUALIFIER NAME="EmbeddedInstance" TYPE="string"><VALUE>E</VALUE></QUALIFIER>"#;
    let property = |ty: &str, value: &str| {
        let class = format!(
            r#"<CLASS NAME="C"><PROPERTY NAME="p" TYPE="{ty}">{qualifier}{value}</PROPERTY></CLASS>"#
        );
        let text = format!(r#"<IPARAMVALUE NAME="NewClass">{class}</IPARAMVALUE>"#);
        match operation(&intrinsic("CreateClass", &text)) {
            Operation::CreateClass { mut class } => class.properties.remove(0),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(property("string", "").ty.embedded, Some(Embedded::Instance));
    assert_eq!(property("uint8", "").ty.embedded, None);
    let set = property("string", "<VALUE>&lt;INSTANCE CLASSNAME='E'/></VALUE>");
    assert_eq!(set.default, Some(Instance::new(name("E")).into()));
}

#[test]
fn names_of_operations_keep_their_spelling_and_parameters_any_case() {
    let call = call(&intrinsic(
        "getINSTANCE",
        r#"<IPARAMVALUE NAME="INSTANCEname"><INSTANCENAME CLASSNAME="C"/></IPARAMVALUE>
           <IPARAMVALUE NAME="localONLY"><VALUE> true </VALUE></IPARAMVALUE>
           <IPARAMVALUE NAME="PropertyList"><VALUE.ARRAY><VALUE>A</VALUE><VALUE>not a name</VALUE></VALUE.ARRAY></IPARAMVALUE>"#,
    ));
    assert_eq!(call.name, "getINSTANCE");
    match call.request.unwrap().operation {
        Operation::GetInstance { path, options } => {
            assert_eq!(path.class, name("C"));
            assert_eq!(options.properties, Some(vec![name("A")]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn absent_and_null_parameters_have_their_defaults() {
    let class = r#"<IPARAMVALUE NAME="ClassName"><CLASSNAME NAME="C"/></IPARAMVALUE><IPARAMVALUE NAME="PropertyList"/>"#;
    match operation(&intrinsic("EnumerateInstances", class)) {
        Operation::EnumerateInstances { deep_inheritance, options, .. } => {
            assert!(deep_inheritance && !options.include_class_origin);
            assert_eq!(options.properties, None);
        }
        other => panic!("{other:?}"),
    }
    match operation(&intrinsic("GetClass", class)) {
        Operation::GetClass { options, .. } => {
            assert!(options.local_only && options.include_qualifiers);
            assert!(!options.include_class_origin);
        }
        other => panic!("{other:?}"),
    }
    match operation(&intrinsic("EnumerateClassNames", "")) {
        Operation::EnumerateClassNames { class, deep_inheritance } => {
            assert_eq!((class, deep_inheritance), (None, false));
        }
        other => panic!("{other:?}"),
    }
    let empty = r#"<IPARAMVALUE NAME="ObjectName"><CLASSNAME NAME="C"/></IPARAMVALUE><IPARAMVALUE NAME="Role"><VALUE/></IPARAMVALUE>"#;
    match operation(&intrinsic("ReferenceNames", empty)) {
        Operation::ReferenceNames { filter, .. } => assert_eq!(filter.role, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_namespace_may_stand_in_one_element() {
    let text = message(
        r#"<IMETHODCALL NAME="EnumerateQualifiers"><LOCALNAMESPACEPATH><NAMESPACE NAME="/root/virt"/></LOCALNAMESPACEPATH></IMETHODCALL>"#,
    );
    let call = call(&text);
    let expected = crate::cim::Namespace::parse("root/virt").unwrap();
    assert_eq!(call.target, Target::Namespace(expected.clone()));
    let operation = Operation::EnumerateQualifiers;
    assert_eq!(call.request, Ok(Request { namespace: expected, operation }));
}

#[test]
fn a_method_says_what_it_is_called_on() {
    let call = call(&method(""));
    let target = ObjectPath::parse("root/virt:C").unwrap();
    assert_eq!(call.target, Target::Object(target));
    let Request { namespace, operation } = call.request.unwrap();
    assert_eq!(namespace.as_str(), "root/virt");
    match operation {
        Operation::InvokeMethod { object, .. } => assert_eq!(object.namespace(), None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_one_operation_can_answer_is_its_error() {
    use StatusCode::{InvalidParameter, NotSupported};
    let unknown = intrinsic("Frob", "<SOMETHING><ELSE/></SOMETHING>");
    check_refused(&unknown, NotSupported, "Frob");
    assert_eq!(call(&unknown).name, "Frob");
    let get = |parameters: &str| intrinsic("GetInstance", parameters);
    check_refused(&get(""), InvalidParameter, "`InstanceName` is missing");
    // A misspelled name, not the one that is missing because of it.
    check_refused(
        &get(r#"<IPARAMVALUE NAME="Instance"/>"#),
        InvalidParameter,
        "parameter `Instance`:",
    );
    let qualifiers = intrinsic("EnumerateQualifiers", r#"<IPARAMVALUE NAME="ClassName"/>"#);
    check_refused(&qualifiers, InvalidParameter, "`ClassName`: it has none");
    check_refused(
        &get(r#"<IPARAMVALUE NAME="InstanceName"><CLASSNAME NAME="C"/></IPARAMVALUE>"#),
        InvalidParameter,
        "`InstanceName` must hold an INSTANCENAME",
    );
    check_refused(
        &get(
            r#"<IPARAMVALUE NAME="InstanceName"><VALUE.REFERENCE><INSTANCENAME CLASSNAME="C"/></VALUE.REFERENCE></IPARAMVALUE>"#,
        ),
        InvalidParameter,
        "`InstanceName` must hold an INSTANCENAME",
    );
    let with = |more: &str| {
        get(&format!(
            r#"<IPARAMVALUE NAME="InstanceName"><INSTANCENAME CLASSNAME="C"/></IPARAMVALUE>{more}"#
        ))
    };
    check_refused(
        &with(r#"<IPARAMVALUE NAME="X"/>"#),
        InvalidParameter,
        "GetInstance has no parameter `X`: it has InstanceName, ",
    );
    check_refused(&with(r#"<IPARAMVALUE NAME="INSTANCENAME"/>"#), InvalidParameter, "given twice");
    check_refused(
        &with(r#"<IPARAMVALUE NAME="LocalOnly"><VALUE>maybe</VALUE></IPARAMVALUE>"#),
        InvalidParameter,
        "`LocalOnly` is `maybe`, not TRUE or FALSE",
    );
    check_refused(
        &get(r#"<IPARAMVALUE NAME="InstanceName"><INSTANCENAME CLASSNAME="a b"/></IPARAMVALUE>"#),
        InvalidParameter,
        "`a b` is not a CIM name",
    );
    let pull = r#"<IPARAMVALUE NAME="EnumerationContext"><VALUE>c</VALUE></IPARAMVALUE><IPARAMVALUE NAME="MaxObjectCount"><VALUE>-1</VALUE></IPARAMVALUE>"#;
    check_refused(&intrinsic("PullInstances", pull), InvalidParameter, "`MaxObjectCount` is `-1`");
}

#[test]
fn values_that_are_not_of_their_type_are_named() {
    let check = |text: &str, mentions: &str| {
        check_refused(&method(text), StatusCode::InvalidParameter, mentions);
    };
    check(
        r#"<PARAMVALUE NAME="Count" PARAMTYPE="uint8"><VALUE>256</VALUE></PARAMVALUE>"#,
        "parameter `Count` is `256`, not uint8",
    );
    check(
        r#"<PARAMVALUE NAME="At" PARAMTYPE="datetime"><VALUE.ARRAY><VALUE>now</VALUE></VALUE.ARRAY></PARAMVALUE>"#,
        "parameter `At` is `now`, not datetime",
    );
    check(
        r#"<PARAMVALUE NAME="R" PARAMTYPE="reference"><VALUE>x</VALUE></PARAMVALUE>"#,
        "parameter `R` is `x`, not reference",
    );
    check(
        r#"<PARAMVALUE NAME="I"><INSTANCE CLASSNAME="C"><PROPERTY NAME="P" TYPE="boolean"><VALUE/></PROPERTY></INSTANCE></PARAMVALUE>"#,
        "property `P` is ``, not boolean",
    );
    check(r#"<PARAMVALUE NAME="a"/><PARAMVALUE NAME="A"/>"#, "`A` is given twice");
    let twice = r#"<INSTANCE CLASSNAME="C"><PROPERTY NAME="p"/><PROPERTY NAME="q"/><PROPERTY NAME="P"/></INSTANCE>"#;
    check(&format!(r#"<PARAMVALUE NAME="I">{twice}</PARAMVALUE>"#), "property `P` is given twice");
    let keys = r#"<INSTANCENAME CLASSNAME="C"><KEYBINDING NAME="k"><KEYVALUE TYPE="uint8">x</KEYVALUE></KEYBINDING></INSTANCENAME>"#;
    check(&format!(r#"<PARAMVALUE NAME="I">{keys}</PARAMVALUE>"#), "key `k` is `x`, not uint8");
    let long = "x".repeat(500);
    let error = refused(&method(&format!(
        r#"<PARAMVALUE NAME="p" PARAMTYPE="uint8"><VALUE>{long}</VALUE></PARAMVALUE>"#
    )));
    assert!(error.description.len() < 200, "{error}");
}

#[test]
fn several_requests_at_once_are_known_as_such() {
    let text = r#"<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="7" PROTOCOLVERSION="1.0"><MULTIREQ><SIMPLEREQ/></MULTIREQ></MESSAGE></CIM>"#;
    assert_eq!(decode(text).unwrap().body, RequestBody::Multiple);
}

#[test]
fn versions_are_told_apart() {
    let with = |cim: &str, dtd: &str, protocol: &str| {
        decode(&format!(
            r#"<CIM CIMVERSION="{cim}" DTDVERSION="{dtd}"><MESSAGE ID="" PROTOCOLVERSION="{protocol}"><MULTIREQ/></MESSAGE></CIM>"#
        ))
    };
    let message = with("2.3", "2.4", "1.4").unwrap();
    assert_eq!((&*message.cim_version, &*message.dtd_version), ("2.3", "2.4"));
    assert_eq!((&*message.id, &*message.protocol_version), ("", "1.4"));
    let version = |text: &str| text.to_owned();
    assert_eq!(with("3.0", "1.0", "2.0"), Err(DecodeError::UnsupportedCimVersion(version("3.0"))));
    assert_eq!(with("2.0", "1.0", "2.0"), Err(DecodeError::UnsupportedDtdVersion(version("1.0"))));
    assert_eq!(
        with("2.0", "2.0", "2.0"),
        Err(DecodeError::UnsupportedProtocolVersion(version("2.0")))
    );
    with("2.3.1", "2.4.0", "1.12").unwrap();
    for odd in ["2.", "2", "2.x", "2.0:1", "2.1.", "2.-1", "20.0", ""] {
        assert_eq!(with("2.0", odd, "1.0"), Err(DecodeError::UnsupportedDtdVersion(version(odd))));
    }
}

#[track_caller]
fn check_not_valid(text: &str, mentions: &str) {
    match decode(text) {
        Err(DecodeError::NotValid { what, .. }) => assert!(what.contains(mentions), "{what}"),
        other => panic!("{other:?} for {text}"),
    }
}

#[test]
fn what_the_dtd_does_not_have_is_not_valid() {
    check_not_valid("<HTML/>", "the document is a `HTML`");
    check_not_valid(r#"<CIM CIMVERSION="2.0"/>"#, "<CIM> has no attribute DTDVERSION");
    check_not_valid(r#"<CIM CIMVERSION="2.0" DTDVERSION="2.0"/>"#, "<MESSAGE> is missing");
    check_not_valid(&message(""), "<IMETHODCALL> is missing");
    check_not_valid(&message("<FROB/>"), "element `FROB` inside <SIMPLEREQ>");
    check_not_valid(&message("text"), "text inside <SIMPLEREQ>");
    check_not_valid(&message("<![CDATA[ ]]>"), "text inside <SIMPLEREQ>");
    check_not_valid(
        &message(r#"<IMETHODCALL NAME="GetClass"/>"#),
        "<LOCALNAMESPACEPATH> is missing",
    );
    let none = r#"<IMETHODCALL NAME="GetClass"><LOCALNAMESPACEPATH/></IMETHODCALL>"#;
    check_not_valid(&message(none), "<NAMESPACE> is missing");
    check_not_valid(
        &method("<IPARAMVALUE NAME=\"p\"/>"),
        "element `IPARAMVALUE` inside <METHODCALL>",
    );
    check_not_valid(&method("<PARAMVALUE/>"), "<PARAMVALUE> has no attribute NAME");
    let two = r#"<PARAMVALUE NAME="p"><VALUE/><VALUE/></PARAMVALUE>"#;
    check_not_valid(&method(two), "element `VALUE` inside <PARAMVALUE>");
    let nested = r#"<PARAMVALUE NAME="p"><VALUE>a<B/></VALUE></PARAMVALUE>"#;
    check_not_valid(&method(nested), "element `B` inside <VALUE>");
    check_not_valid(&method(r#"<PARAMVALUE NAME="p" PARAMTYPE="int"/>"#), "PARAMTYPE `int`");
    check_not_valid(
        &method(r#"<PARAMVALUE NAME="p" EmbeddedObject="x"/>"#),
        "EmbeddedObject `x` is not known",
    );
    let reference = r#"<INSTANCE CLASSNAME="C"><PROPERTY NAME="r" TYPE="reference"/></INSTANCE>"#;
    check_not_valid(
        &method(&format!(r#"<PARAMVALUE NAME="p">{reference}</PARAMVALUE>"#)),
        "a reference is a PROPERTY.REFERENCE",
    );
    let both = format!("{0}{0}", intrinsic("EnumerateQualifiers", ""));
    assert!(matches!(decode(&both), Err(DecodeError::NotWellFormed { .. })));
}

#[test]
fn unknown_attributes_are_ignored() {
    let text = method(r#"<PARAMVALUE NAME="p" xml:lang="en" Frob="1"/>"#);
    assert!(call(&text).request.is_ok());
}

#[track_caller]
fn check_not_well_formed(text: &[u8], offset: usize, mentions: &str) {
    match decode_request(text, &Limits::default()) {
        Err(DecodeError::NotWellFormed { at, what }) => {
            assert!(what.contains(mentions), "{what}");
            assert_eq!(at.offset, offset, "{what}");
        }
        other => panic!("{other:?} for {}", String::from_utf8_lossy(text)),
    }
}

#[test]
fn what_is_no_xml_is_not_well_formed() {
    check_not_well_formed(b"", 0, "there is no element");
    check_not_well_formed(b"hello", 0, "before the first element");
    check_not_well_formed(b"<CIM", 0, "not closed");
    check_not_well_formed(b"<CIM CIMVERSION='2.0' DTDVERSION='2.0'>", 39, "ends inside <CIM>");
    check_not_well_formed(b"<CIM A='1' A='2'/>", 0, "duplicated attribute");
    check_not_well_formed(b"<CIM A=1/>", 0, "enclosed");
    check_not_well_formed(b"<CIM A='<'/>", 0, "`<` in an attribute");
    check_not_well_formed(b"<CIM A='&frob;'/>", 0, "frob");
    check_not_well_formed(b"<CIM A='&#1;'/>", 0, "character");
    check_not_well_formed(b"<CIM A='\x01'/>", 8, "character");
    check_not_well_formed(b"<CIM A='\xff'/>", 8, "not UTF-8");
    check_not_well_formed(b"\n\n<?xml encoding='utf-8'?><CIM/>", 2, "version");
    check_not_well_formed(b"<?xml version='1.0' encoding='utf-16'?><CIM/>", 0, "only UTF-8");
    check_not_well_formed(b"<?xml version='1.0'?><?xml version='1.0'?><CIM/>", 21, "before");
    let open = "<CIM CIMVERSION='2.0' DTDVERSION='2.0'>";
    check_not_well_formed(format!("{open}</MIC>").as_bytes(), open.len(), "expected `</CIM>`");
    // wbemcli puts what the user typed into the message as it is.
    let pasted = method(r#"<PARAMVALUE NAME="p"><VALUE>a&b<c</VALUE></PARAMVALUE>"#);
    let at = pasted.find("&b").unwrap();
    check_not_well_formed(pasted.as_bytes(), at, "reference");
    let character = method("<PARAMVALUE NAME=\"p\"><VALUE>a\u{b}</VALUE></PARAMVALUE>");
    check_not_well_formed(character.as_bytes(), character.find('\u{b}').unwrap(), "character");
    let nonchar = method("<PARAMVALUE NAME=\"p\"><VALUE>\u{fffd}\u{ffff}</VALUE></PARAMVALUE>");
    check_not_well_formed(nonchar.as_bytes(), nonchar.find('\u{ffff}').unwrap(), "character");
}

#[test]
fn errors_count_lines() {
    match decode("<CIM CIMVERSION='2.0'\n DTDVERSION='2.0'>\n<X/></CIM>") {
        Err(error @ DecodeError::NotValid { at, .. }) => {
            assert_eq!((at.offset, at.line), (41, 3));
            let text = "not valid CIM-XML at byte 41 (line 3): element `X` inside <CIM>";
            assert_eq!(error.to_string(), text);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn document_types_and_entities_are_refused() {
    for text in [
        "<!DOCTYPE CIM><CIM/>",
        "<!DOCTYPE CIM SYSTEM 'file:///etc/passwd'><CIM/>",
        "<!DOCTYPE c [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><CIM CIMVERSION='&b;'/>",
        "<CIM CIMVERSION='2.0' DTDVERSION='2.0'><!DOCTYPE x></CIM>",
    ] {
        match decode(text) {
            Err(DecodeError::NotWellFormed { what, .. }) => {
                assert_eq!(what, "document types are refused", "{text}");
            }
            other => panic!("{other:?} for {text}"),
        }
    }
    for reference in ["&frob;", "&#0;", "&#xFFFF;", "&#55296;", "&#x110000;", "&#;", "&;"] {
        let in_value =
            method(&format!(r#"<PARAMVALUE NAME="p"><VALUE>{reference}</VALUE></PARAMVALUE>"#));
        let between = method(reference);
        let in_skipped = intrinsic("Frob", &format!("<X>{reference}</X>"));
        for text in [in_value, between, in_skipped] {
            let error = decode(&text).expect_err(&text);
            assert!(matches!(error, DecodeError::NotWellFormed { .. }), "{error} for {text}");
        }
    }
}

#[test]
fn a_message_cut_off_anywhere_is_an_error() {
    let text = message(&format!(
        r#"<METHODCALL NAME="Do"><LOCALCLASSPATH>{NAMESPACE}<CLASSNAME NAME="C"/></LOCALCLASSPATH><!-- é --><PARAMVALUE NAME="p" EmbeddedObject="instance"><VALUE>&lt;INSTANCE CLASSNAME="C"><![CDATA[</INSTANCE>]]></VALUE></PARAMVALUE></METHODCALL>"#
    ));
    assert!(decode(&text).is_ok());
    for end in 0..text.len() {
        let cut = &text.as_bytes()[..end];
        match decode_request(cut, &Limits::default()) {
            Err(DecodeError::NotWellFormed { at, .. }) => assert!(at.offset <= end),
            other => panic!("{other:?} after {end} bytes"),
        }
    }
}
