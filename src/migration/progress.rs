//! How far a migration is, and whether it gets on. Pure: the executor brings the time.
//!
//! A percentage never goes back: libvirt counts a page again each time the guest dirties it, so what
//! remains goes up and down. 99 is the most until both hosts have confirmed where the guest is.
//!
//! Three things end patience, and each is told once:
//! - nothing was sent for a while, though there is something to send: the link is dead, whatever libvirt
//!   thinks ([`Action::Abort`]);
//! - the time that the client allowed is over (its own action);
//! - half of that time went by without gain: ten passes over the memory, and none left less to send
//!   than the best before it. Bytes within a pass prove nothing, and a guest that is being slowed down
//!   (auto-converge) may stay level for long, so there it is not judged.

use std::{cmp, time::Duration};

use serde::{Deserialize, Serialize};

use super::{MigrationType, TimeoutAction, job::Phase};
use crate::hypervisor::JobStats;

/// So many passes without gain are a sign.
const LEVEL_PASSES: u64 = 10;

/// The most that copying alone can show.
const COPIED: u8 = 95;

/// What is told of a migration. Bytes, unless said otherwise.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// 0 to 100.
    pub percent: u8,
    /// Memory and disks, all of it.
    pub total: Option<u64>,
    /// Sent so far; more than all, if pages had to be sent again.
    pub processed: Option<u64>,
    /// Still to send, as of now.
    pub remaining: Option<u64>,
    /// Sent a second.
    pub rate: Option<u64>,
    /// Dirtied by the guest a second.
    pub dirty_rate: Option<u64>,
    /// The pass over the memory.
    pub iteration: Option<u64>,
    /// Percent by which the guest is slowed down.
    pub throttle: Option<i32>,
    /// Milliseconds for which the guest will stand still or, at the end, stood still.
    pub downtime: Option<u64>,
    /// Seconds until all is sent; `None` if the guest dirties memory as fast as it is sent.
    pub eta: Option<u64>,
    /// Pages that the destination had to ask for.
    pub post_copy_requests: Option<u64>,
}

/// What is to be done with a migration that does not get on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Give it up.
    Abort(Because),
    /// Let the guest stand still, so that the copying can end.
    Pause(Because),
    /// Let the guest go on at the destination at once.
    PostCopy(Because),
}

/// Why something is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Because {
    /// Nothing was sent for so long.
    Stalled(Duration),
    /// It took as long as was allowed.
    TimedOut(Duration),
    /// So many passes brought no gain.
    Level(u64),
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stalled(time) => write!(f, "nothing was sent for {} s", time.as_secs()),
            Self::TimedOut(time) => write!(f, "it took longer than {} s", time.as_secs()),
            Self::Level(passes) => {
                write!(f, "the guest changes its memory faster than it is sent ({passes} passes)")
            }
        }
    }
}

/// When patience ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// How long nothing may be sent.
    pub stall: Duration,
    /// How long copying may take, and what happens then.
    pub limit: Option<(Duration, TimeoutAction)>,
    /// Whether the guest is slowed down until its memory can be sent.
    pub auto_converge: bool,
}

/// The progress of one migration.
#[derive(Clone, Debug)]
pub struct Progress {
    migration_type: MigrationType,
    patience: Patience,
    report: Report,
    /// When the last byte was sent, and how many had been then.
    last_sent: Option<(Duration, u64)>,
    /// The sample before, for the rate.
    last_sample: Option<(Duration, u64)>,
    passes: Passes,
    stalled: bool,
    acted: bool,
}

/// What the ends of passes showed.
#[derive(Clone, Copy, Debug, Default)]
struct Passes {
    current: u64,
    /// The least that remained within the current pass.
    least: Option<u64>,
    /// The least that remained in any pass before.
    best: Option<u64>,
    /// Passes since then, and when that was.
    level: u64,
    gained_at: Duration,
}

impl Progress {
    /// The progress of a migration that has not begun.
    pub fn new(migration_type: MigrationType, patience: Patience) -> Self {
        Self {
            migration_type,
            patience,
            report: Report::default(),
            last_sent: None,
            last_sample: None,
            passes: Passes::default(),
            stalled: false,
            acted: false,
        }
    }

    /// The same, of one that was reported on before.
    pub fn resumed(self, report: Report) -> Self {
        Self { report, ..self }
    }

    /// What is told.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// A move begins, perhaps another one: time is counted from here on.
    pub fn begin(&mut self) {
        (self.last_sent, self.last_sample) = (None, None);
        self.passes = Passes::default();
        self.stalled = false;
    }

    /// The job has come to that phase.
    pub fn enter(&mut self, phase: Phase) {
        let restart = self.migration_type == MigrationType::Restart;
        self.raise(match phase {
            Phase::Queued | Phase::Failed | Phase::Cancelled => 0,
            Phase::Checking => 1,
            Phase::Preparing => 2,
            Phase::Defining => 5,
            Phase::ShuttingDown => 10,
            Phase::Starting => 70,
            Phase::Copying => 3,
            Phase::Switching if restart => 0,
            Phase::Switching => COPIED + 1,
            Phase::Confirming | Phase::CleaningUp => 99,
            Phase::Done => 100,
        });
    }

    fn raise(&mut self, percent: u8) {
        self.report.percent = self.report.percent.max(percent);
    }

    /// libvirt has told numbers; `at` counts from the beginning of the move.
    pub fn sample(&mut self, at: Duration, stats: &JobStats) {
        let sent = stats.data_processed.unwrap_or(0);
        // While the destination gets ready there is nothing to send yet, and that may take its time.
        let has_begun = stats.data_total.is_some_and(|total| total > 0);
        if has_begun && self.last_sent.is_none_or(|(_, before)| sent != before) {
            self.last_sent = Some((at, sent));
        }
        self.judge_pass(at, stats);
        let report = &mut self.report;
        report.rate = rate(self.last_sample, at, sent, stats).or(report.rate);
        self.last_sample = Some((at, sent));
        report.total = stats.data_total.filter(|total| *total > 0).or(report.total);
        report.processed = stats.data_processed.or(report.processed);
        report.remaining = stats.data_remaining.or(report.remaining);
        report.dirty_rate =
            stats.dirty_rate.map(|pages| pages.saturating_mul(stats.page_size.unwrap_or(4096)));
        report.iteration = stats.iteration.or(report.iteration);
        report.throttle = stats.throttle;
        report.downtime = stats.downtime.or(report.downtime);
        report.post_copy_requests = stats.post_copy_requests.or(report.post_copy_requests);
        report.eta = eta(report);
        if let (Some(total), Some(remaining)) = (report.total, report.remaining) {
            let done = u128::from(total.saturating_sub(remaining));
            let share = done * u128::from(COPIED - 3) / u128::from(total);
            self.raise(3 + u8::try_from(share).unwrap_or(COPIED - 3));
        }
    }

    /// The move is over; libvirt's last numbers have the true downtime.
    pub fn finish(&mut self, stats: &JobStats) {
        let report = &mut self.report;
        report.total = stats.data_total.filter(|total| *total > 0).or(report.total);
        report.processed = stats.data_processed.or(report.processed);
        report.remaining = stats.data_remaining.or(Some(0));
        report.iteration = stats.iteration.or(report.iteration);
        report.downtime = stats.downtime.or(report.downtime);
        report.post_copy_requests = stats.post_copy_requests.or(report.post_copy_requests);
        report.eta = None;
    }

    fn judge_pass(&mut self, at: Duration, stats: &JobStats) {
        let passes = &mut self.passes;
        let iteration = stats.iteration.unwrap_or(0);
        if iteration > passes.current {
            if let Some(least) = passes.least.take() {
                if passes.best.is_none_or(|best| least < best) {
                    passes.best = Some(least);
                    passes.level = 0;
                    passes.gained_at = at;
                } else {
                    passes.level += iteration - passes.current;
                }
            }
            passes.current = iteration;
        }
        if let Some(remaining) = stats.data_remaining.filter(|_| stats.data_total > Some(0)) {
            passes.least = Some(passes.least.map_or(remaining, |least| cmp::min(least, remaining)));
        }
    }

    /// What was to be done could not be done: it is told once more.
    pub fn judge_again(&mut self) {
        self.acted = false;
    }

    /// Whether patience is over, and what is to be done then. Each end is told once.
    pub fn judge(&mut self, at: Duration) -> Option<Action> {
        let quiet = self.last_sent.map_or(Duration::ZERO, |(then, _)| at.saturating_sub(then));
        if !self.stalled && quiet >= self.patience.stall {
            self.stalled = true;
            return Some(Action::Abort(Because::Stalled(quiet)));
        }
        let (limit, action) = self.patience.limit.filter(|_| !self.acted)?;
        let level = self.passes.level >= LEVEL_PASSES
            && at.saturating_sub(self.passes.gained_at) >= limit / 2
            && !self.patience.auto_converge;
        let because = if at >= limit {
            Because::TimedOut(limit)
        } else if level {
            Because::Level(self.passes.level)
        } else {
            return None;
        };
        self.acted = true;
        Some(match action {
            TimeoutAction::Abort => Action::Abort(because),
            TimeoutAction::Pause => Action::Pause(because),
            TimeoutAction::PostCopy => Action::PostCopy(because),
        })
    }
}

/// libvirt's own rate, or what was sent since the sample before.
fn rate(before: Option<(Duration, u64)>, at: Duration, sent: u64, stats: &JobStats) -> Option<u64> {
    let own = match (stats.memory_rate, stats.disk_rate) {
        (None, None) => None,
        (memory, disk) => Some(memory.unwrap_or(0).saturating_add(disk.unwrap_or(0))),
    };
    if let Some(own) = own.filter(|own| *own > 0) {
        return Some(own);
    }
    let (then, sent_then) = before?;
    let millis = u64::try_from(at.checked_sub(then)?.as_millis()).ok().filter(|it| *it > 0)?;
    Some(sent.saturating_sub(sent_then).saturating_mul(1000) / millis)
}

/// How long it takes to send what remains while the guest dirties more.
fn eta(report: &Report) -> Option<u64> {
    let gain = report.rate?.checked_sub(report.dirty_rate.unwrap_or(0)).filter(|gain| *gain > 0)?;
    Some(report.remaining?.div_ceil(gain))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn patience(limit: Option<(u64, TimeoutAction)>) -> Patience {
        Patience {
            stall: Duration::from_secs(60),
            limit: limit.map(|(seconds, action)| (Duration::from_secs(seconds), action)),
            auto_converge: false,
        }
    }

    fn live(limit: Option<(u64, TimeoutAction)>) -> Progress {
        let mut progress = Progress::new(MigrationType::Live, patience(limit));
        progress.enter(Phase::Copying);
        progress
    }

    fn stats(processed: u64, remaining: u64, iteration: u64) -> JobStats {
        JobStats {
            data_total: Some(1000 * MIB),
            data_processed: Some(processed * MIB),
            data_remaining: Some(remaining * MIB),
            iteration: Some(iteration),
            ..JobStats::default()
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_percentage_only_grows_and_stops_before_the_end() {
        let mut progress = live(None);
        let mut percent = |seconds, processed, remaining| {
            progress.sample(at(seconds), &stats(processed, remaining, 1));
            progress.report().percent
        };
        assert_eq!(percent(0, 0, 1000), 3);
        assert_eq!(percent(1, 500, 500), 49);
        assert_eq!(percent(2, 1000, 0), 95);
        assert_eq!(percent(3, 1000, 400), 95);
        progress.enter(Phase::Switching);
        assert_eq!(progress.report().percent, 96);
        progress.enter(Phase::Confirming);
        assert_eq!(progress.report().percent, 99);
        progress.enter(Phase::CleaningUp);
        assert_eq!(progress.report().percent, 99);
        progress.enter(Phase::Done);
        assert_eq!(progress.report().percent, 100);
    }

    #[test]
    fn numbers_that_libvirt_does_not_know_yet_are_none() {
        let mut progress = live(None);
        let early =
            JobStats { data_total: Some(0), data_remaining: Some(0), ..JobStats::default() };
        progress.sample(at(0), &early);
        assert_eq!(progress.report().percent, 3);
        assert_eq!((progress.report().total, progress.report().eta), (None, None));
    }

    #[test]
    fn the_rate_is_libvirts_or_our_own() {
        let mut progress = live(None);
        progress.sample(at(1), &stats(100, 900, 1));
        assert_eq!(progress.report().rate, None);
        progress.sample(at(3), &stats(300, 700, 1));
        assert_eq!(progress.report().rate, Some(100 * MIB));
        assert_eq!(progress.report().eta, Some(7));
        let known = JobStats {
            memory_rate: Some(50 * MIB),
            disk_rate: Some(50 * MIB),
            dirty_rate: Some(10 * MIB / 4096),
            ..stats(400, 900, 1)
        };
        progress.sample(at(4), &known);
        assert_eq!(progress.report().rate, Some(100 * MIB));
        assert_eq!(progress.report().dirty_rate, Some(10 * MIB));
        assert_eq!(progress.report().eta, Some(10));
        let hopeless = JobStats { dirty_rate: Some(100 * MIB / 4096), ..known };
        progress.sample(at(5), &hopeless);
        assert_eq!(progress.report().eta, None);
    }

    #[test]
    fn the_end_tells_the_true_downtime() {
        let mut progress = live(None);
        progress.sample(at(1), &JobStats { downtime: Some(300), ..stats(100, 900, 1) });
        assert_eq!(progress.report().downtime, Some(300));
        let end = JobStats { data_remaining: Some(0), downtime: Some(8), ..JobStats::default() };
        progress.finish(&end);
        assert_eq!(progress.report().downtime, Some(8));
        assert_eq!(
            (progress.report().remaining, progress.report().processed),
            (Some(0), Some(100 * MIB))
        );
    }

    #[test]
    fn a_dead_link_is_noticed_once() {
        let mut progress = live(None);
        progress.sample(at(0), &stats(100, 900, 1));
        progress.sample(at(59), &stats(100, 900, 1));
        assert_eq!(progress.judge(at(59)), None);
        progress.sample(at(60), &stats(100, 900, 1));
        assert_eq!(progress.judge(at(60)), Some(Action::Abort(Because::Stalled(at(60)))));
        assert_eq!(progress.judge(at(61)), None);
    }

    #[test]
    fn a_destination_that_is_slow_to_get_ready_is_no_dead_link() {
        let mut progress = live(None);
        let nothing = JobStats {
            data_total: Some(0),
            data_processed: Some(0),
            data_remaining: Some(0),
            ..JobStats::default()
        };
        for second in 0..100 {
            progress.sample(at(second), &nothing);
            assert_eq!(progress.judge(at(second)), None, "second {second}");
        }
        // From here on there is something to send.
        progress.sample(at(100), &stats(0, 1000, 1));
        progress.sample(at(159), &stats(0, 1000, 1));
        assert_eq!(progress.judge(at(159)), None);
        assert_eq!(progress.judge(at(160)), Some(Action::Abort(Because::Stalled(at(60)))));
    }

    #[test]
    fn an_action_that_fails_is_told_again() {
        let mut progress = live(Some((60, TimeoutAction::PostCopy)));
        let late = Some(Action::PostCopy(Because::TimedOut(at(60))));
        assert_eq!([progress.judge(at(60)), progress.judge(at(61))], [late, None]);
        progress.judge_again();
        assert_eq!([progress.judge(at(62)), progress.judge(at(63))], [late, None]);
    }

    #[test]
    fn a_slow_link_is_not_a_dead_one() {
        let mut progress = live(None);
        for second in 0..1000 {
            progress.sample(at(second), &stats(second / 50, 900, 1));
            assert_eq!(progress.judge(at(second)), None);
        }
    }

    #[test]
    fn the_limit_is_acted_upon_once() {
        for (action, expected) in [
            (TimeoutAction::Abort, Action::Abort(Because::TimedOut(at(10)))),
            (TimeoutAction::Pause, Action::Pause(Because::TimedOut(at(10)))),
            (TimeoutAction::PostCopy, Action::PostCopy(Because::TimedOut(at(10)))),
        ] {
            let mut progress = live(Some((10, action)));
            progress.sample(at(9), &stats(9, 991, 1));
            assert_eq!(progress.judge(at(9)), None);
            assert_eq!(progress.judge(at(10)), Some(expected));
            assert_eq!(progress.judge(at(11)), None);
        }
    }

    /// Each second a pass that leaves as much as `left` says.
    fn passes(auto_converge: bool, left: impl Fn(u64) -> u64) -> Option<(u64, Action)> {
        let limit = Some((60, TimeoutAction::PostCopy));
        let patience = Patience { auto_converge, ..patience(limit) };
        let mut progress = Progress::new(MigrationType::Live, patience);
        (0..60).find_map(|second| {
            let iteration = second + 1;
            progress.sample(at(second), &stats(second * 100, 500, iteration));
            progress.sample(at(second), &stats(second * 100 + 50, left(iteration), iteration));
            progress.judge(at(second)).map(|action| (second, action))
        })
    }

    #[test]
    fn passes_without_gain_are_a_reason_to_act() {
        let acted = passes(false, |_| 100);
        assert!(
            matches!(acted, Some((31, Action::PostCopy(Because::Level(_))))),
            "the best was the first, half of the limit later: {acted:?}"
        );
        assert_eq!(passes(false, |iteration| 400 - iteration), None);
        // Up and down, but down.
        assert_eq!(passes(false, |iteration| 400 - iteration + iteration % 7 * 2), None);
        assert_eq!(passes(true, |_| 100), None);
    }

    proptest! {
        #[test]
        fn percentages_are_monotone_and_below_a_hundred(
            samples in prop::collection::vec(
                (any::<u64>(), any::<u64>(), any::<Option<u64>>(), 0..5u64), 0..50),
        ) {
            let mut progress = live(None);
            let mut before = 0;
            for (second, (total, processed, remaining, iteration)) in (0..).zip(samples) {
                let stats = JobStats {
                    data_total: Some(total),
                    data_processed: Some(processed),
                    data_remaining: remaining,
                    iteration: Some(iteration),
                    dirty_rate: Some(total),
                    page_size: Some(processed),
                    ..JobStats::default()
                };
                progress.sample(at(second), &stats);
                progress.judge(at(second));
                let percent = progress.report().percent;
                prop_assert!(before <= percent && percent <= COPIED);
                before = percent;
            }
        }
    }
}
