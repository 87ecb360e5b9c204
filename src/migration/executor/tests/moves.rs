//! Guests that arrive, and guests that are refused.

use super::*;
use crate::hypervisor::{JobKind, JobOperation, JobStats, Route};

/// Moves a guest that is so; it arrives, and is there what it was here.
async fn check(migration_type: MigrationType, mode: Mode, differs: impl Fn(&mut Domain)) {
    let bench = Bench::with(Options { mode, ..options() }).await;
    bench.source.remove_guest("web");
    add_guest(&bench.source, "web", UUID, &differs);
    let mut changes = bench.handle().changes();
    let id = bench.submit(migration_type).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!((view.phase, view.failure.as_ref()), (Phase::Done, None), "{migration_type:?}");
    assert_eq!(view.report.percent, 100);
    assert!(view.started >= Some(view.submitted) && view.ended >= view.started);
    bench.is_away(differs);
    let mut percent = 0;
    let mut phases = Vec::new();
    while let Ok(change) = changes.try_recv() {
        if let JobChange::Modified { current, .. } = change {
            assert!(current.report.percent >= percent, "progress goes back");
            percent = current.report.percent;
            phases.push(current.phase);
        }
    }
    phases.dedup();
    let moved = [Phase::Checking, Phase::Preparing];
    assert_eq!(phases[..2], moved, "{migration_type:?}");
    assert_eq!(phases.last(), Some(&Phase::Done));
    let route = match mode {
        Mode::PeerToPeer => Route::PeerToPeer(DESTINATION.to_owned()),
        Mode::Direct => Route::Direct(DESTINATION.to_owned()),
    };
    let orders = bench.source.orders();
    let expected = usize::from(migration_type != MigrationType::Restart);
    assert_eq!(orders.len(), expected);
    assert!(orders.iter().all(|order| order.route == route && !order.allow_unsafe));
}

fn transient(guest: &mut Domain) {
    guest.persistent = false;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_migration_arrives_in_both_modes() {
    for mode in [Mode::PeerToPeer, Mode::Direct] {
        for migration_type in [MigrationType::Live, MigrationType::Resume, MigrationType::Restart] {
            check(migration_type, mode, |_| {}).await;
            check(migration_type, mode, transient).await;
            check(migration_type, mode, |guest| guest.autostart = true).await;
        }
        check(MigrationType::Offline, mode, |guest| guest.state = DomainState::Shutoff).await;
        check(MigrationType::Live, mode, |guest| guest.state = DomainState::Paused).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_guest_stays_and_the_findings_are_kept() {
    let mut bench = Bench::new().await;
    let findings = vec![
        finding("VMC011", Source::Builtin, Severity::Warning),
        finding("VMX001", Source::Program("20-storage".to_owned()), Severity::Error),
    ];
    bench.gate.answer(findings.clone());
    let id = bench.submit(MigrationType::Live).await;
    let view = bench.over(&id).await;
    check_failure(&view, Reason::Refused, "VMX001 says no");
    assert_eq!(*view.findings, findings);
    bench.is_home(|_| {});
    bench.kill().await;
    bench.start().await;
    let view = bench.view(&id);
    check_failure(&view, Reason::Refused, "VMX001 says no");
    assert_eq!(*view.findings, findings);
    let touched = ["migrate", "define", "shutdown", "suspend", "set_autostart"];
    let calls = [bench.source.calls(), bench.destination.calls()].concat();
    assert!(!calls.iter().any(|call| touched.contains(call)), "{calls:?}");
    bench.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_overridden_is() {
    let program = |name: &str| Source::Program(name.to_owned());
    let cases: [(_, _, &[&str], bool); 9] = [
        ("VMC009", Source::Builtin, &["VMC009"], true),
        ("VMC009", Source::Builtin, &["VMC008"], false),
        ("VMC009", Source::Builtin, &["VMC009:web"], false),
        ("VMC001", Source::Builtin, &["VMC001"], false),
        ("VMX001", program("20-storage"), &["VMX001"], true),
        ("VMX004", program("20-storage"), &["x", "VMX004:20-storage"], true),
        ("VMX001", program("20-storage"), &["VMX001:30-other"], false),
        ("VMX005", program("20-storage"), &["VMX005", "VMX005:20-storage"], false),
        ("VMX006", Source::Directory("/d".to_owned()), &["VMX006"], false),
    ];
    for (code, source, overrides, goes) in cases {
        let bench = Bench::new().await;
        bench.gate.answer(vec![finding(code, source, Severity::Error)]);
        let overrides: Vec<String> = overrides.iter().map(|it| (*it).to_owned()).collect();
        let request = Request { overrides: overrides.clone(), ..request(MigrationType::Live) };
        let id = bench.submit_request(request).await;
        let (view, bench) = bench.end(&id).await;
        let expected = if goes { Phase::Done } else { Phase::Failed };
        assert_eq!(view.phase, expected, "{code} with {overrides:?}");
        assert_eq!(view.findings.len(), 1);
        if goes { bench.is_away(|_| {}) } else { bench.is_home(|_| {}) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn libvirt_is_told_that_somebody_answers_for_unsafe_storage() {
    let bench = Bench::new().await;
    bench.gate.answer(vec![finding("VMC006", Source::Builtin, Severity::Error)]);
    let overrides = vec!["VMC006".to_owned()];
    let request = Request { overrides, ..request(MigrationType::Live) };
    let id = bench.submit_request(request).await;
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    assert!(bench.source.orders()[0].allow_unsafe);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_leaves_the_guest_where_it_was() {
    for (at_source, call) in [(true, "migrate"), (true, "copy"), (false, "accept")] {
        let bench = Bench::new().await;
        let host = if at_source { &bench.source } else { &bench.destination };
        host.fail_next(call, refusal("no room"));
        let id = bench.submit(MigrationType::Live).await;
        let (view, bench) = bench.end(&id).await;
        check_failure(&view, Reason::Host, "Migration Failed: no room");
        bench.is_home(|_| {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_can_not_go_is_not_touched() {
    let bench = Bench::new().await;
    let id = bench.submit(MigrationType::Offline).await;
    check_failure(&bench.over(&id).await, Reason::Unsuitable, "must be shut off");
    add_guest(&bench.destination, "web", UUID, |guest| guest.state = DomainState::Shutoff);
    let id = bench.submit(MigrationType::Restart).await;
    check_failure(&bench.over(&id).await, Reason::Unsuitable, "Remote already has domain");
    bench.destination.remove_guest("web");
    bench.destination.go_down();
    let id = bench.submit(MigrationType::Live).await;
    let connect = "Failed to connect to remote host";
    check_failure(&bench.over(&id).await, Reason::Host, connect);
    let unknown = Request {
        guest_uuid: "00000000-0000-4000-8000-000000000000".to_owned(),
        ..request(MigrationType::Live)
    };
    let id = bench.submit_request(unknown).await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::NotFound, "Failed to lookup domain `web'");
    bench.destination.come_up();
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_vanishes_at_the_end_is_waited_for() {
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.destination.go_down();
    drop(copying);
    let view = bench.reach(&id, |view| view.doubt.is_some()).await;
    assert_eq!((view.phase, view.report.percent), (Phase::Confirming, 99));
    bench.destination.come_up();
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Done);
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_fails_brings_the_guest_back() {
    // A guest that does not shut down.
    let bench = Bench::new().await;
    bench.source.ignore_shutdown("web", true);
    let id = bench.submit(MigrationType::Restart).await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::ShutdownTimeout, "Domain failed to shutdown");
    bench.is_home(|_| {});
    // One that does not start there; it comes back as it was.
    for persistent in [true, false] {
        let bench = Bench::new().await;
        let as_it_was = |guest: &mut Domain| {
            guest.persistent = persistent;
            guest.autostart = persistent;
        };
        bench.source.remove_guest("web");
        add_guest(&bench.source, "web", UUID, as_it_was);
        bench.destination.fail_next("start", refusal("no such machine"));
        // Nor does it at once here.
        bench.source.fail_next("start", refusal("still busy"));
        let id = bench.submit(MigrationType::Restart).await;
        let (view, bench) = bench.end(&id).await;
        check_failure(&view, Reason::Host, "no such machine");
        bench.is_home(as_it_was);
    }
    // One that can't be defined there was never shut down.
    let bench = Bench::new().await;
    bench.destination.fail_next("define", refusal("no room"));
    let id = bench.submit(MigrationType::Restart).await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Host, "Failed to define domain: no room");
    assert!(!bench.source.calls().contains(&"shutdown"));
    bench.is_home(|_| {});
}

fn stats(remaining: u64) -> JobStats {
    JobStats {
        kind: JobKind::Unbounded,
        operation: JobOperation::MigrationOut,
        data_total: Some(1000),
        data_processed: Some(5000 - remaining),
        data_remaining: Some(remaining),
        ..JobStats::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_and_does_not_go_back() {
    let bench = Bench::new().await;
    let copying = bench.source.hang("copy");
    let id = bench.submit(MigrationType::Live).await;
    reached(&copying);
    bench.source.set_job_stats("web", stats(500));
    let view = bench.reach(&id, |view| view.report.remaining == Some(500)).await;
    let half = view.report.percent;
    assert!((40..60).contains(&half), "{half}");
    bench.source.set_job_stats("web", stats(900));
    let view = bench.reach(&id, |view| view.report.remaining == Some(900)).await;
    assert_eq!(view.report.percent, half);
    assert_eq!(view.report.total, Some(1000));
    bench.source.set_job_stats("web", stats(1));
    let view = bench.reach(&id, |view| view.report.remaining == Some(1)).await;
    assert!(view.report.percent > half && view.report.percent < 99);
    drop(copying);
    let (view, _) = bench.end(&id).await;
    assert_eq!((view.phase, view.report.percent), (Phase::Done, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_somebody_started_is_not_started_elsewhere() {
    let bench = Bench::with(Options { shutdown_timeout: SOON, ..options() }).await;
    bench.source.ignore_shutdown("web", true);
    let id = bench.submit(MigrationType::Restart).await;
    bench.reach(&id, |view| view.phase == Phase::ShuttingDown).await;
    comes_true(|| bench.source.calls().contains(&"shutdown")).await;
    let looking = bench.source.hang("domain_by_uuid");
    reached(&looking);
    // No event tells others of it, so nobody but the job looks.
    bench.source.change_guest_silently("web", |guest| {
        // VIR_DOMAIN_SHUTOFF_SHUTDOWN.
        (guest.state, guest.reason) = (DomainState::Shutoff, 1);
    });
    // One look tells that the guest is off; right before it is started elsewhere there is another.
    looking.let_one_pass();
    reached(&looking);
    bench.source.change_guest_silently("web", |guest| guest.state = DomainState::Running);
    drop(looking);
    let (view, bench) = bench.end(&id).await;
    assert_eq!(view.phase, Phase::Failed, "{view:?}");
    assert!(!bench.destination.calls().contains(&"start"));
    bench.is_home(|_| {});
}
