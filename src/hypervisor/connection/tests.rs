//! Against the fake, for what a real hypervisor does not do on demand; against the test driver for
//! numbers. Real daemons are stopped and started in `tests/it/hypervisor.rs`.

use std::{future::Future, iter};

use tokio::sync::broadcast::Receiver;

use super::*;
use crate::hypervisor::{
    Connector, DomainChange, DomainState, Lifecycle,
    fake::{FakeHypervisor, FakeWorld},
    libvirt::{LibvirtConnector, LibvirtOptions},
};

const URI: &str = "fake:///a";

/// A long time for something that takes milliseconds.
const SOON: Duration = Duration::from_secs(60);

struct Bench {
    host: Arc<FakeHypervisor>,
    connection: Connection,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Bench {
    fn new(prepare: impl FnOnce(&Arc<FakeHypervisor>)) -> Self {
        Self::with(ConnectionOptions::new(URI), prepare)
    }

    fn with(options: ConnectionOptions, prepare: impl FnOnce(&Arc<FakeHypervisor>)) -> Self {
        let world = FakeWorld::new();
        let host = world.add_host(URI);
        prepare(&host);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let connection = Connection::start(options, world, &tasks, stop.clone());
        Self { host, connection, tasks, stop }
    }

    async fn names(&self) -> Vec<String> {
        let guests = self.connection.domains().await.unwrap();
        guests.iter().map(|guest| guest.name.clone()).collect()
    }

    async fn reach(&self, wanted: impl Fn(&ConnectionState) -> bool) {
        soon(self.connection.state().wait_for(|state| wanted(state))).await.unwrap();
    }

    async fn up(&self) {
        self.reach(|state| matches!(state, ConnectionState::Up(_))).await;
    }

    async fn down(&self) {
        self.reach(|state| matches!(state, ConnectionState::Down(_))).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        soon(self.tasks.wait()).await;
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

async fn next(events: &mut Receiver<DomainEvent>) -> DomainEvent {
    soon(events.recv()).await.unwrap()
}

fn guest(name: &str) -> Domain {
    let uuid = name
        .bytes()
        .cycle()
        .take(12)
        .fold(String::new(), |text, byte| format!("{text}{:x}", byte & 15));
    FakeHypervisor::guest(name, &format!("00000000-0000-4000-8000-{uuid}"), DomainState::Running)
}

fn lifecycle(change: Lifecycle) -> DomainChange {
    DomainChange::Lifecycle { change, detail: 0 }
}

fn unreachable(error: &HypervisorError) -> bool {
    matches!(error, HypervisorError::Unreachable { .. })
}

#[tokio::test]
async fn early_callers_wait_for_the_first_answer() {
    let bench = Bench::new(|host| host.add_guest(guest("web"), "<domain/>"));
    assert_eq!(bench.names().await, ["web"]);
    assert_eq!(bench.connection.host().await.unwrap().uri, URI);
    let seen = bench.connection.domain("web").await.unwrap();
    assert_eq!(bench.connection.domain_by_uuid(&seen.uuid).await.unwrap(), seen);
    bench.end().await;
}

#[tokio::test]
async fn events_keep_the_guests_true() {
    let bench = Bench::new(|host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let mut changes = bench.connection.changes();

    bench.host.change_guest("web", Lifecycle::Suspended, |guest| guest.state = DomainState::Paused);
    let event = next(&mut changes).await;
    assert_eq!(event.change, lifecycle(Lifecycle::Suspended));
    assert_eq!(event.previous.unwrap().state, DomainState::Running);
    assert_eq!(event.current.as_ref().unwrap().state, DomainState::Paused);
    assert_eq!(Some(bench.connection.domain("web").await.unwrap()), event.current);

    bench.host.add_guest(guest("db"), "<domain/>");
    let event = next(&mut changes).await;
    assert_eq!((event.change, event.previous), (lifecycle(Lifecycle::Defined), None));
    assert_eq!(bench.names().await, ["db", "web"]);

    bench.host.remove_guest("web");
    let event = next(&mut changes).await;
    assert_eq!((event.change, event.current), (lifecycle(Lifecycle::Undefined), None));
    assert_eq!(bench.names().await, ["db"]);

    // Reading the guests took no more than the first list and one look an event.
    let looks = bench.host.calls().iter().filter(|call| call.starts_with("domain")).count();
    assert_eq!(looks, 4);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_comes_back_and_tells_what_changed() {
    let bench = Bench::new(|host| {
        host.add_guest(guest("kept"), "<domain/>");
        host.add_guest(guest("lost"), "<domain/>");
    });
    bench.up().await;
    let mut changes = bench.connection.changes();
    bench.host.go_down();
    bench.down().await;
    for error in [
        bench.connection.domains().await.err().unwrap(),
        bench.connection.domain("kept").await.err().unwrap(),
        bench.connection.call("host", |host| host.host()).await.err().unwrap(),
    ] {
        assert!(unreachable(&error), "{error}");
    }
    bench.host.remove_guest("lost");
    bench.host.come_up();
    bench.up().await;
    assert_eq!(bench.names().await, ["kept"]);
    let event = next(&mut changes).await;
    assert_eq!((event.change, event.current), (DomainChange::Found, None));
    assert_eq!(event.previous.unwrap().name, "lost");
    // The new connection is watched like the first.
    bench.host.add_guest(guest("new"), "<domain/>");
    assert_eq!(next(&mut changes).await.current.unwrap().name, "new");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn attempts_come_ever_more_seldom() {
    let bench = Bench::new(|host| host.go_down());
    let began = Instant::now();
    let mut attempts = Vec::new();
    while attempts.len() < 9 {
        let count = bench.host.calls().iter().filter(|call| **call == "open").count();
        attempts.extend(iter::repeat_n(began.elapsed().as_secs(), count - attempts.len()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 61, 91, 121]);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_at_first_is_no_news_when_it_comes() {
    let bench = Bench::new(|host| {
        host.add_guest(guest("web"), "<domain/>");
        host.go_down();
    });
    let mut changes = bench.connection.changes();
    assert!(unreachable(&bench.connection.domains().await.unwrap_err()));
    bench.host.come_up();
    bench.up().await;
    assert_eq!(bench.names().await, ["web"]);
    bench.host.add_guest(guest("new"), "<domain/>");
    assert_eq!(next(&mut changes).await.current.unwrap().name, "new");
    bench.end().await;
}

#[tokio::test]
async fn a_call_that_finds_the_connection_broken_ends_it() {
    let bench = Bench::new(|_| {});
    bench.up().await;
    let broken = HypervisorError::Unreachable { uri: URI.to_owned(), message: "cut".to_owned() };
    bench.host.fail_next("host", broken.clone());
    assert_eq!(bench.connection.call("host", |host| host.host()).await, Err(broken));
    bench.down().await;
    bench.up().await;
    bench.end().await;
}

#[tokio::test]
async fn a_hanging_call_costs_its_caller_a_deadline_and_others_nothing() {
    let options = ConnectionOptions {
        call_deadline: Duration::from_millis(100),
        ..ConnectionOptions::new(URI)
    };
    let bench = Bench::with(options, |host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let hanging = bench.host.hang("active_job");
    let late = bench.connection.call("active_job", |host| host.active_job("web")).await;
    assert_eq!(late, Err(HypervisorError::Deadline { call: "active_job", seconds: 0 }));
    assert_eq!(bench.connection.call("host", |host| host.host()).await.unwrap().uri, URI);
    assert_eq!(bench.names().await, ["web"]);
    drop(hanging);
    bench.end().await;
}

#[tokio::test]
async fn calls_beyond_slots_and_queue_are_refused() {
    let options = ConnectionOptions { slots: 1, queue: 0, ..ConnectionOptions::new(URI) };
    let bench = Bench::with(options, |host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let hanging = Arc::new(bench.host.hang("active_job"));
    let first = tokio::spawn({
        let connection = bench.connection.clone();
        async move { connection.call("active_job", |host| host.active_job("web")).await }
    });
    let waiting = Arc::clone(&hanging);
    tokio::task::spawn_blocking(move || waiting.wait_for_caller()).await.unwrap();
    let refused = bench.connection.call("host", |host| host.host()).await;
    assert_eq!(refused, Err(HypervisorError::Busy));
    drop(hanging);
    assert_eq!(first.await.unwrap(), Ok(None));
    bench.end().await;
}

#[tokio::test]
async fn lost_events_make_us_read_everything_again() {
    let options = ConnectionOptions { events: 1, ..ConnectionOptions::new(URI) };
    let bench = Bench::with(options, |host| {
        for name in ["one", "two", "three"] {
            host.add_guest(guest(name), "<domain/>");
        }
    });
    bench.up().await;
    // While one event is being looked at only one more has room.
    let hanging = bench.host.hang("domain_by_uuid");
    bench.host.change_guest("one", Lifecycle::Stopped, |guest| guest.state = DomainState::Shutoff);
    let hanging = tokio::task::spawn_blocking(move || {
        hanging.wait_for_caller();
        hanging
    });
    let hanging = soon(hanging).await.unwrap();
    for name in ["two", "three"] {
        bench.host.change_guest(name, Lifecycle::Stopped, |it| it.state = DomainState::Shutoff);
    }
    drop(hanging);
    soon(async {
        while bench.connection.domains().await.unwrap().iter().any(|guest| guest.is_active()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bench.host.calls().iter().filter(|call| **call == "domains").count(), 2);
    bench.end().await;
}

#[tokio::test]
async fn a_guest_that_cannot_be_read_costs_no_other_its_news() {
    let bench = Bench::new(|host| {
        for name in ["locked", "open"] {
            host.add_guest(guest(name), "<domain/>");
        }
    });
    bench.up().await;
    let mut changes = bench.connection.changes();
    let denied = HypervisorError::Libvirt { code: 88, message: "access denied".to_owned() };
    bench.host.fail_next("domain_by_uuid", denied.clone());
    bench.host.fail_next("domain_by_uuid", denied.clone());
    let stop = |name: &str| {
        bench.host.change_guest(name, Lifecycle::Stopped, |it| it.state = DomainState::Shutoff);
    };
    stop("locked");
    // What was known is kept, and the event is told.
    let event = next(&mut changes).await;
    assert_eq!(event.change, lifecycle(Lifecycle::Stopped));
    assert_eq!(event.current.unwrap().state, DomainState::Running);
    // Then all are read again: here it is readable by then.
    let event = next(&mut changes).await;
    assert_eq!(
        (event.change, event.current.unwrap().state),
        (DomainChange::Found, DomainState::Shutoff)
    );
    // One that is not known is none of our business, and others are followed as before.
    bench.host.add_guest(guest("secret"), "<domain/>");
    assert_eq!(next(&mut changes).await.current, None);
    stop("open");
    let event = next(&mut changes).await;
    assert_eq!(event.current.unwrap().state, DomainState::Shutoff);
    assert_eq!(bench.names().await, ["locked", "open"]);
    assert_eq!(bench.host.calls().iter().filter(|call| **call == "domains").count(), 2);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_again_is_read_later() {
    let options = ConnectionOptions { events: 1, ..ConnectionOptions::new(URI) };
    let bench = Bench::with(options, |host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let mut changes = bench.connection.changes();
    bench.host.fail_next("domains", HypervisorError::Busy);
    // Two times: the reading that fails, and the one that makes good for it.
    bench.host.change_guest_silently("web", |guest| guest.state = DomainState::Crashed);
    let began = Instant::now();
    let event = timeout(Duration::from_secs(3600), changes.recv()).await.unwrap().unwrap();
    assert_eq!(event.current.unwrap().state, DomainState::Crashed);
    assert!(began.elapsed() < Duration::from_secs(700), "not after another ten minutes");
    bench.end().await;
}

#[tokio::test]
async fn a_storm_on_a_slow_host_is_no_broken_connection() {
    const COUNT: usize = 40;
    let options = ConnectionOptions {
        load_deadline: Duration::from_millis(200),
        ..ConnectionOptions::new(URI)
    };
    let names: Vec<String> = (0..COUNT).map(|index| format!("guest{index:02}")).collect();
    let bench = Bench::with(options, |host| {
        for (index, name) in names.iter().enumerate() {
            let uuid = format!("00000000-0000-4000-8000-{index:012}");
            host.add_guest(FakeHypervisor::guest(name, &uuid, DomainState::Shutoff), "<domain/>");
        }
    });
    bench.up().await;
    let mut changes = bench.connection.changes();
    // Together they take longer than reading all guests may.
    bench.host.slow_down("domain_by_uuid", Duration::from_millis(20));
    for name in &names {
        bench.host.change_guest(name, Lifecycle::Started, |it| it.state = DomainState::Running);
    }
    for _ in 0..COUNT {
        assert!(next(&mut changes).await.current.unwrap().is_active());
    }
    assert_eq!(bench.host.calls().iter().filter(|call| **call == "open").count(), 1);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_lost_unnoticed_is_found_in_the_end() {
    let bench = Bench::new(|host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let mut changes = bench.connection.changes();
    bench.host.change_guest_silently("web", |guest| guest.state = DomainState::Crashed);
    // Paused time runs ahead to the next reading.
    let event = timeout(Duration::from_secs(3600), changes.recv()).await.unwrap().unwrap();
    assert_eq!(event.change, DomainChange::Found);
    assert_eq!(event.current.unwrap().state, DomainState::Crashed);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn facts_without_events_are_asked_for_when_they_are_old() {
    let bench = Bench::new(|host| host.add_guest(guest("web"), "<domain/>"));
    bench.up().await;
    let asked = || bench.host.calls().iter().filter(|call| **call == "silent_facts").count();
    bench.host.change_guest_silently("web", |guest| guest.autostart = true);
    assert!(!bench.connection.domain("web").await.unwrap().autostart, "as just read");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(bench.connection.domain("web").await.unwrap().autostart);
    assert!(bench.connection.domains().await.unwrap()[0].autostart);
    assert_eq!(asked(), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_guest_we_do_not_know_is_asked_for() {
    let bench = Bench::new(|_| {});
    bench.up().await;
    let missing = bench.connection.domain("nobody").await.unwrap_err();
    assert_eq!(missing.to_string(), "Domain not found: no domain with matching name 'nobody'");
    let mut changes = bench.connection.changes();
    bench.host.add_guest_silently(guest("silent"), "<domain/>");
    assert!(bench.names().await.is_empty());
    assert_eq!(bench.connection.domain("silent").await.unwrap().name, "silent");
    assert_eq!(next(&mut changes).await.change, DomainChange::Other("found"));
    assert_eq!(bench.names().await, ["silent"]);
    bench.end().await;
}

#[tokio::test]
async fn stopping_is_clean_while_the_host_hangs() {
    let options = ConnectionOptions {
        call_deadline: Duration::from_millis(50),
        ..ConnectionOptions::new(URI)
    };
    let bench = Bench::with(options, |_| {});
    let hanging = bench.host.hang("domains");
    bench.stop.cancel();
    bench.tasks.close();
    soon(bench.tasks.wait()).await;
    assert!(unreachable(&bench.connection.domains().await.unwrap_err()));
    drop(hanging);
}

/// A world of the test driver with `count` guests that do not run.
fn world(count: usize) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut xml = String::from("<node xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>");
    for index in 0..count {
        xml.push_str(&format!(
            "<domain type='test'><name>guest{index:05}</name>\
             <uuid>00000000-0000-4000-8000-{index:012x}</uuid><memory>65536</memory>\
             <vcpu>1</vcpu><os><type>hvm</type></os><test:runstate>5</test:runstate></domain>"
        ));
    }
    xml.push_str("</node>");
    let path = directory.path().join("node.xml");
    std::fs::write(&path, xml).unwrap();
    let uri = format!("test://{}", path.display());
    (directory, uri)
}

fn libvirt() -> Arc<dyn Connector> {
    Arc::new(LibvirtConnector::new(LibvirtOptions::default()))
}

#[tokio::test]
async fn a_storm_of_events_is_followed() {
    const COUNT: usize = 1000;
    let (_directory, uri) = world(COUNT);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let connection =
        Connection::start(ConnectionOptions::new(uri), libvirt(), &tasks, stop.clone());
    assert!(connection.domains().await.unwrap().iter().all(|guest| !guest.is_active()));
    let mut changes = connection.changes();
    let start_all = connection.call("start", |host| {
        (0..COUNT).try_for_each(|index| host.start(&format!("guest{index:05}")))
    });
    start_all.await.unwrap();
    let mut started = std::collections::HashSet::new();
    while started.len() < COUNT {
        let event = next(&mut changes).await;
        assert_eq!(event.change, DomainChange::Lifecycle { change: Lifecycle::Started, detail: 0 });
        let current = event.current.unwrap();
        assert!(current.is_active());
        assert!(started.insert(current.uuid.clone()), "told once");
    }
    assert!(connection.domains().await.unwrap().iter().all(|guest| guest.is_active()));
    stop.cancel();
    tasks.close();
    soon(tasks.wait()).await;
}
