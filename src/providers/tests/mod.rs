//! The model over hypervisors in memory, asked through `ops` as clients ask.

mod check;
mod events;
mod migrate;
mod model;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    checks::{self, Gate, builtin::Levels},
    cim::{
        AssociationFilter, CimError, InstanceOptions, InstancePath, KeyValue, Namespace, Object,
        Operation, Reply, Request, StatusCode,
    },
    hypervisor::{
        Connection, ConnectionOptions, Console, Domain, DomainConfig, DomainState, HypervisorError,
        fake::{FakeHypervisor, FakeWorld},
    },
    indications::{self, DeliveryOptions, Subscriptions},
    migration::{DestinationPolicy, DiskDirectories, MigrationHandle, Options, Parts},
    ops::{Context, Limits, Operations, Principal, Role},
    repository::Repository,
    store::Store,
};

/// The UUID of peer1.
const UUID: &str = "acecc272-f953-42ee-a4ea-38e648bfc1d7";

pub(super) fn name(text: &str) -> CimName {
    CimName::parse(text).expect("a name")
}

/// Options of migrations that do not keep a test waiting.
fn quick_options() -> Options {
    let quick = Duration::from_millis(5);
    Options { look_again: quick, poll: quick, ..Options::default() }
}

/// A server whose hypervisors are in memory, with an empty check directory.
pub(super) struct World {
    world: Arc<FakeWorld>,
    hypervisors: Vec<Arc<FakeHypervisor>>,
    operations: Operations,
    directory: tempfile::TempDir,
    terms: watch::Sender<Arc<Terms>>,
    jobs: MigrationHandle,
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    /// One hypervisor for each prefix, each with the guest peer1, which does not run.
    pub(super) async fn new(prefixes: &[Prefix]) -> Self {
        Self::prepared(prefixes, |_| ()).await
    }

    /// The same, prepared before anybody connects.
    async fn prepared(prefixes: &[Prefix], prepare: impl Fn(&FakeHypervisor)) -> Self {
        Self::with_options(prefixes, prepare, quick_options()).await
    }

    /// The same, where migrations are carried out as `options` say.
    async fn with_options(
        prefixes: &[Prefix],
        prepare: impl Fn(&FakeHypervisor),
        options: Options,
    ) -> Self {
        let world = FakeWorld::new();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("checks")).unwrap();
        let checks = checks::Options {
            directory: directory.path().join("checks"),
            runtime_directory: directory.path().join("run"),
            containment: checks::Containment::Ancestry,
            ..checks::Options::default()
        };
        let (terms, current) = watch::channel(Arc::new(Terms {
            gate: Gate::new(checks).unwrap(),
            levels: Levels::default(),
            destinations: DestinationPolicy::default(),
            check_failure: CheckFailure::default(),
            failed_job_state: FailedJobState::default(),
            disk_directories: DiskDirectories::default(),
            ssh_key_directory: None,
        }));
        let (mut hypervisors, mut connections) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            let uri = format!("fake:///{prefix}");
            let hypervisor = world.add_host(&uri);
            hypervisor.edit_host(|host| {
                host.hostname = "vm".to_owned();
                host.driver = "QEMU".to_owned();
                host.version = 7_002_013;
                host.libvirt_version = 9_000_000;
            });
            hypervisor.add_guest(guest("peer1", DomainState::Shutoff), "<domain/>");
            prepare(&hypervisor);
            hypervisors.push(hypervisor);
            let connecting = ConnectionOptions::new(uri);
            let connector = Arc::clone(&world) as Arc<_>;
            connections.push(Connection::start(connecting, connector, &tasks, stop.clone()));
        }
        let store = Store::open(&directory.path().join("virtcimd.db")).await.unwrap();
        let parts = Parts {
            store: store.clone(),
            sources: connections.clone(),
            connector: Arc::clone(&world) as Arc<_>,
            gate: ask_gate(current.clone()),
        };
        let jobs = MigrationHandle::start(parts, options, &tasks, stop.clone()).await.unwrap();
        let migrations = Migrations::new(Arc::clone(&world) as Arc<_>, current);
        let mut registry = Registry::default();
        let mut hosts = Vec::new();
        for (prefix, connection) in prefixes.iter().zip(connections) {
            let host = Host { prefix: *prefix, connection, migrations: jobs.clone() };
            register(&mut registry, &host, &migrations).unwrap();
            hosts.push(host);
        }
        register_jobs(&mut registry, &hosts, &migrations).unwrap();
        let server = Server {
            system: "vm".to_owned(),
            authenticates: true,
            certificates: false,
            max_operation_timeout: 600,
        };
        register_server(&mut registry, &server, &hosts).unwrap();
        let limits = indications::Limits::default();
        let delivery = DeliveryOptions::default();
        let kept = indications::Options { system: "vm".to_owned(), limits, delivery };
        let schema = Repository::builtin();
        let started = Subscriptions::start(store.clone(), schema, kept, &tasks, stop.clone());
        let subscriptions = started.await.unwrap();
        register_subscriptions(&mut registry, &server, &limits, &subscriptions).unwrap();
        let operations = Operations::new(Repository::builtin(), registry, Limits::default());
        Self { world, hypervisors, operations, directory, terms, jobs, store, tasks, stop }
    }

    /// Changes the terms of migrations.
    fn change_terms(&self, change: impl FnOnce(&mut Terms)) {
        self.terms.send_modify(|terms| change(Arc::make_mut(terms)));
    }

    pub(super) async fn run(&self, operation: Operation) -> Result<Reply, CimError> {
        self.run_in("root/virt", operation).await
    }

    pub(super) async fn run_in(
        &self,
        namespace: &str,
        operation: Operation,
    ) -> Result<Reply, CimError> {
        self.run_until(namespace, operation, CancellationToken::new()).await
    }

    /// Runs an operation whose caller hangs up when `cancelled` is.
    async fn run_until(
        &self,
        namespace: &str,
        operation: Operation,
        cancelled: CancellationToken,
    ) -> Result<Reply, CimError> {
        self.execute(Role::Admin, namespace, operation, cancelled).await
    }

    /// Runs an operation of a caller with that role.
    async fn run_as(&self, role: Role, operation: Operation) -> Result<Reply, CimError> {
        self.execute(role, "root/virt", operation, CancellationToken::new()).await
    }

    async fn execute(
        &self,
        role: Role,
        namespace: &str,
        operation: Operation,
        cancelled: CancellationToken,
    ) -> Result<Reply, CimError> {
        let ctx = Context {
            principal: Principal { name: "someone".to_owned(), role },
            peer: "unix:1".to_owned(),
            host: "vm".to_owned(),
            cancelled,
        };
        let namespace = Namespace::parse(namespace).unwrap();
        self.operations.execute(&ctx, Request { namespace, operation }).await.collect().await
    }

    async fn get(&self, path: InstancePath) -> Result<Instance, CimError> {
        let options = InstanceOptions::default();
        match self.run(Operation::GetInstance { path, options }).await? {
            Reply::Instance(instance) => Ok(instance),
            other => panic!("not an instance: {other:?}"),
        }
    }

    async fn enumerate(&self, class: &str) -> Vec<Instance> {
        let operation = Operation::EnumerateInstances {
            class: name(class),
            deep_inheritance: true,
            options: InstanceOptions::default(),
        };
        instances(self.run(operation).await.expect("a list"))
    }

    async fn associators(&self, source: &InstancePath, class: &str) -> Vec<Instance> {
        let operation = Operation::Associators {
            object: source.clone().into(),
            filter: association(class),
            include_qualifiers: false,
            options: InstanceOptions::default(),
        };
        instances(self.run(operation).await.expect("a list"))
    }

    pub(super) async fn close(self) {
        self.operations.close().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

pub(super) fn association(class: &str) -> AssociationFilter {
    AssociationFilter { association_class: Some(name(class)), ..AssociationFilter::default() }
}

pub(super) fn instances(reply: Reply) -> Vec<Instance> {
    let Reply::Objects(_, objects) = reply else { panic!("not a list: {reply:?}") };
    let instance = |object| match object {
        Object::Instance(instance) => instance,
        other => panic!("not an instance: {other:?}"),
    };
    objects.into_iter().map(instance).collect()
}

fn guest(name: &str, state: DomainState) -> Domain {
    FakeHypervisor::guest(name, UUID, state)
}

fn path(class: &str, keys: &[(&str, &str)]) -> InstancePath {
    InstancePath::new(name(class), keys.iter().map(|(key, value)| (name(key), *value)))
}

/// `Class.Key=value,Key=value`, all values strings.
pub(super) fn parse(text: &str) -> InstancePath {
    let (class, keys) = text.split_once('.').unwrap_or((text, ""));
    let keys = keys.split(',').filter_map(|key| key.split_once('='));
    path(class, &keys.collect::<Vec<_>>())
}

fn service_path(class: &str, service: &str) -> String {
    format!(
        "{class}.SystemCreationClassName=KVM_HostSystem,SystemName=vm,CreationClassName={class},\
         Name={service}"
    )
}

pub(super) const HOST: &str = "KVM_HostSystem.CreationClassName=KVM_HostSystem,Name=vm";
pub(super) const GUEST: &str = "KVM_ComputerSystem.CreationClassName=KVM_ComputerSystem,Name=peer1";
const SETTINGS: &str = "KVM_VirtualSystemSettingData.InstanceID=KVM:peer1";

pub(super) fn migration_service_path() -> String {
    service_path("KVM_VirtualSystemMigrationService", "MigrationService")
}

fn management_service_path() -> String {
    service_path("KVM_VirtualSystemManagementService", "Management Service")
}

/// A value as a short text: `3`, `[3,4]`, `NULL`.
fn brief(value: Option<&Value>) -> String {
    let scalar = |scalar: &crate::cim::Scalar| match KeyValue::from_scalar(scalar) {
        Some(KeyValue::String(text)) => text,
        Some(other) => other.to_string(),
        None => "?".to_owned(),
    };
    match value {
        None => "NULL".to_owned(),
        Some(Value::Scalar(it)) => scalar(it),
        Some(Value::Array(elements)) => {
            let elements = elements.iter().flatten().map(scalar).collect::<Vec<_>>();
            format!("[{}]", elements.join(","))
        }
    }
}

#[track_caller]
pub(super) fn has(instance: &Instance, expected: &[(&str, &str)]) {
    for (property, value) in expected {
        let declared = instance.property(&name(property));
        assert!(declared.is_some(), "{} has no {property}", instance.class);
        let found = brief(instance.value(&name(property)));
        assert_eq!(found, *value, "{} of {}", property, instance.class);
    }
}
