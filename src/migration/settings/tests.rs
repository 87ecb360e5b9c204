use proptest::prelude::*;

use super::*;

fn decide(spec: SettingsSpec) -> Result<Settings, SettingsError> {
    Settings::decide(spec, &DestinationPolicy::default())
}

#[track_caller]
fn refuses(spec: SettingsSpec, message: &str) {
    let error = decide(spec).unwrap_err();
    assert_eq!(error.to_string(), message);
    assert!(message.starts_with(error.property()), "{message}");
}

fn of(migration_type: MigrationType) -> SettingsSpec {
    SettingsSpec { migration_type: Some(migration_type), ..SettingsSpec::default() }
}

fn live() -> SettingsSpec {
    of(MigrationType::Live)
}

#[test]
fn what_is_absent_is_libvirt_cims() {
    let settings = decide(SettingsSpec::default()).unwrap();
    assert_eq!(settings, decide(live()).unwrap());
    assert_eq!(settings.priority, 0);
    assert_eq!((settings.persist, settings.undefine), (None, true));
    assert_eq!(settings.timeout, None);
    assert_eq!(settings.storage, StorageCopy::None);
}

#[test]
fn ranges() {
    let bandwidth = |it| SettingsSpec { bandwidth: Some(it), ..live() };
    assert!(decide(bandwidth(1)).is_ok());
    assert!(decide(bandwidth(MAX_BANDWIDTH)).is_ok());
    refuses(bandwidth(0), "Bandwidth: 0 is not allowed: 1 MiB/s to 2^43 MiB/s");
    assert!(decide(bandwidth(MAX_BANDWIDTH + 1)).is_err());
    let downtime = |it| SettingsSpec { max_downtime: Some(it), ..live() };
    assert_eq!(decide(downtime(300)).unwrap().max_downtime, Some(Duration::from_millis(300)));
    refuses(downtime(0), "MaxDowntime: 0 is not allowed: 1 to 2000000 milliseconds");
    assert!(decide(downtime(MAX_DOWNTIME)).is_ok());
    assert!(decide(downtime(MAX_DOWNTIME + 1)).is_err());
    let parallel = |it| SettingsSpec { parallel_connections: Some(it), ..live() };
    assert_eq!(decide(parallel(255)).unwrap().parallel, Some(255));
    refuses(parallel(256), "ParallelConnections: 256 is not allowed: 1 to 255");
    assert!(decide(parallel(0)).is_err());
}

/// Each property that needs moving memory, and whether it needs a guest that runs meanwhile.
fn of_memory() -> Vec<(&'static str, SettingsSpec, bool)> {
    let none = SettingsSpec::default;
    vec![
        ("Bandwidth", SettingsSpec { bandwidth: Some(1), ..none() }, false),
        ("MaxDowntime", SettingsSpec { max_downtime: Some(1), ..none() }, true),
        ("AutoConverge", SettingsSpec { auto_converge: Some(true), ..none() }, true),
        ("PostCopy", SettingsSpec { post_copy: Some(true), ..none() }, true),
        ("ParallelConnections", SettingsSpec { parallel_connections: Some(2), ..none() }, false),
        (
            "Compression",
            SettingsSpec { compression: Some(Some(Compression::Xbzrle)), ..none() },
            false,
        ),
        ("EncryptData", SettingsSpec { encrypt_data: Some(true), ..none() }, false),
        ("StorageCopy", SettingsSpec { storage_copy: Some(StorageCopy::Full), ..none() }, false),
        ("MigrationURI", SettingsSpec { migration_uri: Some("h".to_owned()), ..none() }, false),
        ("MigrationTimeout", SettingsSpec { migration_timeout: Some(9), ..none() }, false),
    ]
}

#[test]
fn what_has_no_meaning_for_a_type_is_refused() {
    use MigrationType::{Live, Offline, Restart, Resume};
    for (property, spec, needs_live) in of_memory() {
        for migration_type in [Offline, Live, Resume, Restart] {
            let fits = migration_type == Live || (migration_type == Resume && !needs_live);
            let asked = SettingsSpec { migration_type: Some(migration_type), ..spec.clone() };
            if fits {
                assert!(decide(asked).is_ok(), "{property} {migration_type:?}");
            } else {
                let name = migration_type.as_str();
                refuses(
                    asked,
                    &format!("{property} has no meaning for a migration of type {name}"),
                );
            }
        }
    }
}

#[test]
fn what_is_switched_off_goes_with_every_type() {
    for migration_type in [MigrationType::Offline, MigrationType::Restart] {
        let off = SettingsSpec {
            auto_converge: Some(false),
            post_copy: Some(false),
            compression: Some(None),
            encrypt_data: Some(false),
            storage_copy: Some(StorageCopy::None),
            migration_timeout: Some(0),
            ..of(migration_type)
        };
        assert_eq!(decide(off), decide(of(migration_type)));
    }
}

#[test]
fn compression_and_connections() {
    let asked = |compression, parallel_connections| SettingsSpec {
        compression: Some(Some(compression)),
        parallel_connections,
        ..live()
    };
    assert!(decide(asked(Compression::Zstd, Some(4))).is_ok());
    assert!(decide(asked(Compression::MultiThread, None)).is_ok());
    refuses(
        asked(Compression::Zlib, None),
        "Compression and ParallelConnections can't be combined: zlib and zstd need parallel \
         connections",
    );
    refuses(
        asked(Compression::Xbzrle, Some(1)),
        "Compression and ParallelConnections can't be combined: this compression works on a single \
         connection only",
    );
}

#[test]
fn timeouts() {
    let asked = |migration_timeout, timeout_action, post_copy| SettingsSpec {
        migration_timeout,
        timeout_action,
        post_copy,
        ..live()
    };
    let minute = Duration::from_secs(60);
    let timeout = |spec| decide(spec).unwrap().timeout;
    assert_eq!(timeout(asked(Some(60), None, None)), Some((minute, TimeoutAction::Abort)));
    let pause = Some(TimeoutAction::Pause);
    assert_eq!(timeout(asked(Some(60), pause, None)), Some((minute, TimeoutAction::Pause)));
    let post_copy = Some(TimeoutAction::PostCopy);
    let switched = asked(Some(60), post_copy, Some(true));
    assert_eq!(timeout(switched), Some((minute, TimeoutAction::PostCopy)));
    refuses(
        asked(Some(60), post_copy, None),
        "TimeoutAction and PostCopy can't be combined: switching to post-copy needs PostCopy to be \
         true",
    );
    for never in [None, Some(0)] {
        refuses(
            asked(never, pause, None),
            "TimeoutAction and MigrationTimeout can't be combined: there is no timeout to act upon",
        );
    }
}

#[test]
fn a_definition_stays_somewhere() {
    let asked = |migration_type, persist_at_destination, undefine_source| SettingsSpec {
        persist_at_destination,
        undefine_source,
        ..of(migration_type)
    };
    refuses(
        asked(MigrationType::Live, Some(false), Some(true)),
        "UndefineSource and PersistAtDestination can't be combined: neither host would keep the \
         guest's definition",
    );
    let unsaid = decide(asked(MigrationType::Live, Some(false), None)).unwrap();
    assert_eq!((unsaid.persist, unsaid.undefine), (Some(false), false));
    for migration_type in [MigrationType::Offline, MigrationType::Restart] {
        refuses(
            asked(migration_type, Some(false), Some(false)),
            "PersistAtDestination: false is not allowed: a guest that arrives without running needs \
             a definition there",
        );
        assert!(decide(asked(migration_type, Some(true), Some(false))).is_ok());
    }
}

#[test]
fn disks_to_copy() {
    let asked = |storage_copy, disks: &[&str]| SettingsSpec {
        storage_copy,
        storage_copy_disks: Some(disks.iter().map(|disk| (*disk).to_owned()).collect()),
        ..live()
    };
    let full = Some(StorageCopy::Full);
    assert_eq!(decide(asked(full, &["vda", "sdb"])).unwrap().disks, ["vda", "sdb"]);
    assert_eq!(decide(asked(full, &[])).unwrap().disks, Vec::<String>::new());
    assert!(decide(asked(None, &[])).is_ok());
    refuses(
        asked(None, &["vda"]),
        "StorageCopyDisks and StorageCopy can't be combined: disks are only copied where \
         StorageCopy says so",
    );
    for wrong in ["", "../x", "vda,vdb", "vda\n", &"a".repeat(33)] {
        assert!(decide(asked(full, &[wrong])).is_err(), "{wrong:?}");
    }
    refuses(
        asked(full, &["vda", "vda"]),
        "StorageCopyDisks: \"vda\" is not allowed: a target name such as vda, each once",
    );
    let many: Vec<String> = (0..257).map(|index| format!("vd{index}")).collect();
    let many = many.iter().map(String::as_str).collect::<Vec<_>>();
    assert!(decide(asked(full, &many[..256])).is_ok());
    refuses(
        asked(full, &many),
        "StorageCopyDisks: a list of 257 is not allowed: at most 256 disks",
    );
}

#[test]
fn the_migrations_own_address() {
    let asked = |uri: &str| SettingsSpec { migration_uri: Some(uri.to_owned()), ..live() };
    let uri = |text| decide(asked(text)).unwrap().migration_uri.unwrap();
    assert_eq!(uri("tcp://192.0.2.7"), "tcp://192.0.2.7");
    assert_eq!(uri("tcp://[2001:db8::7]:49152"), "tcp://[2001:db8::7]:49152");
    assert_eq!(uri("2001:db8::7"), "tcp://[2001:db8::7]");
    assert_eq!(uri("mig.example"), "tcp://mig.example");
    refuses(
        asked("unix:/run/x"),
        "MigrationURI: \"unix:/run/x\" names no host: a port has only digits at character 6",
    );
    refuses(
        asked("tcp://host?x=y"),
        "MigrationURI: \"tcp://host?x=y\" names no host: a name has only ASCII letters, digits, \
         `-`, `_` and dots at character 11",
    );
    assert!(decide(asked("rdma://host")).is_err());
    assert!(decide(asked("")).is_err());
    let policy = DestinationPolicy {
        allowed: Some(vec!["10.0.0.0/8".parse().unwrap()]),
        ..DestinationPolicy::default()
    };
    assert!(Settings::decide(asked("10.1.2.3"), &policy).is_ok());
    assert_eq!(
        Settings::decide(asked("192.0.2.7"), &policy).unwrap_err().to_string(),
        "MigrationURI: 192.0.2.7 is not in migration.allowed-destinations"
    );
}

#[test]
fn orders() {
    let route = || Route::PeerToPeer("qemu+tcp://b/system".to_owned());
    let settings = decide(SettingsSpec {
        bandwidth: Some(5),
        post_copy: Some(true),
        auto_converge: Some(true),
        parallel_connections: Some(3),
        compression: Some(Some(Compression::Zstd)),
        encrypt_data: Some(true),
        storage_copy: Some(StorageCopy::Incremental),
        storage_copy_disks: Some(vec!["vda".to_owned()]),
        migration_uri: Some("10.0.0.7".to_owned()),
        ..live()
    })
    .unwrap();
    let expected = MigrationOrder {
        persist_destination: true,
        undefine_source: true,
        migration_uri: Some("tcp://10.0.0.7".to_owned()),
        bandwidth: Some(5),
        post_copy_bandwidth: Some(5),
        post_copy: true,
        auto_converge: Some(AutoConverge::default()),
        parallel: Some(3),
        compression: vec![Compression::Zstd],
        tls: true,
        storage: StorageCopy::Incremental,
        disks: vec!["vda".to_owned()],
        ..MigrationOrder::new(route(), Transfer::Live)
    };
    assert_eq!(settings.order(route(), true), Some(expected));
    let transient = settings.order(route(), false).unwrap();
    assert!(!transient.persist_destination && !transient.undefine_source);
    assert_eq!(decide(of(MigrationType::Restart)).unwrap().order(route(), true), None);
    let transfer = |it| decide(of(it)).unwrap().order(route(), true).unwrap().transfer;
    assert_eq!(transfer(MigrationType::Offline), Transfer::Offline);
    assert_eq!(transfer(MigrationType::Resume), Transfer::Paused);
}

fn any_spec() -> impl Strategy<Value = SettingsSpec> {
    let migration_type = prop_oneof![
        Just(MigrationType::Offline),
        Just(MigrationType::Live),
        Just(MigrationType::Resume),
        Just(MigrationType::Restart),
    ];
    // Mostly absent, and mostly in range where not: else nearly everything would be refused and
    // nothing be shown.
    let flags = proptest::array::uniform5(any::<Option<bool>>());
    let numbers = (
        proptest::option::weighted(0.2, 0..1000_u64),
        proptest::option::weighted(0.2, 0..300_u16),
        proptest::option::weighted(0.2, 0..100_u32),
    );
    let storage = prop_oneof![
        Just(None),
        Just(Some(StorageCopy::None)),
        Just(Some(StorageCopy::Full)),
        Just(Some(StorageCopy::Incremental)),
    ];
    let uri = prop_oneof![4 => Just(String::new()), 1 => "[a-z:/.@]{0,12}"];
    (migration_type, flags, numbers, storage, uri).prop_map(
        |(migration_type, flags, (long, short, medium), storage_copy, uri)| {
            let [auto_converge, post_copy, encrypt_data, persist_at_destination, undefine_source] =
                flags;
            SettingsSpec {
                migration_type: Some(migration_type),
                bandwidth: long,
                parallel_connections: short,
                migration_timeout: medium,
                auto_converge,
                post_copy,
                encrypt_data,
                persist_at_destination,
                undefine_source,
                storage_copy,
                migration_uri: (!uri.is_empty()).then_some(uri),
                ..SettingsSpec::default()
            }
        },
    )
}

proptest! {
    /// Whatever is asked for: what is decided never loses the definition, and what libvirt is told
    /// never has a combination that it refuses.
    #[test]
    fn no_decision_loses_a_guest(spec in any_spec(), persistent: bool) {
        if let Ok(settings) = decide(spec) {
            let route = Route::PeerToPeer(String::new());
            if let Some(order) = settings.order(route, persistent) {
                prop_assert!(!order.undefine_source || order.persist_destination);
                prop_assert!(order.transfer != Transfer::Offline || order.storage == StorageCopy::None);
                prop_assert!(!order.post_copy || order.transfer == Transfer::Live);
            }
        }
    }
}
