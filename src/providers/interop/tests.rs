//! A client that knows nothing finds its way.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Prefix,
        tests::{
            GUEST, HOST, World, association, has, instances, migration_service_path, name, parse,
        },
    },
    Server, manager, register_wbem_server,
};
use crate::{
    cim::{
        Instance, InstanceOptions, InstancePath, Namespace, ObjectPath, Operation, Reply, Request,
        StatusCode, Value,
    },
    ops::{Context, Limits, Operations, Principal, Registry, Role},
    repository::Repository,
};

async fn all(world: &World, class: &str) -> Vec<Instance> {
    let operation = Operation::EnumerateInstances {
        class: name(class),
        deep_inheritance: true,
        options: InstanceOptions::default(),
    };
    instances(world.run_in("interop", operation).await.unwrap())
}

async fn associated(world: &World, source: &InstancePath, class: &str) -> Vec<Instance> {
    let operation = Operation::Associators {
        object: ObjectPath::from(source.clone()),
        filter: association(class),
        include_qualifiers: false,
        options: InstanceOptions::default(),
    };
    instances(world.run_in("root/interop", operation).await.unwrap())
}

fn texts(instances: &[Instance], property: &str) -> Vec<String> {
    let text =
        |it: &Instance| it.value(&name(property)).and_then(Value::as_str).unwrap_or("").to_owned();
    instances.iter().map(text).collect()
}

fn profile(id: &str) -> InstancePath {
    InstancePath::new(name("KVM_RegisteredProfile"), [(name("InstanceID"), id)])
}

const MIGRATION: &str = "CIM:DSP1081-VirtualSystemMigration-0.8.1";

#[tokio::test]
async fn each_operation_is_counted_apart_for_the_object_manager() {
    let world = World::new(&[Prefix::Kvm]).await;
    let manager = all(&world, "CIM_ObjectManager").await.remove(0);
    has(&manager, &[("GatherStatisticalData", "TRUE")]);
    let counts = all(&world, "CIM_StatisticalData").await;
    let position = |operation| texts(&counts, "ElementName").iter().position(|it| it == operation);
    let instance = |operation| &counts[position(operation).unwrap()];
    // DSP0200's 23 intrinsic operations of version 1.2, 12 of pulls, methods, what nobody knows.
    assert_eq!(counts.len(), 37);
    has(
        instance("GetInstance"),
        &[("InstanceID", "CIM:virtcimd:GetInstance"), ("OperationType", "4")],
    );
    assert_eq!(instance("GetInstance").value(&name("OtherOperationType")), None);
    has(
        instance("PullInstances"),
        &[("OperationType", "1"), ("OtherOperationType", "PullInstances")],
    );
    let path = manager.path.clone().unwrap();
    assert_eq!(associated(&world, &path, "CIM_ElementStatisticalData").await.len(), counts.len());
    let path = instance("GetClass").path.clone().unwrap();
    let back = associated(&world, &path, "CIM_ElementStatisticalData").await;
    assert_eq!(texts(&back, "Name"), ["virtcimd"]);
    let got = Operation::GetInstance { path, options: InstanceOptions::default() };
    let Reply::Instance(got) = world.run_in("interop", got).await.unwrap() else {
        panic!("not an instance")
    };
    has(&got, &[("ElementName", "GetClass"), ("SampleInterval", "00000000000000.000000:000")]);
}

#[tokio::test]
async fn the_object_manager_leads_to_namespaces_and_protocol() {
    let world = World::new(&[Prefix::Kvm]).await;
    let managers = all(&world, "CIM_ObjectManager").await;
    assert_eq!(managers.len(), 1);
    has(
        &managers[0],
        &[("SystemName", "vm"), ("Name", "virtcimd"), ("CreationClassName", "CIM_ObjectManager")],
    );
    let description = texts(&managers, "Description").remove(0);
    assert!(description.contains("version "), "pywbem reads the version from {description:?}");
    let namespaces = all(&world, "CIM_Namespace").await;
    assert_eq!(texts(&namespaces, "Name"), ["root/virt", "root/interop", "interop", "root/cimv2"]);
    assert_eq!(texts(&namespaces, "Caption"), ["", "", "Another name of root/interop", ""]);
    let manager = managers[0].path.clone().unwrap();
    assert_eq!(associated(&world, &manager, "CIM_NamespaceInManager").await, {
        let mut expected = namespaces.clone();
        for it in &mut expected {
            it.path.as_mut().unwrap().namespace = Some(Namespace::parse("root/interop").unwrap());
        }
        expected
    });
    let back =
        associated(&world, &namespaces[1].path.clone().unwrap(), "CIM_NamespaceInManager").await;
    assert_eq!(texts(&back, "Name"), ["virtcimd"]);
    let protocol = associated(&world, &manager, "CIM_CommMechanismForManager").await;
    let facts =
        [("AuthenticationMechanismsSupported", "[3]"), ("MultipleOperationsSupported", "FALSE")];
    has(&protocol[0], &facts);
    let hosts = associated(&world, &manager, "CIM_HostedService").await;
    assert_eq!(texts(&hosts, "CreationClassName"), ["KVM_HostSystem"]);
    let hosted = associated(&world, &parse(HOST), "CIM_HostedService").await;
    assert!(texts(&hosted, "Name").contains(&"virtcimd".to_owned()));
    world.close().await;
}

#[tokio::test]
async fn profiles_lead_to_what_conforms_to_them_and_back() {
    let world = World::new(&[Prefix::Kvm]).await;
    let profiles = all(&world, "CIM_RegisteredProfile").await;
    let registered: Vec<_> = texts(&profiles, "RegisteredName")
        .into_iter()
        .zip(texts(&profiles, "RegisteredVersion"))
        .collect();
    for (title, version) in [
        ("System Virtualization", "1.0.0"),
        ("Virtual System Profile", "1.0.0a"),
        ("Virtual System Migration", "0.8.1"),
        ("Virtual System Migration", "1.0.0"),
        ("Profile Registration", "1.0.0"),
        ("Indications", "1.2.0"),
    ] {
        assert!(registered.contains(&(title.to_owned(), version.to_owned())), "{title} {version}");
    }
    assert_eq!(registered.len(), 6);

    let conforming = associated(&world, &profile(MIGRATION), "KVM_ElementConformsToProfile").await;
    assert_eq!(texts(&conforming, "Name"), ["MigrationService"]);
    let path = conforming[0].path.clone().unwrap();
    assert_eq!(path.namespace.unwrap().as_str(), "root/virt", "across namespaces");
    let of = async |source: &str| {
        let found = associated(&world, &parse(source), "KVM_ElementConformsToProfile").await;
        texts(&found, "InstanceID")
    };
    assert_eq!(of(GUEST).await, ["CIM:DSP1057-VirtualSystem-1.0.0a"]);
    assert_eq!(of(HOST).await, ["CIM:DSP1042-SystemVirtualization-1.0.0"]);
    let both = [MIGRATION, "CIM:DSP1081-VirtualSystemMigration-1.0.0"];
    assert_eq!(of(&migration_service_path()).await, both);

    let scope = associated(&world, &profile(MIGRATION), "CIM_ReferencedProfile").await;
    assert_eq!(texts(&scope, "RegisteredName"), ["System Virtualization"]);
    world.close().await;
}

#[tokio::test]
async fn each_hypervisor_has_profiles_and_a_wrong_id_finds_none() {
    let world = World::new(&[Prefix::Kvm, Prefix::Xen]).await;
    assert_eq!(all(&world, "CIM_RegisteredProfile").await.len(), 10);
    let registration = InstancePath::new(
        name("CIM_RegisteredProfile"),
        [(name("InstanceID"), "CIM:DSP1033-ProfileRegistration-1.0.0")],
    );
    assert_eq!(associated(&world, &registration, "CIM_ElementConformsToProfile").await.len(), 9);
    let path = profile("nope");
    let reply = world
        .run_in("interop", Operation::GetInstance { path, options: InstanceOptions::default() })
        .await;
    let error = reply.unwrap_err();
    assert_eq!(
        (error.status, error.description.as_str()),
        (StatusCode::NotFound, "No such instance (InstanceID)")
    );
    let path = profile(MIGRATION);
    let options = InstanceOptions::default();
    let reply = world.run_in("interop", Operation::GetInstance { path, options }).await;
    assert!(matches!(reply, Ok(Reply::Instance(_))));
    world.close().await;
}

#[tokio::test]
async fn the_successors_of_the_object_manager_are_there_if_the_schema_has_them() {
    const MOF: &str = "class CIM_WBEMServer : CIM_Service { };
        class CIM_WBEMServerNamespace : CIM_ManagedElement {
            [Key, Override (\"InstanceID\")] string InstanceID;
            [Required] string Name;
        };";
    let server = Server {
        system: "vm".to_owned(),
        authenticates: true,
        certificates: true,
        max_operation_timeout: 600,
    };
    let found = async |repository: Arc<Repository>, class: &str| {
        let mut registry = Registry::default();
        register_wbem_server(&mut registry, &server, &repository).unwrap();
        let operations = Operations::new(repository, registry, Limits::default());
        let ctx = Context {
            principal: Principal { name: "x".to_owned(), role: Role::Viewer },
            peer: "unix:1".to_owned(),
            host: "vm".to_owned(),
            cancelled: CancellationToken::new(),
        };
        let operation = Operation::EnumerateInstances {
            class: name(class),
            deep_inheritance: true,
            options: InstanceOptions::default(),
        };
        let namespace = Namespace::parse("interop").unwrap();
        let reply = operations.execute(&ctx, Request { namespace, operation }).await.collect();
        reply.await.map(instances)
    };
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("server.mof"), MOF).unwrap();
    let repository = Arc::new(Repository::load(&[directory.path().to_owned()]).unwrap());
    let servers = found(Arc::clone(&repository), "CIM_WBEMServer").await.unwrap();
    assert_eq!(texts(&servers, "Name"), ["virtcimd"]);
    let namespaces = found(repository, "CIM_WBEMServerNamespace").await.unwrap();
    assert_eq!(texts(&namespaces, "Name"), ["root/virt", "root/interop", "interop", "root/cimv2"]);
    let missing = found(Repository::builtin(), "CIM_WBEMServer").await.unwrap_err();
    assert_eq!(missing.status, StatusCode::InvalidClass);
}

#[test]
fn each_way_to_say_who_one_is_is_declared() {
    let told = |authenticates, certificates| {
        let server = Server {
            system: "vm".to_owned(),
            authenticates,
            certificates,
            max_operation_timeout: 600,
        };
        let mechanism = manager::mechanism(&server);
        mechanism.value(&name("AuthenticationMechanismsSupported")).cloned()
    };
    assert_eq!(told(true, false), Some(Value::from(vec![3_u16])));
    assert_eq!(told(true, true), Some(Value::from(vec![3_u16, 1])));
    assert_eq!(told(false, true), Some(Value::from(vec![1_u16])));
    assert_eq!(told(false, false), Some(Value::from(vec![2_u16])));
}
