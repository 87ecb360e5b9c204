//! A store that has no room, at each point.

use super::*;

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
    let view = bench.over(&id).await;
    check_failure(&view, Reason::Host, "can't be stored");
    bench.is_home(|_| {});
    // Until that is stored the guest is not given to another job.
    bench.reach(&id, |view| view.unstored.is_some()).await;
    let refused = bench.handle().submit(request(MigrationType::Live)).await;
    assert!(matches!(refused, Err(SubmitError::Queue(QueueError::Migrating { .. }))));
    let refused = bench.handle().remove(&id).await;
    assert!(matches!(refused, Err(CommandError::Store(_))), "{refused:?}");
    bench.store().refuse_writes(false).await;
    bench.reach(&id, |view| view.unstored.is_none()).await;
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
    assert!(!view.is_over());
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
