//! A store that has no room, at each point.

use super::*;
use crate::{hypervisor::Migrator, migration::TimeoutAction};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_not_be_stored_is_refused() {
    let bench = Bench::new().await;
    bench.store().refuse_writes(true).await;
    let refused = bench.handle().submit(request(MigrationType::Live)).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    assert!(bench.handle().jobs().is_empty());
    assert_eq!(bench.gate.runs.load(Ordering::Relaxed), 0);
    bench.store().refuse_writes(false).await;
    let id = bench.submit(MigrationType::Live).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_touched_nothing_fails() {
    let mut bench = Bench::new().await;
    bench.gate.lock();
    let id = bench.submit(MigrationType::Live).await;
    bench.phase(&id, Phase::Checking).await;
    bench.store().refuse_writes(true).await;
    bench.gate.unlock();
    // Until that is stored nobody is told, and the guest is not given to another job.
    let view = bench.reach(&id, |view| view.unstored.is_some()).await;
    assert_eq!((view.phase, view.failure.as_ref()), (Phase::Checking, None));
    bench.is_home(|_| {});
    let refused = bench.handle().submit(request(MigrationType::Live)).await;
    assert!(matches!(refused, Err(SubmitError::Queue(QueueError::Migrating { .. }))));
    let refused = bench.handle().remove(&id).await;
    assert!(matches!(refused, Err(CommandError::Store(_))), "{refused:?}");
    bench.store().refuse_writes(false).await;
    let view = bench.over(&id).await;
    check_failure(&view, Reason::Host, "can't be stored");
    assert_eq!(view.unstored, None);
    bench.kill().await;
    bench.start().await;
    check_failure(&bench.view(&id), Reason::Host, "can't be stored");
    let id = bench.submit(MigrationType::Live).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_under_way_waits_until_it_is_stored() {
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.store().refuse_writes(true).await;
    drop(copying);
    let view = bench.reach(&id, |view| view.unstored.is_some()).await;
    // Whoever starts anew finds the guest there, so that may be told already.
    assert!(!view.is_over() || view.phase == Phase::Done, "{view:?}");
    bench.is_away(|_| {});
    bench.store().refuse_writes(false).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!((view.phase, view.unstored.as_ref()), (Phase::Done, None));
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_deed_waits_until_the_one_before_is_stored() {
    let mut bench = Bench::new().await;
    let defining = bench.destination.hang("define");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&defining);
    bench.store().refuse_writes(true).await;
    drop(defining);
    bench.reach(&id, |view| view.unstored.is_some()).await;
    assert!(!bench.source.calls().contains(&"shutdown"));
    // It may die there as well.
    bench.kill().await;
    assert!(!bench.source.calls().contains(&"shutdown"));
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled_although_that_can_not_be_stored() {
    for dies in [false, true] {
        let mut bench = Bench::new().await;
        let copying = bench.source.hang("copy");
        let id = bench.submit(MigrationType::Live).await;
        reached(&copying);
        bench.store().refuse_writes(true).await;
        soon(bench.handle().abort(&id)).await.expect("it copies");
        comes_true(|| bench.source.calls().contains(&"abort_job")).await;
        drop(copying);
        if dies {
            bench.kill().await;
            bench.start().await;
        } else {
            bench.store().refuse_writes(false).await;
        }
        let (view, bench) = bench.end(&id).await;
        // What was not stored is not known after a crash; the guest is where it was.
        let phase = if dies { Phase::Failed } else { Phase::Cancelled };
        assert_eq!(view.phase, phase, "{view:?}");
        bench.is_home(|_| {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_while_a_step_can_not_be_stored() {
    let bench = Bench::new().await;
    let defining = bench.destination.hang("define");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&defining);
    bench.store().refuse_writes(true).await;
    drop(defining);
    bench.reach(&id, |view| view.unstored.is_some()).await;
    soon(bench.handle().abort(&id)).await.expect("the guest has not been shut down");
    bench.store().refuse_writes(false).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!((view.phase, view.failure.as_ref()), (Phase::Cancelled, None));
    assert!(!bench.source.calls().contains(&"shutdown"));
    bench.is_home(|_| {});
}

const OTHER: &str = "22222222-2222-4333-8444-555555555555";

/// Two guests and room for one: the first is at the gate, the second waits.
async fn one_waits() -> (Bench, String, String) {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 9 };
    let bench = Bench::with(Options { limits, ..options() }).await;
    add_guest(&bench.source, "db", OTHER, |_| {});
    bench.gate.lock();
    let first = bench.submit(MigrationType::Live).await;
    bench.phase(&first, Phase::Checking).await;
    let second = bench.submit_request(other()).await;
    bench.reach(&second, |view| view.waiting.is_some()).await;
    (bench, first, second)
}

fn other() -> Request {
    Request { guest: "db".to_owned(), guest_uuid: OTHER.to_owned(), ..request(MigrationType::Live) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_an_end_that_the_next_start_does_not_know() {
    for dies in [false, true] {
        let (mut bench, first, second) = one_waits().await;
        bench.store().refuse_writes(true).await;
        for id in [&first, &second] {
            bench.handle().abort(id).await.expect("nothing was touched");
            let view = bench.reach(id, |view| view.unstored.is_some()).await;
            assert!(view.abort_wanted && !view.is_over(), "{view:?}");
        }
        let again = bench.handle().abort(&second).await;
        assert!(matches!(again, Err(CommandError::Store(_))), "{again:?}");
        if dies {
            bench.kill().await;
            bench.start().await;
            let view = bench.view(&second);
            assert!(!view.abort_wanted && !view.is_over(), "{view:?}");
        } else {
            bench.store().refuse_writes(false).await;
        }
        bench.gate.unlock();
        for id in [&first, &second] {
            let view = bench.over(id).await;
            assert_eq!(view.phase, if dies { Phase::Done } else { Phase::Cancelled });
        }
        bench.kill().await;
        assert_eq!(bench.source.domain("db").is_ok(), !dies);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_can_not_be_stored_takes_nobodys_place() {
    let (bench, first, second) = one_waits().await;
    bench.store().refuse_writes(true).await;
    bench.handle().abort(&second).await.expect("it waits");
    // The guest is not given away, and the place of the first is not given to the second.
    let refused = bench.handle().submit(other()).await;
    assert!(matches!(refused, Err(SubmitError::Queue(QueueError::Migrating { .. }))));
    bench.handle().abort(&first).await.expect("it checks");
    bench.reach(&first, |view| view.unstored.is_some()).await;
    bench.store().refuse_writes(false).await;
    for id in [&first, &second] {
        assert_eq!(bench.over(id).await.phase, Phase::Cancelled);
    }
    let again = bench.submit_request(other()).await;
    bench.gate.unlock();
    let (view, _) = bench.end(&again).await;
    assert_eq!(view.phase, Phase::Done);
}

/// A restart whose guest is off; that it is to be started at the destination can't be stored.
async fn off_and_unstored() -> (Bench, String) {
    let bench = Bench::with(Options { shutdown_timeout: SOON, ..options() }).await;
    let asking = bench.source.hang("shutdown");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&asking);
    bench.store().refuse_writes(true).await;
    drop(asking);
    bench.reach(&id, |view| view.phase == Phase::Starting && view.unstored.is_some()).await;
    (bench, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_had_to_wait_is_decided_anew() {
    for meddled in [true, false] {
        let (bench, id) = off_and_unstored().await;
        if meddled {
            bench.source.start("web").expect("it is off");
        }
        bench.store().refuse_writes(false).await;
        let (view, bench) = bench.end(&id).await;
        assert_eq!(bench.destination.calls().contains(&"start"), !meddled);
        if meddled {
            check_failure(&view, Reason::Host, "was started at the source meanwhile");
            bench.is_home(|_| {});
        } else {
            assert_eq!(view.phase, Phase::Done);
            bench.is_away(|_| {});
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_had_to_wait_is_decided_anew() {
    let bench = Bench::with(Options { shutdown_timeout: SOON, ..options() }).await;
    let starting = bench.destination.hang("start");
    bench.destination.fail_next("start", refusal("no memory"));
    let id = bench.submit(MigrationType::Restart).await;
    reached(&starting);
    bench.store().refuse_writes(true).await;
    drop(starting);
    bench.reach(&id, |view| view.phase == Phase::CleaningUp && view.unstored.is_some()).await;
    // Somebody has made room there.
    bench.destination.start("web").expect("it is off");
    bench.store().refuse_writes(false).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done, "{view:?}");
    assert!(!bench.source.calls().contains(&"start"));
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled_although_a_pause_has_to_wait() {
    let mut request = request(MigrationType::Live);
    request.settings.timeout = Some((Duration::from_millis(200), TimeoutAction::Pause));
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit_request(request).await;
    reached(&copying);
    bench.store().refuse_writes(true).await;
    // The pause is decided, and waits.
    bench.reach(&id, |view| view.unstored.is_some()).await;
    soon(bench.handle().abort(&id)).await.expect("it copies");
    comes_true(|| bench.source.calls().contains(&"abort_job")).await;
    assert!(!bench.source.calls().contains(&"suspend"));
    drop(copying);
    bench.store().refuse_writes(false).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    bench.is_home(|_| {});
}
