//! Decoding what was encoded gives back what was there.
//!
//! Compared as printed: a NaN is not equal to itself, but prints like itself.

use proptest::prelude::*;

use super::{
    super::{
        ClassesEncoder, EmbeddedArrays, Envelope, FalseBoolean, Limits, ListEncoder, RequestBody,
        Style, decode_reply, decode_request, embedded, encode_class, encode_reply, encode_request,
    },
    arbitrary,
};
use crate::cim::{CimError, Namespace, Operation, Reply};

fn style() -> Style {
    Style {
        host: "unused".to_owned(),
        namespace: Namespace::parse("unused").unwrap(),
        false_booleans: FalseBoolean::Standard,
        embedded_arrays: EmbeddedArrays::Told,
    }
}

fn envelope<'m>(id: &'m str, operation: &'m Operation) -> Envelope<'m> {
    match operation {
        Operation::InvokeMethod { .. } => Envelope::method(id, "1.0", operation.name()),
        _ => Envelope::intrinsic(id, "1.0", operation.name()),
    }
}

fn decoded(bytes: &[u8], operation: &Operation) -> String {
    let shown = String::from_utf8_lossy(bytes);
    let reply = decode_reply(bytes, operation, &Limits::default());
    printed(&reply.unwrap_or_else(|error| panic!("{error} in {shown}")))
}

fn printed(reply: &Result<Reply, CimError>) -> String {
    format!("{reply:?}")
}

fn operation_and_reply() -> impl Strategy<Value = (Operation, Result<Reply, CimError>)> {
    arbitrary::operation().prop_flat_map(|operation| {
        let reply = arbitrary::reply_to(&operation);
        (Just(operation), reply)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn requests(id in arbitrary::text(), request in arbitrary::request()) {
        let bytes = encode_request(&id, &request);
        let message = decode_request(&bytes, &Limits::default());
        let message = message.unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&bytes)));
        prop_assert_eq!(&message.id, &id);
        let RequestBody::Simple(call) = message.body else { panic!("one request was written") };
        prop_assert_eq!(&call.name, request.operation.name());
        prop_assert_eq!(format!("{:?}", call.request), format!("{:?}", Ok::<_, CimError>(request)));
    }

    #[test]
    fn replies(id in arbitrary::text(), (operation, reply) in operation_and_reply()) {
        let bytes = encode_reply(&envelope(&id, &operation), &reply, &style());
        prop_assert_eq!(decoded(&bytes, &operation), printed(&reply));
    }

    #[test]
    fn embedded_instances(instance in arbitrary::instance(3)) {
        let text = embedded::encode_instance(&instance);
        let again = embedded::decode_instance(&text, &Limits::default())
            .unwrap_or_else(|error| panic!("{error} in {text}"));
        prop_assert_eq!(format!("{again:?}"), format!("{instance:?}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A list that is streamed is the same bytes as one that is sent whole.
    #[test]
    fn streamed_lists((operation, reply) in operation_and_reply()) {
        if let Ok(Reply::Objects(kind, objects)) = &reply {
            let (envelope, style) = (envelope("1", &operation), style());
            let encoder = ListEncoder::new(envelope, *kind, &style);
            let mut bytes = Vec::new();
            encoder.begin(&mut bytes);
            objects.iter().for_each(|object| encoder.object(object, &mut bytes));
            encoder.end(&mut bytes);
            prop_assert_eq!(bytes, encode_reply(&envelope, &reply, &style));
        }
    }

    /// Classes that were encoded before give the same reply.
    #[test]
    fn kept_classes(classes in proptest::collection::vec(arbitrary::class(1), 0..3)) {
        let envelope = Envelope::intrinsic("1", "1.0", "EnumerateClasses");
        let encoder = ClassesEncoder::new(envelope);
        let mut bytes = Vec::new();
        encoder.begin(&mut bytes);
        for class in &classes {
            encoder.class(&encode_class(class, EmbeddedArrays::Told), &mut bytes);
        }
        encoder.end(&mut bytes);
        prop_assert_eq!(bytes, encode_reply(&envelope, &Ok(Reply::Classes(classes)), &style()));
    }
}
