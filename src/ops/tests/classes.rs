//! Operations on classes and qualifiers.

use super::*;
use crate::cim::{AssociationFilter, Class, ClassOptions, ClassPath, ObjectPath};

fn all() -> ClassOptions {
    ClassOptions {
        local_only: false,
        include_qualifiers: true,
        include_class_origin: false,
        properties: None,
    }
}

async fn class(class: &str, options: ClassOptions) -> Class {
    match run(&kvm(&[]), Operation::GetClass { class: name(class), options }).await {
        Ok(Reply::Classes(mut classes)) if classes.len() == 1 => classes.remove(0),
        other => panic!("not a class: {other:?}"),
    }
}

#[tokio::test]
async fn a_class_is_the_same_in_every_namespace() {
    let operation = || Operation::GetClass { class: name("CIM_system"), options: all() };
    let here = run(&kvm(&[]), operation()).await.unwrap();
    for space in ["root/cimv2", "interop", "root/PG_InterOp"] {
        assert_eq!(run_in(&kvm(&[]), space, operation()).await.unwrap(), here);
    }
}

#[tokio::test]
async fn get_class_obeys_its_options() {
    let whole = class("KVM_ComputerSystem", all()).await;
    assert_eq!(whole.name.as_str(), "KVM_ComputerSystem");
    assert_eq!(whole.properties.len(), 35);
    let local = class("KVM_ComputerSystem", ClassOptions { local_only: true, ..all() }).await;
    assert_eq!(local.properties.len(), 1);
    let bare =
        class("KVM_ComputerSystem", ClassOptions { include_qualifiers: false, ..all() }).await;
    assert!(bare.properties.iter().all(|property| property.qualifiers.is_empty()));
    let listed = ClassOptions { properties: Some(vec![name("name")]), ..all() };
    assert_eq!(class("KVM_ComputerSystem", listed).await.properties.len(), 1);
}

#[tokio::test]
async fn unknown_classes_and_qualifiers_have_their_own_codes() {
    let server = kvm(&[]);
    let nope = || name("KVM_Nope");
    let get = Operation::GetClass { class: nope(), options: all() };
    fails(run(&server, get).await, StatusCode::NotFound, "KVM_Nope");
    let operation = Operation::EnumerateClasses {
        class: Some(nope()),
        deep_inheritance: false,
        options: all(),
    };
    fails(run(&server, operation).await, StatusCode::InvalidClass, "KVM_Nope");
    let operation = Operation::EnumerateClassNames { class: Some(nope()), deep_inheritance: true };
    fails(run(&server, operation).await, StatusCode::InvalidClass, "KVM_Nope");
    let operation = Operation::GetQualifier { name: nope() };
    fails(run(&server, operation).await, StatusCode::NotFound, "KVM_Nope");
}

#[tokio::test]
async fn class_names_go_one_level_down_or_all() {
    let names = async |class: Option<&str>, deep_inheritance| {
        let class = class.map(name);
        let operation = Operation::EnumerateClassNames { class, deep_inheritance };
        match run(&kvm(&[]), operation).await {
            Ok(Reply::ClassNames(names)) => names,
            other => panic!("not names: {other:?}"),
        }
    };
    let direct = names(Some("CIM_ComputerSystem"), false).await;
    assert!(direct.contains(&name("KVM_HostSystem")));
    let system = names(Some("CIM_System"), false).await;
    assert_eq!(system, [name("CIM_ComputerSystem")]);
    let deep = names(Some("CIM_System"), true).await;
    assert!(deep.contains(&name("KVM_ComputerSystem")) && !deep.contains(&name("CIM_System")));
    assert!(names(None, false).await.contains(&name("CIM_ManagedElement")));
    assert!(names(None, true).await.len() >= 162);
}

#[tokio::test]
async fn qualifiers_are_found_and_listed() {
    let server = kvm(&[]);
    let Ok(Reply::QualifierDeclaration(key)) =
        run(&server, Operation::GetQualifier { name: name("KEY") }).await
    else {
        panic!("no declaration");
    };
    assert_eq!(key.name.as_str(), "Key");
    let Ok(Reply::QualifierDeclarations(all)) = run(&server, Operation::EnumerateQualifiers).await
    else {
        panic!("no declarations");
    };
    assert!(all.contains(&key));
}

#[track_caller]
fn check_traversal(source: &str, yields_associators: bool, parts: [&str; 4], expected: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let [association_class, result_class, role, result_role] =
        parts.map(|it| (!it.is_empty()).then(|| name(it)));
    let filter = AssociationFilter { association_class, result_class, role, result_role };
    let object = ObjectPath::Class(ClassPath::local(name(source)));
    let operation = match yields_associators {
        true => Operation::AssociatorNames { object, filter },
        false => Operation::ReferenceNames { object, filter },
    };
    let found = objects(runtime.block_on(run(&kvm(&[]), operation)));
    let found: Vec<_> = found
        .iter()
        .map(|object| match object {
            Object::ClassPath(path) => path.class.as_str(),
            other => panic!("not a class path: {other:?}"),
        })
        .collect();
    assert_eq!(found, expected, "{source} {parts:?}");
}

#[test]
fn association_operations_on_a_class_follow_declarations() {
    check_traversal(
        "KVM_ComputerSystem",
        true,
        ["CIM_HostedService", "", "", ""],
        &["CIM_Service"],
    );
    check_traversal(
        "KVM_VirtualSystemMigrationService",
        true,
        ["KVM_HostedService", "", "Dependent", ""],
        &["CIM_System"],
    );
    check_traversal("KVM_ComputerSystem", true, ["KVM_HostedService", "CIM_Job", "", ""], &[]);
    check_traversal("CIM_Error", true, ["", "", "", ""], &[]);
    check_traversal(
        "KVM_ComputerSystem",
        false,
        ["CIM_HostedService", "", "Antecedent", ""],
        &["CIM_HostedService", "KVM_HostedService", "LXC_HostedService", "Xen_HostedService"],
    );
}

#[tokio::test]
async fn associators_of_a_class_are_classes_with_paths() {
    let operation = |class: &str, filter| Operation::Associators {
        object: ObjectPath::Class(ClassPath::local(name(class))),
        filter,
        include_qualifiers: false,
        options: InstanceOptions { include_class_origin: false, properties: Some(Vec::new()) },
    };
    let filter = AssociationFilter {
        association_class: Some(name("KVM_HostedService")),
        ..AssociationFilter::default()
    };
    let found = objects(run(&kvm(&[]), operation("KVM_HostSystem", filter)).await);
    let [Object::Class(path, class)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(path.to_string(), "//vm:5988/root/virt:CIM_Service");
    assert_eq!((class.properties.len(), class.qualifiers.len()), (0, 0));
    let unknown = operation("KVM_Nope", AssociationFilter::default());
    fails(run(&kvm(&[]), unknown).await, StatusCode::InvalidParameter, "KVM_Nope");
}
