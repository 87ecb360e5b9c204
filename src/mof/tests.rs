mod include;
mod random;

use std::{collections::HashMap, sync::Arc};

use super::{
    Loader, MAX_INCLUDE_DEPTH, MAX_TEXT, MofError, NoIncludes, Reader, Sources,
    ast::{Declaration, InstanceDeclaration},
    compile::{self, QualifierTypes},
    instances, parse_instance, print,
};
use crate::cim::{
    ArrayKind, CimName, CimType, Class, DataType, DateTime, Embedded, Flavor, Instance, KeyValue,
    Method, ObjectPath, Parameter, PropertyDeclaration, Qualifier, Scalar, Scope, Value,
};

const QUALIFIERS: &str = r#"
Qualifier Association : boolean = false, Scope(association), Flavor(DisableOverride, ToSubclass);
Qualifier Indication : boolean = false, Scope(class, indication), Flavor(DisableOverride);
Qualifier Key : boolean = false, Scope(property, reference), Flavor(DisableOverride, ToSubclass);
Qualifier In : boolean = true, Scope(parameter), Flavor(DisableOverride);
Qualifier Out : boolean = false, Scope(parameter), Flavor(DisableOverride);
Qualifier MaxLen : uint32 = null, Scope(property, method, parameter);
Qualifier ValueMap : string[], Scope(property, method, parameter);
Qualifier Description : string, Scope(any), Flavor(Translatable);
Qualifier Version : string, Scope(class, association, indication), Flavor(Restricted);
Qualifier EmbeddedObject : boolean = false, Scope(property, method, parameter);
Qualifier EmbeddedInstance : string, Scope(property, method, parameter);
Qualifier ArrayType : string = "Bag", Scope(property, parameter), Flavor(DisableOverride);
"#;

/// A text and the qualifiers above, compiled as far as no class is needed.
#[derive(Default)]
struct Compiled {
    sources: Sources,
    types: QualifierTypes,
    classes: Vec<Class>,
    instances: Vec<InstanceDeclaration>,
}

fn read(texts: &[(&str, &str)], loader: &mut dyn Loader) -> Result<Compiled, MofError> {
    let mut compiled = Compiled::default();
    let mut reader = Reader::default();
    for (name, text) in texts {
        let file = compiled.sources.add(name, (*text).to_owned())?;
        for declaration in reader.read(&mut compiled.sources, file, loader)? {
            let sources = &compiled.sources;
            match declaration {
                Declaration::Qualifier(declaration) => {
                    let declared = compile::qualifier_type(sources, declaration)?;
                    compiled.types.insert(declared.name.clone(), declared);
                }
                Declaration::Class(declaration) => {
                    let (class, _) = compile::class(sources, &compiled.types, declaration)?;
                    compiled.classes.push(class);
                }
                Declaration::Instance(declaration) => compiled.instances.push(declaration),
            }
        }
    }
    Ok(compiled)
}

fn read_text(text: &str) -> Result<Compiled, MofError> {
    read(&[("qualifiers.mof", QUALIFIERS), ("a.mof", text)], &mut NoIncludes)
}

#[track_caller]
fn class(text: &str) -> Class {
    let compiled = read_text(text).unwrap_or_else(|error| panic!("{error}"));
    compiled.classes.into_iter().next().expect("the text has a class")
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    match read_text(text).and_then(|compiled| compiled.compile_instances()) {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(error) => assert_eq!(error.to_string(), expected, "{text}"),
    }
}

impl Compiled {
    /// The instances; the classes, as declared, are their classes.
    fn compile_instances(&self) -> Result<Vec<Instance>, MofError> {
        let classes: HashMap<CimName, Arc<Class>> = self
            .classes
            .iter()
            .map(|class| (class.name.clone(), Arc::new(class.clone())))
            .collect();
        instances(&self.sources, &|name| classes.get(name).cloned(), &self.instances)
    }
}

fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

/// The default of a property of that type.
#[track_caller]
fn default(ty: &str, text: &str) -> Option<Value> {
    class(&format!("class A {{ {ty} = {text}; }};")).properties.remove(0).default
}

#[test]
fn a_class_says_all_that_its_text_says() {
    let class = class(
        r#"
        // A line, and a block:
        /* of two
           lines */
        [Version ( "1.0" ), Description ( "Two " /* in between */ "pieces" ) : ToInstance]
        class A_B as $Old : A_A {
            [KEY, MaxLen(0x10) : DisableOverride Restricted] String Name;
            uint16 States[] = { 1, 0x2, 07, 101b, NULL };
            boolean Flags[3];
            [EmbeddedInstance("A_C")] string Inner;
            [EmbeddedObject] string Any[];
            [ValueMap { "0", ".." }]
            uint32 Do([In, Out] A_C REF Thing, [IN(false), OUT] string Names[], real64 Limits[2]);
            sint8 Nothing();
        };"#,
    );
    assert_eq!(class.name.as_str(), "A_B");
    assert_eq!(class.superclass, Some(name("A_A")));
    assert_eq!(class.qualifiers[1].value, Some("Two pieces".into()));
    assert!(class.qualifiers[1].flavor.to_instance && class.qualifiers[1].flavor.translatable);
    assert!(!class.qualifiers[0].flavor.to_subclass);
    let [key, states, flags, inner, any] = &class.properties[..] else { panic!("{class:?}") };
    assert_eq!((key.ty.base, key.is_key()), (CimType::String, true));
    assert_eq!(key.qualifiers[0].name.as_str(), "Key", "as declared");
    let restricted = Flavor { overridable: false, to_subclass: false, ..Flavor::default() };
    assert_eq!(key.qualifiers[1].flavor, restricted);
    assert_eq!(key.qualifiers[1].value, Some(16_u32.into()));
    let element = |n| Some(Scalar::Uint16(n));
    let expected = vec![element(1), element(2), element(7), element(5), None];
    assert_eq!(states.default, Some(Value::Array(expected)));
    assert_eq!(flags.ty.array, ArrayKind::Fixed(3));
    assert_eq!(inner.ty.embedded, Some(Embedded::Instance));
    assert_eq!(any.ty.embedded, Some(Embedded::Object));
    let [action, nothing] = &class.methods[..] else { panic!("{class:?}") };
    assert_eq!(action.return_type, DataType::scalar(CimType::Uint32));
    let [thing, names, limits] = &action.parameters[..] else { panic!("{action:?}") };
    assert_eq!(thing.ty.reference_class, Some(name("A_C")));
    assert!(thing.is_in() && thing.is_out() && !names.is_in() && names.is_out());
    assert_eq!(limits.ty.array, ArrayKind::Fixed(2));
    assert!(nothing.parameters.is_empty());
}

#[test]
fn keywords_are_names_where_names_belong() {
    let class = class("class Class : Qualifier { string Ref; Instance REF Of; boolean As; };");
    let names: Vec<_> = class.properties.iter().map(|property| property.name.to_string()).collect();
    assert_eq!(names, ["Ref", "Of", "As"]);
}

#[test]
fn literals_become_values_of_their_type() {
    assert_eq!(default("sint64 P", "-9223372036854775808"), Some(i64::MIN.into()));
    assert_eq!(default("uint64 P", "+18446744073709551615"), Some(u64::MAX.into()));
    assert_eq!(default("sint8 P", "-0x80"), Some(i8::MIN.into()));
    assert_eq!(default("sint16 P", "-0101B"), Some((-5_i16).into()));
    assert_eq!(default("uint8 P", "0b"), Some(0_u8.into()));
    assert_eq!(default("uint16 P", "0777"), Some(0o777_u16.into()));
    assert_eq!(default("real32 P", ".5"), Some(0.5_f32.into()));
    assert_eq!(default("real64 P", "-1.5E-3"), Some((-0.0015_f64).into()));
    assert_eq!(default("real64 P", "7"), Some(7.0_f64.into()));
    assert_eq!(default("boolean P", "tRuE"), Some(true.into()));
    assert_eq!(default("string P", "Null"), None);
    assert_eq!(
        default("string P", r#""\b\t\n\f\r\"\'\\\x41\x20ACb""#),
        Some("\u{8}\t\n\u{c}\r\"'\\A\u{20ac}b".into())
    );
    assert_eq!(default("string P", r#""\xD83D\xde00!""#), Some("\u{1f600}!".into()));
    assert_eq!(default("string P", "\"a\"\r\n\"b\" // c\n\"\""), Some("ab".into()));
    assert_eq!(default("char16 P", r"'\''"), Some(Value::Scalar(Scalar::Char16(0x27))));
    assert_eq!(default("char16 P", "'é'"), Some(Value::Scalar(Scalar::Char16(0xe9))));
    assert_eq!(default("char16 P", "65"), Some(Value::Scalar(Scalar::Char16(65))));
    let datetime = DateTime::parse("20160409061213.123456+120").expect("a datetime");
    assert_eq!(default("datetime P", "\"20160409061213.123456+120\""), Some(datetime.into()));
    assert_eq!(default("string P[]", "{}"), Some(Value::Array(Vec::new())));
    let Some(Value::Scalar(Scalar::Reference(path))) =
        default("A REF P", r#""root/virt:A.Name=\"x\",N=5""#)
    else {
        panic!("no reference")
    };
    assert_eq!(path.namespace().map(ToString::to_string), Some("root/virt".to_owned()));
}

#[test]
fn a_backslash_before_a_mark_stands_for_the_mark() {
    assert_eq!(default("string P", r#""(a\)""#), Some("(a)".into()));
}

#[test]
fn lexical_errors_name_their_place() {
    refused(
        "class A {\n  string S = \"ab\n  \";\n};",
        "a.mof:2:14: the string is not closed on its line \
         (a long text is written as several strings side by side)",
    );
    refused("class A {};\n  /* é\n", "a.mof:2:3: this comment is never closed");
    refused("/* é */ @", "a.mof:1:9: '@' can't stand here");
    refused(
        "class A { string S = \"é\\q\"; };",
        "a.mof:1:24: unknown escape `\\q` (a backslash itself is written `\\\\`)",
    );
    refused(
        "class A { string S = \"\\xD800\"; };",
        "a.mof:1:23: `\\x` is followed by no hexadecimal digit, or by half a surrogate pair",
    );
    refused(
        "class A { string S = \"\\x\"; };",
        "a.mof:1:23: `\\x` is followed by no hexadecimal digit, or by half a surrogate pair",
    );
    refused(
        "class A { char16 C = ''; };",
        "a.mof:1:22: a character literal holds exactly one UCS-2 character",
    );
    refused(
        "class A { char16 C = '\u{1f600}'; };",
        "a.mof:1:22: a character literal holds exactly one UCS-2 character",
    );
    for number in ["08", "1x", "0x", "2b", "1.", "1.5e", "1_000", "--1", "+", "1.0e999"] {
        let error = read_text(&format!("class A {{ uint8 N = {number}; }};")).err();
        let error = error.expect("no number").to_string();
        assert!(error.starts_with("a.mof:1:21: `"), "{error}");
    }
    refused(
        "class A { uint8 N = 08; };",
        "a.mof:1:21: `08` is not a number (a leading zero makes a number octal)",
    );
    refused("#include", "a.mof:1:1: '#' can't stand here (only `#pragma` begins with `#`)");
    refused("$", "a.mof:1:1: '$' can't stand here (an alias is `$` and a name)");
}

#[test]
fn syntax_errors_say_what_was_expected() {
    refused(
        "clas A {};",
        "a.mof:1:1: expected `class`, `instance`, `qualifier`, `#pragma` or `[`, found `clas`",
    );
    refused(
        "association A {};",
        "a.mof:1:1: expected `class`, `instance`, `qualifier`, `#pragma` or `[`, found \
         `association` (an association is `[Association] class …`)",
    );
    refused("class A\n{\n} class", "a.mof:3:3: expected `;` after the class, found `class`");
    refused(
        "class A {\n\tuint8 B\n};",
        "a.mof:3:1: expected `;`, `=`, `[` or `(` after the name, found `}`",
    );
    refused(
        "class A { uint8 B = 1 2; };",
        "a.mof:1:23: expected `;` after the default value, found `2`",
    );
    refused(
        "class A { int32 B; };",
        "a.mof:1:11: expected a data type, or a class and `REF`, found `int32` \
         (integers are uint8, sint8, … uint64, sint64)",
    );
    refused(
        "class A { B C; };",
        "a.mof:1:11: expected a data type, or a class and `REF`, found `B` \
         (a reference is a class and `REF` before its name)",
    );
    refused(
        "class A { B REF C(); };",
        "a.mof:1:11: expected a data type before a method, found a reference \
         (methods return no references)",
    );
    refused(
        "class A { uint8 B[0]; };",
        "a.mof:1:19: expected an array size from 1 to 4294967295, found `0`",
    );
    refused(
        "class A { string S = hello; };",
        "a.mof:1:22: expected a value, found `hello` (text is written in double quotes)",
    );
    refused("class A { uint8 B; UINT8 b; };", "a.mof:1:26: `b` stands here a second time");
    refused("class A { uint8 M(uint8 P, uint8 p); };", "a.mof:1:34: `p` stands here a second time");
    refused("[Key, key] class A {};", "a.mof:1:7: `key` stands here a second time");
    refused(
        "class A { [Key : Restrict] uint8 B; };",
        "a.mof:1:18: expected a flavor (EnableOverride, DisableOverride, ToSubclass, Restricted, \
         Translatable), found `Restrict`",
    );
    refused(
        "[Key] qualifier X : string, Scope(any);",
        "a.mof:1:7: expected `class` or `instance`, found `qualifier`",
    );
    refused(
        "qualifier X : string, Scope(klass);",
        "a.mof:1:29: expected a scope (class, association, indication, property, reference, \
         method, parameter, any), found `klass`",
    );
    refused(
        "qualifier X : string;",
        "a.mof:1:21: expected `,` and `Scope(…)` after the qualifier's type, found `;`",
    );
    refused(
        "#pragma include (file)",
        "a.mof:1:18: expected the pragma's parameter, a string, found `file`",
    );
    refused(
        "#pragma namespace (\"//\")",
        "a.mof:1:20: expected a namespace such as \"root/virt\", found \"//\"",
    );
    refused(
        "class A { }; instance of A { X = 1 };",
        "a.mof:1:36: expected `;` after the property's value, found `}`",
    );
    refused(
        "class A {",
        "a.mof:1:10: expected a property, a method or `}`, found the end of the text",
    );
}

#[test]
fn errors_of_meaning_name_the_value() {
    refused("class A {\n uint8 B = 256; };", "a.mof:2:12: 256 is out of range for uint8");
    refused("class A { uint8 B = -1; };", "a.mof:1:21: -1 is out of range for uint8");
    refused("class A { uint8 B = \"1\"; };", "a.mof:1:21: `\"1\"` is no uint8 value");
    refused("class A { string B = 1; };", "a.mof:1:22: `1` is no string value");
    refused(
        "class A { real32 B = 1.0e39; };",
        "a.mof:1:22: 1000000000000000000000000000000000000000 is out of range for real32",
    );
    refused("class A { uint8 B[] = { 1, true }; };", "a.mof:1:28: `true` is no uint8 value");
    refused("class A { uint8 B[] = 1; };", "a.mof:1:23: expected an array in braces");
    refused("class A { uint8 B = { 1 }; };", "a.mof:1:21: expected a single value");
    refused(
        "class A { datetime B = \"yesterday\"; };",
        "a.mof:1:24: not a datetime at character 9: a datetime has 25 characters",
    );
    refused(
        "class A { A REF B = $Nobody; };",
        "a.mof:1:21: alias `$Nobody` names no instance here",
    );
    refused(
        "class A { [Keys] uint8 B; };",
        "a.mof:1:12: qualifier `Keys` is not declared (did you mean Key?)",
    );
    refused(
        "class A { [Association] uint8 B; };",
        "a.mof:1:12: qualifier `Association` can't stand on a property",
    );
    refused(
        "[Association, MaxLen(1)] class A {};",
        "a.mof:1:15: qualifier `MaxLen` can't stand on an association",
    );
    refused(
        "class A { [EmbeddedObject] uint8 B; };",
        "a.mof:1:34: EmbeddedObject can only stand on a string",
    );
    refused(
        "class A { [Key : ToSubclass Restricted] uint8 B; };",
        "a.mof:1:18: flavors `ToSubclass` and `Restricted` exclude each other",
    );
    refused("qualifier X : uint8 = 300, Scope(any);", "a.mof:1:23: 300 is out of range for uint8");
    refused("instance of A {};", "a.mof:1:13: class `A` does not exist");
    refused(
        "class A { string Name; }; instance of A { Nam = \"x\"; };",
        "a.mof:1:43: class `A` has no property `Nam` (did you mean Name?)",
    );
    refused(
        "class A {}; instance of A as $x {}; instance of A as $X {};",
        "a.mof:1:54: `X` stands here a second time",
    );
    refused(
        "class A { [EmbeddedInstance(\"A\")] string E; };\ninstance of A { E = \"instance of A {\\n x\"; };",
        "a.mof:2:21: embedded instance: embedded instance:2:3: expected `=` after the property's \
         name, found the end of the text",
    );
}

#[test]
fn qualifiers_without_a_value_have_their_default() {
    let class = class("class A { [Key, ArrayType, MaxLen] string B; };");
    let values: Vec<_> = class.properties[0].qualifiers.iter().map(|q| q.value.clone()).collect();
    assert_eq!(values, [Some(true.into()), Some("Bag".into()), None]);
}

#[test]
fn aliases_mean_instances_before_and_behind() {
    let compiled = read_text(
        r#"
        #pragma namespace ("root/virt")
        class A { [Key] string Name; };
        [Association] class B { [Key] A REF One; [Key] A REF Two; };
        [Association] class C { [Key] B REF Link; };
        instance of C { Link = $Link; };
        instance of B as $Link { One = $First; Two = "A.Name=\"second\""; };
        instance of A as $First { name = "first"; };"#,
    )
    .and_then(|compiled| compiled.compile_instances())
    .unwrap_or_else(|error| panic!("{error}"));
    let path = compiled[1].path.as_ref().expect("declared instances have paths");
    assert_eq!(path.namespace.as_ref().map(ToString::to_string), Some("root/virt".to_owned()));
    let Some(KeyValue::Reference(first)) = path.key(&name("One")) else { panic!("{path:?}") };
    let first = first.instance().expect("an instance path");
    assert_eq!(first.key(&name("Name")), Some(&"first".into()));
    let link = compiled[0].value(&name("Link")).and_then(Value::as_reference);
    assert_eq!(link, Some(&ObjectPath::Instance(path.clone())));
    assert_eq!(compiled[2].properties[0].name.as_str(), "Name", "as the class spells it");
    let circle = "class A { [Key] A REF R; }; instance of A as $X { R = $X; };";
    refused(circle, "a.mof:1:55: alias `$X` names no instance here");
}

#[test]
fn strings_of_embedded_properties_are_instances() {
    let compiled = read_text(
        r#"class A { [EmbeddedInstance("A")] string Inner[]; uint8 N; };
           instance of A { Inner = { "instance of A { N = 5; };", NULL }; };"#,
    )
    .and_then(|compiled| compiled.compile_instances())
    .unwrap_or_else(|error| panic!("{error}"));
    let inner = compiled[0].value(&name("Inner")).and_then(Value::array).expect("an array");
    let [Some(Scalar::EmbeddedInstance(inner)), None] = inner else { panic!("{inner:?}") };
    assert_eq!(inner.value(&name("N")), Some(&5_u8.into()));
    assert_eq!(inner.path, None);
    let mut text = "instance of A {};".to_owned();
    for _ in 0..9 {
        let mut instance = Instance::new(name("A"));
        instance.set(name("Inner"), vec![text]);
        text = print::instance(&instance);
    }
    let class = r#"class A { [EmbeddedInstance("A")] string Inner[]; };"#;
    let error = read_text(&format!("{class}\n{text}"))
        .and_then(|compiled| compiled.compile_instances())
        .expect_err("nested too deep");
    assert!(error.to_string().ends_with("nested too deep in each other's strings"), "{error}");
}

#[track_caller]
fn embedded(text: &str) -> Instance {
    parse_instance(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_libvirt_cim_took_is_taken() {
    let instance = embedded(
        "instance of KVM_VirtualSystemMigrationSettingData {\n\
         InstanceID = \"MigrationSettingData\";\nCreationClassName = 'x \"y\"';\nMigrationType = 2;\n\
         Offset = -1;\nLive=True;\nNothing = NULL;\nPath = \"C:\\path\\\\x\";\n\
         Open = \"to the end\n;\nCheckParameters = {\"a=1\", 'b'};\n}; <garbage \" after it>",
    );
    assert_eq!(instance.class.as_str(), "KVM_VirtualSystemMigrationSettingData");
    let value = |property| instance.value(&name(property)).cloned();
    assert_eq!(value("InstanceID"), Some("MigrationSettingData".into()));
    assert_eq!(value("CreationClassName"), Some("x \"y\"".into()));
    assert_eq!(value("MigrationType"), Some(Value::Scalar(Scalar::Untyped("2".into()))));
    assert_eq!(value("Offset"), Some(Value::Scalar(Scalar::Untyped("-1".into()))));
    assert_eq!(value("Live"), Some(true.into()));
    assert!(instance.property(&name("Nothing")).is_some_and(|property| property.value.is_none()));
    assert_eq!(value("Path"), Some("C:\\path\\x".into()));
    assert_eq!(value("Open"), Some("to the end".into()));
    assert_eq!(value("CheckParameters"), Some(vec!["a=1".to_owned(), "b".to_owned()].into()));
}

#[test]
fn embedded_text_may_be_all_that_mof_is() {
    let instance = embedded(
        "\u{feff}/* c */ [Key] INSTANCE\r\nOF A as $X // d\r\n{ A = 0x1F; B = {1, 2}; C = 1.5e3; \
         D = \"a\" \"b\"; E = {}; F = {NULL, \"x\"}; };",
    );
    let value = |property| instance.value(&name(property)).cloned();
    let untyped = |text: &str| Scalar::Untyped(text.to_owned());
    assert_eq!(value("A"), Some(Value::Scalar(untyped("31"))));
    assert_eq!(value("B"), Some(Value::Array(vec![Some(untyped("1")), Some(untyped("2"))])));
    assert_eq!(value("C"), Some(Value::Scalar(untyped("1500.0"))));
    assert_eq!(value("D"), Some("ab".into()));
    assert_eq!(value("E"), Some(Value::Array(Vec::new())));
    assert_eq!(value("F"), Some(Value::Array(vec![None, Some("x".into())])));
}

/// Were each name compared with all before it, this would take minutes.
#[test]
fn many_properties_cost_no_more_than_their_number() {
    let properties: String = (0..100_000).map(|number| format!("P{number}=1;")).collect();
    assert_eq!(embedded(&format!("instance of X {{{properties}}};")).properties.len(), 100_000);
    let twice = format!("instance of X {{{properties}p7=1;}};");
    let error = parse_instance(&twice).expect_err("one is there twice").to_string();
    assert!(error.contains("`p7`"), "{error}");
}

#[test]
fn what_is_no_instance_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "1:1: expected `instance of` and a class, found the end of the text"),
        ("class A {};", "1:1: expected `instance of` and a class, found `class`"),
        ("instance A {};", "1:10: expected `of` after `instance`, found `A`"),
        ("instance of A {\n B 5; };", "2:4: expected `=` after the property's name, found `5`"),
        (
            "instance of A { B = 5; }",
            "1:25: expected `;` after the instance, found the end of the text",
        ),
        ("instance of A { B = 1; b = 2; };", "1:24: `b` stands here a second time"),
        ("instance of A { B = $X; };", "1:21: alias `$X` names no instance here"),
        (
            "instance of A { B = {\"a\"",
            "1:25: expected `,` or `}` after a value, found the end of the text",
        ),
        (
            "instance of A { B = \"a",
            "1:21: the string is not closed on its line \
          (a long text is written as several strings side by side)",
        ),
    ] {
        let error = parse_instance(text).expect_err(text).to_string();
        assert_eq!(error, format!("embedded instance:{expected}"), "{text}");
    }
    let long = format!("instance of A {{ B = \"{}\"; }};", "x".repeat(MAX_TEXT));
    let error = parse_instance(&long).expect_err("too long").to_string();
    assert_eq!(error, "embedded instance:1:1: the text is longer than 16777216 bytes");
}
