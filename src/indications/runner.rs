//! The task that owns the objects, and the handle to it.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

use super::{
    DeliveryOptions, FILTER_ROLE, HANDLER_ROLE, Identity, Objects, SetupError, SubscriptionError,
    delivery::Terms,
    destination, filter, kind_of, now, number,
    subscription::{self, DISABLED, STATE},
};
use crate::{
    cim::{Instance, InstancePath, Property},
    query,
    repository::Repository,
    store::{ObjectKind, ObjectRow, Store, StoreError},
    xml,
};

/// How many changes may wait for the one that is being stored.
const QUEUE: usize = 64;

/// The largest object we keep, as XML: the longest query that is allowed by default, escaped, and some words
/// about it.
const MAX_OBJECT: usize = 256 * 1024;

/// How many objects there may be, and what they may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Filters.
    pub filters: usize,
    /// Destinations.
    pub destinations: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// What the query of a filter may cost.
    pub query: query::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            filters: 1000,
            destinations: 1000,
            subscriptions: 1000,
            query: query::Limits::default(),
        }
    }
}

/// What the room is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The system that owns what clients create, unless they name another.
    pub system: String,
    /// How many objects there may be.
    pub limits: Limits,
    /// How indications are sent.
    pub delivery: DeliveryOptions,
}

/// Reads and changes filters, destinations and subscriptions. Clones share them.
#[derive(Clone)]
pub struct Subscriptions {
    changes: mpsc::Sender<Order>,
    objects: watch::Receiver<Arc<Objects>>,
    terms: Arc<watch::Sender<Arc<Terms>>>,
    query_limits: query::Limits,
    store: Store,
}

/// A change, and who waits for what comes of it.
struct Order {
    change: Change,
    done: oneshot::Sender<Result<Instance, SubscriptionError>>,
}

enum Change {
    Create(Instance),
    Modify(InstancePath, Vec<Property>),
    Delete(InstancePath),
    /// Of a subscription, and of a transient destination with the last one to it.
    Remove(InstancePath),
}

impl Subscriptions {
    /// Reads what an earlier process left in the store, and begins to take changes.
    ///
    /// # Errors
    /// [`SetupError`] if the store, or a file that the options name, cannot be read.
    pub async fn start(
        store: Store,
        repository: Arc<Repository>,
        options: Options,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, SetupError> {
        let Options { system, limits, delivery } = options;
        let terms = Arc::new(watch::Sender::new(Arc::new(Terms::read(delivery)?)));
        let objects = load(&store).await?;
        let (shown, objects) = watch::channel(Arc::new(objects));
        let (changes, orders) = mpsc::channel(QUEUE);
        let current = terms.subscribe();
        let kept = store.clone();
        let runner = Runner { store, repository, system, limits, terms: current, shown };
        tasks.spawn(runner.run(orders, stop));
        Ok(Self { changes, objects, terms, query_limits: limits.query, store: kept })
    }

    /// Changes how indications are sent, from the next attempt on.
    ///
    /// # Errors
    /// [`SetupError`] if a file that the options name cannot be read; then all stays as it was.
    pub fn set_delivery(&self, options: DeliveryOptions) -> Result<(), SetupError> {
        self.terms.send_replace(Arc::new(Terms::read(options)?));
        Ok(())
    }

    /// How indications are sent.
    pub fn delivery(&self) -> DeliveryOptions {
        self.terms().options.clone()
    }

    /// The same, with what was read because of it.
    pub(super) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.borrow())
    }

    /// What the query of a filter may cost.
    pub(super) fn query_limits(&self) -> query::Limits {
        self.query_limits
    }

    /// Where what waits for destinations is kept.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// What there is, now and from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<Objects>> {
        self.objects.clone()
    }

    /// What there is now.
    pub fn objects(&self) -> Arc<Objects> {
        Arc::clone(&self.objects.borrow())
    }

    /// Makes an object and returns it complete. It is made even if the caller does not wait for it.
    ///
    /// # Errors
    /// [`SubscriptionError`]; then nothing was made.
    pub async fn create(&self, instance: Instance) -> Result<Instance, SubscriptionError> {
        self.order(Change::Create(instance)).await
    }

    /// Changes properties of an object; none of its keys is among them.
    ///
    /// # Errors
    /// [`SubscriptionError`]; then nothing was changed.
    pub async fn modify(
        &self,
        path: InstancePath,
        changes: Vec<Property>,
    ) -> Result<(), SubscriptionError> {
        self.order(Change::Modify(path, changes)).await.map(drop)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// [`SubscriptionError`]; then nothing was deleted.
    pub async fn delete(&self, path: InstancePath) -> Result<(), SubscriptionError> {
        self.order(Change::Delete(path)).await.map(drop)
    }

    /// Lets nothing be sent for a subscription until somebody enables it.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub(super) async fn disable(&self, subscription: &Instance) -> Result<(), SubscriptionError> {
        let path = Objects::path(subscription);
        let disabled = Instance::new(path.class.clone()).with(STATE, DISABLED);
        self.modify(path, disabled.properties).await
    }

    /// Deletes a subscription, and with the last one to a transient destination the destination: nobody
    /// else would.
    ///
    /// # Errors
    /// [`SubscriptionError`].
    pub(super) async fn remove(&self, subscription: &Instance) -> Result<(), SubscriptionError> {
        self.order(Change::Remove(Objects::path(subscription))).await.map(drop)
    }

    async fn order(&self, change: Change) -> Result<Instance, SubscriptionError> {
        let (done, result) = oneshot::channel();
        let sent = self.changes.send(Order { change, done }).await;
        sent.map_err(|_| SubscriptionError::Closed)?;
        result.await.map_err(|_| SubscriptionError::Closed)?
    }
}

struct Runner {
    store: Store,
    repository: Arc<Repository>,
    system: String,
    limits: Limits,
    terms: watch::Receiver<Arc<Terms>>,
    shown: watch::Sender<Arc<Objects>>,
}

impl Runner {
    async fn run(self, mut orders: mpsc::Receiver<Order>, stop: CancellationToken) {
        while let Some(Some(Order { change, done })) = stop.run_until_cancelled(orders.recv()).await
        {
            let result = self.carry_out(change).await;
            if let Err(SubscriptionError::Store(failure)) = &result {
                error!(error = %failure, "a subscription could not be stored");
            }
            // Nobody may be waiting any more; what was done is done.
            let _ = done.send(result);
        }
    }

    /// Carries out a change and returns the object that it made, changed or deleted.
    async fn carry_out(&self, change: Change) -> Result<Instance, SubscriptionError> {
        let objects = Arc::clone(&self.shown.borrow());
        match change {
            Change::Create(instance) => {
                let kind = kind_of(&instance.class).ok_or(SubscriptionError::NoInstance)?;
                let made = self.complete(kind, instance, None, &objects)?;
                let identity = Identity::of(&made).ok_or(SubscriptionError::NoInstance)?;
                if objects.get(kind, &identity).is_some() {
                    return Err(SubscriptionError::Exists(describe(kind, &made)));
                }
                self.check_room(kind, &made, &objects)?;
                self.store.insert_object(kind, row(&identity, &made)?).await?;
                self.show(objects.with(kind, identity, made.clone()));
                Ok(made)
            }
            Change::Modify(path, changes) => {
                let (kind, identity, found) = find(&objects, &path)?;
                let changed =
                    self.complete(kind, merge(&found, changes), Some(&found), &objects)?;
                self.store.update_object(kind, row(&identity, &changed)?).await?;
                self.show(objects.with(kind, identity, changed.clone()));
                Ok(changed)
            }
            Change::Delete(path) => {
                let (kind, identity, found) = find(&objects, &path)?;
                check_unused(kind, &found, &objects)?;
                self.store.remove_objects(vec![(kind, identity.0.clone())]).await?;
                self.show(objects.without(kind, &identity));
                Ok((*found).clone())
            }
            Change::Remove(path) => {
                let (kind, identity, found) = find(&objects, &path)?;
                let mut left = objects.without(kind, &identity);
                let mut gone = vec![(kind, identity.0)];
                if let Some(destination) = unused_transient(&found, &left) {
                    left = left.without(ObjectKind::Destination, &destination);
                    gone.push((ObjectKind::Destination, destination.0));
                }
                self.store.remove_objects(gone).await?;
                self.show(left);
                Ok((*found).clone())
            }
        }
    }

    fn show(&self, objects: Objects) {
        self.shown.send_replace(Arc::new(objects));
    }

    /// Checks an object by the rules of its kind and completes it.
    fn complete(
        &self,
        kind: ObjectKind,
        instance: Instance,
        before: Option<&Instance>,
        objects: &Objects,
    ) -> Result<Instance, SubscriptionError> {
        match kind {
            ObjectKind::Filter => {
                filter::complete(instance, &self.system, &self.repository, &self.limits.query)
            }
            ObjectKind::Destination => {
                let allow_cleartext = self.terms.borrow().options.allow_cleartext;
                destination::complete(instance, &self.system, allow_cleartext)
            }
            ObjectKind::Subscription => subscription::complete(instance, before, objects, now()),
        }
    }

    fn check_room(
        &self,
        kind: ObjectKind,
        made: &Instance,
        objects: &Objects,
    ) -> Result<(), SubscriptionError> {
        let limits = &self.limits;
        let (limit, name) = match kind {
            ObjectKind::Filter => (limits.filters, "max-filters"),
            ObjectKind::Destination => (limits.destinations, "max-destinations"),
            ObjectKind::Subscription => (limits.subscriptions, "max-subscriptions"),
        };
        if objects.count(kind) < limit {
            return Ok(());
        }
        Err(SubscriptionError::Limit { class: made.class.clone(), limit, name })
    }
}

fn find(
    objects: &Objects,
    path: &InstancePath,
) -> Result<(ObjectKind, Identity, Arc<Instance>), SubscriptionError> {
    let found = || {
        let (kind, identity) = (kind_of(&path.class)?, Identity::of_path(path)?);
        let instance = Arc::clone(objects.get(kind, &identity)?);
        Some((kind, identity, instance))
    };
    found().ok_or(SubscriptionError::NoInstance)
}

/// What a subscription refers to stays.
fn check_unused(
    kind: ObjectKind,
    found: &Instance,
    objects: &Objects,
) -> Result<(), SubscriptionError> {
    let role = match kind {
        ObjectKind::Filter => FILTER_ROLE,
        ObjectKind::Destination => HANDLER_ROLE,
        ObjectKind::Subscription => return Ok(()),
    };
    match objects.subscriptions_of(found, &role).count() {
        0 => Ok(()),
        subscriptions => {
            Err(SubscriptionError::InUse { name: describe(kind, found), subscriptions })
        }
    }
}

/// The destination of a subscription that is no more, if it is transient and was there for it alone.
fn unused_transient(subscription: &Instance, left: &Objects) -> Option<Identity> {
    let handler = subscription.value(&HANDLER_ROLE)?.as_reference()?.instance()?;
    let destination = left.at(handler)?;
    let is_transient = number(destination, "PersistenceType") == Some(destination::TRANSIENT);
    let is_used = left.subscriptions_of(destination, &HANDLER_ROLE).next().is_some();
    (is_transient && !is_used).then(|| Identity::of(destination)).flatten()
}

fn merge(found: &Instance, changes: Vec<Property>) -> Instance {
    let mut merged = found.clone();
    for change in changes {
        merged.properties.retain(|it| it.name != change.name);
        merged.properties.push(change);
    }
    merged
}

fn describe(kind: ObjectKind, instance: &Instance) -> String {
    match kind {
        ObjectKind::Filter | ObjectKind::Destination => Objects::path(instance).to_string(),
        ObjectKind::Subscription => "a subscription of that filter and destination".to_owned(),
    }
}

fn row(identity: &Identity, instance: &Instance) -> Result<ObjectRow, SubscriptionError> {
    let body = xml::embedded::encode_instance(instance);
    if body.len() > MAX_OBJECT {
        return Err(SubscriptionError::TooLarge { size: body.len(), limit: MAX_OBJECT });
    }
    Ok(ObjectRow { key: identity.0.clone(), body })
}

async fn load(store: &Store) -> Result<Objects, StoreError> {
    let mut objects = Objects::default();
    for kind in [ObjectKind::Filter, ObjectKind::Destination, ObjectKind::Subscription] {
        for row in store.objects(kind).await? {
            match xml::embedded::decode_instance(&row.body, &xml::Limits::default()) {
                Ok(instance) => objects = objects.with(kind, Identity(row.key), instance),
                Err(failure) => {
                    warn!(object = row.key, error = %failure, "a stored object cannot be read");
                }
            }
        }
    }
    Ok(objects)
}
