//! The rules, against a real store.

use std::path::Path;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::*;
use crate::{
    cim::{ObjectPath, Property},
    repository::Repository,
    store::Store,
};

fn name(text: &str) -> CimName {
    CimName::parse(text).unwrap()
}

struct World {
    subscriptions: Subscriptions,
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl World {
    async fn open(directory: &Path) -> Self {
        Self::limited(directory, Limits::default()).await
    }

    async fn limited(directory: &Path, limits: Limits) -> Self {
        let store = Store::open(&directory.join("store.db")).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let delivery = DeliveryOptions::default();
        let options = Options { system: "host.example".to_owned(), limits, delivery };
        let schema = Repository::builtin();
        let started =
            Subscriptions::start(store.clone(), schema, options, &tasks, stop.clone()).await;
        Self { subscriptions: started.unwrap(), store, tasks, stop }
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }

    async fn make(&self, instance: Instance) -> InstancePath {
        let made = self.subscriptions.create(instance).await.unwrap();
        Objects::path(&made)
    }

    async fn refused(&self, instance: Instance) -> String {
        self.subscriptions.create(instance).await.unwrap_err().to_string()
    }
}

fn filter(title: &str) -> Instance {
    Instance::new(FILTER)
        .with(name("Name"), title)
        .with(name("QueryLanguage"), "WQL")
        .with(name("Query"), "SELECT * FROM CIM_InstModification")
}

fn destination(title: &str) -> Instance {
    Instance::new(DESTINATION)
        .with(name("Name"), title)
        .with(name("Destination"), "http://127.0.0.1:5990")
}

fn binding(filter: &InstancePath, destination: &InstancePath) -> Instance {
    Instance::new(SUBSCRIPTION)
        .with(name("Filter"), ObjectPath::from(filter.clone()))
        .with(name("Handler"), ObjectPath::from(destination.clone()))
}

fn text<'i>(instance: &'i Instance, property: &str) -> &'i str {
    instance.value(&name(property)).and_then(Value::as_str).unwrap_or("NULL")
}

#[tokio::test]
async fn keys_and_defaults_are_filled_in_and_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let filter = world.make(filter(" f ")).await;
    let destination = world.make(destination("d")).await;
    world.make(binding(&filter, &destination)).await;
    let before = world.subscriptions.objects();
    world.close().await;

    let world = World::open(directory.path()).await;
    let after = world.subscriptions.objects();
    let kept = after.at(&filter).unwrap();
    assert_eq!(kept.properties.len(), before.at(&filter).unwrap().properties.len());
    assert_eq!(text(kept, "Name"), "f", "blanks around a key are not part of it");
    assert_eq!(text(kept, "SystemName"), "host.example");
    assert_eq!(text(kept, "SystemCreationClassName"), "CIM_ComputerSystem");
    assert_eq!(text(kept, "CreationClassName"), "CIM_IndicationFilter");
    let listener = after.at(&destination).unwrap();
    assert_eq!(number(listener, "PersistenceType"), Some(2));
    let bound: Vec<_> = after.subscriptions_of(kept, &FILTER_ROLE).collect();
    assert_eq!(bound.len(), 1);
    assert_eq!(bound[0].0, destination);
    let back: Vec<_> = after.subscriptions_of(listener, &HANDLER_ROLE).collect();
    assert_eq!(back[0].0, filter);
    world.close().await;
}

#[tokio::test]
async fn a_subscription_says_whether_it_is_enabled_and_since_when() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let filter = world.make(filter("f")).await;
    let destination = world.make(destination("d")).await;
    let path = world.make(binding(&filter, &destination)).await;
    let state = |world: &World| {
        let objects = world.subscriptions.objects();
        let (_, properties) =
            objects.subscriptions_of(objects.at(&filter).unwrap(), &FILTER_ROLE).next().unwrap();
        let find = |it: &str| properties.iter().find(|(property, _)| *property == name(it));
        let state = find("SubscriptionState").and_then(|(_, value)| value.as_integer());
        (state, find("TimeOfLastStateChange").cloned())
    };
    let (asked, began) = state(&world);
    assert_eq!(asked, Some(2));
    let info = Instance::new(SUBSCRIPTION).with(name("SubscriptionInfo"), "x");
    world.subscriptions.modify(path.clone(), info.properties).await.unwrap();
    assert_eq!(state(&world).1, began, "the state did not change");
    let objects = world.subscriptions.objects();
    let subscription = objects.subscriptions().next().unwrap().1;
    world.subscriptions.disable(subscription).await.unwrap();
    let (asked, changed) = state(&world);
    assert_eq!(asked, Some(4));
    assert_ne!(began, changed);
    world.subscriptions.remove(subscription).await.unwrap();
    assert!(world.subscriptions.objects().at(&destination).is_some(), "it is permanent");
    world.close().await;
}

#[tokio::test]
async fn a_transient_destination_goes_with_its_last_subscription() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let transient = destination("d").with(name("PersistenceType"), 3_u16);
    let destination = world.make(transient).await;
    for title in ["f", "g"] {
        let filter = world.make(filter(title)).await;
        world.make(binding(&filter, &destination)).await;
    }
    for left in [true, false] {
        let objects = world.subscriptions.objects();
        let (_, subscription) = objects.subscriptions().next().unwrap();
        world.store.refuse_writes(true).await;
        world.subscriptions.remove(subscription).await.unwrap_err();
        let unchanged = world.subscriptions.objects();
        assert!(unchanged.at(&destination).is_some() && unchanged.subscriptions().next().is_some());
        world.store.refuse_writes(false).await;
        world.subscriptions.remove(subscription).await.unwrap();
        assert_eq!(world.subscriptions.objects().at(&destination).is_some(), left);
        let stored = world.store.objects(ObjectKind::Destination).await.unwrap();
        assert_eq!(!stored.is_empty(), left);
    }
    world.close().await;
}

#[tokio::test]
async fn what_is_subscribed_to_stays() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let filter = world.make(filter("f")).await;
    let destination = world.make(destination("d")).await;
    let bound = world.make(binding(&filter, &destination)).await;
    for path in [&filter, &destination] {
        let error = world.subscriptions.delete(path.clone()).await.unwrap_err();
        assert!(matches!(error, SubscriptionError::InUse { subscriptions: 1, .. }), "{error}");
        assert!(error.to_string().contains(&path.to_string()), "{error}");
    }
    assert!(world.refused(binding(&filter, &destination)).await.contains("exists already"));
    for path in [bound.clone(), filter.clone(), destination.clone()] {
        world.subscriptions.delete(path).await.unwrap();
    }
    for path in [bound, filter, destination] {
        let error = world.subscriptions.delete(path).await.unwrap_err();
        assert!(matches!(error, SubscriptionError::NoInstance), "{error}");
    }
    world.close().await;
}

#[tokio::test]
async fn a_change_follows_the_same_rules_and_leaves_what_was_if_refused() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let path = world.make(filter("f")).await;
    let to = |query: &str| -> Vec<Property> {
        Instance::new(FILTER).with(name("Query"), query).properties
    };
    let query =
        |world: &World| text(world.subscriptions.objects().at(&path).unwrap(), "Query").to_owned();
    world.subscriptions.modify(path.clone(), to("SELECT * FROM CIM_InstDeletion")).await.unwrap();
    assert_eq!(query(&world), "SELECT * FROM CIM_InstDeletion");
    world.subscriptions.modify(path.clone(), to("SELECT * FRO")).await.unwrap_err();
    assert_eq!(query(&world), "SELECT * FROM CIM_InstDeletion");
    world.close().await;
}

#[tokio::test]
async fn each_limit_has_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { filters: 2, destinations: 1, subscriptions: 1, ..Limits::default() };
    let world = World::limited(directory.path(), limits).await;
    let first = world.make(filter("f1")).await;
    let second = world.make(filter("f2")).await;
    let listener = world.make(destination("d")).await;
    world.make(binding(&first, &listener)).await;
    assert!(world.refused(filter("f3")).await.contains("max-filters"));
    assert!(world.refused(destination("d2")).await.contains("max-destinations"));
    assert!(world.refused(binding(&second, &listener)).await.contains("max-subscriptions"));
    world.subscriptions.delete(second).await.unwrap();
    world.make(filter("f3")).await;
    world.close().await;
}

/// What is refused, each with the property that is the cause.
#[tokio::test]
async fn what_is_wrong_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let f = world.make(filter("f")).await;
    let d = world.make(destination("d")).await;
    let nowhere = Objects::path(&{
        let mut nowhere = filter("nowhere");
        complete_keys(&mut nowhere, "host.example").unwrap();
        nowhere
    });
    let wrong = [
        (Instance::new(FILTER), "property Name"),
        (filter(" "), "property Name"),
        (filter("a\nb"), "Name has at most"),
        (filter(&"x".repeat(257)), "Name has at most"),
        (filter("x").with(name("CreationClassName"), "CIM_Other"), "CreationClassName names"),
        (filter("x").with(name("Query"), ""), "property Query"),
        (filter("x").with(name("QueryLanguage"), "SQL"), "`SQL` is not supported"),
        (filter("x").with(name("Query"), "SELECT * FRO x"), "Query: at character 10"),
        (filter("x").with(name("Query"), "SELECT * FROM CIM_Nope"), "CIM_Nope"),
        (
            filter("x").with(name("Query"), "SELECT * FROM CIM_System"),
            "CIM_System is no indication",
        ),
        (filter("x").with(name("Query"), "SELECT Nope FROM CIM_InstCreation"), "`Nope`"),
        (filter("x").with(name("TemplateVariable"), vec!["a".to_owned()]), "TemplateVariable"),
        (filter("x").with(name("IndividualSubscriptionSupported"), false), "Individual"),
        (destination("x").with(name("Destination"), "ftp://x"), "Destination must begin"),
        (destination("x").with(name("Destination"), "http://h"), "indications.allow-cleartext"),
        (destination("x").with(name("PersistenceType"), 9_u16), "PersistenceType is 1"),
        (destination("x").with(name("PersistenceType"), 1_u16), "OtherPersistenceType"),
        (destination("x").with(name("Protocol"), 4_u16), "Protocol"),
        (destination("x").with(name("password"), "s"), "password is not supported"),
        (Instance::new(DESTINATION).with(name("Name"), "x"), "property Destination"),
        (Instance::new(SUBSCRIPTION), "property Filter"),
        (binding(&nowhere, &d), "Filter not found: "),
        (binding(&d, &f), "Filter not found: "),
        (binding(&f, &f), "Handler not found: "),
        (binding(&f, &d).with(name("SubscriptionState"), 3_u16), "SubscriptionState is 2"),
        (binding(&f, &d).with(name("SubscriptionDuration"), 60_u64), "SubscriptionDuration"),
        (binding(&f, &d).with(name("OnFatalErrorPolicy"), 1_u16), "OnFatalErrorPolicy is 2"),
        (binding(&f, &d).with(name("RepeatNotificationPolicy"), 3_u16), "RepeatNotification"),
        (binding(&f, &d).with(name("AlertOnStateChange"), true), "AlertOnStateChange"),
    ];
    for (instance, words) in wrong {
        let shown = format!("{instance:?}");
        let error = world.refused(instance).await;
        assert!(error.contains(words), "{error:?} should name {words:?} for {shown}");
    }
    assert!(world.refused(filter("f")).await.contains("Name=\"f\" exists already"));
    let long = filter("long").with(name("Description"), "&".repeat(60_000));
    assert!(world.refused(long).await.contains("as XML; at most"));
    world.close().await;
}

#[tokio::test]
async fn languages_of_filters() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(directory.path()).await;
    let about_jobs = "SELECT * FROM KVM_ComputerSystemMigrationJobModifiedIndication WHERE \
        SourceInstance ISA KVM_MigrationJob AND \
        SourceInstance.JobState <> PreviousInstance.JobState";
    let said = [
        ("wql", " SELECT * FROM CIM_Indication\n"),
        ("DMTF:CQL", about_jobs),
        ("CIM:CQL", about_jobs),
        ("DMTF:FQL", "IndicationTime <> NULL"),
    ];
    for (index, (language, query)) in said.into_iter().enumerate() {
        let filter = filter(&index.to_string())
            .with(name("QueryLanguage"), language)
            .with(name("Query"), query);
        world.make(filter).await;
    }
    world.close().await;
}
