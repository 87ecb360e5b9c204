//! GetInstance, EnumerateInstances, EnumerateInstanceNames, and streams.

use super::*;
use crate::cim::Embedded;

#[track_caller]
fn check_get(path: InstancePath, expected: Result<&str, (StatusCode, &str)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reply = runtime.block_on(run(&kvm(&["a", "b"]), get(path.clone())));
    match (reply, expected) {
        (Ok(Reply::Instance(instance)), Ok(expected)) => {
            let found = instance.value(&name("Name")).and_then(Value::as_str);
            assert_eq!(found, Some(expected), "{path}");
        }
        (reply, Err((status, text))) => fails(reply, status, text),
        (reply, expected) => panic!("{path}: {reply:?}, expected {expected:?}"),
    }
}

#[test]
fn an_instance_is_found_by_its_keys_and_the_first_wrong_one_is_named() {
    let ccn = ("CreationClassName", "KVM_ComputerSystem");
    let not_found = |text| Err((StatusCode::NotFound, text));
    check_get(guest_path("b"), Ok("b"));
    check_get(path("kvm_computersystem", &[("NAME", "b"), ccn]), Ok("b"));
    check_get(path("KVM_ComputerSystem", &[ccn, ("Name", "b"), ("Extra", "x")]), Ok("b"));
    check_get(guest_path("nope"), not_found("No such instance (Name)"));
    check_get(path("KVM_ComputerSystem", &[ccn]), not_found("No such instance (Name)"));
    check_get(path("KVM_ComputerSystem", &[ccn, ("Name", "")]), not_found("(Name)"));
    check_get(path("KVM_ComputerSystem", &[("Name", "b")]), not_found("(CreationClassName)"));
    check_get(path("KVM_ComputerSystem", &[]), not_found("No such instance (CreationClassName)"));
    let wrong = [("CreationClassName", "Nope"), ("Name", "b")];
    check_get(path("KVM_ComputerSystem", &wrong), not_found("(CreationClassName)"));
    let upper = [("CreationClassName", "KVM_COMPUTERSYSTEM"), ("Name", "b")];
    check_get(path("KVM_ComputerSystem", &upper), Ok("b"));
}

#[test]
fn a_class_that_is_not_there_or_has_no_instances_is_told_apart() {
    check_get(path("KVM_Nope", &[]), Err((StatusCode::InvalidClass, "KVM_Nope")));
    check_get(path("KVM_MigrationJob", &[]), Err((StatusCode::NotFound, "No such instance")));
}

#[tokio::test]
async fn instances_live_in_one_namespace_and_unknown_ones_are_refused() {
    let server = kvm(&["a"]);
    let reply = run_in(&server, "root/interop", get(guest_path("a"))).await;
    fails(reply, StatusCode::NotFound, "No such instance");
    let reply = run_in(&server, "root/nope", get(guest_path("a"))).await;
    fails(reply, StatusCode::InvalidNamespace, "root/nope");
    assert!(run_in(&server, "Root/VIRT", get(guest_path("a"))).await.is_ok());
    let elsewhere = enumerate("CIM_ComputerSystem", true, None);
    assert_eq!(paths(run_in(&server, "root/cimv2", elsewhere).await), [""; 0]);
}

#[tokio::test]
async fn an_unreachable_host_has_no_instances() {
    let down = || ProviderError::Unreachable("down".to_owned());
    let server = server(|registry| {
        let shelf = Shelf::new("KVM_ComputerSystem", Vec::new()).failing(down());
        registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        let shelf = Shelf::new("Xen_ComputerSystem", vec![guest("Xen", "x")]);
        registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
    });
    fails(run(&server, get(guest_path("a"))).await, StatusCode::NotFound, "No such instance");
    let found = paths(run(&server, names("CIM_ComputerSystem")).await);
    assert_eq!(found.len(), 1, "the host's failure ends its part of the list only: {found:?}");
}

fn enumerate(class: &str, deep: bool, properties: Option<Vec<CimName>>) -> Operation {
    Operation::EnumerateInstances {
        class: name(class),
        deep_inheritance: deep,
        options: InstanceOptions { include_class_origin: false, properties },
    }
}

fn names(class: &str) -> Operation {
    Operation::EnumerateInstanceNames { class: name(class) }
}

fn instance(object: Object) -> Instance {
    match object {
        Object::Instance(instance) => instance,
        other => panic!("not an instance: {other:?}"),
    }
}

#[tokio::test]
async fn a_class_stands_for_its_subclasses_and_paths_say_where_objects_are() {
    let server = kvm(&["a", "b"]);
    let host =
        "//vm:5988/root/virt:KVM_HostSystem.CreationClassName=\"KVM_HostSystem\",Name=\"vm\"";
    let guest = |name: &str| {
        format!(
            "//vm:5988/root/virt:KVM_ComputerSystem.\
             CreationClassName=\"KVM_ComputerSystem\",Name=\"{name}\""
        )
    };
    let expected = [host.to_owned(), guest("a"), guest("b")];
    assert_eq!(paths(run(&server, names("CIM_ComputerSystem")).await), expected);
    assert_eq!(paths(run(&server, enumerate("CIM_System", true, None)).await), expected);
    assert_eq!(paths(run(&server, names("KVM_ComputerSystem")).await), expected[1..]);
    assert_eq!(paths(run(&server, names("Xen_ComputerSystem")).await), [""; 0]);
    fails(run(&server, names("CIM_Location")).await, StatusCode::InvalidClass, "CIM_Location");
}

#[tokio::test]
async fn every_property_of_the_class_is_shown_with_defaults_and_nulls() {
    let server = kvm(&["a"]);
    let Ok(Reply::Instance(found)) = run(&server, get(guest_path("a"))).await else {
        panic!("no instance");
    };
    let class = Repository::builtin().class(&name("KVM_ComputerSystem")).unwrap();
    let declared: Vec<_> = class.properties.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(shown(&found), declared);
    let number = |property| found.value(&name(property)).and_then(Value::as_integer);
    assert_eq!(number("EnabledState"), Some(3), "what the provider says");
    assert_eq!(number("RequestedState"), Some(12), "what the class says");
    assert_eq!(number("HealthState"), None, "what nobody says");
    assert_eq!(found.property(&name("HealthState")).unwrap().ty.to_string(), "uint16");
    assert!(found.properties.iter().all(|it| it.class_origin.is_none()));
}

#[tokio::test]
async fn property_lists_restrict_without_regard_to_case_order_and_unknown_names() {
    let server = kvm(&["a"]);
    let list = vec![name("nAME"), name("Nope"), name("ElementName"), name("Name")];
    let reply = run(&server, enumerate("KVM_ComputerSystem", true, Some(list))).await;
    let found = objects(reply).into_iter().map(instance).next().unwrap();
    let mut names = shown(&found);
    names.sort_unstable();
    assert_eq!(names, ["ElementName", "Name"]);
    let reply = run(&server, enumerate("KVM_ComputerSystem", true, Some(Vec::new()))).await;
    assert_eq!(shown(&instance(objects(reply).remove(0))), [""; 0]);
}

#[tokio::test]
async fn without_deep_inheritance_only_properties_of_the_named_class_are_shown() {
    let server = kvm(&["a"]);
    let shallow = objects(run(&server, enumerate("CIM_ManagedElement", false, None)).await);
    for object in shallow {
        let found = instance(object);
        assert_eq!(shown(&found).len(), 5, "{found:?}");
        assert!(found.path.expect("a path").key(&name("Name")).is_some(), "keys stay in the path");
    }
    let deep = objects(run(&server, enumerate("CIM_ManagedElement", true, None)).await);
    assert_eq!(shown(&instance(deep.into_iter().next_back().unwrap())).len(), 35);
}

#[tokio::test]
async fn class_origin_is_the_topmost_class_that_declares_the_property() {
    let server = kvm(&["a"]);
    let options = InstanceOptions { include_class_origin: true, properties: None };
    let operation = Operation::GetInstance { path: guest_path("a"), options };
    let Ok(Reply::Instance(found)) = run(&server, operation).await else { panic!("no instance") };
    let origin = |property| found.property(&name(property)).unwrap().class_origin.clone();
    assert_eq!(origin("UUID"), Some(name("KVM_ComputerSystem")));
    assert_eq!(origin("Name"), Some(name("CIM_ManagedSystemElement")));
}

#[tokio::test]
async fn an_error_before_the_first_object_is_an_ordinary_error_and_after_it_ends_the_list() {
    let broken = || ProviderError::Failed("disk on fire".to_owned());
    let serve = |instances| {
        server(|registry| {
            let shelf = Shelf::new("KVM_ComputerSystem", instances).failing(broken());
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        })
    };
    let request = || Request { namespace: namespace("root/virt"), operation: names("CIM_System") };
    let answer = serve(Vec::new()).execute(&context(Role::Viewer), request()).await;
    assert!(matches!(answer, Answer::Whole(Err(error)) if error.description == "disk on fire"));

    let server = serve(vec![guest("KVM", "a")]);
    let Answer::Stream(kind, mut stream) = server.execute(&context(Role::Viewer), request()).await
    else {
        panic!("no stream");
    };
    assert_eq!(kind, ListKind::InstanceNames);
    assert!(stream.next().await.unwrap().is_ok());
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(error.status, StatusCode::Failed);
    assert!(stream.next().await.is_none(), "nothing follows an error");
}

/// Finds guests for ever, and tells how many it found.
struct Endless {
    class: CimName,
    found: tokio::sync::watch::Sender<usize>,
}

impl InstanceProvider for Endless {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            loop {
                sink.put(guest("KVM", "again")).await?;
                self.found.send_modify(|found| *found += 1);
            }
        })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }
}

fn endless() -> (Operations, tokio::sync::watch::Receiver<usize>) {
    let (found, count) = tokio::sync::watch::channel(0);
    let provider = Endless { class: name("KVM_ComputerSystem"), found };
    let server = server(|registry| registry.serve(Space::Virt, Arc::new(provider)).unwrap());
    (server, count)
}

async fn endless_stream(server: &Operations) -> ObjectStream {
    let request = Request { namespace: namespace("root/virt"), operation: names("CIM_System") };
    match server.execute(&context(Role::Viewer), request).await {
        Answer::Stream(_, stream) => stream,
        Answer::Whole(reply) => panic!("no stream: {reply:?}"),
        Answer::Classes(_) => panic!("classes"),
    }
}

#[tokio::test]
async fn a_producer_waits_for_a_slow_reader_and_stops_when_it_goes_away() {
    let (server, mut count) = endless();
    let mut stream = endless_stream(&server).await;
    for _ in 0..100 {
        assert!(stream.next().await.unwrap().is_ok());
    }
    tokio::task::yield_now().await;
    let ahead = *count.borrow_and_update();
    assert!((100..=140).contains(&ahead), "{ahead} found for 100 read");
    drop(stream);
    // Only the task holds the server's clone of the provider for longer than this.
    server.close().await;
}

#[tokio::test]
async fn closing_ends_streams_with_an_error() {
    let (server, _count) = endless();
    let mut stream = endless_stream(&server).await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.close().await }
    });
    let error = loop {
        match stream.next().await.expect("an error ends the stream") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.status, StatusCode::ServerIsShuttingDown);
    closing.await.unwrap();
}

#[tokio::test]
async fn a_producer_that_dies_is_an_error_not_a_short_list() {
    struct Dying(CimName);
    impl InstanceProvider for Dying {
        fn class(&self) -> &CimName {
            &self.0
        }
        fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
            Box::pin(async move {
                sink.put(guest("KVM", "a")).await?;
                panic!("a defect")
            })
        }
        fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
            Box::pin(async { Err(ProviderError::no_instance()) })
        }
    }
    let provider = Dying(name("KVM_ComputerSystem"));
    let server = server(|registry| registry.serve(Space::Virt, Arc::new(provider)).unwrap());
    fails(run(&server, names("CIM_System")).await, StatusCode::Failed, "broke off");
}

#[tokio::test]
async fn what_changes_the_schema_or_the_host_is_not_supported_and_says_so() {
    let server = kvm(&["a"]);
    let delete = Operation::DeleteClass { class: name("KVM_HostSystem") };
    fails(run(&server, delete).await, StatusCode::NotSupported, "DeleteClass is not supported");
    let delete = Operation::DeleteInstance { path: guest_path("a") };
    fails(
        run(&server, delete).await,
        StatusCode::NotSupported,
        "KVM_ComputerSystem cannot be deleted",
    );
}

#[tokio::test]
async fn a_class_has_one_provider_in_a_namespace() {
    let mut registry = Registry::default();
    let shelf = || Arc::new(Shelf::new("KVM_HostSystem", Vec::new()));
    registry.serve(Space::Virt, shelf()).unwrap();
    registry.serve(Space::Interop, shelf()).unwrap();
    let error = registry.serve(Space::Virt, shelf()).unwrap_err();
    assert_eq!(error.class, name("KVM_HostSystem"));
}

#[tokio::test]
async fn roles_decide_before_anything_else_is_looked_at() {
    let server = kvm(&["a"]);
    for (operation, allowed) in [
        (get(guest_path("a")), true),
        (names("CIM_System"), true),
        (Operation::DeleteInstance { path: guest_path("nope") }, false),
        (Operation::DeleteClass { class: name("CIM_System") }, true),
    ] {
        let what = operation.name().to_owned();
        let request = Request { namespace: namespace("root/virt"), operation };
        let reply = server.execute(&context(Role::Viewer), request).await.collect().await;
        let denied = matches!(&reply, Err(error) if error.status == StatusCode::AccessDenied);
        assert_eq!(denied, !allowed, "{what}: {reply:?}");
    }
}

#[tokio::test]
async fn what_is_embedded_has_its_declared_types_as_well() {
    let source = Instance::new(name("KVM_HostSystem")).with(name("Name"), "vm");
    let call = Instance::new(name("CIM_InstMethodCall")).with(name("SourceInstance"), source);
    let result = Instance::new(name("CIM_MethodResult"))
        .with(name("InstanceID"), "1")
        .with(name("PreCallIndication"), call);
    let server = server(|registry| {
        let shelf = Shelf::new("CIM_MethodResult", vec![result]);
        registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
    });
    let path = path("CIM_MethodResult", &[("InstanceID", "1")]);
    let Ok(Reply::Instance(found)) = run(&server, get(path)).await else { panic!("not found") };
    let call = found.value(&name("PreCallIndication")).and_then(Value::as_instance).unwrap();
    let source = call.property(&name("SourceInstance")).unwrap();
    assert_eq!(source.ty.embedded, Some(Embedded::Object));
}
