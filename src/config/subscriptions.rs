//! `[indications]`.

use super::{Choice, Section, count, network::time, value::Bytes};
use crate::{
    indications::{DeliveryOptions, Limits, RemovalAction},
    ops::QueryLimits,
};

impl Choice for RemovalAction {
    const WORDS: &'static [(&'static str, Self)] =
        &[("remove", Self::Remove), ("disable", Self::Disable), ("ignore", Self::Ignore)];
}

/// Reads how many objects clients may keep, and how indications are sent. Where clients may come by plain
/// HTTP, so may indications go, unless the section says otherwise.
pub(super) fn read(
    root: &mut Section<'_>,
    cleartext: bool,
    query: QueryLimits,
) -> (Limits, DeliveryOptions) {
    let mut section = root.section("indications");
    let defaults = Limits::default();
    let limits = Limits {
        filters: count(&mut section, "max-filters", defaults.filters),
        destinations: count(&mut section, "max-destinations", defaults.destinations),
        subscriptions: count(&mut section, "max-subscriptions", defaults.subscriptions),
        query,
    };
    let defaults = DeliveryOptions::default();
    let delivery = DeliveryOptions {
        queued: count(&mut section, "max-queued", defaults.queued),
        kept: section.optional::<Bytes>("max-kept").map_or(defaults.kept, |it| it.0.get()),
        attempts: section.or("retry-attempts", defaults.attempts),
        interval: time(&mut section, "retry-interval", defaults.interval),
        removal: section.or("removal-action", defaults.removal),
        removal_after: time(&mut section, "removal-interval", defaults.removal_after),
        connect: time(&mut section, "connect-timeout", defaults.connect),
        answer: time(&mut section, "answer-timeout", defaults.answer),
        allow_cleartext: section.or("allow-cleartext", cleartext),
        ca: section.optional("ca"),
    };
    section.finish();
    (limits, delivery)
}
