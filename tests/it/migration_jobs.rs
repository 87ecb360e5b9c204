//! A migration from the request to the end of its job, through the whole daemon, on hypervisors in
//! memory and a real store.

use std::{fs, path::Path, sync::Arc, time::Duration};

use virtcimd::{
    cim::{
        AssociationFilter, CimName, ClassPath, Instance, InstanceOptions, InstancePath, Namespace,
        Object, ObjectPath, Operation, ParamValue, Reply, Request, Value,
    },
    client::{Client, Endpoint, ExchangeLimits},
    config::{self, Config, Overrides},
    daemon::Daemon,
    http::ListenAddress,
    hypervisor::{
        Domain, DomainState, Hypervisor,
        fake::{FakeHypervisor, FakeWorld},
    },
    telemetry::Chain,
};

use super::http_support::soon;

/// How long a client waits before it looks at its job again.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

const UUID: &str = "acecc272-f953-42ee-a4ea-38e648bfc1d7";

fn load(directory: &Path) -> Config {
    let checks = directory.join("checks");
    if !checks.exists() {
        fs::create_dir(&checks).unwrap();
    }
    let text = format!(
        "[daemon]\nruntime-directory = \"{0}/run\"\n[store]\npath = \"{0}/state/virtcimd.db\"\n\
         [listen]\nhttp = \"127.0.0.1:0\"\nunix = []\n[auth]\nmode = \"none\"\n\
         [checks]\ndirectory = \"{0}/checks\"\n[jobs]\nkeep = \"1h\"\n",
        directory.display()
    );
    let path = directory.join("virtcimd.toml");
    fs::write(&path, text).unwrap();
    config::load(Some(&path), &Overrides::default()).unwrap()
}

/// A host where `web` runs, and one to which it may go.
fn world() -> (Arc<FakeWorld>, Arc<FakeHypervisor>, Arc<FakeHypervisor>) {
    let world = FakeWorld::new();
    let hosts = ["qemu:///system", "qemu+ssh://there/system"].map(|uri| {
        let host = world.add_host(uri);
        host.edit_host(|info| {
            info.driver = "QEMU".to_owned();
            info.version = 7_002_013;
            info.libvirt_version = 9_000_000;
        });
        host
    });
    let [here, there] = hosts;
    let web: Domain = FakeHypervisor::guest("web", UUID, DomainState::Running);
    here.add_guest(web, "<domain><name>web</name></domain>");
    (world, here, there)
}

/// A running daemon and a client of it.
struct Server {
    daemon: Daemon,
    client: Client,
}

impl Server {
    async fn start(config: &Config, world: &Arc<FakeWorld>) -> Self {
        let connector = Arc::clone(world) as Arc<_>;
        let daemon = Daemon::start_on(config, Vec::new(), connector).await.unwrap();
        let [ListenAddress::Http(address)] = daemon.addresses() else { panic!("one address") };
        let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
        let client = Client::new(endpoint, None, None, ExchangeLimits::default());
        Self { daemon, client }
    }

    async fn ask(&self, operation: Operation) -> Reply {
        let namespace = Namespace::parse("root/virt").unwrap();
        soon(self.client.execute(&Request { namespace, operation })).await.unwrap()
    }

    async fn call(
        &self,
        object: impl Into<ObjectPath>,
        method: &str,
        parameters: Vec<(&str, Value)>,
    ) -> (i128, Vec<ParamValue>) {
        let parameters = parameters.into_iter().map(|(parameter, value)| ParamValue {
            name: name(parameter),
            ty: None,
            value: Some(value),
        });
        let operation = Operation::InvokeMethod {
            object: object.into(),
            method: name(method),
            parameters: parameters.collect(),
        };
        match self.ask(operation).await {
            Reply::Method { return_value, out, .. } => {
                (return_value.as_ref().and_then(Value::as_integer).unwrap(), out)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn migrate(&self) -> InstancePath {
        let keys = [("CreationClassName", "KVM_ComputerSystem"), ("Name", "web")];
        let keys = keys.map(|(key, value)| (name(key), value));
        let guest = InstancePath::new(name("KVM_ComputerSystem"), keys);
        let parameters = vec![
            ("ComputerSystem", Value::from(ObjectPath::from(guest))),
            ("DestinationHost", Value::from("there")),
        ];
        let service = ClassPath::local(name("KVM_VirtualSystemMigrationService"));
        let (code, out) = self.call(service, "MigrateVirtualSystemToHost", parameters).await;
        assert_eq!(code, 4096);
        let job = out[0].value.as_ref().and_then(Value::as_reference);
        job.and_then(ObjectPath::instance).expect("a job").clone()
    }

    async fn get(&self, path: &InstancePath) -> Instance {
        let operation =
            Operation::GetInstance { path: path.clone(), options: InstanceOptions::default() };
        match self.ask(operation).await {
            Reply::Instance(instance) => instance,
            other => panic!("{other:?}"),
        }
    }

    /// Polls, as clients do, until a property has that value.
    async fn until(&self, job: &InstancePath, property: &str, value: u64) -> Instance {
        soon(async {
            loop {
                let found = self.get(job).await;
                let state = number(&found, "JobState");
                assert!([4, 6, 7, 8].contains(&state), "{found:?}");
                if number(&found, property) == i128::from(value) {
                    return found;
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        })
        .await
    }

    async fn list(&self, operation: Operation) -> Vec<Instance> {
        let Reply::Objects(_, objects) = self.ask(operation).await else { panic!("no list") };
        let instance = |object| match object {
            Object::Instance(instance) => instance,
            other => panic!("{other:?}"),
        };
        objects.into_iter().map(instance).collect()
    }

    async fn enumerate(&self, class: &str) -> Vec<Instance> {
        let options = InstanceOptions::default();
        let class = name(class);
        self.list(Operation::EnumerateInstances { class, deep_inheritance: true, options }).await
    }

    async fn stop(self) {
        assert!(soon(self.daemon.stop()).await);
    }
}

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

fn number(instance: &Instance, property: &str) -> i128 {
    instance.value(&name(property)).and_then(Value::as_integer).unwrap_or(-1)
}

fn text<'a>(instance: &'a Instance, property: &str) -> &'a str {
    instance.value(&name(property)).and_then(Value::as_str).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_from_4_to_7_and_out_of_sight() {
    let directory = tempfile::tempdir().unwrap();
    let (world, _, there) = world();
    let server = Server::start(&load(directory.path()), &world).await;
    let job = server.migrate().await;
    let ended = server.until(&job, "JobState", 7).await;
    assert_eq!((text(&ended, "Status"), number(&ended, "ErrorCode")), ("Completed", 0));
    assert_eq!(there.domains().unwrap().len(), 1);
    let association = AssociationFilter {
        association_class: Some(name("CIM_OwningJobElement")),
        ..AssociationFilter::default()
    };
    let owners = Operation::Associators {
        object: job.clone().into(),
        filter: association,
        include_qualifiers: false,
        options: InstanceOptions::default(),
    };
    assert_eq!(text(&server.list(owners).await[0], "Name"), "MigrationService");
    server.ask(Operation::DeleteInstance { path: job }).await;
    assert!(server.enumerate("CIM_ConcreteJob").await.is_empty());
    assert_eq!(server.enumerate("Virtcimd_MigrationJobRecord").await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_its_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let config = load(directory.path());
    let (world, here, there) = world();
    let copying = here.hang("copy");
    let server = Server::start(&config, &world).await;
    let job = server.migrate().await;
    server.until(&job, "MigrationPhase", 4).await;
    server.stop().await;

    // The hypervisor carries on without us.
    let server = Server::start(&config, &world).await;
    let found = server.get(&job).await;
    assert_eq!((number(&found, "JobState"), text(&found, "VirtualSystemName")), (4, "web"));
    drop(copying);
    let ended = server.until(&job, "JobState", 7).await;
    assert_eq!((text(&ended, "Status"), number(&ended, "ErrorCode")), ("Completed", 0));
    assert!(here.domains().unwrap().is_empty());
    assert_eq!(there.domains().unwrap().len(), 1);
    server.stop().await;

    let server = Server::start(&config, &world).await;
    assert_eq!(text(&server.get(&job).await, "Status"), "Completed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_can_be_ended_by_the_next_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let config = load(directory.path());
    let (world, here, _) = world();
    let _copying = here.hang("copy");
    let server = Server::start(&config, &world).await;
    let job = server.migrate().await;
    server.until(&job, "MigrationPhase", 4).await;
    server.stop().await;
    let server = Server::start(&config, &world).await;
    let terminate = vec![("RequestedState", Value::from(4_u16))];
    let (code, _) = server.call(job.clone(), "RequestStateChange", terminate).await;
    assert!([0, 4096].contains(&code), "{code}");
    server.until(&job, "JobState", 8).await;
    assert_eq!(here.domains().unwrap()[0].state, DomainState::Running);
    server.stop().await;
}

#[tokio::test]
async fn a_damaged_store_keeps_the_daemon_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let config = load(directory.path());
    fs::create_dir(directory.path().join("state")).unwrap();
    fs::write(&config.store_path, "this is no database, and long enough to be seen".repeat(200))
        .unwrap();
    let started = Daemon::start_on(&config, Vec::new(), world().0 as Arc<_>).await;
    let message = Chain(&started.err().expect("refused")).to_string();
    assert!(message.starts_with("the store /"), "{message}");
    assert!(message.contains("is damaged"), "{message}");
}
