//! What clients want to be told: filters, destinations, and the subscriptions that bind one to the
//! other (DSP1054, DSP0200).
//!
//! ```text
//! client ──create, modify, delete──▶ Subscriptions ──▶ Runner ──rules──▶ store ──▶ Objects (watch)
//! event ──tell──▶ Delivery ──matches, queues, sends──▶ listener
//! ```
//!
//! One task owns the objects: it judges a change, stores it, and only then shows it. Everybody else
//! reads a snapshot. The rules stand in `filter.rs`, `destination.rs` and `subscription.rs`, those
//! between objects and the limits in `runner.rs`. How what happens gets to those who asked for it stands
//! in `delivery/`.

mod delivery;
mod destination;
mod error;
mod filter;
mod objects;
mod runner;
mod subscription;
#[cfg(test)]
mod tests;

pub use delivery::{Delivery, DeliveryOptions, Event, RemovalAction};
pub use error::{SetupError, SubscriptionError};
pub use objects::Objects;
pub use runner::{Limits, Options, Subscriptions};

use std::time::{SystemTime, UNIX_EPOCH};

use crate::{
    cim::{CimName, DateTime, Instance, InstancePath, Scalar, Value},
    repository::Repository,
    store::ObjectKind,
};

/// The class of filters.
pub const FILTER: CimName = CimName::literal("CIM_IndicationFilter");
/// The class of destinations.
pub const DESTINATION: CimName = CimName::literal("CIM_ListenerDestinationCIMXML");
/// The deprecated class of destinations that libvirt-cim's test suite uses.
pub const HANDLER: CimName = CimName::literal("CIM_IndicationHandlerCIMXML");
/// The class of subscriptions.
pub const SUBSCRIPTION: CimName = CimName::literal("CIM_IndicationSubscription");

/// The reference of a subscription to its filter.
pub const FILTER_ROLE: CimName = CimName::literal("Filter");
/// The reference of a subscription to its destination.
pub const HANDLER_ROLE: CimName = CimName::literal("Handler");

/// What the system is that clients name as the owner of what they create, unless they say otherwise.
const SYSTEM_CLASS: &str = "CIM_ComputerSystem";

/// The keys of filters and destinations.
const SYSTEM_CREATION_CLASS_NAME: CimName = CimName::literal("SystemCreationClassName");
const SYSTEM_NAME: CimName = CimName::literal("SystemName");
const CREATION_CLASS_NAME: CimName = CimName::literal("CreationClassName");
const NAME: CimName = CimName::literal("Name");

/// The longest name: what the schema allows the keys of destinations.
const MAX_NAME: usize = 256;

/// The kind of object that a class is of.
fn kind_of(class: &CimName) -> Option<ObjectKind> {
    if *class == FILTER {
        Some(ObjectKind::Filter)
    } else if *class == DESTINATION || *class == HANDLER {
        Some(ObjectKind::Destination)
    } else if *class == SUBSCRIPTION {
        Some(ObjectKind::Subscription)
    } else {
        None
    }
}

/// What names an object among all of its kind. System and class compare without regard to case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Identity(String);

impl Identity {
    /// Of the object at that path; `None` if a key is missing.
    pub fn of_path(path: &InstancePath) -> Option<Self> {
        if path.class == SUBSCRIPTION {
            let end = |role| path.key(role)?.as_reference()?.instance().and_then(Self::of_path);
            return Some(Self::binding(&end(&FILTER_ROLE)?, &end(&HANDLER_ROLE)?));
        }
        let key = |name| path.string_key(name).map(str::trim);
        Some(Self::named(
            &path.class,
            [key(&SYSTEM_CREATION_CLASS_NAME)?, key(&SYSTEM_NAME)?, key(&NAME)?],
        ))
    }

    /// Of an object; `None` if a key is missing.
    pub fn of(instance: &Instance) -> Option<Self> {
        if instance.class == SUBSCRIPTION {
            let end =
                |role| instance.value(role)?.as_reference()?.instance().and_then(Self::of_path);
            return Some(Self::binding(&end(&FILTER_ROLE)?, &end(&HANDLER_ROLE)?));
        }
        let key = |name| instance.value(name).and_then(Value::as_str);
        Some(Self::named(
            &instance.class,
            [key(&SYSTEM_CREATION_CLASS_NAME)?, key(&SYSTEM_NAME)?, key(&NAME)?],
        ))
    }

    /// What an administrator knows a filter or a destination by.
    fn name(&self) -> &str {
        self.0.rsplit('\n').next().unwrap_or_default()
    }

    /// What an administrator knows the filter of a subscription by.
    fn filter_name(&self) -> &str {
        let filter = self.0.split("\n\n").next().unwrap_or_default();
        filter.rsplit('\n').next().unwrap_or_default()
    }

    /// Keys have no control characters, so line breaks keep them apart.
    fn named(class: &CimName, [system_class, system, name]: [&str; 3]) -> Self {
        let scope = format!("{class}\n{system_class}\n{system}").to_ascii_lowercase();
        Self(format!("{scope}\n{name}"))
    }

    fn binding(filter: &Self, destination: &Self) -> Self {
        Self(format!("{}\n\n{}", filter.0, destination.0))
    }
}

/// Now, as CIM writes it.
pub fn now() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    DateTime::timestamp(micros, 0)
        .unwrap_or_else(|| DateTime::timestamp(0, 0).expect("1970 is a year"))
}

/// The instance with all properties of its class, and so the instances that it embeds.
fn complete(instance: Instance, repository: &Repository) -> Instance {
    let mut instance = repository.complete(instance.clone()).unwrap_or(instance);
    for property in &mut instance.properties {
        if let Some(Value::Scalar(Scalar::EmbeddedInstance(embedded))) = &mut property.value {
            let inner = std::mem::replace(&mut **embedded, Instance::new(SUBSCRIPTION));
            **embedded = complete(inner, repository);
        }
    }
    instance
}

/// The non-empty text in a property.
fn required<'i>(
    instance: &'i Instance,
    property: &'static str,
) -> Result<&'i str, SubscriptionError> {
    let value = instance.value(&CimName::literal(property)).and_then(Value::as_str);
    value
        .filter(|text| !text.trim().is_empty())
        .ok_or(SubscriptionError::Missing { class: instance.class.clone(), property })
}

/// The number in a property.
fn number(instance: &Instance, property: &'static str) -> Option<i128> {
    instance.value(&CimName::literal(property)).and_then(Value::as_integer)
}

/// Refuses a property that asks for something this server does not do.
fn unset(instance: &Instance, property: &'static str) -> Result<(), SubscriptionError> {
    match instance.value(&CimName::literal(property)) {
        None => Ok(()),
        Some(_) => Err(SubscriptionError::Unsupported { property }),
    }
}

/// Completes the keys of a filter or a destination: clients may leave out all but the name.
fn complete_keys(instance: &mut Instance, system: &str) -> Result<(), SubscriptionError> {
    required(instance, "Name")?;
    let class = instance.class.clone();
    let keys = [
        (&SYSTEM_CREATION_CLASS_NAME, SYSTEM_CLASS),
        (&SYSTEM_NAME, system),
        (&CREATION_CLASS_NAME, class.as_str()),
        (&NAME, ""),
    ];
    for (key, default) in keys {
        let given = instance.value(key).and_then(Value::as_str).unwrap_or("").trim();
        let value = if given.is_empty() { default } else { given }.to_owned();
        if value.len() > MAX_NAME || value.contains(char::is_control) {
            let rule = "has at most 256 bytes and no control characters";
            return Err(SubscriptionError::value(key.as_str(), rule, &value));
        }
        if *key == CREATION_CLASS_NAME && class != *value {
            return Err(SubscriptionError::value(
                key.as_str(),
                "names the class that is made",
                &value,
            ));
        }
        instance.set(key.clone(), value);
    }
    Ok(())
}
