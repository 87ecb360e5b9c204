use super::*;
use crate::{
    hypervisor::{DomainConfig, Element, StorageCopy, Transfer},
    migration::{DestinationPolicy, SettingsSpec},
};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// Attributes in both quotes, comments, references, white space and another namespace.
const XML: &str = r#"<domain type='kvm' id='7'>
  <name>web &amp; shop</name>
  <uuid>11111111-2222-4333-8444-555555555555</uuid>
  <metadata>
    <app:x xmlns:app="urn:a">mixed <app:b/> content <!-- kept --></app:x>
  </metadata>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='/a/one.qcow2' index='1'><privateData/></source>
      <backingStore type='file'>
        <format type='raw'/>
        <source file='/a/base.raw'/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='network' device='disk'>
      <source protocol='nbd' name='x'><host name='h'/></source>
      <target dev='vdb' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'>
      <target dev='sda' bus='sata'/>
    </disk>
    <interface type='network'>
      <mac address='52:54:00:aa:BB:01'/>
      <source network='default' portid='p' bridge='virbr0'/>
      <model type='virtio'/>
    </interface>
    <interface type='bridge'>
      <mac address='52:54:00:aa:bb:02'/>
      <source bridge="br0"/>
    </interface>
    <interface type='user'>
      <mac address='52:54:00:aa:bb:03'/>
    </interface>
    <graphics type='vnc' port='5901' autoport='yes' listen='127.0.0.1' passwd='a"b'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
    <graphics type='spice'>
      <listen type='socket' socket='/run/x'/>
    </graphics>
  </devices>
</domain>
"#;

fn domain(state: DomainState) -> Domain {
    Domain {
        name: "web & shop".to_owned(),
        uuid: UUID.to_owned(),
        state,
        reason: 0,
        persistent: true,
        managed_save: false,
        autostart: true,
        config: DomainConfig::default(),
    }
}

fn source(state: DomainState) -> SourceFacts {
    SourceFacts {
        domain: domain(state),
        job: None,
        live_xml: XML.to_owned(),
        definition: XML.replace(" id='7'", ""),
    }
}

fn target() -> Target {
    Target {
        name: "hostb".to_owned(),
        uri: "qemu+tcp://hostb/system".to_owned(),
        migration_uri: Some("tcp://10.0.0.2".to_owned()),
        transport: Transport::Tcp,
    }
}

fn settings(migration_type: MigrationType) -> Settings {
    let spec = SettingsSpec { migration_type: Some(migration_type), ..SettingsSpec::default() };
    Settings::decide(spec, &DestinationPolicy::default()).expect("settings")
}

fn decide(
    migration_type: MigrationType,
    edits: &Edits,
    source: &SourceFacts,
    destination: &DestinationFacts,
) -> Result<Plan, PlanError> {
    let settings = settings(migration_type);
    Plan::decide(&settings, edits, Mode::PeerToPeer, &target(), source, destination)
}

fn running() -> SourceFacts {
    source(DomainState::Running)
}

fn live(edits: &Edits) -> Result<Plan, PlanError> {
    decide(MigrationType::Live, edits, &running(), &DestinationFacts::default())
}

fn name(text: &str) -> GuestName {
    GuestName::try_from(text.to_owned()).expect("a name")
}

#[test]
fn without_edits_libvirt_takes_the_xml_itself() {
    let plan = live(&Edits::default()).expect("a plan");
    let order = plan.order.expect("an order");
    assert_eq!(order.route, Route::PeerToPeer("qemu+tcp://hostb/system".to_owned()));
    assert_eq!(order.migration_uri.as_deref(), Some("tcp://10.0.0.2"));
    assert_eq!(
        (order.destination_name, order.destination_xml, order.persistent_xml),
        (None, None, None)
    );
    assert!(order.persist_destination && order.undefine_source);
    assert_eq!(order.transfer, Transfer::Live);
    assert_eq!(plan.destination_name, "web & shop");
    let facts = Facts { persistent: true, autostart: true, ..Facts::default() };
    assert_eq!(plan.facts, facts);
    assert_eq!(plan.destination_definition, plan.source_definition);
}

#[test]
fn a_new_name_alone_is_libvirts_business() {
    let edits = Edits { name: Some(name("new <name>")), ..Edits::default() };
    let plan = live(&edits).expect("a plan");
    let order = plan.order.expect("an order");
    assert_eq!(order.destination_name.as_deref(), Some("new <name>"));
    assert_eq!(order.destination_xml, None);
    let definition = XML.replace(" id='7'", "").replace("web &amp; shop", "new &lt;name&gt;");
    assert_eq!(plan.destination_definition, definition);
}

/// What a plan with these edits changes in the XML: lines that are gone and lines that are new.
#[track_caller]
fn changed(edits: Edits) -> (Vec<String>, Vec<String>) {
    let order = live(&edits).expect("a plan").order.expect("an order");
    let xml = order.destination_xml.expect("an XML");
    Element::parse(&xml).expect("well-formed");
    let definition = xml.replace(" id='7'", "");
    assert_eq!(order.persistent_xml, Some(definition), "both forms are changed alike");
    let lines = |text: &str, other: &str| {
        let other: Vec<&str> = other.lines().collect();
        let lines = text.lines().filter(|line| !other.contains(line));
        lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    (lines(XML, &xml), lines(&xml, XML))
}

fn network(mac: &str, source: NetworkSource) -> Edits {
    Edits { networks: vec![NetworkEdit { mac: mac.to_owned(), source }], ..Edits::default() }
}

fn disk(target: &str, path: &str) -> Edits {
    let edit = DiskEdit { target: target.to_owned(), path: path.to_owned() };
    Edits { disks: vec![edit], ..Edits::default() }
}

fn console(kind: Option<&str>, listen: Option<&str>, port: Option<Port>) -> Edits {
    let listen = listen.map(|address| address.parse().expect("an address"));
    let edit = GraphicsEdit { kind: kind.map(str::to_owned), listen, port };
    Edits { graphics: vec![edit], ..Edits::default() }
}

#[test]
fn interfaces_are_connected_elsewhere() {
    let edits = network("52:54:00:AA:bb:01", NetworkSource::Network("o'ne<".to_owned()));
    let (gone, new) = changed(edits);
    assert_eq!(
        gone,
        ["<interface type='network'>", "<source network='default' portid='p' bridge='virbr0'/>"]
    );
    assert_eq!(new, ["<interface type=\"network\">", "<source network=\"o&apos;ne&lt;\"/>"]);
    let (_, new) = changed(network("52:54:00:aa:bb:02", NetworkSource::Network("n".to_owned())));
    assert_eq!(new, ["<interface type=\"network\">", "<source network=\"n\"/>"]);
    let (_, new) = changed(network("52:54:00:aa:bb:01", NetworkSource::Bridge("br1".to_owned())));
    assert_eq!(new, ["<interface type=\"bridge\">", "<source bridge=\"br1\"/>"]);
}

#[test]
fn disks_are_found_elsewhere() {
    let (gone, new) = changed(disk("vda", "/b/\"two\".qcow2"));
    assert_eq!(
        gone,
        [
            "<source file='/a/one.qcow2' index='1'><privateData/></source>",
            "<backingStore type='file'>",
            "<format type='raw'/>",
            "<source file='/a/base.raw'/>",
            "</backingStore>",
        ]
    );
    let source = "<source file=\"/b/&quot;two&quot;.qcow2\" index=\"1\"><privateData/></source>";
    // The line on which the backing chain stood is empty now.
    assert_eq!(new, [source, ""]);
}

#[test]
fn consoles_listen_elsewhere() {
    let (_, new) = changed(console(Some("vnc"), Some("::1"), Some(Port::Automatic)));
    assert_eq!(
        new,
        [
            "<graphics type=\"vnc\" port=\"-1\" autoport=\"yes\" listen=\"::1\" passwd=\"a&quot;b\">",
            "<listen type=\"address\" address=\"::1\"/>",
        ]
    );
    let (_, new) = changed(console(Some("spice"), None, Some(Port::Number(5930))));
    assert_eq!(new, ["<graphics type=\"spice\" port=\"5930\" autoport=\"no\">"]);
}

#[track_caller]
fn refuses(edits: Edits, message: &str) {
    assert_eq!(live(&edits).expect_err("refused").to_string(), message);
}

#[test]
fn what_is_asked_for_is_told_in_words_on_one_line() {
    let mut edits = network("52:54:00:aa:bb:01", NetworkSource::Network("lan".to_owned()));
    edits.networks.extend(network("x", NetworkSource::Bridge("br0".to_owned())).networks);
    edits.disks = disk("vda\n", "/b/\"two\".img").disks;
    edits.graphics = console(None, Some("::1"), Some(Port::Automatic)).graphics;
    edits.graphics.extend(console(Some("vnc"), None, Some(Port::Number(5901))).graphics);
    edits.name = Some(name("new"));
    let expected = [
        r#"name "new""#,
        r#"interface "52:54:00:aa:bb:01" to network "lan""#,
        r#"interface "x" to bridge "br0""#,
        r#"disk "vda\n" to "/b/\"two\".img""#,
        r#"graphics "any type" to address ::1 to any port"#,
        r#"graphics "vnc" to port 5901"#,
    ];
    assert_eq!(edits.describe(), expected);
}

#[test]
fn the_checks_get_the_xml_as_it_will_be() {
    assert!(Edits { name: Some(name("new")), ..Edits::default() }.changes().is_none());
    let changes = disk("vda", "/b/two.qcow2").changes().expect("a device is changed");
    assert!(changes(XML).expect("it can be").contains("/b/two.qcow2"));
    let changes = disk("vdz", "/b/two.qcow2").changes().expect("a device is changed");
    assert_eq!(changes(XML), Err("the guest has no disk `vdz`".to_owned()));
}

#[test]
fn an_edit_that_applies_to_nothing_is_refused() {
    let net = |name: &str| NetworkSource::Network(name.to_owned());
    refuses(
        network("52:54:00:00:00:00", net("n")),
        "the guest has no interface `52:54:00:00:00:00`",
    );
    refuses(
        network("52:54:00:aa:bb:03", net("n")),
        "interface `52:54:00:aa:bb:03` can't be changed: it is of type user",
    );
    refuses(disk("vdz", "/x"), "the guest has no disk `vdz`");
    refuses(disk("vdb", "/x"), "disk `vdb` can't be changed: its source is of type network");
    refuses(disk("sda", "/x"), "disk `sda` can't be changed: it is empty");
    let port = Some(Port::Automatic);
    refuses(console(None, None, port), "the guest has more than one graphics `any type`");
    refuses(console(Some("rdp"), None, port), "the guest has no graphics `rdp`");
    refuses(
        console(Some("spice"), Some("::1"), None),
        "graphics `spice` can't be changed: it listens on socket, not on an address",
    );
}

#[test]
fn a_device_is_changed_once_however_it_is_named() {
    let net = |name: &str| NetworkSource::Network(name.to_owned());
    let mut edits = network("52:54:00:aa:bb:01", net("n"));
    edits.networks.extend(network("52:54:00:AA:BB:01", net("m")).networks);
    refuses(edits, "interface `52:54:00:AA:BB:01` is to be changed more than once");
    let mut edits = disk("vda", "/x");
    edits.disks.extend(disk("vda", "/x").disks);
    refuses(edits, "disk `vda` is to be changed more than once");
    let port = || Some(Port::Automatic);
    let mut edits = console(Some("vnc"), None, port());
    edits.graphics.extend(console(None, Some("::1"), None).graphics);
    let spice = XML.find("    <graphics type='spice'>").expect("a console");
    let end = XML.find("  </devices>").expect("devices");
    let xml = format!("{}{}", &XML[..spice], &XML[end..]);
    let one_console = SourceFacts { live_xml: xml.clone(), definition: xml, ..running() };
    let plan = decide(MigrationType::Live, &edits, &one_console, &DestinationFacts::default());
    let message = "graphics `any type` is to be changed more than once";
    assert_eq!(plan.expect_err("refused").to_string(), message);
}

#[test]
fn new_values_are_checked() {
    for path in ["", "relative", "/", "//x", "/a/../b", "/a/./b", "/a/", "/a\nb"] {
        let error = live(&disk("vda", path)).expect_err(path);
        assert!(matches!(error, PlanError::Value { what: "disk source", .. }), "{path:?}: {error}");
    }
    for bridge in ["", "a/b", "sixteen-letters-", "a\tb"] {
        let edits = network("52:54:00:aa:bb:01", NetworkSource::Bridge(bridge.to_owned()));
        let error = live(&edits).expect_err(bridge);
        assert!(matches!(error, PlanError::Value { what: "bridge", .. }), "{bridge:?}: {error}");
    }
    for text in ["", " a", "a ", ".a", "-a", "a/b", "a\nb", &"a".repeat(201)] {
        assert!(GuestName::try_from(text.to_owned()).is_err(), "{text:?}");
    }
}

#[test]
fn a_document_that_is_none_is_refused() {
    for xml in [
        "",
        "<domain>",
        "<domain><name>a</name></domain",
        "<!DOCTYPE a []><a/>",
        "<a></b>",
        "<domain/>",
    ] {
        let facts = SourceFacts { definition: xml.to_owned(), ..source(DomainState::Running) };
        let edits = Edits { name: Some(name("b")), ..Edits::default() };
        let plan = decide(MigrationType::Live, &edits, &facts, &DestinationFacts::default());
        assert!(matches!(plan, Err(PlanError::Document { .. })), "{xml:?}: {plan:?}");
    }
}

#[track_caller]
fn state(migration_type: MigrationType, state: DomainState, expected: Result<(), &str>) {
    let plan =
        decide(migration_type, &Edits::default(), &source(state), &DestinationFacts::default());
    let message = plan.map(drop).map_err(|error| error.to_string());
    assert_eq!(message, expected.map_err(str::to_owned), "{migration_type:?} {state:?}");
}

#[test]
fn the_guest_must_be_in_the_right_state() {
    let off = Err("Domain must be shut off for offline migration");
    let runs = Err("Domain must be running for live or resume migration");
    state(MigrationType::Offline, DomainState::Shutoff, Ok(()));
    state(MigrationType::Offline, DomainState::Running, off);
    state(MigrationType::Offline, DomainState::Paused, off);
    for migration_type in [MigrationType::Live, MigrationType::Resume] {
        state(migration_type, DomainState::Running, Ok(()));
        state(migration_type, DomainState::Blocked, Ok(()));
        state(migration_type, DomainState::Paused, Ok(()));
        state(migration_type, DomainState::Shutoff, runs);
        state(migration_type, DomainState::Crashed, runs);
    }
    let restart = Err("Domain must be running for restart migration");
    state(MigrationType::Restart, DomainState::Running, Ok(()));
    state(MigrationType::Restart, DomainState::Paused, restart);
    state(MigrationType::Restart, DomainState::Shutoff, restart);
}

#[test]
fn a_guest_that_is_busy_or_saved_stays() {
    let busy = SourceFacts { job: Some("dump".to_owned()), ..source(DomainState::Running) };
    let plan = decide(MigrationType::Live, &Edits::default(), &busy, &DestinationFacts::default());
    assert!(matches!(plan, Err(PlanError::Busy { job, .. }) if job == "dump"));
    let mut saved = source(DomainState::Shutoff);
    saved.domain.managed_save = true;
    let plan =
        decide(MigrationType::Offline, &Edits::default(), &saved, &DestinationFacts::default());
    assert_eq!(plan, Err(PlanError::ManagedSave));
}

#[test]
fn the_destination_must_have_room() {
    let here = |state, name: &str, uuid: &str| {
        Some(Domain { name: name.to_owned(), uuid: uuid.to_owned(), ..domain(state) })
    };
    let there =
        |same_uuid, same_name| DestinationFacts { same_uuid, same_name, free_files: Vec::new() };
    let plan = |migration_type, destination: &DestinationFacts| {
        let source = source(DomainState::Running);
        decide(migration_type, &Edits::default(), &source, destination)
            .map(|plan| plan.facts.destination_defined)
            .map_err(|error| error.to_string())
    };
    let (name, other) = ("web & shop", "99999999-2222-4333-8444-555555555555");
    let off = |name, uuid| here(DomainState::Shutoff, name, uuid);
    let same = there(off(name, UUID), off(name, UUID));
    assert_eq!(plan(MigrationType::Live, &same), Ok(true));
    let taken = |detail: &str| Err(format!("Remote already has domain `{name}'{detail}"));
    assert_eq!(plan(MigrationType::Restart, &same), taken(""));
    let stranger = there(None, off(name, other));
    assert_eq!(plan(MigrationType::Live, &stranger), taken(" with another UUID"));
    let renamed = there(off("other", UUID), None);
    assert_eq!(plan(MigrationType::Live, &renamed), taken(" under another name"));
    let active = there(here(DomainState::Running, name, UUID), None);
    assert_eq!(plan(MigrationType::Live, &active), taken(", and it is active"));
}

#[test]
fn a_socket_needs_direct_mode() {
    let target = Target { transport: Transport::Unix, ..target() };
    assert_eq!(
        Mode::PeerToPeer.route(&target).map_err(|error| error.to_string()),
        Err("transport unix needs migration.mode = \"direct\"".to_owned())
    );
    assert_eq!(Mode::Direct.route(&target), Ok(Route::Direct(target.uri.clone())));
}

#[test]
fn a_restart_has_definitions_and_no_order() {
    let plan = decide(
        MigrationType::Restart,
        &disk("vda", "/b/two.qcow2"),
        &source(DomainState::Running),
        &DestinationFacts::default(),
    );
    let plan = plan.expect("a plan");
    assert_eq!(plan.order, None);
    assert!(plan.destination_definition.contains("/b/two.qcow2"));
    assert!(plan.source_definition.contains("/a/one.qcow2"));
}

proptest::proptest! {
    #[test]
    fn no_document_panics(xml in ".{0,200}", edited in "[<>/a-z'\" =]{0,80}") {
        for xml in [xml, XML.replacen("<devices>", &format!("<devices>{edited}"), 1)] {
            let facts = SourceFacts { live_xml: xml.clone(), definition: xml, ..source(DomainState::Running) };
            let _ = decide(MigrationType::Live, &disk("vda", "/x"), &facts, &DestinationFacts::default());
        }
    }
}

#[test]
fn the_files_that_are_made_for_copies() {
    #[track_caller]
    fn check(spec: SettingsSpec, expected: &[&str]) {
        let xml = "<domain><devices>\
            <disk type='file'><source file='/a/one'/><target dev='vda'/></disk>\
            <disk type='file'><source file='/a/two'/><target dev='vdb'/><readonly/></disk>\
            <disk type='network'><source protocol='nbd' name='x'/><target dev='vdc'/></disk>\
            </devices></domain>";
        let edit = DiskEdit { target: "vda".to_owned(), path: "/b/one".to_owned() };
        let edits = Edits { disks: vec![edit], ..Edits::default() };
        let settings =
            Settings::decide(spec, &DestinationPolicy::default()).expect("good settings");
        assert_eq!(copied_files(&settings, &edits, xml), expected);
    }
    let copy = |storage| SettingsSpec { storage_copy: Some(storage), ..SettingsSpec::default() };
    check(copy(StorageCopy::Full), &["/b/one"]);
    let chosen = Some(vec!["vdb".to_owned(), "vdc".to_owned()]);
    check(SettingsSpec { storage_copy_disks: chosen, ..copy(StorageCopy::Full) }, &["/a/two"]);
    // These go into images that are there, or nowhere.
    check(copy(StorageCopy::Incremental), &[]);
    check(SettingsSpec::default(), &[]);
}
