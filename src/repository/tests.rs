use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Map, Value as Json};
use tempfile::TempDir;

use super::*;
use crate::cim::{
    CimType, ClassOptions, DataType, DateTime, Embedded, Instance, Method, Qualifier, Scalar,
    Value, qualifier,
};

fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a directory");
    for (file, text) in files {
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    directory
}

fn load(files: &[(&str, &str)]) -> Result<Repository, Vec<String>> {
    let directory = directory(files);
    let root = directory.path().canonicalize().expect("it exists");
    let shorten = |text: String| text.replace(&format!("{}/", root.display()), "");
    Repository::load(&[directory.path().to_owned()]).map_err(|error| {
        error.problems.iter().map(|problem| shorten(problem.to_string())).collect()
    })
}

#[track_caller]
fn loaded(text: &str) -> Repository {
    load(&[("a.mof", text)]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    match load(&[("a.mof", text)]) {
        Ok(_) => panic!("{text:?} was accepted"),
        Err(problems) => assert_eq!(problems, expected, "{text}"),
    }
}

// ---- the schema inside the program, against the facts it was made from

/// What model.json says of an element, said by the class.
fn shown_type(ty: &DataType, qualifiers: &[Qualifier]) -> Map<String, Json> {
    let mut facts = Map::new();
    facts.insert("type".into(), ty.base.name().into());
    if ty.is_array() {
        facts.insert("is_array".into(), true.into());
    }
    if let Some(class) = &ty.reference_class {
        facts.insert("reference_class".into(), class.to_string().into());
    }
    match ty.embedded {
        Some(Embedded::Object) => {
            facts.insert("embedded_object".into(), true.into());
        }
        Some(Embedded::Instance) => {
            let class = qualifier(qualifiers, "EmbeddedInstance").expect("it says so");
            facts.insert("embedded_instance".into(), shown(&class.value));
        }
        None => {}
    }
    facts.insert("qualifiers".into(), shown_qualifiers(qualifiers));
    facts
}

fn shown_qualifiers(qualifiers: &[Qualifier]) -> Json {
    let told_otherwise = ["EmbeddedInstance", "EmbeddedObject"];
    let shown = qualifiers
        .iter()
        .filter(|qualifier| !told_otherwise.contains(&qualifier.name.as_str()))
        .map(|qualifier| (qualifier.name.to_string(), shown(&qualifier.value)));
    Json::Object(shown.collect())
}

fn shown(value: &Option<Value>) -> Json {
    let scalar = |scalar: &Scalar| match scalar {
        Scalar::Boolean(value) => Json::from(*value),
        Scalar::String(text) => Json::from(text.as_str()),
        Scalar::DateTime(value) => Json::from(value.as_str()),
        other => Json::from(i64::try_from(other.as_integer().expect("an integer")).expect("small")),
    };
    match value {
        None => Json::Null,
        Some(Value::Scalar(value)) => scalar(value),
        Some(Value::Array(elements)) => {
            elements.iter().map(|element| element.as_ref().map_or(Json::Null, scalar)).collect()
        }
    }
}

fn shown_method(method: &Method) -> Json {
    let parameters = method.parameters.iter().map(|parameter| {
        let mut facts = shown_type(&parameter.ty, &parameter.qualifiers);
        facts.insert("name".into(), parameter.name.to_string().into());
        Json::Object(facts)
    });
    let mut facts = Map::new();
    facts.insert("return_type".into(), method.return_type.base.name().into());
    facts.insert("class_origin".into(), shown_name(&method.class_origin));
    facts.insert("parameters".into(), parameters.collect());
    facts.insert("qualifiers".into(), shown_qualifiers(&method.qualifiers));
    Json::Object(facts)
}

fn shown_name(name: &Option<CimName>) -> Json {
    name.as_ref().map_or(Json::Null, |name| name.to_string().into())
}

/// The facts of model.json, each class with what it inherits.
fn model() -> Vec<(String, Json)> {
    let digest: Map<String, Json> =
        serde_json::from_str(include_str!("../../tests/data/model-digest.json")).expect("JSON");
    let mut resolved: Map<String, Json> = Map::new();
    let mut open: Vec<&String> = digest.keys().collect();
    while let Some(class) = open.pop() {
        let entry = &digest[class];
        let superclass = entry["superclass"].as_str();
        if let Some(superclass) =
            superclass.filter(|superclass| !resolved.contains_key(*superclass))
        {
            let (superclass, _) = digest.get_key_value(superclass).expect("the model is closed");
            open.extend([class, superclass]);
            continue;
        }
        let mut full = entry.clone();
        for kind in ["properties", "methods"] {
            let mut elements = superclass
                .and_then(|superclass| resolved[superclass][kind].as_object().cloned())
                .unwrap_or_default();
            elements.extend(entry[kind].as_object().expect("elements").clone());
            full[kind] = Json::Object(elements);
        }
        resolved.insert(class.clone(), full);
    }
    resolved.into_iter().collect()
}

/// The classes that libvirt-cim's model lacks: our own, and the DMTF's for what the server counts.
const OUR_CLASSES: [&str; 4] = [
    "CIM_CIMOMStatisticalData",
    "CIM_ElementStatisticalData",
    "CIM_StatisticalData",
    "Virtcimd_MigrationJobRecord",
];

/// What we add to the model: class without prefix, kind, and names.
const OURS: [(&str, &str, &[&str]); 3] = [
    (
        "_VirtualSystemMigrationService",
        "methods",
        &[
            "CheckVirtualSystemIsMigratableToHost",
            "CheckVirtualSystemIsMigratableToSystem",
            "MigrateVirtualSystemToHost",
            "MigrateSSHKeyCopy",
            "MigrateSSHKeyDelete",
        ],
    ),
    (
        "_VirtualSystemMigrationSettingData",
        "properties",
        &[
            "MaxDowntime",
            "AutoConverge",
            "PostCopy",
            "ParallelConnections",
            "Compression",
            "EncryptData",
            "StorageCopy",
            "StorageCopyDisks",
            "MigrationURI",
            "MigrationTimeout",
            "TimeoutAction",
            "PersistAtDestination",
            "UndefineSource",
            "OverrideFindings",
        ],
    ),
    (
        "_MigrationJob",
        "properties",
        &[
            "VirtualSystemName",
            "DestinationHost",
            "MigrationPhase",
            "DataTotal",
            "DataProcessed",
            "DataRemaining",
            "TransferRate",
            "DirtyRate",
            "Iteration",
            "Downtime",
            "EstimatedTimeLeft",
        ],
    ),
];

fn is_ours(class: &str, kind: &str, element: &str) -> bool {
    !class.starts_with("CIM_")
        && OURS.iter().any(|(suffix, of, names)| {
            class.ends_with(suffix) && *of == kind && names.contains(&element)
        })
}

#[test]
fn the_schema_inside_the_program_is_the_model() {
    let repository = Repository::builtin();
    let model = model();
    let of_the_model = |class: &&str| !OUR_CLASSES.contains(class);
    let names = repository.class_names(None, true).expect("all");
    let count = names.iter().map(|name| name.as_str()).filter(of_the_model).count();
    assert_eq!(count, model.len());
    for (class_name, facts) in &model {
        let class = repository.class(&name(class_name)).expect("a class of the model");
        assert_eq!(class.name.as_str(), class_name, "spelled as in the model");
        assert_eq!(shown_name(&class.superclass), facts["superclass"], "{class_name}");
        assert_eq!(shown_qualifiers(&class.qualifiers), facts["qualifiers"], "{class_name}");
        let keys: BTreeSet<String> = class.keys().map(|key| key.name.to_string()).collect();
        let expected: BTreeSet<String> = facts["keys"]
            .as_array()
            .expect("keys")
            .iter()
            .map(|key| key.as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(keys, expected, "{class_name}");
        let subclasses = repository.subclasses(&class.name);
        let subclasses: Json =
            subclasses.iter().map(|name| name.as_str()).filter(of_the_model).collect();
        assert_eq!(subclasses, facts["subclasses"], "{class_name}");
        let properties = class.properties.iter().map(|property| {
            let mut facts = shown_type(&property.ty, &property.qualifiers);
            facts.insert("class_origin".into(), shown_name(&property.class_origin));
            if property.default.is_some() {
                facts.insert("default".into(), shown(&property.default));
            }
            (property.name.to_string(), Json::Object(facts))
        });
        check_elements(class_name, "properties", &facts["properties"], properties);
        let methods =
            class.methods.iter().map(|method| (method.name.to_string(), shown_method(method)));
        check_elements(class_name, "methods", &facts["methods"], methods);
    }
}

/// Compares the elements of a class with the model's; those we add are only counted.
#[track_caller]
fn check_elements(
    class: &str,
    kind: &str,
    expected: &Json,
    actual: impl Iterator<Item = (String, Json)>,
) {
    let expected = expected.as_object().expect("elements");
    let mut seen = 0;
    for (element, facts) in actual {
        match expected.get(&element) {
            Some(_) if is_ours(class, kind, &element) => seen += 1,
            Some(expected) => {
                seen += 1;
                // GetError and GetErrors leave In at its default, true; they mean output.
                let mut facts = facts;
                if element.starts_with("GetError") {
                    facts["parameters"][0]["qualifiers"]
                        .as_object_mut()
                        .expect("a map")
                        .remove("In");
                }
                assert_eq!(&facts, expected, "{class}.{element}");
            }
            None => {
                assert!(is_ours(class, kind, &element), "{class}.{element} is not in the model")
            }
        }
    }
    assert_eq!(seen, expected.len(), "{class} lacks {kind} of the model");
}

#[test]
fn what_we_add_is_declared_for_each_prefix() {
    let repository = Repository::builtin();
    for prefix in ["KVM", "Xen", "LXC"] {
        for (suffix, kind, names) in OURS {
            let Some(class) = repository.class(&name(&format!("{prefix}{suffix}"))) else {
                assert_eq!((prefix, suffix), ("LXC", "_MigrationJob"), "libvirt-cim has none");
                continue;
            };
            for element in names {
                let origin = match kind {
                    "methods" => class.method(&name(element)).map(|m| m.propagated),
                    _ => class.property(&name(element)).map(|p| p.propagated),
                };
                assert_eq!(origin, Some(false), "{}.{element}", class.name);
            }
        }
    }
    let service = repository.class(&name("KVM_VirtualSystemMigrationService")).expect("a class");
    let check = service.method(&name("CheckVirtualSystemIsMigratableToHost")).expect("a method");
    assert_eq!(check.class_origin, Some(name("CIM_VirtualSystemMigrationService")));
    assert!(qualifier(&check.qualifiers, "ValueMap").is_some_and(|found| found.propagated));
    let parameter = |wanted: &str| check.parameters.iter().find(|p| p.name == *wanted);
    let findings = parameter("Findings").expect("ours");
    assert!(findings.is_out() && !findings.is_in() && findings.ty.is_array());
    assert_eq!(findings.ty.embedded, Some(Embedded::Instance));
    assert!(parameter("MigrationWithoutRootKey").is_some_and(|p| p.is_in() && !p.is_required()));
    assert_eq!(check.parameters.len(), 8);
}

// ---- inheritance

#[test]
fn elements_are_inherited_overridden_and_added_in_order() {
    let repository = loaded(
        r#"
        [Version ( "1" ), UMLPackagePath ( "X::Y" ), Abstract]
        class X_A {
            [Key, MaxLen ( 8 ), Description ( "top" )] string Name = "n";
            [Deprecated { "No value" }] uint8 Old = 1;
            [ValueMap { "0" }] uint32 Do([In, Description ( "a" )] uint8 A);
        };
        class X_B : x_a {
            uint8 New;
            [Override ( "Name" ), MaxLen ( 4 )] string NAME;
            [Override ( "X_A.Do" )] uint32 Do([In] uint8 A, [In] uint8 Extra);
        };
        class X_C : X_B {};"#,
    );
    let class = repository.class(&name("x_c")).expect("a class");
    let names: Vec<_> = class.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, ["NAME", "Old", "New"]);
    let states = |qualifiers: &[Qualifier]| -> Vec<String> {
        qualifiers
            .iter()
            .map(|q| format!("{}{}", q.name, if q.propagated { "+" } else { "" }))
            .collect()
    };
    assert_eq!(
        states(&class.qualifiers),
        ["UMLPackagePath+"],
        "Version and Abstract are restricted"
    );
    assert_eq!(states(&class.properties[0].qualifiers), ["MaxLen+", "Key+", "Description+"],);
    assert!(class.properties[1].qualifiers.is_empty(), "Deprecated and Override are restricted");
    assert!(class.properties.iter().all(|property| property.propagated));
    assert_eq!(class.properties[0].class_origin, Some(name("X_A")));
    assert_eq!(class.properties[2].class_origin, Some(name("X_B")));

    let class = repository.class(&name("X_B")).expect("a class");
    let own = &class.properties[0];
    assert_eq!(states(&own.qualifiers), ["Override", "MaxLen", "Key+", "Description+"]);
    assert_eq!((own.default.clone(), own.propagated), (None, false));
    assert_eq!(own.qualifiers[1].value, Some(4_u32.into()));
    let method = &class.methods[0];
    assert_eq!(states(&method.qualifiers), ["Override", "ValueMap+"]);
    assert_eq!(states(&method.parameters[0].qualifiers), ["In", "Description+"]);
    assert_eq!(method.parameters[1].name.as_str(), "Extra");
    assert_eq!(method.class_origin, Some(name("X_A")));
}

#[test]
fn the_order_of_files_does_not_matter() {
    let repository = load(&[
        ("a.mof", "class X_C : X_B {};"),
        ("b.mof", "[Later ( 5 )] class X_B : X_A {}; #pragma include (\"z/a.inc\")"),
        ("z/c.mof", "Qualifier Later : uint8, Scope(any);\n#pragma include (\"a.inc\")"),
        ("z/a.inc", "class X_A {};"),
        ("z/readme.txt", "class"),
    ])
    .unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(repository.is_a(&name("X_C"), &name("x_a")));
    assert!(!repository.is_a(&name("X_A"), &name("X_C")));
    let below: Vec<_> = repository.descendants(&name("X_A")).map(CimName::as_str).collect();
    assert_eq!(below, ["X_B", "X_C"]);
}

#[test]
fn what_does_not_fit_its_superclass_is_named() {
    let x = "class X_A { [Key] string K; uint8 P; uint8 M(uint8 A); [Key] string L; };\n";
    let check = |text: &str, expected: &str| refused(&format!("{x}{text}"), &[expected]);
    check(
        "class X_B : X_A { [Override (\"Q\")] uint8 P; };",
        "a.mof:2:42: `P` overrides `Q`; it can only override what has its own name",
    );
    check("class X_B : X_A { [Override (\"Q\")] uint8 Q; };", "a.mof:2:42: `Q` overrides nothing");
    check(
        "class X_B : X_A { [Override (\"P\")] uint16 P; };",
        "a.mof:2:43: `P` is `uint16`, but `uint8` in X_A",
    );
    check(
        "class X_B : X_A { [Override (\"P\")] uint8 P[]; };",
        "a.mof:2:42: `P` is `uint8[]`, but `uint8` in X_A",
    );
    check(
        "class X_B : X_A { [Override (\"K\"), Key ( false )] string K; };",
        "a.mof:2:58: qualifier `Key` of `K` can't be given another value here",
    );
    check(
        "class X_B : X_A { [Override (\"M\")] uint8 M(); };",
        "a.mof:2:42: `M` has no parameter `A`, which the method it overrides has",
    );
    check(
        "class X_B : X_A { [Override (\"M\")] uint8 M(string A); };",
        "a.mof:2:42: `A` is `string`, but `uint8` in X_A",
    );
    check(
        "class X_B : X_A { [Override (\"M\")] uint16 M(uint8 A); };",
        "a.mof:2:43: `M` is `uint16`, but `uint8` in X_A",
    );
    check(
        "class X_B : X_A { [Key] string N; };",
        "a.mof:2:32: key `N` is new in `X_B`, but X_A already settles the keys",
    );
    check(
        "[Association] class X_B : X_A {};",
        "a.mof:2:21: class `X_B` is an association, its superclass is not",
    );
    check(
        "class X_B { X_A REF R; };",
        "a.mof:2:21: only associations have references; `R` is in none",
    );
    check(
        "[Terminal] class X_B {}; class X_C : X_B {};",
        "a.mof:2:38: superclass `X_B` is terminal",
    );
    check(
        "[Association] class X_B { [Key] CIM_Job REF R; };\n\
           [Association] class X_C : X_B { [Override (\"R\")] CIM_Error REF R; };",
        "a.mof:3:64: `R` is `CIM_Error REF`, but `CIM_Job REF` in X_B",
    );
    let value_less = "[Override] uint8 P;";
    loaded(&format!("{x}class X_B : X_A {{ {value_less} }};"));
}

#[test]
fn what_overrides_without_saying_so_is_noted() {
    let repository = loaded(
        "class X_A { [Key] uint8 P = 1; uint8 M(); };\n\
         class X_B : X_A { uint8 M(); uint8 P = 2; };",
    );
    let notes: Vec<String> = repository.notes().iter().map(ToString::to_string).collect();
    assert!(notes[0].ends_with("a.mof:2:25: this overrides what X_A has, but lacks Override"));
    assert!(notes[1].ends_with("a.mof:2:36: this overrides what X_A has, but lacks Override"));
    let class = repository.class(&name("X_B")).expect("a class");
    assert_eq!((class.properties.len(), class.methods.len()), (1, 1));
    assert!(class.properties[0].is_key());
    assert_eq!(class.properties[0].default, Some(2_u8.into()));
    refused(
        "class X_A { uint8 P; };\nclass X_B : X_A { string P; };",
        &["a.mof:2:26: `P` is `string`, but `uint8` in X_A"],
    );
}

#[test]
fn names_that_lead_nowhere_are_named_all_at_once() {
    refused(
        "class X_B : X_A {\n};\n[Association] class X_C { X_D REF R; };\n\
         class X_E { [EmbeddedInstance (\"X_F\")] string S; uint8 M(X_G REF P); };\n\
         class X_Below : X_B {};",
        &[
            "a.mof:1:13: superclass `X_A` does not exist",
            "a.mof:3:35: class `X_D`, which `R` names, does not exist",
            "a.mof:4:47: class `X_F`, which `S` names, does not exist",
            "a.mof:4:56: class `X_G`, which `P` names, does not exist",
        ],
    );
    refused(
        "class X_A : X_B {}; class X_B : X_C {}; class X_C : X_A {}; class X_D : X_A {};",
        &["a.mof:1:13: class `X_A` inherits from itself: X_A : X_B : X_C : X_A"],
    );
    refused("class X_A : X_A {};", &["a.mof:1:13: class `X_A` inherits from itself: X_A : X_A"]);
    refused(
        "class X_A {};\nclass x_a {};",
        &["a.mof:2:7: class `x_a` is declared twice, first at a.mof:1:7"],
    );
    refused(
        "Qualifier Key : string, Scope(any);",
        &["a.mof:1:11: qualifier `Key` is declared with another type elsewhere"],
    );
    let problems = load(&[("a.mof", "class"), ("b.mof", "[X] class X_A {};"), ("c.mof", "}")]);
    assert_eq!(problems.err().map(|problems| problems.len()), Some(3), "one for each text");
}

#[test]
fn files_that_can_t_be_read_are_named() {
    let missing = Path::new("/nonexistent/schema").to_owned();
    let error = Repository::load(&[missing]).expect_err("there is none").to_string();
    assert_eq!(error, "/nonexistent/schema: No such file or directory (os error 2)");
    let bytes = directory(&[]);
    fs::write(bytes.path().join("a.mof"), b"class \xff").expect("a file");
    let error = Repository::load(&[bytes.path().to_owned()]).expect_err("no text").to_string();
    assert!(error.ends_with("/a.mof: stream did not contain valid UTF-8"), "{error}");
    let outside = directory(&[("a.mof", "class X_A {};")]);
    let path = outside.path().join("a.mof").canonicalize().expect("it exists");
    let problems = load(&[("b.mof", &format!("#pragma include (\"{}\")", path.display()))]);
    let problems = problems.expect_err("outside the directory");
    assert!(problems[0].starts_with("b.mof:1:1: can't include"), "{problems:?}");
    assert!(problems[0].contains("it is not in "), "{problems:?}");
}

#[test]
fn a_directory_that_contains_itself_ends() {
    let directory = directory(&[("a.mof", "class X_A {};")]);
    std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).expect("a link");
    let repository = Repository::load(&[directory.path().to_owned()]);
    assert!(repository.unwrap_or_else(|error| panic!("{error}")).contains(&name("X_A")));
}

// ---- classes that both have

#[test]
fn a_directory_s_class_replaces_ours_if_it_has_all_that_ours_has() {
    let ours = include_str!("../../schema/cim/CIM_Job.mof");
    let more = ours.replace("class CIM_Job", "[Description ( \"theirs\" )]\nclass CIM_Job");
    let more = more.replacen("]\n[Description", ", Description", 1);
    let repository = loaded(&more);
    assert_eq!(repository.notes(), []);
    let job = repository.class(&name("KVM_MigrationJob")).expect("a class");
    let description = qualifier(&job.qualifiers, "Description").expect("inherited from theirs");
    assert_eq!(description.value, Some("theirs".into()));

    let less = more.replace("PercentComplete", "PercentDone");
    let repository = loaded(&less);
    let notes: Vec<String> = repository.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].ends_with(
            "class `CIM_Job` is not taken, virtcimd's own stays: \
             here property `PercentComplete` is missing"
        ),
        "{notes:?}"
    );
    let job = repository.class(&name("CIM_Job")).expect("a class");
    assert!(qualifier(&job.qualifiers, "Description").is_none(), "ours");
}

#[test]
fn what_may_not_be_replaced_is_told_why() {
    let check = |text: &str, expected: &str| {
        let repository = loaded(text);
        let [Note::OursStays { lacks, .. }] = repository.notes() else {
            panic!("{:?}", repository.notes())
        };
        assert_eq!(lacks, expected);
    };
    check("class CIM_Error : CIM_ManagedElement {};", "the superclass is another");
    check("class CIM_ManagedElement {};", "property `InstanceID` is missing");
    check("class CIM_ManagedElement { uint8 InstanceID; };", "property `InstanceID` is another");
    check(
        "class KVM_VirtualSystemMigrationService : CIM_VirtualSystemMigrationService {};",
        "method `CheckVirtualSystemIsMigratableToHost` is missing",
    );
    check(
        "class KVM_ComputerSystemMigrationJobCreatedIndication : CIM_InstCreation {\n\
         uint32 RaiseIndication(string TheIndication); };",
        "method `RaiseIndication` is another",
    );
}

#[test]
fn instances_in_a_directory_are_noted() {
    let repository = loaded("class X_A { string S; }; instance of X_A as $A { S = \"s\"; };");
    assert!(
        matches!(repository.notes(), [Note::InstanceIgnored { class, .. }] if *class == *"X_A")
    );
}

// ---- views, references, instances

#[test]
fn a_view_shows_what_is_asked_for() {
    let repository = Repository::builtin();
    let all = ClassOptions {
        local_only: false,
        include_qualifiers: true,
        include_class_origin: true,
        properties: None,
    };
    let job = name("KVM_MIGRATIONJOB");
    let view = |options: ClassOptions| repository.view(&job, &options).expect("a class");
    assert_eq!(view(all.clone()), *repository.class(&job).expect("a class"));

    let local = view(ClassOptions { local_only: true, ..all.clone() });
    assert_eq!(local.properties.len(), 11);
    assert!(local.methods.is_empty());
    let system = repository
        .view(&name("CIM_System"), &ClassOptions { local_only: true, ..all.clone() })
        .expect("a class");
    let overridden = system.property(&name("Name")).expect("overridden is local");
    assert!(overridden.is_key() && !overridden.propagated);
    assert!(system.property(&name("Caption")).is_none());

    let bare = view(ClassOptions { include_qualifiers: false, ..all.clone() });
    assert!(bare.qualifiers.is_empty());
    assert!(bare.properties.iter().all(|property| property.qualifiers.is_empty()));
    assert!(bare.methods.iter().all(|method| method.qualifiers.is_empty()
        && method.parameters.iter().all(|parameter| parameter.qualifiers.is_empty())));
    assert!(bare.properties.iter().all(|property| property.class_origin.is_some()));

    let plain = view(ClassOptions { include_class_origin: false, ..all.clone() });
    assert!(plain.properties.iter().all(|property| property.class_origin.is_none()));
    assert!(plain.methods.iter().all(|method| method.class_origin.is_none()));
    assert!(!plain.methods.is_empty());

    let listed = [name("jobstate"), name("JobState"), name("NoSuchThing"), name("Name")];
    let some = view(ClassOptions { properties: Some(listed.to_vec()), ..all.clone() });
    let names: Vec<_> = some.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, ["Name", "JobState"]);
    assert!(!some.methods.is_empty(), "the list is one of properties");
    let none = view(ClassOptions { properties: Some(Vec::new()), ..all.clone() });
    assert!(none.properties.is_empty());
    assert_eq!(repository.view(&name("No_Such"), &all), None);
}

#[test]
fn class_names_go_one_level_or_all_the_way_down() {
    let repository = Repository::builtin();
    let list = |class: Option<&str>, deep| {
        repository
            .class_names(class.map(name).as_ref(), deep)
            .map(|names| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(list(None, true).map(|names| names.len()), Some(162 + OUR_CLASSES.len()));
    assert_eq!(
        list(None, false),
        Some(repository.roots().iter().map(|name| name.as_str().to_owned()).collect())
    );
    assert_eq!(list(Some("cim_job"), false), Some(vec!["CIM_ConcreteJob".to_owned()]));
    let deep = ["CIM_ConcreteJob", "KVM_MigrationJob", "Xen_MigrationJob"].map(str::to_owned);
    assert_eq!(list(Some("CIM_Job"), true), Some(deep.to_vec()));
    assert_eq!(list(Some("KVM_MigrationJob"), true), Some(Vec::new()));
    assert_eq!(list(Some("No_Such"), true), None);
}

#[test]
fn references_are_found_from_the_class_and_what_it_inherits_from() {
    let repository = Repository::builtin();
    let guest = name("kvm_computersystem");
    let found: Vec<(&str, &str)> = repository
        .references_to(&guest)
        .map(|reference| (reference.association.as_str(), reference.role.as_str()))
        .collect();
    assert!(found.contains(&("KVM_HostedDependency", "Antecedent")));
    assert!(found.contains(&("KVM_HostedDependency", "Dependent")));
    assert!(found.contains(&("CIM_HostedService", "Antecedent")), "it is a CIM_System");
    assert!(!found.contains(&("CIM_HostedService", "Dependent")), "it is no CIM_Service");
    assert!(found.is_sorted());
    assert_eq!(repository.references_to(&name("No_Such")).count(), 0);
    let of: Vec<_> = repository
        .references_of(&name("KVM_ElementConformsToProfile"))
        .map(|reference| (reference.role.as_str(), reference.class.as_str()))
        .collect();
    let expected =
        [("ConformantStandard", "KVM_RegisteredProfile"), ("ManagedElement", "CIM_ManagedElement")];
    assert_eq!(of, expected);
}

#[test]
fn a_complete_instance_has_every_property_in_class_order() {
    let repository = Repository::builtin();
    let mut job = Instance::new(name("kvm_migrationjob"))
        .with(name("JOBSTATE"), 4_u16)
        .with(name("NoSuchThing"), "vanishes")
        .with(name("InstanceID"), "1");
    job.properties.push(crate::cim::Property {
        name: name("JobRunTimes"),
        ty: DataType::scalar(CimType::Uint32),
        value: None,
        class_origin: None,
    });
    let job = repository.complete(job).expect("a class");
    let class = repository.class(&job.class).expect("a class");
    assert_eq!(job.class.as_str(), "KVM_MigrationJob");
    assert!(job.properties.iter().map(|p| &p.name).eq(class.properties.iter().map(|p| &p.name)));
    assert_eq!(job.value(&name("JobState")), Some(&4_u16.into()));
    assert_eq!(job.value(&name("JobRunTimes")), None, "NULL is no default");
    let five_minutes = DateTime::parse("00000000000500.000000:000").expect("a datetime");
    assert_eq!(job.value(&name("TimeBeforeRemoval")), Some(&five_minutes.into()));
    assert_eq!(job.property(&name("Caption")).map(|p| p.value.is_none()), Some(true));
    assert_eq!(repository.complete(Instance::new(name("No_Such"))), None);
}

#[test]
fn qualifier_declarations_are_found_and_listed_in_order() {
    let repository = Repository::builtin();
    assert!(repository.qualifiers().is_sorted_by(|a, b| a.name < b.name));
    let key = repository.qualifier(&name("KEY")).expect("declared");
    assert_eq!((key.name.as_str(), key.flavor.overridable), ("Key", false));
    assert_eq!(repository.qualifier(&name("NoSuch")), None);
}

/// The DMTF's own schema, where it is at hand: `make deps` puts it to `target/dmtf-schema`.
#[test]
fn the_complete_dmtf_schema_loads() {
    let place = std::env::var_os("VIRTCIMD_DMTF_SCHEMA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dmtf-schema"),
        Into::into,
    );
    if !place.is_dir() {
        println!("skipped: no DMTF schema at {}; `make deps` fetches it", place.display());
        return;
    }
    let repository = Repository::load(&[place]).unwrap_or_else(|error| panic!("{error}"));
    assert!(repository.classes.len() > 1700, "{}", repository.classes.len());
    assert_eq!(repository.notes(), []);
    for class in repository.classes.keys() {
        let class = repository.class(class).expect("every class resolves");
        assert!(
            class.is_association()
                || class.properties.iter().all(|p| p.ty.reference_class.is_none())
        );
    }
}
