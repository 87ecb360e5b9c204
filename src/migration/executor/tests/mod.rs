//! The executor on two fake hosts and a real store. Time is real, but short: nothing sleeps in the
//! tests, and what they wait for is a state, within [`SOON`].

mod adoption;
mod hanging;
mod late;
mod limits;
mod moves;
mod removal;
mod stops;
mod storing;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{sync::Semaphore, task::block_in_place, time::timeout};
use uuid::Uuid;

use super::*;
use crate::{
    checks::{Finding, Severity, Source},
    hypervisor::{
        ConnectionOptions, Domain, DomainState, Hypervisor, HypervisorError,
        fake::{FakeHypervisor, FakeWorld, Hanging},
    },
    migration::{
        DestinationPolicy, Edits, MigrationType, Settings, SettingsSpec, Target, Transport,
        job::{Phase, Reason},
    },
};

/// A long time for something that takes milliseconds.
const SOON: Duration = Duration::from_secs(20);

const SOURCE: &str = "fake:///a";
const DESTINATION: &str = "fake:///b";
const UUID: &str = "11111111-2222-4333-8444-555555555555";

/// Two hosts, and between them the program that dies and comes back.
struct Bench {
    source: Arc<FakeHypervisor>,
    destination: Arc<FakeHypervisor>,
    world: Arc<FakeWorld>,
    gate: Arc<Gate>,
    directory: TempDir,
    options: Options,
    program: Option<Program>,
}

/// What dies.
struct Program {
    store: Store,
    handle: MigrationHandle,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Answers what it was told to, one run after the other; then it lets everybody go.
struct Gate {
    answers: Mutex<VecDeque<Result<Report, GateError>>>,
    /// A run takes one and gives it back.
    open: Semaphore,
    runs: AtomicUsize,
    /// Whether the next run panics.
    defective: AtomicBool,
}

impl Bench {
    /// A guest that runs at the source, with a definition.
    async fn new() -> Self {
        Self::with(options()).await
    }

    async fn with(options: Options) -> Self {
        let world = FakeWorld::new();
        let (source, destination) = (world.add_host(SOURCE), world.add_host(DESTINATION));
        let gate = Gate {
            answers: Mutex::default(),
            open: Semaphore::new(1000),
            runs: AtomicUsize::new(0),
            defective: AtomicBool::new(false),
        };
        add_guest(&source, "web", UUID, |_| {});
        let mut bench = Self {
            source,
            destination,
            world,
            gate: Arc::new(gate),
            directory: tempfile::tempdir().expect("a directory"),
            options,
            program: None,
        };
        bench.start().await;
        bench
    }

    async fn start(&mut self) {
        let store = Store::open(&self.directory.path().join("db")).await.expect("a store");
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let connector: Arc<dyn Connector> = Arc::clone(&self.world) as _;
        let mut connection = ConnectionOptions::new(SOURCE);
        connection.retry_first = Duration::from_millis(5);
        connection.retry_most = connection.retry_first;
        let source = Connection::start(connection, Arc::clone(&connector), &tasks, stop.clone());
        let gate = Arc::clone(&self.gate);
        let parts = Parts {
            store: store.clone(),
            sources: vec![source],
            connector,
            gate: Arc::new(move |question, cancelled| {
                let gate = Arc::clone(&gate);
                Box::pin(async move { gate.ask(question, cancelled).await })
            }),
        };
        let handle = MigrationHandle::start(parts, self.options.clone(), &tasks, stop.clone());
        let handle = handle.await.expect("the jobs can be read");
        self.program = Some(Program { store, handle, tasks, stop });
    }

    /// Ends the program at once. What blocks in a host's call goes on there.
    async fn kill(&mut self) {
        let program = self.program.take().expect("it runs");
        program.stop.cancel();
        program.tasks.close();
        soon(program.tasks.wait()).await;
        program.store.close().await;
    }

    /// Changes what the store has of a job, while the program is dead.
    fn edit_record(&self, id: &str, edit: impl FnOnce(&mut serde_json::Value)) {
        let file = self.directory.path().join("db");
        let database = rusqlite::Connection::open(file).expect("nobody has it open");
        let read = "SELECT request FROM jobs WHERE id = ?";
        let text: String = database.query_row(read, [id], |row| row.get(0)).expect("the job");
        let mut record = serde_json::from_str(&text).expect("our own text");
        edit(&mut record);
        let write = "UPDATE jobs SET request = ? WHERE id = ?";
        database.execute(write, [record.to_string(), id.to_owned()]).expect("written");
    }

    fn handle(&self) -> &MigrationHandle {
        &self.program.as_ref().expect("it runs").handle
    }

    fn store(&self) -> &Store {
        &self.program.as_ref().expect("it runs").store
    }

    /// Asks for a migration of the guest.
    async fn submit(&self, migration_type: MigrationType) -> String {
        self.submit_request(request(migration_type)).await
    }

    async fn submit_request(&self, request: Request) -> String {
        self.handle().submit(request).await.expect("it is taken").id.clone()
    }

    fn view(&self, id: &str) -> Arc<JobView> {
        self.handle().job(id).expect("clients see it")
    }

    /// Waits until the job is as wanted.
    #[track_caller]
    fn reach<'a>(
        &self,
        id: &'a str,
        wanted: impl Fn(&JobView) -> bool + 'a,
    ) -> impl Future<Output = Arc<JobView>> + 'a {
        let caller = std::panic::Location::caller();
        let mut view = self.handle().watch(id).expect("clients see it");
        async move {
            let mut last = view.clone();
            let reached = timeout(SOON, view.wait_for(|view| wanted(view))).await;
            match reached {
                Ok(view) => Arc::clone(&view.expect("the job is there")),
                Err(_) => panic!("{caller}: the job stays {:?}", last.borrow_and_update()),
            }
        }
    }

    #[track_caller]
    fn phase<'a>(&self, id: &'a str, phase: Phase) -> impl Future<Output = Arc<JobView>> + 'a {
        self.reach(id, move |view| view.phase == phase)
    }

    #[track_caller]
    fn over<'a>(&self, id: &'a str) -> impl Future<Output = Arc<JobView>> + 'a {
        self.reach(id, JobView::is_over)
    }

    /// Waits until the job is over, and ends the program.
    async fn end(mut self, id: &str) -> (Arc<JobView>, Self) {
        let view = self.over(id).await;
        self.kill().await;
        (view, self)
    }

    /// The guest is at the source alone.
    #[track_caller]
    fn is_home(&self, as_it_was: impl FnOnce(&mut Domain)) {
        check_guest(&self.source, &self.destination, as_it_was);
    }

    /// The guest is at the destination alone.
    #[track_caller]
    fn is_away(&self, as_it_was: impl FnOnce(&mut Domain)) {
        check_guest(&self.destination, &self.source, as_it_was);
    }
}

/// One host has the guest, running and with a definition unless `differs` says otherwise; the other
/// does not know it.
#[track_caller]
fn check_guest(
    here: &FakeHypervisor,
    elsewhere: &FakeHypervisor,
    differs: impl FnOnce(&mut Domain),
) {
    let mut expected = FakeHypervisor::guest("web", UUID, DomainState::Running);
    differs(&mut expected);
    let found = here.domain_by_uuid(UUID).expect("the guest is here");
    assert_eq!(found, Domain { reason: found.reason, config: found.config.clone(), ..expected });
    assert!(elsewhere.domain_by_uuid(UUID).is_err(), "the guest is elsewhere, too");
}

impl Gate {
    async fn ask(&self, _: Question, cancelled: CancellationToken) -> Result<Report, GateError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        assert!(!self.defective.swap(false, Ordering::Relaxed), "a defect");
        let open = cancelled.run_until_cancelled(self.open.acquire()).await;
        drop(open.ok_or(GateError::Cancelled)?);
        let mut answers = self.answers.lock().expect("no panic");
        answers.pop_front().unwrap_or_else(|| Ok(Report::default()))
    }

    fn answer(&self, findings: Vec<Finding>) {
        self.answers.lock().expect("no panic").push_back(Ok(Report { findings }));
    }

    /// Nobody gets an answer until [`Self::unlock`].
    fn lock(&self) {
        self.open.forget_permits(usize::MAX);
    }

    fn unlock(&self) {
        self.open.add_permits(1000);
    }
}

/// Short times where time passes by itself, and long ones where it should not.
fn options() -> Options {
    Options {
        limits: Limits { outgoing: 2, per_destination: 2, waiting: 1000 },
        shutdown_timeout: Duration::from_millis(20),
        late_shutdown: Duration::from_millis(20),
        stall: SOON,
        patience: SOON,
        look_again: Duration::from_millis(5),
        poll: Duration::from_millis(5),
        ..Options::default()
    }
}

fn add_guest(host: &FakeHypervisor, name: &str, uuid: &str, differs: impl FnOnce(&mut Domain)) {
    let mut guest = FakeHypervisor::guest(name, uuid, DomainState::Running);
    differs(&mut guest);
    host.add_guest(guest, &format!("<domain><name>{name}</name><uuid>{uuid}</uuid></domain>"));
}

fn request(migration_type: MigrationType) -> Request {
    request_with(SettingsSpec { migration_type: Some(migration_type), ..Default::default() })
}

fn request_with(spec: SettingsSpec) -> Request {
    Request {
        guest: "web".to_owned(),
        guest_uuid: UUID.to_owned(),
        hypervisor: SOURCE.to_owned(),
        target: Target {
            name: "b".to_owned(),
            uri: DESTINATION.to_owned(),
            migration_uri: None,
            transport: Transport::Tcp,
        },
        settings: Settings::decide(spec, &DestinationPolicy::default()).expect("good settings"),
        edits: Edits::default(),
        check_parameters: None,
        overrides: Vec::new(),
        owner: "alice".to_owned(),
        tag: String::new(),
        parameters: String::new(),
    }
}

fn finding(code: &'static str, source: Source, severity: Severity) -> Finding {
    Finding {
        code: code.into(),
        severity,
        source,
        subject: String::new(),
        message: format!("{code} says no"),
        arguments: Vec::new(),
        remedies: Vec::new(),
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it happens soon")
}

/// Waits until somebody hangs there.
fn reached(hanging: &Hanging) {
    block_in_place(|| hanging.wait_for_caller());
}

/// Waits for what no job tells.
async fn comes_true(what: impl Fn() -> bool) {
    soon(async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn refusal(message: &str) -> HypervisorError {
    HypervisorError::Libvirt { code: 1, message: message.to_owned() }
}

#[track_caller]
fn check_failure(view: &Arc<JobView>, reason: Reason, message: &str) {
    assert_eq!(view.phase, Phase::Failed, "{view:?}");
    let failure = view.failure.as_ref().expect("a failed job says why");
    assert_eq!(failure.reason, reason, "{failure:?}");
    assert!(failure.message.contains(message), "{failure:?}");
}
