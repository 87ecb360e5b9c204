//! The assembled operations, on objects in memory, without the network and hosts.

use std::sync::{Arc, LazyLock};

use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::WIDE;
use crate::{
    cim::{CimName, Instance, InstancePath, Operation, Property, Reply, Value},
    ops::{
        self, Answer, AssociationProvider, Context, End, InstanceProvider, Link, MethodCall,
        MethodResult, MethodSpec, Operations, Outcome, Principal, ProviderError, Registry, Role,
        Sink, Space,
    },
    repository::Repository,
    xml::{
        ClassesEncoder, EmbeddedArrays, FalseBoolean, Limits, ListEncoder, RequestBody,
        RequestMessage, Style, decode_reply, decode_request, encode_class, encode_reply,
    },
};

/// What separates the messages of one client.
const SEPARATOR: u8 = 0;

/// The messages of one client, one after the other. Each gets an answer that a client can read. A
/// message that pulls from the context `$` pulls from the one it was told last.
pub fn requests(bytes: &[u8]) {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Builder::new_current_thread().enable_time().build().expect("a runtime can be made")
    });
    RUNTIME.block_on(async {
        let operations = Operations::new(Repository::builtin(), registry(), ops::Limits::default());
        let mut context = None;
        for message in bytes.split(|byte| *byte == SEPARATOR) {
            if let Ok(message) = decode_request(message, &Limits::default()) {
                answer(&operations, message, &mut context).await;
            }
        }
        operations.close().await;
    });
}

/// Executes what a message asks, and reads the answer as its client would.
async fn answer(operations: &Operations, message: RequestMessage, context: &mut Option<String>) {
    let RequestBody::Simple(call) = &message.body else { return };
    let Ok(mut request) = call.request.clone() else { return };
    if let Some(asked) = asked_context(&mut request.operation)
        && asked == "$"
        && let Some(told) = context.as_ref()
    {
        asked.clone_from(told);
    }
    let operation = request.operation.clone();
    let style = Style {
        host: "localhost".to_owned(),
        namespace: request.namespace.clone(),
        false_booleans: FalseBoolean::Standard,
        embedded_arrays: EmbeddedArrays::Told,
    };
    let envelope = message.envelope(call);
    let bytes = match operations.execute(&caller(), request).await {
        Answer::Whole(reply) => {
            if let Ok(Reply::Pulled { context: Some(told), .. }) = &reply {
                *context = Some(told.clone());
            }
            encode_reply(&envelope, &reply, &style)
        }
        Answer::Stream(kind, mut objects) => {
            let encoder = ListEncoder::new(envelope, kind, &style);
            let mut bytes = Vec::new();
            encoder.begin(&mut bytes);
            while let Some(object) = objects.next().await {
                encoder.object(&object.expect("nothing breaks off here"), &mut bytes);
            }
            encoder.end(&mut bytes);
            bytes
        }
        Answer::Classes(mut list) => {
            let encoder = ClassesEncoder::new(envelope);
            let mut bytes = Vec::new();
            encoder.begin(&mut bytes);
            while let Some(name) = list.next_name() {
                let text = encode_class(&list.class(&name), EmbeddedArrays::Told);
                encoder.class(&text, &mut bytes);
            }
            encoder.end(&mut bytes);
            bytes
        }
    };
    if let Err(error) = decode_reply(&bytes, &operation, &WIDE) {
        panic!("{error} in the answer {}", String::from_utf8_lossy(&bytes));
    }
}

/// The context that an operation pulls from.
fn asked_context(operation: &mut Operation) -> Option<&mut String> {
    match operation {
        Operation::PullInstancesWithPath { context, .. }
        | Operation::PullInstancePaths { context, .. }
        | Operation::PullInstances { context, .. }
        | Operation::CloseEnumeration { context }
        | Operation::EnumerationCount { context } => Some(context),
        _ => None,
    }
}

fn caller() -> Context {
    Context {
        principal: Principal { name: "fuzz".to_owned(), role: Role::Admin },
        peer: "127.0.0.1:1".to_owned(),
        host: "localhost".to_owned(),
        cancelled: CancellationToken::new(),
    }
}

/// A host, its guests, what binds them, and a service with methods.
fn registry() -> Registry {
    let mut registry = Registry::default();
    let shelves = [
        ("KVM_HostSystem", &["vm"][..]),
        ("KVM_ComputerSystem", &["a", "b", "c"]),
        ("KVM_VirtualSystemSettingData", &["KVM:a", "KVM:b"]),
        ("KVM_VirtualSystemMigrationService", &["Service"]),
        ("KVM_VirtualSystemMigrationSettingData", &["MigrationSettingData"]),
    ];
    for (class, names) in shelves {
        let instances = names.iter().map(|name| instance(class, name)).collect();
        let shelf = Shelf { class: CimName::literal(class), instances };
        registry.serve(Space::Virt, Arc::new(shelf)).expect("each class is there once");
    }
    let end =
        |role, class| End { role: CimName::literal(role), classes: vec![CimName::literal(class)] };
    let bond = Bond {
        class: CimName::literal("KVM_HostedDependency"),
        ends: [end("Antecedent", "KVM_HostSystem"), end("Dependent", "KVM_ComputerSystem")],
    };
    registry.associate(Space::Virt, Arc::new(bond)).expect("each class is there once");
    registry
}

/// An instance whose keys are its class and its name.
fn instance(class: &'static str, name: &str) -> Instance {
    let class_name = CimName::literal(class);
    let declared = Repository::builtin().class(&class_name).expect("a class of the schema");
    let mut instance = Instance::new(class_name);
    for key in declared.keys() {
        let value = if key.name.as_str().ends_with("CreationClassName") { class } else { name };
        instance.set(key.name.clone(), value);
    }
    instance
}

/// Instances of one class. It lets itself be changed, and forgets the change.
struct Shelf {
    class: CimName,
    instances: Vec<Instance>,
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
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        let is_named = |instance: &&Instance| {
            path.keys.iter().all(|key| {
                let known = key.name.as_ref().and_then(|name| instance.value(name));
                known.and_then(Value::as_str) == key.value.as_str()
            })
        };
        let found = self.instances.iter().find(is_named).cloned();
        Box::pin(async move { found.ok_or_else(ProviderError::no_instance) })
    }

    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        Box::pin(async move { Ok(instance) })
    }

    fn modify(&self, _path: InstancePath, _changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn delete(&self, _path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn methods(&self) -> &'static [MethodSpec] {
        const REQUIRED: &[&str] = &["ComputerSystem", "DestinationHost"];
        const METHODS: [MethodSpec; 1] = [MethodSpec {
            name: "CheckVirtualSystemIsMigratableToHost",
            role: Role::Checker,
            required: REQUIRED,
        }];
        if self.class == "KVM_VirtualSystemMigrationService" { &METHODS } else { &[] }
    }

    fn invoke(&self, _call: MethodCall) -> Outcome<'_, MethodResult> {
        Box::pin(async {
            let out = vec![(CimName::literal("IsMigratable"), Value::from(true))];
            Ok(MethodResult { value: Value::from(0_u32), out })
        })
    }
}

/// Everything on one end is associated with everything on the other.
struct Bond {
    class: CimName,
    ends: [End; 2],
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
        _source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            if *role == self.ends[0].role {
                for guest in ["a", "b", "c"] {
                    sink.put(instance("KVM_ComputerSystem", guest).into()).await?;
                }
            } else {
                sink.put(instance("KVM_HostSystem", "vm").into()).await?;
            }
            Ok(())
        })
    }
}
