//! All filters, destinations and subscriptions at one moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    CREATION_CLASS_NAME, FILTER_ROLE, HANDLER_ROLE, Identity, NAME, SUBSCRIPTION,
    SYSTEM_CREATION_CLASS_NAME, SYSTEM_NAME, subscription,
};
use crate::{
    cim::{CimName, Instance, InstancePath, KeyValue, Value},
    store::ObjectKind,
};

type Kept = BTreeMap<Identity, Arc<Instance>>;

/// A snapshot. Cheap enough to copy: its objects are shared.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    filters: Kept,
    destinations: Kept,
    subscriptions: Kept,
}

impl Objects {
    /// The filters or destinations of that class, by name.
    pub fn of_class(&self, class: &CimName) -> impl Iterator<Item = &Instance> {
        let all = self.filters.values().chain(self.destinations.values());
        all.filter(move |it| it.class == *class).map(|it| &**it)
    }

    /// The filter or destination at that path.
    pub fn at(&self, path: &InstancePath) -> Option<&Instance> {
        let identity = Identity::of_path(path)?;
        let found = self.filters.get(&identity).or_else(|| self.destinations.get(&identity));
        found.map(|it| &**it)
    }

    /// The subscriptions of a filter or a destination: what stands at the other end, and what the
    /// subscription says.
    pub fn subscriptions_of(
        &self,
        end: &Instance,
        role: &CimName,
    ) -> impl Iterator<Item = (InstancePath, Vec<(CimName, Value)>)> {
        let identity = Identity::of(end);
        let (near, far) = match *role == FILTER_ROLE {
            true => (FILTER_ROLE, HANDLER_ROLE),
            false => (HANDLER_ROLE, FILTER_ROLE),
        };
        let path = |subscription: &Instance, role: &CimName| {
            subscription.value(role)?.as_reference()?.instance().cloned()
        };
        self.subscriptions.values().filter_map(move |it| {
            let is_near = path(it, &near).is_some_and(|path| Identity::of_path(&path) == identity);
            is_near.then(|| path(it, &far))?.map(|far| (far, subscription::shown(it)))
        })
    }

    /// All subscriptions.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (&Identity, &Instance)> {
        self.subscriptions.iter().map(|(identity, it)| (identity, &**it))
    }

    /// The path of a filter, a destination or a subscription.
    pub(super) fn path(instance: &Instance) -> InstancePath {
        if instance.class == SUBSCRIPTION {
            let keys = [FILTER_ROLE, HANDLER_ROLE].into_iter().filter_map(|role| {
                let end = instance.value(&role)?.as_reference()?.clone();
                Some((role, KeyValue::Reference(Box::new(end))))
            });
            return InstancePath::new(SUBSCRIPTION, keys);
        }
        let keys = [SYSTEM_CREATION_CLASS_NAME, SYSTEM_NAME, CREATION_CLASS_NAME, NAME];
        let keys = keys.map(|key| {
            let value = instance.value(&key).and_then(Value::as_str).unwrap_or_default().to_owned();
            (key, value)
        });
        InstancePath::new(instance.class.clone(), keys)
    }

    pub(super) fn get(&self, kind: ObjectKind, identity: &Identity) -> Option<&Arc<Instance>> {
        self.kept(kind).get(identity)
    }

    pub(super) fn count(&self, kind: ObjectKind) -> usize {
        self.kept(kind).len()
    }

    /// The same with an object in it, which may replace another.
    pub(super) fn with(&self, kind: ObjectKind, identity: Identity, instance: Instance) -> Self {
        let mut objects = self.clone();
        objects.kept_mut(kind).insert(identity, Arc::new(instance));
        objects
    }

    /// The same without an object.
    pub(super) fn without(&self, kind: ObjectKind, identity: &Identity) -> Self {
        let mut objects = self.clone();
        objects.kept_mut(kind).remove(identity);
        objects
    }

    fn kept(&self, kind: ObjectKind) -> &Kept {
        match kind {
            ObjectKind::Filter => &self.filters,
            ObjectKind::Destination => &self.destinations,
            ObjectKind::Subscription => &self.subscriptions,
        }
    }

    fn kept_mut(&mut self, kind: ObjectKind) -> &mut Kept {
        match kind {
            ObjectKind::Filter => &mut self.filters,
            ObjectKind::Destination => &mut self.destinations,
            ObjectKind::Subscription => &mut self.subscriptions,
        }
    }
}
