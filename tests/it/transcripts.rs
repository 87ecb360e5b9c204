//! What libvirt-cim answered, request by request, and where we differ: every difference is listed here
//! with its reason, and `docs/COMPATIBILITY.md` tells users.
//!
//! Requests are decoded, executed over a hypervisor in memory shaped like the recorded host, and the
//! replies compared by meaning: the order of objects and properties, and NULL properties, do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use virtcimd::{
    checks::{self, Gate, builtin::Levels},
    cim::{CimError, Instance, InstancePath, KeyValue, Object, Operation, Reply, Request, Value},
    hypervisor::{
        Connection, ConnectionOptions, DomainState,
        fake::{FakeHypervisor, FakeWorld},
    },
    migration::{DestinationPolicy, DiskDirectories, MigrationHandle, Options, Parts},
    ops::{self, Context, Operations, Principal, Registry, Role},
    providers::{self, CheckFailure, FailedJobState, Host, Migrations, Prefix, Server, Terms},
    repository::Repository,
    store::Store,
    xml::{self, Limits, RequestBody},
};

/// Transcripts that are not compared, and why.
const NOT_COMPARED: &[(&str, &str)] = &[
    ("73", "the recorded server had another schema loaded"),
    ("75", "the recorded server had other namespaces"),
    ("76", "the profiles of a whole virtualization platform"),
];

// Why we differ.
const PROPERTY_LIST: &str =
    "a property list restricts what is returned, as DSP0200 says; libvirt-cim ignored it";
const PROFILES: &str = "only profiles that are really implemented are registered";
const BOTH_VERSIONS: &str = "clients look for either version of the profile";
const NO_SLP: &str = "nothing is advertised by SLP";
const SCOPE: &str = "devices and consoles are not in the model of a migration server";
const SERVICE_AFFECTS: &str = "the migration service is found from the guest, as DSP1081 does it";
const DESTINATION: &str = "what names no host is refused; libvirt-cim pasted it into a URI";
const STANDARD_CODE: &str = "the code that DSP0200 has for an unknown method";
const NAMES: &str = "the text names what is wrong and what is allowed";
const CLASS_OF_SETTINGS: &str =
    "settings of another class are refused; libvirt-cim took its defaults instead";
const NO_CRASH: &str = "libvirt-cim crashed";
const PULL: &str = "pulled enumerations are supported";
const FINDINGS: &str = "the findings say why";

/// Transcript, difference, reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "04",
        "InstanceID of KVM_VirtualSystemMigrationSettingData is NULL instead of MigrationSettingData",
        PROPERTY_LIST,
    ),
    ("04", "Priority of KVM_VirtualSystemMigrationSettingData is NULL instead of 0", PROPERTY_LIST),
    ("19", "adds KVM_ComputerSystem KVM_ComputerSystem peer1", SERVICE_AFFECTS),
    (
        "20",
        "lacks KVM_ConsoleRedirectionService KVM_ConsoleRedirectionService ConsoleRedirectionService KVM_HostSystem vm",
        SCOPE,
    ),
    (
        "20",
        "adds KVM_VirtualSystemMigrationService KVM_VirtualSystemMigrationService MigrationService KVM_HostSystem vm",
        SERVICE_AFFECTS,
    ),
    ("25", "adds KVM_RegisteredProfile CIM:DSP1081-VirtualSystemMigration-1.0.0", BOTH_VERSIONS),
    ("25", "AdvertiseTypes of KVM_RegisteredProfile is [2] instead of [3]", NO_SLP),
    ("25", "adds KVM_ComputerSystem KVM_ComputerSystem peer1", SERVICE_AFFECTS),
    ("26", "adds KVM_RegisteredProfile CIM:DSP1081-VirtualSystemMigration-1.0.0", BOTH_VERSIONS),
    ("26", "adds KVM_ComputerSystem KVM_ComputerSystem peer1", SERVICE_AFFECTS),
    (
        "27",
        "adds KVM_ElementConformsToProfile (KVM_RegisteredProfile CIM:DSP1081-VirtualSystemMigration-1.0.0) (KVM_VirtualSystemMigrationService KVM_VirtualSystemMigrationService MigrationService KVM_HostSystem vm)",
        BOTH_VERSIONS,
    ),
    (
        "27",
        "adds KVM_ServiceAffectsElement (KVM_ComputerSystem KVM_ComputerSystem peer1) (KVM_VirtualSystemMigrationService KVM_VirtualSystemMigrationService MigrationService KVM_HostSystem vm)",
        SERVICE_AFFECTS,
    ),
    (
        "28",
        "lacks KVM_ConsoleRedirectionService KVM_ConsoleRedirectionService ConsoleRedirectionService KVM_HostSystem vm",
        SCOPE,
    ),
    (
        "28",
        "lacks KVM_Controller KVM_Controller peer1/controller:pci:0 KVM_ComputerSystem peer1",
        SCOPE,
    ),
    (
        "28",
        "lacks KVM_Controller KVM_Controller peer1/controller:usb:0 KVM_ComputerSystem peer1",
        SCOPE,
    ),
    ("28", "lacks KVM_Memory KVM_Memory peer1/mem KVM_ComputerSystem peer1", SCOPE),
    (
        "28",
        "lacks KVM_PointingDevice KVM_PointingDevice peer1/keyboard:ps2 KVM_ComputerSystem peer1",
        SCOPE,
    ),
    (
        "28",
        "lacks KVM_PointingDevice KVM_PointingDevice peer1/mouse:ps2 KVM_ComputerSystem peer1",
        SCOPE,
    ),
    ("28", "lacks KVM_Processor KVM_Processor peer1/0 KVM_ComputerSystem peer1", SCOPE),
    ("28", "lacks KVM_RegisteredProfile CIM:DSP1041-ResourceAllocation-1.1.0c_d", PROFILES),
    ("28", "lacks KVM_RegisteredProfile CIM:DSP1041-ResourceAllocation-1.1.0c_m", PROFILES),
    ("28", "lacks KVM_RegisteredProfile CIM:DSP1041-ResourceAllocation-1.1.0c_n", PROFILES),
    ("28", "lacks KVM_RegisteredProfile CIM:DSP1041-ResourceAllocation-1.1.0c_p", PROFILES),
    ("28", "lacks KVM_RegisteredProfile CIM:DSP1043-AllocationCapabilities-1.0.0a", PROFILES),
    (
        "28",
        "adds KVM_VirtualSystemMigrationService KVM_VirtualSystemMigrationService MigrationService KVM_HostSystem vm",
        SERVICE_AFFECTS,
    ),
    ("29", "adds KVM_RegisteredProfile CIM:DSP1081-VirtualSystemMigration-1.0.0", BOTH_VERSIONS),
    ("29", "AdvertiseTypes of KVM_RegisteredProfile is [2] instead of [3]", NO_SLP),
    (
        "31",
        "error 4: DestinationHost: \"\" names no host: there is nothing at character 1",
        DESTINATION,
    ),
    ("32", "the text goes on: : no such host", NAMES),
    ("41", "the text goes on: : KVM_Nope", NAMES),
    ("42", "the text goes on:  `root/nope`: there are root/virt, root/interop, root/cimv2", NAMES),
    (
        "43",
        "text `Class not found: KVM_Nope` instead of `The requested object could not be found`",
        NAMES,
    ),
    ("44", "the text goes on: : CIM_Location", NAMES),
    ("46", "error 17 instead of 1", STANDARD_CODE),
    (
        "46",
        "the text goes on: : KVM_VirtualSystemMigrationService has no method NoSuchMethod",
        NAMES,
    ),
    (
        "52",
        "text `parameter `ComputerSystem` is required` instead of `One or more parameter values passed to the method were invalid`",
        NAMES,
    ),
    (
        "53",
        "text `parameter `ComputerSystem` is required` instead of `One or more parameter values passed to the method were invalid`",
        NAMES,
    ),
    (
        "54",
        "text `parameter `DestinationHost` is required` instead of `One or more parameter values passed to the method were invalid`",
        NAMES,
    ),
    (
        "57",
        "text `parameter `ComputerSystem` must be a reference, received a string` instead of `The value supplied is incompatible with the type`",
        NAMES,
    ),
    (
        "58",
        "the text goes on: : TransportType 99 is not one of 2 (SSH), 3 (TLS), 4 (TLS strict), 5 (TCP), 32768 (UNIX)",
        NAMES,
    ),
    (
        "60",
        "the text goes on: : parameter `MigrationSettingData`: not well-formed XML at byte 0 (line 1): syntax error: attribute value not closed: `\"` not found before end of input",
        NAMES,
    ),
    ("62", "error 4 instead of 1", CLASS_OF_SETTINGS),
    (
        "62",
        "text `parameter `MigrationSettingData` must hold an instance of CIM_VirtualSystemMigrationSettingData, received one of KVM_ComputerSystem` instead of `Failed to connect to remote host (qemu+ssh://127.0.0.1/system)`",
        CLASS_OF_SETTINGS,
    ),
    ("63", "error 4 instead of 1", CLASS_OF_SETTINGS),
    (
        "63",
        "text `parameter `MigrationSettingData` holds an instance of KVM_Nope, a class that does not exist` instead of `Failed to connect to remote host (qemu+ssh://127.0.0.1/system)`",
        CLASS_OF_SETTINGS,
    ),
    ("64", "error 4 instead of 1", NO_CRASH),
    (
        "64",
        "text `property `TransportType` of parameter `MigrationSettingData` must be a uint16 (0 to 65535), received `five`` instead of `*** Provider Virt_VSMigrationService(14721) exiting due to a SIGSEGV signal`",
        NO_CRASH,
    ),
    ("65", "the text goes on: : no such host", NAMES),
    (
        "66",
        "error 4: DestinationHost: \"127.0.0.1/system?x=\" names no host: a name has only ASCII letters, digits, `-`, `_` and dots at character 10",
        DESTINATION,
    ),
    (
        "67",
        "text `instances of KVM_VirtualSystemMigrationSettingData cannot be created` instead of `The requested operation is not supported`",
        NAMES,
    ),
    (
        "68",
        "text `instances of KVM_VirtualSystemMigrationSettingData cannot be deleted` instead of `The requested operation is not supported`",
        NAMES,
    ),
    (
        "69",
        "text `instances of KVM_VirtualSystemMigrationSettingData cannot be modified` instead of `The requested operation is not supported`",
        NAMES,
    ),
    (
        "71",
        "text `at character 1: expected SELECT, found `selekt`` instead of `syntax error in query.`",
        NAMES,
    ),
    ("72", "no error 1: invalid imethodcall XML", PULL),
    ("78", "Findings of result is [an instance] instead of NULL", FINDINGS),
];

/// The recorded host, in memory.
struct Recorded {
    operations: Operations,
    tasks: TaskTracker,
    stop: CancellationToken,
    // Kept for as long as the gate looks into it.
    _checks: tempfile::TempDir,
}

impl Recorded {
    /// The host with its guest in that state, and whether its one check program refuses.
    async fn new(state: DomainState, refuses: bool) -> Self {
        let world = FakeWorld::new();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let host = world.add_host("qemu:///system");
        host.edit_host(|host| host.hostname = "vm".to_owned());
        let uuid = "acecc272-f953-42ee-a4ea-38e648bfc1d7";
        host.add_guest(FakeHypervisor::guest("peer1", uuid, state), "<domain/>");
        world.add_host("qemu+tcp://127.0.0.1/system");
        let checks = tempfile::tempdir().expect("a directory");
        let check = checks.path().join("check");
        fs::write(&check, format!("#!/bin/sh\nexit {}\n", u8::from(refuses))).expect("a check");
        fs::set_permissions(check, fs::Permissions::from_mode(0o755)).expect("permissions");
        let gate = Gate::new(checks::Options {
            directory: checks.path().to_owned(),
            runtime_directory: checks.path().join(".run"),
            ..checks::Options::default()
        });
        let terms = Terms {
            gate: gate.expect("a gate"),
            levels: Levels::default(),
            destinations: DestinationPolicy::default(),
            check_failure: CheckFailure::Verdict,
            failed_job_state: FailedJobState::Completed,
            disk_directories: DiskDirectories::default(),
            ssh_key_directory: None,
        };
        let terms = watch::channel(Arc::new(terms)).1;
        let shared = Migrations::new(Arc::clone(&world) as _, terms.clone());
        let options = ConnectionOptions::new("qemu:///system");
        let connector = Arc::clone(&world) as Arc<_>;
        let connection = Connection::start(options, connector, &tasks, stop.clone());
        let parts = Parts {
            store: Store::open(&checks.path().join(".db")).await.expect("a store"),
            sources: vec![connection.clone()],
            connector: world,
            gate: providers::ask_gate(terms),
        };
        let migrations = MigrationHandle::start(parts, Options::default(), &tasks, stop.clone());
        let migrations = migrations.await.expect("an empty store");
        let host = Host { prefix: Prefix::Kvm, connection, migrations };
        let mut registry = Registry::default();
        providers::register(&mut registry, &host, &shared).expect("one hypervisor");
        let hosts = std::slice::from_ref(&host);
        providers::register_jobs(&mut registry, hosts, &shared).expect("once");
        let server = Server {
            system: "vm".to_owned(),
            authenticates: true,
            certificates: false,
            max_operation_timeout: 600,
        };
        providers::register_server(&mut registry, &server, &[host]).expect("one server");
        let operations = Operations::new(Repository::builtin(), registry, ops::Limits::default());
        Self { operations, tasks, stop, _checks: checks }
    }

    async fn answer(&self, request: Request) -> Result<Reply, CimError> {
        let ctx = Context {
            principal: Principal { name: "client".to_owned(), role: Role::Admin },
            peer: "127.0.0.1:1".to_owned(),
            host: "vm".to_owned(),
            cancelled: CancellationToken::new(),
        };
        self.operations.execute(&ctx, request).await.collect().await
    }

    async fn close(self) {
        self.operations.close().await;
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[tokio::test]
async fn every_difference_from_libvirt_cim_is_listed() {
    let shut_off = Recorded::new(DomainState::Shutoff, false).await;
    // libvirt-cim answers the same whether a guest runs or not, so its answers to Check requests are
    // compared with ours for a guest that can be migrated live.
    let running = Recorded::new(DomainState::Running, false).await;
    let refusing = Recorded::new(DomainState::Running, true).await;
    let mut found = Vec::new();
    for (number, request, reply) in transcripts() {
        if NOT_COMPARED.iter().any(|(it, _)| *it == number) {
            continue;
        }
        let request = decode_request(&request).unwrap_or_else(|error| panic!("{number}: {error}"));
        let host = match (number.as_str(), &request.operation) {
            ("78", _) => &refusing,
            (_, Operation::InvokeMethod { .. }) => &running,
            _ => &shut_off,
        };
        let theirs = decode_reply(&reply, &request.operation);
        let ours = host.answer(request).await;
        found.extend(differences(&theirs, &ours).into_iter().map(|it| (number.clone(), it)));
    }
    for host in [shut_off, running, refusing] {
        host.close().await;
    }
    let listed: Vec<_> = DIFFERENCES
        .iter()
        .map(|(number, it, _)| ((*number).to_owned(), (*it).to_owned()))
        .collect();
    let new: Vec<_> = found.iter().filter(|it| !listed.contains(it)).collect();
    let gone: Vec<_> = listed.iter().filter(|it| !found.contains(it)).collect();
    assert!(new.is_empty() && gone.is_empty(), "not listed: {new:#?}\nlisted, but gone: {gone:#?}");
}

/// Number, request and reply of each transcript.
fn transcripts() -> Vec<(String, PathBuf, PathBuf)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/transcripts");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("the transcripts") {
        let path = entry.expect("a transcript").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix("-request.xml") {
            let number = stem.split('-').next().expect("a number").to_owned();
            let reply = path.with_file_name(format!("{stem}-reply.xml"));
            found.push((number, path, reply));
        }
    }
    found.sort();
    assert!(found.len() > 70, "only {} transcripts", found.len());
    found
}

fn decode_request(path: &Path) -> Result<Request, CimError> {
    let body = fs::read(path).expect("a request");
    let message = xml::decode_request(&body, &Limits::default()).expect("a message");
    match message.body {
        RequestBody::Simple(call) => call.request,
        RequestBody::Multiple => panic!("{} has several requests", path.display()),
    }
}

fn decode_reply(path: &Path, operation: &Operation) -> Result<Reply, CimError> {
    let body = fs::read(path).expect("a reply");
    let reply = xml::decode_reply(&body, operation, &Limits::for_replies());
    reply.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What is different in our answer, a short sentence each.
fn differences(theirs: &Result<Reply, CimError>, ours: &Result<Reply, CimError>) -> Vec<String> {
    match (theirs, ours) {
        (Err(theirs), Err(ours)) => {
            let mut found = Vec::new();
            if theirs.status != ours.status {
                let (theirs, ours) = (theirs.status.code(), ours.status.code());
                found.push(format!("error {ours} instead of {theirs}"));
            }
            let (theirs, ours) = (&theirs.description, &ours.description);
            match ours.strip_prefix(theirs.as_str()) {
                Some("") => {}
                Some(more) => found.push(format!("the text goes on: {more}")),
                None => found.push(format!("text `{ours}` instead of `{theirs}`")),
            }
            found
        }
        (Ok(_), Err(ours)) => {
            vec![format!("error {}: {}", ours.status.code(), ours.description)]
        }
        (Err(theirs), Ok(_)) => {
            vec![format!("no error {}: {}", theirs.status.code(), theirs.description)]
        }
        (Ok(theirs), Ok(ours)) => reply_differences(theirs, ours),
    }
}

fn reply_differences(theirs: &Reply, ours: &Reply) -> Vec<String> {
    match (theirs, ours) {
        (Reply::Objects(_, theirs), Reply::Objects(_, ours)) => {
            list_differences(&by_path(theirs), &by_path(ours))
        }
        (Reply::Instance(theirs), Reply::Instance(ours)) => {
            property_differences(&theirs.class.to_string(), &set(theirs), &set(ours))
        }
        (
            Reply::Method { return_value: theirs, out: theirs_out, .. },
            Reply::Method { return_value: ours, out: ours_out, .. },
        ) => {
            let values = |value: &Option<Value>, out: &[virtcimd::cim::ParamValue]| {
                let out =
                    out.iter().filter_map(|it| Some((it.name.to_string(), it.value.clone()?)));
                let returned = value.clone().map(|it| ("the return value".to_owned(), it));
                out.chain(returned).collect::<BTreeMap<_, _>>()
            };
            let (theirs, ours) = (values(theirs, theirs_out), values(ours, ours_out));
            property_differences("result", &theirs, &ours)
        }
        (Reply::QualifierDeclaration(theirs), Reply::QualifierDeclaration(ours)) => {
            let mut theirs = theirs.clone();
            theirs.scopes.sort_by_key(|scope| ours.scopes.iter().position(|it| it == scope));
            let same = theirs == *ours;
            if same { Vec::new() } else { vec![format!("{ours:?} instead of {theirs:?}")] }
        }
        (theirs, ours) if theirs == ours => Vec::new(),
        (theirs, ours) => vec![format!("{ours:?} instead of {theirs:?}")],
    }
}

type Properties = BTreeMap<String, Value>;

/// The properties that are not NULL.
fn set(instance: &Instance) -> Properties {
    let properties = instance.properties.iter();
    properties.filter_map(|it| Some((it.name.to_string(), it.value.clone()?))).collect()
}

/// The objects of a list by what identifies them.
fn by_path(objects: &[Object]) -> BTreeMap<String, Properties> {
    let object = |object: &Object| match object {
        Object::Instance(instance) => {
            (identity(instance.path.as_ref().expect("a path")), set(instance))
        }
        Object::InstancePath(path) => (identity(path), Properties::new()),
        other => panic!("not an instance: {other:?}"),
    };
    objects.iter().map(object).collect()
}

/// Class and keys of a path, keys sorted, without host and namespace.
fn identity(path: &InstancePath) -> String {
    let key = |key: &virtcimd::cim::Key| match &key.value {
        KeyValue::Reference(object) => {
            format!("({})", identity(object.instance().expect("an instance")))
        }
        KeyValue::String(text) => text.clone(),
        other => other.to_string(),
    };
    let keys: BTreeMap<_, _> =
        path.keys.iter().map(|it| (it.name.as_ref().map(ToString::to_string), key(it))).collect();
    format!("{} {}", path.class, keys.into_values().collect::<Vec<_>>().join(" "))
}

fn list_differences(
    theirs: &BTreeMap<String, Properties>,
    ours: &BTreeMap<String, Properties>,
) -> Vec<String> {
    let lacking = theirs.keys().filter(|it| !ours.contains_key(*it));
    let lacking = lacking.map(|it| format!("lacks {it}"));
    let added = ours.keys().filter(|it| !theirs.contains_key(*it)).map(|it| format!("adds {it}"));
    let changed = theirs.iter().filter_map(|(path, theirs)| {
        let class = path.split(' ').next().expect("a class");
        Some(property_differences(class, theirs, ours.get(path)?))
    });
    lacking.chain(added).chain(changed.flatten()).collect()
}

fn property_differences(what: &str, theirs: &Properties, ours: &Properties) -> Vec<String> {
    let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let shown = |value: Option<&Value>| value.map_or("NULL".to_owned(), brief);
    let differ = names.into_iter().filter(|name| theirs.get(*name) != ours.get(*name));
    let say = |name: &String| {
        let (theirs, ours) = (shown(theirs.get(name)), shown(ours.get(name)));
        format!("{name} of {what} is {ours} instead of {theirs}")
    };
    differ.map(say).collect()
}

fn brief(value: &Value) -> String {
    match value {
        Value::Scalar(scalar) => match KeyValue::from_scalar(scalar) {
            Some(KeyValue::String(text)) => text,
            Some(other) => other.to_string(),
            None => "an instance".to_owned(),
        },
        Value::Array(elements) => {
            let one =
                |it: &Option<_>| it.clone().map_or("NULL".into(), |it| brief(&Value::Scalar(it)));
            format!("[{}]", elements.iter().map(one).collect::<Vec<_>>().join(", "))
        }
    }
}
