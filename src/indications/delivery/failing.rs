//! Since when nothing of a subscription arrives. Pure: it is told what happens, and when.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::{
    cim::Instance,
    indications::{Identity, subscription},
};

/// How an attempt failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum How {
    /// It may succeed later: the listener did not take it.
    Unheard,
    /// It would fail again: the listener does not want it.
    Refused,
}

/// The subscriptions of one destination of which nothing arrives.
#[derive(Debug, Default)]
pub(super) struct Failing(BTreeMap<Identity, Spell>);

/// A time in which nothing of a subscription arrived.
#[derive(Debug)]
struct Spell {
    /// When the subscription was made and last enabled: one that is made or enabled anew begins anew.
    made: String,
    enabled: String,
    /// The first attempt that failed, and how the last one did.
    since: Instant,
    how: How,
    /// When the first indication was lost.
    lost: Option<Instant>,
}

impl Failing {
    /// The listener has taken an indication of this subscription, so it works: what else it did not hear
    /// before counts no more. What it refuses it may still refuse.
    pub(super) fn heard(&mut self, identity: &Identity) {
        self.0.retain(|it, spell| it != identity && spell.how == How::Refused);
    }

    /// An attempt failed.
    pub(super) fn failed(
        &mut self,
        identity: &Identity,
        subscription: &Instance,
        how: How,
        now: Instant,
    ) {
        self.spell(identity, subscription, how, now).how = how;
    }

    /// An indication is lost. Returns for how long the subscription has been failing, and how long ago
    /// another was lost first.
    pub(super) fn lost(
        &mut self,
        identity: &Identity,
        subscription: &Instance,
        how: How,
        now: Instant,
    ) -> (Duration, Option<Duration>) {
        let spell = self.spell(identity, subscription, how, now);
        let first_loss = spell.lost.map(|lost| now - lost);
        spell.lost.get_or_insert(now);
        (now - spell.since, first_loss)
    }

    /// Forgets all others.
    pub(super) fn retain(&mut self, stays: impl Fn(&Identity) -> bool) {
        self.0.retain(|it, _| stays(it));
    }

    fn spell(
        &mut self,
        identity: &Identity,
        subscription: &Instance,
        how: How,
        now: Instant,
    ) -> &mut Spell {
        let made = subscription::made(subscription);
        let enabled = subscription::enabled(subscription);
        let begin = || Spell {
            made: made.to_owned(),
            enabled: enabled.to_owned(),
            since: now,
            how,
            lost: None,
        };
        let spell = self.0.entry(identity.clone()).or_insert_with(begin);
        if spell.made != made || spell.enabled != enabled {
            *spell = begin();
        }
        spell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cim::{CimName, DateTime},
        indications::SUBSCRIPTION,
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn identity(title: &str) -> Identity {
        Identity(title.to_owned())
    }

    /// A subscription that was made and enabled so many seconds after 1970.
    fn subscription(made: i64, enabled: i64) -> Instance {
        let at = |seconds| DateTime::timestamp(seconds * 1_000_000, 0).unwrap();
        Instance::new(SUBSCRIPTION)
            .with(CimName::literal("SubscriptionStartTime"), at(made))
            .with(CimName::literal("TimeOfLastStateChange"), at(enabled))
    }

    /// For how long b is failing with a loss after five seconds, the last of two of it.
    #[track_caller]
    fn check(how: How, meanwhile: Option<&str>, now: &Instance, expected: Option<u32>) {
        let (mut failing, begin) = (Failing::default(), Instant::now());
        let (b, before) = (identity("b"), subscription(1, 1));
        failing.failed(&b, &before, how, begin);
        assert_eq!(failing.lost(&b, &before, how, begin), (Duration::ZERO, None));
        if let Some(heard) = meanwhile {
            failing.heard(&identity(heard));
        }
        let found = failing.lost(&b, now, how, begin + 5 * SECOND);
        let expected = expected.map(|seconds| seconds * SECOND);
        assert_eq!(found, (expected.unwrap_or_default(), expected), "{how:?} {meanwhile:?}");
    }

    #[test]
    fn a_listener_that_takes_something_works() {
        let same = subscription(1, 1);
        check(How::Unheard, None, &same, Some(5));
        check(How::Unheard, Some("b"), &same, None);
        check(How::Unheard, Some("a"), &same, None);
        check(How::Refused, None, &same, Some(5));
        check(How::Refused, Some("b"), &same, None);
        // It takes those of a and does not want those of b.
        check(How::Refused, Some("a"), &same, Some(5));
    }

    #[test]
    fn what_is_made_or_enabled_anew_begins_anew() {
        check(How::Refused, None, &subscription(1, 2), None);
        check(How::Refused, None, &subscription(2, 2), None);
    }

    #[test]
    fn the_last_failure_says_how() {
        let (mut failing, now) = (Failing::default(), Instant::now());
        let (b, subscription) = (identity("b"), subscription(1, 1));
        failing.failed(&b, &subscription, How::Refused, now);
        failing.failed(&b, &subscription, How::Unheard, now + SECOND);
        let lost = failing.lost(&b, &subscription, How::Unheard, now + 2 * SECOND);
        assert_eq!(lost, (2 * SECOND, None));
        failing.heard(&identity("a"));
        let lost = failing.lost(&b, &subscription, How::Unheard, now + 3 * SECOND);
        assert_eq!(lost, (Duration::ZERO, None));
        failing.retain(|_| false);
        assert!(failing.0.is_empty());
    }
}
