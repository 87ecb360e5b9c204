//! Operations on providers in memory, over the schema inside the program.

mod associations;
mod audit;
mod classes;
mod conform;
mod instances;
mod methods;
mod misread;
mod properties;
mod pull;
mod queries;
mod write;

use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    cim::{
        CimName, Instance, InstanceOptions, InstancePath, Namespace, Object, Operation, Request,
        StatusCode, Value,
    },
    repository::Repository,
};

pub(super) fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

pub(super) fn namespace(text: &str) -> Namespace {
    Namespace::parse(text).expect("a namespace")
}

/// Serves a fixed list of instances of one class.
pub(super) struct Shelf {
    class: CimName,
    instances: Vec<Instance>,
    /// What `enumerate` ends with, and `get` fails with.
    error: Option<ProviderError>,
    methods: &'static [MethodSpec],
    calls: Mutex<Vec<MethodCall>>,
    result: Result<MethodResult, ProviderError>,
}

impl Shelf {
    pub(super) fn new(class: &str, instances: Vec<Instance>) -> Self {
        Self {
            class: name(class),
            instances,
            error: None,
            methods: &[],
            calls: Mutex::default(),
            result: Ok(MethodResult { value: Value::from(0_u32), out: Vec::new() }),
        }
    }

    pub(super) fn failing(mut self, error: ProviderError) -> Self {
        self.error = Some(error);
        self
    }
}

impl InstanceProvider for Shelf {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for instance in &self.instances {
                sink.put(instance.clone()).await?;
            }
            self.error.clone().map_or(Ok(()), Err)
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            if let Some(error) = &self.error {
                return Err(error.clone());
            }
            // The last key tells instances apart; the others are for `ops` to compare.
            let last = path.keys.last().and_then(|key| key.value.as_str());
            let found = self.instances.iter().find(|it| {
                let keys = path.keys.last().and_then(|key| key.name.as_ref());
                keys.and_then(|key| it.value(key)).and_then(Value::as_str) == last
            });
            found.or(self.instances.first()).cloned().ok_or_else(ProviderError::no_instance)
        })
    }

    fn methods(&self) -> &'static [MethodSpec] {
        self.methods
    }

    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        Box::pin(async move {
            self.calls.lock().unwrap().push(call);
            self.result.clone()
        })
    }
}

pub(super) fn host(prefix: &str) -> Instance {
    let class = format!("{prefix}_HostSystem");
    Instance::new(name(&class))
        .with(name("CreationClassName"), class.as_str())
        .with(name("Name"), "vm")
}

pub(super) fn guest(prefix: &str, guest: &str) -> Instance {
    let class = format!("{prefix}_ComputerSystem");
    Instance::new(name(&class))
        .with(name("CreationClassName"), class.as_str())
        .with(name("Name"), guest)
        .with(name("EnabledState"), 3_u16)
}

/// A server with what `build` registers.
pub(super) fn server(build: impl FnOnce(&mut Registry)) -> Operations {
    let mut registry = Registry::default();
    build(&mut registry);
    Operations::new(Repository::builtin(), registry, Limits::default())
}

/// One KVM host with guests of these names.
pub(super) fn kvm(guests: &'static [&str]) -> Operations {
    server(|registry| {
        let guests = guests.iter().map(|it| guest("KVM", it)).collect();
        for shelf in [
            Shelf::new("KVM_HostSystem", vec![host("KVM")]),
            Shelf::new("KVM_ComputerSystem", guests),
            Shelf::new("Xen_ComputerSystem", Vec::new()),
        ] {
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        }
    })
}

pub(super) fn context(role: Role) -> Context {
    Context {
        principal: Principal { name: "someone".to_owned(), role },
        peer: "127.0.0.1:1".to_owned(),
        host: "vm:5988".to_owned(),
        cancelled: CancellationToken::new(),
    }
}

/// What an operation answers, a stream read to its end.
pub(super) async fn run_in(
    operations: &Operations,
    space: &str,
    operation: Operation,
) -> Result<Reply, CimError> {
    let request = Request { namespace: namespace(space), operation };
    operations.execute(&context(Role::Admin), request).await.collect().await
}

pub(super) async fn run(operations: &Operations, operation: Operation) -> Result<Reply, CimError> {
    run_in(operations, "root/virt", operation).await
}

/// The objects of a list.
#[track_caller]
pub(super) fn objects(reply: Result<Reply, CimError>) -> Vec<Object> {
    match reply.expect("a reply") {
        Reply::Objects(_, objects) => objects,
        other => panic!("not a list: {other:?}"),
    }
}

#[track_caller]
pub(super) fn paths(reply: Result<Reply, CimError>) -> Vec<String> {
    let path = |object| match object {
        Object::InstancePath(path) => path.to_string(),
        Object::Instance(instance) => instance.path.expect("a path").to_string(),
        Object::ClassPath(path) | Object::Class(path, _) => path.to_string(),
    };
    objects(reply).into_iter().map(path).collect()
}

#[track_caller]
pub(super) fn fails(reply: Result<Reply, CimError>, status: StatusCode, text: &str) {
    let error = reply.expect_err("an error");
    assert_eq!(error.status, status, "{error}");
    assert!(error.description.contains(text), "{error} does not contain {text:?}");
}

/// A path whose keys are strings, `Key=value` each.
pub(super) fn path(class: &str, keys: &[(&str, &str)]) -> InstancePath {
    InstancePath::new(name(class), keys.iter().map(|(key, value)| (name(key), *value)))
}

pub(super) fn guest_path(guest: &str) -> InstancePath {
    path("KVM_ComputerSystem", &[("CreationClassName", "KVM_ComputerSystem"), ("Name", guest)])
}

pub(super) fn host_path() -> InstancePath {
    path("KVM_HostSystem", &[("CreationClassName", "KVM_HostSystem"), ("Name", "vm")])
}

pub(super) fn get(path: InstancePath) -> Operation {
    Operation::GetInstance { path, options: InstanceOptions::default() }
}

/// The names of the properties that are shown.
pub(super) fn shown(instance: &Instance) -> Vec<&str> {
    instance.properties.iter().map(|property| property.name.as_str()).collect()
}

/// What stands at the two ends, and what else the association says.
type Bonded = (Instance, Instance, Vec<(CimName, Value)>);

/// An association between objects that are told apart by their last key.
pub(super) struct Bond {
    class: CimName,
    ends: [End; 2],
    links: Vec<Bonded>,
    as_paths: bool,
}

impl Bond {
    pub(super) fn new(
        class: &str,
        first: (&str, &[&str]),
        second: (&str, &[&str]),
        links: Vec<(Instance, Instance)>,
    ) -> Self {
        let end = |(role, classes): (&str, &[&str])| End {
            role: name(role),
            classes: classes.iter().map(|class| name(class)).collect(),
        };
        let links = links.into_iter().map(|(a, b)| (a, b, Vec::new())).collect();
        Self { class: name(class), ends: [end(first), end(second)], links, as_paths: false }
    }
}

fn same(a: &Instance, b: &Instance) -> bool {
    a.class == b.class && a.value(&name("Name")) == b.value(&name("Name"))
}

impl AssociationProvider for Bond {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            for (first, second, properties) in &self.links {
                let (near, far) = match *role == self.ends[0].role {
                    true => (first, second),
                    false => (second, first),
                };
                if same(near, source) {
                    let far = match self.as_paths {
                        true => Far::Path(test_path(far)),
                        false => Far::Instance(far.clone()),
                    };
                    sink.put(Link { far, properties: properties.clone() }).await?;
                }
            }
            Ok(())
        })
    }
}

fn test_path(instance: &Instance) -> InstancePath {
    let key = |key: &str| instance.value(&name(key)).and_then(Value::as_str).unwrap().to_owned();
    InstancePath::new(
        instance.class.clone(),
        ["CreationClassName", "Name"].map(|it| (name(it), key(it))),
    )
}
