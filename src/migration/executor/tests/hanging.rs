//! Hosts that answer and do not come to an end, and workers that break off.

use tokio::{sync::Notify, time::advance};

use super::{
    hands::{CONNECT, Hands},
    *,
};
use crate::{
    hypervisor::Migrator,
    migration::job::{Doubt, Refusal},
    sys::blocking::Slots,
};

fn impatient() -> Options {
    Options { patience: Duration::from_millis(20), ..options() }
}

async fn overdue(bench: &Bench, id: &str, phase: Phase) {
    bench.reach(id, |view| view.phase == phase && view.doubt == Some(Doubt::Overdue)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deed_that_hangs_is_waited_for() {
    for call in ["define", "start"] {
        let bench = Bench::with(impatient()).await;
        let hanging = bench.destination.hang(call);
        let id = bench.submit(MigrationType::Restart).await;
        reached(&hanging);
        let phase = if call == "define" { Phase::Defining } else { Phase::Starting };
        overdue(&bench, &id, phase).await;
        drop(hanging);
        let (view, bench) = bench.end(&id).await;
        assert_eq!((view.phase, view.doubt), (Phase::Done, None));
        let count = bench.destination.calls().iter().filter(|it| **it == call).count();
        assert_eq!(count, 1, "it is done once");
        bench.is_away(|_| {});
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_killing_ends_a_job_whose_deed_hangs() {
    let bench = Bench::with(impatient()).await;
    let starting = bench.destination.hang("start");
    let id = bench.submit(MigrationType::Restart).await;
    reached(&starting);
    overdue(&bench, &id, Phase::Starting).await;
    match bench.handle().abort(&id).await {
        Err(CommandError::Refused(Refusal::TooLate(Phase::Starting))) => {}
        other => panic!("{other:?}"),
    }
    bench.handle().kill(&id).await.expect("a host is overdue");
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Unresolved, "ended on request while waiting: a host has not come");
    assert!(!bench.source.calls().contains(&"start"), "it is not started twice");
    // What was begun goes on.
    drop(starting);
    let runs = || bench.destination.domain_by_uuid(UUID).is_ok_and(|guest| guest.is_active());
    comes_true(runs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_move_that_does_not_end_can_be_left() {
    let bench = Bench::with(impatient()).await;
    let beginning = bench.source.hang("migrate");
    let id = bench.submit(MigrationType::Live).await;
    reached(&beginning);
    assert_eq!(bench.view(&id).doubt, None);
    bench.handle().abort(&id).await.expect("it copies");
    overdue(&bench, &id, Phase::Copying).await;
    bench.handle().kill(&id).await.expect("a host is overdue");
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Unresolved, "ended on request while waiting");
    bench.is_home(|_| {});
    drop(beginning);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_hangs_takes_nothing_from_the_others() {
    let limits = Limits { outgoing: 99, per_destination: 99, waiting: 99 };
    let bench = Bench::with(Options { limits, ..options() }).await;
    let third = bench.world.add_host("fake:///c");
    let hanging = bench.destination.hang("domain_by_uuid");
    // More than all jobs together may have at work.
    for number in 0..=DEEDS {
        let (guest, guest_uuid) = (format!("guest{number}"), Uuid::new_v4().to_string());
        add_guest(&bench.source, &guest, &guest_uuid, |_| {});
        bench.submit_request(Request { guest, guest_uuid, ..request(MigrationType::Live) }).await;
    }
    reached(&hanging);
    let elsewhere = request(MigrationType::Live);
    let target = Target { uri: "fake:///c".to_owned(), ..elsewhere.target.clone() };
    let id = bench.submit_request(Request { target, ..elsewhere }).await;
    assert_eq!(bench.over(&id).await.phase, Phase::Done);
    check_guest(&third, &bench.source, |_| {});
    drop(hanging);
}

/// No clock reaches so far: a worker that wants to wait so long breaks off.
fn defective() -> Options {
    Options { patience: Duration::MAX, ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_worker_broke_off_is_found_again() {
    let bench = Bench::with(defective()).await;
    let id = bench.submit(MigrationType::Restart).await;
    comes_true(|| bench.destination.calls().contains(&"define")).await;
    bench.handle().set_options(options());
    // Others are looked after meanwhile, and the job itself is not lost.
    let abort = bench.handle().abort("nobody").await;
    assert!(matches!(abort, Err(CommandError::Unknown(_))));
    comes_true(|| bench.view(&id).is_over()).await;
    assert_eq!(bench.view(&id).phase, Phase::Done);
    let (_, bench) = bench.end(&id).await;
    bench.is_away(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_workers_always_break_off_is_abandoned() {
    let bench = Bench::with(defective()).await;
    let id = bench.submit(MigrationType::Restart).await;
    comes_true(|| bench.view(&id).is_over()).await;
    check_failure(&bench.view(&id), Reason::Unresolved, "internal error");
    // What was begun has been done, each step once, and the guest may have another job.
    comes_true(|| bench.source.domain_by_uuid(UUID).is_err()).await;
    bench.is_away(|_| {});
    assert!(bench.handle().job_of_guest(UUID).is_none());
    let again = bench.handle().abort(&id).await;
    assert!(matches!(again, Err(CommandError::Refused(Refusal::Over(Phase::Failed)))));
}

/// A world whose hosts take a connection when they are let go, not before.
struct Slow {
    world: Arc<FakeWorld>,
    knocked: Notify,
    opened: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Connector for Slow {
    fn open(&self, uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError> {
        self.knocked.notify_one();
        let _ = self.opened.lock().expect("nobody panics").recv();
        self.world.open(uri)
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_is_given_up_in_the_end_and_may_come_late() {
    let world = FakeWorld::new();
    world.add_host(DESTINATION);
    let (open, opened) = std::sync::mpsc::channel();
    let slow = Arc::new(Slow { world, knocked: Notify::new(), opened: Mutex::new(opened) });
    let hands = Arc::new(Hands {
        guest_uuid: UUID.to_owned(),
        source_uri: SOURCE.to_owned(),
        source: None,
        destination_uri: DESTINATION.to_owned(),
        connector: Arc::clone(&slow) as _,
        source_slots: Slots::new(1, 1),
        destination_slots: Slots::new(1, 1),
        destination: Arc::default(),
    });
    let connecting = tokio::spawn({
        let hands = Arc::clone(&hands);
        async move { hands.destination().await.map(drop) }
    });
    // The clock stands still while somebody blocks.
    slow.knocked.notified().await;
    advance(CONNECT - Duration::from_millis(1)).await;
    assert!(!connecting.is_finished());
    advance(Duration::from_millis(1)).await;
    match connecting.await.expect("nobody panics") {
        Err(HypervisorError::Deadline { call: "open", seconds: 60 }) => {}
        other => panic!("{other:?}"),
    }
    drop(open);
    hands.destination().await.expect("it has come");
}
