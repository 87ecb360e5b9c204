//! When to try again, and when to give up. Pure.

use std::time::Duration;

/// So many times longer than the first does no pause become.
const LONGEST: u32 = 8;

/// What becomes of subscriptions whose listener takes nothing for long
/// (CIM_IndicationService.SubscriptionRemovalAction).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RemovalAction {
    /// They are deleted.
    #[default]
    Remove,
    /// They are kept and nothing is sent for them until somebody enables them.
    Disable,
    /// Nothing.
    Ignore,
}

/// What is done with a subscription now that an indication is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    Keep,
    Disable,
    Remove,
}

/// How long to wait before the next attempt when so many have failed one after the other: nothing, then
/// `interval`, twice that, and so on, but never much longer.
pub(super) fn pause(failures: u32, interval: Duration) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(LONGEST).min(LONGEST);
            interval.saturating_mul(factor)
        }
    }
}

/// What a subscription says about its failing (OnFatalErrorPolicy, FailureTriggerTimeInterval).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wish {
    pub(super) action: Action,
    pub(super) after: Duration,
}

/// What the service does with those that fail for long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Rule {
    pub(super) action: RemovalAction,
    pub(super) after: Duration,
}

/// What is done with a subscription one of whose indications is lost: its own wish, if it has been
/// failing for that long; else the service's rule, if another was lost before, so long ago, and nothing
/// arrived in between.
pub(super) fn verdict(
    wish: Wish,
    rule: Rule,
    failing_for: Duration,
    first_loss: Option<Duration>,
) -> Action {
    if wish.action != Action::Keep && failing_for >= wish.after {
        return wish.action;
    }
    match first_loss {
        Some(ago) if ago > rule.after => match rule.action {
            RemovalAction::Remove => Action::Remove,
            RemovalAction::Disable => Action::Disable,
            RemovalAction::Ignore => Action::Keep,
        },
        Some(_) | None => Action::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pauses_double_and_stop_growing() {
        let pauses = (0..7).map(|failures| pause(failures, seconds(30)).as_secs());
        assert_eq!(pauses.collect::<Vec<_>>(), [0, 30, 60, 120, 240, 240, 240]);
        assert_eq!(pause(u32::MAX, seconds(30)), seconds(240));
        assert_eq!(pause(9, Duration::MAX), Duration::MAX);
        assert_eq!(pause(3, Duration::ZERO), Duration::ZERO);
    }

    #[track_caller]
    fn check(
        wish: (Action, u64),
        rule: RemovalAction,
        failing: u64,
        loss: Option<u64>,
        is: Action,
    ) {
        let wish = Wish { action: wish.0, after: seconds(wish.1) };
        let rule = Rule { action: rule, after: seconds(100) };
        let found = verdict(wish, rule, seconds(failing), loss.map(seconds));
        assert_eq!(found, is, "{wish:?} {rule:?}, failing for {failing} s, first loss {loss:?}");
    }

    #[test]
    fn a_subscription_has_its_wish_as_soon_as_it_has_failed_for_long_enough() {
        use Action::{Disable, Keep, Remove};
        use RemovalAction::Ignore;
        check((Keep, 0), Ignore, 1000, Some(1000), Keep);
        check((Disable, 0), Ignore, 0, None, Disable);
        check((Remove, 0), Ignore, 0, None, Remove);
        check((Remove, 60), Ignore, 59, Some(59), Keep);
        check((Remove, 60), Ignore, 60, None, Remove);
        // The service's rule does not make it milder.
        check((Disable, 60), RemovalAction::Remove, 200, Some(200), Disable);
    }

    #[test]
    fn the_service_acts_on_the_second_loss_after_a_long_time() {
        use Action::{Disable, Keep, Remove};
        check((Keep, 0), RemovalAction::Remove, 500, None, Keep);
        check((Keep, 0), RemovalAction::Remove, 500, Some(100), Keep);
        check((Keep, 0), RemovalAction::Remove, 500, Some(101), Remove);
        check((Keep, 0), RemovalAction::Disable, 500, Some(101), Disable);
        check((Keep, 0), RemovalAction::Ignore, 500, Some(5000), Keep);
        // A wish that is not due yet does not keep it from acting.
        check((Disable, 1000), RemovalAction::Remove, 500, Some(101), Remove);
    }
}
