//! MigrateVirtualSystemToHost and …ToSystem, and the jobs they start.

use super::{
    check::{
        DESTINATION, SERVICE, add_destination, fails, guest_path, parameter, parameters, text,
    },
    *,
};
use crate::{
    cim::{ClassPath, ObjectPath, ParamValue, Scalar},
    hypervisor::{Hypervisor, XmlForm},
    migration::{JobView, Limits, NamedDestination},
};

const JOB: &str = "KVM_MigrationJob";
const SETTINGS: &str = "KVM_VirtualSystemMigrationSettingData";

/// A host where peer1 runs, and a destination `there`.
pub(super) async fn world() -> World {
    world_with(quick_options()).await
}

async fn world_with(options: Options) -> World {
    let run = |host: &FakeHypervisor| {
        host.change_guest_silently("peer1", |guest| guest.state = DomainState::Running);
    };
    let world = World::with_options(&[Prefix::Kvm], run, options).await;
    add_destination(&world, DESTINATION);
    world
}

fn settings(properties: Vec<(&str, Value)>) -> ParamValue {
    let mut settings = Instance::new(name(SETTINGS));
    for (property, value) in properties {
        settings.set(name(property), value);
    }
    parameter("MigrationSettingData", settings)
}

fn texts(texts: &[&str]) -> Value {
    Value::from(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
}

/// A disk that is somewhere else at the destination.
fn disk(target: &str, source: &str) -> Instance {
    Instance::new(name("CIM_ResourceAllocationSettingData"))
        .with(name("ResourceType"), 17_u16)
        .with(name("AddressOnParent"), target)
        .with(name("HostResource"), texts(&[source]))
}

fn resources(resources: impl IntoIterator<Item = Instance>) -> ParamValue {
    let embedded = |it: Instance| Some(Scalar::EmbeddedInstance(Box::new(it)));
    let value = Value::Array(resources.into_iter().map(embedded).collect());
    ParamValue { value: Some(value), ..parameter("NewResourceSettingData", true) }
}

fn call(object: impl Into<ObjectPath>, method: &str, parameters: Vec<ParamValue>) -> Operation {
    Operation::InvokeMethod { object: object.into(), method: name(method), parameters }
}

fn to_host(changed: Vec<ParamValue>) -> Operation {
    call(ClassPath::local(name(SERVICE)), "MigrateVirtualSystemToHost", parameters(changed))
}

/// What a method returned.
#[track_caller]
fn returned(reply: Result<Reply, CimError>) -> (u32, Vec<ParamValue>) {
    let Ok(Reply::Method { return_value, out, .. }) = reply else { panic!("no reply: {reply:?}") };
    let code = return_value.as_ref().and_then(Value::as_integer).expect("a number");
    (u32::try_from(code).unwrap(), out)
}

/// The job that a Migrate method started.
#[track_caller]
fn started(reply: Result<Reply, CimError>) -> InstancePath {
    let (code, out) = returned(reply);
    assert_eq!(code, 4096);
    let [job] = out.as_slice() else { panic!("{out:?}") };
    assert_eq!(job.name, name("Job"));
    let path = job.value.as_ref().and_then(Value::as_reference).and_then(ObjectPath::instance);
    let path = path.expect("a path").clone();
    assert_eq!(path.class, name(JOB));
    path
}

pub(super) fn id(job: &InstancePath) -> String {
    job.string_key(&name("InstanceID")).expect("a key").to_owned()
}

fn embedded(out: &[ParamValue]) -> Vec<Instance> {
    let elements = out.iter().flat_map(|parameter| match &parameter.value {
        Some(Value::Array(elements)) => elements.iter().flatten().collect(),
        Some(Value::Scalar(scalar)) => vec![scalar],
        None => Vec::new(),
    });
    let instance = |scalar: &Scalar| match scalar {
        Scalar::EmbeddedInstance(instance) => (**instance).clone(),
        other => panic!("not an instance: {other:?}"),
    };
    elements.map(instance).collect()
}

impl World {
    pub(super) async fn migrate(&self, changed: Vec<ParamValue>) -> InstancePath {
        started(self.run(to_host(changed)).await)
    }

    /// Waits until the job looks like that.
    async fn until(&self, job: &InstancePath, wanted: impl Fn(&JobView) -> bool) {
        let mut views = self.jobs.watch(&id(job)).expect("a job");
        let waited = tokio::time::timeout(Duration::from_secs(60), views.wait_for(|it| wanted(it)));
        waited.await.expect("in time").expect("the job is there");
    }

    async fn ended(&self, job: &InstancePath) -> Instance {
        self.until(job, JobView::is_over).await;
        self.get(job.clone()).await.expect("the job is kept")
    }

    async fn call(&self, job: &InstancePath, method: &str, parameters: Vec<ParamValue>) -> u32 {
        returned(self.run(call(job.clone(), method, parameters)).await).0
    }

    async fn terminate(&self, job: &InstancePath) -> u32 {
        self.call(job, "RequestStateChange", vec![parameter("RequestedState", 4_u16)]).await
    }

    async fn paths(&self, source: &InstancePath, association: &str) -> Vec<String> {
        let found = self.associators(source, association).await;
        found.iter().map(|it| it.path.as_ref().expect("a path").class.to_string()).collect()
    }

    fn add_guest(&self, name: &str, uuid: &str) -> ParamValue {
        let guest = FakeHypervisor::guest(name, uuid, DomainState::Running);
        self.hypervisors[0].add_guest(guest, "<domain/>");
        let keys = [("CreationClassName", "KVM_ComputerSystem"), ("Name", name)];
        parameter("ComputerSystem", ObjectPath::from(path("KVM_ComputerSystem", &keys)))
    }
}

#[tokio::test]
async fn a_guest_moves_and_its_job_tells_so() {
    let world = world().await;
    let job = world.migrate(Vec::new()).await;
    let shown = world.ended(&job).await;
    has(
        &shown,
        &[
            ("Name", "Migration"),
            ("JobState", "7"),
            ("Status", "Completed"),
            ("JobStatus", "Done"),
            ("OperationalStatus", "[17,2]"),
            ("ErrorCode", "0"),
            ("ErrorDescription", "NULL"),
            ("PercentComplete", "100"),
            ("MigrationPhase", "8"),
            ("VirtualSystemName", "peer1"),
            ("DestinationHost", "there"),
            ("Owner", "someone"),
            ("DeleteOnCompletion", "TRUE"),
            ("TimeBeforeRemoval", "00000000000500.000000:000"),
            ("JobRunTimes", "1"),
        ],
    );
    for property in ["TimeSubmitted", "StartTime", "ElapsedTime", "TimeOfLastStateChange"] {
        assert!(shown.value(&name(property)).is_some(), "{property}");
    }
    let (code, out) = returned(world.run(call(job.clone(), "GetError", Vec::new())).await);
    assert_eq!((code, out.len()), (0, 0));
    assert_eq!(world.paths(&job, "CIM_AffectedJobElement").await, Vec::<String>::new(), "it left");
    assert_eq!(world.terminate(&job).await, 4097, "it is over");
    let system = path("KVM_HostSystem", &[("Name", "there")]);
    let parameters = vec![
        parameter("ComputerSystem", guest_path()),
        parameter("DestinationSystem", ObjectPath::from(system)),
    ];
    let class = ClassPath::local(name(SERVICE));
    let again = world.run(call(class, "MigrateVirtualSystemToSystem", parameters)).await;
    fails(again, StatusCode::NotFound, "No such domain: ");
    world.close().await;
}

#[tokio::test]
async fn a_job_under_way_is_shown_with_all_that_belongs_to_it() {
    let world = world().await;
    let copying = world.hypervisors[0].hang("copy");
    let job = world.migrate(Vec::new()).await;
    world.until(&job, |it| it.report.total.is_some()).await;
    let shown = world.get(job.clone()).await.unwrap();
    has(
        &shown,
        &[
            ("JobState", "4"),
            ("Status", "Running"),
            ("JobStatus", "Copying"),
            ("MigrationPhase", "4"),
            ("DataTotal", "1073741824"),
            ("OperationalStatus", "[2]"),
        ],
    );
    let guest = world.get(parse(GUEST)).await.unwrap();
    has(&guest, &[("OperatingStatus", "9")]);
    let guests = world.enumerate("KVM_ComputerSystem").await;
    let [listed] = guests.as_slice() else { panic!("{guests:?}") };
    assert!(listed.properties == guest.properties, "it looks the same wherever it is found");

    for (association, other) in [
        ("CIM_OwningJobElement", SERVICE),
        ("CIM_AffectedJobElement", "KVM_ComputerSystem"),
        ("CIM_AssociatedJobMethodResult", "CIM_MethodResult"),
    ] {
        let found = world.associators(&job, association).await;
        let [far] = found.as_slice() else { panic!("{association}: {found:?}") };
        assert_eq!(far.class, name(other), "{association}");
        let back = world.associators(far.path.as_ref().unwrap(), association).await;
        let [near] = back.as_slice() else { panic!("{association}: {back:?}") };
        has(near, &[("InstanceID", &id(&job))]);
    }
    let results = world.enumerate("CIM_MethodResult").await;
    let [result] = results.as_slice() else { panic!("{results:?}") };
    let result = world.get(result.path.clone().unwrap()).await.unwrap();
    let call = result.value(&name("PostCallIndication")).and_then(Value::as_instance).unwrap();
    has(call, &[("MethodName", "MigrateVirtualSystemToHost"), ("ReturnValue", "4096")]);
    let of = call.value(&name("SourceInstanceModelPath")).and_then(Value::as_str).unwrap();
    assert!(of.starts_with(&format!("{SERVICE}.")), "{of}");

    let again = world.run(to_host(Vec::new())).await;
    fails(again, StatusCode::Failed, "the guest is being migrated already, by job");
    let deleted = world.run(Operation::DeleteInstance { path: job.clone() }).await;
    fails(deleted, StatusCode::Failed, "the job is not over");

    let told = world.terminate(&job).await;
    assert!([0, 4096].contains(&told), "{told}");
    let shown = world.ended(&job).await;
    has(&shown, &[("JobState", "8"), ("Status", "Terminated"), ("MigrationPhase", "10")]);
    has(&world.get(parse(GUEST)).await.unwrap(), &[("OperatingStatus", "32768")]);
    drop(copying);
    world.run(Operation::DeleteInstance { path: job.clone() }).await.unwrap();
    assert_eq!(world.get(job.clone()).await.unwrap_err().status, StatusCode::NotFound);
    assert!(world.enumerate(JOB).await.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_job_that_waits_says_for_what_and_a_full_queue_refuses() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 1 };
    let world = world_with(Options { limits, ..quick_options() }).await;
    let copying = world.hypervisors[0].hang("copy");
    let first = world.migrate(Vec::new()).await;
    world.until(&first, |it| it.report.total.is_some()).await;
    let second = world.add_guest("peer2", "00000000-0000-4000-8000-000000000002");
    let second = world.migrate(vec![second, settings(vec![("Priority", 7_u16.into())])]).await;
    let shown = world.get(second.clone()).await.unwrap();
    let waits = "Queued: this host has 1 of 1 outgoing migrations";
    has(
        &shown,
        &[
            ("JobState", "4"),
            ("JobStatus", waits),
            ("MigrationPhase", "1"),
            ("Priority", "7"),
            ("PercentComplete", "0"),
        ],
    );
    let third = world.add_guest("peer3", "00000000-0000-4000-8000-000000000003");
    let refused = world.run(to_host(vec![third])).await;
    fails(refused, StatusCode::ServerLimitsExceeded, "1 migrations are waiting already");
    assert_eq!(world.enumerate(JOB).await.len(), 2);

    let kill = vec![parameter("DeleteOnKill", true)];
    assert_eq!(world.call(&second, "KillJob", kill).await, 0);
    let gone = async {
        while world.jobs.job(&id(&second)).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("it is removed");
    drop(copying);
    has(&world.ended(&first).await, &[("JobState", "7"), ("Status", "Completed")]);
    assert_eq!(world.call(&first, "KillJob", Vec::new()).await, 4, "it is over");
    world.close().await;
}

#[tokio::test]
async fn the_gate_runs_again_and_its_refusal_ends_the_job() {
    let world = world().await;
    world.add_check("20-storage", "[ $VIRTCIMD_PHASE = migrate ] || exit 9; echo no room; exit 1");
    let message = "Migration check `20-storage' failed: no room";
    let job = world.migrate(Vec::new()).await;
    let shown = world.ended(&job).await;
    has(
        &shown,
        &[
            ("JobState", "7"),
            ("Status", message),
            ("ErrorDescription", message),
            ("ErrorCode", "1"),
            ("OperationalStatus", "[17,6]"),
            ("PercentComplete", "100"),
            ("MigrationPhase", "9"),
        ],
    );
    for method in ["GetError", "GetErrors"] {
        let (code, out) = returned(world.run(call(job.clone(), method, Vec::new())).await);
        let errors = embedded(&out);
        let [error] = errors.as_slice() else { panic!("{method}: {errors:?}") };
        assert_eq!((code, text(error, "Message")), (0, message));
        has(error, &[("MessageID", "VMX001"), ("CIMStatusCode", "1")]);
    }
    world.change_terms(|terms| terms.failed_job_state = FailedJobState::Exception);
    has(&world.get(job).await.unwrap(), &[("JobState", "10"), ("OperationalStatus", "[17,6]")]);
    world.close().await;
}

#[tokio::test]
async fn a_failure_of_libvirt_is_told_in_its_words() {
    let world = world().await;
    let refusal = HypervisorError::Libvirt { code: 38, message: "link is down".to_owned() };
    world.hypervisors[0].fail_next("copy", refusal);
    let job = world.migrate(Vec::new()).await;
    let shown = world.ended(&job).await;
    has(&shown, &[("JobState", "7"), ("ErrorCode", "1"), ("OperationalStatus", "[17,6]")]);
    assert!(text(&shown, "Status").ends_with("link is down"), "{shown:?}");
    let (_, out) = returned(world.run(call(job, "GetErrors", Vec::new())).await);
    let errors = embedded(&out);
    has(&errors[0], &[("MessageID", "VMJ004"), ("OwningEntity", "virtcimd")]);
    world.close().await;
}

#[tokio::test]
async fn an_administrator_may_override_what_can_be_overridden() {
    let world = world().await;
    world.add_check("no", "exit 1");
    let asks = |codes: &[&str]| to_host(vec![settings(vec![("OverrideFindings", texts(codes))])]);
    let refused = world.run_as(Role::Operator, asks(&["VMX001"])).await;
    fails(refused, StatusCode::AccessDenied, "OverrideFindings needs the role admin");
    for code in ["VMC001", "VMC010", "VMX005", "VMX006", "VMC007:no", "VMX001:", "nonsense"] {
        let refused = world.run(asks(&[code])).await;
        fails(refused, StatusCode::InvalidParameter, &format!("OverrideFindings: {code:?}"));
    }
    assert!(world.jobs.jobs().is_empty());
    let other = started(world.run(asks(&["VMX001:other", "VMC007"])).await);
    has(&world.ended(&other).await, &[("OperationalStatus", "[17,6]")]);
    let job = started(world.run(asks(&["VMX001:no"])).await);
    has(&world.ended(&job).await, &[("JobState", "7"), ("Status", "Completed")]);
    let (_, out) = returned(world.run(call(job, "GetErrors", Vec::new())).await);
    has(&embedded(&out)[0], &[("MessageID", "VMX001")]);
    world.close().await;
}

#[tokio::test]
async fn what_can_be_refused_at_once_leaves_no_job() {
    let world = world().await;
    let class = name("KVM_ComputerSystem");
    let nobody =
        path("KVM_ComputerSystem", &[("CreationClassName", class.as_str()), ("Name", "x")]);
    let other = path("Xen_ComputerSystem", &[("Name", "peer1")]);
    let nameless = path("KVM_ComputerSystem", &[]);
    let one = |property, value: Value| vec![settings(vec![(property, value)])];
    let system = |property: &str, value: &str| {
        let data = Instance::new(name("KVM_VirtualSystemSettingData")).with(name(property), value);
        vec![parameter("NewSystemSettingData", data)]
    };
    let disks = |sources: &[&str]| vec![resources(sources.iter().map(|it| disk("vda", it)))];
    let guest = |path: InstancePath| vec![parameter("ComputerSystem", ObjectPath::from(path))];
    let host = |host: &str| vec![parameter("DestinationHost", host)];
    let invalid = StatusCode::InvalidParameter;
    let failed = StatusCode::Failed;
    world.change_terms(|terms| {
        terms.destinations.allowed = Some(vec!["there".parse().unwrap(), "far".parse().unwrap()]);
    });
    for (changed, status, message) in [
        (guest(nobody), StatusCode::NotFound, "No such domain: "),
        (guest(other), failed, "Invalid REF in ComputerSystem"),
        (guest(nameless), failed, "Missing key (Name) in ComputerSystem"),
        (host("elsewhere"), invalid, "DestinationHost: "),
        (host("there/system?command=x"), invalid, "DestinationHost: "),
        (host("far"), failed, "Failed to connect to remote host (qemu+ssh://far/system): "),
        (one("MigrationType", 9_u16.into()), failed, "Unsupported migration type 9"),
        (one("TransportType", 32768_u16.into()), failed, "Failed to construct a valid libvirt URI"),
        (one("TransportType", 3_u16.into()), invalid, "TransportType: "),
        (one("Compression", 5_u16.into()), invalid, "Compression: "),
        (one("UndefineSource", "perhaps".into()), invalid, "property `UndefineSource`"),
        (one("CheckParameters", texts(&["a\nb"])), invalid, ""),
        (system("Emulator", "/bin/sh"), invalid, "NewSystemSettingData: Emulator can't be changed"),
        (system("ElementName", "a/b"), invalid, "NewSystemSettingData: new name \"a/b\""),
        (
            disks(&["/srv/../etc/passwd"]),
            invalid,
            "NewResourceSettingData: new disk source \"/srv/../etc/passwd\" is not allowed",
        ),
        (
            disks(&["/srv/a", "/srv/b"]),
            invalid,
            "NewResourceSettingData: disk `vda` is to be changed more than once",
        ),
        (disks(&["/srv/a"; 257]), invalid, "NewResourceSettingData: more than 256 elements"),
        (
            vec![parameter("MigrationWithoutRootKey", true)],
            failed,
            "Migration with special ssh key is not enabled in config file.",
        ),
    ] {
        fails(world.run(to_host(changed)).await, status, message);
    }
    let checker = world.run_as(Role::Checker, to_host(Vec::new())).await;
    fails(checker, StatusCode::AccessDenied, "MigrateVirtualSystemToHost needs the role operator");
    assert!(world.jobs.jobs().is_empty());
    assert!(world.jobs.history(0, 10).await.unwrap().is_empty());
    world.close().await;
}

/// Gives peer1 a disk and an interface.
fn equip(world: &World) {
    let guest = FakeHypervisor::guest("peer1", UUID, DomainState::Running);
    let xml = "<domain><name>peer1</name><devices>\
               <disk type='file'><source file='/srv/images/a.img'/><target dev='vda'/></disk>\
               <interface type='network'><mac address='52:54:00:00:00:01'/>\
               <source network='default'/></interface></devices></domain>";
    world.hypervisors[0].add_guest_silently(guest, xml);
}

#[tokio::test]
async fn disks_are_where_the_administrator_allows() {
    let world = world().await;
    let there = add_destination(&world, DESTINATION);
    there.add_network("default", true);
    equip(&world);
    let to = |path: &str| vec![resources([disk("vda", path)])];
    let denied = "NewResourceSettingData: disk `vda` needs the role admin: /srv/images/b.img is not \
                  below any of migration.allowed-disk-directories; user `someone` has the role \
                  operator";
    for method in ["MigrateVirtualSystemToHost", "CheckVirtualSystemIsMigratableToHost"] {
        let service = ClassPath::local(name(SERVICE));
        let operation = call(service, method, parameters(to("/srv/images/b.img")));
        fails(world.run_as(Role::Operator, operation).await, StatusCode::AccessDenied, denied);
    }
    world.change_terms(|terms| {
        terms.disk_directories = DiskDirectories(vec!["/srv/images".parse().unwrap()]);
    });
    let elsewhere = world.run_as(Role::Operator, to_host(to("/dev/sda"))).await;
    fails(elsewhere, StatusCode::AccessDenied, "NewResourceSettingData: disk `vda` needs the role");
    let job = started(world.run_as(Role::Operator, to_host(to("/srv/images/b.img"))).await);
    has(&world.ended(&job).await, &[("Status", "Completed")]);
    let xml = there.domain_xml("peer1", XmlForm::Live).unwrap();
    assert!(xml.contains("<source file=\"/srv/images/b.img\"/>"), "{xml}");
    there.remove_guest("peer1");
    equip(&world);
    let job = world.migrate(to("/dev/sda")).await;
    has(&world.ended(&job).await, &[("Status", "Completed")]);
    world.close().await;
}

#[tokio::test]
async fn the_gate_judges_a_guest_as_it_will_be() {
    let world = world().await;
    let there = add_destination(&world, DESTINATION);
    equip(&world);
    let interface = Instance::new(name("CIM_ResourceAllocationSettingData"))
        .with(name("ResourceType"), 10_u16)
        .with(name("Address"), "52:54:00:00:00:01")
        .with(name("Connection"), texts(&["lan"]));
    let to_lan = || vec![resources([interface.clone()])];
    let lacks = "Network lan of interface 52:54:00:00:00:01 does not exist at the destination.";
    let job = world.migrate(to_lan()).await;
    has(&world.ended(&job).await, &[("Status", lacks)]);
    there.add_network("lan", true);
    let job = world.migrate(to_lan()).await;
    has(&world.ended(&job).await, &[("Status", "Completed")]);
    world.close().await;
}

#[tokio::test]
async fn a_socket_as_destination_needs_direct_mode() {
    let world = world().await;
    let uri = "qemu+unix:///system?socket=/run/there";
    add_destination(&world, uri);
    world.change_terms(|terms| {
        let named = NamedDestination { uri: uri.to_owned(), migration_uri: None };
        terms.destinations.named.insert("socket".to_owned(), named);
    });
    let reply = world.run(to_host(vec![parameter("DestinationHost", "socket")])).await;
    fails(reply, StatusCode::Failed, "Failed to construct a valid libvirt URI: transport unix");
    world.close().await;
}

#[tokio::test]
async fn a_guest_arrives_under_its_new_name() {
    let world = world().await;
    let there = add_destination(&world, DESTINATION);
    let guest = FakeHypervisor::guest("peer1", UUID, DomainState::Running);
    world.hypervisors[0].add_guest_silently(guest, "<domain><name>peer1</name></domain>");
    // All that GetInstance told, with one change.
    let settings = "KVM_VirtualSystemSettingData.InstanceID=KVM:peer1";
    let mut settings = world.get(parse(settings)).await.unwrap();
    settings.path = None;
    settings.set(name("ElementName"), "peer9");
    let job = world.migrate(vec![parameter("NewSystemSettingData", settings)]).await;
    has(&world.ended(&job).await, &[("Status", "Completed")]);
    let guests = there.domains().unwrap();
    assert_eq!(guests.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["peer9"]);
    world.close().await;
}

#[tokio::test]
async fn clients_decide_when_a_job_goes_and_the_history_keeps_it() {
    let world = world().await;
    let job = world.migrate(Vec::new()).await;
    world.ended(&job).await;
    let modify = |property: &str, value: Option<Value>| {
        let instance = Instance::new(name(JOB));
        let mut instance = match value {
            Some(value) => instance.with(name(property), value),
            None => instance,
        };
        instance.path = Some(job.clone());
        Operation::ModifyInstance { instance, properties: Some(vec![name(property)]) }
    };
    let interval = |text: &str| Some(Value::from(crate::cim::DateTime::parse(text).unwrap()));
    for (property, value, status) in [
        ("DeleteOnCompletion", None, StatusCode::InvalidParameter),
        ("TimeBeforeRemoval", interval("20260101000000.000000+000"), StatusCode::InvalidParameter),
        ("Priority", Some(Value::from(9_u32)), StatusCode::Failed),
        ("Status", Some(Value::from("Wonderful")), StatusCode::NotSupported),
        ("NoSuch", Some(Value::from("x")), StatusCode::InvalidParameter),
    ] {
        let error = world.run(modify(property, value)).await.unwrap_err();
        assert_eq!(error.status, status, "{property}: {error}");
    }
    world.run(modify("Priority", Some(Value::from(0_u32)))).await.expect("as it is");
    world.run(modify("DeleteOnCompletion", Some(false.into()))).await.unwrap();
    world.run(modify("TimeBeforeRemoval", interval("00000000000000.000000:000"))).await.unwrap();
    let shown = world.get(job.clone()).await.unwrap();
    let never =
        [("DeleteOnCompletion", "FALSE"), ("TimeBeforeRemoval", "00000000000000.000000:000")];
    has(&shown, &never);
    let denied = world.run_as(Role::Checker, modify("DeleteOnCompletion", Some(true.into()))).await;
    assert_eq!(denied.unwrap_err().status, StatusCode::AccessDenied);

    let mut changes = world.jobs.changes();
    world.run(modify("DeleteOnCompletion", Some(true.into()))).await.unwrap();
    let removed = async {
        while !matches!(changes.recv().await, Ok(crate::migration::JobChange::Deleted(_))) {}
    };
    tokio::time::timeout(Duration::from_secs(60), removed).await.expect("it goes by itself");
    assert_eq!(world.get(job.clone()).await.unwrap_err().status, StatusCode::NotFound);
    let records = world.enumerate("Virtcimd_MigrationJobRecord").await;
    let [record] = records.as_slice() else { panic!("{records:?}") };
    has(
        record,
        &[
            ("InstanceID", &id(&job)),
            ("JobClass", JOB),
            ("JobState", "7"),
            ("Status", "Completed"),
            ("VirtualSystemName", "peer1"),
            ("Owner", "someone"),
        ],
    );
    let again = world.get(record.path.clone().unwrap()).await.unwrap();
    assert!(again.properties == record.properties);
    world.close().await;
}

#[tokio::test]
async fn other_state_changes_are_refused_as_the_class_says() {
    let world = world().await;
    let _copying = world.hypervisors[0].hang("copy");
    let job = world.migrate(Vec::new()).await;
    world.until(&job, |it| it.report.total.is_some()).await;
    for (state, code) in [(2_u16, 1), (3, 1), (6, 1), (0, 5), (7, 5), (99, 5)] {
        let asked = vec![parameter("RequestedState", state)];
        assert_eq!(world.call(&job, "RequestStateChange", asked).await, code, "{state}");
    }
    let patience = crate::cim::DateTime::parse("00000000000010.000000:000").unwrap();
    let asked = vec![parameter("RequestedState", 4_u16), parameter("TimeoutPeriod", patience)];
    assert_eq!(world.call(&job, "RequestStateChange", asked).await, 4098);
    let asked = || vec![parameter("RequestedState", 4_u16)];
    let on_class = call(ClassPath::local(name(JOB)), "RequestStateChange", asked());
    fails(world.run(on_class).await, StatusCode::InvalidParameter, "RequestStateChange is called");
    let nobody = path(JOB, &[("InstanceID", "none")]);
    let on_nobody = call(nobody, "RequestStateChange", asked());
    fails(world.run(on_nobody).await, StatusCode::NotFound, "No such instance");
    let by_viewer = call(job.clone(), "RequestStateChange", asked());
    let denied = world.run_as(Role::Checker, by_viewer).await;
    fails(denied, StatusCode::AccessDenied, "RequestStateChange needs the role operator");
    let kill = vec![parameter("RequestedState", 5_u16)];
    assert!([0, 4096].contains(&world.call(&job, "RequestStateChange", kill).await));
    has(&world.ended(&job).await, &[("JobState", "8")]);
    world.close().await;
}

#[tokio::test]
async fn a_key_of_its_own_finds_the_destination() {
    let world = world().await;
    let keys = world.directory.path().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::write(keys.join("id"), "secret").unwrap();
    let class = || ClassPath::local(name(SERVICE));
    let copy =
        |source: &str| call(class(), "MigrateSSHKeyCopy", vec![parameter("SSH_Key_Src", source)]);
    fails(world.run(copy("id")).await, StatusCode::Failed, "Migration with special ssh key");
    let directory = keys.clone();
    world.change_terms(|terms| terms.ssh_key_directory = Some(directory));
    assert_eq!(returned(world.run(copy("id")).await).0, 0);
    let uri = format!("{DESTINATION}?keyfile={}/migration-key", keys.display());
    add_destination(&world, &uri);
    let job = world.migrate(vec![parameter("MigrationWithoutRootKey", true)]).await;
    assert_eq!(world.jobs.job(&id(&job)).unwrap().request.target.uri, uri);
    has(&world.ended(&job).await, &[("Status", "Completed")]);
    let delete = || call(class(), "MigrateSSHKeyDelete", Vec::new());
    assert_eq!(returned(world.run(delete()).await).0, 0);
    assert!(!keys.join("migration-key").exists());
    fails(world.run(delete()).await, StatusCode::Failed, "Can not find file [");
    let denied = world.run_as(Role::Checker, copy("id")).await;
    assert_eq!(denied.unwrap_err().status, StatusCode::AccessDenied);
    world.close().await;
}

#[tokio::test]
async fn all_that_is_told_of_a_job_is_declared() {
    let world = world().await;
    let job = world.migrate(Vec::new()).await;
    world.ended(&job).await;
    let view = world.jobs.job(&id(&job)).unwrap();
    let failed = FailedJobState::Completed;
    let record = name("Virtcimd_MigrationJobRecord");
    for prefix in Prefix::ALL {
        let Some(class) = job::job_class(prefix) else { continue };
        let shown = job::migration_job(class, &view, failed);
        for instance in [shown, job::facts(record.clone(), &view, failed).done()] {
            let class = Repository::builtin().class(&instance.class).unwrap();
            for property in &instance.properties {
                let declared = class.property(&property.name);
                let declared = declared.unwrap_or_else(|| panic!("{} has it", property.name));
                let found = (property.ty.base, property.ty.is_array());
                let expected = (declared.ty.base, declared.ty.is_array());
                assert_eq!(found, expected, "{}.{}", class.name, property.name);
            }
        }
    }
    world.close().await;
}
