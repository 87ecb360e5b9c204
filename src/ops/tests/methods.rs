//! InvokeMethod, and who may.

use super::*;
use crate::cim::{ClassPath, Embedded, ObjectPath, ParamValue, Scalar};

const SPECS: &[MethodSpec] = &[MethodSpec {
    name: "CheckVirtualSystemIsMigratableToHost",
    role: Role::Checker,
    required: &["ComputerSystem", "DestinationHost"],
}];

/// A migration service that answers `result`, and the provider to look into.
fn service(result: Result<MethodResult, ProviderError>) -> (Operations, Arc<Shelf>) {
    let mut shelf = Shelf::new("KVM_VirtualSystemMigrationService", Vec::new());
    shelf.methods = SPECS;
    shelf.result = result;
    let shelf = Arc::new(shelf);
    let provider = Arc::clone(&shelf);
    (server(|registry| registry.serve(Space::Virt, provider).unwrap()), shelf)
}

fn answer(out: Vec<(CimName, Value)>) -> Result<MethodResult, ProviderError> {
    Ok(MethodResult { value: Value::from(0_u32), out })
}

fn on_class(class: &str, method: &str, parameters: Vec<ParamValue>) -> Operation {
    Operation::InvokeMethod {
        object: ObjectPath::Class(ClassPath::local(name(class))),
        method: name(method),
        parameters,
    }
}

fn valid() -> Vec<ParamValue> {
    let parameter = |parameter: &str, value: Value| ParamValue {
        name: name(parameter),
        ty: None,
        value: Some(value),
    };
    vec![
        parameter("DestinationHost", "there".into()),
        parameter("ComputerSystem", ObjectPath::from(guest_path("a")).into()),
    ]
}

fn check(parameters: Vec<ParamValue>) -> Operation {
    on_class(
        "kvm_virtualsystemmigrationservice",
        "checkVirtualSystemIsMigratableToHost",
        parameters,
    )
}

#[tokio::test]
async fn a_method_is_called_with_declared_names_on_a_class_or_an_instance() {
    let (server, shelf) = service(answer(Vec::new()));
    run(&server, check(valid())).await.unwrap();
    let operation = Operation::InvokeMethod {
        object: path("KVM_VirtualSystemMigrationService", &[("NAME", "x"), ("Bogus", "y")]).into(),
        method: name("CheckVirtualSystemIsMigratableToHost"),
        parameters: valid(),
    };
    run(&server, operation).await.unwrap();
    let calls = shelf.calls.lock().unwrap();
    let [by_class, by_instance] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(by_class.method.as_str(), "CheckVirtualSystemIsMigratableToHost");
    assert_eq!(by_class.object.class().as_str(), "KVM_VirtualSystemMigrationService");
    assert_eq!(by_class.arguments.string("DestinationHost"), Some("there"));
    assert_eq!(
        by_instance.object.to_string(),
        "KVM_VirtualSystemMigrationService.Name=\"x\"",
        "named as declared, superfluous keys gone, existence not checked"
    );
}

#[tokio::test]
async fn output_parameters_have_declared_types_and_order_and_no_nulls() {
    let finding = Instance::new(name("CIM_Error")).with(name("MessageID"), "VMC001");
    let out = vec![
        (name("Findings"), Value::from(vec![finding])),
        (name("IsMigratable"), Value::from(false)),
    ];
    let (server, _) = service(answer(out));
    let Ok(Reply::Method { return_type, return_value, out }) = run(&server, check(valid())).await
    else {
        panic!("no method reply");
    };
    assert_eq!((return_type.to_string(), return_value), ("uint32".to_owned(), Some(0_u32.into())));
    let names: Vec<_> = out.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["IsMigratable", "Findings"]);
    let types: Vec<_> = out.iter().map(|it| it.ty.as_ref().unwrap()).collect();
    assert_eq!((types[0].to_string(), types[1].to_string()), ("boolean".into(), "string[]".into()));
    assert_eq!(types[1].embedded, Some(Embedded::Instance));
    let (server, _) = service(answer(vec![(name("IsMigratable"), Value::from(true))]));
    let Ok(Reply::Method { out, .. }) = run(&server, check(valid())).await else { panic!() };
    assert_eq!(out.len(), 1);
}

#[tokio::test]
async fn references_in_output_get_the_namespace_of_what_they_name() {
    let (server, _) = service(answer(vec![(
        name("IsMigratable"),
        ObjectPath::from(path("KVM_MigrationJob", &[("InstanceID", "1")])).into(),
    )]));
    let Ok(Reply::Method { out, .. }) = run(&server, check(valid())).await else { panic!() };
    let Some(Value::Scalar(Scalar::Reference(path))) = &out[0].value else { panic!("{out:?}") };
    assert_eq!(path.namespace(), Some(&namespace("root/virt")));
}

#[tokio::test]
async fn what_cannot_be_called_is_told_apart() {
    let (server, shelf) = service(answer(Vec::new()));
    let class = "KVM_VirtualSystemMigrationService";
    let cases = [
        ("KVM_Nope", "X", StatusCode::NotFound, "KVM_Nope"),
        (class, "NoSuchMethod", StatusCode::MethodNotFound, "Unknown Method"),
        (class, "StopService", StatusCode::MethodNotAvailable, "StopService"),
        ("CIM_Service", "StopService", StatusCode::MethodNotAvailable, "CIM_Service"),
    ];
    for (class, method, status, text) in cases {
        fails(run(&server, on_class(class, method, Vec::new())).await, status, text);
    }
    let elsewhere = run_in(&server, "root/interop", check(valid())).await;
    fails(elsewhere, StatusCode::MethodNotAvailable, "Check");
    assert!(shelf.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn bad_parameters_never_reach_the_provider() {
    let (server, shelf) = service(answer(Vec::new()));
    let mut missing = valid();
    missing.remove(1);
    let reply = run(&server, check(missing)).await;
    fails(reply, StatusCode::InvalidParameter, "ComputerSystem");
    let mut wrong = valid();
    wrong[1].value = Some("peer1".into());
    fails(run(&server, check(wrong)).await, StatusCode::TypeMismatch, "ComputerSystem");
    assert!(shelf.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn refusals_of_a_provider_get_their_status() {
    let text = || "in words".to_owned();
    for (error, status) in [
        (ProviderError::NotFound(text()), StatusCode::NotFound),
        (ProviderError::InvalidParameter(text()), StatusCode::InvalidParameter),
        (ProviderError::NotSupported(text()), StatusCode::NotSupported),
        (ProviderError::MethodNotAvailable(text()), StatusCode::MethodNotAvailable),
        (ProviderError::LimitReached(text()), StatusCode::ServerLimitsExceeded),
        (ProviderError::Failed(text()), StatusCode::Failed),
        (ProviderError::Unreachable(text()), StatusCode::Failed),
    ] {
        let (server, _) = service(Err(error));
        let reply = run(&server, check(valid())).await;
        assert_eq!(reply.clone().unwrap_err().description, "in words");
        fails(reply, status, "in words");
    }
}

#[tokio::test]
async fn the_role_of_a_method_is_asked_before_its_parameters() {
    let (server, shelf) = service(answer(Vec::new()));
    for (role, allowed) in
        [(Role::Viewer, false), (Role::Checker, true), (Role::Operator, true), (Role::Admin, true)]
    {
        let request = Request { namespace: namespace("root/virt"), operation: check(Vec::new()) };
        let reply = server.execute(&context(role), request).await.collect().await;
        let status = if allowed { StatusCode::InvalidParameter } else { StatusCode::AccessDenied };
        assert_eq!(reply.unwrap_err().status, status, "{role:?}");
    }
    assert!(shelf.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_provider_knows_who_calls_and_when_they_hang_up() {
    let (server, shelf) = service(answer(Vec::new()));
    let ctx = context(Role::Checker);
    let request = Request { namespace: namespace("root/virt"), operation: check(valid()) };
    server.execute(&ctx, request).await.collect().await.unwrap();
    let call = shelf.calls.lock().unwrap().pop().unwrap();
    assert_eq!(call.principal, ctx.principal);
    ctx.cancelled.cancel();
    assert!(call.cancelled.is_cancelled());
}

#[tokio::test]
async fn who_calls_in_the_wrong_namespace_is_told_the_right_one() {
    let (server, _) = service(answer(Vec::new()));
    let reply = run_in(&server, "root/cimv2", check(valid())).await;
    fails(reply, StatusCode::MethodNotAvailable, "is called in root/virt, not in root/cimv2");
    let nowhere = on_class("KVM_VirtualSystemMigrationService", "StartService", Vec::new());
    fails(run(&server, nowhere).await, StatusCode::MethodNotAvailable, "is not implemented");
}
