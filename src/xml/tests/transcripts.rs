//! What pywbem asked of libvirt-cim on a real host, and what that answered. `index.tsv` says what
//! pywbem understood: a second opinion on each reply.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::super::{
    Call, EmbeddedArrays, Envelope, FalseBoolean, Limits, RequestBody, Style, decode_reply,
    decode_request, encode_reply, encode_request,
};
use crate::cim::{CimError, Operation, Reply, Request};

struct Exchange {
    number: String,
    request: Vec<u8>,
    reply: Vec<u8>,
    /// The second and third column of the index.
    outcome: String,
    detail: String,
}

fn exchanges() -> Vec<Exchange> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts");
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some((number, _)) = name.split_once('-') {
            files.entry(number.to_owned()).or_default().push(path);
        }
    }
    let index = fs::read_to_string(folder.join("index.tsv")).unwrap();
    let rows = index.lines().map(|line| {
        let column = |n| line.split('\t').nth(n).unwrap_or_default().to_owned();
        let file = |kind: &str| {
            let path = files[&column(0)].iter().find(|path| path.to_str().unwrap().contains(kind));
            fs::read(path.unwrap()).unwrap()
        };
        Exchange {
            number: column(0),
            request: file("-request.xml"),
            reply: file("-reply.xml"),
            outcome: column(2),
            detail: column(3),
        }
    });
    rows.collect()
}

fn call(number: &str, bytes: &[u8]) -> Call {
    let message = decode_request(bytes, &Limits::default())
        .unwrap_or_else(|error| panic!("{number}: {error}"));
    assert_eq!((&*message.id, &*message.protocol_version), ("1001", "1.0"), "{number}");
    match message.body {
        RequestBody::Simple(call) => *call,
        RequestBody::Multiple => panic!("{number}: one request was recorded"),
    }
}

fn request(exchange: &Exchange) -> Request {
    call(&exchange.number, &exchange.request)
        .request
        .unwrap_or_else(|error| panic!("{}: {error}", exchange.number))
}

#[test]
fn every_recorded_request_is_decoded_and_encoded_again() {
    let exchanges = exchanges();
    assert_eq!(exchanges.len(), 76);
    for exchange in exchanges {
        let request = request(&exchange);
        let again = call(&exchange.number, &encode_request("1001", &request));
        assert_eq!(again.name, request.operation.name(), "{}", exchange.number);
        assert_eq!(again.request, Ok(request), "{}", exchange.number);
    }
}

#[test]
fn every_recorded_reply_means_what_another_client_read_in_it() {
    for exchange in exchanges() {
        let number = &exchange.number;
        let operation = request(&exchange).operation;
        let reply = decode_reply(&exchange.reply, &operation, &Limits::for_replies());
        let reply = reply.unwrap_or_else(|error| panic!("{number}: {error}"));
        let (outcome, detail) = (exchange.outcome.as_str(), exchange.detail.as_str());
        match (reply, outcome.strip_prefix("ERR ")) {
            (Err(error), Some(status)) => {
                let expected = format!("{} {}", error.status.code(), error.status.name());
                assert_eq!(status, expected, "{number}");
                assert_eq!(detail, error.description, "{number}");
            }
            (Ok(Reply::Objects(_, objects)), None) => {
                assert!(detail.starts_with(&format!("{} items", objects.len())), "{number}");
            }
            (Ok(Reply::ClassNames(names)), None) => {
                assert!(detail.starts_with(&format!("{} items", names.len())), "{number}");
            }
            (Ok(Reply::Method { return_value, out, .. }), None) => {
                assert_eq!(return_value, Some(0_u32.into()), "{number}");
                let migratable = out.first().and_then(|out| out.value.as_ref()?.as_bool());
                assert_eq!(migratable, Some(!detail.contains("FALSE")), "{number}");
            }
            (Ok(Reply::Instance(_)), None) => assert_eq!(detail, "CIMInstance", "{number}"),
            (Ok(Reply::QualifierDeclaration(_)), None) => {
                assert_eq!(detail, "CIMQualifierDeclaration", "{number}");
            }
            (reply, _) => panic!("{number}: {outcome}, but {reply:?}"),
        }
    }
}

#[test]
fn every_recorded_reply_is_encoded_so_that_it_reads_the_same() {
    for exchange in exchanges() {
        let Request { namespace, operation } = request(&exchange);
        let decode = |bytes: &[u8]| -> Result<Reply, CimError> {
            decode_reply(bytes, &operation, &Limits::for_replies())
                .unwrap_or_else(|error| panic!("{}: {error}", exchange.number))
        };
        let envelope = match operation {
            Operation::InvokeMethod { .. } => Envelope::method("1001", "1.0", operation.name()),
            _ => Envelope::intrinsic("1001", "1.0", operation.name()),
        };
        let false_booleans = FalseBoolean::Standard;
        let embedded_arrays = EmbeddedArrays::Told;
        let style = Style { host: "vm".to_owned(), namespace, false_booleans, embedded_arrays };
        let reply = decode(&exchange.reply);
        let again = decode(&encode_reply(&envelope, &reply, &style));
        assert_eq!(again, reply, "{}", exchange.number);
    }
}
