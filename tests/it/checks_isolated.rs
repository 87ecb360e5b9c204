//! The gate in a process of its own, where what leaks can be counted, the daemon can be killed and
//! somebody else than root can be it.

use std::{
    collections::BTreeSet,
    env, fs,
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::fs::{PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use virtcimd::{
    checks::{Containment, Gate, GateRequest, Options, SetupError, Verdict},
    sys::{cgroup::Subtree, child::Limits},
};

use crate::checks_support::{ENOUGH, LONG, Place, SHORT, message, run, timeouts};

/// The name of the test that a process was started for.
const ROLE: &str = "VIRTCIMD_TEST_ROLE";
/// The directory of the [`Place`] that started it.
const PLACE: &str = "VIRTCIMD_TEST_PLACE";

/// Whether this process was started to play the test's part.
fn is_alone() -> bool {
    env::var_os(ROLE).is_some()
}

/// The command that runs one test of this program and nothing else.
fn alone(program: &Path, test: &str, place: &Place) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", &format!("checks_isolated::{test}"), "--nocapture"]);
    command.env(ROLE, test).env(PLACE, place.at("")).stdin(Stdio::null());
    command
}

/// The settings of the place that started this process.
fn options_of_starter() -> Options {
    let place = PathBuf::from(env::var_os(PLACE).unwrap());
    Options {
        directory: place.join("checks"),
        runtime_directory: place.join("run/checks"),
        timeout: LONG,
        ..Options::default()
    }
}

/// A copy of this program that others can execute.
fn public_copy(place: &Place) -> PathBuf {
    let copy = place.at("test-program");
    fs::copy(env::current_exe().unwrap(), &copy).unwrap();
    copy
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a test's part as the user nobody and gives what it printed.
fn as_nobody(test: &str, place: &Place) -> String {
    let program = public_copy(place);
    let part = alone(&program, test, place);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(part.get_program());
    command.args(part.get_args());
    command.envs(part.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.current_dir("/").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The children of a process.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let others =
        tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let all = others.collect::<String>() + &text;
    let all: BTreeSet<_> = all.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    all.into_iter().collect()
}

/// The open descriptors of a process, by number and target.
fn descriptors(pid: u32) -> BTreeSet<(PathBuf, PathBuf)> {
    let directory = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    directory.filter_map(|fd| Some((fd.path(), fs::read_link(fd.path()).ok()?))).collect()
}

/// Waits until a process has ended; one that is gone has.
#[expect(unsafe_code, reason = "nix has no pidfd_open")]
fn wait_for_end_of(pid: u32) {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return;
    }
    // SAFETY: the kernel made it for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let deadline = PollTimeout::try_from(LONG).unwrap();
    assert_eq!(poll(&mut fds, deadline), Ok(1), "process {pid} does not end");
}

/// The control groups of a process's checks.
fn leaves(pid: u32) -> Vec<PathBuf> {
    let Some(subtree) = Subtree::find() else { return Vec::new() };
    let prefix = format!("virtcimd-check-{pid}-");
    let leaves = fs::read_dir(subtree.path()).unwrap().flatten().map(|leaf| leaf.path());
    leaves.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&prefix)).collect()
}

#[test]
fn nothing_leaks() {
    if !is_alone() {
        let status = alone(&env::current_exe().unwrap(), "nothing_leaks", &Place::new()).status();
        assert!(status.unwrap().success());
        return;
    }
    let mut place = Place::new();
    place.options.timeouts = timeouts("4-hangs", SHORT);
    place.check("1-passes", "exit 0").check("2-fails", "exit 1").check("3-dies", "kill -9 $$");
    place.check("4-hangs", "trap '' TERM; sleep 1000 & wait; wait");
    place.check("5-detaches", "setsid -f sleep 1000; (setsid true &); exit 0");
    fs::write(place.at("checks/6-no-format"), "x").unwrap();
    fs::set_permissions(place.at("checks/6-no-format"), PermissionsExt::from_mode(0o755)).unwrap();
    let me = std::process::id();
    for containment in [Containment::ControlGroup, Containment::Ancestry] {
        let gate = Gate::new(Options { containment, ..place.options.clone() }).unwrap();
        let [spawner] = children(me)[..] else { panic!("more than the spawner") };
        let request = GateRequest { parameters: Some(vec![Some("x".into())]), ..place.request() };
        let mut before = None;
        for _ in 0..12 {
            run(&gate, request.clone()).unwrap();
            place.assert_nothing_left();
            // A reaper has said its last word when the verdict is known; its end follows.
            children(spawner).into_iter().for_each(wait_for_end_of);
            assert_eq!(children(spawner), [] as [u32; 0], "zombies");
            assert_eq!(children(me), [spawner], "zombies");
            assert_eq!(leaves(me), [] as [PathBuf; 0], "control groups");
            let spawners = if is_root() { descriptors(spawner) } else { BTreeSet::new() };
            let now = (descriptors(me), spawners);
            // The first round has made what is made once.
            assert_eq!(before.get_or_insert(now.clone()), &now, "descriptors");
        }
        drop(gate);
        assert_eq!(children(me), [] as [u32; 0], "the spawner goes with its gate");
    }
}

/// Has clone3 fail in this process and all that it starts, as systemd's RestrictNamespaces= does.
#[expect(unsafe_code, reason = "nix has no seccomp")]
fn forbid_clone3() {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let number = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let unless = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_clone3 as u32);
    let answer = |answer| statement(libc::BPF_RET | libc::BPF_K, answer);
    let mut filter = [
        number,
        libc::sock_filter { jf: 1, ..unless },
        answer(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    nix::sys::prctl::set_no_new_privs().unwrap();
    // SAFETY: the program and its filter outlive the call.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn control_groups_do_without_clone3() {
    let test = "control_groups_do_without_clone3";
    if !is_alone() {
        assert!(
            alone(&env::current_exe().unwrap(), test, &Place::new()).status().unwrap().success()
        );
        return;
    }
    let place = Place::new();
    place.check("check", "grep ^0:: /proc/self/cgroup; setsid -f sleep 1000; exit 1");
    forbid_clone3();
    let examination = run(&place.gate(), place.request()).unwrap();
    place.assert_nothing_left();
    let group = examination.programs[0].said.as_deref().unwrap_or_default();
    assert_eq!(group.contains("/virtcimd-check-"), Subtree::find().is_some(), "{group}");
    assert_eq!(leaves(std::process::id()), [] as [PathBuf; 0]);
}

/// Starts a daemon of sorts whose check has started; gives it and the process id of the check.
fn daemon_with_a_running_check(test: &str, place: &Place) -> (Child, u32) {
    let started = place.at("out/started");
    nix::unistd::mkfifo(&started, nix::sys::stat::Mode::S_IRWXU).unwrap();
    place
        .check("check", "setsid -f sleep 1000; sleep 1000 & echo $$ >\"$OUT/started\"; sleep 1000");
    let daemon = alone(&env::current_exe().unwrap(), test, place).stdout(Stdio::null()).spawn();
    let check = fs::read_to_string(&started).unwrap().trim().parse().unwrap();
    (daemon.unwrap(), check)
}

fn play_daemon(containment: Containment) {
    let options = Options { containment, ..options_of_starter() };
    let request =
        GateRequest { parameters: Some(vec![Some("x".into())]), ..Place::new().request() };
    run(&Gate::new(options).unwrap(), request).ok();
}

/// A daemon is killed while a check runs: the check and all it started go, and its control group; the
/// next daemon removes the parameter file.
fn kill_the_daemon(test: &str) {
    let place = Place::new();
    let (mut daemon, check) = daemon_with_a_running_check(test, &place);
    let status = fs::read_to_string(format!("/proc/{check}/status")).unwrap();
    let reaper = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let reaper: u32 = reaper.trim().parse().unwrap();
    let session = |pid: u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    assert_eq!(session(reaper), "virtcimd-reaper\n");
    let descendants = children(reaper);
    assert!(descendants.len() >= 2, "the check and what has detached itself: {descendants:?}");
    assert_eq!(place.parameter_files().len(), 1);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    wait_for_end_of(reaper);
    for pid in descendants {
        assert_eq!(session(pid), "", "process {pid} has survived");
    }
    assert_eq!(leaves(daemon.id()), [] as [PathBuf; 0], "control groups");
    let _next = place.gate();
    assert_eq!(place.parameter_files(), [] as [PathBuf; 0]);
}

#[test]
fn a_killed_daemon_takes_its_checks_along() {
    match is_alone() {
        true => play_daemon(Containment::ControlGroup),
        false => kill_the_daemon("a_killed_daemon_takes_its_checks_along"),
    }
}

#[test]
fn a_killed_daemon_takes_its_checks_along_without_control_groups() {
    match is_alone() {
        true => play_daemon(Containment::Ancestry),
        false => kill_the_daemon("a_killed_daemon_takes_its_checks_along_without_control_groups"),
    }
}

/// Prints the messages of a run, as the part of a test that looks at them.
#[expect(clippy::print_stdout, reason = "the other process reads it")]
fn print_messages(options: Options) {
    let gate = Gate::new(options).unwrap();
    for finding in run(&gate, Place::new().request()).unwrap().report().findings {
        println!("{}", message(&finding));
    }
}

#[test]
fn a_gate_without_root_works_alike() {
    if is_alone() {
        print_messages(options_of_starter());
        let user = Options { user: Some("nobody".into()), ..options_of_starter() };
        assert!(matches!(Gate::new(user), Err(SetupError::User(_))));
        return;
    }
    if !is_root() {
        return; // then all the other tests show it
    }
    let place = Place::new();
    place.check("1", "exit 0").check("2", "id -u; setsid -f sleep 1000; exit 1");
    fs::create_dir(place.at("private")).unwrap();
    fs::set_permissions(place.at("private"), PermissionsExt::from_mode(0o700)).unwrap();
    symlink("../private/check", place.at("checks/3")).unwrap();
    fs::copy("/bin/false", place.at("checks/4")).unwrap();
    fs::set_permissions(place.at("checks/4"), PermissionsExt::from_mode(0o711)).unwrap();
    fs::copy("/bin/true", place.at("checks/5")).unwrap();
    chown(place.at("checks/5"), Some(1), None).unwrap();
    let printed = as_nobody("a_gate_without_root_works_alike", &place);
    let messages: Vec<_> = printed.lines().filter(|line| line.starts_with("VM")).collect();
    let place = place.at("");
    let place = place.to_str().unwrap().trim_end_matches('/');
    let expected = [
        "VMX001 error: Migration check `2' failed: 65534",
        "VMX012 warning: Migration check `2' left 1 process behind, which had to be killed",
        &format!(
            "VMX005 error: Migration check `3' failed: can't examine `{place}/private/check': \
             Permission denied"
        ),
        "VMX001 error: Migration check `4' failed: exit status 1",
        &format!(
            "VMX005 error: Migration check `5' failed: it is not safe to run: `{place}/checks/5' \
             belongs to user 1, who is neither root nor the user of this program"
        ),
    ];
    assert_eq!(messages, expected);
}

#[test]
fn an_unreadable_directory_fails_closed() {
    if is_alone() {
        return print_messages(options_of_starter());
    }
    if !is_root() {
        return; // nobody is there to be kept out
    }
    let place = Place::new();
    place.check("check", "exit 0");
    fs::set_permissions(place.at("checks"), PermissionsExt::from_mode(0o711)).unwrap();
    let printed = as_nobody("an_unreadable_directory_fails_closed", &place);
    let checks = place.at("checks");
    let expected = format!(
        "VMX006 error: Unable to execute migration checks: `{0}': the directory can't be read: can't \
         examine `{0}': Permission denied",
        checks.display(),
    );
    assert!(printed.lines().any(|line| line == expected), "{printed}");
}

#[test]
fn a_kill_that_is_not_permitted_is_told() {
    if is_alone() {
        let options = Options { timeout: ENOUGH, ..options_of_starter() };
        return print_messages(options);
    }
    if !is_root() {
        return; // a program that becomes root is needed
    }
    let place = Place::new();
    let become_root = place.at("become-root");
    fs::copy("/usr/bin/setpriv", &become_root).unwrap();
    fs::set_permissions(&become_root, PermissionsExt::from_mode(0o4755)).unwrap();
    let pid = place.at("out/pid");
    let script = format!(
        "{} --reuid=0 --regid=0 --clear-groups sh -c 'echo $$ >{}; exec sleep 1000'",
        become_root.display(),
        pid.display(),
    );
    place.check("check", &script);
    let printed = as_nobody("a_kill_that_is_not_permitted_is_told", &place);
    // What the gate could not do is left to us.
    let survivor: i32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    let survivor = nix::unistd::Pid::from_raw(survivor);
    nix::sys::signal::kill(survivor, nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for_end_of(survivor.as_raw() as u32);
    let messages: Vec<_> = printed.lines().filter(|line| line.starts_with("VM")).collect();
    let expected = [
        "VMX004 error: Migration check `check' failed: no answer within 3 s",
        &format!(
            "VMX011 warning: Migration check `check' can't be ended: process {survivor} can't be \
             killed: Operation not permitted"
        ),
    ];
    assert_eq!(messages, expected);
}

/// A place whose checks run as nobody; `None` if we are not root.
fn place_of_nobody() -> Option<Place> {
    let mut place = Place::new();
    place.options.user = Some("nobody".into());
    is_root().then_some(place)
}

#[test]
fn checks_run_as_their_user() {
    let Some(place) = place_of_nobody() else { return };
    place.check(
        "check",
        "id -u; id -g; id -G; grep ^CapEff /proc/self/status; cat \"$3\"; kill -9 $PPID; exit 1",
    );
    let request = GateRequest { parameters: Some(vec![Some("x".into())]), ..place.request() };
    for containment in [Containment::ControlGroup, Containment::Ancestry] {
        let gate = Gate::new(Options { containment, ..place.options.clone() }).unwrap();
        let examination = run(&gate, request.clone()).unwrap();
        place.assert_nothing_left();
        // It can't kill its reaper, and ends by itself.
        assert_eq!(examination.programs[0].verdict, Verdict::Failed { status: 1 });
    }
    place.check("check", "[ \"$(id -u):$(id -g):$(id -G)\" = 65534:65534:65534 ] && \
                 grep -q '^CapEff:.*0000000000000000' /proc/self/status && [ \"$(cat \"$3\")\" = x ]");
    assert!(run(&place.gate(), request).unwrap().report().passed());
}

#[test]
fn a_fork_bomb_stays_within_its_limits_and_goes() {
    let Some(mut place) = place_of_nobody() else { return };
    place.options.limits = Limits { processes: Some(60), ..place.options.limits };
    place.options.timeout = Duration::from_secs(1);
    // One that stays in its group, and one whose every process detaches itself.
    place.check("1-pipes", "bomb() { bomb | bomb & }; bomb; sleep 1000");
    place.check("2-detaches", "setsid -f \"$0\"; setsid -f \"$0\"; exec sleep 1000");
    place.each(|_, examination| {
        for outcome in &examination.programs {
            // Both have the same user: where one takes all processes, the other's shell may give up.
            let verdict = &outcome.verdict;
            let held = matches!(verdict, Verdict::TimedOut { .. } | Verdict::Failed { status: 2 });
            assert!(held, "{outcome:?}");
            assert!(!outcome.leftovers.lingering && outcome.leftovers.refused.is_none());
        }
    });
}

#[test]
fn a_check_does_not_fill_the_disk() {
    let mut place = Place::new();
    place.options.limits = Limits { file_size: Some(1 << 20), ..Limits::default() };
    place.check("check", "exec dd if=/dev/zero of=\"$OUT/big\" bs=64K count=100 2>/dev/null");
    place.each(|place, examination| {
        let verdict = &examination.programs[0].verdict;
        assert_eq!(*verdict, Verdict::Signalled { signal: libc::SIGXFSZ });
        assert_eq!(fs::metadata(place.at("out/big")).unwrap().len(), 1 << 20);
    });
}
