//! The task that matches events with filters and fills the outboxes. It begins with what an earlier daemon
//! left, and leaves what is not sent to the next one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{JoinHandle, yield_now},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use super::{
    Event,
    parcel::{Content, Parcel},
    queue::Queue,
    rest::{self, Rest, Waiting},
    route::{Route, Routes},
    sender::Sender,
};
use crate::{
    cim::Instance,
    indications::{self, Identity, Objects, Subscriptions},
    repository::Repository,
    store::{ObjectKind, SequenceRow},
    telemetry::{Chain, Throttle},
};

/// How long those who tell of events may take to come to their end. All that follows must find time before
/// the daemon loses its patience.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// What waits for a destination, and how its sender is told.
pub(super) struct Outbox {
    queue: Mutex<Queue<Arc<Parcel>>>,
    pub(super) filled: Notify,
    /// The destination is no more.
    pub(super) gone: CancellationToken,
    /// Nothing more will come: the daemon ends.
    pub(super) closing: CancellationToken,
}

impl Outbox {
    pub(super) fn new(queue: Queue<Arc<Parcel>>, closing: CancellationToken) -> Self {
        let (filled, gone) = (Notify::new(), CancellationToken::new());
        Self { queue: Mutex::new(queue), filled, gone, closing }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<Arc<Parcel>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Dispatcher {
    subscriptions: Subscriptions,
    repository: Arc<Repository>,
    tasks: TaskTracker,
    routes: Routes,
    outboxes: BTreeMap<Identity, (Arc<Outbox>, JoinHandle<Option<Rest>>)>,
    /// How far those destinations are numbered to which nothing was sent yet.
    sequences: BTreeMap<Identity, SequenceRow>,
    closing: CancellationToken,
    /// On log lines about full outboxes.
    overflow: Throttle,
}

impl Dispatcher {
    pub(super) fn new(
        subscriptions: Subscriptions,
        repository: Arc<Repository>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            routes: Routes::none(subscriptions.query_limits()),
            subscriptions,
            repository,
            tasks,
            outboxes: BTreeMap::new(),
            sequences: BTreeMap::new(),
            closing: CancellationToken::new(),
            overflow: Throttle::new(5, Duration::from_secs(60)),
        }
    }

    /// Until all who tell of events have ended, or a moment after `stop`.
    pub(super) async fn run(mut self, events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut changes = self.subscriptions.watch();
        let objects = Arc::clone(&changes.borrow_and_update());
        self.follow(&objects);
        self.restore(&objects).await;
        let late = async {
            stop.cancelled().await;
            sleep(LAST_EVENTS).await;
        };
        tokio::select! {
            () = late => {}
            () = self.work(events, changes) => {}
        }
        self.keep().await;
    }

    async fn work(
        &mut self,
        mut events: mpsc::Receiver<Event>,
        mut changes: watch::Receiver<Arc<Objects>>,
    ) {
        loop {
            tokio::select! {
                biased;
                // A subscription that is made before an event sees it.
                Ok(()) = changes.changed() => {
                    let objects = Arc::clone(&changes.borrow_and_update());
                    self.follow(&objects);
                }
                event = events.recv() => match event {
                    Some(event) => self.dispatch(event).await,
                    None => return,
                },
            }
        }
    }

    /// Takes up what an earlier daemon left.
    async fn restore(&mut self, objects: &Objects) {
        let store = self.subscriptions.store().clone();
        let kept = match store.take_outboxes().await {
            Ok(kept) => kept,
            Err(error) => {
                error!(error = %Chain(&error), "indications that were kept cannot be read");
                return;
            }
        };
        let is_there = |it: &Identity| objects.get(ObjectKind::Destination, it).is_some();
        let sequences = kept.sequences.into_iter();
        let sequences = sequences.map(|row| (Identity(row.destination.clone()), row));
        self.sequences = sequences.filter(|(destination, _)| is_there(destination)).collect();
        for (destination, waiting) in rest::read(kept.parcels) {
            if is_there(&destination) {
                self.open(&destination, waiting);
            } else if let Err(error) = store.forget_parcels(destination.0).await {
                warn!(error = %Chain(&error), "indications that nobody waits for are still kept");
            }
        }
    }

    /// Ends the senders and keeps for the next daemon what they have not sent.
    async fn keep(mut self) {
        self.closing.cancel();
        let mut rests = Vec::new();
        for (_, sender) in std::mem::take(&mut self.outboxes).into_values() {
            match sender.await {
                Ok(rest) => rests.extend(rest),
                Err(error) => error!(%error, "what waits for a destination is lost"),
            }
        }
        let limit = self.subscriptions.terms().options.kept;
        let (mut outboxes, given_up) = rest::write(rests, &self.repository, limit);
        outboxes.sequences.extend(self.sequences.into_values());
        if given_up > 0 {
            warn!(given_up, limit, "more indications wait than are kept, the oldest are given up");
        }
        let waiting = outboxes.parcels.len();
        match self.subscriptions.store().keep_outboxes(outboxes).await {
            Ok(()) if waiting > 0 => info!(waiting, "indications are kept for the next start"),
            Ok(()) => {}
            Err(error) => {
                error!(waiting, error = %Chain(&error), "indications that wait cannot be kept");
            }
        }
    }

    /// Takes note of changed objects: new routes, and destinations that are no more.
    pub(super) fn follow(&mut self, objects: &Objects) {
        self.routes = Routes::of(objects, &self.routes);
        self.outboxes.retain(|identity, (outbox, _)| {
            let stays = objects.get(ObjectKind::Destination, identity).is_some();
            if !stays {
                outbox.gone.cancel();
            }
            stays
        });
        self.sequences.retain(|it, _| objects.get(ObjectKind::Destination, it).is_some());
    }

    /// Puts the event into the outboxes of all whose filters let it pass.
    pub(super) async fn dispatch(&mut self, event: Event) {
        let event = Arc::new(Event { indication: self.complete(event.indication), ..event });
        let mut passed = Vec::new();
        for filter in self.routes.filters() {
            if filter.matches(&event, &self.repository) {
                passed.push(Arc::clone(filter));
            }
            // There may be many, and each may take its time: others have their turn in between.
            yield_now().await;
        }
        let routes: Vec<Route> = self.routes.through(&passed).cloned().collect();
        let limit = self.subscriptions.terms().options.queued;
        let objects = self.subscriptions.objects();
        for Route { subscription, made, destination, filter } in routes {
            let content = Content::Event { event: Arc::clone(&event), filter };
            let parcel = Arc::new(Parcel { subscription, made, content });
            let outbox = self.outbox(&destination);
            let (given_up, total) = {
                let mut queue = outbox.queue();
                (queue.push(parcel, limit, |it| it.is_wanted(&objects)), queue.given_up())
            };
            outbox.filled.notify_one();
            if given_up > 0
                && let Some(suppressed) = self.overflow.admit()
            {
                let destination = destination.name();
                warn!(destination, total, suppressed, limit, "the oldest indications are given up");
            }
        }
    }

    /// The indication with all properties of its class, and so what it embeds.
    fn complete(&self, indication: Instance) -> Instance {
        indications::complete(indication, &self.repository)
    }

    /// The outbox of a destination; a sender comes with it.
    fn outbox(&mut self, destination: &Identity) -> Arc<Outbox> {
        match self.outboxes.get(destination) {
            Some((outbox, _)) => Arc::clone(outbox),
            None => self.open(destination, Vec::new()),
        }
    }

    fn open(&mut self, destination: &Identity, waiting: Waiting) -> Arc<Outbox> {
        let sequence = self.sequences.remove(destination);
        let queue = Queue::new(sequence.as_ref().map(|row| row.next), waiting);
        let outbox = Arc::new(Outbox::new(queue, self.closing.clone()));
        let (subscriptions, schema) = (self.subscriptions.clone(), Arc::clone(&self.repository));
        let (identity, filled) = (destination.clone(), Arc::clone(&outbox));
        let sender = Sender::new(subscriptions, schema, identity, filled, sequence);
        let sender = self.tasks.spawn(sender.run());
        self.outboxes.insert(destination.clone(), (Arc::clone(&outbox), sender));
        outbox
    }
}
