//! The task that owns the objects, and the handle to it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

use super::{
    FILTER_ROLE, HANDLER_ROLE, Identity, Objects, SubscriptionError, destination, filter, kind_of,
    subscription,
};
use crate::{
    cim::{DateTime, Instance, InstancePath, Property},
    repository::Repository,
    store::{ObjectKind, ObjectRow, Store, StoreError},
    xml,
};

/// How many changes may wait for the one that is being stored.
const QUEUE: usize = 64;

/// The largest object we keep, as XML: the longest query, escaped, and some words about it.
const MAX_OBJECT: usize = 256 * 1024;

/// How many objects there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Filters.
    pub filters: usize,
    /// Destinations.
    pub destinations: usize,
    /// Subscriptions.
    pub subscriptions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { filters: 1000, destinations: 1000, subscriptions: 1000 }
    }
}

/// What the room is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The system that owns what clients create, unless they name another.
    pub system: String,
    /// How many objects there may be.
    pub limits: Limits,
}

/// Reads and changes filters, destinations and subscriptions. Clones share them.
#[derive(Clone)]
pub struct Subscriptions {
    changes: mpsc::Sender<Order>,
    objects: watch::Receiver<Arc<Objects>>,
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
}

impl Subscriptions {
    /// Reads what an earlier process left in the store, and begins to take changes.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub async fn start(
        store: Store,
        repository: Arc<Repository>,
        options: Options,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StoreError> {
        let objects = load(&store).await?;
        let (shown, objects) = watch::channel(Arc::new(objects));
        let (changes, orders) = mpsc::channel(QUEUE);
        tasks.spawn(Runner { store, repository, options, shown }.run(orders, stop));
        Ok(Self { changes, objects })
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
    options: Options,
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
                self.store.remove_object(kind, identity.0.clone()).await?;
                self.show(objects.without(kind, &identity));
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
                filter::complete(instance, &self.options.system, &self.repository)
            }
            ObjectKind::Destination => destination::complete(instance, &self.options.system),
            ObjectKind::Subscription => subscription::complete(instance, before, objects, now()),
        }
    }

    fn check_room(
        &self,
        kind: ObjectKind,
        made: &Instance,
        objects: &Objects,
    ) -> Result<(), SubscriptionError> {
        let limits = &self.options.limits;
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

fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    DateTime::timestamp(micros, 0)
        .unwrap_or_else(|| DateTime::timestamp(0, 0).expect("1970 is a year"))
}
