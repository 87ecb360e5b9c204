//! The hypervisor room against real libvirt hosts: facts, checks, daemons that die or stand still, and
//! migrations.

use std::{
    future::Future,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use virtcimd::{
    checks::builtin::{self, Inputs, Levels, Movement},
    hypervisor::{
        Connection, ConnectionOptions, ConnectionState, Connector, CpuComparison, DomainState,
        Element, HostEvent, HypervisorError, JobKind, JobOperation, JobStats, Lifecycle,
        MigrationOrder, Migrator, Platform, Route, StorageCopy, Transfer, XmlForm,
        libvirt::{KeepAlive, LibvirtConnector, LibvirtOptions},
    },
};

use crate::two_hosts::TwoHosts;

/// A long time for what takes some seconds on a busy machine.
const SOON: Duration = Duration::from_secs(120);

fn connector() -> Arc<LibvirtConnector> {
    let keep_alive = KeepAlive { interval: Duration::from_secs(1), count: 2 };
    Arc::new(LibvirtConnector::new(LibvirtOptions { keep_alive, ..LibvirtOptions::default() }))
}

fn open(hosts: &TwoHosts, host: &str) -> Arc<dyn Migrator> {
    connector().open(hosts.get(&format!("{host}_URI"))).unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

#[test]
fn a_real_host_tells_what_it_is_and_has() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "web", "--nic", "--vnc"]);
    let host = open(&hosts, "HOSTA");

    let info = host.host().unwrap();
    assert_eq!(info.driver, "QEMU");
    assert_eq!(info.uuid.as_deref(), Some(hosts.get("HOSTA_UUID")));
    assert_eq!(info.hostname, "hosta");
    assert!(info.version >= 5_000_000 && info.libvirt_version >= 8_000_000, "{info:?}");

    let guest = host.domain("web").unwrap();
    assert_eq!((guest.state, guest.persistent), (DomainState::Running, true));
    assert_eq!(guest.config.virt_type.as_deref(), Some("qemu"));
    assert!(guest.config.machine.as_ref().unwrap().starts_with("pc-i440fx-"), "canonical name");
    assert!(guest.config.console.as_ref().unwrap().port.unwrap() >= 5900, "as it runs");
    assert_eq!(host.domains().as_deref(), Ok(std::slice::from_ref(&guest)));
    let missing = host.domain("nobody").unwrap_err().to_string();
    assert_eq!(missing, "Domain not found: no domain with matching name 'nobody'");

    assert_eq!(host.active_job("web"), Ok(None));
    assert_eq!(host.network_active("default"), Ok(Some(true)));
    assert_eq!(host.pool_at("/var/lib/libvirt/images").unwrap().unwrap().name, "default");
    assert!(host.max_vcpus(Some("qemu")).unwrap() > 1);
    let resources = host.resources(Some(2048)).unwrap();
    assert!(resources.free_kib.unwrap() <= resources.memory_kib, "{resources:?}");
    assert!(resources.free_pages.is_some());
    let baggage = host.baggage("web", &["vda".to_owned()]).unwrap();
    assert_eq!((baggage.snapshots, baggage.checkpoints), (0, 0));

    let xml = host.domain_xml("web", XmlForm::Migratable).unwrap();
    let domain = Element::parse(&xml).unwrap();
    let mut platform = Platform::of(&domain);
    let devices = host.domain_capabilities(&platform).unwrap().devices;
    assert!(devices["disk"].values["bus"].contains("virtio"));
    let cpu = domain.child("cpu").unwrap();
    let verdict = host.compare_cpu(&cpu.to_xml(), &platform).unwrap();
    assert!(!matches!(verdict, CpuComparison::Incompatible { .. }), "{verdict:?}");
    platform.machine = Some("pc-q35-99.9".to_owned());
    let refused = host.domain_capabilities(&platform).unwrap_err();
    assert!(matches!(refused, HypervisorError::Libvirt { .. }), "{refused:?}");
}

#[test]
fn built_in_checks_between_real_hosts() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "plain", "--nic"]);
    hosts.testbed(&["guest", "start", "disky", "--disk", "shared"]);
    let inputs = |guest: &str| Inputs {
        source: open(&hosts, "HOSTA"),
        destination_uri: hosts.get("HOSTB_URI").to_owned(),
        destination: Ok(open(&hosts, "HOSTB")),
        guest: guest.to_owned(),
        destination_name: guest.to_owned(),
        movement: Movement::Live,
        storage: StorageCopy::None,
        disks: Vec::new(),
        post_copy: false,
        parallel: false,
        changes: None,
    };
    let check = |inputs: &Inputs, expected: &[&str]| {
        let findings = builtin::run(inputs, &Levels::default());
        let codes: Vec<_> = findings.iter().map(|finding| finding.code.clone()).collect();
        assert_eq!(codes, expected, "{findings:#?}");
        findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>().join(" ")
    };
    check(&inputs("plain"), &[]);

    // libvirt would call this unsafe: the filesystem is a local one, though both hosts see it.
    check(&inputs("disky"), &["VMC006"]);
    check(&Inputs { storage: StorageCopy::Full, ..inputs("disky") }, &[]);

    let itself = Inputs { destination: Ok(open(&hosts, "HOSTA")), ..inputs("plain") };
    let told = check(&itself, &["VMC001", "VMC010"]);
    assert!(told.contains(hosts.get("HOSTA_UUID")), "{told}");

    // A CPU that no emulation gives.
    let source = open(&hosts, "HOSTA");
    let xml = source.domain_xml("plain", XmlForm::Inactive).unwrap();
    let mut domain = Element::parse(&xml).unwrap();
    domain.children.retain(|child| child.name != "cpu");
    let model = Element::parse("<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>Icelake-Server</model></cpu>").unwrap();
    domain.children.push(model);
    for child in &mut domain.children {
        match child.name.as_str() {
            "name" => child.text = "modern".to_owned(),
            "uuid" => child.text = "11111111-2222-4333-8444-555555555555".to_owned(),
            _ => {}
        }
    }
    source.define(&domain.to_xml()).unwrap();
    let offline = Inputs { movement: Movement::Offline, ..inputs("modern") };
    let told = check(&offline, &["VMC003"]);
    assert!(told.contains("Icelake-Server") && told.contains("avx512"), "{told}");

    hosts.run("hostb", "virsh -q net-destroy default");
    check(&inputs("plain"), &["VMC008"]);
    hosts.testbed(&["guest", "define", "plain", "--host", "hostb"]);
    check(&inputs("plain"), &["VMC008", "VMC010"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_dies_is_found_again() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "web"]);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = ConnectionOptions {
        retry_first: Duration::from_millis(50),
        ..ConnectionOptions::new(hosts.get("HOSTA_URI"))
    };
    let connection = Connection::start(options, connector(), &tasks, stop.clone());
    assert_eq!(connection.domains().await.unwrap().len(), 1);
    let mut state = connection.state();
    let mut changes = connection.changes();

    for ending in ["kill", "stop"] {
        hosts.testbed(&["libvirtd", "hosta", ending]);
        soon(state.wait_for(|state| matches!(state, ConnectionState::Down(_)))).await.unwrap();
        let down = connection.domains().await.unwrap_err();
        assert!(matches!(down, HypervisorError::Unreachable { .. }), "{down:?}");
        // A guest that goes meanwhile.
        if ending == "stop" {
            hosts.testbed(&["guest", "kill", "web"]);
        }
        hosts.testbed(&["libvirtd", "hosta", "start"]);
        soon(state.wait_for(|state| matches!(state, ConnectionState::Up(_)))).await.unwrap();
    }
    let gone = soon(async {
        loop {
            let event = changes.recv().await.unwrap();
            if event.current.as_ref().is_some_and(|guest| !guest.is_active()) {
                return event;
            }
        }
    });
    assert_eq!(gone.await.previous.unwrap().state, DomainState::Running);

    // The new connection has events as the first had.
    connection.call("start", |host| host.start("web")).await.unwrap();
    let started = soon(async {
        loop {
            let event = changes.recv().await.unwrap();
            if event.current.as_ref().is_some_and(|guest| guest.state == DomainState::Running) {
                return event;
            }
        }
    });
    assert_eq!(started.await.current.unwrap().name, "web");
    stop.cancel();
    tasks.close();
    soon(tasks.wait()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_stands_still_costs_deadlines_and_then_the_connection() {
    let Some(hosts) = TwoHosts::up() else { return };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let options = ConnectionOptions {
        call_deadline: Duration::from_millis(200),
        retry_first: Duration::from_millis(50),
        ..ConnectionOptions::new(hosts.get("HOSTA_URI"))
    };
    let connection = Connection::start(options, connector(), &tasks, stop.clone());
    let mut state = connection.state();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Up(_)))).await.unwrap();

    hosts.run("hosta", "kill -STOP $(cat /run/libvirtd.pid)");
    let late = connection.call("host", |host| host.host()).await;
    assert_eq!(late, Err(HypervisorError::Deadline { call: "host", seconds: 0 }));
    // Keep-alive notices, the call that hung ends, and nobody waits any more.
    soon(state.wait_for(|state| matches!(state, ConnectionState::Down(_)))).await.unwrap();
    let down = connection.call("host", |host| host.host()).await.unwrap_err();
    assert!(matches!(down, HypervisorError::Unreachable { .. }), "{down:?}");

    hosts.run("hosta", "kill -CONT $(cat /run/libvirtd.pid)");
    soon(state.wait_for(|state| matches!(state, ConnectionState::Up(_)))).await.unwrap();
    assert_eq!(connection.call("host", |host| host.host()).await.unwrap().hostname, "hosta");
    stop.cancel();
    tasks.close();
    soon(tasks.wait()).await;
}

/// A source that is watched while guests move.
struct Watched {
    host: Arc<dyn Migrator>,
    events: mpsc::Receiver<HostEvent>,
    _watch: virtcimd::hypervisor::Watch,
}

impl Watched {
    fn new(host: Arc<dyn Migrator>) -> Self {
        let (sender, events) = mpsc::channel();
        let watch = host.watch(Arc::new(move |event| sender.send(event).unwrap_or(()))).unwrap();
        Self { host, events, _watch: watch }
    }

    fn wait_for<T>(&self, mut wanted: impl FnMut(HostEvent) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(SOON).expect("the event comes");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    fn completed(&self) -> JobStats {
        self.wait_for(|event| match event {
            HostEvent::JobCompleted { stats, .. } => Some(*stats),
            _ => None,
        })
    }
}

fn order(route: Route, transfer: Transfer) -> MigrationOrder {
    MigrationOrder {
        persist_destination: true,
        undefine_source: true,
        ..MigrationOrder::new(route, transfer)
    }
}

#[test]
fn guests_move_by_each_route_and_transfer() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "web", "--keep", "8"]);
    hosts.testbed(&["guest", "wait", "web", "1"]);
    let sides = [("hosta", "HOSTA"), ("hostb", "HOSTB")];
    let watched = sides.map(|(_, key)| Watched::new(open(&hosts, key)));
    let mut here = 0;
    for transfer in [Transfer::Live, Transfer::Paused] {
        for direct in [false, true] {
            let there = 1 - here;
            let (name, key) = sides[there];
            let route = if direct {
                Route::Direct(hosts.get(&format!("{key}_URI")).to_owned())
            } else {
                Route::PeerToPeer(hosts.get(&format!("{key}_PEER_TCP")).to_owned())
            };
            watched[here].host.migrate("web", &order(route, transfer)).unwrap();
            let stats = watched[here].completed();
            assert_eq!(
                (stats.kind, stats.operation),
                (JobKind::Completed, JobOperation::MigrationOut)
            );
            assert!(stats.memory_total.unwrap() >= 32 << 20, "{stats:?}");
            assert!(stats.downtime.is_some());
            let gone = watched[here].host.domain("web");
            assert!(matches!(gone, Err(HypervisorError::NotFound { .. })), "{gone:?}");
            let arrived = watched[there].host.domain("web").unwrap();
            assert_eq!((arrived.state, arrived.persistent), (DomainState::Running, true));
            let incoming = watched[there].host.completed_job("web").unwrap().unwrap();
            assert_eq!(incoming.operation, JobOperation::MigrationIn);
            let ticks: u32 =
                hosts.testbed(&["guest", "ticks", "web", "--host", name]).trim().parse().unwrap();
            let next = (ticks + 1).to_string();
            hosts.testbed(&["guest", "wait", "web", &next, "--host", name]);
            here = there;
        }
    }
    hosts.testbed(&["guest", "account", "web"]);

    // And without running at all.
    watched[here].host.destroy("web").unwrap();
    let route = Route::PeerToPeer(hosts.get("HOSTB_PEER_TCP").to_owned());
    watched[here].host.migrate("web", &order(route, Transfer::Offline)).unwrap();
    assert_eq!(watched[1].host.domain("web").unwrap().state, DomainState::Shutoff);
    assert!(watched[0].host.domain("web").is_err());
}

#[test]
fn a_migration_is_followed_steered_and_cancelled() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "web", "--memory", "96", "--busy", "64"]);
    hosts.testbed(&["guest", "wait", "web", "1"]);
    let source = Watched::new(open(&hosts, "HOSTA"));
    let route = || Route::PeerToPeer(hosts.get("HOSTB_PEER_TCP").to_owned());
    let slow = MigrationOrder { bandwidth: Some(4), ..order(route(), Transfer::Live) };

    let moving = Arc::clone(&source.host);
    let migration = thread::spawn({
        let slow = slow.clone();
        move || moving.migrate("web", &slow)
    });
    let deadline = Instant::now() + SOON;
    let stats = loop {
        match source.host.job("web").unwrap() {
            Some(stats) if stats.data_processed.unwrap_or(0) > 0 => break stats,
            _ => assert!(Instant::now() < deadline, "data moves"),
        }
        thread::yield_now();
    };
    assert_eq!((stats.kind, stats.operation), (JobKind::Unbounded, JobOperation::MigrationOut));
    assert!(stats.data_remaining.unwrap() > 0, "{stats:?}");
    assert_eq!(source.host.active_job("web").unwrap().as_deref(), Some("outgoing migration"));
    source.host.set_max_speed("web", 5).unwrap();
    source.host.set_max_downtime("web", 250).unwrap();
    let second = source.host.migrate("web", &slow).unwrap_err().to_string();
    assert!(second.contains("another migration job is already running"), "{second}");
    source.host.abort_job("web").unwrap();
    let cancelled = migration.join().unwrap().unwrap_err();
    assert!(matches!(cancelled, HypervisorError::Libvirt { code: 78, .. }), "{cancelled:?}");
    assert_eq!(source.host.domain("web").unwrap().state, DomainState::Running);
    assert!(open(&hosts, "HOSTB").domain("web").is_err());
    let idle = source.host.abort_job("web").unwrap_err().to_string();
    assert_eq!(idle, "Requested operation is not valid: no job is active on the domain");
    assert_eq!(source.host.job("web"), Ok(None));

    // Never ends by itself, so that it is post-copy that ends it.
    let moving = Arc::clone(&source.host);
    let migration = thread::spawn(move || {
        moving.migrate("web", &MigrationOrder { post_copy: true, bandwidth: Some(30), ..slow })
    });
    source.wait_for(|event| match event {
        HostEvent::MigrationIteration { iteration, .. } => (iteration > 1).then_some(()),
        _ => None,
    });
    source.host.start_post_copy("web").unwrap();
    migration.join().unwrap().unwrap();
    let stats = source.completed();
    assert_eq!(stats.kind, JobKind::Completed);
    assert!(stats.post_copy_requests.is_some(), "{stats:?}");
    assert_eq!(open(&hosts, "HOSTB").domain("web").unwrap().state, DomainState::Running);
    hosts.testbed(&["guest", "account", "web"]);
}

#[test]
fn a_refused_migration_leaves_the_guest_and_says_why() {
    let Some(hosts) = TwoHosts::up() else { return };
    hosts.testbed(&["guest", "start", "web"]);
    let source = Watched::new(open(&hosts, "HOSTA"));
    let check = |route: Route, expected: &str| {
        let error = source.host.migrate("web", &order(route, Transfer::Live)).unwrap_err();
        assert!(matches!(error, HypervisorError::Libvirt { .. }), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(source.host.domain("web").unwrap().state, DomainState::Running);
    };
    check(Route::PeerToPeer("qemu+tcp://nowhere/system".to_owned()), "nowhere");
    check(Route::Direct("qemu+tcp://127.0.0.1:1/system".to_owned()), "Connection refused");
    check(Route::PeerToPeer(hosts.get("HOSTA_PEER_TCP").to_owned()), "to the same host");
    hosts.testbed(&["guest", "start", "web", "--host", "hostb"]);
    check(Route::PeerToPeer(hosts.get("HOSTB_PEER_TCP").to_owned()), "already active");
    // A guest that powers itself off tells so.
    source.host.shutdown("web").unwrap();
    let stopped = source.wait_for(|event| match event {
        HostEvent::Lifecycle { change: Lifecycle::Stopped, name, .. } => Some(name),
        _ => None,
    });
    assert_eq!(stopped, "web");
}
