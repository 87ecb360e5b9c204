//! Queries that cost as much as a query may, over guests without end: others are answered meanwhile, and
//! the search ends with its caller or with the server.

use std::{fs, sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::watch};
use virtcimd::{
    cim::{CimName, Instance, InstanceOptions, InstancePath, OpenOptions, Operation},
    http::Server,
    ops::{self, InstanceProvider, Operations, Outcome, PullLimits, Registry, Sink, Space},
    repository::Repository,
};

use super::{
    http_support::{Client, soon},
    model_support::{message, name, serve_operations},
};

const GUEST: &str = "KVM_ComputerSystem";

/// Guests without end, of which the first few are called `wanted`.
struct Crowd {
    class: CimName,
    wanted: usize,
    /// How many searches go on.
    searches: watch::Sender<usize>,
}

/// Counts a search until it is dropped.
struct Searching<'a>(&'a watch::Sender<usize>);

impl Drop for Searching<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Crowd {
    async fn searches(&self, count: usize) {
        let mut searches = self.searches.subscribe();
        soon(searches.wait_for(|searches| *searches == count)).await.unwrap();
    }
}

fn guest(name_of_it: &str) -> Instance {
    Instance::new(name(GUEST))
        .with(name("CreationClassName"), GUEST)
        .with(name("Name"), name_of_it)
        .with(name("Description"), "a".repeat(300))
}

impl InstanceProvider for Crowd {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            self.searches.send_modify(|count| *count += 1);
            let _searching = Searching(&self.searches);
            for index in 0.. {
                sink.put(guest(if index < self.wanted { "wanted" } else { "other" })).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Ok(guest("other")) })
    }
}

struct House {
    crowd: Arc<Crowd>,
    operations: Operations,
    server: Server,
    address: std::net::SocketAddr,
}

async fn start(wanted: usize) -> House {
    let crowd = Crowd { class: name(GUEST), wanted, searches: watch::Sender::new(0) };
    let crowd = Arc::new(crowd);
    let mut registry = Registry::default();
    registry.serve(Space::Virt, Arc::clone(&crowd) as Arc<_>).unwrap();
    let operations = Operations::new(Repository::builtin(), registry, ops::Limits::default());
    let (server, address) = serve_operations(operations.clone()).await;
    House { crowd, operations, server, address }
}

impl House {
    /// Asks on a connection of its own, which is there as long as the client.
    async fn ask(&self, operation: &Operation) -> Client<TcpStream> {
        let mut client = Client::new(TcpStream::connect(self.address).await.unwrap());
        client.send(message(operation, &[])).await;
        client
    }
}

/// A condition that takes nearly all that a query may, and holds for `wanted` alone, at once.
fn condition() -> String {
    let patterns = ["Description LIKE '(.?){600}x'"; 3].join(" OR ");
    let names = vec!["Name = 'nobody'"; 900].join(" OR ");
    format!("Name = 'wanted' OR {patterns} OR {names}")
}

fn exec_query(condition: &str) -> Operation {
    let query = format!("SELECT * FROM {GUEST} WHERE {condition}");
    Operation::ExecQuery { language: "DMTF:CQL".to_owned(), query }
}

fn open(language: &str, filter: String) -> OpenOptions {
    OpenOptions {
        filter_language: Some(language.to_owned()),
        filter: Some(filter),
        max_object_count: 1,
        operation_timeout: Some(600),
        ..OpenOptions::default()
    }
}

fn open_query(condition: &str) -> Operation {
    let open = open("DMTF:CQL", format!("SELECT * FROM {GUEST} WHERE {condition}"));
    Operation::OpenQueryInstances { return_query_result_class: false, open }
}

fn open_instances(condition: &str) -> Operation {
    Operation::OpenEnumerateInstances {
        class: name(GUEST),
        deep_inheritance: true,
        options: InstanceOptions::default(),
        open: open("DMTF:FQL", condition.to_owned()),
    }
}

/// All three, twice.
async fn six_searches(house: &House) -> Vec<Client<TcpStream>> {
    let condition = condition();
    let mut clients = Vec::new();
    for ask in [exec_query, open_query, open_instances] {
        clients.push(house.ask(&ask(&condition)).await);
        clients.push(house.ask(&ask(&condition)).await);
    }
    house.crowd.searches(6).await;
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_while_heavy_queries_run_and_these_end_with_their_callers() {
    let house = start(0).await;
    let searching = six_searches(&house).await;
    let keys = [("CreationClassName", GUEST), ("Name", "other")];
    let path = InstancePath::new(name(GUEST), keys.map(|(key, value)| (name(key), value)));
    let get = Operation::GetInstance { path, options: InstanceOptions::default() };
    let answered = house.ask(&get).await.answer().await;
    assert!(answered.text().contains("<VALUE>other</VALUE>"), "{answered:?}");
    drop(searching);
    house.crowd.searches(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_ends_with_its_caller_however_far_its_answer_is() {
    // Nothing was found; something, but not enough to send; the first bytes were sent.
    for wanted in [0, 1, 300] {
        let house = start(wanted).await;
        let mut client = house.ask(&exec_query(&condition())).await;
        house.crowd.searches(1).await;
        if wanted == 300 {
            client.answer_head().await;
        }
        drop(client);
        house.crowd.searches(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_stops_while_heavy_queries_run() {
    let house = start(0).await;
    let _searching = six_searches(&house).await;
    soon(async {
        assert!(!house.server.stop(Duration::from_millis(100)).await, "they are cut off");
        house.operations.close().await;
    })
    .await;
    house.crowd.searches(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_contexts_cost_what_a_query_may_and_no_more() {
    let house = start(1_000_000).await;
    let too_large = vec!["Description LIKE '(.?){660}x'"; 1500].join(" OR ");
    for ask in [exec_query, open_query, open_instances] {
        let answered = house.ask(&ask(&too_large)).await.answer().await;
        assert!(answered.text().contains("<ERROR CODE=\"15\""), "{answered:?}");
    }
    let before = resident_kib();
    let contexts = PullLimits::default().contexts_per_user;
    for _ in 0..contexts {
        let answered = house.ask(&open_query(&condition())).await.answer().await;
        assert!(answered.text().contains("EnumerationContext"), "{answered:?}");
    }
    let each = (resident_kib() - before) / contexts;
    assert!(each < 1024, "{each} KiB for each open context");
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
