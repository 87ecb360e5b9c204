//! Against libvirt's own test driver.
//!
//! `test:///default` is one world for the whole process, so tests that change anything bring a world
//! of their own: a `test:///FILE` is made anew for each connection.

use std::{
    fs,
    sync::{Arc, mpsc},
    time::Duration,
};

use super::*;
use crate::hypervisor::{
    Connector, Domain, DomainState, HostEvent, Lifecycle, MigrationOrder, Migrator, Platform,
    Route, SecretRef, Transfer, XmlForm,
};

/// A long time for something that takes microseconds.
const SOON: Duration = Duration::from_secs(30);

fn open(uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError> {
    LibvirtConnector::new(LibvirtOptions::default()).open(uri)
}

struct World {
    directory: tempfile::TempDir,
}

impl World {
    /// A file with these guests; a guest whose name begins with `off` does not run.
    fn new(guests: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut xml =
            String::from("<node xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>");
        for (index, name) in guests.iter().enumerate() {
            let state =
                if name.starts_with("off") { "<test:runstate>5</test:runstate>" } else { "" };
            xml.push_str(&format!(
                "<domain type='test'><name>{name}</name><uuid>{}</uuid><memory>65536</memory>\
                 <vcpu>1</vcpu><os><type>hvm</type></os>{state}</domain>",
                uuid(index)
            ));
        }
        xml.push_str("</node>");
        fs::write(directory.path().join("node.xml"), xml).unwrap();
        Self { directory }
    }

    fn uri(&self) -> String {
        format!("test://{}/node.xml", self.directory.path().display())
    }

    fn open(&self) -> Arc<dyn Migrator> {
        open(&self.uri()).unwrap()
    }
}

fn uuid(index: usize) -> String {
    format!("00000000-0000-4000-8000-{index:012x}")
}

#[test]
fn the_default_world_is_read() {
    let host = open("test:///default").unwrap();
    let info = host.host().unwrap();
    assert_eq!((info.uri.as_str(), info.driver.as_str()), ("test:///default", "TEST"));
    assert_eq!(info.version, 2);
    assert!(info.libvirt_version >= 6_000_000, "{}", info.libvirt_version);
    assert_eq!(info.uuid, None);

    let guest = host.domain("test").unwrap();
    assert_eq!(guest.uuid, "6695eb01-f6a4-8304-79aa-97f2502e193f");
    assert_eq!(host.domain_by_uuid(&guest.uuid).unwrap(), guest);
    assert_eq!(guest.config.arch.as_deref(), Some("i686"));
    assert_eq!(guest.config.boot_devices, ["hd"]);
    assert!(guest.persistent);
    assert!(host.domains().unwrap().contains(&guest));
    assert!(host.domain_xml("test", XmlForm::Inactive).unwrap().contains("<name>test</name>"));

    assert_eq!(host.network_active("default"), Ok(Some(true)));
    assert_eq!(host.network_active("none"), Ok(None));
    assert_eq!(host.pool("default-pool").unwrap().unwrap().kind, "dir");
    assert_eq!(host.pool("none"), Ok(None));
    assert_eq!(host.volume("/default-pool/none"), Ok(None));
    assert_eq!(host.max_vcpus(None), Ok(32));
    let resources = host.resources(None).unwrap();
    assert_eq!((resources.memory_kib, resources.cpus), (3_145_728, 16));
}

#[test]
fn what_is_absent_is_told_in_libvirts_words() {
    let host = open("test:///default").unwrap();
    let message = host.domain("nobody").unwrap_err().to_string();
    assert!(message.starts_with("Domain not found"), "{message}");
    assert!(matches!(host.domain("nobody"), Err(HypervisorError::NotFound { .. })));
    assert!(matches!(host.domain_by_uuid(&uuid(9)), Err(HypervisorError::NotFound { .. })));
    // Not even a UUID: libvirt calls that an invalid argument.
    assert!(matches!(host.domain_by_uuid("x"), Err(HypervisorError::Libvirt { .. })));
    // A name with NUL can't be asked for at all.
    assert!(host.domain("a\0b").is_err());
}

#[test]
fn what_the_driver_can_not_is_unsupported() {
    let host = open("test:///default").unwrap();
    let unsupported = |error: HypervisorError| {
        assert!(matches!(error, HypervisorError::Unsupported { .. }), "{error:?}");
    };
    unsupported(host.active_job("test").unwrap_err());
    unsupported(host.compare_cpu("<cpu/>", &Platform::default()).unwrap_err());
    unsupported(host.domain_capabilities(&Platform::default()).unwrap_err());
    unsupported(host.pool_at("/default-pool").unwrap_err());
    unsupported(host.has_secret(&SecretRef::Uuid(uuid(1))).unwrap_err());
    assert_eq!(host.baggage("test", &["vda".to_owned()]).unwrap(), Default::default());
}

#[test]
fn guests_are_listed_by_name_with_their_states() {
    let world = World::new(&["zeta", "off-beta", "alpha"]);
    let host = world.open();
    let told = host.domains().unwrap();
    let states: Vec<_> = told.iter().map(|guest| (guest.name.as_str(), guest.state)).collect();
    assert_eq!(
        states,
        [
            ("alpha", DomainState::Running),
            ("off-beta", DomainState::Shutoff),
            ("zeta", DomainState::Running),
        ]
    );
    for guest in &told {
        assert_eq!(host.domain(&guest.name).as_ref(), Ok(guest));
    }
}

#[test]
fn orders_change_a_guest() {
    let world = World::new(&["web"]);
    let host = world.open();
    let state = || host.domain("web").unwrap().state;
    host.suspend("web").unwrap();
    assert_eq!(state(), DomainState::Paused);
    host.resume("web").unwrap();
    host.reboot("web").unwrap();
    host.destroy("web").unwrap();
    assert_eq!(state(), DomainState::Shutoff);
    host.start("web").unwrap();
    host.shutdown("web").unwrap();
    assert_eq!(state(), DomainState::Shutoff);
    let xml = host.domain_xml("web", XmlForm::InactiveSecure).unwrap();
    host.undefine("web").unwrap();
    assert!(matches!(host.domain("web"), Err(HypervisorError::NotFound { .. })));
    host.define(&xml).unwrap();
    assert_eq!(state(), DomainState::Shutoff);
    host.set_autostart("web", true).unwrap();
    assert!(host.domain("web").unwrap().autostart);
    host.set_autostart("web", false).unwrap();
    assert!(!host.domain("web").unwrap().autostart);
    let refused = host.destroy("web").unwrap_err();
    assert!(matches!(refused, HypervisorError::Libvirt { .. }), "{refused:?}");
}

#[test]
fn events_arrive_until_the_watch_ends() {
    let world = World::new(&["web"]);
    let host = world.open();
    let (sender, events) = mpsc::channel();
    let watch = host.watch(Arc::new(move |event| sender.send(event).unwrap_or(()))).unwrap();
    host.suspend("web").unwrap();
    host.destroy("web").unwrap();
    host.undefine("web").unwrap();
    let next = || match events.recv_timeout(SOON).unwrap() {
        HostEvent::Lifecycle { uuid: told, name, change, .. } => {
            assert_eq!((told, name), (uuid(0), "web".to_owned()));
            change
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(next(), Lifecycle::Suspended);
    assert_eq!(next(), Lifecycle::Stopped);
    assert_eq!(next(), Lifecycle::Undefined);
    drop(watch);
    // The sink is freed with its last callback, which closes the channel.
    assert_eq!(events.recv_timeout(SOON), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn an_unreachable_host_says_why() {
    #[track_caller]
    fn check(uri: &str, expected: &str) {
        match open(uri).err().unwrap() {
            HypervisorError::Unreachable { uri: told, message } => {
                assert_eq!(told, uri);
                assert!(message.contains(expected), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    check("qemu:///system?socket=/nonexistent/socket", "Failed to connect socket");
    check("qemu+tcp://127.0.0.1:1/system", "Connection refused");
    check("test:///nonexistent.xml", "nonexistent.xml");
    check("nonsense", "");
}

#[test]
fn a_host_that_never_answers_costs_a_deadline_and_one_thread() {
    // It accepts, by the kernel's grace, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("qemu+tcp://{}/system", silent.local_addr().unwrap());
    let connector = LibvirtConnector::new(LibvirtOptions {
        deadline: Duration::from_millis(50),
        opening: 1,
        ..LibvirtOptions::default()
    });
    for _ in 0..3 {
        let error = connector.open(&uri).err().unwrap().to_string();
        assert!(error.ends_with("no connection within 0.05 s"), "{error}");
    }
    assert_eq!(connector.open("test:///default").err(), Some(HypervisorError::Busy));
    let mut clients = 0;
    silent.set_nonblocking(true).unwrap();
    while silent.accept().is_ok() {
        clients += 1;
    }
    assert_eq!(clients, 1, "all three waited for the same attempt");
}

#[test]
fn a_direct_migration_waits_no_longer_for_a_silent_destination() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("qemu+tcp://{}/system", silent.local_addr().unwrap());
    let world = World::new(&["web"]);
    let connector = LibvirtConnector::new(LibvirtOptions {
        deadline: Duration::from_millis(500),
        ..LibvirtOptions::default()
    });
    let host = connector.open(&world.uri()).unwrap();
    let order = MigrationOrder::new(Route::Direct(uri.clone()), Transfer::Live);
    let error = host.migrate("web", &order).unwrap_err();
    let message = format!("cannot reach hypervisor at {uri}: no connection within 0.5 s");
    assert_eq!(error, HypervisorError::Libvirt { code: sys::VIR_ERR_NO_CONNECT, message });
    assert!(host.domain("web").unwrap().is_active());
}

#[test]
fn errors_are_told_by_their_numbers_in_libvirts_header() {
    #[track_caller]
    fn check(number: u32, broken: bool, expected: HypervisorError) {
        assert_eq!(meaning(number, "why", || broken, "qemu:///system"), expected);
    }
    let message = || "why".to_owned();
    let refused = |code| HypervisorError::Libvirt { code, message: message() };
    check(42, true, HypervisorError::NotFound { message: message() });
    check(3, true, HypervisorError::Unsupported { message: message() });
    check(84, true, HypervisorError::Unsupported { message: message() });
    // VIR_ERR_MIGRATE_FINISH_OK; VIR_ERR_STORAGE_VOL_EXIST stands three numbers before it.
    check(93, true, HypervisorError::Unclear { message: message() });
    check(90, false, refused(90));
    check(38, false, refused(38));
    let uri = "qemu:///system".to_owned();
    check(38, true, HypervisorError::Unreachable { uri, message: message() });
}

#[test]
fn ssh_is_told_not_to_ask() {
    #[track_caller]
    fn check(uri: &str, expected: &str) {
        assert_eq!(without_prompts(uri), expected);
    }
    check("qemu+ssh://host/system", "qemu+ssh://host/system?no_tty=1");
    check("qemu+ssh://host/system?no_tty=0", "qemu+ssh://host/system?no_tty=0");
    check("qemu+ssh://host/system?keyfile=/k", "qemu+ssh://host/system?keyfile=/k&no_tty=1");
    check("qemu+tls://host/system", "qemu+tls://host/system");
    check("test:///default", "test:///default");
}

#[test]
fn a_thousand_guests_are_listed_as_one() {
    let names: Vec<String> = (0..1000).map(|index| format!("guest{index:04}")).collect();
    let world = World::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let told = world.open().domains().unwrap();
    assert_eq!(told.iter().map(|guest| &guest.name).collect::<Vec<_>>(), Vec::from_iter(&names));
    assert!(told.iter().all(Domain::is_active));
}
