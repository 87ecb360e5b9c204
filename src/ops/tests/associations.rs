//! Associators, AssociatorNames, References, ReferenceNames on instances, and associations as
//! instances.

use std::collections::VecDeque;

use super::*;
use crate::cim::{AssociationFilter, ClassPath, KeyValue, ListKind, ObjectPath};

/// A KVM host with guests a and b, a Xen host without: hosted, and with a service each.
fn world(as_paths: bool) -> Operations {
    server(|registry| {
        let guests: Vec<_> = ["a", "b"].map(|it| guest("KVM", it)).into();
        let links = guests.iter().map(|it| (host("KVM"), it.clone())).collect();
        let hosts = ("Dependent", &["KVM_HostSystem"][..]);
        let mut hosted = Bond::new(
            "KVM_HostedDependency",
            hosts,
            ("Antecedent", &["KVM_ComputerSystem"]),
            links,
        );
        hosted.as_paths = as_paths;
        // The same objects, associated once more.
        let mut again = Bond::new(
            "KVM_HostedService",
            ("Antecedent", &["KVM_HostSystem"]),
            ("Dependent", &["KVM_ComputerSystem"]),
            vec![(host("KVM"), guest("KVM", "a"))],
        );
        again.as_paths = as_paths;
        let mut effects = Bond::new(
            "KVM_ServiceAffectsElement",
            ("AffectingElement", &["KVM_HostSystem"]),
            ("AffectedElement", &["KVM_ComputerSystem"]),
            vec![(host("KVM"), guest("KVM", "a"))],
        );
        effects.links[0].2.push((name("ElementEffects"), Value::from(vec![5_u16])));
        let xen = Bond::new(
            "Xen_HostedDependency",
            ("Dependent", &["Xen_HostSystem"]),
            ("Antecedent", &["Xen_ComputerSystem"]),
            Vec::new(),
        );
        for shelf in [
            Shelf::new("KVM_HostSystem", vec![host("KVM")]),
            Shelf::new("KVM_ComputerSystem", guests),
            Shelf::new("Xen_HostSystem", vec![host("Xen")]),
            Shelf::new("Xen_ComputerSystem", Vec::new()),
        ] {
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        }
        for bond in [hosted, again, effects, xen] {
            registry.associate(Space::Virt, Arc::new(bond)).unwrap();
        }
    })
}

/// `assoc,result,role,result role`, each may be empty.
fn filter(text: &str) -> AssociationFilter {
    let mut parts = text.split(',').map(|it| (!it.is_empty()).then(|| name(it)));
    let mut part = || parts.next().flatten();
    AssociationFilter {
        association_class: part(),
        result_class: part(),
        role: part(),
        result_role: part(),
    }
}

fn associator_names(source: InstancePath, text: &str) -> Operation {
    Operation::AssociatorNames { object: source.into(), filter: filter(text) }
}

fn reference_names(source: InstancePath, text: &str) -> Operation {
    Operation::ReferenceNames { object: source.into(), filter: filter(text) }
}

#[track_caller]
fn check(source: InstancePath, text: &str, expected: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for as_paths in [false, true] {
        let server = world(as_paths);
        let operation = associator_names(source.clone(), text);
        let found = objects(runtime.block_on(run(&server, operation)));
        let found: Vec<_> = found
            .iter()
            .map(|object| match object {
                Object::InstancePath(path) => path.key(&name("Name")).unwrap().as_str().unwrap(),
                other => panic!("not a path: {other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{source} by {text}");
        // The instances are those of the paths.
        let operation = Operation::Associators {
            object: source.clone().into(),
            filter: filter(text),
            include_qualifiers: false,
            options: InstanceOptions::default(),
        };
        let instances = paths(runtime.block_on(run(&server, operation)));
        let operation = associator_names(source.clone(), text);
        assert_eq!(paths(runtime.block_on(run(&server, operation))), instances);
    }
}

#[test]
fn filters_of_associators_are_conjunctive_and_nothing_comes_twice() {
    check(host_path(), "", &["a", "b"]);
    check(guest_path("a"), "", &["vm"]);
    check(guest_path("b"), "KVM_ServiceAffectsElement", &[]);
    check(host_path(), "KVM_HostedDependency", &["a", "b"]);
    check(host_path(), "CIM_HostedDependency", &["a", "b"]);
    check(host_path(), "kvm_hostedservice", &["a"]);
    check(host_path(), "CIM_HostedService", &["a"]);
    check(host_path(), "CIM_ElementCapabilities", &[]);
    check(host_path(), ",CIM_ComputerSystem", &["a", "b"]);
    check(host_path(), ",KVM_HostSystem", &[]);
    check(host_path(), ",,dependent", &["a", "b"]);
    check(host_path(), ",,Antecedent", &["a"]);
    check(host_path(), ",,,Antecedent", &["a", "b"]);
    check(host_path(), ",,Nope", &[]);
    check(host_path(), "CIM_HostedDependency,KVM_ComputerSystem,Antecedent,Dependent", &["a"]);
}

#[tokio::test]
async fn a_source_without_keys_is_a_class() {
    let world = world(false);
    let class = name("KVM_HostSystem");
    for wanted in ["", "KVM_HostedService", ",,Antecedent", ",,,Dependent"] {
        let of_class = Operation::AssociatorNames {
            object: ClassPath::local(class.clone()).into(),
            filter: filter(wanted),
        };
        let expected = paths(run(&world, of_class).await);
        assert_ne!(expected, <[&str; 0]>::default(), "{wanted}");
        let without_keys = InstancePath::new::<KeyValue>(class.clone(), []);
        assert_eq!(paths(run(&world, associator_names(without_keys, wanted)).await), expected);
    }
}

#[test]
fn another_prefix_is_an_empty_success() {
    check(host_path(), "Xen_HostedDependency", &[]);
    check(host_path(), ",Xen_ComputerSystem", &[]);
}

#[test]
fn superfluous_keys_of_the_source_are_tolerated() {
    let mut source = host_path();
    source.keys.push(crate::cim::Key { name: Some(name("Extra")), value: "x".into() });
    check(source, "KVM_HostedService", &["a"]);
}

#[tokio::test]
async fn a_wrong_source_is_that_class_own_error_if_an_association_fits() {
    let server = world(false);
    let wrong =
        || path("KVM_HostSystem", &[("CreationClassName", "KVM_HostSystem"), ("Name", "x")]);
    let found = run(&server, associator_names(wrong(), "KVM_HostedDependency")).await;
    fails(found, StatusCode::NotFound, "No such instance (Name)");
    let found = run(&server, associator_names(wrong(), "KVM_ElementCapabilities")).await;
    assert_eq!(paths(found), [""; 0], "no association fits, so nobody looks at the source");
}

#[tokio::test]
async fn unknown_classes_are_invalid_parameters_wherever_they_stand() {
    let server = world(false);
    let nope = || path("KVM_Nope", &[]);
    for operation in [
        associator_names(nope(), ""),
        associator_names(host_path(), "KVM_Nope"),
        associator_names(host_path(), ",KVM_Nope"),
        reference_names(nope(), ""),
        reference_names(host_path(), "KVM_Nope"),
    ] {
        fails(run(&server, operation).await, StatusCode::InvalidParameter, "KVM_Nope");
    }
}

#[tokio::test]
async fn sources_are_found_from_every_namespace_and_results_say_where_they_live() {
    let server = world(false);
    for space in ["root/cimv2", "interop"] {
        let found = paths(run_in(&server, space, associator_names(guest_path("a"), "")).await);
        let expected = "//vm:5988/root/virt:KVM_HostSystem.\
                        CreationClassName=\"KVM_HostSystem\",Name=\"vm\"";
        assert_eq!(found, [expected], "{space}");
    }
}

#[tokio::test]
async fn references_show_associations_whose_ends_are_local_paths() {
    let server = world(true);
    let operation = Operation::References {
        object: guest_path("a").into(),
        filter: filter("KVM_ServiceAffectsElement"),
        include_qualifiers: false,
        options: InstanceOptions::default(),
    };
    let Ok(Reply::Objects(ListKind::ObjectsWithPath, found)) = run(&server, operation).await else {
        panic!("no list");
    };
    let [Object::Instance(association)] = found.as_slice() else {
        panic!("not one association: {found:?}");
    };
    let end = |role| association.value(&name(role)).and_then(Value::as_reference).unwrap();
    let guest = "/root/virt:KVM_ComputerSystem.CreationClassName=\"KVM_ComputerSystem\",Name=\"a\"";
    let shown = end("AffectedElement").to_string();
    assert!(guest.ends_with(shown.trim_start_matches('/')), "{shown}");
    let path = association.path.as_ref().unwrap();
    assert_eq!(path.host.as_deref(), Some("vm:5988"));
    let key = path.key(&name("AffectedElement")).and_then(|it| it.as_reference());
    assert_eq!(key, Some(end("AffectedElement")), "the key is the reference");
    let ObjectPath::Instance(end) = end("AffectedElement") else { panic!("an instance path") };
    assert_eq!((end.host.as_deref(), end.namespace.is_some()), (None, true));
    let effects = association.value(&name("ElementEffects")).cloned();
    assert_eq!(effects, Some(Value::from(vec![5_u16])));
    assert!(association.property(&name("AssignedSequence")).is_some(), "NULLs are there too");
}

#[tokio::test]
async fn for_references_the_result_class_is_the_association() {
    let server = world(false);
    let all = paths(run(&server, reference_names(guest_path("a"), "")).await);
    assert_eq!(all.len(), 3, "{all:?}");
    let some = paths(run(&server, reference_names(guest_path("a"), "CIM_HostedService")).await);
    assert_eq!(some.len(), 1, "{some:?}");
    let role = paths(run(&server, reference_names(guest_path("a"), ",,Antecedent")).await);
    assert_eq!(role.len(), 1, "{role:?}");
    assert!(role[0].contains("KVM_HostedDependency"), "{role:?}");
}

#[tokio::test]
async fn associations_are_instances_as_well() {
    let server = world(true);
    let names = Operation::EnumerateInstanceNames { class: name("CIM_HostedDependency") };
    let found = objects(run(&server, names).await);
    assert_eq!(found.len(), 3, "two hosted guests and one service: {found:?}");
    for object in found {
        let Object::InstancePath(path) = object else { panic!("not a path: {object:?}") };
        let reply = run(&server, get(path.clone())).await;
        let Ok(Reply::Instance(association)) = reply else { panic!("{path}: {reply:?}") };
        for role in ["Antecedent", "Dependent"] {
            let key = path.key(&name(role)).and_then(|it| it.as_reference());
            assert_eq!(association.value(&name(role)).and_then(Value::as_reference), key);
        }
    }
}

#[tokio::test]
async fn an_association_is_the_same_however_its_ends_are_written() {
    let server = world(true);
    let find = async |host: InstancePath, guest: InstancePath| {
        let ends = [(name("Dependent"), host), (name("Antecedent"), guest)];
        run(&server, get(InstancePath::new(name("KVM_HostedDependency"), ends))).await
    };
    let plain = find(host_path(), guest_path("a")).await;
    assert!(plain.is_ok(), "{plain:?}");
    let virt = |path: InstancePath| path.in_namespace(namespace("Root/Virt"));
    let keys = [("CreationClassName", "kvm_hostsystem"), ("Name", " VM ")];
    for (host, guest) in [
        (virt(host_path()), guest_path("a")),
        (host_path(), virt(guest_path("a"))),
        (path("kvm_hostsystem", &keys), guest_path("a")),
        (host_path(), guest_path(" A ")),
    ] {
        assert_eq!(find(host.clone(), guest.clone()).await, plain, "{host} {guest}");
    }
    // What another namespace has is something else.
    for elsewhere in ["root/interop", "root/nowhere"].map(namespace) {
        let (host, guest) = (host_path().in_namespace(elsewhere.clone()), guest_path("a"));
        let text = "No such instance (Dependent)";
        fails(find(host, guest).await, StatusCode::NotFound, text);
        let (host, guest) = (host_path(), guest_path("a").in_namespace(elsewhere));
        let text = "No such instance (Antecedent)";
        fails(find(host, guest).await, StatusCode::NotFound, text);
    }
}

#[tokio::test]
async fn an_association_that_is_not_there_names_the_wrong_end() {
    let server = world(false);
    let association = |host: InstancePath, guest: InstancePath| {
        get(InstancePath::new(
            name("KVM_HostedDependency"),
            [(name("Dependent"), host), (name("Antecedent"), guest)],
        ))
    };
    assert!(run(&server, association(host_path(), guest_path("b"))).await.is_ok());
    let no_guest = association(host_path(), guest_path("x"));
    fails(run(&server, no_guest).await, StatusCode::NotFound, "No such instance (Antecedent)");
    let no_host = association(path("KVM_HostSystem", &[]), guest_path("a"));
    fails(run(&server, no_host).await, StatusCode::NotFound, "No such instance (Dependent)");
    let no_ends = get(path("KVM_HostedDependency", &[]));
    fails(run(&server, no_ends).await, StatusCode::NotFound, "No such instance (Dependent)");
}

#[tokio::test]
async fn what_vanishes_between_link_and_look_is_left_out() {
    let server = server(|registry| {
        let mut hosted = Bond::new(
            "KVM_HostedDependency",
            ("Dependent", &["KVM_HostSystem"]),
            ("Antecedent", &["KVM_ComputerSystem"]),
            vec![(host("KVM"), guest("KVM", "gone")), (host("KVM"), guest("KVM", "a"))],
        );
        hosted.as_paths = true;
        registry.associate(Space::Virt, Arc::new(hosted)).unwrap();
        for shelf in [
            Shelf::new("KVM_HostSystem", vec![host("KVM")]),
            Shelf::new("KVM_ComputerSystem", vec![guest("KVM", "a")]),
        ] {
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        }
    });
    let operation = Operation::Associators {
        object: host_path().into(),
        filter: AssociationFilter::default(),
        include_qualifiers: false,
        options: InstanceOptions::default(),
    };
    assert_eq!(paths(run(&server, operation).await).len(), 1);
}

/// What is found at one search: guests, and whether the hypervisor is there to the end.
type Search = (&'static [&'static str], bool);

fn unless_gone(there: bool) -> Result<(), ProviderError> {
    let gone = || ProviderError::Unreachable("libvirtd has gone".to_owned());
    if there { Ok(()) } else { Err(gone()) }
}

/// Guests, and the host's links to them, of a hypervisor that comes and goes: each search gives the next
/// of the answers.
struct Fading {
    class: CimName,
    ends: [End; 2],
    answers: Mutex<VecDeque<Search>>,
    as_paths: bool,
}

impl Fading {
    fn answer(&self) -> Search {
        self.answers.lock().unwrap().pop_front().expect("no more is asked")
    }
}

impl AssociationProvider for Fading {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        _source: &'a Instance,
        _role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            let (guests, there) = self.answer();
            for name in guests {
                let guest = guest("KVM", name);
                let far = match self.as_paths {
                    true => Far::Path(test_path(&guest)),
                    false => Far::Instance(guest),
                };
                sink.put(Link { far, properties: Vec::new() }).await?;
            }
            unless_gone(there)
        })
    }
}

/// The guests that [`Fading`] knows by name only; each question gets the next of the answers.
struct Asked(CimName, Mutex<VecDeque<bool>>);

impl InstanceProvider for Asked {
    fn class(&self) -> &CimName {
        &self.0
    }

    fn enumerate<'a>(&'a self, _: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        let there = self.1.lock().unwrap().pop_front().expect("no more is asked");
        let found = guest("KVM", path.string_key(&name("Name")).unwrap_or_default());
        Box::pin(async move { unless_gone(there).map(|()| found) })
    }
}

/// A KVM host, another of its class, and what they are linked with.
fn fading(answers: &[Search], asked: Option<&[bool]>) -> Operations {
    let end = |role, class| End { role: name(role), classes: vec![name(class)] };
    let links = Fading {
        class: name("KVM_HostedDependency"),
        ends: [end("Dependent", "KVM_HostSystem"), end("Antecedent", "KVM_ComputerSystem")],
        answers: Mutex::new(answers.iter().copied().collect()),
        as_paths: asked.is_some(),
    };
    server(|registry| {
        let another = host("KVM").with(name("Name"), "another");
        let hosts = Shelf::new("KVM_HostSystem", vec![host("KVM"), another]);
        registry.serve(Space::Virt, Arc::new(hosts)).unwrap();
        let guests = asked.unwrap_or_default().iter().copied().collect();
        let guests = Asked(name("KVM_ComputerSystem"), Mutex::new(guests));
        registry.serve(Space::Virt, Arc::new(guests)).unwrap();
        registry.associate(Space::Virt, Arc::new(links)).unwrap();
    })
}

/// How many are in a list, or that it is refused for being incomplete.
fn counted(reply: Result<Reply, CimError>) -> Option<usize> {
    match reply {
        Ok(reply) => Some(objects(Ok(reply)).len()),
        Err(error) => {
            assert_eq!(error.status, StatusCode::Failed);
            assert_eq!(error.description, "the list is incomplete: libvirtd has gone");
            None
        }
    }
}

#[tokio::test]
async fn a_list_is_empty_or_whole_or_refused_when_the_hypervisor_comes_and_goes() {
    let follow = async |answers: &[Search], asked: Option<&[bool]>| {
        let operation = Operation::Associators {
            object: host_path().into(),
            filter: filter(",,,"),
            include_qualifiers: false,
            options: InstanceOptions::default(),
        };
        counted(run(&fading(answers, asked), operation).await)
    };
    assert_eq!(follow(&[(&["a", "b"], true)], None).await, Some(2));
    assert_eq!(follow(&[(&[], false)], None).await, Some(0), "it was never there");
    assert_eq!(follow(&[(&["a"], false)], None).await, None);
    // Where guests are asked for one by one.
    let both: &[Search] = &[(&["a", "b"], true)];
    assert_eq!(follow(both, Some(&[true, true])).await, Some(2));
    assert_eq!(follow(both, Some(&[false, false])).await, Some(0));
    assert_eq!(follow(both, Some(&[true, false])).await, None);
    assert_eq!(follow(both, Some(&[false, true])).await, None);
}

#[tokio::test]
async fn associations_as_instances_are_all_there_or_none_of_them() {
    let enumerate = async |answers: &[Search]| {
        let class = name("KVM_HostedDependency");
        let server = fading(answers, None);
        counted(run(&server, Operation::EnumerateInstanceNames { class }).await)
    };
    // Two hosts are looked at, one after the other.
    assert_eq!(enumerate(&[(&["a"], true), (&["b"], true)]).await, Some(2));
    assert_eq!(enumerate(&[(&[], false), (&[], false)]).await, Some(0));
    assert_eq!(enumerate(&[(&["a"], true), (&[], false)]).await, None);
    assert_eq!(enumerate(&[(&[], false), (&["b"], true)]).await, None);
}

#[tokio::test]
async fn instances_are_all_there_or_none_of_them() {
    let enumerate = async |guests: Vec<Instance>| {
        let gone = ProviderError::Unreachable("libvirtd has gone".to_owned());
        let server = server(|registry| {
            let shelf = Shelf::new("KVM_ComputerSystem", guests).failing(gone);
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        });
        let class = name("KVM_ComputerSystem");
        counted(run(&server, Operation::EnumerateInstanceNames { class }).await)
    };
    assert_eq!(enumerate(Vec::new()).await, Some(0));
    assert_eq!(enumerate(vec![guest("KVM", "a")]).await, None);
}
