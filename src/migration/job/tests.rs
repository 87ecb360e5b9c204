//! The machine by tables; against a model of two hosts (`world.rs`) that lie, break and vanish; and
//! against events that make no sense (`properties.rs`).

mod properties;
mod restart;
mod world;

use super::*;

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
    Sight::Present(Presence {
        activity,
        persistent: true,
        autostart: false,
        outgoing: Outgoing::No,
        revived: false,
    })
}

fn transient(activity: Activity) -> Sight {
    Sight::Present(Presence {
        activity,
        persistent: false,
        autostart: false,
        outgoing: Outgoing::No,
        revived: false,
    })
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
    let mut last = Vec::new();
    for event in events {
        let text = format!("{event:?}");
        (job, last) = job.on(event).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    }
    assert_eq!((job.phase(), &*last), (phase, effects), "{job:?}");
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
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::PersistDestination)]);
    let events = vec![Event::Did, sights(left, seen(Activity::Running))];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::AutostartDestination)]);
    let there = Presence {
        activity: Activity::Running,
        persistent: true,
        autostart: true,
        outgoing: Outgoing::No,
        revived: false,
    };
    let events = vec![Event::Did, sights(left, Sight::Present(there))];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::UndefineSource)]);
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
        outgoing: Outgoing::No,
        revived: false,
    };
    let events = vec![
        Event::MoveEnded(Ending::Arrived),
        sights(Sight::Present(here), seen(Activity::Running)),
    ];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::HoldSource)]);
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
    check(ended(), vec![look], Phase::CleaningUp, &[Effect::Do(Deed::ResumeSource)]);
    let look = sights(seen(Activity::InTransit), seen(Activity::Running));
    check(ended(), vec![look], Phase::CleaningUp, &[Effect::Do(Deed::DestroySource)]);
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
    check(held.clone(), events, Phase::CleaningUp, &[Effect::Do(Deed::ResumeSource)]);
    let away = sights(Sight::Absent, seen(Activity::Paused));
    let events = vec![Event::MoveEnded(Ending::Arrived), away];
    check(held.clone(), events, Phase::CleaningUp, &[Effect::Do(Deed::ResumeDestination)]);
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
fn a_look_that_was_lost_is_done_again() {
    let events = vec![Event::MoveEnded(Ending::Arrived), Event::Lost(broke())];
    let job = prepared(MigrationType::Live, PERSISTENT);
    check(job, events, Phase::Confirming, &[Effect::InspectLater]);
}

#[test]
fn a_host_that_is_overdue_is_waited_for() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let job = check(job, vec![Event::Overdue], Phase::Defining, &[]);
    assert_eq!(job.doubt(), Some(Doubt::Overdue));
    // No look ends it, for what is under way may still happen.
    let job = check(job, vec![Event::PatienceOver, Event::Overdue], Phase::Defining, &[]);
    let job = check(job, vec![Event::Did], Phase::ShuttingDown, &[Effect::ShutDownGuest]);
    assert_eq!(job.doubt(), None);
    let off = vec![Event::GuestOff, Event::Overdue];
    let starting = check(job, off, Phase::Starting, &[]);
    assert_eq!(starting.clone().on(Event::Abort), Err(Refusal::TooLate(Phase::Starting)));
    let killed = check(starting, vec![Event::Kill], Phase::Failed, &[]);
    assert_eq!(killed.failure().map(|it| it.reason), Some(Reason::Unresolved));
}

#[test]
fn a_move_is_overdue_only_once_it_was_cancelled() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let job = check(job, vec![Event::Overdue], Phase::Copying, &[]);
    assert_eq!(job.doubt(), None);
    let job = check(job, vec![Event::Abort, Event::Overdue], Phase::Copying, &[]);
    assert_eq!(job.doubt(), Some(Doubt::Overdue));
    // The next daemon knows of no call that would not end.
    let job = check(job, vec![Event::Adopted], Phase::Copying, &[Effect::Inspect]);
    assert_eq!(job.doubt(), None);
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
    check(unclear(), vec![both.clone()], Phase::CleaningUp, &[Effect::Do(Deed::UndefineSource)]);
    let home = sights(seen(Activity::Off), Sight::Absent);
    let job = check(unclear(), vec![home.clone()], Phase::Confirming, &[Effect::InspectLater]);
    check(job, vec![Event::PatienceOver, home], Phase::Failed, &[]);
    // A failure that was reported is one.
    let job = prepared(MigrationType::Offline, PERSISTENT);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), both];
    check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::UndefineDestination)]);
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
        outgoing: Outgoing::Ours,
        revived: false,
    };
    assert_eq!(
        adopt(live.clone(), Sight::Present(outgoing), transient(Activity::InTransit)),
        (Phase::Copying, vec![Effect::Watch])
    );
    // The call may have been lost just before libvirt began: look twice.
    assert_eq!(
        adopt(live.clone(), seen(Activity::Running), Sight::Absent),
        (Phase::Confirming, vec![Effect::InspectLater])
    );
    let home = sights(seen(Activity::Running), Sight::Absent);
    check(live.clone(), vec![Event::Adopted, home.clone(), home], Phase::Failed, &[]);
    assert_eq!(adopt(live, Sight::Absent, seen(Activity::Running)).0, Phase::Done);
    let restart = prepared(MigrationType::Restart, PERSISTENT);
    assert_eq!(
        adopt(restart.clone(), seen(Activity::Running), Sight::Absent),
        (Phase::Defining, vec![Effect::Do(Deed::DefineDestination)])
    );
    assert_eq!(
        adopt(restart, seen(Activity::Running), seen(Activity::Off)),
        (Phase::ShuttingDown, vec![Effect::ShutDownGuest])
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

/// A live migration that ended with an error, and the destination does not answer.
#[track_caller]
fn silent_for_long(job: Job, here: Presence) -> Step {
    let silent = sights(Sight::Present(here), Sight::Unreachable);
    let lost = Event::MoveEnded(Ending::Failed(broke()));
    let events = vec![lost, silent.clone(), Event::PatienceOver];
    let job = check(job, events, Phase::Confirming, &[Effect::Inspect]);
    job.on(silent).expect("seen")
}

#[test]
fn a_guest_that_was_let_go_is_not_certainly_home() {
    let runs = Presence {
        activity: Activity::Running,
        persistent: true,
        autostart: false,
        outgoing: Outgoing::No,
        revived: false,
    };
    let live = || prepared(MigrationType::Live, PERSISTENT);
    let switched = || live().on(Event::Switched { post_copy: false }).expect("it copies").0;
    let revived = Presence { revived: true, ..runs };
    let paused = Presence { activity: Activity::Paused, ..runs };
    for (job, here) in [(switched(), runs), (live(), revived), (live(), paused)] {
        let (job, effects) = silent_for_long(job, here);
        assert_eq!(job.doubt(), Some(Doubt::DestinationUnreachable), "{here:?}");
        assert_eq!(effects, [Effect::InspectLater]);
        check(job, vec![Event::Kill], Phase::Failed, &[]);
    }
    assert_eq!(silent_for_long(live(), runs).0.phase(), Phase::Failed);
}

#[test]
fn each_doubt_is_borne_for_itself() {
    let wait: &[Effect] = &[Effect::InspectLater];
    let (off, running) = (seen(Activity::Off), seen(Activity::Running));
    // Patience with a silent destination is none with a start that may still happen.
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let silent = sights(off, Sight::Unreachable);
    let events = vec![Event::Did, Event::GuestOff, Event::Lost(broke()), silent];
    let job = check(job, events, Phase::Confirming, wait);
    let events = vec![Event::PatienceOver, sights(off, off)];
    let job = check(job, events, Phase::Confirming, wait);
    let events = vec![Event::PatienceOver, sights(off, off)];
    check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
    // Nor with a guest that seems to run twice, or a part that did not arrive.
    for destination in [running, seen(Activity::InTransit)] {
        let job = prepared(MigrationType::Live, PERSISTENT);
        let lost = Event::MoveEnded(Ending::Failed(broke()));
        let silent = sights(running, Sight::Unreachable);
        let events = vec![lost, silent, Event::PatienceOver, sights(running, destination)];
        let job = check(job, events, Phase::Confirming, wait);
        check(job, vec![sights(running, destination)], Phase::Confirming, wait);
    }
}

#[test]
fn a_migration_of_others_is_left_alone() {
    let foreign = Sight::Present(Presence {
        activity: Activity::Running,
        persistent: true,
        autostart: false,
        outgoing: Outgoing::Foreign,
        revived: false,
    });
    let aborted = prepared(MigrationType::Live, PERSISTENT).on(Event::Abort).expect("it copies").0;
    for job in [prepared(MigrationType::Live, PERSISTENT), aborted] {
        let events = vec![Event::Adopted, sights(foreign, Sight::Absent)];
        let job = check(job, events, Phase::Failed, &[]);
        let message = &job.failure().expect("it failed").message;
        assert!(message.starts_with("another migration moves the guest"), "{message}");
    }
    // A restart waits until it is open no more where the guest is.
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let events = vec![Event::Adopted, sights(foreign, seen(Activity::Off))];
    let job = check(job, events, Phase::Confirming, &[Effect::InspectLater]);
    let left = sights(seen(Activity::OffMigrated), seen(Activity::Off));
    let shut_down = Job { shut_down: true, ..job };
    let job =
        check(shut_down, vec![left], Phase::CleaningUp, &[Effect::Do(Deed::UndefineDestination)]);
    let clean = sights(seen(Activity::OffMigrated), Sight::Absent);
    let job = check(job, vec![Event::Did, clean], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::GuestStopped));
}

#[test]
fn an_old_definition_at_the_destination_is_no_guest_that_arrived() {
    let facts = Facts { destination_defined: true, ..PERSISTENT };
    let old = seen(Activity::Off);
    let interrupted = |facts| {
        let job = prepared(MigrationType::Live, facts);
        check(job, vec![Event::Adopted], Phase::Copying, &[Effect::Inspect])
    };
    let job = check(
        interrupted(facts),
        vec![sights(seen(Activity::OffMigrated), old)],
        Phase::Failed,
        &[],
    );
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::GuestStopped));
    let gone = sights(Sight::Absent, old);
    let events = vec![gone.clone(), Event::PatienceOver, gone.clone()];
    let job = check(interrupted(facts), events, Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::Vanished));
    // One without a definition whose QEMU died on the way.
    let facts = Facts { persistent: false, ..facts };
    let job = check(interrupted(facts), vec![gone.clone()], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::GuestStopped));
    // One of which we were told that it arrived.
    let job = prepared(MigrationType::Live, facts);
    check(job, vec![Event::MoveEnded(Ending::Arrived), gone], Phase::Done, &[]);
}

/// The step fails as often as it is tried.
#[track_caller]
fn fails_for_ever(mut job: Job, look: &Event, effects: &[Effect]) -> Job {
    for _ in 1..MAX_TRIES {
        let events = vec![Event::Broke(broke()), look.clone()];
        job = check(job, events, Phase::CleaningUp, effects);
    }
    check(job, vec![Event::Broke(broke())], Phase::CleaningUp, &[Effect::InspectLater])
}

#[test]
fn a_step_that_never_works_does_not_keep_the_next_from_being_done() {
    let terms = Terms { persist: Some(true), ..terms(MigrationType::Live) };
    let job = Job { terms, ..prepared(MigrationType::Live, PERSISTENT) };
    let left = seen(Activity::InTransit);
    let look = sights(left, seen(Activity::Running));
    let events = vec![Event::MoveEnded(Ending::Arrived), look.clone()];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::DestroySource)]);
    let job = fails_for_ever(job, &look, &[Effect::Do(Deed::DestroySource)]);
    // The definition there is still made, and the note stays.
    let look = sights(left, transient(Activity::Running));
    let job = check(job, vec![look], Phase::CleaningUp, &[Effect::Do(Deed::PersistDestination)]);
    let events = vec![Event::Did, sights(left, seen(Activity::Running))];
    let job = check(job, events, Phase::Done, &[]);
    assert_eq!(job.note(), Some("the call broke"));
}

#[test]
fn a_guest_that_stands_still_at_the_destination_has_not_been_migrated_well() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let stands = sights(Sight::Absent, seen(Activity::Paused));
    let events = vec![Event::Hold, Event::MoveEnded(Ending::Arrived), stands.clone()];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::ResumeDestination)]);
    let failed = fails_for_ever(job.clone(), &stands, &[Effect::Do(Deed::ResumeDestination)]);
    let failed = check(failed, vec![stands.clone()], Phase::Failed, &[]);
    let message = &failed.failure().expect("it failed").message;
    assert!(message.contains("paused at the destination"), "{message}");
    // Once it has gone on, it pauses for reasons of its own.
    check(job, vec![Event::Did, stands], Phase::Done, &[]);
}

#[test]
fn a_definition_that_stays_does_not_start_by_itself_from_the_beginning() {
    let facts = Facts { autostart: true, ..PERSISTENT };
    let terms = Terms { undefine_source: false, ..terms(MigrationType::Live) };
    let job = Job { terms, ..prepared(MigrationType::Live, facts) };
    // It was held before the move began, and is as it was once the guest is home.
    let held = sights(seen(Activity::Running), Sight::Absent);
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), held];
    check(job.clone(), events, Phase::CleaningUp, &[Effect::Do(Deed::AutostartSource)]);
    // Should it still start by itself, that comes before all other steps.
    let starts = Presence {
        activity: Activity::OffMigrated,
        persistent: true,
        autostart: true,
        outgoing: Outgoing::No,
        revived: false,
    };
    let look = sights(Sight::Present(starts), transient(Activity::Running));
    let events = vec![Event::MoveEnded(Ending::Arrived), look];
    check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::HoldSource)]);
}
