//! Random texts, and what is printed and read again.

use proptest::prelude::*;

use super::*;

#[test]
fn no_beginning_of_a_text_panics() {
    let schema = concat!(
        include_str!("../../../schema/virt/KVM.mof"),
        "instance of A as $A { B = { 1, 'c', \"\\x41\", $A, 1.5e3, true, NULL }; };"
    );
    for (end, _) in schema.char_indices().step_by(7) {
        let _ = read_text(&schema[..end]);
        let _ = parse_instance(&schema[end..]);
    }
}

fn arbitrary_value(base: CimType) -> BoxedStrategy<Scalar> {
    match base {
        CimType::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        CimType::Uint8 => any::<u8>().prop_map(Scalar::Uint8).boxed(),
        CimType::Sint8 => any::<i8>().prop_map(Scalar::Sint8).boxed(),
        CimType::Uint16 => any::<u16>().prop_map(Scalar::Uint16).boxed(),
        CimType::Sint16 => any::<i16>().prop_map(Scalar::Sint16).boxed(),
        CimType::Uint32 => any::<u32>().prop_map(Scalar::Uint32).boxed(),
        CimType::Sint32 => any::<i32>().prop_map(Scalar::Sint32).boxed(),
        CimType::Uint64 => any::<u64>().prop_map(Scalar::Uint64).boxed(),
        CimType::Sint64 => any::<i64>().prop_map(Scalar::Sint64).boxed(),
        CimType::Real32 => any::<f32>().prop_map(Scalar::Real32).boxed(),
        CimType::Real64 => any::<f64>().prop_map(Scalar::Real64).boxed(),
        CimType::Char16 => any::<u16>().prop_map(Scalar::Char16).boxed(),
        CimType::String => any::<String>().prop_map(Scalar::String).boxed(),
        CimType::DateTime => (0..4_000_000_000_000_000_i64, -999..=999_i16)
            .prop_filter_map("the year is in range", |(at, zone)| DateTime::timestamp(at, zone))
            .prop_map(Scalar::DateTime)
            .boxed(),
        CimType::Reference => any::<String>()
            .prop_map(|key| {
                let path = crate::cim::InstancePath::new(name("A"), [(name("K"), key)]);
                Scalar::Reference(Box::new(path.into()))
            })
            .boxed(),
    }
}

/// A type and, perhaps, a value of it.
fn arbitrary_element() -> impl Strategy<Value = (DataType, Option<Value>)> {
    let array = prop_oneof![
        Just(ArrayKind::Scalar),
        Just(ArrayKind::Array),
        (1..9_u32).prop_map(ArrayKind::Fixed)
    ];
    (prop::sample::select(&CimType::ALL[..]), array).prop_flat_map(|(base, array)| {
        let mut ty = DataType::scalar(base);
        ty.array = array;
        ty.reference_class = (base == CimType::Reference).then(|| name("A_Other"));
        let value = if ty.is_array() {
            prop::collection::vec(prop::option::of(arbitrary_value(base)), 0..4)
                .prop_map(Value::Array)
                .boxed()
        } else {
            arbitrary_value(base).prop_map(Value::Scalar).boxed()
        };
        (Just(ty), prop::option::of(value))
    })
}

fn arbitrary_qualifiers() -> impl Strategy<Value = Vec<Qualifier>> {
    let description = (any::<String>(), any::<bool>(), any::<bool>()).prop_map(
        |(text, overridable, to_subclass)| Qualifier {
            name: name("Description"),
            ty: CimType::String,
            value: Some(Value::Scalar(Scalar::String(text))),
            flavor: Flavor { overridable, to_subclass, to_instance: false, translatable: true },
            propagated: false,
        },
    );
    prop::collection::vec(description, 0..=1)
}

fn arbitrary_class() -> impl Strategy<Value = Class> {
    let property = (arbitrary_element(), arbitrary_qualifiers());
    let parameter = (arbitrary_element(), arbitrary_qualifiers());
    let method = (arbitrary_qualifiers(), prop::collection::vec(parameter, 0..3));
    (
        arbitrary_qualifiers(),
        prop::collection::vec(property, 0..6),
        prop::collection::vec(method, 0..3),
        prop::option::of(Just(name("A_Super"))),
    )
        .prop_map(|(qualifiers, properties, methods, superclass)| Class {
            name: name("A_Class"),
            superclass,
            qualifiers,
            properties: numbered("Property", properties)
                .map(|(name, ((ty, default), qualifiers))| PropertyDeclaration {
                    name,
                    ty,
                    default,
                    qualifiers,
                    class_origin: None,
                    propagated: false,
                })
                .collect(),
            methods: numbered("Method", methods)
                .map(|(name, (qualifiers, parameters))| Method {
                    name,
                    return_type: DataType::scalar(CimType::Uint32),
                    qualifiers,
                    parameters: numbered("Parameter", parameters)
                        .map(|(name, ((ty, _), qualifiers))| Parameter { name, ty, qualifiers })
                        .collect(),
                    class_origin: None,
                    propagated: false,
                })
                .collect(),
        })
}

fn numbered<T>(word: &str, items: Vec<T>) -> impl Iterator<Item = (CimName, T)> {
    items.into_iter().enumerate().map(move |(n, item)| (name(&format!("{word}{n}")), item))
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_the_same(class in arbitrary_class()) {
        let types = read_text("").unwrap_or_else(|error| panic!("{error}")).types;
        let text = print::class(&class, &types);
        let read = read_text(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&read.classes[..], &[class][..], "{}", text);
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = read_text(&text);
        let _ = parse_instance(&text);
    }

    #[test]
    fn no_character_panics_in_the_place_of_a_name(c in any::<char>()) {
        for text in [format!("instance of {c} {{}};"), format!("instance of A {{ {c} = 1; }};")] {
            let read = parse_instance(&text);
            prop_assert_eq!(read.is_ok(), CimName::parse(&c.to_string()).is_ok(), "{}", text);
        }
    }

    #[test]
    fn no_sequence_of_tokens_panics(words in prop::collection::vec(prop::sample::select(&[
        "class", "A", "{", "}", "[", "]", "(", ")", ";", ":", "=", ",", "instance", "of", "as", "$A",
        "uint8", "string", "REF", "1", "-2.5", "\"x\"", "'c'", "NULL", "true", "Key", "Qualifier",
        "Scope", "any", "Flavor", "ToSubclass", "#pragma", "namespace", "B",
    ][..]), 0..40)) {
        let text = words.join(" ");
        let _ = read_text(&text).and_then(|read| read.compile_instances());
        let _ = parse_instance(&text);
    }
}

#[test]
fn qualifier_declarations_print_and_read_back_the_same() {
    let compiled = read_text("").unwrap_or_else(|error| panic!("{error}"));
    for (name, declaration) in &compiled.types {
        let text = print::qualifier_declaration(declaration);
        let read =
            read(&[("q.mof", &text)], &mut NoIncludes).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.types.get(name), Some(declaration), "{text}");
    }
    assert_eq!(compiled.types[&name("Description")].scopes, Scope::ALL);
}

#[test]
fn instances_print_and_read_back_the_same() {
    let mut instance = Instance::new(name("A"))
        .with(name("Text"), "a \"b\" \\ \n\t\u{1} é")
        .with(name("Yes"), true)
        .with(name("List"), vec!["x".to_owned()]);
    for (n, text) in ["-7", "18446744073709551616", "0.5", "1e300", "-1.5e-300"].iter().enumerate()
    {
        instance.properties.push(crate::cim::Property {
            name: name(&format!("Number{n}")),
            ty: DataType::scalar(CimType::String),
            value: Some(Value::Scalar(Scalar::Untyped((*text).to_owned()))),
            class_origin: None,
        });
    }
    let text = print::instance(&instance);
    assert!(text.contains(r#""a \"b\" \\ \n\t\x0001 é""#), "{text}");
    assert_eq!(embedded(&text), instance);
}
