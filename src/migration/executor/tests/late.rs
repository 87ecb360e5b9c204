//! Guests that do not shut down when a restart asks them to, and do so later.

use super::*;
use crate::{hypervisor::Migrator, migration::job::Doubt};

/// A job whose guest has not obeyed, and which now watches it.
async fn watched(differs: impl Fn(&mut Domain)) -> (Bench, String) {
    let bench = Bench::with(Options { late_shutdown: SOON, ..options() }).await;
    bench.source.remove_guest("web");
    add_guest(&bench.source, "web", UUID, differs);
    bench.source.ignore_shutdown("web", true);
    let id = bench.submit(MigrationType::Restart).await;
    bench.reach(&id, |view| view.doubt == Some(Doubt::MayShutDown)).await;
    (bench, id)
}

fn obey(bench: &Bench) {
    bench.source.ignore_shutdown("web", false);
    bench.source.shutdown("web").expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_obeys_late_is_started_again() {
    for persistent in [true, false] {
        let as_it_was = |guest: &mut Domain| guest.persistent = persistent;
        let (bench, id) = watched(as_it_was).await;
        obey(&bench);
        let (view, bench) = bench.end(&id).await;
        let told = "the guest shut down late and was started again";
        check_failure(&view, Reason::ShutdownTimeout, told);
        bench.is_home(as_it_was);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_obeys_while_the_program_is_dead_is_started_again() {
    let (mut bench, id) = watched(|_| {}).await;
    bench.kill().await;
    obey(&bench);
    bench.start().await;
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::ShutdownTimeout, "was started again");
    bench.is_home(|_| {});
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_somebody_ends_stays_off() {
    let (bench, id) = watched(|_| {}).await;
    bench.source.destroy("web").expect("it runs");
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::GuestStopped, "not by its own shutdown");
    bench.is_home(|guest| guest.state = DomainState::Shutoff);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_time_ends_the_job() {
    let (bench, id) = watched(|_| {}).await;
    bench.handle().kill(&id).await.expect("it waits");
    let (view, bench) = bench.end(&id).await;
    check_failure(&view, Reason::Unresolved, "the guest has not shut down when asked to");
    bench.is_home(|_| {});
}
