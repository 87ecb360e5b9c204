//! What the targets in `fuzz/` call: a stranger's bytes for a parser, and a panic if it breaks its
//! promise. No part of the library.

mod server;

use std::sync::LazyLock;

pub use server::requests;

use crate::{
    cim::{CimName, CimType, Class, DateTime, Instance, ObjectPath, Scalar, Value},
    mof::{
        self, MofError, NoIncludes, Reader, Sources,
        ast::Declaration,
        compile::{self, QualifierTypes},
        print,
    },
    query::{self, Filter, Language},
    repository::Repository,
    xml::{
        Limits, RequestBody, RequestMessage, decode_export_reply, decode_request, embedded,
        encode_request,
    },
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
    // What a listener answers is a stranger's, too.
    let _ = decode_export_reply(bytes, &WIDE);
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

/// MOF text; each class of it, printed, reads back the same.
pub fn mof(text: &str) {
    static STANDARD: LazyLock<QualifierTypes> = LazyLock::new(|| {
        let text = include_str!("../../schema/qualifiers.mof");
        read_mof(text, QualifierTypes::new()).expect("the schema's own").0
    });
    let Ok((types, classes)) = read_mof(text, STANDARD.clone()) else { return };
    for class in classes {
        // Paths as text have a target of their own.
        if class.properties.iter().any(|p| p.ty.base == CimType::Reference && p.default.is_some()) {
            continue;
        }
        let printed = print::class(&class, &types);
        let (_, again) = read_mof(&printed, types.clone()).expect("what is printed is MOF");
        assert_eq!(again, [class], "{printed}");
    }
}

/// The classes of a text, and the qualifiers it declares with those known already.
fn read_mof(
    text: &str,
    mut types: QualifierTypes,
) -> Result<(QualifierTypes, Vec<Class>), MofError> {
    let mut sources = Sources::default();
    let file = sources.add("fuzz", text.to_owned())?;
    let mut classes = Vec::new();
    for declaration in Reader::default().read(&mut sources, file, &mut NoIncludes)? {
        match declaration {
            Declaration::Qualifier(declaration) => {
                let declared = compile::qualifier_type(&sources, declaration)?;
                types.insert(declared.name.clone(), declared);
            }
            Declaration::Class(declaration) => {
                classes.push(compile::class(&sources, &types, declaration)?.0);
            }
            Declaration::Instance(_) => {}
        }
    }
    Ok((types, classes))
}

/// The MOF text of an embedded instance; the instance, printed, reads back the same.
pub fn embedded_mof(text: &str) {
    if let Ok(instance) = mof::parse_instance(text) {
        let printed = print::instance(&instance);
        let again = mof::parse_instance(&printed).expect("what is printed is MOF");
        assert_eq!(again, instance, "{printed}");
    }
}

/// A query of any language; what is printed reads back the same, and what is right can be asked.
pub fn query(text: &str) {
    let (schema, limits) = (&*Repository::builtin(), &query::Limits::default());
    for language in [Language::Wql, Language::Cql] {
        let Ok(query) = query::parse(language, text, limits) else { continue };
        let printed = query.to_string();
        assert_eq!(query::parse(language, &printed, limits).as_ref(), Ok(&query), "{printed}");
        if query.check(schema).is_ok()
            && let Some(guest) = schema.complete(with_values(query.from_class()))
            && query.matches(&guest, schema) == Some(true)
        {
            query.project(guest, schema);
        }
    }
    if let Ok(filter) = Filter::parse(text, limits) {
        let printed = filter.to_string();
        assert_eq!(Filter::parse(&printed, limits).as_ref(), Ok(&filter), "{printed}");
        let class = CimName::literal("KVM_ComputerSystem");
        if filter.check(&class, schema).is_ok()
            && let Some(guest) = schema.complete(with_values(&class))
        {
            filter.matches(&guest, schema);
        }
    }
}

/// An instance of the class whose properties have values, for a comparison with NULL is soon over.
fn with_values(class: &CimName) -> Instance {
    let mut instance = Instance::new(class.clone());
    let declared = Repository::builtin().class(class).expect("the query was checked");
    for property in &declared.properties {
        let text = match property.ty.base {
            CimType::String => "a guest 'of' the _test_: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
            CimType::Char16 => "a",
            CimType::Boolean => "TRUE",
            CimType::DateTime => "20260101000000.000000+000",
            CimType::Reference => r#"KVM_ComputerSystem.Name="a""#,
            CimType::Uint8
            | CimType::Sint8
            | CimType::Uint16
            | CimType::Sint16
            | CimType::Uint32
            | CimType::Sint32
            | CimType::Uint64
            | CimType::Sint64
            | CimType::Real32
            | CimType::Real64 => "1",
        };
        let scalar = match property.ty.base {
            CimType::Reference => {
                ObjectPath::parse(text).ok().map(|it| Scalar::Reference(it.into()))
            }
            base => Scalar::parse(base, text),
        };
        let scalar = scalar.expect("a value of that type");
        instance.set(
            property.name.clone(),
            match property.ty.is_array() {
                true => Value::Array(vec![Some(scalar.clone()), None, Some(scalar)]),
                false => Value::Scalar(scalar),
            },
        );
    }
    instance
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

    /// Calls a target with each of its seeds, and with each seed short of every `step`th byte.
    #[track_caller]
    fn check(target: &str, step: usize, call: impl Fn(&[u8])) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let seed = fs::read(entry.unwrap().path()).unwrap();
            call(&seed);
            for at in (0..seed.len()).step_by(step) {
                call(&[&seed[..at], &seed[at + 1..]].concat());
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{target} has no seeds");
    }

    #[track_caller]
    fn check_text(target: &str, call: impl Fn(&str)) {
        check(target, 1, |bytes| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                call(text);
            }
        });
    }

    #[test]
    fn the_seeds_pass() {
        check("cim_xml_request", 1, super::cim_xml_request);
        check_text("embedded_instance", super::embedded_instance);
        check_text("object_path", super::object_path);
        check_text("datetime", super::datetime);
        check("requests", 64, super::requests);
        check_text("query", super::query);
        check_text("mof", super::mof);
        check_text("embedded_mof", super::embedded_mof);
    }
}
