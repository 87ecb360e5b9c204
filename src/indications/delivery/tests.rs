//! Which subscriptions an event is for, and what of it.

mod sending;

use super::{
    Event,
    route::{Route, Routes},
};
use crate::{
    cim::{CimName, Instance, Namespace, ObjectPath, Value},
    indications::{
        self, DESTINATION, FILTER, FILTER_ROLE, HANDLER_ROLE, Identity, Objects, SUBSCRIPTION,
    },
    repository::Repository,
    store::ObjectKind,
};

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

fn keyed(class: CimName, title: &str) -> Instance {
    Instance::new(class)
        .with(name("SystemCreationClassName"), "CIM_ComputerSystem")
        .with(name("SystemName"), "h")
        .with(name("Name"), title)
}

fn filter(title: &str, language: &str, query: &str) -> Instance {
    keyed(FILTER, title).with(name("QueryLanguage"), language).with(name("Query"), query)
}

fn binding(filter: &Instance, destination: &Instance, state: u16) -> Instance {
    Instance::new(SUBSCRIPTION)
        .with(FILTER_ROLE, ObjectPath::from(Objects::path(filter)))
        .with(HANDLER_ROLE, ObjectPath::from(Objects::path(destination)))
        .with(name("SubscriptionState"), state)
}

fn put(objects: &Objects, kind: ObjectKind, instance: &Instance) -> Objects {
    objects.with(kind, Identity::of(instance).unwrap(), instance.clone())
}

/// A guest was paused.
fn event() -> Event {
    let guest = |state: u16| {
        Instance::new(name("KVM_ComputerSystem"))
            .with(name("Name"), "web")
            .with(name("EnabledState"), state)
    };
    let indication = Instance::new(name("KVM_ComputerSystemModifiedIndication"))
        .with(name("SourceInstance"), guest(9))
        .with(name("PreviousInstance"), guest(2))
        .with(name("IndicationIdentifier"), "u");
    let indication = indications::complete(indication, &Repository::builtin());
    Event { namespace: Namespace::parse("root/virt").unwrap(), indication }
}

/// Where the event goes.
fn matching(objects: &Objects) -> Vec<Route> {
    let routes = Routes::of(objects, &Routes::default());
    let (event, schema) = (event(), Repository::builtin());
    let passed = routes.filters().filter(|filter| filter.matches(&event, &schema));
    let passed: Vec<_> = passed.cloned().collect();
    routes.through(&passed).cloned().collect()
}

/// The titles of the filters that the event passes.
fn passing(objects: &Objects) -> Vec<String> {
    let routes = matching(objects);
    routes.iter().map(|route| route.subscription.filter_name().to_owned()).collect()
}

#[track_caller]
fn check(filter: Instance, passes: bool) {
    let destination = keyed(DESTINATION, "d");
    let objects = put(&Objects::default(), ObjectKind::Filter, &filter);
    let objects = put(&objects, ObjectKind::Destination, &destination);
    let objects = put(&objects, ObjectKind::Subscription, &binding(&filter, &destination, 2));
    assert_eq!(!passing(&objects).is_empty(), passes, "{filter:?}");
}

#[test]
fn classes_and_conditions_decide() {
    let own = "KVM_ComputerSystemModifiedIndication";
    let select = |from: &str, condition: &str| {
        filter("f", "WQL", &format!("SELECT * FROM {from} {condition}"))
    };
    check(select(own, ""), true);
    check(select("CIM_InstModification", ""), true);
    check(select("CIM_Indication", ""), true);
    check(select("CIM_InstCreation", ""), false);
    check(select("Xen_ComputerSystemModifiedIndication", ""), false);
    check(select(own, "WHERE SourceInstance ISA CIM_ComputerSystem"), true);
    check(select(own, "WHERE SourceInstance ISA CIM_ConcreteJob"), false);
    check(select(own, "WHERE SourceInstance.EnabledState <> PreviousInstance.EnabledState"), true);
    check(select(own, "WHERE SourceInstance.HealthState <> PreviousInstance.HealthState"), false);
    check(select(own, "WHERE SourceInstance.Name = \"web\""), true);
    check(
        filter("f", "DMTF:CQL", &format!("SELECT * FROM {own} WHERE SourceInstance.Name = 'x'")),
        false,
    );
    check(filter("f", "DMTF:FQL", "SourceInstance.EnabledState = 9"), true);
    check(filter("f", "DMTF:FQL", "SourceInstance.EnabledState = 2"), false);
    // The schema may have been another when it was made.
    check(filter("f", "WQL", "SELECT"), false);
}

#[test]
fn namespaces_decide() {
    let all = || filter("f", "WQL", "SELECT * FROM CIM_Indication");
    let several = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        all().with(name("SourceNamespaces"), names)
    };
    check(all(), true);
    check(several(&["root/cimv2", "ROOT/Virt"]), true);
    check(several(&["root/cimv2"]), false);
    check(all().with(name("SourceNamespace"), " root/virt\n"), true);
    check(all().with(name("SourceNamespace"), "root/interop"), false);
    // The newer property has the last word.
    check(several(&["root/cimv2"]).with(name("SourceNamespace"), "root/virt"), false);
}

#[test]
fn each_subscription_that_is_enabled_has_a_route() {
    let filters =
        ["a", "b"].map(|title| filter(title, "WQL", "SELECT * FROM CIM_InstModification"));
    let destinations = ["d", "e"].map(|title| keyed(DESTINATION, title));
    let mut objects = Objects::default();
    for filter in &filters {
        objects = put(&objects, ObjectKind::Filter, filter);
    }
    for destination in &destinations {
        objects = put(&objects, ObjectKind::Destination, destination);
    }
    assert_eq!(passing(&objects), [""; 0]);
    for (filter, destination, state) in [(0, 0, 2), (0, 1, 2), (1, 0, 4), (1, 1, 2)] {
        let bound = binding(&filters[filter], &destinations[destination], state);
        objects = put(&objects, ObjectKind::Subscription, &bound);
    }
    assert_eq!(passing(&objects), ["a", "a", "b"]);
}

#[test]
fn the_select_list_is_what_is_sent_and_the_sequence_comes_on_top() {
    let query = "SELECT SourceInstance.Name, IndicationIdentifier FROM CIM_InstModification";
    let filter = filter("f", "DMTF:CQL", query);
    let objects = put(&Objects::default(), ObjectKind::Filter, &filter);
    let destination = keyed(DESTINATION, "d");
    let objects = put(&objects, ObjectKind::Destination, &destination);
    let objects = put(&objects, ObjectKind::Subscription, &binding(&filter, &destination, 2));
    let sent = matching(&objects)[0].filter.select(&event(), &Repository::builtin());
    let names: Vec<&str> = sent.properties.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["IndicationIdentifier", "SourceInstance"]);
    let guest = sent.value(&name("SourceInstance")).and_then(Value::as_instance).unwrap();
    assert_eq!(guest.properties.len(), 1);
}
