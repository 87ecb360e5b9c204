//! The machine against a small model of two hosts that lie, break and vanish.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

// Tables

fn terms(migration_type: MigrationType) -> Terms {
    Terms { migration_type, persist: None, undefine_source: true }
}

const PERSISTENT: Facts = Facts {
    persistent: true,
    autostart: false,
    paused: false,
    destination_defined: false,
    copies: false,
};

/// A job that was prepared.
fn prepared(migration_type: MigrationType, facts: Facts) -> Job {
    let mut job = Job::new(terms(migration_type));
    for event in [Event::Admitted, Event::GatePassed, Event::Prepared(facts)] {
        job = job.on(event).expect("the way to Preparing").0;
    }
    job
}

fn seen(activity: Activity) -> Sight {
    Sight::Present(Presence { activity, persistent: true, autostart: false, outgoing: false })
}

fn transient(activity: Activity) -> Sight {
    Sight::Present(Presence { activity, persistent: false, autostart: false, outgoing: false })
}

fn sights(source: Sight, destination: Sight) -> Event {
    Event::Seen(Sights { source, destination })
}

fn broke() -> Failure {
    Failure::new(Reason::Host, "the call broke")
}

/// Feeds the events and checks where that leads.
#[track_caller]
fn check(job: Job, events: Vec<Event>, phase: Phase, effects: &[Effect]) -> Job {
    let mut job = job;
    let mut last: &[Effect] = &[];
    for event in events {
        let text = format!("{event:?}");
        (job, last) = job.on(event).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    }
    assert_eq!((job.phase(), last), (phase, effects), "{job:?}");
    job
}

#[test]
fn a_live_migration_goes_its_way() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let job = check(job, vec![Event::Switched { post_copy: false }], Phase::Switching, &[]);
    let job =
        check(job, vec![Event::MoveEnded(Ending::Arrived)], Phase::Confirming, &[Effect::Inspect]);
    let there = sights(Sight::Absent, seen(Activity::Running));
    check(job, vec![there], Phase::Done, &[]);
}

#[test]
fn an_error_that_hides_a_success_is_a_success() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let there = sights(Sight::Absent, seen(Activity::Running));
    let job = check(job, vec![Event::MoveEnded(Ending::Failed(broke())), there], Phase::Done, &[]);
    assert_eq!(job.failure(), None);
}

#[test]
fn the_source_loses_its_definition_last() {
    let job = prepared(MigrationType::Live, Facts { autostart: true, ..PERSISTENT });
    let left = seen(Activity::OffMigrated);
    let events =
        vec![Event::MoveEnded(Ending::Arrived), sights(left, transient(Activity::Running))];
    let job = check(job, events, Phase::CleaningUp, &[Effect::PersistDestination]);
    let events = vec![Event::Did, sights(left, seen(Activity::Running))];
    let job = check(job, events, Phase::CleaningUp, &[Effect::AutostartDestination]);
    let there = Presence {
        activity: Activity::Running,
        persistent: true,
        autostart: true,
        outgoing: false,
    };
    let events = vec![Event::Did, sights(left, Sight::Present(there))];
    let job = check(job, events, Phase::CleaningUp, &[Effect::UndefineSource]);
    let events = vec![Event::Did, sights(Sight::Absent, Sight::Present(there))];
    check(job, events, Phase::Done, &[]);
}

#[test]
fn a_definition_that_stays_behind_must_not_start_by_itself() {
    let terms = Terms { undefine_source: false, ..terms(MigrationType::Live) };
    let job = Job { terms, ..prepared(MigrationType::Live, PERSISTENT) };
    let here = Presence {
        activity: Activity::OffMigrated,
        persistent: true,
        autostart: true,
        outgoing: false,
    };
    let events = vec![
        Event::MoveEnded(Ending::Arrived),
        sights(Sight::Present(here), seen(Activity::Running)),
    ];
    let job = check(job, events, Phase::CleaningUp, &[Effect::HoldSource]);
    let events = vec![Event::Did, sights(seen(Activity::OffMigrated), seen(Activity::Running))];
    check(job, events, Phase::Done, &[]);
}

#[test]
fn nothing_is_decided_while_a_host_is_silent() {
    let ended = || {
        check(
            prepared(MigrationType::Live, PERSISTENT),
            vec![Event::MoveEnded(Ending::Failed(broke()))],
            Phase::Confirming,
            &[Effect::Inspect],
        )
    };
    for (source, destination) in [
        (Sight::Unreachable, seen(Activity::Running)),
        (seen(Activity::OffMigrated), Sight::Unreachable),
        (seen(Activity::InTransit), Sight::Unreachable),
        (seen(Activity::InTransit), seen(Activity::InTransit)),
        (Sight::Absent, seen(Activity::InTransit)),
    ] {
        let look = sights(source, destination);
        let wait: &[Effect] = &[Effect::InspectLater];
        let job = check(ended(), vec![look.clone()], Phase::Confirming, wait);
        let job = check(job, vec![Event::PatienceOver, look], Phase::Confirming, wait);
        let job = check(job, vec![Event::Kill], Phase::Failed, &[]);
        assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::Unresolved));
    }
}

#[test]
fn a_guest_left_paused_goes_on_where_nobody_else_has_it() {
    let ended = || {
        check(
            prepared(MigrationType::Live, PERSISTENT),
            vec![Event::MoveEnded(Ending::Failed(broke()))],
            Phase::Confirming,
            &[Effect::Inspect],
        )
    };
    let look = sights(seen(Activity::InTransit), Sight::Absent);
    check(ended(), vec![look], Phase::CleaningUp, &[Effect::ResumeSource]);
    let look = sights(seen(Activity::InTransit), seen(Activity::Running));
    check(ended(), vec![look], Phase::CleaningUp, &[Effect::DestroySource]);
}

#[test]
fn a_guest_that_runs_twice_is_left_to_people() {
    let twice = sights(seen(Activity::Running), seen(Activity::Running));
    let job = prepared(MigrationType::Live, PERSISTENT);
    let events = vec![Event::MoveEnded(Ending::Arrived), twice.clone(), Event::PatienceOver, twice];
    let job = check(job, events, Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::RunsTwice));
}

#[test]
fn an_abort_before_anything_happened_ends_at_once() {
    let job = Job::new(terms(MigrationType::Live));
    check(job.clone(), vec![Event::Abort], Phase::Cancelled, &[]);
    let checking = check(job, vec![Event::Admitted], Phase::Checking, &[Effect::RunGate]);
    check(checking.clone(), vec![Event::Kill], Phase::Cancelled, &[Effect::StopGate]);
    check(checking, vec![Event::GatePassed, Event::Abort], Phase::Cancelled, &[]);
}

#[test]
fn an_abort_during_the_move_cancels_it_but_not_post_copy() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let aborted = check(job.clone(), vec![Event::Abort], Phase::Copying, &[Effect::AbortMove]);
    let home = sights(seen(Activity::Running), Sight::Absent);
    check(
        aborted.clone(),
        vec![Event::MoveEnded(Ending::Failed(broke())), home],
        Phase::Cancelled,
        &[],
    );
    // The abort came too late.
    let there = sights(Sight::Absent, seen(Activity::Running));
    check(aborted, vec![Event::MoveEnded(Ending::Arrived), there], Phase::Done, &[]);
    let post_copy = check(job, vec![Event::Switched { post_copy: true }], Phase::Switching, &[]);
    assert_eq!(post_copy.on(Event::Abort), Err(Refusal::TooLate(Phase::Switching)));
}

#[test]
fn a_guest_that_we_paused_goes_on_wherever_it_ends_up() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let held = check(job, vec![Event::Hold], Phase::Copying, &[Effect::SuspendSource]);
    let home = sights(seen(Activity::Paused), Sight::Absent);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), home];
    check(held.clone(), events, Phase::CleaningUp, &[Effect::ResumeSource]);
    let away = sights(Sight::Absent, seen(Activity::Paused));
    let events = vec![Event::MoveEnded(Ending::Arrived), away];
    check(held.clone(), events, Phase::CleaningUp, &[Effect::ResumeDestination]);
    // It may have been told to go on where we can't look.
    let silent = sights(seen(Activity::Paused), Sight::Unreachable);
    let lost = Event::MoveEnded(Ending::Failed(broke()));
    let events = vec![lost, silent.clone(), Event::PatienceOver, silent];
    check(held, events, Phase::Confirming, &[Effect::InspectLater]);
    // One that was paused before stays paused.
    let job = prepared(MigrationType::Live, Facts { paused: true, ..PERSISTENT });
    let away = sights(Sight::Absent, seen(Activity::Paused));
    check(job, vec![Event::Hold, Event::MoveEnded(Ending::Arrived), away], Phase::Done, &[]);
}

#[test]
fn a_move_that_is_given_up_fails_for_that_reason() {
    let late = Failure::new(Reason::TimedOut, "it took longer than 60 s");
    let job = prepared(MigrationType::Live, PERSISTENT);
    let events = vec![Event::GiveUp(late.clone())];
    let job = check(job, events, Phase::Copying, &[Effect::AbortMove]);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), home];
    let job = check(job, events, Phase::Failed, &[]);
    assert_eq!(job.failure(), Some(&late));
}

#[test]
fn a_restart_comes_back_if_the_start_fails() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let events = vec![Event::Did, Event::GuestOff];
    let job = check(job, events, Phase::Starting, &[Effect::StartDestination]);
    let off = sights(seen(Activity::Off), seen(Activity::Off));
    let events = vec![Event::Broke(broke()), off];
    let job = check(job, events, Phase::CleaningUp, &[Effect::StartSource]);
    let again = sights(seen(Activity::Running), seen(Activity::Off));
    let events = vec![Event::Did, again];
    let job = check(job, events, Phase::CleaningUp, &[Effect::UndefineDestination]);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::Did, home], Phase::Failed, &[]);
    assert_eq!(job.failure(), Some(&broke()));
}

#[test]
fn a_restart_in_doubt_starts_nothing() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let silent = sights(seen(Activity::Off), Sight::Unreachable);
    let events = vec![Event::Did, Event::GuestOff, Event::Broke(broke()), silent.clone()];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    let events = vec![Event::PatienceOver, silent];
    check(job, events, Phase::Confirming, &[Effect::InspectLater]);
}

#[test]
fn a_start_whose_report_was_lost_is_waited_for() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let off = sights(seen(Activity::Off), seen(Activity::Off));
    let events = vec![Event::Did, Event::GuestOff, Event::Lost(broke()), off.clone()];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    let there = sights(seen(Activity::Off), seen(Activity::Running));
    check(job.clone(), vec![there], Phase::CleaningUp, &[Effect::UndefineSource]);
    check(job, vec![Event::PatienceOver, off], Phase::CleaningUp, &[Effect::StartSource]);
}

#[test]
fn a_restart_whose_guest_stays_up_fails_at_the_source() {
    let job = deaf(PERSISTENT);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::PatienceOver, home], Phase::Failed, &[]);
    assert_eq!(job.failure(), Some(&late()));
}

fn late() -> Failure {
    Failure::new(Reason::ShutdownTimeout, "120 s")
}

/// A restart whose guest has not shut down in time; what it had at the destination is gone.
#[track_caller]
fn deaf(facts: Facts) -> Job {
    let job = prepared(MigrationType::Restart, facts);
    let runs = if facts.persistent { seen } else { transient };
    let look = sights(runs(Activity::Running), seen(Activity::Off));
    let events = vec![Event::Did, Event::Broke(late()), look];
    let job = check(job, events, Phase::CleaningUp, &[Effect::UndefineDestination]);
    let home = sights(runs(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::Did, home], Phase::Confirming, &[Effect::InspectLater]);
    assert_eq!(job.doubt(), Some(Doubt::MayShutDown));
    job
}

#[test]
fn a_guest_that_shuts_down_late_is_started_again() {
    let off = sights(seen(Activity::Off), Sight::Absent);
    let job = check(deaf(PERSISTENT), vec![off], Phase::CleaningUp, &[Effect::StartSource]);
    // A start that fails leaves another trace; it is tried again all the same.
    let failed = sights(seen(Activity::Ended), Sight::Absent);
    let events = vec![Event::Broke(broke()), failed];
    let job = check(job, events, Phase::CleaningUp, &[Effect::StartSource]);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::Did, home], Phase::Failed, &[]);
    let told = "120 s; the guest shut down late and was started again";
    assert_eq!(job.failure(), Some(&Failure::new(Reason::ShutdownTimeout, told)));
}

#[test]
fn a_guest_that_shuts_down_late_comes_back_although_the_daemon_died() {
    let off = sights(seen(Activity::Off), Sight::Absent);
    let events = vec![Event::Adopted, off];
    check(deaf(PERSISTENT), events, Phase::CleaningUp, &[Effect::StartSource]);
}

#[test]
fn a_guest_that_others_end_late_stays_off() {
    // In the last case its definition is gone, and it is not for us to bring that back.
    for source in [seen(Activity::Ended), seen(Activity::OffMigrated), Sight::Absent] {
        let look = sights(source, Sight::Absent);
        let job = check(deaf(PERSISTENT), vec![look], Phase::Failed, &[]);
        let told = "the guest was ended, and not by its own shutdown; first: 120 s";
        assert_eq!(job.failure(), Some(&Failure::new(Reason::GuestStopped, told)));
    }
}

#[test]
fn a_guest_without_a_definition_comes_back_on_proof_alone() {
    let facts = Facts { persistent: false, ..PERSISTENT };
    let gone = sights(Sight::Absent, Sight::Absent);
    let job = check(deaf(facts), vec![gone.clone()], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::GuestStopped));
    let events = vec![Event::GuestOff, gone];
    check(deaf(facts), events, Phase::CleaningUp, &[Effect::StartSource]);
}

#[test]
fn a_guest_that_refused_to_hear_is_not_watched() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let look = sights(seen(Activity::Running), Sight::Absent);
    let events = vec![Event::Did, Event::Broke(broke()), look];
    check(job, events, Phase::Failed, &[]);
}

#[test]
fn an_aborted_restart_watches_the_guest_as_well() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let events = vec![Event::Did, Event::Abort, Event::Broke(late()), home.clone()];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    check(job.clone(), vec![Event::PatienceOver, home], Phase::Cancelled, &[]);
    let job = check(job, vec![Event::Kill], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::Unresolved));
}

#[test]
fn what_was_never_started_elsewhere_is_started_again_at_once() {
    let timeout = Failure::new(Reason::ShutdownTimeout, "120 s");
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let late = sights(seen(Activity::Off), Sight::Unreachable);
    let events = vec![Event::Did, Event::Broke(timeout), late];
    check(job, events, Phase::CleaningUp, &[Effect::StartSource]);
}

#[test]
fn the_only_definition_stays() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let undefined_meanwhile = sights(transient(Activity::Running), seen(Activity::Off));
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), undefined_meanwhile];
    check(job, events, Phase::Failed, &[]);
}

#[test]
fn an_offline_move_whose_report_was_lost_is_taken_at_its_traces() {
    let unclear = || {
        check(
            prepared(MigrationType::Offline, PERSISTENT),
            vec![Event::MoveEnded(Ending::Unclear(broke()))],
            Phase::Confirming,
            &[Effect::Inspect],
        )
    };
    let both = sights(seen(Activity::Off), seen(Activity::Off));
    check(unclear(), vec![both.clone()], Phase::CleaningUp, &[Effect::UndefineSource]);
    let home = sights(seen(Activity::Off), Sight::Absent);
    let job = check(unclear(), vec![home.clone()], Phase::Confirming, &[Effect::InspectLater]);
    check(job, vec![Event::PatienceOver, home], Phase::Failed, &[]);
    // A failure that was reported is one.
    let job = prepared(MigrationType::Offline, PERSISTENT);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), both];
    check(job, events, Phase::CleaningUp, &[Effect::UndefineDestination]);
}

#[test]
fn an_adopted_job_goes_on_from_what_it_sees() {
    let adopt = |job: Job, source, destination| {
        let (job, effects) = job.on(Event::Adopted).expect("adopted");
        assert_eq!(effects, [Effect::Inspect]);
        let (job, effects) = job.on(sights(source, destination)).expect("seen");
        (job.phase(), effects)
    };
    let live = prepared(MigrationType::Live, PERSISTENT);
    let outgoing = Presence {
        activity: Activity::Running,
        persistent: true,
        autostart: false,
        outgoing: true,
    };
    assert_eq!(
        adopt(live.clone(), Sight::Present(outgoing), transient(Activity::InTransit)),
        (Phase::Copying, [Effect::Watch].as_slice())
    );
    // The call may have been lost just before libvirt began: look twice.
    assert_eq!(
        adopt(live.clone(), seen(Activity::Running), Sight::Absent),
        (Phase::Confirming, [Effect::InspectLater].as_slice())
    );
    let home = sights(seen(Activity::Running), Sight::Absent);
    check(live.clone(), vec![Event::Adopted, home.clone(), home], Phase::Failed, &[]);
    assert_eq!(adopt(live, Sight::Absent, seen(Activity::Running)).0, Phase::Done);
    let restart = prepared(MigrationType::Restart, PERSISTENT);
    assert_eq!(
        adopt(restart.clone(), seen(Activity::Running), Sight::Absent),
        (Phase::Defining, [Effect::DefineDestination].as_slice())
    );
    assert_eq!(
        adopt(restart, seen(Activity::Running), seen(Activity::Off)),
        (Phase::ShuttingDown, [Effect::ShutDownGuest].as_slice())
    );
    for job in [
        Job::new(terms(MigrationType::Live)),
        check(
            Job::new(terms(MigrationType::Live)),
            vec![Event::Admitted],
            Phase::Checking,
            &[Effect::RunGate],
        ),
    ] {
        check(job, vec![Event::Adopted], Phase::Queued, &[]);
    }
}

#[test]
fn a_broken_post_copy_is_brought_together() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let broken = sights(seen(Activity::PostCopyFailed), seen(Activity::PostCopyFailed));
    let cut = sights(seen(Activity::PostCopyFailed), Sight::Unreachable);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), cut];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    let job = check(job, vec![broken], Phase::Switching, &[Effect::RecoverPostCopy]);
    let there = sights(Sight::Absent, seen(Activity::Running));
    check(job, vec![Event::MoveEnded(Ending::Arrived), there], Phase::Done, &[]);
}

#[test]
fn a_broken_post_copy_is_tried_again_but_not_without_end() {
    let broken = sights(seen(Activity::PostCopyFailed), seen(Activity::PostCopy));
    let failed = Event::MoveEnded(Ending::Failed(broke()));
    let mut job = prepared(MigrationType::Live, PERSISTENT);
    let recover: &[Effect] = &[Effect::RecoverPostCopy];
    for _ in 0..MAX_RECOVERIES_AT_ONCE {
        job = check(job, vec![failed.clone(), broken.clone()], Phase::Switching, recover);
    }
    let wait: &[Effect] = &[Effect::InspectLater];
    for _ in MAX_RECOVERIES_AT_ONCE..MAX_RECOVERIES {
        job = check(job, vec![failed.clone(), broken.clone()], Phase::Confirming, wait);
        assert_eq!(job.doubt(), Some(Doubt::PostCopyBroken));
        let events = vec![broken.clone(), Event::PatienceOver, broken.clone()];
        job = check(job, events, Phase::Switching, recover);
    }
    let events = vec![failed, broken.clone(), Event::PatienceOver, broken.clone(), broken];
    job = check(job, events, Phase::Confirming, wait);
    // People can still do it, or leave it.
    let there = sights(Sight::Absent, seen(Activity::Running));
    check(job.clone(), vec![there], Phase::Done, &[]);
    let job = check(job, vec![Event::Kill], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::Unresolved));
}

#[test]
fn a_post_copy_whose_destination_is_gone_is_no_guest_any_more() {
    let half = sights(seen(Activity::PostCopyFailed), Sight::Absent);
    let job = prepared(MigrationType::Live, PERSISTENT);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), half.clone()];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    let job = check(job, vec![Event::PatienceOver, half], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::PostCopyBroken));
}

#[test]
fn a_post_copy_that_stands_still_is_broken_off_to_be_taken_up_again() {
    let late = Event::GiveUp(Failure::new(Reason::TimedOut, "nothing was sent for 60 s"));
    let job = prepared(MigrationType::Live, PERSISTENT);
    let events = vec![Event::Switched { post_copy: true }, late];
    let job = check(job, events, Phase::Switching, &[Effect::PausePostCopy]);
    assert!(!job.is_giving_up());
}

#[test]
fn a_job_that_is_over_stays_over() {
    let job =
        check(Job::new(terms(MigrationType::Live)), vec![Event::Abort], Phase::Cancelled, &[]);
    for event in [Event::Abort, Event::Admitted, Event::Adopted, Event::PatienceOver] {
        assert_eq!(job.clone().on(event), Err(Refusal::Over(Phase::Cancelled)));
    }
}

// The model

/// What a host runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Host {
    defined: bool,
    active: Option<Activity>,
    migrated: bool,
    /// Somebody has ended the guest.
    ended: bool,
    /// It has copies of the guest's disks.
    copies: bool,
    autostart: bool,
    cut: bool,
}

impl Host {
    fn sight(&self, outgoing: bool) -> Sight {
        if self.cut {
            return Sight::Unreachable;
        }
        let activity = match self.active {
            Some(activity) => activity,
            None if !self.defined => return Sight::Absent,
            None if self.migrated => Activity::OffMigrated,
            None if self.ended => Activity::Ended,
            None => Activity::Off,
        };
        let (persistent, autostart) = (self.defined, self.autostart);
        Sight::Present(Presence { activity, persistent, autostart, outgoing })
    }

    fn executes(&self) -> bool {
        matches!(self.active, Some(Activity::Running))
    }

    fn stop(&mut self) {
        self.active = None;
    }
}

/// How far libvirt has moved the guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Copying,
    Switching,
    Finishing,
    PostCopy,
}

/// Something that the executor waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waiting {
    Gate,
    Preparation,
    Move,
    Shutdown,
    Look,
}

/// Bytes that decide what goes wrong; zeros, and everything goes well, once they are used up.
struct Dice(VecDeque<u8>);

impl Dice {
    /// A number below `sides`; 0 when the bytes are used up.
    fn roll(&mut self, sides: u8) -> u8 {
        self.0.pop_front().unwrap_or(0) % sides
    }
}

struct World {
    terms: Terms,
    facts: Facts,
    source: Host,
    destination: Host,
    moving: Option<Stage>,
    /// The guest ended on its own accord, or by a fault; then it need not run at the end.
    stopped: bool,
    /// Asked to shut down, and has not yet.
    shutting_down: bool,
    /// Paused by the executor for the sake of the migration.
    suspended: bool,
    /// It has shut down late, while nobody could see that.
    unseen: bool,
    /// A start at the destination whose report was lost and that is still to happen.
    starting_late: bool,
    dice: Dice,
    job: Job,
    effects: VecDeque<Effect>,
    waiting: Option<Waiting>,
    killed: bool,
    log: Vec<String>,
}

impl World {
    fn new(terms: Terms, facts: Facts, dice: Vec<u8>) -> Self {
        let active = match terms.migration_type {
            MigrationType::Offline => None,
            _ if facts.paused => Some(Activity::Paused),
            _ => Some(Activity::Running),
        };
        Self {
            terms,
            facts,
            source: Host {
                defined: facts.persistent,
                active,
                autostart: facts.autostart,
                ..Host::default()
            },
            destination: Host { defined: facts.destination_defined, ..Host::default() },
            moving: None,
            stopped: false,
            shutting_down: false,
            suspended: false,
            unseen: false,
            starting_late: false,
            dice: Dice(dice.into()),
            job: Job::new(terms),
            effects: VecDeque::new(),
            waiting: None,
            killed: false,
            log: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.log.push(format!("{event:?}"));
        match self.job.clone().on(event.clone()) {
            Ok((job, effects)) => {
                let stored = serde_json::to_string(&job).expect("a job can be stored");
                assert_eq!(serde_json::from_str::<Job>(&stored).expect("and read back"), job);
                check_legal(&job, effects);
                self.job = job;
                self.effects.extend(effects);
                self.log.push(format!("  → {:?} {effects:?}", self.job.phase()));
            }
            Err(refusal @ Refusal::Unexpected { .. }) => panic!("{refusal}\n{}", self.report()),
            Err(_) => {
                let expected = matches!(event, Event::Abort | Event::Kill)
                    || self.job.phase() == Phase::Cancelled;
                assert!(expected, "{event:?} refused\n{}", self.report());
            }
        }
        self.check_safe();
    }

    fn report(&self) -> String {
        format!(
            "{:?} {:?}\nsource {:?}\ndestination {:?}\n{:?}\n{}",
            self.terms,
            self.facts,
            self.source,
            self.destination,
            self.moving,
            self.log.join("\n")
        )
    }

    fn check_safe(&self) {
        assert!(
            !(self.source.executes() && self.destination.executes()),
            "two running guests\n{}",
            self.report()
        );
        assert!(
            !self.facts.persistent || self.source.defined || self.destination.defined,
            "no definition left\n{}",
            self.report()
        );
    }

    /// The daemon dies and comes back: what was under way is forgotten.
    fn crash(&mut self) {
        self.log.push("crash".to_owned());
        self.effects.clear();
        self.waiting = None;
        if !self.job.phase().is_over() {
            self.tell(Event::Adopted);
            if self.job.phase() == Phase::Queued {
                self.tell(Event::Admitted);
            }
        }
    }

    // libvirt

    fn begin_move(&mut self) -> bool {
        let ready = match self.terms.migration_type {
            MigrationType::Offline => self.source.active.is_none() && self.source.defined,
            _ => self.source.active.is_some(),
        };
        if self.source.cut
            || self.destination.cut
            || !ready
            || self.moving.is_some()
            || self.destination.active.is_some()
        {
            return false;
        }
        self.moving = Some(Stage::Copying);
        self.destination.copies |= self.facts.copies;
        if self.terms.migration_type != MigrationType::Offline {
            self.destination.active = Some(Activity::InTransit);
            if self.terms.migration_type == MigrationType::Resume {
                self.source.active = Some(Activity::InTransit);
            }
        }
        true
    }

    fn finish_move(&mut self) {
        self.moving = None;
        self.source.stop();
        self.source.migrated = true;
        if self.terms.migration_type == MigrationType::Offline {
            self.destination.defined = true;
        }
        if self.terms.undefine_source && self.destination.defined {
            self.source = Host { cut: self.source.cut, ..Host::default() };
        }
    }

    fn own_state(&self) -> Activity {
        if self.facts.paused || self.suspended { Activity::Paused } else { Activity::Running }
    }

    /// One step of whatever libvirt does by itself.
    fn tick(&mut self) {
        let fault = self.dice.roll(8);
        if self.shutting_down && fault != 1 {
            self.shut_down();
        }
        if self.starting_late && fault != 1 {
            self.start_late();
        }
        let Some(stage) = self.moving else { return };
        self.log.push(format!("libvirt: {stage:?} fault {fault}"));
        if self.terms.migration_type == MigrationType::Offline {
            if fault == 2 {
                self.moving = None
            } else {
                self.finish_move()
            }
            return;
        }
        match (stage, fault) {
            (Stage::Copying, 2) => {
                // The guest goes on at the source; the destination's half dies.
                self.moving = None;
                self.source.active = Some(self.own_state());
                self.destination.active = None;
            }
            (Stage::Copying, 3) => {
                self.moving = None;
                self.source.active = Some(self.own_state());
                // The half is noticed later.
            }
            (Stage::Copying, 4) => {
                self.moving = None;
                self.stopped = true;
                self.source.stop();
                self.destination.active = None;
            }
            (Stage::Copying, 5)
                if self.terms.migration_type == MigrationType::Live
                    && self.own_state() == Activity::Running =>
            {
                self.moving = Some(Stage::PostCopy);
                self.source.active = Some(Activity::PostCopy);
                self.destination.active = Some(Activity::PostCopy);
            }
            (Stage::Copying, _) => {
                self.moving = Some(Stage::Switching);
                self.source.active = Some(Activity::InTransit);
            }
            (Stage::Switching, 2) => {
                self.moving = None;
                self.destination.active = None;
                self.source.active = Some(self.own_state());
            }
            (Stage::Switching, 3) => {
                // The source's libvirt is restarted: it leaves the guest paused.
                self.moving = None;
                self.destination.active = None;
            }
            (Stage::Switching, _) => {
                self.moving = Some(Stage::Finishing);
                self.destination.active = Some(self.own_state());
                if self.terms.persist.unwrap_or(self.facts.persistent) && fault != 6 {
                    self.destination.defined = true;
                }
            }
            (Stage::Finishing, 3) => self.moving = None,
            (Stage::Finishing, _) => self.finish_move(),
            (Stage::PostCopy, 2 | 3) => self.break_post_copy(),
            (Stage::PostCopy, _) => {
                self.destination.active = Some(Activity::Running);
                self.destination.defined |= self.terms.persist.unwrap_or(self.facts.persistent);
                self.finish_move();
            }
        }
        if self.moving.is_none() && self.dice.roll(2) == 0 {
            self.reap_half();
        }
    }

    /// The guest obeys. Of one without a definition only an event tells that, to whoever listens.
    fn shut_down(&mut self) {
        self.shutting_down = false;
        if !self.source.executes() {
            return;
        }
        self.source.stop();
        if self.job.doubt() == Some(Doubt::MayShutDown) && !self.source.cut {
            self.tell(Event::GuestOff);
        } else {
            self.unseen = !self.source.defined;
        }
    }

    fn break_post_copy(&mut self) {
        self.moving = None;
        self.source.active = Some(Activity::PostCopyFailed);
        // It may run on as long as it needs no page that is missing.
        self.destination.active = Some(match self.dice.roll(2) {
            0 => Activity::PostCopyFailed,
            _ => Activity::PostCopy,
        });
    }

    fn start_late(&mut self) {
        self.starting_late = false;
        if self.destination.active.is_none() && self.destination.defined {
            self.destination.active = Some(Activity::Running);
        }
    }

    /// The destination's libvirt ends a guest that will never arrive.
    fn reap_half(&mut self) {
        if self.moving.is_none() && self.destination.active == Some(Activity::InTransit) {
            self.destination.active = None;
        }
    }

    // The executor

    fn act(&mut self, effect: Effect) {
        self.log.push(format!("effect {effect:?}"));
        match effect {
            Effect::RunGate => self.waiting = Some(Waiting::Gate),
            Effect::StopGate => self.waiting = None,
            Effect::Prepare => self.waiting = Some(Waiting::Preparation),
            Effect::StartMove => {
                if self.begin_move() {
                    self.waiting = Some(Waiting::Move);
                } else {
                    self.tell(Event::MoveEnded(Ending::Failed(broke())));
                }
            }
            Effect::Watch => self.waiting = Some(Waiting::Move),
            Effect::RecoverPostCopy => {
                let broken = |host: &Host| {
                    matches!(host.active, Some(Activity::PostCopyFailed | Activity::PostCopy))
                };
                if broken(&self.source)
                    && broken(&self.destination)
                    && self.dice.roll(8) != 7
                    && !self.source.cut
                    && !self.destination.cut
                {
                    self.moving = Some(Stage::PostCopy);
                    self.source.active = Some(Activity::PostCopy);
                    self.destination.active = Some(Activity::PostCopy);
                    self.waiting = Some(Waiting::Move);
                } else {
                    self.tell(Event::MoveEnded(Ending::Failed(broke())));
                }
            }
            Effect::AbortMove => {
                if matches!(self.moving, Some(Stage::Copying)) && self.dice.roll(4) != 3 {
                    self.moving = None;
                    if self.terms.migration_type != MigrationType::Offline {
                        self.source.active = Some(self.own_state());
                        self.destination.active = None;
                    }
                }
            }
            Effect::PausePostCopy => {
                if self.moving == Some(Stage::PostCopy) && self.dice.roll(4) != 3 {
                    self.break_post_copy();
                }
            }
            Effect::SuspendSource => {
                if self.source.executes() && !self.source.cut && self.dice.roll(4) != 3 {
                    self.source.active = Some(Activity::Paused);
                    self.suspended = true;
                }
            }
            Effect::Inspect | Effect::InspectLater => self.waiting = Some(Waiting::Look),
            Effect::ShutDownGuest => {
                if self.source.cut {
                    self.tell(Event::Broke(broke()));
                } else {
                    self.shutting_down = self.source.executes();
                    self.waiting = Some(Waiting::Shutdown);
                }
            }
            Effect::DefineDestination
            | Effect::StartDestination
            | Effect::ResumeSource
            | Effect::ResumeDestination
            | Effect::StartSource
            | Effect::DestroySource
            | Effect::DestroyIncoming
            | Effect::PersistDestination
            | Effect::UndefineDestination
            | Effect::RemoveCopies
            | Effect::UndefineSource
            | Effect::AutostartDestination
            | Effect::HoldSource => self.call(effect),
        }
    }

    /// A call that changes one host: it may fail, and it may fail after it has worked.
    fn call(&mut self, effect: Effect) {
        let luck = self.dice.roll(8);
        if luck == 5 && effect == Effect::StartDestination && !self.destination.cut {
            self.starting_late = true;
            self.tell(Event::Lost(broke()));
            return;
        }
        let works = luck != 2 && self.change(effect);
        if luck == 4 {
            self.check_safe();
            self.crash();
        } else if works && luck != 3 {
            self.tell(Event::Did);
        } else if luck == 3 {
            self.tell(Event::Lost(broke()));
        } else {
            self.tell(Event::Broke(broke()));
        }
    }

    fn change(&mut self, effect: Effect) -> bool {
        let (source, destination) = (&mut self.source, &mut self.destination);
        let at_source = matches!(
            effect,
            Effect::ResumeSource
                | Effect::StartSource
                | Effect::DestroySource
                | Effect::UndefineSource
                | Effect::HoldSource
        );
        if (at_source && source.cut) || (!at_source && destination.cut) {
            return false;
        }
        match effect {
            Effect::DefineDestination | Effect::PersistDestination => destination.defined = true,
            Effect::StartDestination => {
                if destination.active.is_some() || !destination.defined {
                    return false;
                }
                source.autostart = false;
                destination.active = Some(Activity::Running);
            }
            Effect::ResumeSource => {
                if !matches!(source.active, Some(Activity::InTransit | Activity::Paused)) {
                    return false;
                }
                self.suspended = false;
                source.active =
                    Some(if self.facts.paused { Activity::Paused } else { Activity::Running });
            }
            Effect::ResumeDestination => {
                if destination.active != Some(Activity::Paused) {
                    return false;
                }
                self.suspended = false;
                destination.active = Some(Activity::Running);
            }
            Effect::StartSource => {
                if source.active.is_some() {
                    return false;
                }
                source.autostart = self.facts.autostart;
                source.active = Some(Activity::Running);
                source.ended = false;
            }
            Effect::DestroySource => source.stop(),
            Effect::DestroyIncoming => {
                if destination.active == Some(Activity::InTransit) {
                    destination.stop();
                }
            }
            Effect::UndefineDestination => destination.defined = false,
            Effect::RemoveCopies => {
                // A guest that uses them is there, or on its way there.
                assert_eq!((self.moving, destination.active), (None, None), "copies are in use");
                destination.copies = false;
            }
            Effect::UndefineSource => {
                source.defined = false;
                source.autostart = false;
            }
            Effect::AutostartDestination => destination.autostart = true,
            Effect::HoldSource => source.autostart = false,
            other => panic!("{other:?} changes no host"),
        }
        true
    }

    /// Delivers what the executor waits for, if it is there.
    fn deliver(&mut self) {
        match self.waiting {
            None => {}
            Some(Waiting::Gate) => {
                self.waiting = None;
                let event = match self.dice.roll(8) {
                    7 => Event::Broke(Failure::new(Reason::Refused, "no")),
                    _ => Event::GatePassed,
                };
                self.tell(event);
            }
            Some(Waiting::Preparation) => {
                self.waiting = None;
                let event = match self.dice.roll(8) {
                    7 => Event::Broke(broke()),
                    _ => Event::Prepared(self.facts),
                };
                self.tell(event);
            }
            Some(Waiting::Move) => self.deliver_move(),
            Some(Waiting::Shutdown) => {
                let off = self.source.active.is_none();
                if off || self.dice.roll(4) == 3 {
                    self.waiting = None;
                    let timeout = || Event::Broke(Failure::new(Reason::ShutdownTimeout, "late"));
                    self.tell(if off { Event::GuestOff } else { timeout() });
                }
            }
            Some(Waiting::Look) => {
                self.waiting = None;
                let source = self.source.sight(self.moving.is_some());
                for _ in 0..self.dice.roll(3) {
                    self.tick();
                }
                let destination = self.destination.sight(false);
                self.tell(Event::Seen(Sights { source, destination }));
            }
        }
    }

    fn deliver_move(&mut self) {
        match self.moving {
            Some(Stage::PostCopy) if !self.job.post_copy() && self.dice.roll(2) == 0 => {
                self.tell(Event::Switched { post_copy: true });
            }
            Some(Stage::Switching) if self.dice.roll(2) == 0 => {
                self.tell(Event::Switched { post_copy: false });
            }
            // The connection to the source breaks: the call ends, the move goes on.
            Some(_) if self.dice.roll(8) == 7 => {
                self.waiting = None;
                self.tell(Event::MoveEnded(Ending::Unclear(broke())));
            }
            Some(_) => self.tick(),
            None => {
                self.waiting = None;
                let there = self.destination.active == Some(self.own_state())
                    && self.source.active.is_none();
                let ending = match self.dice.roll(8) {
                    6 => Ending::Failed(broke()),
                    7 => Ending::Unclear(broke()),
                    _ if there => Ending::Arrived,
                    _ => Ending::Failed(broke()),
                };
                self.tell(Event::MoveEnded(ending));
            }
        }
    }

    fn step(&mut self) {
        match self.dice.roll(16) {
            1 | 2 => self.tick(),
            3 => self.crash(),
            4 => self.source.cut = !self.source.cut,
            5 | 6 => self.destination.cut = !self.destination.cut,
            7 => self.tell_if_running(Event::Abort),
            8 if self.dice.roll(4) == 0 => {
                self.killed = true;
                self.tell_if_running(Event::Kill);
            }
            9 => self.reap_half(),
            12 if self.moves() => self.tell(Event::Hold),
            13 if self.moves() || self.job.post_copy() && self.waiting == Some(Waiting::Move) => {
                self.tell(Event::GiveUp(Failure::new(Reason::TimedOut, "late")));
            }
            10 if self.job.doubt().is_some() => self.lose_patience(),
            11 if self.moving.is_none() && self.dice.roll(4) == 0 => self.stop_guest(),
            _ => match self.effects.pop_front() {
                Some(effect) => self.act(effect),
                None => self.deliver(),
            },
        }
        self.check_safe();
    }

    fn moves(&self) -> bool {
        let running = self.terms.migration_type.moves_memory() && self.source.executes();
        running && self.waiting == Some(Waiting::Move) && self.effects.is_empty()
    }

    /// By then libvirt has finished what no job shows.
    fn lose_patience(&mut self) {
        while self.terms.migration_type == MigrationType::Offline && self.moving.is_some() {
            self.tick();
        }
        if self.starting_late {
            self.start_late();
        }
        if self.job.doubt() == Some(Doubt::MayShutDown) && self.shutting_down {
            self.shutting_down = false;
            if self.dice.roll(2) == 0 {
                self.shut_down();
            }
        }
        self.waiting = None;
        self.tell(Event::PatienceOver);
    }

    fn tell_if_running(&mut self, event: Event) {
        if !self.job.phase().is_over() {
            self.tell(event);
        }
    }

    /// The guest ends on its own accord.
    fn stop_guest(&mut self) {
        let ended = self.dice.roll(2) == 1;
        for host in [&mut self.source, &mut self.destination] {
            if host.executes() {
                host.stop();
                host.ended = ended;
                self.stopped = true;
                self.log.push("the guest stops".to_owned());
            }
        }
    }

    /// Random faults while the bytes last; then everything works and the job must end.
    fn run(mut self) {
        self.tell(Event::Admitted);
        while !self.dice.0.is_empty() && !self.job.phase().is_over() {
            self.step();
        }
        self.source.cut = false;
        self.destination.cut = false;
        for round in 0..500 {
            if self.job.phase().is_over() {
                break;
            }
            if round % 50 == 49 {
                self.reap_half();
                if self.job.doubt().is_some() {
                    self.lose_patience();
                }
            }
            match self.effects.pop_front() {
                Some(effect) => self.act(effect),
                None => self.deliver(),
            }
            self.tick();
            self.check_safe();
        }
        assert!(self.job.phase().is_over(), "the job does not end\n{}", self.report());
        self.check_end();
    }

    fn check_end(&self) {
        let report = || self.report();
        let (source, destination) = (&self.source, &self.destination);
        let reason = self.job.failure().map(|failure| failure.reason);
        let tidy = self.job.note().is_none();
        if reason == Some(Reason::Unresolved) {
            assert!(self.killed, "unresolved without being killed\n{}", report());
            return;
        }
        if self.job.phase() == Phase::Done {
            let persist = self.terms.persist.unwrap_or(self.facts.persistent);
            assert!(source.active.is_none(), "done, but active at the source\n{}", report());
            let copied = destination.copies || !self.facts.copies || self.stopped;
            assert!(copied, "done, and the disks are gone\n{}", report());
            let offline = self.terms.migration_type == MigrationType::Offline;
            let own = destination.active == Some(self.own_state()) && !self.suspended;
            let runs = own || offline || self.stopped || !tidy;
            assert!(runs, "done, but not at the destination\n{}", report());
            if tidy && (self.facts.persistent || !self.stopped) {
                assert_eq!(
                    destination.defined,
                    persist || self.facts.destination_defined,
                    "{}",
                    report()
                );
                let kept = !self.terms.undefine_source && self.facts.persistent;
                // A transient guest at the destination can't replace a definition.
                let irreplaceable = self.facts.persistent && !destination.defined;
                assert_eq!(source.defined, kept || irreplaceable, "{}", report());
            }
            return;
        }
        assert!(
            matches!(self.job.phase(), Phase::Failed | Phase::Cancelled),
            "not over\n{}",
            report()
        );
        if self.stopped || matches!(reason, Some(Reason::Vanished | Reason::PostCopyBroken)) {
            return;
        }
        // A half-arrived guest that could not be looked at is ended by its own libvirt.
        let half = !tidy && destination.active == Some(Activity::InTransit);
        assert!(
            destination.active.is_none() || half,
            "failed, but active at the destination\n{}",
            report()
        );
        let off = self.terms.migration_type == MigrationType::Offline;
        assert!(!self.shutting_down, "over, but the guest may shut down\n{}", report());
        let home =
            (source.active == Some(self.own_state()) && !self.suspended) || off || self.unseen;
        assert!(home || !tidy, "failed, but not at the source\n{}", report());
        assert_eq!(source.defined, self.facts.persistent, "{}", report());
        if tidy {
            assert_eq!(destination.defined, self.facts.destination_defined, "{}", report());
            assert!(!destination.copies, "failed, and copies are left\n{}", report());
        }
    }
}

/// What holds in every state that can be reached.
fn check_legal(job: &Job, effects: &[Effect]) {
    let phase = job.phase();
    assert_eq!(phase == Phase::Failed, job.failure().is_some() && phase.is_over(), "{job:?}");
    assert!(phase != Phase::Cancelled || job.abort_wanted(), "{job:?}");
    assert!(job.doubt().is_none() || matches!(phase, Phase::Confirming), "{job:?}");
    for effect in effects {
        let fits = match effect {
            Effect::RunGate => phase == Phase::Checking,
            Effect::StopGate => phase == Phase::Cancelled,
            Effect::Prepare => phase == Phase::Preparing,
            Effect::DefineDestination => phase == Phase::Defining,
            Effect::ShutDownGuest => phase == Phase::ShuttingDown,
            Effect::StartDestination => phase == Phase::Starting,
            Effect::StartMove => phase == Phase::Copying,
            Effect::Watch | Effect::AbortMove => {
                matches!(phase, Phase::Copying | Phase::Switching)
            }
            Effect::RecoverPostCopy | Effect::PausePostCopy => phase == Phase::Switching,
            Effect::SuspendSource => matches!(phase, Phase::Copying | Phase::Switching),
            Effect::Inspect => phase.touches_hosts(),
            Effect::InspectLater => matches!(phase, Phase::Confirming | Phase::CleaningUp),
            Effect::ResumeSource
            | Effect::ResumeDestination
            | Effect::StartSource
            | Effect::DestroySource
            | Effect::DestroyIncoming
            | Effect::PersistDestination
            | Effect::UndefineDestination
            | Effect::RemoveCopies
            | Effect::UndefineSource
            | Effect::AutostartDestination
            | Effect::HoldSource => phase == Phase::CleaningUp,
        };
        assert!(fits, "{effect:?} while {phase:?}");
    }
}

fn any_case() -> impl Strategy<Value = (Terms, Facts)> {
    let migration_type = prop::sample::select(vec![
        MigrationType::Offline,
        MigrationType::Live,
        MigrationType::Resume,
        MigrationType::Restart,
    ]);
    let bits = any::<[bool; 6]>();
    let persist = prop::sample::select(vec![None, Some(true), Some(false)]);
    (migration_type, bits, persist).prop_map(|(migration_type, bits, persist)| {
        let [undefine_source, persistent, autostart, paused, defined, copies] = bits;
        let persistent = persistent || migration_type == MigrationType::Offline;
        // What settings.rs and plan.rs refuse: a guest that arrives without running and without a
        // definition, restarting a paused guest or onto a definition that exists.
        let persist = persist.filter(|persist| *persist || migration_type.moves_memory());
        let facts = Facts {
            persistent,
            autostart: autostart && persistent,
            paused: paused && matches!(migration_type, MigrationType::Live | MigrationType::Resume),
            destination_defined: defined && migration_type != MigrationType::Restart,
            copies: copies && migration_type.moves_memory(),
        };
        (Terms { migration_type, persist, undefine_source }, facts)
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let activity = prop::sample::select(vec![
        Activity::Off,
        Activity::OffMigrated,
        Activity::Ended,
        Activity::Running,
        Activity::Paused,
        Activity::InTransit,
        Activity::PostCopy,
        Activity::PostCopyFailed,
    ]);
    let present = (activity, any::<[bool; 3]>()).prop_map(|(activity, bits)| {
        let [persistent, autostart, outgoing] = bits;
        Sight::Present(Presence { activity, persistent, autostart, outgoing })
    });
    let sight = prop_oneof![Just(Sight::Unreachable), Just(Sight::Absent), present.boxed()].boxed();
    let facts = any::<[bool; 5]>().prop_map(
        |[persistent, autostart, paused, destination_defined, copies]| {
            let facts = Facts { persistent, autostart, paused, destination_defined, copies };
            Event::Prepared(facts)
        },
    );
    prop_oneof![
        Just(Event::Admitted),
        Just(Event::GatePassed),
        facts,
        Just(Event::Did),
        Just(Event::Broke(broke())),
        Just(Event::Lost(broke())),
        Just(Event::GuestOff),
        any::<bool>().prop_map(|post_copy| Event::Switched { post_copy }),
        prop::sample::select(vec![
            Event::MoveEnded(Ending::Arrived),
            Event::MoveEnded(Ending::Failed(broke())),
            Event::MoveEnded(Ending::Unclear(broke())),
        ]),
        (sight.clone(), sight)
            .prop_map(|(source, destination)| Event::Seen(Sights { source, destination })),
        Just(Event::PatienceOver),
        Just(Event::Hold),
        Just(Event::GiveUp(broke())),
        Just(Event::Abort),
        Just(Event::Kill),
        Just(Event::Adopted),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_guest_is_doubled_or_lost(
        (terms, facts) in any_case(),
        dice in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        World::new(terms, facts, dice).run();
    }

    #[test]
    fn any_events_in_any_order_keep_the_job_legal(
        (terms, _) in any_case(),
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut job = Job::new(terms);
        for event in events {
            if let Ok((next, effects)) = job.clone().on(event) {
                check_legal(&next, effects);
                job = next;
            }
        }
    }
}
