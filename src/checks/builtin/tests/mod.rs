//! Against the fake, where hosts have what a test says; two worlds of the libvirt test driver; and, in
//! `tests/it/hypervisor.rs`, real hosts.

mod disks;

use std::fs;

use super::*;
use crate::hypervisor::{
    Connector, CpuComparison, DomainCapabilities, DomainState, HostResources, JobOperation,
    SecretRef, StoragePool, Support, Volume,
    fake::{FakeHypervisor, FakeWorld},
    libvirt::{LibvirtConnector, LibvirtOptions},
};

const UUID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";
const URI: &str = "fake:///b";

/// A source with the guest `web`, and a destination.
struct Bench {
    source: Arc<FakeHypervisor>,
    destination: Arc<FakeHypervisor>,
    inputs: Inputs,
}

impl Bench {
    fn new() -> Self {
        Self::with("")
    }

    /// With these children in the guest's `<domain>`.
    fn with(xml: &str) -> Self {
        let world = FakeWorld::new();
        let (source, destination) = (world.add_host("fake:///a"), world.add_host(URI));
        let guest = FakeHypervisor::guest("web", UUID, DomainState::Running);
        source.add_guest(guest, &format!("<domain type='kvm'><name>web</name>{xml}</domain>"));
        let inputs = Inputs {
            source: Arc::<FakeHypervisor>::clone(&source),
            destination_uri: URI.to_owned(),
            destination: Ok(Arc::<FakeHypervisor>::clone(&destination)),
            guest: "web".to_owned(),
            destination_name: "web".to_owned(),
            movement: Movement::Live,
            storage: StorageCopy::None,
            disks: Vec::new(),
            post_copy: false,
            parallel: false,
            changes: None,
        };
        Self { source, destination, inputs }
    }

    fn with_devices(xml: &str) -> Self {
        Self::with(&format!("<devices>{xml}</devices>"))
    }

    fn moving(mut self, movement: Movement) -> Self {
        self.inputs.movement = movement;
        if movement == Movement::Offline {
            let off = |guest: &mut Domain| guest.state = DomainState::Shutoff;
            self.source.change_guest_silently("web", off);
        }
        self
    }

    fn copying(mut self, disks: &[&str]) -> Self {
        self.inputs.storage = StorageCopy::Full;
        self.inputs.disks = disks.iter().map(|disk| (*disk).to_owned()).collect();
        self
    }

    /// With one part of its XML exchanged on the way.
    fn changing(mut self, from: &'static str, to: &'static str) -> Self {
        self.inputs.changes = Some(Arc::new(move |xml| {
            assert!(xml.contains(from), "{xml}");
            Ok(xml.replace(from, to))
        }));
        self
    }

    fn run(&self) -> Vec<Finding> {
        run(&self.inputs, &Levels::default())
    }

    /// All findings are these: code, severity by its first letter, message.
    #[track_caller]
    fn finds(&self, expected: &[&str]) {
        let found = self.run();
        let told: Vec<_> = found.iter().map(line).collect();
        assert_eq!(told, expected);
        for finding in found {
            assert!(finding.message.ends_with('.'), "{}", finding.message);
            for argument in &finding.arguments {
                assert!(finding.message.contains(argument), "{argument}: {}", finding.message);
            }
        }
    }
}

fn line(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Info => 'i',
        Severity::Warning => 'w',
        Severity::Error => 'e',
    };
    format!("{} {severity} {}", finding.code, finding.message)
}

fn refusal(message: &str) -> HypervisorError {
    HypervisorError::Libvirt { code: 1, message: message.to_owned() }
}

#[test]
fn a_plain_guest_between_like_hosts_has_no_findings() {
    for movement in [Movement::Live, Movement::Paused, Movement::Restart, Movement::Offline] {
        Bench::new().moving(movement).finds(&[]);
    }
}

#[test]
fn every_check_of_the_catalog_runs() {
    let run: Vec<_> = CHECKS.iter().map(|(check, _)| **check).collect();
    assert_eq!(run, CATALOG);
}

#[test]
fn an_unreachable_destination_does_not_keep_other_checks_from_running() {
    let mut bench = Bench::with_devices("<hostdev type='pci'/>");
    bench.inputs.destination = Err(HypervisorError::Unreachable {
        uri: URI.to_owned(),
        message: "Connection refused".to_owned(),
    });
    bench.finds(&[
        "VMC001 e Destination fake:///b can't be reached: Connection refused.",
        "VMC007 e The guest uses a pci device of the source.",
    ]);
    assert!(!bench.run()[0].remedies.is_empty());
}

#[test]
fn a_destination_that_goes_while_we_look_is_not_taken_for_a_good_one() {
    let bench = Bench::new();
    bench.destination.go_down();
    bench.finds(&["VMC001 e Destination fake:///b can't be reached: the host is down."]);
    let bench = Bench::with("<vcpu>2</vcpu>");
    let gone =
        HypervisorError::Unreachable { uri: URI.to_owned(), message: "Broken pipe".to_owned() };
    bench.destination.fail_next("max_vcpus", gone);
    bench.finds(&[
        "VMC015 e Could not find out how many vCPUs the destination allows: cannot reach hypervisor \
         at fake:///b: Broken pipe.",
    ]);
}

#[test]
fn the_source_itself_is_no_destination() {
    let bench = Bench::new();
    let uuid = bench.source.host().unwrap().uuid.unwrap();
    bench.destination.edit_host(|host| host.uuid = Some(uuid.to_uppercase()));
    let message =
        format!("VMC001 e Destination fake:///b is the source itself: both are host {uuid}.");
    bench.finds(&[&message]);
    // Without UUIDs the URI decides.
    bench.source.edit_host(|host| host.uuid = None);
    bench.finds(&[]);
    bench.destination.edit_host(|host| host.uri = "fake:///a".to_owned());
    bench.finds(&["VMC001 e Destination fake:///b is the source itself: both are host fake:///a."]);
}

#[test]
fn a_guest_that_is_not_there() {
    let mut bench = Bench::new();
    bench.inputs.guest = "nobody".to_owned();
    bench.finds(&[
        "VMC002 e There is no guest nobody: Domain not found: no domain with matching name 'nobody'.",
    ]);
}

#[test]
fn states() {
    #[track_caller]
    fn check(movement: Movement, state: DomainState, reason: i32, expected: &[&str]) {
        let mut bench = Bench::new();
        bench.inputs.movement = movement;
        bench.source.change_guest_silently("web", |guest| {
            (guest.state, guest.reason) = (state, reason);
        });
        bench.finds(expected);
    }
    use DomainState::{Crashed, Paused, Running, Shutdown, Shutoff};
    check(Movement::Live, Paused, 1, &[]);
    check(Movement::Live, Running, 0, &[]);
    check(Movement::Offline, Shutoff, 0, &[]);
    let off = &["VMC002 e Guest web must be running for a live migration."];
    check(Movement::Live, Shutoff, 1, off);
    check(
        Movement::Restart,
        Shutoff,
        1,
        &["VMC002 e Guest web must be running for a restart migration."],
    );
    check(
        Movement::Offline,
        Running,
        1,
        &["VMC002 e Guest web must be shut off for an offline migration."],
    );
    check(Movement::Live, Crashed, 0, &["VMC002 e Guest web has crashed."]);
    check(Movement::Live, Paused, 10, &["VMC002 e Guest web has crashed."]);
    check(Movement::Paused, Paused, 5, &["VMC002 e Guest web is paused by an I/O error."]);
    check(Movement::Live, Shutdown, 0, &["VMC002 e Guest web is shutting down."]);
    let half = &["VMC002 e Guest web is in the middle of a post-copy migration that failed."];
    check(Movement::Live, Paused, 13, half);
    check(Movement::Live, Running, 11, half);
}

#[test]
fn a_running_job() {
    let bench = Bench::new();
    bench.source.set_job("web", Some(JobOperation::MigrationOut));
    bench.finds(&["VMC002 e A job runs on guest web: outgoing migration."]);
    // A driver that knows no jobs has none.
    let unsupported = HypervisorError::Unsupported { message: "no".to_owned() };
    bench.source.fail_next("active_job", unsupported);
    bench.finds(&[]);
    bench.source.set_job("web", None);
    bench.source.fail_next("active_job", refusal("monitor is busy"));
    bench.finds(&["VMC002 w Could not find out whether a job runs on the guest: monitor is busy."]);
}

#[test]
fn cpus() {
    let custom = "<cpu mode='custom'><model>Skylake-Client</model></cpu>";
    Bench::with(custom).finds(&[]);
    let bench = Bench::with(custom);
    let reason = Some("Host CPU does not provide required features: avx512f".to_owned());
    bench.destination.set_cpu(CpuComparison::Incompatible { reason });
    bench.finds(&[
        "VMC003 e The destination can't provide CPU Skylake-Client: Host CPU does not provide \
         required features: avx512f.",
    ]);
    bench.destination.fail_next("compare_cpu", refusal("unknown CPU"));
    bench.finds(&[
        "VMC003 w Could not find out whether the destination has the guest's CPU: unknown CPU.",
    ]);
    let host = "<cpu mode='host-passthrough'/>";
    Bench::with(host).finds(&[
        "VMC003 w The guest's CPU is host-passthrough: it moves safely only between hosts with the \
         same processor, microcode and hypervisor.",
    ]);
    Bench::with(host).moving(Movement::Restart).finds(&[]);
    Bench::with("<cpu mode='host-model'/>").moving(Movement::Offline).finds(&[]);
}

#[test]
fn machines_and_models() {
    let bench = Bench::with("<os><type machine='pc-q35-10.2'>hvm</type></os>");
    bench.destination.fail_next("domain_capabilities", refusal("the machine is not supported"));
    bench.finds(&[
        "VMC004 e The destination does not offer machine pc-q35-10.2 to the guest: the machine is \
         not supported.",
    ]);
    let bench = Bench::with_devices(
        "<video><model type='qxl'/></video><video><model type='none'/></video>\
         <disk><target dev='vda' bus='virtio'/></disk><tpm model='tpm-crb'/>",
    );
    let one = |name: &str, values: &[&str]| {
        [(name.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())].into()
    };
    let support = |values| Support { supported: true, values };
    bench.destination.set_capabilities(DomainCapabilities {
        devices: [
            ("video".to_owned(), support(one("modelType", &["cirrus", "vga"]))),
            ("disk".to_owned(), support(one("bus", &["virtio"]))),
            // Not listed at all: libvirt there may be too old to say.
            ("tpm".to_owned(), support(one("somethingElse", &["x"]))),
        ]
        .into(),
        ..DomainCapabilities::default()
    });
    bench.finds(&["VMC004 e The destination has no video type qxl, only cirrus, vga."]);
}

#[test]
fn devices_of_the_host() {
    #[track_caller]
    fn check(device: &str, message: &str, severity: char) {
        let bench = Bench::with_devices(device);
        bench.finds(&[&format!("VMC007 {severity} {message}")]);
    }
    #[track_caller]
    fn passes(device: &str) {
        Bench::with_devices(device).finds(&[]);
    }
    check("<hostdev type='mdev'/>", "The guest uses a mdev device of the source.", 'e');
    check("<hostdev type='usb'/>", "The guest uses a usb device of the source.", 'w');
    passes("<hostdev type='pci'><teaming type='transient' persistent='ua-x'/></hostdev>");
    check(
        "<interface type='hostdev'><mac address='52:54:00:00:00:01'/></interface>",
        "Interface 52:54:00:00:00:01 is a hostdev device of the source.",
        'e',
    );
    passes("<interface type='hostdev'><teaming type='transient' persistent='ua-x'/></interface>");
    passes("<interface type='bridge'><source bridge='br0'/></interface>");
    check(
        "<tpm><backend type='passthrough'/></tpm>",
        "The guest uses the source's TPM by passthrough.",
        'e',
    );
    passes("<tpm><backend type='emulator'/></tpm>");
    check(
        "<filesystem><driver type='virtiofs'/><target dir='share'/></filesystem>",
        "Filesystem share shares a directory of the source by virtiofs.",
        'e',
    );
    check("<shmem name='s'/>", "Shared memory s is the source's and can't move.", 'e');
    passes("<shmem name='s' role='master'/>");
    check(
        "<disk><target dev='vda'/><transient/></disk>",
        "What the guest wrote to its transient disk vda can't move.",
        'e',
    );
    // Without memory to move, what is of the host is a warning and the rest is nothing.
    let devices = "<hostdev type='pci'/><shmem name='s'/>";
    Bench::with_devices(devices)
        .moving(Movement::Restart)
        .finds(&["VMC007 w The guest uses a pci device of the source."]);
    let security = "<launchSecurity type='sev'/>";
    Bench::with(security).finds(&["VMC007 e A guest under launch security sev can't be moved."]);
    Bench::with(security).moving(Movement::Offline).finds(&[]);
}

#[test]
fn networks() {
    let interface = "<interface type='network'><mac address='52:54:00:00:00:01'/>\
                     <source network='lan'/></interface>";
    let bench = Bench::with_devices(interface);
    bench.finds(&[
        "VMC008 e Network lan of interface 52:54:00:00:00:01 does not exist at the destination.",
    ]);
    bench.destination.add_network("lan", false);
    bench.finds(&[
        "VMC008 e Network lan of interface 52:54:00:00:00:01 is not active at the destination.",
    ]);
    bench.destination.add_network("lan", true);
    bench.finds(&[]);
}

#[test]
fn a_guest_is_judged_as_it_will_be() {
    let interface = "<interface type='network'><mac address='52:54:00:00:00:01'/>\
                     <source network='default'/></interface>";
    let bench = Bench::with_devices(interface).changing("'default'", "'lan'");
    bench.destination.add_network("default", true);
    bench.finds(&[
        "VMC008 e Network lan of interface 52:54:00:00:00:01 does not exist at the destination.",
    ]);
    bench.destination.add_network("lan", true);
    bench.finds(&[]);
    let console = "<graphics type='vnc'><listen type='address' address='192.0.2.1'/></graphics>";
    Bench::with_devices(console).changing("192.0.2.1", "127.0.0.1").finds(&[]);
}

#[test]
fn a_change_that_can_not_be_made_is_found() {
    let mut bench = Bench::with_devices("<hostdev type='usb'/>");
    bench.inputs.changes = Some(Arc::new(|_| Err("the guest has no disk `vdz`".to_owned())));
    bench.finds(&[
        "VMC007 w The guest uses a usb device of the source.",
        "VMC022 e The guest can't be changed as asked: the guest has no disk `vdz`.",
    ]);
}

#[test]
fn memory() {
    #[track_caller]
    fn check(xml: &str, host: HostResources, movement: Movement, expected: &[&str]) {
        let bench = Bench::with(xml).moving(movement);
        bench.destination.set_resources(host);
        bench.finds(expected);
    }
    let host =
        HostResources { memory_kib: 4 << 20, free_kib: Some(1 << 20), cpus: 4, free_pages: None };
    let gib = |count| format!("<memory unit='GiB'>{count}</memory>");
    check(&gib(1), host, Movement::Live, &[]);
    let little = "The guest needs 2048 MiB of memory; the destination has 1024 MiB free.";
    check(&gib(2), host, Movement::Live, &[&format!("VMC009 w {little}")]);
    check(&gib(2), host, Movement::Offline, &[]);
    let never = "The guest needs 5120 MiB of memory; the destination has 4096 MiB.";
    check(&gib(5), host, Movement::Restart, &[&format!("VMC009 e {never}")]);
    check(&gib(5), host, Movement::Offline, &[&format!("VMC009 w {never}")]);
    check("<memory>2097152</memory>", host, Movement::Live, &[&format!("VMC009 w {little}")]);
    check("<memory unit='parsec'>9</memory>", host, Movement::Live, &[]);
    let huge = "<memory unit='GiB'>2</memory><memoryBacking><hugepages>\
                <page size='2' unit='MiB'/></hugepages></memoryBacking>";
    let pages = |free| HostResources { free_pages: Some(free), ..host };
    check(huge, pages(1024), Movement::Live, &[]);
    check(
        huge,
        pages(1023),
        Movement::Live,
        &["VMC009 e The guest needs 1024 huge pages of 2048 KiB; the destination has 1023 free."],
    );
}

#[test]
fn names_and_uuids() {
    #[track_caller]
    fn check(name: &str, uuid: &str, state: DomainState, expected: &[&str]) {
        let bench = Bench::new();
        bench.destination.add_guest(FakeHypervisor::guest(name, uuid, state), "<domain/>");
        bench.finds(expected);
    }
    let (running, off) = (DomainState::Running, DomainState::Shutoff);
    check("db", OTHER, running, &[]);
    let already = format!("VMC010 e The destination already runs web (UUID {UUID}).");
    check("web", UUID, running, &[&already]);
    check("web", UUID, DomainState::Paused, &[&already]);
    let replaced =
        format!("VMC010 w The destination has a definition of web (UUID {UUID}), to be replaced.");
    check("web", UUID, off, &[&replaced]);
    let name = format!("VMC010 e The destination has another guest web, with UUID {OTHER}.");
    check("web", OTHER, off, &[&name]);
    let uuid = format!("VMC010 e The destination has UUID {UUID} already, for its guest db.");
    check("db", UUID, off, &[&uuid]);

    // Under another name the old one is no hindrance, but a third one may be.
    let mut bench = Bench::new();
    bench.inputs.destination_name = "web2".to_owned();
    bench.destination.add_guest(FakeHypervisor::guest("web", OTHER, off), "<domain/>");
    bench.finds(&[]);
    bench.destination.add_guest(FakeHypervisor::guest("web2", OTHER, off), "<domain/>");
    bench.finds(&[&name.replace("web,", "web2,")]);
}

#[test]
fn what_can_not_be_asked_about_names_is_an_error() {
    let bench = Bench::new();
    bench.destination.fail_next("domain", refusal("out of memory"));
    bench.finds(&["VMC010 e Could not find out whether the destination has web: out of memory."]);
}

#[test]
fn versions() {
    let bench = Bench::new();
    bench
        .destination
        .edit_host(|host| (host.version, host.libvirt_version) = (2_000_000, 9_000_001));
    bench.finds(&[]);
    bench.destination.edit_host(|host| (host.version, host.libvirt_version) = (999_000, 8_010_002));
    bench.finds(&[
        "VMC011 e The destination's FAKE 0.999.0 is older than the source's 1.0.0.",
        "VMC011 e The destination's libvirt 8.10.2 is older than the source's 9.0.0.",
    ]);
    bench.destination.edit_host(|host| host.driver = "Xen".to_owned());
    bench.finds(&["VMC011 e The source's hypervisor is FAKE and the destination's is Xen."]);
}

#[test]
fn a_saved_state_stays_behind() {
    let bench = Bench::new().moving(Movement::Offline);
    bench.source.change_guest_silently("web", |guest| guest.managed_save = true);
    bench.finds(&["VMC012 e Guest web has a saved state, which would stay behind."]);
}

#[test]
fn secrets() {
    let bench = Bench::with_devices(&format!(
        "<disk><source protocol='rbd'><auth username='u'><secret type='ceph' usage='key'/></auth>\
         <encryption><secret type='passphrase' uuid='{OTHER}'/></encryption></source>\
         <target dev='vda'/></disk>"
    ));
    bench.finds(&[
        "VMC013 e The destination lacks secret key (usage ceph), which disk vda needs.",
        &format!("VMC013 e The destination lacks secret {OTHER}, which disk vda needs."),
    ]);
    let (kind, name) = ("ceph".to_owned(), "key".to_owned());
    bench.destination.add_secret(SecretRef::Usage { kind, name });
    bench.destination.add_secret(SecretRef::Uuid(OTHER.to_owned()));
    bench.finds(&[]);
}

#[test]
fn vcpus() {
    let bench = Bench::with("<vcpu placement='static'>16</vcpu>");
    bench.finds(&[]);
    let few = DomainCapabilities { max_vcpus: Some(8), ..DomainCapabilities::default() };
    bench.destination.set_capabilities(few);
    bench.finds(&["VMC015 e The guest has 16 vCPUs; the destination allows 8."]);
}

#[test]
fn an_invariant_clock() {
    let cpu = "<cpu mode='custom'><model>x</model><feature policy='require' name='invtsc'/></cpu>";
    let message = "VMC016 e The guest's CPU has invtsc, but no TSC frequency is set for it.";
    Bench::with(cpu).finds(&[message]);
    Bench::with(cpu).moving(Movement::Restart).finds(&[]);
    let fixed = format!("{cpu}<clock><timer name='tsc' frequency='2000000000'/></clock>");
    Bench::with(&fixed).finds(&[]);
    Bench::with(&cpu.replace("require", "disable")).finds(&[]);
}

#[test]
fn post_copy_over_parallel_connections() {
    let mut bench = Bench::new();
    (bench.inputs.post_copy, bench.inputs.parallel) = (true, true);
    for host in [&bench.source, &bench.destination] {
        host.edit_host(|host| (host.driver, host.version) = ("QEMU".to_owned(), 10_001_000));
    }
    bench.finds(&[]);
    bench.source.edit_host(|host| host.version = 7_002_000);
    bench.finds(&["VMC017 e QEMU at the source can't do post-copy over parallel connections."]);
}

#[test]
fn consoles_on_an_address_of_the_source() {
    #[track_caller]
    fn check(address: &str, found: bool) {
        let xml =
            format!("<graphics type='vnc'><listen type='address' address='{address}'/></graphics>");
        let message = format!(
            "VMC021 w The vnc console listens on {address}, which the destination may not have."
        );
        let expected: &[&str] = if found { &[&message] } else { &[] };
        Bench::with_devices(&xml).finds(expected);
    }
    check("192.0.2.1", true);
    check("2001:db8::1", true);
    check("0.0.0.0", false);
    check("127.0.0.1", false);
    check("::", false);
}

#[test]
fn levels_weaken_and_switch_off() {
    let bench = Bench::new();
    bench.destination.edit_host(|host| host.version = 1);
    let with = |level| {
        let levels = Levels::new([("VMC011", level)]).unwrap();
        run(&bench.inputs, &levels).iter().map(|finding| finding.severity).collect::<Vec<_>>()
    };
    assert_eq!(with(Level::Default), [Severity::Error]);
    assert_eq!(with(Level::Warn), [Severity::Warning]);
    assert_eq!(with(Level::Off), []);
}

#[test]
fn between_two_worlds_of_the_test_driver() {
    let connector = LibvirtConnector::new(LibvirtOptions::default());
    let directory = tempfile::tempdir().unwrap();
    let check = |xml: &str, expected: &[&str]| {
        let path = directory.path().join("node.xml");
        fs::write(&path, format!("<node>{xml}</node>")).unwrap();
        let destination_uri = format!("test://{}", path.display());
        let destination = connector.open(&destination_uri).unwrap();
        let inputs = Inputs {
            source: connector.open("test:///default").unwrap(),
            destination: Ok(destination),
            destination_uri,
            guest: "test".to_owned(),
            destination_name: "test".to_owned(),
            ..Bench::new().inputs
        };
        let found = run(&inputs, &Levels::default());
        assert_eq!(found.iter().map(line).collect::<Vec<_>>(), expected);
    };
    // The guest's network, disk and memory are there on paper only.
    check("", &[]);
    let taken = format!(
        "<domain type='test'><name>test</name><uuid>{UUID}</uuid><memory>1</memory>\
         <os><type>hvm</type></os></domain>"
    );
    let message = format!("VMC010 e The destination has another guest test, with UUID {UUID}.");
    check(&taken, &[&message]);
}

#[test]
fn the_default_world_is_itself() {
    let host = LibvirtConnector::new(LibvirtOptions::default()).open("test:///default").unwrap();
    let inputs = Inputs {
        source: Arc::<dyn crate::hypervisor::Migrator>::clone(&host),
        destination_uri: "test:///default".to_owned(),
        destination: Ok(host),
        guest: "test".to_owned(),
        destination_name: "test".to_owned(),
        ..Bench::new().inputs
    };
    let codes: Vec<_> =
        run(&inputs, &Levels::default()).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["VMC001", "VMC010"]);
}
