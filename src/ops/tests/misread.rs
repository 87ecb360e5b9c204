//! Requests with parameters that cannot be read: what comes before that.

use super::*;
use crate::cim::{ClassPath, ObjectPath};

fn wrong() -> CimError {
    CimError::new(StatusCode::InvalidParameter, "parameter X cannot be read")
}

const SPECS: &[MethodSpec] =
    &[MethodSpec { name: "RequestStateChange", role: Role::Operator, required: &[] }];

fn house() -> Operations {
    let mut shelf = Shelf::new("KVM_HostSystem", vec![host("KVM")]);
    shelf.methods = SPECS;
    server(|registry| registry.serve(Space::Virt, Arc::new(shelf)).unwrap())
}

#[track_caller]
fn check(role: Role, request: Misread<'_>, expected: StatusCode) {
    let error = house().refuse(&context(role), request, wrong());
    assert_eq!(error.status, expected, "{request:?} of {role:?}: {error}");
}

#[test]
fn rights_come_first_then_the_namespace_then_parameters() {
    let (virt, nowhere) = (namespace("root/virt"), namespace("root/nowhere"));
    let denied = StatusCode::AccessDenied;
    for operation in ["CreateInstance", "modifyinstance", "DeleteInstance", "SetProperty"] {
        check(Role::Checker, Misread::Operation(operation, &nowhere), denied);
        check(
            Role::Operator,
            Misread::Operation(operation, &nowhere),
            StatusCode::InvalidNamespace,
        );
        check(Role::Operator, Misread::Operation(operation, &virt), StatusCode::InvalidParameter);
    }
    // What can't be done is not done better with other parameters.
    for operation in
        ["CreateClass", "modifyclass", "DeleteClass", "SetQualifier", "DeleteQualifier"]
    {
        check(Role::Viewer, Misread::Operation(operation, &virt), StatusCode::NotSupported);
        let nowhere = Misread::Operation(operation, &nowhere);
        check(Role::Viewer, nowhere, StatusCode::InvalidNamespace);
    }
    check(Role::Viewer, Misread::Operation("GetInstance", &virt), StatusCode::InvalidParameter);
}

#[test]
fn a_method_needs_its_own_role() {
    let object = |class: &str, space: Option<&str>| {
        ObjectPath::Class(ClassPath {
            namespace: space.map(namespace),
            ..ClassPath::local(name(class))
        })
    };
    let host = object("kvm_hostsystem", Some("root/virt"));
    let call = |method| Misread::Method(method, &host);
    check(Role::Checker, call("requeststatechange"), StatusCode::AccessDenied);
    check(Role::Operator, call("RequestStateChange"), StatusCode::InvalidParameter);
    // Nobody is denied what does not exist.
    check(Role::Viewer, call("NoSuchMethod"), StatusCode::InvalidParameter);
    check(Role::Viewer, call("no name"), StatusCode::InvalidParameter);
    for (class, space, status) in [
        ("KVM_Nope", Some("root/virt"), StatusCode::InvalidParameter),
        ("KVM_HostSystem", Some("root/nowhere"), StatusCode::InvalidNamespace),
        ("KVM_HostSystem", None, StatusCode::InvalidParameter),
    ] {
        check(Role::Viewer, Misread::Method("RequestStateChange", &object(class, space)), status);
    }
}

#[test]
fn what_nobody_knows_is_not_supported_for_anybody() {
    let error = CimError::new(StatusCode::NotSupported, "operation `Fly` is not known");
    let virt = namespace("root/virt");
    let request = Misread::Operation("Fly", &virt);
    assert_eq!(house().refuse(&context(Role::Viewer), request, error.clone()), error);
}
