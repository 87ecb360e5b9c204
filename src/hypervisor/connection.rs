//! The async face of one hypervisor: a long-lived connection that comes back by itself, its guests in
//! memory, and calls with a deadline.
//!
//! ```text
//!            open, host, watch, domains
//! Starting ─────────────────────────────▶ Up ──▶ closed, or a call found it broken ──▶ Down
//!     └── could not open ──▶ Down                                                       │
//!                             ▲   after 1 s, 2 s, 4 s … 30 s                            │
//!                             └──────────────◀────────────────────────────────────────┘
//! ```
//!
//! The guests are read once when the connection comes up; then events keep them true. A fact that no
//! event tells (autostart, a managed-save image that was removed) is asked for when somebody reads and
//! the last answer is older than a second. If events are lost, and every ten minutes in case one was
//! lost unnoticed, all guests are read again.
//!
//! While the connection is down every call fails at once with [`HypervisorError::Unreachable`].

mod runner;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, broadcast, mpsc, watch},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Connector, Domain, DomainEvent, HostEvent, HostInfo, HypervisorError, Migrator,
    inventory::Inventory,
};
use crate::sys::blocking::{SlotError, Slots};
use runner::Runner;

/// How a connection behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionOptions {
    /// The hypervisor's URI.
    pub uri: String,
    /// So many calls at once.
    pub slots: usize,
    /// So many calls may wait for a slot.
    pub queue: usize,
    /// The longest a caller waits for a call.
    pub call_deadline: Duration,
    /// The longest that reading all guests may take.
    pub load_deadline: Duration,
    /// Before the first attempt to reconnect; doubles with each.
    pub retry_first: Duration,
    /// Between attempts to reconnect, at most.
    pub retry_most: Duration,
    /// How old a fact may be that no event tells.
    pub silent_age: Duration,
    /// How often all guests are read again.
    pub reload_every: Duration,
    /// So many events may wait to be looked at, or for a slow listener; beyond, some are lost.
    pub events: usize,
}

impl ConnectionOptions {
    /// The usual behaviour for `uri`.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            slots: 16,
            queue: 1024,
            call_deadline: Duration::from_secs(10),
            load_deadline: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_most: Duration::from_secs(30),
            silent_age: Duration::from_secs(1),
            reload_every: Duration::from_secs(600),
            events: 4096,
        }
    }
}

/// One hypervisor. Clones are handles to the same connection.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// Whether a connection stands.
#[derive(Clone)]
pub enum ConnectionState {
    /// The first attempt has not ended yet.
    Starting,
    /// It stands.
    Up(Arc<Session>),
    /// It does not, for this reason; attempts go on.
    Down(HypervisorError),
}

/// One standing connection.
pub struct Session {
    /// What the host told when the connection came up.
    pub host: HostInfo,
    hypervisor: Arc<dyn Migrator>,
    /// Cancelled when the connection is found broken.
    broken: CancellationToken,
}

struct Shared {
    options: ConnectionOptions,
    slots: Slots,
    state: watch::Sender<ConnectionState>,
    inventory: Mutex<Inventory>,
    /// When the silent facts were asked for last, counted and dated.
    silent: watch::Sender<(u64, Instant)>,
    silent_wanted: Notify,
    changes: broadcast::Sender<DomainEvent>,
    jobs: broadcast::Sender<HostEvent>,
    /// Events that nobody but us has noticed yet.
    noticed: mpsc::Sender<HostEvent>,
}

impl Connection {
    /// Begins to connect; returns at once. The connection lives in `tasks` until `stop`.
    pub fn start(
        options: ConnectionOptions,
        connector: Arc<dyn Connector>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (noticed, events) = mpsc::channel(options.events.max(1));
        let shared = Arc::new(Shared {
            slots: Slots::new(options.slots, options.queue),
            state: watch::Sender::new(ConnectionState::Starting),
            inventory: Mutex::default(),
            silent: watch::Sender::new((0, Instant::now())),
            silent_wanted: Notify::new(),
            changes: broadcast::Sender::new(options.events.max(1)),
            jobs: broadcast::Sender::new(options.events.max(1)),
            noticed,
            options,
        });
        let runner = Runner::new(Arc::clone(&shared), connector, events, stop.clone());
        tasks.spawn(runner.run());
        tasks.spawn(runner::refresh_silent_facts(Arc::clone(&shared), stop));
        Self { shared }
    }

    /// The URI it was given.
    pub fn uri(&self) -> &str {
        &self.shared.options.uri
    }

    /// Whether it stands, now and from now on.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    /// Changes of guests from now on. A listener that is too slow loses the oldest and is told so.
    pub fn changes(&self) -> broadcast::Receiver<DomainEvent> {
        self.shared.changes.subscribe()
    }

    /// Events of jobs from now on: [`HostEvent::MigrationIteration`], [`HostEvent::JobCompleted`].
    pub fn job_events(&self) -> broadcast::Receiver<HostEvent> {
        self.shared.jobs.subscribe()
    }

    /// What the host told when the connection came up.
    ///
    /// # Errors
    /// [`HypervisorError::Unreachable`].
    pub async fn host(&self) -> Result<HostInfo, HypervisorError> {
        Ok(self.shared.session().await?.host.clone())
    }

    /// The connection itself, for a thread that makes its own calls. Async code uses
    /// [`Self::call`].
    ///
    /// # Errors
    /// [`HypervisorError::Unreachable`].
    pub async fn hypervisor(&self) -> Result<Arc<dyn Migrator>, HypervisorError> {
        Ok(Arc::clone(&self.shared.session().await?.hypervisor))
    }

    /// Makes a call on a blocking thread. `name` is what errors call it.
    ///
    /// # Errors
    /// What the call answers; [`HypervisorError::Unreachable`] at once while the connection is down,
    /// [`HypervisorError::Deadline`], [`HypervisorError::Busy`].
    pub async fn call<T, F>(&self, name: &'static str, call: F) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Migrator) -> Result<T, HypervisorError> + Send + 'static,
    {
        let session = self.shared.session().await?;
        self.shared.call(&session, name, call).await
    }

    /// All guests, ordered by name.
    ///
    /// # Errors
    /// As for [`Self::call`].
    pub async fn domains(&self) -> Result<Arc<[Arc<Domain>]>, HypervisorError> {
        self.shared.session().await?;
        self.shared.settle_silent_facts().await?;
        Ok(self.shared.inventory(Inventory::list))
    }

    /// The guest of that name.
    ///
    /// # Errors
    /// As for [`Self::call`]; [`HypervisorError::NotFound`].
    pub async fn domain(&self, name: &str) -> Result<Arc<Domain>, HypervisorError> {
        self.shared.session().await?;
        self.shared.settle_silent_facts().await?;
        if let Some(known) = self.shared.inventory(|inventory| inventory.by_name(name).cloned()) {
            return Ok(known);
        }
        let name = name.to_owned();
        self.unknown("domain", move |hypervisor| hypervisor.domain(&name)).await
    }

    /// The guest with that UUID, in lower-case canonical text.
    ///
    /// # Errors
    /// As for [`Self::call`]; [`HypervisorError::NotFound`].
    pub async fn domain_by_uuid(&self, uuid: &str) -> Result<Arc<Domain>, HypervisorError> {
        self.shared.session().await?;
        self.shared.settle_silent_facts().await?;
        if let Some(known) = self.shared.inventory(|inventory| inventory.by_uuid(uuid).cloned()) {
            return Ok(known);
        }
        let uuid = uuid.to_owned();
        self.unknown("domain_by_uuid", move |hypervisor| hypervisor.domain_by_uuid(&uuid)).await
    }

    /// Asks for a guest that we do not know: the hypervisor has the last word.
    async fn unknown<F>(&self, name: &'static str, ask: F) -> Result<Arc<Domain>, HypervisorError>
    where
        F: FnOnce(&dyn Migrator) -> Result<Domain, HypervisorError> + Send + 'static,
    {
        let found = self.call(name, ask).await?;
        // Its event is late or lost. If there is no room for this one either, all guests will be
        // read again anyway.
        let (uuid, name) = (found.uuid.clone(), found.name.clone());
        let _ = self.shared.noticed.try_send(HostEvent::Changed { uuid, name, what: "found" });
        Ok(Arc::new(found))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("uri", &self.uri()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("Starting"),
            Self::Up(session) => f.debug_tuple("Up").field(&session.host).finish(),
            Self::Down(error) => f.debug_tuple("Down").field(error).finish(),
        }
    }
}

impl Shared {
    /// The standing connection. Only before the first attempt has ended does a caller wait.
    async fn session(&self) -> Result<Arc<Session>, HypervisorError> {
        match &*self.state.borrow() {
            ConnectionState::Up(session) => return Ok(Arc::clone(session)),
            ConnectionState::Down(error) => return Err(error.clone()),
            ConnectionState::Starting => {}
        }
        let mut state = self.state.subscribe();
        let tried = state.wait_for(|state| !matches!(state, ConnectionState::Starting));
        let state = match timeout(self.options.call_deadline, tried).await {
            Ok(Ok(state)) => state.clone(),
            // The sender is ours; it is not gone.
            Ok(Err(_)) | Err(_) => return Err(self.unreachable("still connecting")),
        };
        match state {
            ConnectionState::Up(session) => Ok(session),
            ConnectionState::Down(error) => Err(error),
            ConnectionState::Starting => Err(self.unreachable("still connecting")),
        }
    }

    async fn call<T, F>(
        &self,
        session: &Arc<Session>,
        name: &'static str,
        call: F,
    ) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Migrator) -> Result<T, HypervisorError> + Send + 'static,
    {
        let working = Arc::clone(session);
        let work = move || {
            let answer = call(&*working.hypervisor);
            if matches!(answer, Err(HypervisorError::Unreachable { .. })) {
                working.broken.cancel();
            }
            answer
        };
        self.within(&self.slots, self.options.call_deadline, name, work).await
    }

    /// Runs blocking work in a slot, within a deadline.
    async fn within<T, F>(
        &self,
        slots: &Slots,
        deadline: Duration,
        call: &'static str,
        work: F,
    ) -> Result<T, HypervisorError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, HypervisorError> + Send + 'static,
    {
        match slots.run_within(deadline, work).await {
            Ok(answer) => answer,
            Err(SlotError::Busy { .. }) => Err(HypervisorError::Busy),
            Err(SlotError::Late { deadline }) => {
                Err(HypervisorError::Deadline { call, seconds: deadline.as_secs() })
            }
            Err(SlotError::Broken) => Err(self.unreachable("the call broke off")),
        }
    }

    /// Sees to it that the facts no event tells are not too old.
    async fn settle_silent_facts(&self) -> Result<(), HypervisorError> {
        let (count, asked) = *self.silent.borrow();
        if count > 0 && asked.elapsed() < self.options.silent_age {
            return Ok(());
        }
        self.silent_wanted.notify_one();
        let deadline = self.options.call_deadline;
        let mut silent = self.silent.subscribe();
        match timeout(deadline, silent.wait_for(|(now, _)| *now > count)).await {
            Ok(_) => Ok(()),
            Err(_) => {
                Err(HypervisorError::Deadline { call: "silent_facts", seconds: deadline.as_secs() })
            }
        }
    }

    fn inventory<T>(&self, look: impl FnOnce(&mut Inventory) -> T) -> T {
        look(&mut self.inventory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn unreachable(&self, message: &str) -> HypervisorError {
        let uri = self.options.uri.clone();
        HypervisorError::Unreachable { uri, message: message.to_owned() }
    }

    /// Changes the inventory and tells of it, so that all hear of changes in the order in which they were
    /// made.
    fn change(&self, change: impl FnOnce(&mut Inventory) -> Vec<DomainEvent>) {
        self.inventory(|inventory| {
            for event in change(inventory) {
                // Nobody listens: nobody misses it.
                let _ = self.changes.send(event);
            }
        });
    }
}
