//! Operations that change instances.

use super::*;
use crate::cim::{CimType, DataType, Property, Scalar};

/// Keeps indication filters and remembers what was done to them.
#[derive(Default)]
struct Filters(Mutex<Vec<Instance>>);

static CLASS: CimName = CimName::literal("CIM_IndicationFilter");

impl Filters {
    fn position(&self, path: &InstancePath) -> Option<usize> {
        let wanted = path.string_key(&name("Name"));
        let filters = self.0.lock().unwrap();
        filters.iter().position(|it| it.value(&name("Name")).and_then(Value::as_str) == wanted)
    }
}

impl InstanceProvider for Filters {
    fn class(&self) -> &CimName {
        &CLASS
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        let filters = self.0.lock().unwrap().clone();
        Box::pin(async move {
            for filter in filters {
                sink.put(filter).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        let found = self.position(path).map(|index| self.0.lock().unwrap()[index].clone());
        Box::pin(async move { found.ok_or_else(ProviderError::no_instance) })
    }

    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        let mut instance = instance;
        for key in ["SystemCreationClassName", "SystemName", "CreationClassName"] {
            instance.set(name(key), "x");
        }
        self.0.lock().unwrap().push(instance.clone());
        Box::pin(async move { Ok(instance) })
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        let index = self.position(&path).unwrap();
        let mut filters = self.0.lock().unwrap();
        for change in changes {
            filters[index].properties.retain(|it| it.name != change.name);
            filters[index].properties.push(change);
        }
        Box::pin(async { Ok(()) })
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        let index = self.position(&path).unwrap();
        self.0.lock().unwrap().remove(index);
        Box::pin(async { Ok(()) })
    }
}

fn filters() -> Operations {
    server(|registry| registry.serve(Space::Virt, Arc::new(Filters::default())).unwrap())
}

fn new(properties: &[(&str, Value)]) -> Instance {
    let mut instance = Instance::new(CLASS.clone());
    for (property, value) in properties {
        instance.set(name(property), value.clone());
    }
    instance
}

fn at(filter: &str) -> InstancePath {
    let keys = [
        ("SystemCreationClassName", "x"),
        ("SystemName", "x"),
        ("CreationClassName", "x"),
        ("Name", filter),
    ];
    path("CIM_IndicationFilter", &keys)
}

async fn property(server: &Operations, property: &str) -> Result<Reply, CimError> {
    run(server, Operation::GetProperty { path: at("f"), property: name(property) }).await
}

fn string(text: &str) -> Result<Reply, CimError> {
    Ok(Reply::Property(DataType::scalar(CimType::String), Some(Value::from(text))))
}

#[tokio::test]
async fn an_instance_is_made_changed_and_deleted() {
    let server = filters();
    let instance = new(&[("Name", "f".into()), ("Query", "q".into()), ("ElementName", "e".into())]);
    let created = run(&server, Operation::CreateInstance { instance }).await;
    let Ok(Reply::InstanceName(path)) = created else { panic!("{created:?}") };
    assert!(path.same_object(&at("f")) && path.namespace.is_none());

    let mut instance = new(&[("Name", "f".into()), ("Query", "r".into()), ("Caption", "c".into())]);
    instance.path = Some(at("f"));
    let listed = Some(vec![name("Query"), name("ElementName")]);
    let modify = Operation::ModifyInstance { instance, properties: listed };
    assert_eq!(run(&server, modify).await, Ok(Reply::Void));
    assert_eq!(property(&server, "Query").await, string("r"));
    let null = Ok(Reply::Property(DataType::scalar(CimType::String), None));
    assert_eq!(property(&server, "ElementName").await, null, "listed, but not in the instance");
    assert_eq!(property(&server, "Caption").await, null, "in the instance, but not listed");

    let value = Some(Value::Scalar(Scalar::Untyped("s".to_owned())));
    let set = Operation::SetProperty { path: at("f"), property: name("query"), value };
    assert_eq!(run(&server, set).await, Ok(Reply::Void));
    assert_eq!(property(&server, "Query").await, string("s"));

    assert_eq!(run(&server, Operation::DeleteInstance { path: at("f") }).await, Ok(Reply::Void));
    fails(
        run(&server, Operation::DeleteInstance { path: at("f") }).await,
        StatusCode::NotFound,
        "",
    );
}

#[tokio::test]
async fn what_does_not_fit_the_class_is_refused_by_name() {
    let server = filters();
    let create = async |properties: &[(&str, Value)], status, text| {
        let instance = new(properties);
        fails(run(&server, Operation::CreateInstance { instance }).await, status, text);
    };
    create(&[("Nope", "x".into())], StatusCode::InvalidParameter, "no property Nope").await;
    create(
        &[("Query", 5_u8.into())],
        StatusCode::InvalidParameter,
        "`Query` of parameter `NewInstance` must be a string",
    )
    .await;
    let instance = Instance::new(name("KVM_Nope"));
    fails(
        run(&server, Operation::CreateInstance { instance }).await,
        StatusCode::InvalidClass,
        "KVM_Nope",
    );
    let instance = Instance::new(name("KVM_HostSystem"));
    let text = "instances of KVM_HostSystem cannot be created";
    fails(
        run(&server, Operation::CreateInstance { instance }).await,
        StatusCode::NotSupported,
        text,
    );

    let instance = new(&[("Name", "f".into())]);
    run(&server, Operation::CreateInstance { instance }).await.expect("made");
    let modify = async |properties: &[(&str, Value)], status, text| {
        let mut instance = new(properties);
        instance.path = Some(at("f"));
        let operation = Operation::ModifyInstance { instance, properties: None };
        fails(run(&server, operation).await, status, text);
    };
    modify(&[("Name", "g".into())], StatusCode::InvalidParameter, "key property Name").await;
    modify(&[("Nope", "g".into())], StatusCode::InvalidParameter, "no property Nope").await;
    fails(property(&server, "Nope").await, StatusCode::NoSuchProperty, "no property Nope");
    // That there is no such instance comes first.
    let nowhere = || (at("g"), name("Nope"));
    let (path, property) = nowhere();
    let read = Operation::GetProperty { path, property };
    fails(run(&server, read).await, StatusCode::NotFound, "No such instance");
    let (path, property) = nowhere();
    let set = Operation::SetProperty { path, property, value: Some("x".into()) };
    fails(run(&server, set).await, StatusCode::NotFound, "No such instance");
    let value = Some(Value::from(5_u8));
    let set = Operation::SetProperty { path: at("f"), property: name("Query"), value };
    fails(run(&server, set).await, StatusCode::TypeMismatch, "`Query`");
}

#[tokio::test]
async fn only_operators_change_instances() {
    let request = Request {
        namespace: namespace("root/virt"),
        operation: Operation::CreateInstance { instance: Instance::new(CLASS.clone()) },
    };
    let answer = filters().execute(&context(Role::Checker), request).await;
    fails(answer.collect().await, StatusCode::AccessDenied, "needs the role operator");
}

#[tokio::test]
async fn who_writes_in_the_wrong_namespace_is_told_the_right_one() {
    let server = kvm(&["a"]);
    let made = Operation::CreateInstance { instance: guest("KVM", "b") };
    let reply = run_in(&server, "interop", made).await;
    fails(reply, StatusCode::NotSupported, "are created in root/virt, not in root/interop");
    // What is not there cannot be deleted, whoever could delete it elsewhere.
    let deleted = Operation::DeleteInstance { path: guest_path("a") };
    let reply = run_in(&server, "interop", deleted).await;
    fails(reply, StatusCode::NotFound, "root/interop has no instances of class KVM_ComputerSystem");
}
