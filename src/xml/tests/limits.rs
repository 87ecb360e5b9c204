//! Every bound holds, at the value it says.

use super::super::{DecodeError, Limit, Limits, RequestBody, decode_request, embedded};
use crate::cim::{Operation, Scalar, Value};

fn message(parameter: &str) -> String {
    format!(
        r#"<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="7" PROTOCOLVERSION="1.0"><SIMPLEREQ><METHODCALL NAME="M"><LOCALCLASSPATH><LOCALNAMESPACEPATH><NAMESPACE NAME="n"/></LOCALNAMESPACEPATH><CLASSNAME NAME="C"/></LOCALCLASSPATH><PARAMVALUE NAME="p">{parameter}</PARAMVALUE></METHODCALL></SIMPLEREQ></MESSAGE></CIM>"#
    )
}

/// Decodes within a bound that just suffices, and fails with one less.
#[track_caller]
fn check(text: &str, limit: Limit, needed: usize) {
    let limits = |allowed| {
        let mut limits = Limits::default();
        *match limit {
            Limit::Bytes => &mut limits.bytes,
            Limit::Depth => &mut limits.depth,
            Limit::Elements => &mut limits.elements,
            Limit::Attributes => &mut limits.attributes,
            Limit::Embedded => &mut limits.embedded,
        } = allowed;
        limits
    };
    assert!(decode_request(text.as_bytes(), &limits(needed)).is_ok(), "{limit} {needed}");
    match decode_request(text.as_bytes(), &limits(needed - 1)) {
        Err(DecodeError::TooLarge { limit: passed, allowed, .. }) => {
            assert_eq!((passed, allowed), (limit, needed - 1));
        }
        other => panic!("{limit} {needed}: {other:?}"),
    }
}

/// A reference with a reference as its key, and so on.
fn nested_reference(levels: usize) -> String {
    let open = r#"<VALUE.REFERENCE><INSTANCENAME CLASSNAME="C"><KEYBINDING NAME="k">"#;
    let close = "</KEYBINDING></INSTANCENAME></VALUE.REFERENCE>";
    format!("{}<KEYVALUE/>{}", open.repeat(levels), close.repeat(levels))
}

/// An instance that embeds an instance, and so on, as the text of the outermost.
fn nested_instance(levels: usize) -> String {
    (1..levels).fold(r#"<INSTANCE CLASSNAME="C"/>"#.to_owned(), |inner, _| {
        let inner = inner.replace('&', "&amp;").replace('<', "&lt;");
        format!(
            r#"<INSTANCE CLASSNAME="C"><PROPERTY NAME="p" EmbeddedObject="instance"><VALUE>{inner}</VALUE></PROPERTY></INSTANCE>"#
        )
    })
}

/// How many embedded instances were decoded inside each other.
fn decoded_levels(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Scalar(Scalar::EmbeddedInstance(instance))) => {
            let inner = instance.properties.first().and_then(|property| property.value.as_ref());
            1 + decoded_levels(inner)
        }
        _ => 0,
    }
}

#[test]
fn each_limit_is_kept() {
    let text = message("<VALUE>x</VALUE>");
    check(&text, Limit::Bytes, text.len());
    check(&text, Limit::Elements, 10);
    check(&text, Limit::Depth, 7);
    check(&message(&nested_reference(3)), Limit::Depth, 15);
    check(&message(r#"<VALUE a="" b="" c=""/>"#), Limit::Attributes, 3);
    let flat = format!("<VALUE.ARRAY>{}</VALUE.ARRAY>", "<VALUE/>".repeat(500));
    check(&message(&flat), Limit::Elements, 510);
    // Elements that are skipped count as well.
    let skipped = r#"<CIM CIMVERSION="2.0" DTDVERSION="2.0"><MESSAGE ID="7" PROTOCOLVERSION="1.0"><MULTIREQ><A><B/></A></MULTIREQ></MESSAGE></CIM>"#;
    check(skipped, Limit::Elements, 5);
    check(skipped, Limit::Depth, 5);
}

#[test]
fn the_default_depth_fits_a_small_stack() {
    let text = message(&nested_reference(19));
    let decode = move || {
        assert!(decode_request(text.as_bytes(), &Limits::default()).is_ok());
        let deeper = message(&nested_reference(20_000));
        let refused = decode_request(deeper.as_bytes(), &Limits::default());
        assert!(matches!(refused, Err(DecodeError::TooLarge { limit: Limit::Depth, .. })));
    };
    std::thread::Builder::new().stack_size(512 << 10).spawn(decode).unwrap().join().unwrap();
}

/// An object that is embedded too deep stays the string it is.
#[test]
fn embedded_instances_are_decoded_so_deep_and_no_deeper() {
    let levels_with = |limits: &Limits, levels: usize| {
        let text = nested_instance(levels).replace('&', "&amp;").replace('<', "&lt;");
        let text = message(&format!("<VALUE>{text}</VALUE>")).replace(
            r#"<PARAMVALUE NAME="p">"#,
            r#"<PARAMVALUE NAME="p" EmbeddedObject="instance">"#,
        );
        let message = decode_request(text.as_bytes(), limits).unwrap();
        let RequestBody::Simple(call) = message.body else { panic!("one request") };
        let Ok(Operation::InvokeMethod { parameters, .. }) = call.request.map(|it| it.operation)
        else {
            panic!("a method call")
        };
        decoded_levels(parameters[0].value.as_ref())
    };
    let limits = Limits::default();
    assert_eq!(levels_with(&limits, 8), 8);
    assert_eq!(levels_with(&limits, 9), 8);
    assert_eq!(levels_with(&Limits { embedded: 2, ..limits }, 9), 2);
    assert_eq!(levels_with(&Limits { depth: 14, ..limits }, 9), 4);
}

#[test]
fn the_text_of_an_embedded_instance_has_limits_of_its_own() {
    let limits = Limits::default();
    let text = nested_instance(9);
    assert!(embedded::decode_instance(&text, &limits).is_ok());
    let short = Limits { bytes: text.len() - 1, ..limits };
    assert!(matches!(
        embedded::decode_instance(&text, &short),
        Err(DecodeError::TooLarge { limit: Limit::Bytes, .. })
    ));
    let few = Limits { elements: 2, ..limits };
    assert!(matches!(
        embedded::decode_instance(&text, &few),
        Err(DecodeError::TooLarge { limit: Limit::Elements, .. })
    ));
}
