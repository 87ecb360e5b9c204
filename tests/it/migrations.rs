//! The executor moves real guests between real hosts, and whatever fails on the way, one host has the
//! guest afterwards. The guest counts its seconds and verifies its memory: it never ran twice.

use std::{
    env,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tokio::task::block_in_place;
use virtcimd::{
    hypervisor::DomainState,
    migration::{
        Edits, MigrationType, Mode, Options, Request, SettingsSpec, TimeoutAction, Transport,
        job::{Doubt, Phase, Reason},
    },
};

use crate::migrations_support::{
    Addresses, Bed, Host, Program, SOON, check_failure, live, of_type, slow,
};

const MODES: [Mode; 2] = [Mode::PeerToPeer, Mode::Direct];

fn options(mode: Mode) -> Options {
    Options { mode, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_go_there_and_back_in_every_way() {
    let Some(bed) = Bed::up() else { return };
    for persistent in [true, false] {
        let start = if persistent { "start" } else { "create" };
        bed.guest(&[start, "web", "--keep", "8"]);
        bed.guest(&["wait", "web", "1"]);
        let mut here = Host::A;
        for mode in MODES {
            let program = bed.program(options(mode)).await;
            for migration_type in [MigrationType::Live, MigrationType::Resume] {
                let request = program.request(here, mode, of_type(migration_type));
                let view = program.moves(request).await;
                assert!(view.report.downtime.is_some(), "{:?}", view.report);
                assert!(view.report.total >= Some(32 << 20), "{:?}", view.report);
                here = here.other();
                program.is_at(here, DomainState::Running, persistent);
                bed.goes_on(here);
            }
            // A paused guest stays so.
            program.host(here).suspend("web").unwrap();
            program.moves(program.request(here, mode, live())).await;
            here = here.other();
            program.is_at(here, DomainState::Paused, persistent);
            program.host(here).resume("web").unwrap();
            bed.goes_on(here);
            program.end().await;
        }
        bed.guest(&["remove", "web"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_goes_there_and_back_ten_times() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--busy", "4"]);
    let program = bed.program(options(Mode::PeerToPeer)).await;
    for _ in 0..10 {
        for here in [Host::A, Host::B] {
            program.moves(program.request(here, Mode::PeerToPeer, live())).await;
            program.is_at(here.other(), DomainState::Running, true);
        }
    }
    bed.goes_on(Host::A);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_reach_each_other_by_every_transport() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&[]);
    let program = bed.program(options(Mode::PeerToPeer)).await;
    let mut here = Host::A;
    for transport in [Transport::Tcp, Transport::TlsStrict, Transport::Ssh] {
        for encrypt in [false, true] {
            let spec = SettingsSpec { encrypt_data: Some(encrypt), ..live() };
            program.moves(program.request_by(here, transport, spec)).await;
            here = here.other();
            program.is_at(here, DomainState::Running, true);
        }
    }
    bed.goes_on(here);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_that_do_not_run_move_and_guests_are_started_anew() {
    let Some(bed) = Bed::up() else { return };
    for mode in MODES {
        let program = bed.program(options(mode)).await;
        // Off.
        bed.guest(&["define", "web"]);
        program.host(Host::A).set_autostart("web", true).unwrap();
        program.moves(program.request(Host::A, mode, of_type(MigrationType::Offline))).await;
        let there = program.is_at(Host::B, DomainState::Shutoff, true);
        assert!(there.autostart);
        bed.guest(&["remove", "web"]);
        // Restarted.
        for (start, persistent) in [("start", true), ("create", false)] {
            bed.guest(&[start, "web"]);
            bed.guest(&["wait", "web", "1"]);
            program.moves(program.request(Host::A, mode, of_type(MigrationType::Restart))).await;
            program.is_at(Host::B, DomainState::Running, persistent);
            bed.guest(&["wait", "web", "1", "--host", "hostb"]);
            bed.guest(&["remove", "web"]);
        }
        program.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_gets_another_name_and_leaves_its_definition() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&[]);
    let program = bed.program(options(Mode::PeerToPeer)).await;
    let spec = SettingsSpec { undefine_source: Some(false), ..live() };
    let name = Some("shop".to_owned().try_into().unwrap());
    let request = Request {
        edits: Edits { name, ..Edits::default() },
        ..program.request(Host::A, Mode::PeerToPeer, spec)
    };
    let view = program.moves(request).await;
    assert_eq!(view.destination_name, "shop");
    let there = program.host(Host::B).domain("shop").unwrap();
    assert_eq!((there.state, there.persistent), (DomainState::Running, true));
    let here = program.host(Host::A).domain("web").unwrap();
    assert_eq!((here.state, here.persistent, here.uuid), (DomainState::Shutoff, true, there.uuid));
    program.host(Host::B).destroy("shop").unwrap();
    program.host(Host::B).undefine("shop").unwrap();
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_cancelled_and_tried_again() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--memory", "96", "--busy", "64"]);
    for mode in MODES {
        let program = bed.program(options(mode)).await;
        let id = program.submit(program.request(Host::A, mode, slow())).await;
        let view = program.copies(&id).await;
        assert!((3..=95).contains(&view.report.percent), "{view:?}");
        program.handle.abort(&id).await.unwrap();
        let view = program.over(&id).await;
        assert_eq!((view.phase, view.failure.as_ref()), (Phase::Cancelled, None));
        program.is_at(Host::A, DomainState::Running, true);
        program.end().await;
    }
    let program = bed.program(options(Mode::PeerToPeer)).await;
    program.moves(program.request(Host::A, Mode::PeerToPeer, live())).await;
    bed.goes_on(Host::B);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_does_not_end_is_paused_or_finished_by_post_copy() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--memory", "96", "--busy", "64"]);
    let mode = Mode::PeerToPeer;
    let program = bed.program(options(mode)).await;
    let limited = |action, bandwidth| SettingsSpec {
        migration_timeout: Some(3),
        timeout_action: Some(action),
        post_copy: Some(action == TimeoutAction::PostCopy),
        bandwidth: Some(bandwidth),
        ..live()
    };
    let request = program.request(Host::A, mode, limited(TimeoutAction::PostCopy, 30));
    let view = program.moves(request).await;
    assert!(view.report.post_copy_requests.is_some(), "{:?}", view.report);
    program.is_at(Host::B, DomainState::Running, true);
    bed.goes_on(Host::B);
    let request = program.request(Host::B, mode, limited(TimeoutAction::Pause, 30));
    program.moves(request).await;
    program.is_at(Host::A, DomainState::Running, true);
    bed.goes_on(Host::A);
    let id = program.submit(program.request(Host::A, mode, limited(TimeoutAction::Abort, 2))).await;
    check_failure(&program.over(&id).await, Reason::TimedOut, "it took longer than 3 s");
    program.is_at(Host::A, DomainState::Running, true);
    bed.goes_on(Host::A);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_libvirt_calls_unsafe_needs_somebody_who_answers_for_it() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--disk", "shared"]);
    let mode = Mode::PeerToPeer;
    let program = bed.program(options(mode)).await;
    let id = program.submit(program.request(Host::A, mode, live())).await;
    let view = program.over(&id).await;
    check_failure(&view, Reason::Refused, "is on storage of the source alone");
    assert_eq!(view.findings[0].code, "VMC006");
    program.is_at(Host::A, DomainState::Running, true);
    let overrides = vec!["VMC006".to_owned()];
    program.moves(Request { overrides, ..program.request(Host::A, mode, live()) }).await;
    program.is_at(Host::B, DomainState::Running, true);
    bed.goes_on(Host::B);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_fails_brings_the_guest_back() {
    let Some(bed) = Bed::up() else { return };
    let mode = Mode::PeerToPeer;
    let restart = || of_type(MigrationType::Restart);
    let (shutdown_timeout, late_shutdown) = (Duration::from_secs(3), Duration::from_secs(2));
    let program = bed.program(Options { shutdown_timeout, late_shutdown, ..options(mode) }).await;
    bed.guest(&["start", "web", "--deaf"]);
    bed.guest(&["wait", "web", "1"]);
    let id = program.submit(program.request(Host::A, mode, restart())).await;
    let view = program.over(&id).await;
    check_failure(&view, Reason::ShutdownTimeout, "Domain failed to shutdown in 3 seconds");
    program.is_at(Host::A, DomainState::Running, true);
    bed.goes_on(Host::A);
    bed.guest(&["remove", "web"]);
    // One whose disk is not there.
    bed.guest(&["start", "web", "--disk", "local"]);
    bed.guest(&["wait", "web", "1"]);
    let overrides = ["VMC005", "VMC006"].map(str::to_owned).to_vec();
    let request = Request { overrides, ..program.request(Host::A, mode, restart()) };
    let id = program.submit(request).await;
    let view = program.over(&id).await;
    check_failure(&view, Reason::Host, "Failed to start domain on remote host");
    program.is_at(Host::A, DomainState::Running, true);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_leaves_the_guest_at_the_source() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--memory", "96", "--busy", "64"]);
    let program = bed.program(options(Mode::PeerToPeer)).await;
    let id = program.submit(program.request(Host::A, Mode::PeerToPeer, slow())).await;
    program.copies(&id).await;
    bed.hosts.testbed(&["link", "cut"]);
    let view = program.over(&id).await;
    bed.hosts.testbed(&["link", "restore"]);
    check_failure(&view, Reason::Host, "Migration Failed");
    program.is_at(Host::A, DomainState::Running, true);
    program.end().await;
    // In direct mode nobody but us would notice.
    let stall = Duration::from_secs(5);
    let program = bed.program(Options { stall, ..options(Mode::Direct) }).await;
    let id = program.submit(program.request(Host::A, Mode::Direct, slow())).await;
    program.copies(&id).await;
    bed.hosts.testbed(&["link", "blackhole"]);
    let view = program.over(&id).await;
    bed.hosts.testbed(&["link", "restore"]);
    check_failure(&view, Reason::TimedOut, "nothing was sent for");
    program.is_at(Host::A, DomainState::Running, true);
    bed.goes_on(Host::A);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_and_guests_that_die_leave_one_guest() {
    let Some(bed) = Bed::up() else { return };
    let mode = Mode::PeerToPeer;
    let program = bed.program(options(mode)).await;
    bed.start_guest(&["--memory", "96", "--busy", "64"]);

    // The destination's libvirtd.
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.copies(&id).await;
    bed.hosts.testbed(&["libvirtd", "hostb", "kill"]);
    bed.hosts.testbed(&["libvirtd", "hostb", "start"]);
    check_failure(&program.over(&id).await, Reason::Host, "Migration Failed");
    program.is_at(Host::A, DomainState::Running, true);

    // The source's.
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.copies(&id).await;
    bed.hosts.testbed(&["libvirtd", "hosta", "kill"]);
    let unreachable = Some(Doubt::SourceUnreachable);
    program.reach(&id, |view| view.doubt == unreachable).await;
    bed.hosts.testbed(&["libvirtd", "hosta", "start"]);
    check_failure(&program.over(&id).await, Reason::Host, "Migration Failed");
    program.is_at(Host::A, DomainState::Running, true);

    // The half-arrived QEMU.
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.copies(&id).await;
    bed.guest(&["kill", "web", "--host", "hostb"]);
    check_failure(&program.over(&id).await, Reason::Host, "Migration Failed");
    program.is_at(Host::A, DomainState::Running, true);
    bed.goes_on(Host::A);

    // The guest's own.
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.copies(&id).await;
    bed.guest(&["kill", "web"]);
    check_failure(&program.over(&id).await, Reason::GuestStopped, "the guest stopped");
    program.is_at(Host::A, DomainState::Shutoff, true);
    bed.guest(&["remove", "web"]);

    // And one that powers itself off.
    bed.start_guest(&["--memory", "96", "--busy", "64", "--stop", "8"]);
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.copies(&id).await;
    check_failure(&program.over(&id).await, Reason::GuestStopped, "the guest stopped");
    program.is_at(Host::A, DomainState::Shutoff, true);
    program.end().await;
}

/// Where the other process finds the hosts, if this is it.
const HOSTS: &str = "VIRTCIMD_TEST_HOSTS";

/// Starts a program in a process of its own, which asks for a slow migration.
fn spawn(bed: &Bed, mode: Mode) -> Child {
    let hosts = serde_json::to_string(&(bed.addresses(), bed.store(), mode)).unwrap();
    Command::new(env::current_exe().unwrap())
        .args(["migrations::the_process_that_is_killed", "--exact", "--nocapture"])
        .env(HOSTS, hosts)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_is_killed() {
    let Ok(hosts) = env::var(HOSTS) else { return };
    let (addresses, store, mode): (Addresses, PathBuf, Mode) =
        serde_json::from_str(&hosts).unwrap();
    let program = Program::start(addresses, &store, options(mode)).await;
    let id = program.submit(program.request(Host::A, mode, slow())).await;
    program.over(&id).await;
}

/// Waits until the other process's migration is under way, and kills it.
fn kill_when_it_copies(bed: &Bed, mut child: Child) {
    let host = bed.host(Host::A);
    let deadline = Instant::now() + SOON;
    while host.job("web").unwrap().is_none_or(|job| job.data_processed.unwrap_or(0) == 0) {
        assert!(Instant::now() < deadline, "the other process migrates");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_takes_its_jobs_up_again() {
    let Some(bed) = Bed::up() else { return };
    bed.start_guest(&["--memory", "96", "--busy", "64"]);
    // A direct move ends with its program.
    let child = spawn(&bed, Mode::Direct);
    block_in_place(|| kill_when_it_copies(&bed, child));
    let program = bed.program(Options::default()).await;
    let [job] = program.handle.jobs().try_into().unwrap();
    check_failure(&program.over(&job.id).await, Reason::Interrupted, "the migration");
    program.is_at(Host::A, DomainState::Running, true);
    program.handle.remove(&job.id).await.unwrap();
    program.end().await;
    // A peer-to-peer one goes on, and can be cancelled, or left alone.
    for cancel in [true, false] {
        let child = spawn(&bed, Mode::PeerToPeer);
        block_in_place(|| kill_when_it_copies(&bed, child));
        let program = bed.program(Options::default()).await;
        let [job] = program.handle.jobs().try_into().unwrap();
        program.copies(&job.id).await;
        if cancel {
            program.handle.abort(&job.id).await.unwrap();
            assert_eq!(program.over(&job.id).await.phase, Phase::Cancelled);
            program.is_at(Host::A, DomainState::Running, true);
        } else {
            bed.host(Host::A).set_max_speed("web", 0).unwrap();
            assert_eq!(program.over(&job.id).await.phase, Phase::Done);
            program.is_at(Host::B, DomainState::Running, true);
            bed.goes_on(Host::B);
        }
        program.handle.remove(&job.id).await.unwrap();
        program.end().await;
    }
}
