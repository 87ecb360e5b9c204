//! Many requests at once.

use std::collections::BTreeSet;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_has_one_job_at_a_time() {
    let bench = Bench::new().await;
    bench.gate.lock();
    let (one, two) = tokio::join!(
        bench.handle().submit(request(MigrationType::Live)),
        bench.handle().submit(request(MigrationType::Restart)),
    );
    let (taken, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    let id = taken.expect("one is taken").id.clone();
    match refused {
        Err(SubmitError::Queue(QueueError::Migrating { job })) => assert_eq!(job, id),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.handle().jobs().len(), 1, "no job is left of the other");
    let job = bench.handle().job_of_guest(UUID).expect("it is being migrated");
    assert_eq!(job.id, id);
    bench.gate.unlock();
    bench.over(&id).await;
    assert!(bench.handle().job_of_guest(UUID).is_none());
    let (_, bench) = bench.end(&id).await;
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_requests_go_two_at_a_time() {
    let mut bench = Bench::new().await;
    let mut changes = bench.handle().changes();
    let mut ids = BTreeSet::new();
    for number in 0..50 {
        let guest = format!("guest{number}");
        let guest_uuid = format!("00000000-0000-4000-8000-{number:012}");
        add_guest(&bench.source, &guest, &guest_uuid, |_| {});
        let request = Request { guest, guest_uuid, ..request(MigrationType::Live) };
        ids.insert(bench.submit_request(request).await);
    }
    for id in &ids {
        assert_eq!(bench.over(id).await.phase, Phase::Done);
    }
    bench.kill().await;
    let (mut running, mut most) = (BTreeSet::new(), 0);
    while let Ok(change) = changes.try_recv() {
        if let JobChange::Modified { current, .. } = change {
            if current.is_over() {
                running.remove(&current.id);
            } else if current.phase != Phase::Queued {
                running.insert(current.id.clone());
            } else {
                let wait = current.waiting.as_ref().expect("it says what it waits for");
                assert_eq!(wait.to_string(), "this host has 2 of 2 outgoing migrations");
            }
            most = most.max(running.len());
        }
    }
    assert_eq!((most, running.len()), (2, 0));
    assert_eq!(bench.destination.domains().expect("it is up").len(), 50);
    assert_eq!(bench.source.domains().expect("it is up").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_is_put_first() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 9 };
    let mut bench = Bench::with(Options { limits, ..options() }).await;
    bench.gate.lock();
    let mut ids = Vec::new();
    for number in 0..4 {
        let guest = format!("guest{number}");
        let guest_uuid = format!("00000000-0000-4000-8000-{number:012}");
        add_guest(&bench.source, &guest, &guest_uuid, |_| {});
        ids.push(
            bench
                .submit_request(Request { guest, guest_uuid, ..request(MigrationType::Live) })
                .await,
        );
    }
    for (id, priority) in [(&ids[3], 1), (&ids[2], 2)] {
        let amendment = Amendment { priority, ..bench.view(id).amendable() };
        bench.handle().amend(id, amendment).await.expect("it waits");
        assert_eq!(bench.view(id).amendable(), amendment);
    }
    // It is not forgotten.
    bench.kill().await;
    bench.start().await;
    bench.gate.unlock();
    let mut started = Vec::new();
    for id in &ids {
        started.push((bench.over(id).await.started, id));
    }
    started.sort();
    let order: Vec<_> = started.into_iter().map(|(_, id)| id).collect();
    assert_eq!(order, [&ids[3], &ids[2], &ids[0], &ids[1]]);
    bench.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_so_at_once() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 0 };
    let bench = Bench::with(Options { limits, ..options() }).await;
    bench.gate.lock();
    let id = bench.submit(MigrationType::Live).await;
    let other = Request { guest_uuid: "other".to_owned(), ..request(MigrationType::Live) };
    let refused = bench.handle().submit(other.clone()).await;
    assert!(matches!(refused, Err(SubmitError::Queue(QueueError::Full { limit: 0 }))));
    // More room, and it is taken.
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 1 };
    bench.handle().set_options(Options { limits, ..options() });
    let taken = soon(async {
        loop {
            match bench.handle().submit(other.clone()).await {
                Ok(view) => return view,
                Err(SubmitError::Queue(QueueError::Full { .. })) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    let taken = taken.await.id.clone();
    bench.gate.unlock();
    bench.over(&taken).await;
    bench.end(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_in_a_step_ends_the_job_and_frees_its_place() {
    let limits = Limits { outgoing: 1, per_destination: 1, waiting: 1000 };
    let bench = Bench::with(Options { limits, ..options() }).await;
    bench.gate.defective.store(true, Ordering::Relaxed);
    let id = bench.submit(MigrationType::Live).await;
    check_failure(&bench.over(&id).await, Reason::Host, "internal error");
    let id = bench.submit(MigrationType::Live).await;
    let (_, bench) = bench.end(&id).await;
    bench.is_away(|_| {});
}
