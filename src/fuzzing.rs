//! What the targets in `fuzz/` call: a stranger's bytes for a parser, and a panic if it breaks its
//! promise. No part of the library.

use crate::{
    cim::{DateTime, ObjectPath},
    xml::{Limits, RequestBody, RequestMessage, decode_request, embedded, encode_request},
};

/// Bounds that an input of the fuzzer's size does not reach.
const WIDE: Limits = Limits {
    bytes: 1 << 30,
    depth: 1 << 16,
    elements: 1 << 30,
    attributes: 1 << 16,
    embedded: 1 << 16,
};

/// A request of any bytes; what it asks survives being encoded.
pub fn cim_xml_request(bytes: &[u8]) {
    let within_limits = decode_request(bytes, &Limits::default());
    let Ok(message) = decode_request(bytes, &WIDE) else {
        assert!(within_limits.is_err(), "less is allowed, but not refused");
        return;
    };
    if let RequestMessage { id, body: RequestBody::Simple(call), .. } = message
        && let Ok(request) = call.request
    {
        let encoded = encode_request(&id, &request);
        let again = decode_request(&encoded, &WIDE).expect("what is encoded is valid");
        let RequestBody::Simple(again) = again.body else { panic!("one request was encoded") };
        assert_same(&again.request.expect("what is encoded is right"), &request);
    }
}

/// The text of an embedded instance; the instance survives being encoded.
pub fn embedded_instance(text: &str) {
    if let Ok(instance) = embedded::decode_instance(text, &WIDE) {
        let encoded = embedded::encode_instance(&instance);
        let again = embedded::decode_instance(&encoded, &WIDE).expect("what is encoded is valid");
        assert_same(&again, &instance);
    }
}

/// The text of an object path, which is read back as it is written.
pub fn object_path(text: &str) {
    if let Ok(path) = ObjectPath::parse(text) {
        assert_eq!(ObjectPath::parse(&path.to_string()), Ok(path));
    }
}

/// The text of a datetime, which is written as it was read.
pub fn datetime(text: &str) {
    if let Ok(value) = DateTime::parse(text) {
        assert_eq!(value.as_str(), text);
        if !value.is_interval()
            && let Some(micros) = value.microseconds()
            && let Ok(unix_micros) = i64::try_from(micros)
            && let Some(written) = DateTime::timestamp(unix_micros, 0)
        {
            assert_eq!(written.microseconds(), Some(micros));
        }
    }
}

/// Compares as printed: a NaN is not equal to itself, but prints like itself.
fn assert_same<T: std::fmt::Debug>(again: &T, first: &T) {
    assert_eq!(format!("{again:?}"), format!("{first:?}"));
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    /// Calls a target with each of its seeds, and with each seed short of one byte.
    #[track_caller]
    fn check(target: &str, call: impl Fn(&[u8])) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let seed = fs::read(entry.unwrap().path()).unwrap();
            call(&seed);
            for at in 0..seed.len() {
                call(&[&seed[..at], &seed[at + 1..]].concat());
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{target} has no seeds");
    }

    #[track_caller]
    fn check_text(target: &str, call: impl Fn(&str)) {
        check(target, |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                call(text);
            }
        });
    }

    #[test]
    fn the_seeds_pass() {
        check("cim_xml_request", super::cim_xml_request);
        check_text("embedded_instance", super::embedded_instance);
        check_text("object_path", super::object_path);
        check_text("datetime", super::datetime);
    }
}
