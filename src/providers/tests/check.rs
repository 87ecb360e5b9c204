//! CheckVirtualSystemIsMigratableToHost and …ToSystem.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::checks::{Finding, Severity, Source};
use crate::{
    checks::Options,
    cim::{ClassPath, ObjectPath, ParamValue, Scalar},
    hypervisor::JobOperation,
    migration::{NamedDestination, Transport},
};

pub(super) const SERVICE: &str = "KVM_VirtualSystemMigrationService";
const SETTINGS: &str = "KVM_VirtualSystemMigrationSettingData";
pub(super) const DESTINATION: &str = "qemu+ssh://there/system";

/// A host where peer1 runs, and a destination `there`.
pub(super) async fn world() -> World {
    let run = |host: &FakeHypervisor| {
        host.change_guest_silently("peer1", |guest| guest.state = DomainState::Running);
    };
    let world = World::prepared(&[Prefix::Kvm], run).await;
    add_destination(&world, DESTINATION);
    world
}

pub(super) fn add_destination(world: &World, uri: &str) -> Arc<FakeHypervisor> {
    let there = world.world.add_host(uri);
    there.edit_host(|host| {
        host.hostname = "there".to_owned();
        host.driver = "QEMU".to_owned();
        host.version = 7_002_013;
        host.libvirt_version = 9_000_000;
    });
    there
}

pub(super) fn parameter(parameter: &str, value: impl Into<Value>) -> ParamValue {
    ParamValue { name: name(parameter), ty: None, value: Some(value.into()) }
}

pub(super) fn guest_path() -> ObjectPath {
    path("KVM_ComputerSystem", &[("CreationClassName", "KVM_ComputerSystem"), ("Name", "peer1")])
        .into()
}

pub(super) fn settings(properties: Vec<(&str, Value)>) -> Instance {
    let mut settings = Instance::new(name(SETTINGS));
    for (property, value) in properties {
        settings.set(name(property), value);
    }
    settings
}

/// The usual parameters, the later ones replacing those of the same name.
pub(super) fn parameters(changed: Vec<ParamValue>) -> Vec<ParamValue> {
    let mut all =
        vec![parameter("ComputerSystem", guest_path()), parameter("DestinationHost", "there")];
    all.retain(|it| !changed.iter().any(|changed| changed.name == it.name));
    all.extend(changed);
    all
}

fn to_host(changed: Vec<ParamValue>) -> Operation {
    Operation::InvokeMethod {
        object: ClassPath::local(name(SERVICE)).into(),
        method: name("CheckVirtualSystemIsMigratableToHost"),
        parameters: parameters(changed),
    }
}

fn to_system(system: ObjectPath) -> Operation {
    Operation::InvokeMethod {
        object: ClassPath::local(name(SERVICE)).into(),
        method: name("CheckVirtualSystemIsMigratableToSystem"),
        parameters: vec![
            parameter("ComputerSystem", guest_path()),
            parameter("DestinationSystem", system),
        ],
    }
}

/// What a Check method answers: the verdict and the findings.
#[track_caller]
fn answer(reply: Result<Reply, CimError>) -> (bool, Vec<Instance>) {
    let Ok(Reply::Method { return_value, out, .. }) = reply else { panic!("no reply: {reply:?}") };
    assert_eq!(return_value, Some(Value::from(0_u32)));
    let out: BTreeMap<_, _> = out.into_iter().map(|it| (it.name.to_string(), it.value)).collect();
    let migratable = out["IsMigratable"].as_ref().and_then(Value::as_bool).expect("a verdict");
    let findings = match out.get("Findings") {
        None => Vec::new(),
        Some(findings) => {
            let findings = findings.as_ref().and_then(Value::array).expect("an array");
            assert!(!findings.is_empty(), "no findings are left out");
            let instance = |finding: &Option<Scalar>| match finding {
                Some(Scalar::EmbeddedInstance(instance)) => (**instance).clone(),
                other => panic!("not an instance: {other:?}"),
            };
            findings.iter().map(instance).collect()
        }
    };
    (migratable, findings)
}

pub(super) fn text<'a>(finding: &'a Instance, property: &str) -> &'a str {
    finding.value(&name(property)).and_then(Value::as_str).unwrap_or_default()
}

#[track_caller]
pub(super) fn fails(reply: Result<Reply, CimError>, status: StatusCode, text: &str) {
    let error = reply.expect_err("an error");
    assert_eq!(error.status, status, "{error}");
    assert!(error.description.starts_with(text), "{error} does not begin with {text:?}");
}

impl World {
    fn check_directory(&self) -> std::path::PathBuf {
        self.directory.path().join("checks")
    }

    pub(super) fn add_check(&self, name: &str, script: &str) {
        let path = self.check_directory().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What the check programs wrote into that file.
    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }
}

#[tokio::test]
async fn a_guest_that_nothing_holds_may_move() {
    let world = world().await;
    let (migratable, findings) = answer(world.run(to_host(Vec::new())).await);
    assert!(migratable, "{findings:?}");
    let system = path("Xen_Nope", &[("Name", "there")]);
    let (migratable, _) = answer(world.run(to_system(system.into())).await);
    assert!(migratable, "only the name of the destination system counts");
    world.close().await;
}

#[tokio::test]
async fn a_check_program_decides_and_its_reason_arrives() {
    let world = world().await;
    world.add_check("10-good", "exit 0");
    world.add_check("20-storage", "echo not enough room; exit 3");
    let (migratable, findings) = answer(world.run(to_host(Vec::new())).await);
    assert!(!migratable);
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(finding.class, name("CIM_Error"));
    assert!(text(finding, "MessageID").starts_with("VMX"), "{finding:?}");
    assert_eq!(text(finding, "Message"), "Migration check `20-storage' failed: not enough room");
    assert_eq!(text(finding, "ErrorSource"), "20-storage");
    let severity = finding.value(&name("PerceivedSeverity")).and_then(Value::as_integer);
    assert_eq!(severity, Some(5));
    world.close().await;
}

#[tokio::test]
async fn every_property_of_a_finding_is_one_of_cim_error() {
    let finding = Finding {
        code: "VMC001".into(),
        severity: Severity::Warning,
        source: Source::Builtin,
        subject: "disk vda".to_owned(),
        message: "Disk vda is local.".to_owned(),
        arguments: vec!["vda".to_owned()],
        remedies: vec!["Copy it.".to_owned()],
    };
    let error = finding::error(&finding);
    let class = Repository::builtin().class(&error.class).unwrap();
    for property in &error.properties {
        let declared = class.property(&property.name).expect("a property of CIM_Error");
        assert_eq!(declared.ty.base, property.ty.base, "{}", property.name);
    }
    assert_eq!(text(&error, "ErrorSource"), "disk vda");
    assert_eq!(error.value(&name("PerceivedSeverity")), Some(&Value::from(3_u16)));
    assert_eq!(
        error.value(&name("RecommendedActions")),
        Some(&Value::from(vec!["Copy it.".to_owned()]))
    );
}

#[tokio::test]
async fn a_refusal_may_be_told_as_an_error() {
    let world = world().await;
    world.add_check("no", "echo because; exit 1");
    world.change_terms(|terms| terms.check_failure = CheckFailure::Error);
    let reply = world.run(to_host(Vec::new())).await;
    fails(reply, StatusCode::Failed, "Migration check `no' failed: because");
    fs::remove_file(world.check_directory().join("no")).unwrap();
    assert!(answer(world.run(to_host(Vec::new())).await).0);
    world.close().await;
}

#[tokio::test]
async fn check_programs_learn_what_the_contract_says() {
    let world = world().await;
    let out = world.directory.path().join("said");
    let script = format!(
        "{{ echo \"$#:$1:$2\"; cat \"$3\"; echo \"$VIRTCIMD_GUEST_UUID $VIRTCIMD_DESTINATION_HOST \
         $VIRTCIMD_DESTINATION_URI $VIRTCIMD_MIGRATION_TYPE $VIRTCIMD_TRANSPORT $VIRTCIMD_PHASE\"; \
         }} > {}",
        out.display()
    );
    world.add_check("tell", &script);
    add_destination(&world, "qemu+tcp://[2001:db8::1]:16509/system");
    let data = settings(vec![
        ("MigrationType", 3_u16.into()),
        ("TransportType", 5_u16.into()),
        ("CheckParameters", Value::Array(vec![Some("a=1".into()), None, Some("b=ü".into())])),
    ]);
    let changed = vec![
        parameter("DestinationHost", "[2001:db8::1]:16509"),
        parameter("MigrationSettingData", data),
    ];
    assert!(answer(world.run(to_host(changed)).await).0);
    let expected = format!(
        "3:peer1:fake:///KVM\na=1\nb=ü\n{UUID} [2001:db8::1]:16509 \
         qemu+tcp://[2001:db8::1]:16509/system resume tcp check\n"
    );
    assert_eq!(world.written("said"), expected);
    world.close().await;
}

#[tokio::test]
async fn without_check_parameters_there_is_no_file_and_with_none_an_empty_one() {
    let world = world().await;
    let out = world.directory.path().join("said");
    world.add_check("tell", &format!("echo $# > {}", out.display()));
    for (data, count) in [
        (settings(Vec::new()), "2\n"),
        (settings(vec![("CheckParameters", Value::Array(Vec::new()))]), "3\n"),
    ] {
        let changed = vec![parameter("MigrationSettingData", data)];
        assert!(answer(world.run(to_host(changed)).await).0);
        assert_eq!(world.written("said"), count);
    }
    world.close().await;
}

#[tokio::test]
async fn parameters_are_refused_in_libvirt_cims_order_and_words() {
    use StatusCode::{Failed, InvalidParameter, NotFound, TypeMismatch};
    let world = world().await;
    let guest = |class: &str, keys: &[(&str, &str)]| {
        parameter("ComputerSystem", ObjectPath::from(path(class, keys)))
    };
    let cs = "KVM_ComputerSystem";
    let data = |properties| parameter("MigrationSettingData", settings(properties));
    let null = |parameter: &str| ParamValue { name: name(parameter), ty: None, value: None };
    let interop = Namespace::parse("root/interop").expect("a name");
    let elsewhere = path(cs, &[("CreationClassName", cs), ("Name", "peer1")]).in_namespace(interop);
    let no_domain = "Domain not found: no domain with matching name 'nope'";
    let cases = [
        (vec![null("ComputerSystem")], InvalidParameter, "parameter `ComputerSystem`"),
        (vec![null("DestinationHost")], InvalidParameter, "parameter `DestinationHost`"),
        (
            vec![parameter("ComputerSystem", "peer1")],
            TypeMismatch,
            "parameter `ComputerSystem` must be a reference",
        ),
        (
            vec![guest("Xen_ComputerSystem", &[("Name", "peer1")])],
            Failed,
            "Invalid REF in ComputerSystem",
        ),
        (
            vec![guest(cs, &[("CreationClassName", "Nope"), ("Name", "peer1")])],
            Failed,
            "Invalid REF in ComputerSystem",
        ),
        (
            vec![parameter("ComputerSystem", ObjectPath::from(elsewhere))],
            Failed,
            "Invalid REF in ComputerSystem",
        ),
        (
            vec![guest(cs, &[("CreationClassName", cs)])],
            Failed,
            "Missing key (Name) in ComputerSystem",
        ),
        (
            vec![guest(cs, &[("CreationClassName", cs), ("Wrong", "peer1")])],
            Failed,
            "Missing key (Name) in ComputerSystem",
        ),
        (
            vec![parameter("ComputerSystem", ObjectPath::from(ClassPath::local(name(cs))))],
            Failed,
            "Missing key (Name) in ComputerSystem",
        ),
        (
            vec![data(vec![("MigrationType", 77_u16.into())])],
            Failed,
            "Unsupported migration type 77",
        ),
        (
            vec![data(vec![("TransportType", 99_u16.into())])],
            Failed,
            "Failed to construct a valid libvirt URI",
        ),
        (
            vec![data(vec![("TransportType", 32768_u16.into())])],
            Failed,
            "Failed to construct a valid libvirt URI",
        ),
        (
            vec![data(vec![("TransportType", "five".into())])],
            InvalidParameter,
            "property `TransportType` of parameter `MigrationSettingData`",
        ),
        (
            vec![data(vec![("TransportType", 3_u16.into())])],
            InvalidParameter,
            "TransportType: transport tls is not in migration.allowed-transports",
        ),
        (
            vec![data(vec![("Bandwidth", 0_u16.into())])],
            InvalidParameter,
            "Bandwidth: 0 is not allowed",
        ),
        (
            vec![parameter("MigrationSettingData", "<INSTANCE CLASSNAME=\"bro")],
            Failed,
            "Unable to parse embedded object",
        ),
        (
            vec![data(vec![("CheckParameters", vec!["a\nb".to_owned()].into())])],
            InvalidParameter,
            "CheckParameters[0]",
        ),
        (
            vec![parameter("MigrationWithoutRootKey", true)],
            Failed,
            "Migration with special ssh key is not enabled in config file.",
        ),
        (
            vec![parameter("DestinationHost", "elsewhere")],
            Failed,
            "Failed to connect to remote host (qemu+ssh://elsewhere/system)",
        ),
        (
            vec![guest(cs, &[("CreationClassName", cs), ("Name", "nope")])],
            NotFound,
            &format!("No such domain: {no_domain}"),
        ),
        (
            vec![guest(
                "KVM_HostSystem",
                &[("CreationClassName", "KVM_HostSystem"), ("Name", "peer1")],
            )],
            NotFound,
            "No such instance (CreationClassName)",
        ),
        (vec![guest(cs, &[("Name", "peer1")])], NotFound, "No such instance (CreationClassName)"),
        // Of two faults the earlier one is told.
        (
            vec![guest("Xen_ComputerSystem", &[]), data(vec![("MigrationType", 77_u16.into())])],
            Failed,
            "Invalid REF in ComputerSystem",
        ),
        (
            vec![
                guest(cs, &[("CreationClassName", cs), ("Name", "nope")]),
                parameter("DestinationHost", "elsewhere"),
            ],
            Failed,
            "Failed to connect to remote host",
        ),
    ];
    for (changed, status, text) in cases {
        fails(world.run(to_host(changed)).await, status, text);
    }
    let nameless = path("KVM_HostSystem", &[]);
    let reply = world.run(to_system(nameless.into())).await;
    fails(reply, Failed, "Missing key (Name) in DestinationSystem");
    world.close().await;
}

#[tokio::test]
async fn nothing_a_client_sends_reaches_a_uri_but_a_host() {
    let world = world().await;
    for text in [
        "there/system?x=",
        "there?command=/bin/sh",
        "there?netcat=/bin/sh",
        "user@there",
        "there/../x",
        "-oProxyCommand=x",
        "there\n",
        "",
    ] {
        let reply = world.run(to_host(vec![parameter("DestinationHost", text)])).await;
        fails(reply, StatusCode::InvalidParameter, "DestinationHost");
    }
    world.close().await;
}

#[tokio::test]
async fn the_administrator_restricts_and_names_destinations() {
    let world = world().await;
    add_destination(&world, "test:///elsewhere.xml");
    world.change_terms(|terms| {
        terms.destinations.allowed = Some(vec!["*.example".parse().unwrap()]);
        terms.destinations.transports = vec![Transport::Ssh];
        let uri = "test:///elsewhere.xml".to_owned();
        let named = NamedDestination { uri, migration_uri: None };
        terms.destinations.named.insert("elsewhere".to_owned(), named);
    });
    let reply = world.run(to_host(Vec::new())).await;
    fails(reply, StatusCode::InvalidParameter, "DestinationHost: destination there is not in");
    let named = vec![parameter("DestinationHost", "elsewhere")];
    assert!(answer(world.run(to_host(named)).await).0);
    world.close().await;
}

#[tokio::test]
async fn built_in_checks_are_in_the_same_findings_and_come_first() {
    let world = world().await;
    world.hypervisors[0].set_job("peer1", Some(JobOperation::Save));
    world.add_check("no", "exit 1");
    let (migratable, findings) = answer(world.run(to_host(Vec::new())).await);
    assert!(!migratable);
    let codes: Vec<_> = findings.iter().map(|it| &text(it, "MessageID")[..3]).collect();
    assert_eq!(codes, ["VMC", "VMX"], "{findings:?}");
    world.close().await;
}

#[tokio::test]
async fn an_older_destination_and_the_source_itself_are_refused() {
    let world = world().await;
    let old = add_destination(&world, "qemu+ssh://old/system");
    old.edit_host(|host| host.version = 6_000_000);
    let reply = world.run(to_host(vec![parameter("DestinationHost", "old")])).await;
    let (migratable, findings) = answer(reply);
    assert!(!migratable);
    assert_eq!(text(&findings[0], "MessageID"), "VMC011");
    let here = add_destination(&world, "qemu+ssh://here/system");
    let uuid = "11111111-2222-3333-4444-555555555555";
    world.hypervisors[0].edit_host(|host| host.uuid = Some(uuid.to_owned()));
    here.edit_host(|host| host.uuid = Some(uuid.to_owned()));
    let reply = world.run(to_host(vec![parameter("DestinationHost", "here")])).await;
    let (migratable, findings) = answer(reply);
    assert!(!migratable);
    assert_eq!(text(&findings[0], "MessageID"), "VMC001");
    world.close().await;
}

#[tokio::test]
async fn while_the_source_is_away_no_guest_moves_and_the_finding_says_why() {
    let world = World::prepared(&[Prefix::Kvm], FakeHypervisor::go_down).await;
    add_destination(&world, DESTINATION);
    let (migratable, findings) = answer(world.run(to_host(Vec::new())).await);
    assert!(!migratable);
    assert_eq!(text(&findings[0], "MessageID"), "VMC000");
    world.close().await;
}

#[tokio::test]
async fn containers_go_only_where_the_administrator_gave_a_uri() {
    let world = World::new(&[Prefix::Lxc]).await;
    let operation = Operation::InvokeMethod {
        object: ClassPath::local(name("LXC_VirtualSystemMigrationService")).into(),
        method: name("CheckVirtualSystemIsMigratableToHost"),
        parameters: vec![
            parameter(
                "ComputerSystem",
                ObjectPath::from(path("LXC_ComputerSystem", &[("Name", "peer1")])),
            ),
            parameter("DestinationHost", "there"),
        ],
    };
    let reply = world.run(operation).await;
    fails(reply, StatusCode::Failed, "Failed to construct a valid libvirt URI");
    world.close().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_ends_the_check_programs() {
    let world = world().await;
    let fifo = world.directory.path().join("begun");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    world.add_check("slow", &format!("echo $$ > {}; exec sleep 1000", fifo.display()));
    let cancelled = CancellationToken::new();
    let hang_up = cancelled.clone();
    let begun = tokio::task::spawn_blocking(move || {
        let pid = fs::read_to_string(fifo).unwrap();
        hang_up.cancel();
        pid.trim().to_owned()
    });
    let reply = world.run_until("root/virt", to_host(Vec::new()), cancelled).await;
    fails(reply, StatusCode::Failed, "the check run was cancelled");
    let pid = begun.await.unwrap();
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap(), "the program is gone");
    world.close().await;
}

#[tokio::test]
async fn new_terms_hold_for_the_next_request() {
    let world = world().await;
    assert!(answer(world.run(to_host(Vec::new())).await).0);
    let options = Options {
        directory: world.directory.path().join("missing"),
        runtime_directory: world.directory.path().join("run"),
        ..Options::default()
    };
    world.change_terms(|terms| terms.gate = terms.gate.reconfigured(options).unwrap());
    let (migratable, findings) = answer(world.run(to_host(Vec::new())).await);
    assert!(!migratable, "a missing directory fails closed");
    assert!(
        text(&findings[0], "Message").starts_with("Unable to execute migration checks"),
        "{findings:?}"
    );
    world.close().await;
}
