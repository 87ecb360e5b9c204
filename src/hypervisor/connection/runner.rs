//! The tasks that keep a connection: one opens it, follows its events and opens it again; the other
//! asks for the facts that no event tells, when somebody wants them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{ConnectionState, Session, Shared};
use crate::{
    hypervisor::{
        Connector, Domain, DomainChange, DomainEvent, EventSink, HostEvent, HypervisorError,
        Migrator, Watch,
    },
    sys::blocking::Slots,
};

/// So many events are looked at together, one guest after the other.
const BATCH: usize = 128;

/// How often all guests are read again where the driver has no events.
const UNWATCHED: Duration = Duration::from_secs(10);

/// Keeps one connection open.
pub(super) struct Runner {
    shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
    events: mpsc::Receiver<HostEvent>,
    /// Set where an event found no room, or its guest could not be read.
    lost: Arc<AtomicBool>,
    /// Our own calls do not queue behind those of clients. One may hang until its connection breaks
    /// while the next connection is already being opened.
    slots: Slots,
    /// Whether all guests were read once; what is found then is no news.
    loaded: bool,
    stop: CancellationToken,
}

/// A connection just opened, and what was read over it.
struct Opened {
    session: Arc<Session>,
    watch: Option<Watch>,
    guests: Vec<Domain>,
}

impl Runner {
    pub(super) fn new(
        shared: Arc<Shared>,
        connector: Arc<dyn Connector>,
        events: mpsc::Receiver<HostEvent>,
        stop: CancellationToken,
    ) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        Self { shared, connector, events, lost, slots: Slots::new(4, 4), loaded: false, stop }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let mut pause = self.shared.options.retry_first;
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.open()).await {
                Some(Ok(opened)) => {
                    pause = self.shared.options.retry_first;
                    self.serve(opened).await;
                }
                Some(Err(error)) => self.go_down(error),
                None => break,
            }
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
            pause = (pause * 2).min(self.shared.options.retry_most);
        }
        let error = self.shared.unreachable("the daemon is shutting down");
        self.shared.state.send_replace(ConnectionState::Down(error));
    }

    /// Opens a connection and reads everything. Events that come meanwhile wait.
    async fn open(&mut self) -> Result<Opened, HypervisorError> {
        // What is left from the last connection is covered by reading everything.
        while self.events.try_recv().is_ok() {}
        self.lost.store(false, Ordering::Relaxed);
        let broken = CancellationToken::new();
        let sink = self.sink(broken.clone());
        let (connector, uri) = (Arc::clone(&self.connector), self.shared.options.uri.clone());
        let work = move || {
            let hypervisor = connector.open(&uri)?;
            let watch = match hypervisor.watch(sink) {
                Ok(watch) => Some(watch),
                // Some drivers have no events; then reading everything again must do.
                Err(HypervisorError::Unsupported { .. }) => None,
                Err(error) => return Err(error),
            };
            let host = hypervisor.host()?;
            let guests = hypervisor.domains()?;
            let session = Arc::new(Session { host, hypervisor, broken });
            Ok(Opened { session, watch, guests })
        };
        let deadline = self.shared.options.load_deadline;
        self.shared.within(&self.slots, deadline, "open", work).await
    }

    fn sink(&self, broken: CancellationToken) -> EventSink {
        let (events, lost) = (self.shared.noticed.clone(), Arc::clone(&self.lost));
        Arc::new(move |event| {
            if let HostEvent::Closed { reason } = event {
                debug!(reason, "hypervisor connection closed");
                broken.cancel();
            } else if events.try_send(event).is_err() {
                lost.store(true, Ordering::Relaxed);
            }
        })
    }

    /// Follows the events of a connection until it breaks.
    async fn serve(&mut self, opened: Opened) {
        let Opened { session, watch, guests } = opened;
        let (uri, count) = (&self.shared.options.uri, guests.len());
        info!(uri, guests = count, "hypervisor connection is up");
        let is_news = std::mem::replace(&mut self.loaded, true);
        self.shared.change(|inventory| {
            let found = inventory.replace(guests);
            if is_news { found } else { Vec::new() }
        });
        self.shared.silent.send_modify(|(count, asked)| {
            *count += 1;
            *asked = Instant::now();
        });
        self.shared.state.send_replace(ConnectionState::Up(Arc::clone(&session)));
        let every = self.shared.options.reload_every;
        let every = if watch.is_some() { every } else { every.min(UNWATCHED) };
        let error = self.follow(&session, every).await;
        self.go_down(error);
        // Ending a watch talks to the other end, which may not answer.
        let farewell = move || {
            drop((watch, session));
            Ok(())
        };
        let deadline = self.shared.options.call_deadline;
        if let Err(error) = self.shared.within(&self.slots, deadline, "close", farewell).await {
            debug!(%error, "hypervisor connection did not close");
        }
    }

    async fn follow(&mut self, session: &Arc<Session>, every: Duration) -> HypervisorError {
        let mut reload = interval_at(Instant::now() + every, every);
        reload.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            let looked = tokio::select! {
                () = self.stop.cancelled() => {
                    return self.shared.unreachable("the daemon is shutting down");
                }
                () = session.broken.cancelled() => return self.shared.unreachable("connection lost"),
                _ = reload.tick() => self.reload(session).await,
                // Cancel-safe: what was received is in `batch`.
                _ = self.events.recv_many(&mut batch, BATCH) => {
                    let events = std::mem::take(&mut batch);
                    self.take_in(session, events).await
                }
            };
            // The flag is set after the event was dropped; reading everything covers it.
            let looked = match looked {
                Ok(()) if self.lost.swap(false, Ordering::Relaxed) => {
                    warn!(uri = self.shared.options.uri, "guest list is stale, it is read again");
                    self.reload(session).await
                }
                other => other,
            };
            match looked {
                Ok(()) => {}
                // A call that never returns says as much as a broken connection.
                Err(
                    error
                    @ (HypervisorError::Unreachable { .. } | HypervisorError::Deadline { .. }),
                ) => {
                    return error;
                }
                Err(error) => {
                    warn!(uri = self.shared.options.uri, %error, "guest list is stale");
                    // What was missed is not told again.
                    reload.reset_after(every.min(self.shared.options.retry_first));
                }
            }
        }
    }

    /// Looks at each guest that events name, once, and publishes each event. A guest that the hypervisor
    /// refuses to describe stays as it is known, until all are read again.
    async fn take_in(
        &self,
        session: &Arc<Session>,
        events: Vec<HostEvent>,
    ) -> Result<(), HypervisorError> {
        let mut changes = Vec::new();
        for event in events {
            match event {
                HostEvent::Lifecycle { uuid, change, detail, .. } => {
                    changes.push((uuid, DomainChange::Lifecycle { change, detail }));
                }
                HostEvent::Changed { uuid, what, .. } => {
                    changes.push((uuid, DomainChange::Other(what)));
                }
                HostEvent::MigrationIteration { .. } | HostEvent::JobCompleted { .. } => {
                    // Nobody listens: nobody misses it.
                    let _ = self.shared.jobs.send(event);
                }
                HostEvent::Closed { .. } => {}
            }
        }
        let uuids: HashSet<String> = changes.iter().map(|(uuid, _)| uuid.clone()).collect();
        if uuids.is_empty() {
            return Ok(());
        }
        let mut now = BTreeMap::new();
        for uuid in uuids {
            if let Some(guest) = self.look(session, &uuid).await? {
                now.insert(uuid, guest);
            }
        }
        self.shared.change(|inventory| {
            let mut told = BTreeMap::new();
            changes
                .into_iter()
                .map(|(uuid, change)| {
                    let (previous, current) = match told.get(&uuid) {
                        // The first event of a guest brought it up to date.
                        Some(current) => (Option::clone(current), Option::clone(current)),
                        None => match now.remove(&uuid) {
                            Some(guest) => inventory.update(&uuid, guest),
                            None => {
                                let known = inventory.by_uuid(&uuid).cloned();
                                (known.clone(), known)
                            }
                        },
                    };
                    told.insert(uuid, current.clone());
                    DomainEvent { change, previous, current }
                })
                .collect()
        });
        Ok(())
    }

    /// A guest as it is now, `Some(None)` if it is gone, or nothing if the hypervisor refuses to tell.
    ///
    /// Each look has a deadline of its own, for many looks at a slow host take long without any of them
    /// hanging.
    async fn look(
        &self,
        session: &Arc<Session>,
        uuid: &str,
    ) -> Result<Option<Option<Domain>>, HypervisorError> {
        let asked = uuid.to_owned();
        let deadline = self.shared.options.call_deadline;
        let looked = self.ask(session, deadline, "domain", move |host| host.domain_by_uuid(&asked));
        let looked = tokio::select! {
            looked = looked => looked,
            () = self.stop.cancelled() => {
                Err(self.shared.unreachable("the daemon is shutting down"))
            }
            () = session.broken.cancelled() => Err(self.shared.unreachable("connection lost")),
        };
        match looked {
            Ok(guest) => Ok(Some(Some(guest))),
            Err(HypervisorError::NotFound { .. }) => Ok(Some(None)),
            Err(error) if error.is_refusal() => {
                let uri = &self.shared.options.uri;
                debug!(uri, uuid, %error, "a guest cannot be read");
                // One that was known may be so no more.
                if self.shared.inventory(|inventory| inventory.by_uuid(uuid).is_some()) {
                    self.lost.store(true, Ordering::Relaxed);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn reload(&self, session: &Arc<Session>) -> Result<(), HypervisorError> {
        let deadline = self.shared.options.load_deadline;
        let guests =
            self.ask(session, deadline, "domains", |hypervisor| hypervisor.domains()).await?;
        self.shared.change(|inventory| inventory.replace(guests));
        Ok(())
    }

    async fn ask<T: Send + 'static>(
        &self,
        session: &Arc<Session>,
        deadline: Duration,
        name: &'static str,
        ask: impl FnOnce(&dyn Migrator) -> Result<T, HypervisorError> + Send + 'static,
    ) -> Result<T, HypervisorError> {
        let session = Arc::clone(session);
        let work = move || ask(&*session.hypervisor);
        self.shared.within(&self.slots, deadline, name, work).await
    }

    /// Says once that the connection is down, however often an attempt fails afterwards.
    fn go_down(&self, error: HypervisorError) {
        let uri = &self.shared.options.uri;
        match *self.shared.state.borrow() {
            _ if self.stop.is_cancelled() => info!(uri, "hypervisor connection is closed"),
            ConnectionState::Down(_) => debug!(uri, %error, "hypervisor connection is still down"),
            ConnectionState::Starting | ConnectionState::Up(_) => {
                warn!(uri, %error, "hypervisor connection is down");
            }
        }
        let error = match error {
            error @ HypervisorError::Unreachable { .. } => error,
            other => self.shared.unreachable(&other.to_string()),
        };
        self.shared.state.send_replace(ConnectionState::Down(error));
    }
}

/// Asks for the silent facts whenever they are wanted, for all who want them together.
pub(super) async fn refresh_silent_facts(shared: Arc<Shared>, stop: CancellationToken) {
    while stop.run_until_cancelled(shared.silent_wanted.notified()).await.is_some() {
        let asked = Instant::now();
        let state = shared.state.borrow().clone();
        if let ConnectionState::Up(session) = state {
            shared.inventory(|inventory| inventory.ask_silent());
            match shared
                .call(&session, "silent_facts", |hypervisor| hypervisor.silent_facts())
                .await
            {
                Ok(facts) => shared.change(|inventory| inventory.set_silent(&facts)),
                Err(error) => {
                    debug!(uri = shared.options.uri, %error, "silent facts are stale");
                }
            }
        }
        // Whatever came of it: nobody waits for ever. Readers look at the connection themselves.
        shared.silent.send_modify(|(count, date)| (*count, *date) = (*count + 1, asked));
    }
}
