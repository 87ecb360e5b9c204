//! Which subscriptions an event is for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::warn;

use super::Event;
use crate::{
    cim::{CimName, Instance, Namespace, Scalar, Value},
    indications::{FILTER_ROLE, HANDLER_ROLE, Identity, Objects, subscription},
    query::{self, Language},
    repository::Repository,
    store::ObjectKind,
    telemetry::Chain,
};

const FILTER_NAME: CimName = CimName::literal("IndicationFilterName");
const SOURCE_NAMESPACES: CimName = CimName::literal("SourceNamespaces");
const SOURCE_NAMESPACE: CimName = CimName::literal("SourceNamespace");

/// A filter, ready to be asked.
#[derive(Debug)]
pub(super) struct Compiled {
    source: Arc<Instance>,
    name: String,
    /// Where indications must come from; empty: from anywhere.
    namespaces: Vec<Namespace>,
    condition: Condition,
}

#[derive(Debug)]
enum Condition {
    Select(query::Query),
    Filter(query::Filter),
}

impl Compiled {
    /// The filter of an object in the store. It was checked when it was made, but schema and limits may have
    /// become others since.
    fn new(source: &Arc<Instance>, limits: &query::Limits) -> Result<Self, String> {
        let text = |property| {
            source.value(&CimName::literal(property)).and_then(Value::as_str).unwrap_or_default()
        };
        let (language, query) = (text("QueryLanguage").trim(), text("Query"));
        let condition = match Language::from_name(language) {
            Some(language) => query::parse(language, query, limits).map(Condition::Select),
            None => query::Filter::parse(query, limits).map(Condition::Filter),
        };
        Ok(Self {
            source: Arc::clone(source),
            name: text("Name").to_owned(),
            namespaces: namespaces(source),
            condition: condition.map_err(|error| Chain(&error).to_string())?,
        })
    }

    /// Whether the event is one of those that are asked for.
    pub(super) fn matches(&self, event: &Event, schema: &Repository) -> bool {
        let from = event.namespace.as_str();
        let is_there = |it: &Namespace| it.as_str().eq_ignore_ascii_case(from);
        if !self.namespaces.is_empty() && !self.namespaces.iter().any(is_there) {
            return false;
        }
        let matches = match &self.condition {
            Condition::Select(query) => query.matches(&event.indication, schema),
            Condition::Filter(filter) => filter.matches(&event.indication, schema),
        };
        matches == Some(true)
    }

    /// What is sent: the indication, or what the select list leaves of it.
    pub(super) fn select(&self, event: &Event, schema: &Repository) -> Instance {
        let mut indication = event.indication.clone();
        indication.set(FILTER_NAME, self.name.as_str());
        match &self.condition {
            Condition::Select(query) => query.project(indication, schema),
            Condition::Filter(_) => indication,
        }
    }
}

/// Where a filter's indications come from. SourceNamespace is the older of the two properties.
fn namespaces(filter: &Instance) -> Vec<Namespace> {
    let texts: Vec<&str> = match (filter.value(&SOURCE_NAMESPACES), filter.value(&SOURCE_NAMESPACE))
    {
        (Some(Value::Array(several)), _) => {
            several.iter().flatten().filter_map(Scalar::as_str).collect()
        }
        (_, Some(one)) => one.as_str().into_iter().collect(),
        (_, None) => Vec::new(),
    };
    texts.into_iter().filter_map(|text| Namespace::parse(text.trim()).ok()).collect()
}

/// From a filter to a destination.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) subscription: Identity,
    /// When the subscription was made.
    pub(super) made: Arc<str>,
    pub(super) destination: Identity,
    pub(super) filter: Arc<Compiled>,
}

/// All routes on which something is sent: those of the subscriptions that are enabled.
#[derive(Debug, Default)]
pub(super) struct Routes {
    limits: query::Limits,
    filters: BTreeMap<Identity, Arc<Compiled>>,
    all: Vec<Route>,
}

impl Routes {
    /// None yet. Those that come after have the same limits.
    pub(super) fn none(limits: query::Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The routes of these objects; filters that are as they were are not read again.
    pub(super) fn of(objects: &Objects, before: &Self) -> Self {
        let mut routes = Self::none(before.limits);
        for (identity, subscription) in objects.subscriptions() {
            if !subscription::is_enabled(subscription) {
                continue;
            }
            let end = |role| {
                let path = subscription.value(role)?.as_reference()?.instance()?;
                Identity::of_path(path)
            };
            let (Some(filter), Some(destination)) = (end(&FILTER_ROLE), end(&HANDLER_ROLE)) else {
                continue;
            };
            let Some(filter) = routes.filter(filter, objects, before) else { continue };
            let (made, subscription) = (subscription::made(subscription).into(), identity.clone());
            routes.all.push(Route { subscription, made, destination, filter });
        }
        routes
    }

    fn filter(
        &mut self,
        identity: Identity,
        objects: &Objects,
        before: &Self,
    ) -> Option<Arc<Compiled>> {
        if let Some(known) = self.filters.get(&identity) {
            return Some(Arc::clone(known));
        }
        let source = objects.get(ObjectKind::Filter, &identity)?;
        let old = before.filters.get(&identity).filter(|old| Arc::ptr_eq(&old.source, source));
        let compiled = match old {
            Some(old) => Arc::clone(old),
            None => match Compiled::new(source, &self.limits) {
                Ok(compiled) => Arc::new(compiled),
                Err(error) => {
                    warn!(filter = %Objects::path(source), error, "a stored filter is no use");
                    return None;
                }
            },
        };
        self.filters.insert(identity, Arc::clone(&compiled));
        Some(compiled)
    }

    /// The filters to be asked about an event; many routes may share one.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Arc<Compiled>> {
        self.filters.values()
    }

    /// Where an event goes that these filters let pass.
    pub(super) fn through(&self, filters: &[Arc<Compiled>]) -> impl Iterator<Item = &Route> {
        let passed: BTreeSet<*const Compiled> = filters.iter().map(Arc::as_ptr).collect();
        self.all.iter().filter(move |route| passed.contains(&Arc::as_ptr(&route.filter)))
    }
}
