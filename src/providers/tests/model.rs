//! What the model shows.

use super::*;

#[tokio::test]
async fn every_class_has_the_values_of_libvirt_cim() {
    let world = World::new(&[Prefix::Kvm]).await;
    let cases: &[(&str, &[(&str, &str)])] = &[
        (HOST, &[("Name", "vm"), ("ElementName", "NULL"), ("EnabledState", "5")]),
        (
            GUEST,
            &[
                ("ElementName", "peer1"),
                ("UUID", UUID),
                ("Caption", "Virtual System (No console)"),
                ("Description", "Virtual System"),
                ("EnabledState", "3"),
                ("HealthState", "0"),
                ("OperationalStatus", "[15]"),
                ("OperatingStatus", "5"),
                ("RequestedState", "0"),
                ("EnabledDefault", "2"),
                ("IdentifyingDescriptions", "[Type,Model,UUID]"),
                (
                    "OtherIdentifyingInfo",
                    "[Virtual System,KVM Virtual System,acecc272-f953-42ee-a4ea-38e648bfc1d7]",
                ),
            ],
        ),
        (
            SETTINGS,
            &[
                ("VirtualSystemIdentifier", "peer1"),
                ("VirtualSystemType", "KVM"),
                ("ElementName", "peer1"),
                ("Caption", "Virtual System"),
                ("AutomaticShutdownAction", "2"),
                ("AutomaticRecoveryAction", "2"),
                ("AutoStart", "0"),
                ("ClockOffset", "0"),
                ("UUID", UUID),
            ],
        ),
        (
            "KVM_EnabledLogicalElementCapabilities.InstanceID=peer1",
            &[("RequestedStatesSupported", "[2,3,9,10,11]"), ("ElementNameEditSupported", "FALSE")],
        ),
        (
            "KVM_VirtualSystemMigrationCapabilities.InstanceID=MigrationCapabilities",
            &[
                ("AsynchronousMethodsSupported", "[2,3]"),
                ("SynchronousMethodsSupported", "[4,5]"),
                ("DestinationHostFormatsSupported", "[2,3,4]"),
                ("ElementName", "NULL"),
            ],
        ),
        (
            "KVM_VirtualSystemMigrationSettingData.InstanceID=MigrationSettingData",
            &[
                ("MigrationType", "2"),
                ("Priority", "0"),
                ("TransportType", "2"),
                ("CheckParameters", "NULL"),
                ("Bandwidth", "NULL"),
            ],
        ),
        (
            "KVM_VirtualSystemManagementCapabilities.InstanceID=ManagementCapabilities",
            &[("SynchronousMethodsSupported", "[]"), ("AsynchronousMethodsSupported", "[]")],
        ),
    ];
    for (path, expected) in cases {
        let instance = world.get(parse(path)).await.expect(path);
        has(&instance, expected);
        let listed = world.enumerate(instance.class.as_str()).await;
        assert_eq!(listed.len(), 1, "{path}");
        assert_eq!(listed[0].properties, instance.properties, "{path}");
    }
    let service = world.get(parse(&migration_service_path())).await.unwrap();
    has(&service, &[("EnabledState", "5"), ("RequestedState", "12"), ("ElementName", "NULL")]);
    let service = world.get(parse(&management_service_path())).await.unwrap();
    has(
        &service,
        &[
            ("Revision", "1316"),
            ("Caption", "QEMU 7.2.13"),
            ("LibvirtVersion", "9.0.0"),
            ("OperationalStatus", "[2]"),
        ],
    );
    world.close().await;
}

/// Types and names of everything a provider sets are those of the class.
#[tokio::test]
async fn providers_set_only_properties_of_the_class_with_their_types() {
    let world = World::new(&[Prefix::Kvm, Prefix::Xen, Prefix::Lxc]).await;
    let found = world.enumerate("CIM_ManagedElement").await;
    assert_eq!(found.len(), 9 * 3);
    let repository = Repository::builtin();
    for instance in found {
        for property in &instance.properties {
            let Some(value) = &property.value else { continue };
            let scalars: Vec<_> = match value {
                Value::Scalar(scalar) => vec![scalar],
                Value::Array(elements) => elements.iter().flatten().collect(),
            };
            assert_eq!(matches!(value, Value::Array(_)), property.ty.is_array());
            for scalar in scalars {
                let (class, name) = (&instance.class, &property.name);
                assert_eq!(scalar.cim_type(), Some(property.ty.base), "{class}.{name}");
            }
        }
    }
    let info = HostInfo {
        uri: String::new(),
        driver: String::new(),
        version: 0,
        libvirt_version: 0,
        hostname: "vm".to_owned(),
        uuid: None,
    };
    for prefix in Prefix::ALL {
        let guest = full_guest();
        for made in [
            host_system::host_system(prefix, &info),
            computer_system::computer_system(prefix, &guest, false),
            computer_system::guest_capabilities(prefix, &guest),
            setting_data::setting_data(prefix, &guest),
            management::management_service(prefix, &info),
            management::management_capabilities(prefix, &info),
            migration_service::migration_service(prefix, &info),
            migration::migration_capabilities(prefix, &info),
            migration::migration_setting_data(prefix, &info),
        ] {
            let class = repository.class(&made.class).unwrap();
            for property in &made.properties {
                assert!(
                    class.property(&property.name).is_some(),
                    "{}.{}",
                    class.name,
                    property.name
                );
            }
        }
    }
    world.close().await;
}

/// A guest with everything that a definition can say.
fn full_guest() -> Domain {
    let text = |text: &str| Some(text.to_owned());
    Domain {
        config: DomainConfig {
            virt_type: text("kvm"),
            os_type: text("hvm"),
            arch: text("x86_64"),
            machine: text("pc-q35-7.2"),
            boot_devices: vec!["hd".to_owned(), "network".to_owned()],
            kernel: text("/boot/vmlinuz"),
            initrd: text("/boot/initrd"),
            command_line: text("quiet"),
            bootloader: text("/usr/bin/pygrub"),
            bootloader_args: text("-q"),
            init: text("/sbin/init"),
            emulator: text("/usr/bin/qemu-system-x86_64"),
            on_poweroff: text("restart"),
            on_crash: text("preserve"),
            acpi: true,
            apic: true,
            pae: false,
            clock_offset: text("localtime"),
            description: None,
            console: Some(Console {
                kind: "vnc".to_owned(),
                host: text("127.0.0.1"),
                port: Some(5900),
            }),
        },
        autostart: true,
        ..guest("full", DomainState::Running)
    }
}

#[test]
fn settings_show_what_the_family_has() {
    let shown = |prefix| setting_data::setting_data(prefix, &full_guest());
    has(
        &shown(Prefix::Kvm),
        &[
            ("InstanceID", "KVM:full"),
            ("BootDevices", "[hd,network]"),
            ("Arch", "x86_64"),
            ("Machine", "pc-q35-7.2"),
            ("Emulator", "/usr/bin/qemu-system-x86_64"),
            ("AutomaticShutdownAction", "3"),
            ("AutomaticRecoveryAction", "123"),
            ("EnableACPI", "TRUE"),
            ("EnablePAE", "FALSE"),
            ("ClockOffset", "1"),
            ("AutoStart", "1"),
        ],
    );
    has(&shown(Prefix::Xen), &[("InstanceID", "Xen:full"), ("IsFullVirt", "TRUE")]);
    let mut guest = full_guest();
    guest.config.os_type = Some("linux".to_owned());
    guest.config.clock_offset = Some("timezone".to_owned());
    let paravirtual = setting_data::setting_data(Prefix::Xen, &guest);
    has(
        &paravirtual,
        &[
            ("IsFullVirt", "FALSE"),
            ("Bootloader", "/usr/bin/pygrub"),
            ("BootloaderArgs", "-q"),
            ("Kernel", "/boot/vmlinuz"),
            ("Ramdisk", "/boot/initrd"),
            ("CommandLine", "quiet"),
        ],
    );
    assert!(paravirtual.property(&name("ClockOffset")).is_none(), "neither UTC nor local");
    has(&shown(Prefix::Lxc), &[("InstanceID", "LXC:full"), ("InitPath", "/sbin/init")]);
}

#[track_caller]
fn check_state(prefix: Prefix, state: DomainState, saved: bool, expected: [&str; 4]) {
    let guest = Domain { managed_save: saved, ..guest("g", state) };
    let shown = computer_system::computer_system(prefix, &guest, false);
    let properties = ["EnabledState", "HealthState", "OperationalStatus", "OperatingStatus"];
    let expected: Vec<_> = properties.into_iter().zip(expected).collect();
    has(&shown, &expected);
}

#[test]
fn each_state_of_a_guest_has_its_numbers() {
    use DomainState::{
        Blocked, Crashed, NoState, Other, Paused, PmSuspended, Running, Shutdown, Shutoff,
    };
    let kvm = Prefix::Kvm;
    check_state(kvm, NoState, false, ["0", "0", "[15]", "5"]);
    check_state(Prefix::Xen, NoState, false, ["2", "5", "[2]", "32768"]);
    check_state(kvm, Running, false, ["2", "5", "[2]", "32768"]);
    check_state(kvm, Blocked, false, ["2", "5", "[2]", "7"]);
    check_state(kvm, Paused, false, ["9", "5", "[2]", "7"]);
    check_state(kvm, Shutdown, false, ["4", "0", "[15]", "5"]);
    check_state(kvm, Shutoff, false, ["3", "0", "[15]", "5"]);
    check_state(kvm, Shutoff, true, ["6", "0", "[15]", "5"]);
    check_state(kvm, Crashed, false, ["3", "20", "[6]", "6"]);
    check_state(kvm, PmSuspended, false, ["0", "0", "[0]", "0"]);
    check_state(kvm, Other(42), false, ["0", "0", "[0]", "0"]);
}

#[test]
fn the_caption_names_the_console() {
    let caption = |port| {
        let mut guest = full_guest();
        guest.config.console.as_mut().unwrap().port = port;
        brief(computer_system::computer_system(Prefix::Kvm, &guest, false).value(&name("Caption")))
    };
    assert_eq!(caption(Some(5900)), "Virtual System (Console on vnc://127.0.0.1:5900)");
    assert_eq!(caption(None), "Virtual System (Console on vnc://127.0.0.1:-1)");
}

#[tokio::test]
async fn wrong_paths_get_the_errors_of_libvirt_cim() {
    let world = World::new(&[Prefix::Kvm]).await;
    let no_domain = "Domain not found: no domain with matching name 'nope'";
    let cases = [
        ("KVM_HostSystem.CreationClassName=KVM_HostSystem,Name=nope", 6, "No such instance (Name)"),
        (
            "KVM_HostSystem.CreationClassName=Nope,Name=vm",
            6,
            "No such instance (CreationClassName)",
        ),
        ("KVM_HostSystem.CreationClassName=KVM_HostSystem", 6, "No such instance (Name)"),
        ("KVM_ComputerSystem.CreationClassName=KVM_ComputerSystem", 1, "No domain name specified"),
        (
            "KVM_ComputerSystem.CreationClassName=KVM_ComputerSystem,Name=",
            1,
            "No domain name specified",
        ),
        (
            "KVM_ComputerSystem.CreationClassName=KVM_ComputerSystem,Name=nope",
            6,
            &format!("Referenced domain `nope' does not exist: {no_domain}"),
        ),
        (
            "KVM_ComputerSystem.CreationClassName=Nope,Name=peer1",
            6,
            "No such instance (CreationClassName)",
        ),
        ("KVM_ComputerSystem.Name=peer1", 6, "No such instance (CreationClassName)"),
        ("KVM_VirtualSystemSettingData", 6, "No such instance (InstanceID)"),
        ("KVM_VirtualSystemSettingData.InstanceID=peer1", 6, "No such instance (InstanceID)"),
        ("KVM_VirtualSystemSettingData.InstanceID=Xen:peer1", 6, "No such instance (InstanceID)"),
        (
            "KVM_VirtualSystemSettingData.InstanceID=KVM:nope",
            6,
            &format!("No such instance (nope): {no_domain}"),
        ),
        ("KVM_EnabledLogicalElementCapabilities", 1, "No InstanceID specified"),
        (
            "KVM_EnabledLogicalElementCapabilities.InstanceID=nope",
            6,
            &format!("No such instance (nope): {no_domain}"),
        ),
        (
            "KVM_VirtualSystemMigrationCapabilities.InstanceID=nope",
            6,
            "No such instance (InstanceID)",
        ),
        (
            "KVM_VirtualSystemMigrationSettingData.InstanceID=nope",
            6,
            "No such instance (InstanceID)",
        ),
        ("KVM_VirtualSystemMigrationSettingData.Nope=x", 6, "No such instance (InstanceID)"),
        (
            "KVM_VirtualSystemManagementCapabilities.InstanceID=nope",
            6,
            "No such instance (InstanceID)",
        ),
        (&service_path("KVM_VirtualSystemMigrationService", "Nope"), 6, "No such instance (Name)"),
        (&migration_service_path().replace("vm", "x"), 6, "No such instance (SystemName)"),
        (
            &migration_service_path().replace("KVM_HostSystem", "Nope"),
            6,
            "No such instance (SystemCreationClassName)",
        ),
    ];
    for (path, code, text) in cases {
        let error = world.get(parse(path)).await.expect_err(path);
        assert_eq!((error.status.code(), error.description.as_str()), (code, text), "{path}");
    }
    world.close().await;
}

#[tokio::test]
async fn strings_of_keys_are_compared_without_case_as_in_libvirt_cim() {
    let world = World::new(&[Prefix::Kvm]).await;
    for path in [
        "kvm_hostsystem.CREATIONCLASSNAME=KVM_HOSTSYSTEM,NAME=VM",
        "KVM_VirtualSystemMigrationSettingData.InstanceID=migrationsettingdata",
    ] {
        assert!(world.get(parse(path)).await.is_ok(), "{path}");
    }
    world.close().await;
}

/// The far objects of an association, by their most telling key.
async fn follow(world: &World, source: &str, class: &str) -> Vec<String> {
    let far = world.associators(&parse(source), class).await;
    let key = |instance: &Instance| {
        let path = instance.path.clone().expect("a path");
        let key = path.key(&name("Name")).or(path.key(&name("InstanceID")));
        key.and_then(KeyValue::as_str).expect("a key").to_owned()
    };
    for instance in &far {
        let found = world.get(instance.path.clone().expect("a path")).await;
        let found = found.expect("what is associated exists");
        assert_eq!(found.properties, instance.properties, "both views show the same");
    }
    far.iter().map(key).collect()
}

#[tokio::test]
async fn associations_lead_from_object_to_object_both_ways() {
    let world = World::new(&[Prefix::Kvm, Prefix::Xen]).await;
    let migration = migration_service_path();
    let management = management_service_path();
    let (management, migration) = (management.as_str(), migration.as_str());
    let migration_capabilities =
        "KVM_VirtualSystemMigrationCapabilities.InstanceID=MigrationCapabilities";
    let management_capabilities =
        "KVM_VirtualSystemManagementCapabilities.InstanceID=ManagementCapabilities";
    let settings = "KVM_VirtualSystemMigrationSettingData.InstanceID=MigrationSettingData";
    let guest_capabilities = "KVM_EnabledLogicalElementCapabilities.InstanceID=peer1";
    let cases: &[(&str, &str, &[&str])] = &[
        (HOST, "KVM_HostedDependency", &["peer1"]),
        (GUEST, "KVM_HostedDependency", &["vm"]),
        (HOST, "KVM_HostedService", &["Management Service", "MigrationService"]),
        (management, "KVM_HostedService", &["vm"]),
        (migration, "CIM_HostedService", &["vm"]),
        (HOST, "KVM_ElementCapabilities", &["ManagementCapabilities", "MigrationCapabilities"]),
        (management, "KVM_ElementCapabilities", &["ManagementCapabilities"]),
        (migration, "KVM_ElementCapabilities", &["MigrationCapabilities"]),
        (GUEST, "KVM_ElementCapabilities", &["peer1"]),
        (migration_capabilities, "KVM_ElementCapabilities", &["MigrationService", "vm"]),
        (management_capabilities, "KVM_ElementCapabilities", &["Management Service", "vm"]),
        (guest_capabilities, "KVM_ElementCapabilities", &["peer1"]),
        (migration_capabilities, "KVM_SettingsDefineCapabilities", &["MigrationSettingData"]),
        (settings, "KVM_SettingsDefineCapabilities", &["MigrationCapabilities"]),
        (GUEST, "KVM_SettingsDefineState", &["KVM:peer1"]),
        (SETTINGS, "KVM_SettingsDefineState", &["peer1"]),
        (SETTINGS, "KVM_ElementSettingData", &["KVM:peer1"]),
        (GUEST, "KVM_ElementSettingData", &[]),
        (settings, "KVM_ElementSettingData", &[]),
        (migration, "KVM_ServiceAffectsElement", &["peer1"]),
        (GUEST, "KVM_ServiceAffectsElement", &["MigrationService"]),
        (GUEST, "Xen_HostedDependency", &[]),
        (migration_capabilities, "KVM_SettingsDefineCapabilities", &["MigrationSettingData"]),
    ];
    for (source, class, expected) in cases {
        assert_eq!(follow(&world, source, class).await, *expected, "{source} through {class}");
    }
    world.close().await;
}

#[tokio::test]
async fn roles_and_extra_properties_of_associations() {
    let world = World::new(&[Prefix::Kvm]).await;
    let cases = [
        (HOST, "KVM_HostedDependency", ["Antecedent", "Dependent"], "peer1", "NULL"),
        (HOST, "KVM_HostedService", ["Antecedent", "Dependent"], "vm", "NULL"),
        (HOST, "KVM_ElementCapabilities", ["ManagedElement", "Capabilities"], "vm", "[2]"),
        (GUEST, "KVM_ElementCapabilities", ["ManagedElement", "Capabilities"], "peer1", "NULL"),
        (
            GUEST,
            "KVM_ServiceAffectsElement",
            ["AffectedElement", "AffectingElement"],
            "peer1",
            "[5]",
        ),
        (SETTINGS, "KVM_ElementSettingData", ["ManagedElement", "SettingData"], "", "1"),
    ];
    for (source, class, [first, second], first_name, extra) in cases {
        let operation = Operation::References {
            object: parse(source).into(),
            filter: association(class),
            include_qualifiers: false,
            options: InstanceOptions::default(),
        };
        let found = instances(world.run(operation).await.unwrap());
        let association = &found[0];
        let end = |role: &str| {
            let end = association.value(&name(role)).and_then(Value::as_reference);
            end.unwrap_or_else(|| panic!("{class} has no {role}")).clone()
        };
        let name_of_end = end(first).instance().and_then(|it| it.key(&name("Name"))).cloned();
        assert_eq!(name_of_end.as_ref().and_then(KeyValue::as_str).unwrap_or(""), first_name);
        assert!(end(second).instance().is_some());
        let extras = association.properties.iter().filter(|it| {
            ["Characteristics", "ElementEffects", "IsDefault"].contains(&it.name.as_str())
        });
        let found = extras.map(|it| brief(it.value.as_ref())).next();
        assert_eq!(found.unwrap_or("NULL".to_owned()), extra, "{class}");
    }
    world.close().await;
}

#[tokio::test]
async fn associations_can_be_enumerated_and_got() {
    let world = World::new(&[Prefix::Kvm]).await;
    for (class, count) in [
        ("KVM_HostedDependency", 1),
        ("KVM_HostedService", 2),
        ("KVM_ElementCapabilities", 5),
        ("KVM_SettingsDefineCapabilities", 1),
        ("KVM_SettingsDefineState", 1),
        ("KVM_ElementSettingData", 1),
        ("KVM_ServiceAffectsElement", 1),
    ] {
        let found = world.enumerate(class).await;
        assert_eq!(found.len(), count, "{class}");
        for association in found {
            let path = association.path.clone().expect("a path");
            let got = world.get(path).await.expect(class);
            assert_eq!(got.properties, association.properties);
        }
    }
    world.close().await;
}

#[tokio::test]
async fn an_unreachable_hypervisor_shows_nothing_and_comes_back() {
    let world = World::prepared(&[Prefix::Kvm], FakeHypervisor::go_down).await;
    assert_eq!(world.enumerate("CIM_ManagedElement").await, []);
    for path in [HOST, GUEST, SETTINGS] {
        let error = world.get(parse(path)).await.unwrap_err();
        assert_eq!(error.status, StatusCode::NotFound, "{path}: {error}");
        assert!(error.description.starts_with("No such instance"), "{path}: {error}");
    }
    world.close().await;
}

#[tokio::test]
async fn two_hypervisors_with_one_prefix_are_refused() {
    let world = World::new(&[]).await;
    world.world.add_host("fake:///");
    let connector = Arc::clone(&world.world) as Arc<_>;
    let options = ConnectionOptions::new("fake:///");
    let connection = Connection::start(options, connector, &world.tasks, world.stop.clone());
    let migrations = Migrations::new(Arc::clone(&world.world) as _, world.terms.subscribe());
    let mut registry = Registry::default();
    let host = Host { prefix: Prefix::Xen, connection, migrations: world.jobs.clone() };
    register(&mut registry, &host, &migrations).unwrap();
    let error = register(&mut registry, &host, &migrations).unwrap_err();
    assert_eq!(error.class, name("Xen_HostSystem"));
    world.close().await;
}

#[tokio::test]
async fn a_refusal_of_libvirt_is_passed_on() {
    let world = World::new(&[Prefix::Kvm]).await;
    let refusal = HypervisorError::Libvirt { code: 38, message: "disk on fire".to_owned() };
    world.hypervisors[0].fail_next("domain", refusal);
    let error = world.get(parse(&GUEST.replace("peer1", "other"))).await.unwrap_err();
    assert_eq!((error.status, error.description.as_str()), (StatusCode::Failed, "disk on fire"));
    world.close().await;
}
