//! Migrations as jobs: takes requests, lets each go on in its turn, and carries it out.
//!
//! ```text
//!   MigrationHandle ──orders──▶ Runner ──starts──▶ Worker (one per job) ──▶ both hosts
//!        ▲                        │  queue.rs          │  job.rs decides        hands.rs
//!        └── JobView, JobChange ──┴── ticket.rs ───────┘  record.rs, store: before each deed
//! ```
//!
//! The runner owns the queue, the jobs that wait and those that are over; a worker owns its job while it
//! runs. Others read views, which are replaced as a whole and numbered.
//!
//! At its start the runner takes over what the store has: finished jobs to be looked at, waiting ones to
//! wait, and those that were under way get a worker that first looks where the guest is.
//!
//! When the daemon ends, by SIGTERM as by SIGKILL, the workers leave everything as it is. A peer-to-peer
//! move goes on between the hosts and is followed again after the next start. A direct move needs us and
//! is cancelled by libvirt as soon as our connections close: the guest runs on at the source, and the
//! next start ends the job as failed, unless the last step was done before. A guest that was asked to
//! shut down for a restart is off until the next start goes on with its job.
//!
//! What is deliberately absent: CIM, roles, and who may ask for what.

mod failures;
mod hands;
mod lanes;
mod record;
mod runner;
#[cfg(test)]
mod tests;
mod ticket;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use record::{Amendment, Removal, Request};
pub use ticket::{JobChange, JobView};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Limits, Mode, PlanError, QueueError,
    job::{Event, Refusal},
};
use crate::{
    checks::{GateError, GateRequest, Report, builtin::Inputs},
    hypervisor::{Connection, Connector},
    store::{Jobs, Store, StoreError},
    sys::{BoxFuture, blocking::Slots},
};
use lanes::Lanes;
use runner::{Order, Runner};

/// How many orders may wait for the runner, and commands for a worker.
const QUEUE: usize = 64;

/// How many changes a slow follower may be behind before it loses some.
const CHANGES: usize = 4096;

/// How many deeds may be under way at the source.
const DEEDS: usize = 64;

/// How migrations are carried out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// `migration.mode`.
    pub mode: Mode,
    /// `migration.max-outgoing`, `migration.max-per-destination`, and how many may wait.
    pub limits: Limits,
    /// `migration.shutdown-timeout`: how long a guest may take to shut down for a restart.
    pub shutdown_timeout: Duration,
    /// `migration.late-shutdown`: how long one that did not do so in time is watched, should it still.
    pub late_shutdown: Duration,
    /// How long nothing may be sent before a move is given up.
    pub stall: Duration,
    /// How long a doubt about where the guest is may last before what can be decided is decided.
    pub patience: Duration,
    /// Between two looks at both hosts.
    pub look_again: Duration,
    /// Between two looks at a move.
    pub poll: Duration,
    /// `jobs.keep`: how long clients see a job that is over.
    pub keep: Duration,
    /// How long the history remembers it.
    pub history: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::PeerToPeer,
            limits: Limits { outgoing: 2, per_destination: 2, waiting: 1000 },
            shutdown_timeout: Duration::from_secs(120),
            late_shutdown: Duration::from_secs(120),
            stall: Duration::from_secs(60),
            patience: Duration::from_secs(60),
            look_again: Duration::from_secs(1),
            poll: Duration::from_millis(500),
            keep: Duration::from_secs(300),
            history: Duration::from_secs(90 * 86_400),
        }
    }
}

/// What the gate is asked about a guest that is about to move.
pub struct Question {
    /// What the check programs are told.
    pub request: GateRequest,
    /// What the built-in checks judge.
    pub inputs: Inputs,
}

/// Asks the gate. Cancelling ends the check programs.
pub type AskGate = Arc<
    dyn Fn(Question, CancellationToken) -> BoxFuture<'static, Result<Report, GateError>>
        + Send
        + Sync,
>;

/// What migrations are made of.
pub struct Parts {
    /// Where jobs outlive the process.
    pub store: Store,
    /// The hypervisors whose guests may leave.
    pub sources: Vec<Connection>,
    /// Opens destinations.
    pub connector: Arc<dyn Connector>,
    /// The gate.
    pub gate: AskGate,
}

/// What the runner and all workers share.
struct Shared {
    store: Store,
    sources: HashMap<String, Connection>,
    connector: Arc<dyn Connector>,
    gate: AskGate,
    source_slots: Slots,
    lanes: Lanes,
    options: watch::Sender<Arc<Options>>,
    changes: broadcast::Sender<JobChange>,
    directory: Mutex<BTreeMap<String, watch::Receiver<Arc<JobView>>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Shared {
    fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.borrow())
    }

    fn directory(&self) -> MutexGuard<'_, BTreeMap<String, watch::Receiver<Arc<JobView>>>> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker is told, and where it answers.
enum Command {
    Tell { event: Event, answer: Answer },
    Amend { amendment: Amendment, answer: Answer },
}

type Answer = oneshot::Sender<Result<(), CommandError>>;

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// It can't be carried out in this mode.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It can't be stored.
    #[error("the job can't be stored")]
    Store(#[from] StoreError),
    /// The daemon is about to end.
    #[error("the daemon is shutting down")]
    Stopping,
}

/// Why a job is not changed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such job.
    #[error("there is no job {0}")]
    Unknown(String),
    /// Its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is not over.
    #[error("the job is not over")]
    Running,
    /// So much was said to it already that it has not taken in.
    #[error("the job is busy")]
    Busy,
    /// The change can't be stored.
    #[error("the job can't be stored")]
    Store(#[from] StoreError),
    /// The daemon is about to end.
    #[error("the daemon is shutting down")]
    Stopping,
}

/// The front of all migrations. Clones share it.
#[derive(Clone)]
pub struct MigrationHandle {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

impl MigrationHandle {
    /// Takes over what the store has and begins to work. Tasks live in `tasks` until `stop`.
    ///
    /// # Errors
    /// [`StoreError`] if the jobs can't be read.
    pub async fn start(
        parts: Parts,
        options: Options,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let Parts { store, sources, connector, gate } = parts;
        let shared = Arc::new(Shared {
            store,
            sources: sources.into_iter().map(|source| (source.uri().to_owned(), source)).collect(),
            connector,
            gate,
            source_slots: Slots::new(DEEDS, usize::MAX),
            lanes: Lanes::default(),
            options: watch::Sender::new(Arc::new(options)),
            changes: broadcast::Sender::new(CHANGES),
            directory: Mutex::default(),
            tasks: tasks.clone(),
            stop,
        });
        let (orders, waiting) = mpsc::channel(QUEUE);
        let runner = Runner::start(Arc::clone(&shared), waiting).await?;
        tasks.spawn(runner.run());
        Ok(Self { shared, orders })
    }

    /// Changes how migrations are carried out, from now on.
    pub fn set_options(&self, options: Options) {
        self.shared.options.send_replace(Arc::new(options));
    }

    /// Asks for a migration. It goes on whatever becomes of the caller.
    ///
    /// # Errors
    /// [`SubmitError`]; then there is no job.
    pub async fn submit(&self, request: Request) -> Result<Arc<JobView>, SubmitError> {
        self.shared.options().mode.route(&request.target)?;
        let (answer, answered) = oneshot::channel();
        let order = Order::Submit { request: Box::new(request), answer };
        self.orders.send(order).await.map_err(|_| SubmitError::Stopping)?;
        answered.await.map_err(|_| SubmitError::Stopping)?
    }

    /// Asks that the guest stay, or go on, where it is. Returns when the job knows.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn abort(&self, id: &str) -> Result<(), CommandError> {
        self.tell(id, Event::Abort).await
    }

    /// As [`Self::abort`]; a job that waits for a host to come back ends, and leaves all as it is.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn kill(&self, id: &str) -> Result<(), CommandError> {
        self.tell(id, Event::Kill).await
    }

    async fn tell(&self, id: &str, event: Event) -> Result<(), CommandError> {
        self.command(id, |answer| Command::Tell { event, answer }).await
    }

    /// Changes when a job goes on, and when clients stop seeing it.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn amend(&self, id: &str, amendment: Amendment) -> Result<(), CommandError> {
        self.command(id, |answer| Command::Amend { amendment, answer }).await
    }

    /// Lets clients no longer see a job that is over.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn remove(&self, id: &str) -> Result<(), CommandError> {
        self.order(|answer| Order::Remove { id: id.to_owned(), answer }).await
    }

    async fn command(
        &self,
        id: &str,
        command: impl FnOnce(Answer) -> Command,
    ) -> Result<(), CommandError> {
        let id = id.to_owned();
        self.order(|answer| Order::Command { id, command: command(answer) }).await
    }

    async fn order(&self, order: impl FnOnce(Answer) -> Order) -> Result<(), CommandError> {
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| CommandError::Stopping)?;
        answered.await.map_err(|_| CommandError::Stopping)?
    }

    /// A job.
    pub fn job(&self, id: &str) -> Option<Arc<JobView>> {
        self.shared.directory().get(id).map(|view| Arc::clone(&view.borrow()))
    }

    /// All jobs that clients see, by their identities.
    pub fn jobs(&self) -> Vec<Arc<JobView>> {
        self.shared.directory().values().map(|view| Arc::clone(&view.borrow())).collect()
    }

    /// A job, now and from now on.
    pub fn watch(&self, id: &str) -> Option<watch::Receiver<Arc<JobView>>> {
        self.shared.directory().get(id).cloned()
    }

    /// Changes of all jobs, from now on. A listener that is too slow loses the oldest and is told so.
    pub fn changes(&self) -> broadcast::Receiver<JobChange> {
        self.shared.changes.subscribe()
    }

    /// The job that migrates a guest, if one does.
    pub fn job_of_guest(&self, guest_uuid: &str) -> Option<Arc<JobView>> {
        let directory = self.shared.directory();
        let mut views = directory.values().map(|view| Arc::clone(&view.borrow()));
        views.find(|view| !view.is_over() && view.request.guest_uuid == guest_uuid)
    }

    /// The newest jobs that had not ended by then, also those that clients no longer see.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(&self, since: i64, limit: u32) -> Result<Vec<Arc<JobView>>, StoreError> {
        let rows = self.shared.store.jobs(Jobs::History { since, limit }).await?;
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(view) = self.job(&row.id) {
                views.push(view);
            } else if let Ok(stored) = record::read(&row) {
                let findings = self.shared.store.findings(row.id.clone()).await?;
                let findings = record::findings(&findings);
                let changes = self.shared.changes.clone();
                let ticket = ticket::Ticket::restore(&row, stored, findings, changes);
                views.push(Arc::clone(&ticket.watch().borrow()));
            }
        }
        Ok(views)
    }
}
