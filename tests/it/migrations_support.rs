//! Migrations between two real hosts, by the executor itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::{task::spawn_blocking, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use virtcimd::{
    checks::{
        Report,
        builtin::{self, Levels},
    },
    hypervisor::{
        Connection, ConnectionOptions, Connector, Domain, DomainState, HypervisorError, Migrator,
        libvirt::{KeepAlive, LibvirtConnector, LibvirtOptions},
    },
    migration::{
        DestinationPolicy, Edits, JobView, MigrationHandle, MigrationType, Mode, Options, Parts,
        Request, Settings, SettingsSpec, Target, Transport,
        job::{Phase, Reason},
    },
    store::Store,
};

use crate::two_hosts::TwoHosts;

/// A long time for what takes some seconds on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(120);

/// One of the two hosts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Host {
    A,
    B,
}

impl Host {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "hosta",
            Self::B => "hostb",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn key(self, rest: &str) -> String {
        format!("{}_{rest}", self.name().to_uppercase())
    }
}

/// Both hosts and the program's directory, which outlives the program.
pub(crate) struct Bed {
    pub(crate) hosts: TwoHosts,
    pub(crate) directory: TempDir,
}

/// What runs the migrations.
pub(crate) struct Program {
    pub(crate) handle: MigrationHandle,
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
    connector: Arc<Roads>,
    sockets: [String; 2],
}

/// How the hosts are reached from here, and how by each other.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Addresses {
    sockets: [String; 2],
    tcp: [String; 2],
    tls: [String; 2],
    ssh: [String; 2],
}

/// The hosts know each other by names that mean nothing here, where their sockets are.
struct Roads {
    libvirt: LibvirtConnector,
    addresses: Addresses,
}

impl Connector for Roads {
    fn open(&self, uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError> {
        let Addresses { sockets, tcp, tls, ssh } = &self.addresses;
        let at =
            [tcp, tls, ssh].into_iter().find_map(|peers| peers.iter().position(|it| it == uri));
        self.libvirt.open(at.map_or(uri, |at| &sockets[at]))
    }
}

impl Bed {
    pub(crate) fn up() -> Option<Self> {
        let hosts = TwoHosts::up()?;
        Some(Self { hosts, directory: tempfile::tempdir().unwrap() })
    }

    pub(crate) fn addresses(&self) -> Addresses {
        let both =
            |rest: &str| [Host::A, Host::B].map(|host| self.hosts.get(&host.key(rest)).to_owned());
        Addresses {
            sockets: both("URI"),
            tcp: both("PEER_TCP"),
            tls: both("PEER_TLS"),
            ssh: both("PEER_SSH"),
        }
    }

    pub(crate) async fn program(&self, options: Options) -> Program {
        Program::start(self.addresses(), &self.store(), options).await
    }

    pub(crate) fn host(&self, host: Host) -> Arc<dyn Migrator> {
        let libvirt = LibvirtConnector::new(LibvirtOptions::default());
        libvirt.open(self.hosts.get(&host.key("URI"))).unwrap()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    pub(crate) fn guest(&self, arguments: &[&str]) -> String {
        self.hosts.testbed(&[&["guest"], arguments].concat())
    }

    /// Starts a guest with some memory to keep, and waits until it has kept it.
    pub(crate) fn start_guest(&self, arguments: &[&str]) {
        self.guest(&[&["start", "web", "--keep", "8"], arguments].concat());
        self.guest(&["wait", "web", "1"]);
    }

    /// It goes on there, and has always been in one place.
    pub(crate) fn goes_on(&self, host: Host) {
        let ticks = self.guest(&["ticks", "web", "--host", host.name()]);
        let next = ticks.trim().parse::<u32>().unwrap_or(0) + 1;
        self.guest(&["wait", "web", &next.to_string(), "--host", host.name()]);
        self.guest(&["account", "web"]);
    }
}

impl Program {
    pub(crate) async fn start(addresses: Addresses, store: &Path, options: Options) -> Self {
        let keep_alive = KeepAlive { interval: Duration::from_secs(1), count: 3 };
        let libvirt = LibvirtConnector::new(LibvirtOptions { keep_alive, ..Default::default() });
        let sockets = addresses.sockets.clone();
        let connector = Arc::new(Roads { libvirt, addresses });
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let store = Store::open(store).await.unwrap();
        let sources = sockets.iter().map(|uri| {
            let options = ConnectionOptions::new(uri.clone());
            Connection::start(options, Arc::clone(&connector) as _, &tasks, stop.clone())
        });
        let parts = Parts {
            store: store.clone(),
            sources: sources.collect(),
            connector: Arc::clone(&connector) as _,
            gate: Arc::new(|question, _| {
                Box::pin(async move {
                    let run = move || builtin::run(&question.inputs, &Levels::default());
                    Ok(Report { findings: spawn_blocking(run).await.unwrap() })
                })
            }),
        };
        let handle = MigrationHandle::start(parts, options, &tasks, stop.clone()).await.unwrap();
        Self { handle, store, tasks, stop, connector, sockets }
    }

    /// Ends as the daemon does.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        soon(self.tasks.wait()).await;
        self.store.close().await;
    }

    /// A request to move the guest away from that host.
    pub(crate) fn request(&self, from: Host, mode: Mode, spec: SettingsSpec) -> Request {
        let transport = match mode {
            Mode::PeerToPeer => Transport::Tcp,
            Mode::Direct => Transport::Unix,
        };
        self.request_by(from, transport, spec)
    }

    pub(crate) fn request_by(
        &self,
        from: Host,
        transport: Transport,
        spec: SettingsSpec,
    ) -> Request {
        let host = self.host(from);
        let Addresses { sockets, tcp, tls, ssh } = &self.connector.addresses;
        let uris = match transport {
            Transport::Tcp => tcp,
            Transport::Tls | Transport::TlsStrict => tls,
            Transport::Ssh => ssh,
            Transport::Unix => sockets,
        };
        Request {
            guest: "web".to_owned(),
            guest_uuid: host.domain("web").unwrap().uuid,
            hypervisor: self.sockets[from as usize].clone(),
            target: Target {
                name: from.other().name().to_owned(),
                uri: uris[from.other() as usize].clone(),
                migration_uri: None,
                transport,
            },
            settings: Settings::decide(spec, &DestinationPolicy::default()).unwrap(),
            edits: Edits::default(),
            check_parameters: None,
            overrides: Vec::new(),
            owner: "alice".to_owned(),
            tag: String::new(),
            parameters: String::new(),
        }
    }

    pub(crate) fn host(&self, host: Host) -> Arc<dyn Migrator> {
        self.connector.open(&self.sockets[host as usize]).unwrap()
    }

    pub(crate) async fn submit(&self, request: Request) -> String {
        self.handle.submit(request).await.unwrap().id.clone()
    }

    #[track_caller]
    pub(crate) fn reach<'a>(
        &self,
        id: &'a str,
        wanted: impl Fn(&JobView) -> bool + 'a,
    ) -> impl Future<Output = Arc<JobView>> + 'a {
        let caller = std::panic::Location::caller();
        let mut view = self.handle.watch(id).unwrap();
        async move {
            let last = view.clone();
            match timeout(SOON, view.wait_for(|view| wanted(view))).await {
                Ok(view) => Arc::clone(&view.unwrap()),
                Err(_) => panic!("{caller}: the job stays {:?}", last.borrow()),
            }
        }
    }

    pub(crate) async fn over(&self, id: &str) -> Arc<JobView> {
        self.reach(id, JobView::is_over).await
    }

    /// Waits until the guest's memory is on its way.
    pub(crate) async fn copies(&self, id: &str) -> Arc<JobView> {
        self.reach(id, |view| {
            assert!(!view.is_over(), "{view:?}");
            view.phase == Phase::Copying && view.report.processed > Some(0)
        })
        .await
    }

    /// Moves the guest, which arrives.
    #[track_caller]
    pub(crate) fn moves(&self, request: Request) -> impl Future<Output = Arc<JobView>> + '_ {
        let caller = std::panic::Location::caller();
        async move {
            let id = self.submit(request).await;
            let view = self.over(&id).await;
            assert_eq!(view.phase, Phase::Done, "{caller}: {view:?}");
            assert_eq!((view.report.percent, view.note.as_ref()), (100, None), "{caller}");
            view
        }
    }

    /// The guest is on that host alone.
    #[track_caller]
    pub(crate) fn is_at(&self, host: Host, state: DomainState, persistent: bool) -> Domain {
        let elsewhere = self.host(host.other()).domain("web");
        assert!(matches!(elsewhere, Err(HypervisorError::NotFound { .. })), "{elsewhere:?}");
        let here = self.host(host).domain("web").unwrap();
        assert_eq!((here.state, here.persistent), (state, persistent));
        here
    }
}

pub(crate) fn live() -> SettingsSpec {
    of_type(MigrationType::Live)
}

pub(crate) fn of_type(migration_type: MigrationType) -> SettingsSpec {
    SettingsSpec { migration_type: Some(migration_type), ..SettingsSpec::default() }
}

/// So slow that it does not end by itself soon.
pub(crate) fn slow() -> SettingsSpec {
    SettingsSpec { bandwidth: Some(1), ..live() }
}

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

#[track_caller]
pub(crate) fn check_failure(view: &Arc<JobView>, reason: Reason, message: &str) {
    assert_eq!(view.phase, Phase::Failed, "{view:?}");
    let failure = view.failure.as_ref().unwrap();
    assert_eq!(failure.reason, reason, "{failure:?}");
    assert!(failure.message.contains(message), "{failure:?}");
}
