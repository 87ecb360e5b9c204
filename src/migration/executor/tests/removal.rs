//! How long jobs are seen, and what is remembered.

use super::*;

const AT_ONCE: Removal = Removal { automatic: true, after: Duration::ZERO };

async fn is_gone(bench: &Bench, changes: &mut broadcast::Receiver<JobChange>, id: &str) {
    let gone = async {
        loop {
            match changes.recv().await.expect("few changes") {
                JobChange::Deleted(view) if view.id == id => return,
                _ => {}
            }
        }
    };
    soon(gone).await;
    // The directory follows.
    comes_true(|| bench.handle().job(id).is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_over_goes_when_its_time_has_come() {
    let mut bench = Bench::new().await;
    let mut changes = bench.handle().changes();
    bench.gate.lock();
    let id = bench.submit(MigrationType::Live).await;
    bench.phase(&id, Phase::Checking).await;
    let refused = bench.handle().remove(&id).await;
    assert!(matches!(refused, Err(CommandError::Running)));
    // Said while it runs it is seen at once, and not forgotten.
    bench
        .handle()
        .amend(&id, Amendment { removal: AT_ONCE, priority: 0 })
        .await
        .expect("it can be stored");
    assert_eq!(bench.view(&id).removal, AT_ONCE);
    bench.kill().await;
    bench.start().await;
    assert_eq!(bench.view(&id).removal, AT_ONCE);
    let mut changes_now = bench.handle().changes();
    bench.gate.unlock();
    is_gone(&bench, &mut changes_now, &id).await;
    assert!(matches!(changes.try_recv(), Ok(JobChange::Created(view)) if view.id == id));
    let history = bench.handle().history(0, 10).await.expect("it can be read");
    let told: Vec<_> = history.iter().map(|view| (view.id.as_str(), view.phase)).collect();
    assert_eq!(told, [(id.as_str(), Phase::Done)]);
    bench.kill().await;
    bench.start().await;
    assert!(bench.handle().jobs().is_empty(), "it does not come back");
    assert_eq!(bench.handle().history(0, 10).await.expect("it can be read").len(), 1);
    bench.is_away(|_| {});
    bench.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_shall_stay_is_removed_by_hand() {
    let mut bench = Bench::new().await;
    bench.gate.answer(vec![finding("VMC009", Source::Builtin, Severity::Error)]);
    let id = bench.submit(MigrationType::Live).await;
    bench.over(&id).await;
    let stays = Removal { automatic: false, after: Duration::ZERO };
    bench
        .handle()
        .amend(&id, Amendment { removal: stays, priority: 0 })
        .await
        .expect("it can be stored");
    bench.kill().await;
    bench.start().await;
    assert_eq!(bench.view(&id).removal, stays);
    let mut changes = bench.handle().changes();
    bench.handle().remove(&id).await.expect("it is over");
    is_gone(&bench, &mut changes, &id).await;
    assert!(matches!(bench.handle().remove(&id).await, Err(CommandError::Unknown(_))));
    let history = bench.handle().history(0, 10).await.expect("it can be read");
    assert_eq!(history[0].findings.len(), 1);
    check_failure(&history[0], Reason::Refused, "VMC009 says no");
    bench.kill().await;
}
