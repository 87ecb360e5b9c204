//! The program dies in each phase and comes back: the job ends in the true state.

use super::*;
use crate::hypervisor::{JobKind, JobOperation, JobStats, Migrator};

/// Dies while a call hangs, comes back while it still does, and lets it go on then.
async fn check(migration_type: MigrationType, at_source: bool, call: &'static str, dies_in: Phase) {
    check_guest_that(|_| {}, migration_type, at_source, call, dies_in).await;
}

async fn check_guest_that(
    differs: impl Fn(&mut Domain),
    migration_type: MigrationType,
    at_source: bool,
    call: &'static str,
    dies_in: Phase,
) {
    let mut bench = Bench::new().await;
    bench.source.remove_guest("web");
    add_guest(&bench.source, "web", UUID, &differs);
    let host = if at_source { &bench.source } else { &bench.destination };
    let hanging = host.hang(call);
    let id = bench.submit(migration_type).await;
    reached(&hanging);
    let told = bench.view(&id);
    assert_eq!(told.phase, dies_in, "{call}");
    bench.kill().await;
    bench.start().await;
    drop(hanging);
    let (view, bench) = bench.end(&id).await;
    assert_eq!((view.phase, view.failure.as_ref()), (Phase::Done, None), "{call}");
    assert_eq!((view.submitted, &view.request), (told.submitted, &told.request));
    bench.is_away(differs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_from_wherever_it_was() {
    check(MigrationType::Live, true, "domain_xml", Phase::Preparing).await;
    check(MigrationType::Live, true, "copy", Phase::Copying).await;
    check(MigrationType::Resume, true, "copy", Phase::Copying).await;
    check(MigrationType::Restart, false, "define", Phase::Defining).await;
    check(MigrationType::Restart, true, "shutdown", Phase::ShuttingDown).await;
    check(MigrationType::Restart, false, "start", Phase::Starting).await;
    let autostart = |guest: &mut Domain| guest.autostart = true;
    let phase = Phase::CleaningUp;
    check_guest_that(autostart, MigrationType::Live, false, "set_autostart", phase).await;
    check_guest_that(autostart, MigrationType::Restart, false, "set_autostart", phase).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waited_or_was_checked_is_checked_again() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 9 };
    let mut bench = Bench::with(Options { limits, ..options() }).await;
    let (guest, guest_uuid) = ("db".to_owned(), "00000000-0000-4000-8000-000000000001".to_owned());
    add_guest(&bench.source, &guest, &guest_uuid, |_| {});
    bench.gate.lock();
    let first = bench.submit(MigrationType::Live).await;
    let request = Request { guest, guest_uuid, ..request(MigrationType::Live) };
    let second = bench.submit_request(request).await;
    comes_true(|| bench.gate.runs.load(Ordering::Relaxed) == 1).await;
    bench.phase(&second, Phase::Queued).await;
    bench.kill().await;
    bench.start().await;
    bench.phase(&first, Phase::Checking).await;
    bench.gate.unlock();
    assert_eq!(bench.over(&first).await.phase, Phase::Done);
    let (view, bench) = bench.end(&second).await;
    assert_eq!(view.phase, Phase::Done);
    assert_eq!(bench.gate.runs.load(Ordering::Relaxed), 3);
    assert_eq!(bench.destination.domains().expect("it is up").len(), 2);
    assert_eq!(bench.source.domains().expect("it is up").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_goes_on_is_followed_and_can_be_cancelled() {
    let mut bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    let before = bench.reach(&id, |view| view.report.total.is_some()).await;
    bench.kill().await;
    bench.start().await;
    let view = bench.reach(&id, |view| view.report.total.is_some()).await;
    assert_eq!(view.phase, Phase::Copying);
    assert!(view.report.percent >= before.report.percent);
    bench.handle().abort(&id).await.expect("it copies");
    let (view, bench) = bench.end(&id).await;
    assert_eq!((view.phase, view.failure.as_ref()), (Phase::Cancelled, None));
    bench.is_home(|_| {});
    drop(copying);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_gives_a_move_no_more_time() {
    let mut bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let spec = SettingsSpec {
        migration_type: Some(MigrationType::Live),
        migration_timeout: Some(3600),
        ..SettingsSpec::default()
    };
    let id = bench.submit_request(request_with(spec)).await;
    reached(&copying);
    bench.kill().await;
    let mut stats = bench.source.job("web").expect("it is up").expect("it copies");
    stats.elapsed = Some(3_600_001);
    bench.source.set_job_stats("web", stats);
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::TimedOut, "it took longer than 3600 s");
    bench.is_home(|_| {});
    drop(copying);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_died_with_us_has_failed() {
    let mut bench = Bench::with(Options { mode: Mode::Direct, ..options() }).await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.kill().await;
    // libvirt cancels it.
    bench.source.fail_next("copy", refusal("the client went away"));
    drop(copying);
    comes_true(|| bench.source.active_job("web").expect("it is up").is_none()).await;
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Interrupted, "the guest is at the source");
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deed_that_failed_while_nobody_looked_is_done_again() {
    let calls = [
        ("define", Phase::Defining, false),
        ("start", Phase::Starting, false),
        ("shutdown", Phase::ShuttingDown, true),
    ];
    for (call, phase, at_source) in calls {
        let mut bench = Bench::new().await;
        let host = Arc::clone(if at_source { &bench.source } else { &bench.destination });
        let hanging = host.hang(call);
        let id = bench.submit(MigrationType::Restart).await;
        reached(&hanging);
        assert_eq!(bench.view(&id).phase, phase);
        bench.kill().await;
        host.fail_next(call, refusal("the host was restarted"));
        drop(hanging);
        bench.start().await;
        let (view, bench) = bench.end(&id).await;
        assert_eq!(view.phase, Phase::Done, "{call}: {view:?}");
        bench.is_away(|_| {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_is_not_forgotten() {
    // The guest would not shut down; then nobody was there to see that it did.
    let mut bench = Bench::with(Options { shutdown_timeout: SOON, ..options() }).await;
    bench.source.ignore_shutdown("web", true);
    let id = bench.submit(MigrationType::Restart).await;
    bench.phase(&id, Phase::ShuttingDown).await;
    bench.handle().abort(&id).await.expect("it shuts down");
    bench.kill().await;
    bench.source.change_guest("web", crate::hypervisor::Lifecycle::Stopped, |guest| {
        guest.state = DomainState::Shutoff;
    });
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Cancelled);
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_is_waited_for() {
    let mut bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.kill().await;
    bench.source.go_down();
    bench.start().await;
    let view = bench.reach(&id, |view| view.doubt.is_some()).await;
    assert_eq!(view.phase, Phase::Confirming);
    bench.source.come_up();
    drop(copying);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

/// A job whose daemon died while it copied; what libvirt did meanwhile is up to the caller.
async fn dead_while_copying() -> (Bench, String) {
    let mut bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.kill().await;
    bench.source.abort_job("web").expect("it copies");
    comes_true(|| bench.source.job("web").is_ok_and(|job| job.is_none())).await;
    drop(copying);
    (bench, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_of_somebody_else_is_not_taken_for_ours() {
    for began in [0, 3_600_000] {
        let (mut bench, id) = dead_while_copying().await;
        // One that began an hour ago may be ours; one that begins in an hour is not.
        let (kind, operation) = (JobKind::Unbounded, JobOperation::MigrationOut);
        let elapsed = Some(3_600_000 - began);
        bench
            .source
            .set_job_stats("web", JobStats { kind, operation, elapsed, ..Default::default() });
        bench.edit_record(&id, |record| {
            let hour = record["move_asked"].as_i64().expect("a moment") - 3_600_000;
            record["move_asked"] = hour.into();
            record["move_began"] = serde_json::Value::Null;
        });
        bench.start().await;
        if began == 0 {
            bench.phase(&id, Phase::Copying).await;
            comes_true(|| bench.source.calls().contains(&"job")).await;
            bench.kill().await;
            continue;
        }
        let (view, bench) = bench.end(&id).await;
        check_failure(&view, Reason::Host, "another migration moves the guest");
        let job = bench.source.job("web").expect("it runs");
        assert!(job.is_some(), "the migration goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_was_there_before_is_no_guest_that_arrived() {
    let mut bench = Bench::new().await;
    add_guest(&bench.destination, "web", UUID, |guest| guest.state = DomainState::Shutoff);
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.kill().await;
    bench.source.abort_job("web").expect("it copies");
    comes_true(|| bench.source.job("web").is_ok_and(|job| job.is_none())).await;
    drop(copying);
    // Somebody moves it to a third host.
    bench.source.change_guest_silently("web", |guest| {
        (guest.state, guest.reason) = (DomainState::Shutoff, 4);
    });
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::GuestStopped, "left for another host");
    let calls = bench.destination.calls();
    assert!(!calls.contains(&"set_autostart") && !calls.contains(&"undefine"), "{calls:?}");
    assert!(bench.source.domain("web").expect("its definition stays").persistent);
}
