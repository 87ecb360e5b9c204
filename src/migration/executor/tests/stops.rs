//! Jobs that are told to stop, and moves that do not get on.

use super::*;
use crate::migration::{TimeoutAction, job::Refusal};

fn refused(answer: Result<(), CommandError>) -> Refusal {
    match answer {
        Err(CommandError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_cancelled_at_once() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 9 };
    let bench = Bench::with(Options { limits, ..options() }).await;
    add_guest(&bench.source, "db", "22222222-2222-4333-8444-555555555555", |_| {});
    bench.gate.lock();
    let first = bench.submit(MigrationType::Live).await;
    let request = Request {
        guest: "db".to_owned(),
        guest_uuid: "22222222-2222-4333-8444-555555555555".to_owned(),
        ..request(MigrationType::Live)
    };
    let second = bench.submit_request(request).await;
    let view = bench.reach(&second, |view| view.waiting.is_some()).await;
    assert_eq!(view.phase, Phase::Queued);
    bench.handle().abort(&second).await.expect("it waits");
    let view = bench.view(&second);
    assert_eq!((view.phase, view.waiting.as_ref(), view.started), (Phase::Cancelled, None, None));
    let again = refused(bench.handle().abort(&second).await);
    assert_eq!(again, Refusal::Over(Phase::Cancelled));
    bench.gate.unlock();
    let (view, _) = bench.end(&first).await;
    assert_eq!(view.phase, Phase::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_left() {
    for kill in [false, true] {
        let bench = Bench::new().await;
        bench.gate.lock();
        let id = bench.submit(MigrationType::Live).await;
        bench.phase(&id, Phase::Checking).await;
        let handle = bench.handle();
        if kill { handle.kill(&id).await } else { handle.abort(&id).await }.expect("it checks");
        let (view, bench) = bench.end(&id).await;
        assert_eq!((view.phase, view.failure.as_ref()), (Phase::Cancelled, None));
        bench.is_home(|_| {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_is_left_although_a_host_does_not_answer() {
    let bench = Bench::new().await;
    let asking = bench.source.hang("domain_xml");
    let id = bench.submit(MigrationType::Live).await;
    reached(&asking);
    bench.handle().abort(&id).await.expect("nothing was touched");
    let view = bench.over(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    drop(asking);
    let (_, bench) = bench.end(&id).await;
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled() {
    for migration_type in [MigrationType::Live, MigrationType::Resume] {
        let bench = Bench::new().await;
        let copying = bench.source.hang("copy");
        let id = bench.submit(migration_type).await;
        reached(&copying);
        bench.handle().abort(&id).await.expect("it copies");
        let (view, bench) = bench.end(&id).await;
        assert_eq!((view.phase, view.failure.as_ref()), (Phase::Cancelled, None));
        bench.is_home(|_| {});
        drop(copying);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_has_not_begun_is_cancelled_once_it_has() {
    let bench = Bench::new().await;
    let beginning = bench.source.hang("migrate");
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&beginning);
    // libvirt says that there is nothing to cancel.
    bench.handle().abort(&id).await.expect("it copies");
    comes_true(|| bench.source.calls().contains(&"abort_job")).await;
    drop(beginning);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    bench.is_home(|_| {});
    drop(copying);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_taken_back() {
    // While the guest is defined there.
    let bench = Bench::new().await;
    let defining = bench.destination.hang("define");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&defining);
    bench.handle().abort(&id).await.expect("it defines");
    assert!(bench.view(&id).abort_wanted);
    drop(defining);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    assert!(!bench.source.calls().contains(&"shutdown"));
    bench.is_home(|_| {});
    // While it shuts down: then it is off, and is started again.
    let bench = Bench::with(Options { shutdown_timeout: SOON, ..options() }).await;
    let asking = bench.source.hang("shutdown");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&asking);
    bench.handle().abort(&id).await.expect("it shuts down");
    drop(asking);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    assert!(bench.source.calls().contains(&"start"));
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_late_is_refused_at_once() {
    // The answers come although the hosts hang.
    let bench = Bench::new().await;
    let starting = bench.destination.hang("start");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&starting);
    let answer = refused(bench.handle().abort(&id).await);
    assert_eq!(answer, Refusal::TooLate(Phase::Starting));
    drop(starting);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});

    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    let looking = bench.destination.hang("domain_by_uuid");
    drop(copying);
    bench.phase(&id, Phase::Confirming).await;
    let answer = refused(bench.handle().kill(&id).await);
    assert_eq!(answer, Refusal::TooLate(Phase::Confirming));
    drop(looking);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn only_killing_ends_a_job_in_doubt() {
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.destination.go_down();
    drop(copying);
    bench.reach(&id, |view| view.doubt.is_some()).await;
    let answer = refused(bench.handle().abort(&id).await);
    assert_eq!(answer, Refusal::TooLate(Phase::Confirming));
    bench.handle().kill(&id).await.expect("it is in doubt");
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Unresolved, "ended on request while waiting");
    bench.destination.come_up();
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_are_not_stopped() {
    let mut bench = Bench::new().await;
    let answer = bench.handle().abort("nobody").await;
    assert!(matches!(answer, Err(CommandError::Unknown(id)) if id == "nobody"));
    let handle = bench.handle().clone();
    bench.kill().await;
    assert!(matches!(handle.kill("nobody").await, Err(CommandError::Stopping)));
    let submitted = handle.submit(request(MigrationType::Live)).await;
    assert!(matches!(submitted, Err(SubmitError::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_move_is_given_up() {
    let stall = Duration::from_millis(30);
    let bench = Bench::with(Options { stall, ..options() }).await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::TimedOut, "Migration Failed: nothing was sent");
    bench.is_home(|_| {});
    drop(copying);
}

fn limited(action: TimeoutAction) -> Request {
    let spec = SettingsSpec { post_copy: Some(true), ..SettingsSpec::default() };
    let mut request = request_with(spec);
    request.settings.timeout = Some((Duration::from_millis(10), action));
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_takes_too_long_is_dealt_with_as_was_asked() {
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit_request(limited(TimeoutAction::Abort)).await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::TimedOut, "it took longer than");
    bench.is_home(|_| {});
    drop(copying);

    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let switched = bench.source.hang("start_post_copy");
    let id = bench.submit_request(limited(TimeoutAction::PostCopy)).await;
    reached(&switched);
    drop((switched, copying));
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});

    // The guest stands still, and goes on where it is then.
    for arrives in [true, false] {
        let bench = Bench::new().await;
        let copying = bench.source.hang("copy");
        let suspending = bench.source.hang("suspend");
        let id = bench.submit_request(limited(TimeoutAction::Pause)).await;
        reached(&suspending);
        drop(suspending);
        let state = || bench.source.domain("web").expect("it is there").state;
        comes_true(|| state() == DomainState::Paused).await;
        if !arrives {
            bench.source.fail_next("copy", refusal("the link broke"));
        }
        drop(copying);
        let (view, bench) = bench.end(&id).await;
        if arrives {
            assert_eq!(view.phase, Phase::Done);
            bench.is_away(|_| {});
        } else {
            check_failure(&view, Reason::Host, "the link broke");
            bench.is_home(|_| {});
        }
    }
}
