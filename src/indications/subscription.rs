//! What a subscription must be, and what it says of itself.

use super::{
    FILTER, FILTER_ROLE, HANDLER_ROLE, Identity, Objects, SubscriptionError, number, unset,
};
use crate::{
    cim::{CimName, DateTime, Instance, ObjectPath, Property, Scalar, Value},
    store::ObjectKind,
};

const START: CimName = CimName::literal("SubscriptionStartTime");
const CHANGE: CimName = CimName::literal("TimeOfLastStateChange");
pub(super) const STATE: CimName = CimName::literal("SubscriptionState");

/// Values of SubscriptionState.
const ENABLED: u16 = 2;
pub(super) const DISABLED: u16 = 4;

/// A subscription as its client asked for it, completed, if it follows the rules. `before` is what it
/// was.
pub(super) fn complete(
    mut subscription: Instance,
    before: Option<&Instance>,
    objects: &Objects,
    now: DateTime,
) -> Result<Instance, SubscriptionError> {
    refer(&mut subscription, &FILTER_ROLE, "Filter", objects)?;
    refer(&mut subscription, &HANDLER_ROLE, "Handler", objects)?;
    unset(&subscription, "SubscriptionDuration")?;
    choose(&mut subscription, "SubscriptionState", &[ENABLED, DISABLED])?;
    // Ignore, Disable, Remove.
    choose(&mut subscription, "OnFatalErrorPolicy", &[2, 3, 4])?;
    // None: every indication is one of its own.
    choose(&mut subscription, "RepeatNotificationPolicy", &[2])?;
    let alert = subscription.value(&CimName::literal("AlertOnStateChange"));
    if alert.and_then(Value::as_bool) == Some(true) {
        return Err(SubscriptionError::Unsupported { property: "AlertOnStateChange" });
    }
    stamp(&mut subscription, before, now);
    Ok(subscription)
}

/// Checks that the object is there and keeps a reference to it without host and namespace.
fn refer(
    subscription: &mut Instance,
    role: &CimName,
    name: &'static str,
    objects: &Objects,
) -> Result<(), SubscriptionError> {
    let missing =
        || SubscriptionError::Missing { class: subscription.class.clone(), property: name };
    let given = subscription.value(role).and_then(Value::as_reference).ok_or_else(missing)?;
    let no_end = || SubscriptionError::NoEnd { role: name, path: given.to_string() };
    let path = given.instance().ok_or_else(no_end)?;
    let kind = match *role == FILTER_ROLE {
        true => ObjectKind::Filter,
        false => ObjectKind::Destination,
    };
    let right_class = (path.class == FILTER) == (kind == ObjectKind::Filter);
    let identity = Identity::of_path(path).filter(|_| right_class).ok_or_else(no_end)?;
    let Some(end) = objects.get(kind, &identity) else { return Err(no_end()) };
    let path = Objects::path(end);
    subscription.set(role.clone(), ObjectPath::from(path));
    Ok(())
}

/// Checks a number against those that are possible; the first is the default.
fn choose(
    subscription: &mut Instance,
    property: &'static str,
    possible: &[u16],
) -> Result<(), SubscriptionError> {
    match number(subscription, property) {
        None => subscription.set(CimName::literal(property), possible[0]),
        Some(chosen) => {
            if !possible.iter().any(|it| i128::from(*it) == chosen) {
                let rule = match property {
                    "SubscriptionState" => "is 2 (Enabled) or 4 (Disabled)",
                    "OnFatalErrorPolicy" => "is 2 (Ignore), 3 (Disable) or 4 (Remove)",
                    _ => "is 2 (None)",
                };
                return Err(SubscriptionError::value(property, rule, &chosen.to_string()));
            }
        }
    }
    Ok(())
}

/// Says when it began and when its state last changed.
fn stamp(subscription: &mut Instance, before: Option<&Instance>, now: DateTime) {
    let changed = before.is_none_or(|before| before.value(&STATE) != subscription.value(&STATE));
    let was = |name: &CimName| before.and_then(|before| before.value(name)).cloned();
    let started = was(&START).unwrap_or_else(|| now.into());
    let changed = was(&CHANGE).filter(|_| !changed).unwrap_or_else(|| now.into());
    subscription.set(START, started);
    subscription.set(CHANGE, changed);
}

/// When it was made. One that was deleted and made again has the same name, but is another.
pub(super) fn made(subscription: &Instance) -> &str {
    time(subscription, &START)
}

/// When it was last enabled or disabled.
pub(super) fn enabled(subscription: &Instance) -> &str {
    time(subscription, &CHANGE)
}

fn time<'i>(subscription: &'i Instance, property: &CimName) -> &'i str {
    match subscription.value(property) {
        Some(Value::Scalar(Scalar::DateTime(time))) => time.as_str(),
        _ => "",
    }
}

/// Whether anything is sent for it.
pub(super) fn is_enabled(subscription: &Instance) -> bool {
    number(subscription, "SubscriptionState") == Some(i128::from(ENABLED))
}

/// What clients see of a subscription beside its references.
pub(super) fn shown(subscription: &Instance) -> Vec<(CimName, Value)> {
    let is_shown = |it: &&Property| it.name != FILTER_ROLE && it.name != HANDLER_ROLE;
    let shown = subscription.properties.iter().filter(is_shown);
    shown.filter_map(|it| Some((it.name.clone(), it.value.clone()?))).collect()
}
