//! Random requests against slow filters that are obviously right.

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::subsequence};

use super::*;
use crate::cim::{AssociationFilter, Class, ClassOptions};

const CLASSES: [&str; 9] = [
    "CIM_ManagedElement",
    "CIM_System",
    "CIM_ComputerSystem",
    "KVM_ComputerSystem",
    "KVM_HostSystem",
    "CIM_SettingData",
    "KVM_VirtualSystemSettingData",
    "CIM_Dependency",
    "CIM_Error",
];

const PROPERTIES: [&str; 8] = [
    "Name",
    "ELEMENTNAME",
    "uuid",
    "EnabledState",
    "BootDevices",
    "InstanceID",
    "RequestedState",
    "NoSuchProperty",
];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn property_list() -> impl Strategy<Value = Option<Vec<CimName>>> {
    let names = subsequence(PROPERTIES.to_vec(), 0..=PROPERTIES.len());
    proptest::option::of(names.prop_map(|names| names.into_iter().map(name).collect()))
}

fn setting_data(id: &str) -> Instance {
    Instance::new(name("KVM_VirtualSystemSettingData")).with(name("InstanceID"), id)
}

/// Guests, settings and hosts with some of the properties set.
fn instances() -> impl Strategy<Value = Vec<Instance>> {
    let one = (0..3_usize, 0..5_u32, any::<bool>(), any::<bool>());
    proptest::collection::vec(one, 0..6).prop_map(|made| {
        let make = |(kind, number, named, enabled): (usize, u32, bool, bool)| {
            let text = format!("it{number}");
            let mut instance = match kind {
                0 => host("KVM"),
                1 => guest("KVM", &text),
                _ => setting_data(&text),
            };
            if named {
                instance.set(name("ElementName"), text.as_str());
            }
            if enabled && kind != 2 {
                instance.set(name("EnabledState"), 2_u16);
            }
            instance
        };
        made.into_iter().map(make).collect()
    })
}

fn shelves(instances: &[Instance]) -> Operations {
    server(|registry| {
        for class in ["KVM_HostSystem", "KVM_ComputerSystem", "KVM_VirtualSystemSettingData"] {
            let of_class =
                instances.iter().filter(|it| it.class.as_str() == class).cloned().collect();
            let shelf = Shelf::new(class, of_class);
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        }
    })
}

/// Whether a class is another or below it, by walking up.
fn is_below(class: &CimName, ancestor: &CimName) -> bool {
    let repository = Repository::builtin();
    let mut at = Some(class.clone());
    while let Some(class) = at {
        if class == *ancestor {
            return true;
        }
        at = repository.class(&class).and_then(|class| class.superclass.clone());
    }
    false
}

/// What EnumerateInstances has to show, property by property: name, value, class origin.
type Shown = Vec<(String, Option<Value>, Option<String>)>;

fn expected(
    instances: &[Instance],
    class: &CimName,
    deep: bool,
    options: &InstanceOptions,
) -> Vec<Shown> {
    let repository = Repository::builtin();
    let requested = repository.class(class).unwrap();
    let mut shown = Vec::new();
    for instance in instances.iter().filter(|instance| is_below(&instance.class, class)) {
        let mut properties = Vec::new();
        for property in &repository.class(&instance.class).unwrap().properties {
            let in_class = requested.properties.iter().any(|it| it.name == property.name);
            let in_list = match &options.properties {
                None => true,
                Some(list) => list.contains(&property.name),
            };
            if (deep || in_class) && in_list {
                let set = instance.properties.iter().find(|it| it.name == property.name);
                let value = set.map_or(property.default.clone(), |set| set.value.clone());
                let origin = options
                    .include_class_origin
                    .then(|| property.class_origin.as_ref().expect("a resolved class").to_string());
                properties.push((property.name.to_string(), value, origin));
            }
        }
        shown.push(properties);
    }
    shown
}

fn as_shown(object: Object) -> Shown {
    let Object::Instance(instance) = object else { panic!("not an instance: {object:?}") };
    let property = |property: crate::cim::Property| {
        let origin = property.class_origin.map(|origin| origin.to_string());
        (property.name.to_string(), property.value, origin)
    };
    instance.properties.into_iter().map(property).collect()
}

proptest! {
    #[test]
    fn enumerations_show_what_the_flags_ask_for(
        mut instances in instances(),
        class in proptest::sample::select(&CLASSES[..]),
        deep in any::<bool>(),
        include_class_origin in any::<bool>(),
        properties in property_list(),
    ) {
        let server = shelves(&instances);
        // Lists name objects provider by provider.
        let order = ["KVM_HostSystem", "KVM_ComputerSystem", "KVM_VirtualSystemSettingData"];
        instances.sort_by_key(|it| order.iter().position(|class| it.class.as_str() == *class));
        let options = InstanceOptions { include_class_origin, properties };
        let expected = expected(&instances, &name(class), deep, &options);
        let operation = Operation::EnumerateInstances {
            class: name(class),
            deep_inheritance: deep,
            options,
        };
        let found = objects(runtime().block_on(run(&server, operation)));
        let found: Vec<_> = found.into_iter().map(as_shown).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn classes_show_what_the_flags_ask_for(
        class in proptest::sample::select(&CLASSES[..]),
        local_only in any::<bool>(),
        include_qualifiers in any::<bool>(),
        include_class_origin in any::<bool>(),
        properties in property_list(),
    ) {
        let options =
            ClassOptions { local_only, include_qualifiers, include_class_origin, properties };
        let whole = Repository::builtin().class(&name(class)).unwrap();
        let operation = Operation::GetClass { class: name(class), options: options.clone() };
        let reply = runtime().block_on(run(&kvm(&[]), operation));
        let Ok(Reply::Classes(found)) = reply else { panic!("no class") };
        let [found] = found.as_slice() else { panic!("more than one class") };
        for property in &whole.properties {
            let listed = options.properties.as_ref().is_none_or(|it| it.contains(&property.name));
            let local = !options.local_only || !property.propagated;
            let shown = found.property(&property.name);
            prop_assert_eq!(shown.is_some(), listed && local, "{}", property.name);
            if let Some(shown) = shown {
                let origin = property.class_origin.as_ref().filter(|_| include_class_origin);
                prop_assert_eq!(shown.class_origin.as_ref(), origin);
                prop_assert_eq!(&shown.ty, &property.ty);
                prop_assert!(include_qualifiers || shown.qualifiers.is_empty());
            }
        }
        let order = |class: &Class| -> Vec<_> {
            class.methods.iter().map(|it| it.name.to_string()).collect()
        };
        let methods: Vec<_> = whole
            .methods
            .iter()
            .filter(|it| !local_only || !it.propagated)
            .map(|it| it.name.to_string())
            .collect();
        prop_assert_eq!(order(found), methods);
        if include_qualifiers && !local_only {
            prop_assert_eq!(&found.qualifiers, &whole.qualifiers);
        }
    }
}

/// Associations of hosts and guests: class, role of the host, role of the guest.
const BONDS: [(&str, &str, &str); 4] = [
    ("KVM_HostedDependency", "Dependent", "Antecedent"),
    ("KVM_HostedService", "Antecedent", "Dependent"),
    ("KVM_ServiceAffectsElement", "AffectingElement", "AffectedElement"),
    ("KVM_SettingsDefineState", "ManagedElement", "SettingData"),
];

const GUESTS: [&str; 3] = ["a", "b", "c"];

/// For each association the guests that the host has there.
fn bonds() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let guests = subsequence(GUESTS.to_vec(), 0..=GUESTS.len());
    proptest::collection::vec(guests, BONDS.len())
}

fn bonded(bonds: &[Vec<&'static str>]) -> Operations {
    server(|registry| {
        let guests = GUESTS.map(|it| guest("KVM", it)).into();
        for shelf in [
            Shelf::new("KVM_HostSystem", vec![host("KVM")]),
            Shelf::new("KVM_ComputerSystem", guests),
        ] {
            registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
        }
        for ((class, host_role, guest_role), guests) in BONDS.into_iter().zip(bonds) {
            let links = guests.iter().map(|it| (host("KVM"), guest("KVM", it))).collect();
            let bond = Bond::new(
                class,
                (host_role, &["KVM_HostSystem"]),
                (guest_role, &["KVM_ComputerSystem"]),
                links,
            );
            registry.associate(Space::Virt, Arc::new(bond)).unwrap();
        }
    })
}

fn one_of(names: &'static [&'static str]) -> impl Strategy<Value = Option<CimName>> {
    proptest::option::of(proptest::sample::select(names).prop_map(name))
}

fn filters() -> impl Strategy<Value = AssociationFilter> {
    const ASSOCIATIONS: &[&str] = &[
        "CIM_Dependency",
        "CIM_HostedDependency",
        "CIM_HostedService",
        "kvm_hostedservice",
        "CIM_ServiceAffectsElement",
        "CIM_Component",
    ];
    const RESULTS: &[&str] =
        &["CIM_ManagedElement", "CIM_ComputerSystem", "KVM_HostSystem", "CIM_Job"];
    const ROLES: &[&str] = &["antecedent", "Dependent", "AffectedElement", "SettingData", "Nope"];
    (one_of(ASSOCIATIONS), one_of(RESULTS), one_of(ROLES), one_of(ROLES)).prop_map(
        |(association_class, result_class, role, result_role)| AssociationFilter {
            association_class,
            result_class,
            role,
            result_role,
        },
    )
}

/// The far objects (host is "vm") and the associations that a traversal finds.
fn reachable(
    bonds: &[Vec<&'static str>],
    source: &str,
    filter: &AssociationFilter,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut objects, mut associations) = (BTreeSet::new(), BTreeSet::new());
    for ((class, host_role, guest_role), guests) in BONDS.into_iter().zip(bonds) {
        for guest in guests {
            for (near, near_role, far, far_class, far_role) in [
                ("vm", host_role, *guest, "KVM_ComputerSystem", guest_role),
                (*guest, guest_role, "vm", "KVM_HostSystem", host_role),
            ] {
                let is = |class: &str, wanted: &Option<CimName>| {
                    wanted.as_ref().is_none_or(|wanted| is_below(&name(class), wanted))
                };
                let plays = |role: &str, wanted: &Option<CimName>| {
                    wanted.as_ref().is_none_or(|wanted| *wanted == *role)
                };
                if near == source
                    && is(class, &filter.association_class)
                    && is(far_class, &filter.result_class)
                    && plays(near_role, &filter.role)
                    && plays(far_role, &filter.result_role)
                {
                    objects.insert(far.to_owned());
                    associations.insert(format!("{class} {guest}"));
                }
            }
        }
    }
    (objects, associations)
}

fn object_name(path: &InstancePath) -> String {
    path.key(&name("Name")).and_then(|key| key.as_str()).expect("a name").to_owned()
}

fn association_name(path: &InstancePath) -> String {
    let ends = path.keys.iter().filter_map(|key| key.value.as_reference()?.instance());
    let guest = ends.map(object_name).find(|end| end != "vm").expect("a guest at one end");
    format!("{} {guest}", path.class)
}

fn named(objects: Vec<Object>, name: fn(&InstancePath) -> String) -> Vec<String> {
    let path = |object: Object| match object {
        Object::InstancePath(path) => name(&path),
        other => panic!("not a path: {other:?}"),
    };
    objects.into_iter().map(path).collect()
}

proptest! {
    #[test]
    fn traversals_find_what_the_filters_ask_for(
        bonds in bonds(),
        from_host in any::<bool>(),
        filter in filters(),
    ) {
        let (source, path) = match from_host {
            true => ("vm", host_path()),
            false => ("a", guest_path("a")),
        };
        let (objects_expected, associations_expected) = reachable(&bonds, source, &filter);
        let server = bonded(&bonds);
        let operation =
            Operation::AssociatorNames { object: path.clone().into(), filter: filter.clone() };
        let found = named(objects(runtime().block_on(run(&server, operation))), object_name);
        prop_assert_eq!(found.len(), objects_expected.len(), "{:?}", found);
        prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), objects_expected);
        // References have no filter on the far end.
        if filter.result_class.is_none() && filter.result_role.is_none() {
            let operation = Operation::ReferenceNames { object: path.into(), filter };
            let found = objects(runtime().block_on(run(&server, operation)));
            let found = named(found, association_name);
            prop_assert_eq!(found.len(), associations_expected.len(), "{:?}", found);
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), associations_expected);
        }
    }
}
