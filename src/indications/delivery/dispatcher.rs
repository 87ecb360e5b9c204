//! The task that matches events with filters and fills the outboxes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    Event,
    queue::Queue,
    route::{Compiled, Route, Routes},
    sender::Sender,
};
use crate::{
    cim::Instance,
    indications::{self, Identity, Objects, Subscriptions},
    repository::Repository,
    store::ObjectKind,
    telemetry::Throttle,
};

/// An indication on its way: the event is shared with all others that it is for.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) event: Arc<Event>,
    pub(super) subscription: Identity,
    /// When the subscription was made: its namesakes do not get what it was meant for.
    pub(super) made: Arc<str>,
    pub(super) filter: Arc<Compiled>,
}

/// What waits for a destination, and how its sender is told.
pub(super) struct Outbox {
    queue: Mutex<Queue<Parcel>>,
    pub(super) filled: Notify,
    /// The destination is no more.
    pub(super) gone: CancellationToken,
    /// Nothing more will come: the daemon ends.
    pub(super) closing: CancellationToken,
}

impl Outbox {
    pub(super) fn new(closing: CancellationToken) -> Self {
        let (filled, gone) = (Notify::new(), CancellationToken::new());
        Self { queue: Mutex::default(), filled, gone, closing }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<Parcel>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Dispatcher {
    subscriptions: Subscriptions,
    repository: Arc<Repository>,
    tasks: TaskTracker,
    routes: Routes,
    outboxes: BTreeMap<Identity, Arc<Outbox>>,
    /// Names this daemon among all that ever ran here.
    start: u128,
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
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            routes: Routes::none(subscriptions.query_limits()),
            subscriptions,
            repository,
            tasks,
            outboxes: BTreeMap::new(),
            start: started.as_micros(),
            closing: CancellationToken::new(),
            overflow: Throttle::new(5, Duration::from_secs(60)),
        }
    }

    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>, stop: CancellationToken) {
        let mut changes = self.subscriptions.watch();
        self.follow(&changes.borrow_and_update().clone());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // A subscription that is made before an event sees it.
                Ok(()) = changes.changed() => {
                    let objects = Arc::clone(&changes.borrow_and_update());
                    self.follow(&objects);
                }
                Some(event) = events.recv() => self.dispatch(event),
                else => break,
            }
        }
        events.close();
        while let Ok(event) = events.try_recv() {
            self.dispatch(event);
        }
        self.closing.cancel();
    }

    /// Takes note of changed objects: new routes, and destinations that are no more.
    fn follow(&mut self, objects: &Objects) {
        self.routes = Routes::of(objects, &self.routes);
        self.outboxes.retain(|identity, outbox| {
            let stays = objects.get(ObjectKind::Destination, identity).is_some();
            if !stays {
                outbox.gone.cancel();
            }
            stays
        });
    }

    fn dispatch(&mut self, event: Event) {
        let event = Arc::new(Event { indication: self.complete(event.indication), ..event });
        let routes: Vec<Route> = self.routes.matching(&event, &self.repository).cloned().collect();
        let limit = self.subscriptions.terms().options.queued;
        for Route { subscription, made, destination, filter } in routes {
            let parcel = Parcel { event: Arc::clone(&event), subscription, made, filter };
            let outbox = self.outbox(&destination);
            let (given_up, total) = {
                let mut queue = outbox.queue();
                (queue.push(parcel, limit), queue.given_up())
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
        if let Some(outbox) = self.outboxes.get(destination) {
            return Arc::clone(outbox);
        }
        let outbox = Arc::new(Outbox::new(self.closing.clone()));
        let (subscriptions, schema) = (self.subscriptions.clone(), Arc::clone(&self.repository));
        let sender = Sender::new(
            subscriptions,
            schema,
            destination.clone(),
            Arc::clone(&outbox),
            self.start,
        );
        self.tasks.spawn(sender.run());
        self.outboxes.insert(destination.clone(), Arc::clone(&outbox));
        outbox
    }
}
