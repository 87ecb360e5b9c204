//! ExecQuery.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::cim::OpenOptions;

fn query(language: &str, query: &str) -> Operation {
    Operation::ExecQuery { language: language.to_owned(), query: query.to_owned() }
}

#[tokio::test]
async fn a_query_finds_instances_of_subclasses_with_their_paths() {
    let server = kvm(&["a", "b"]);
    let found = paths(
        run(&server, query("WQL", "SELECT * FROM CIM_ComputerSystem WHERE Name = 'b'")).await,
    );
    let expected = "//vm:5988/root/virt:KVM_ComputerSystem.CreationClassName=\"KVM_ComputerSystem\",Name=\"b\"";
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn a_select_list_leaves_nothing_else() {
    let server = kvm(&["a"]);
    let text = "SELECT Name, EnabledState FROM KVM_ComputerSystem";
    match &objects(run(&server, query("DMTF:CQL", text)).await)[..] {
        [Object::Instance(instance)] => assert_eq!(shown(instance), ["Name", "EnabledState"]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused_with_the_place() {
    let server = kvm(&["a"]);
    let check = async |language, text, status, part| {
        fails(run(&server, query(language, text)).await, status, part)
    };
    check("SQL", "SELECT 1", StatusCode::QueryLanguageNotSupported, "`SQL`").await;
    check("WQL", "SELECT * FRM x", StatusCode::InvalidQuery, "found `FRM`").await;
    check("WQL", "SELECT * FROM KVM_Nope", StatusCode::InvalidQuery, "KVM_Nope").await;
    let text = "SELECT * FROM KVM_ComputerSystem WHERE Nope = 1";
    check("DMTF:CQL", text, StatusCode::InvalidQuery, "Nope").await;
}

/// Guests without end. Gives up if nobody stops it, for a test should fail rather than hang.
struct Crowd {
    class: CimName,
    left: AtomicUsize,
}

impl InstanceProvider for Crowd {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            while self.left.fetch_sub(1, Ordering::Relaxed) > 1 {
                sink.put(guest("KVM", "a")).await?;
            }
            Err(ProviderError::Failed("nobody stopped the search".to_owned()))
        })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }
}

fn crowd() -> Operations {
    let crowd = Crowd { class: name("KVM_ComputerSystem"), left: AtomicUsize::new(100_000) };
    server(|registry| registry.serve(Space::Virt, Arc::new(crowd)).unwrap())
}

/// Searches that find nothing and do not end.
fn searches() -> [Operation; 3] {
    let text = "SELECT * FROM CIM_ComputerSystem WHERE Name = 'b'";
    let open = |language: &str, filter: &str| OpenOptions {
        filter_language: Some(language.to_owned()),
        filter: Some(filter.to_owned()),
        max_object_count: 1,
        ..OpenOptions::default()
    };
    [
        query("WQL", text),
        Operation::OpenQueryInstances {
            return_query_result_class: false,
            open: open("DMTF:CQL", text),
        },
        Operation::OpenEnumerateInstancePaths {
            class: name("CIM_ComputerSystem"),
            open: open("DMTF:FQL", "Name = 'b'"),
        },
    ]
}

#[tokio::test]
async fn a_search_ends_when_its_caller_hangs_up() {
    for operation in searches() {
        let (server, ctx) = (crowd(), context(Role::Viewer));
        let request = Request { namespace: namespace("root/virt"), operation };
        // That the second gets its turn while the first goes on is the other half of the test.
        let (answer, ()) =
            tokio::join!(server.execute(&ctx, request), async { ctx.cancelled.cancel() });
        fails(answer.collect().await, StatusCode::Failed, "the client has gone");
        server.close().await;
    }
}

#[tokio::test]
async fn a_search_ends_with_the_server() {
    for operation in searches() {
        let server = crowd();
        let (answer, ()) = tokio::join!(run(&server, operation), server.close());
        fails(answer, StatusCode::ServerIsShuttingDown, "shutting down");
    }
}

#[tokio::test]
async fn what_cannot_be_judged_within_bounds_is_not_just_left_out() {
    let name = name("KVM_ComputerSystem");
    let long = guest("KVM", "a").with(CimName::literal("Description"), "a".repeat(1 << 20));
    let server = server(|registry| {
        registry.serve(Space::Virt, Arc::new(Shelf::new(name.as_str(), vec![long]))).unwrap();
    });
    let text = "SELECT * FROM CIM_ComputerSystem WHERE Description LIKE '(a*){600}x'";
    let answer = run(&server, query("DMTF:CQL", text)).await;
    fails(answer, StatusCode::Failed, "too long texts for the query's LIKE patterns");
}
