//! Pulled enumerations.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::cim::{AssociationFilter, ListKind, OpenOptions};

const NAMES: &[&str] = &["a", "b", "c"];

fn open(max_object_count: u32) -> Operation {
    open_with(OpenOptions { max_object_count, ..OpenOptions::default() })
}

fn open_with(open: OpenOptions) -> Operation {
    Operation::OpenEnumerateInstances {
        class: name("CIM_ComputerSystem"),
        deep_inheritance: true,
        options: InstanceOptions::default(),
        open,
    }
}

fn pull(context: &str, max_object_count: u32) -> Operation {
    Operation::PullInstancesWithPath { context: context.to_owned(), max_object_count }
}

fn close(context: &str) -> Operation {
    Operation::CloseEnumeration { context: context.to_owned() }
}

/// The names of the objects, and the context if there is more.
#[track_caller]
fn pulled(reply: Result<Reply, CimError>) -> (Vec<String>, Option<String>) {
    match reply.expect("a reply") {
        Reply::Pulled { objects, context, .. } => {
            let text = |object| match object {
                Object::Instance(it) => {
                    it.value(&name("Name")).and_then(Value::as_str).unwrap_or("").to_owned()
                }
                Object::InstancePath(path) => {
                    path.string_key(&name("Name")).unwrap_or("").to_owned()
                }
                other => panic!("{other:?}"),
            };
            (objects.into_iter().map(text).collect(), context)
        }
        other => panic!("no pulled objects: {other:?}"),
    }
}

/// KVM guests only: the Xen shelf is empty and the host would be in the way.
fn guests() -> Operations {
    server(|registry| {
        let guests = NAMES.iter().map(|it| guest("KVM", it)).collect();
        registry.serve(Space::Virt, Arc::new(Shelf::new("KVM_ComputerSystem", guests))).unwrap();
    })
}

const GONE: (StatusCode, &str) = (StatusCode::InvalidEnumerationContext, "not open for this user");

#[tokio::test]
async fn objects_come_in_order_in_pieces_and_the_context_ends_with_them() {
    let server = guests();
    let (first, context) = pulled(run(&server, open(1)).await);
    let context = context.expect("there is more");
    let (second, more) = pulled(run(&server, pull(&context, 1)).await);
    assert_eq!(
        (first, second, more.as_deref()),
        (vec!["a".into()], vec!["b".into()], Some(context.as_str()))
    );
    assert_eq!(pulled(run(&server, pull(&context, 10)).await), (vec!["c".into()], None));
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
    fails(run(&server, close(&context)).await, GONE.0, GONE.1);
}

#[tokio::test]
async fn no_objects_may_be_asked_for_and_all_may_come_at_once() {
    let server = guests();
    let (none, context) = pulled(run(&server, open(0)).await);
    let context = context.expect("there is more");
    assert!(none.is_empty());
    assert!(pulled(run(&server, pull(&context, 0)).await).0.is_empty());
    assert_eq!(pulled(run(&server, pull(&context, 3)).await).0.len(), 3);
    assert_eq!(
        pulled(run(&server, open(100)).await),
        (vec!["a".into(), "b".into(), "c".into()], None)
    );
}

#[tokio::test]
async fn a_context_is_for_one_user_one_namespace_and_one_kind_of_pull() {
    let server = guests();
    let context = pulled(run(&server, open(0)).await).1.expect("there is more");
    let paths = Operation::PullInstancePaths { context: context.clone(), max_object_count: 1 };
    fails(run(&server, paths).await, GONE.0, GONE.1);
    fails(run_in(&server, "root/interop", pull(&context, 1)).await, GONE.0, GONE.1);
    let mut other = super::context(Role::Admin);
    other.principal.name = "other".to_owned();
    for operation in [
        pull(&context, 1),
        close(&context),
        Operation::EnumerationCount { context: context.clone() },
    ] {
        let request = Request { namespace: namespace("root/virt"), operation };
        fails(server.execute(&other, request).await.collect().await, GONE.0, GONE.1);
    }
    for nonsense in ["", "1", "\u{1F600}", &context[1..]] {
        fails(run(&server, pull(nonsense, 1)).await, GONE.0, GONE.1);
    }
    assert_eq!(
        run(&server, Operation::EnumerationCount { context: context.clone() }).await,
        Ok(Reply::Count(None))
    );
    assert_eq!(run(&server, close(&context)).await, Ok(Reply::Void));
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
}

#[tokio::test(start_paused = true)]
async fn a_context_expires_unless_it_is_asked_again_in_time() {
    let server = guests();
    let options = OpenOptions { operation_timeout: Some(10), ..OpenOptions::default() };
    let context = pulled(run(&server, open_with(options)).await).1.expect("there is more");
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(pulled(run(&server, pull(&context, 0)).await).1.is_some());
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
}

#[tokio::test(start_paused = true)]
async fn an_expired_context_frees_its_place_without_being_asked_for() {
    let server = guests();
    for _ in 0..PullLimits::default().contexts_per_user {
        assert!(pulled(run(&server, open(0)).await).1.is_some());
    }
    let text = "64 are allowed for one user";
    fails(run(&server, open(0)).await, StatusCode::ServerLimitsExceeded, text);
    tokio::time::sleep(PullLimits::default().default_timeout + Duration::from_millis(1)).await;
    assert!(pulled(run(&server, open(0)).await).1.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_context_is_not_kept_open_for_ever_by_pulls_of_nothing() {
    let server = guests();
    let (_, context) = pulled(run(&server, open(0)).await);
    let context = context.expect("there is more");
    let idle = |count| {
        let (server, context) = (&server, &context);
        async move {
            for _ in 0..count {
                assert_eq!(pulled(run(server, pull(context, 0)).await).0, [""; 0]);
            }
        }
    };
    let exceeded = (StatusCode::ServerLimitsExceeded, "1000 pulls asked for no objects");
    idle(PullLimits::default().empty).await;
    fails(run(&server, pull(&context, 0)).await, exceeded.0, exceeded.1);
    // Whoever takes something may wait again.
    assert_eq!(pulled(run(&server, pull(&context, 1)).await).0, ["a"]);
    idle(PullLimits::default().empty).await;
    tokio::time::advance(Duration::from_secs(40)).await;
    fails(run(&server, pull(&context, 0)).await, exceeded.0, exceeded.1);
    tokio::time::advance(Duration::from_secs(40)).await;
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
}

#[tokio::test]
async fn what_an_open_operation_cannot_have_is_refused() {
    let server = guests();
    let check = async |options: OpenOptions, status, text| {
        fails(run(&server, open_with(options)).await, status, text);
    };
    let timeout =
        |seconds| OpenOptions { operation_timeout: Some(seconds), ..OpenOptions::default() };
    check(timeout(0), StatusCode::InvalidOperationTimeout, "allowed are 1 to 600 s").await;
    check(timeout(601), StatusCode::InvalidOperationTimeout, "OperationTimeout is 601 s").await;
    let go_on = OpenOptions { continue_on_error: true, ..OpenOptions::default() };
    check(go_on, StatusCode::ContinuationOnErrorNotSupported, "ContinueOnError").await;
    let filter = |language: Option<&str>, filter: Option<&str>| OpenOptions {
        filter_language: language.map(str::to_owned),
        filter: filter.map(str::to_owned),
        ..OpenOptions::default()
    };
    let pair = "go together";
    check(filter(Some("DMTF:FQL"), None), StatusCode::InvalidParameter, pair).await;
    check(filter(None, Some("Name = 'a'")), StatusCode::InvalidParameter, pair).await;
    let language = StatusCode::QueryLanguageNotSupported;
    check(filter(Some("DMTF:CQL"), Some("Name = 'a'")), language, "`DMTF:CQL`").await;
    check(filter(Some("DMTF:FQL"), Some("Name = ")), StatusCode::InvalidQuery, "at character")
        .await;
    let unknown = Operation::OpenEnumerateInstancePaths {
        class: name("KVM_Nope"),
        open: OpenOptions::default(),
    };
    fails(run(&server, unknown).await, StatusCode::InvalidClass, "KVM_Nope");
}

#[tokio::test]
async fn a_filter_picks_instances_and_paths() {
    let server = guests();
    let filter = |text: &str| OpenOptions {
        filter_language: Some("DMTF:FQL".to_owned()),
        filter: Some(text.to_owned()),
        max_object_count: 10,
        ..OpenOptions::default()
    };
    let found = pulled(run(&server, open_with(filter("Name <> 'b' AND EnabledState = 3"))).await);
    assert_eq!(found, (vec!["a".into(), "c".into()], None));
    // A default that the provider left to the class counts.
    let found = pulled(run(&server, open_with(filter("EnabledDefault = 2 AND Name = 'a'"))).await);
    assert_eq!(found.0, ["a"]);
    let class = name("CIM_ComputerSystem");
    let paths = Operation::OpenEnumerateInstancePaths { class, open: filter("Name = 'c'") };
    assert_eq!(pulled(run(&server, paths).await).0, ["c"]);
}

#[tokio::test]
async fn associations_are_pulled_too() {
    let (host, a) = (host("KVM"), guest("KVM", "a"));
    let server = server(|registry| {
        let links = vec![(a.clone(), host.clone())];
        let bond = Bond::new(
            "KVM_HostedDependency",
            ("Antecedent", &["KVM_ComputerSystem"]),
            ("Dependent", &["KVM_HostSystem"]),
            links,
        );
        registry
            .serve(Space::Virt, Arc::new(Shelf::new("KVM_HostSystem", vec![host.clone()])))
            .unwrap();
        registry
            .serve(Space::Virt, Arc::new(Shelf::new("KVM_ComputerSystem", vec![a.clone()])))
            .unwrap();
        registry.associate(Space::Virt, Arc::new(bond)).unwrap();
    });
    let open = OpenOptions { max_object_count: 5, ..OpenOptions::default() };
    let (path, filter, options) =
        (guest_path("a"), AssociationFilter::default(), InstanceOptions::default());
    let operation = Operation::OpenAssociatorInstances { path, filter, options, open };
    assert_eq!(pulled(run(&server, operation).await), (vec!["vm".into()], None));

    // A source that does not exist is told even where nothing could be found from it.
    let none = AssociationFilter { role: Some(name("Nope")), ..AssociationFilter::default() };
    let references = |path, filter: &AssociationFilter| {
        let (filter, open) = (filter.clone(), OpenOptions::default());
        Operation::OpenReferenceInstancePaths { path, filter, open }
    };
    assert_eq!(pulled(run(&server, references(guest_path("a"), &none)).await), (vec![], None));
    for filter in [none, AssociationFilter::default()] {
        let missing = run(&server, references(guest_path("x"), &filter)).await;
        fails(missing, StatusCode::NotFound, "No such instance");
    }
}

/// Has one instance, then none and no end.
struct Endless(CimName);

impl InstanceProvider for Endless {
    fn class(&self) -> &CimName {
        &self.0
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            sink.put(guest("KVM", "a")).await?;
            std::future::pending().await
        })
    }

    fn get<'a>(&'a self, _: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }
}

#[tokio::test]
async fn closing_a_context_abandons_a_pull_that_waits() {
    let class = name("KVM_ComputerSystem");
    let server = server(|registry| registry.serve(Space::Virt, Arc::new(Endless(class))).unwrap());
    let context = pulled(run(&server, open(1)).await).1.expect("there is more");
    // The pull is polled first and waits, for there is nothing to have.
    let (waited, closed) =
        tokio::join!(run(&server, pull(&context, 1)), run(&server, close(&context)));
    assert_eq!(closed, Ok(Reply::Void));
    fails(waited, StatusCode::PullHasBeenAbandoned, "closed during the pull");
    tokio::join!(server.close());
}

#[tokio::test]
async fn an_error_in_the_middle_ends_the_sequence() {
    let server = server(|registry| {
        let shelf = Shelf::new("KVM_ComputerSystem", vec![guest("KVM", "a")]);
        let shelf = shelf.failing(ProviderError::Failed("broken".to_owned()));
        registry.serve(Space::Virt, Arc::new(shelf)).unwrap();
    });
    let (first, context) = pulled(run(&server, open(1)).await);
    assert_eq!(first, ["a"]);
    let context = context.expect("not known to be at the end");
    fails(run(&server, pull(&context, 1)).await, StatusCode::Failed, "broken");
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
}

#[tokio::test]
async fn a_query_is_pulled_with_its_result_class() {
    let open = OpenOptions {
        filter_language: Some("DMTF:CQL".to_owned()),
        filter: Some("SELECT Name FROM KVM_ComputerSystem WHERE Name > 'a'".to_owned()),
        max_object_count: 9,
        ..OpenOptions::default()
    };
    let operation = Operation::OpenQueryInstances { return_query_result_class: true, open };
    match run(&guests(), operation).await.expect("a reply") {
        Reply::Pulled {
            kind: ListKind::Instances,
            objects,
            context: None,
            query_result_class: Some(class),
        } => {
            assert_eq!((objects.len(), class.name.as_str()), (2, "KVM_ComputerSystem"));
            // It describes the objects that are there: what was selected, and nothing else.
            let [Object::Instance(first), _] = objects.as_slice() else { panic!("{objects:?}") };
            assert_eq!(shown(first), ["Name"]);
            let declared: Vec<_> = class.properties.iter().map(|it| it.name.as_str()).collect();
            assert_eq!(declared, ["Name"]);
            assert!(class.methods.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pull_that_waited_for_the_last_objects_comes_too_late() {
    let server = guests();
    let context = pulled(run(&server, open(0)).await).1.expect("nothing was taken");
    let (first, second) =
        tokio::join!(run(&server, pull(&context, 10)), run(&server, pull(&context, 10)));
    assert_eq!(pulled(first), (vec!["a".into(), "b".into(), "c".into()], None));
    fails(second, GONE.0, GONE.1);
}

#[tokio::test]
async fn a_client_that_hangs_up_loses_what_it_was_about_to_get() {
    let class = name("KVM_ComputerSystem");
    let server = server(|registry| registry.serve(Space::Virt, Arc::new(Endless(class))).unwrap());
    let hang_up = async |operation| {
        let ctx = context(Role::Viewer);
        let request = Request { namespace: namespace("root/virt"), operation };
        let (answer, ()) =
            tokio::join!(server.execute(&ctx, request), async { ctx.cancelled.cancel() });
        fails(answer.collect().await, StatusCode::Failed, "the client has gone");
    };
    // Nothing was taken for this one: the next pull misses nothing.
    let context = pulled(run(&server, open(1)).await).1.expect("there is more");
    hang_up(pull(&context, 1)).await;
    assert_eq!(run(&server, close(&context)).await, Ok(Reply::Void));
    // This one had the first object and waited for the second.
    let context = pulled(run(&server, open(0)).await).1.expect("there is more");
    hang_up(pull(&context, 2)).await;
    fails(run(&server, pull(&context, 1)).await, GONE.0, GONE.1);
    // Nobody knows a context whose opener has gone, so it takes no place.
    let all = PullLimits::default().contexts_per_user;
    for _ in 0..=all {
        hang_up(open(2)).await;
    }
    pulled(run(&server, open(1)).await);
}

/// Counts how often it is searched.
struct Searched {
    class: CimName,
    searches: AtomicUsize,
}

impl InstanceProvider for Searched {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            self.searches.fetch_add(1, Ordering::Relaxed);
            sink.put(guest("KVM", "a")).await?;
            sink.put(guest("KVM", "b")).await
        })
    }

    fn get<'a>(&'a self, _: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }
}

#[tokio::test]
async fn an_enumeration_too_many_costs_no_search() {
    let searched =
        Arc::new(Searched { class: name("KVM_ComputerSystem"), searches: AtomicUsize::new(0) });
    let mut registry = Registry::default();
    registry.serve(Space::Virt, Arc::clone(&searched) as Arc<_>).unwrap();
    let pull = PullLimits { contexts_per_user: 1, ..PullLimits::default() };
    let limits = Limits { pull, ..Limits::default() };
    let server = Operations::new(Repository::builtin(), registry, limits);
    let context = pulled(run(&server, open(1)).await).1.expect("there is more");
    let full = "1 enumerations are open: 1 are allowed for one user";
    fails(run(&server, open(1)).await, StatusCode::ServerLimitsExceeded, full);
    assert_eq!(searched.searches.load(Ordering::Relaxed), 1);
    // What is refused or ends at once leaves the place it was given.
    assert_eq!(run(&server, close(&context)).await, Ok(Reply::Void));
    let unknown = Operation::OpenEnumerateInstancePaths {
        class: name("KVM_Nope"),
        open: OpenOptions::default(),
    };
    fails(run(&server, unknown).await, StatusCode::InvalidClass, "KVM_Nope");
    for _ in 0..3 {
        assert_eq!(pulled(run(&server, open(9)).await), (vec!["a".into(), "b".into()], None));
    }
}
