//! A guest that is shut down here and started there.

use super::*;

#[test]
fn a_restart_comes_back_if_the_start_fails() {
    let job = prepared(MigrationType::Restart, PERSISTENT);
    let events = vec![Event::Did, Event::GuestOff];
    let job = check(job, events, Phase::Starting, &[Effect::Do(Deed::StartDestination)]);
    let off = sights(seen(Activity::Off), seen(Activity::Off));
    let events = vec![Event::Broke(broke()), off];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
    let again = sights(seen(Activity::Running), seen(Activity::Off));
    let events = vec![Event::Did, again];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::UndefineDestination)]);
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
    check(job.clone(), vec![there], Phase::CleaningUp, &[Effect::Do(Deed::UndefineSource)]);
    check(job, vec![Event::PatienceOver, off], Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
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
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::UndefineDestination)]);
    let home = sights(runs(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::Did, home], Phase::Confirming, &[Effect::InspectLater]);
    assert_eq!(job.doubt(), Some(Doubt::MayShutDown));
    job
}

#[test]
fn a_guest_that_shuts_down_late_is_started_again() {
    let off = sights(seen(Activity::Off), Sight::Absent);
    let job =
        check(deaf(PERSISTENT), vec![off], Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
    // A start that fails leaves another trace; it is tried again all the same.
    let failed = sights(seen(Activity::Ended), Sight::Absent);
    let events = vec![Event::Broke(broke()), failed];
    let job = check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
    let home = sights(seen(Activity::Running), Sight::Absent);
    let job = check(job, vec![Event::Did, home], Phase::Failed, &[]);
    let told = "120 s; the guest shut down late and was started again";
    assert_eq!(job.failure(), Some(&Failure::new(Reason::ShutdownTimeout, told)));
}

#[test]
fn a_guest_that_shuts_down_late_comes_back_although_the_daemon_died() {
    let off = sights(seen(Activity::Off), Sight::Absent);
    let events = vec![Event::Adopted, off];
    check(deaf(PERSISTENT), events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
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
    let mut job = deaf(facts);
    for _ in 0..MAX_LOOKS {
        job = check(job, vec![gone.clone()], Phase::Confirming, &[Effect::InspectLater]);
    }
    let job = check(job, vec![gone.clone()], Phase::Failed, &[]);
    assert_eq!(job.failure().map(|failure| failure.reason), Some(Reason::GuestStopped));
    // The event may come before or after the guest is seen to be gone.
    for first in [vec![], vec![gone.clone()]] {
        let events = [first, vec![Event::GuestOff, gone.clone()]].concat();
        check(deaf(facts), events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
    }
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
    check(job, events, Phase::CleaningUp, &[Effect::Do(Deed::StartSource)]);
}

#[test]
fn the_only_definition_stays() {
    let job = prepared(MigrationType::Live, PERSISTENT);
    let undefined_meanwhile = sights(transient(Activity::Running), seen(Activity::Off));
    let events = vec![Event::MoveEnded(Ending::Failed(broke())), undefined_meanwhile];
    check(job, events, Phase::Failed, &[]);
}
