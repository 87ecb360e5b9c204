//! Real children, with and without a control group.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use nix::poll::{PollFd, PollFlags};

use super::*;
use crate::sys::{cgroup::Subtree, poll_until};

/// Long enough never to matter on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A shell run with a marker in its environment that all its descendants inherit.
struct Shell {
    program: Program,
    bounds: Bounds,
    stop: Stop,
    marker: String,
}

fn spawner() -> &'static Spawner {
    static SPAWNER: LazyLock<Spawner> = LazyLock::new(|| Spawner::start().expect("a spawner"));
    &SPAWNER
}

fn c(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

fn shell(script: &str) -> Shell {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let marker = format!("MARKER=child-test-{}-{number}", std::process::id());
    Shell {
        program: Program {
            image: Image::Path(c("/bin/sh")),
            arguments: ["sh", "-c", script].map(c).to_vec(),
            environment: vec![c("PATH=/usr/sbin:/usr/bin:/sbin:/bin"), c(&marker)],
            user: None,
            limits: Limits::default(),
        },
        bounds: Bounds { timeout: LONG, grace: Duration::ZERO, output: 64 << 10 },
        stop: Stop::new().expect("a descriptor"),
        marker,
    }
}

impl Shell {
    fn timeout(mut self, millis: u64) -> Self {
        self.bounds.timeout = Duration::from_millis(millis);
        self
    }

    fn grace(mut self, millis: u64) -> Self {
        self.bounds.grace = Duration::from_millis(millis);
        self
    }

    /// Runs it and makes sure that nothing with its marker is left.
    #[track_caller]
    fn run_in(self, subtree: Option<&Subtree>) -> Ended {
        let ended =
            spawner().run(self.program, self.bounds, &self.stop, subtree).expect("it starts");
        assert_eq!(marked(&self.marker), [] as [u32; 0], "survivors of {ended:?}");
        ended
    }
}

/// Runs the same in a control group, if there are any here, and without.
#[track_caller]
fn both(make: impl Fn() -> Shell, expect: impl Fn(Ended)) {
    expect(make().run_in(None));
    if let Some(subtree) = Subtree::find() {
        expect(make().run_in(Some(&subtree)));
    }
}

/// The processes whose environment holds the marker.
fn marked(marker: &str) -> Vec<u32> {
    let holds = |pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
    };
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(holds).collect()
}

fn text(captured: &Captured) -> String {
    String::from_utf8(captured.bytes.clone()).expect("UTF-8")
}

#[test]
fn every_exit_code_is_told() {
    for code in [0, 1, 2, 125, 126, 127, 255] {
        both(
            || shell(&format!("exit {code}")),
            |ended| {
                assert_eq!(ended.end, End::Exited(code));
                assert_eq!(ended.leftovers, Leftovers::default());
            },
        );
    }
}

#[test]
fn every_deadly_signal_is_told() {
    let harmless = [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH];
    let stopping = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let deadly = |signal: &i32| !harmless.contains(signal) && !stopping.contains(signal);
    for signal in (1..=31).filter(deadly).chain([libc::SIGRTMIN(), libc::SIGRTMAX()]) {
        both(
            || shell(&format!("kill -{signal} $$; exit 0")),
            |ended| assert_eq!(ended.end, End::Signalled(signal)),
        );
    }
}

#[test]
fn a_stopped_child_times_out() {
    both(|| shell("kill -STOP $$").timeout(100), |ended| assert_eq!(ended.end, End::TimedOut));
}

#[test]
fn outputs_are_kept_apart() {
    both(
        || shell("echo out; echo err >&2"),
        |ended| {
            assert_eq!(text(&ended.stdout), "out\n");
            assert_eq!(text(&ended.stderr), "err\n");
            assert!(!ended.stdout.truncated);
        },
    );
}

#[test]
fn a_flood_is_cut_and_does_not_stop_the_child() {
    both(
        || {
            let mut shell = shell("head -c 3000000 /dev/zero; echo >&2 done");
            shell.bounds.output = 1000;
            shell
        },
        |ended| {
            assert_eq!(ended.end, End::Exited(0));
            assert_eq!(ended.stdout, Captured { bytes: vec![0; 1000], truncated: true });
            assert_eq!(text(&ended.stderr), "done\n");
        },
    );
}

#[test]
fn an_endless_flood_times_out() {
    both(|| shell("cat /dev/zero").timeout(100), |ended| assert_eq!(ended.end, End::TimedOut));
}

#[test]
fn surroundings_are_clean() {
    // A descriptor that would be inherited, were it not closed.
    let file = fs::File::open("/").expect("/");
    let _inherited = nix::unistd::dup(&file).expect("dup");
    let script = "pwd; umask; ls /proc/self/fd; readlink /proc/self/fd/0; \
                  cut -d' ' -f1,5,6 /proc/$$/stat; cat /proc/self/status | grep -E '^Sig(Blk|Ign|Cgt)'; \
                  env | sort; ulimit -c";
    both(
        || {
            let mut shell = shell(script);
            shell.program.environment = vec![c("PATH=/usr/bin:/bin"), c("A=b")];
            shell
        },
        |ended| {
            let out = text(&ended.stdout);
            let lines: Vec<_> = out.lines().collect();
            // 3 is ls's own, of the directory it lists.
            assert_eq!(lines[..7], ["/", "0077", "0", "1", "2", "3", "/dev/null"], "{out}");
            let ids: BTreeSet<_> = lines[7].split(' ').collect();
            assert_eq!(ids.len(), 1, "process, group and session are one: {out}");
            for (line, name) in lines[8..11].iter().zip(["SigBlk", "SigIgn", "SigCgt"]) {
                assert_eq!(*line, format!("{name}:\t0000000000000000"), "{out}");
            }
            assert_eq!(lines[11..], ["A=b", "PATH=/usr/bin:/bin", "PWD=/", "0"], "{out}");
        },
    );
}

#[test]
fn limits_are_set_and_never_raised() {
    both(
        || {
            let mut shell = shell("ulimit -n; ulimit -p; ulimit -f; ulimit -v; ulimit -c");
            shell.program.limits = Limits {
                open_files: Some(77),
                processes: Some(55),
                file_size: Some(512 * 33),
                address_space: Some(1 << 30),
            };
            shell
        },
        |ended| assert_eq!(text(&ended.stdout), "77\n55\n33\n1048576\n0\n"),
    );
    both(
        || {
            let mut shell = shell("ulimit -n");
            shell.program.limits.open_files = Some(u64::MAX - 1);
            shell
        },
        |ended| assert_eq!(ended.end, End::Exited(0)),
    );
}

#[test]
fn what_can_not_be_executed_says_why() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str, mode| -> PathBuf {
        let path = dir.path().join(name);
        install(&path, text, mode);
        path
    };
    let cases = [
        (dir.path().join("missing"), Errno::ENOENT),
        (file("bad-interpreter", "#!/no/such/interpreter\n", 0o755), Errno::ENOENT),
        (file("no-format", "exit 0\n", 0o755), Errno::ENOEXEC),
        (file("empty", "", 0o755), Errno::ENOEXEC),
        (file("not-executable", "#!/bin/sh\n", 0o644), Errno::EACCES),
        (dir.path().to_owned(), Errno::EACCES),
    ];
    for (path, errno) in cases {
        both(
            || {
                let mut shell = shell("");
                shell.program.image = Image::Path(c(path.to_str().expect("UTF-8")));
                shell
            },
            |ended| {
                assert_eq!(ended.end, End::NotStarted { step: Step::Execute, errno }, "{path:?}");
            },
        );
    }
}

/// Writes a file through another process: a descriptor of ours, open for writing, could be copied by
/// another test's fork and make the execution fail.
fn install(path: &Path, text: &str, mode: u32) {
    use std::{io::Write, process};
    let mut install = process::Command::new("install")
        .arg(format!("-m{mode:o}"))
        .arg("/dev/stdin")
        .arg(path)
        .stdin(process::Stdio::piped())
        .spawn()
        .expect("install runs");
    install.stdin.take().expect("piped").write_all(text.as_bytes()).expect("install reads");
    assert!(install.wait().expect("install ends").success());
}

#[test]
fn a_program_that_is_being_written_is_tried_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("true");
    fs::copy("/bin/true", &path).expect("a copy");
    let writer = fs::OpenOptions::new().append(true).open(&path).expect("open for writing");
    let busy = |stop: Stop| Shell { stop, ..shell("") };
    let mut held = busy(Stop::new().expect("a descriptor"));
    held.program.image = Image::Path(c(path.to_str().expect("UTF-8")));
    let refused = End::NotStarted { step: Step::Execute, errno: Errno::ETXTBSY };
    assert_eq!(held.run_in(None).end, refused);
    drop(writer);
    let mut free = shell("");
    free.program.image = Image::Path(c(path.to_str().expect("UTF-8")));
    assert_eq!(free.run_in(None).end, End::Exited(0));
}

#[test]
fn an_open_descriptor_runs_what_was_opened() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("program");
    fs::copy("/bin/true", &path).expect("a copy");
    both(
        || {
            let opened = fs::OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
                .open(&path)
                .expect("open");
            let swapped = dir.path().join("swapped");
            fs::copy("/bin/false", &swapped).expect("a copy");
            fs::rename(&swapped, &path).expect("the swap");
            fs::copy("/bin/true", &swapped).expect("a copy");
            let mut shell = shell("");
            shell.program.image = Image::Descriptor(opened.into());
            fs::rename(&swapped, &path).expect("the swap back");
            shell
        },
        |ended| assert_eq!(ended.end, End::Exited(0)),
    );
}

#[test]
fn term_ignored_is_killed() {
    both(
        || shell("trap '' TERM; echo ready; while :; do sleep 1; done").timeout(2000).grace(200),
        |ended| {
            assert_eq!(ended.end, End::TimedOut);
            assert_eq!(text(&ended.stdout), "ready\n");
        },
    );
}

#[test]
fn grace_lets_a_child_clean_up_but_not_pass() {
    both(
        || {
            shell("trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
                .timeout(2000)
                .grace(LONG.as_millis() as u64)
        },
        |ended| {
            assert_eq!(ended.end, End::TimedOut, "exit 0 after the deadline is no pass");
            assert_eq!(text(&ended.stdout), "ready\ncleaned up\n");
        },
    );
}

#[test]
fn no_grace_is_no_term() {
    both(
        || shell("trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done").timeout(2000),
        |ended| {
            assert_eq!(ended.end, End::TimedOut);
            assert_eq!(text(&ended.stdout), "ready\n");
        },
    );
}

#[test]
fn leftovers_of_the_group_are_killed_after_a_normal_end() {
    both(
        || shell("sleep 1000 & sleep 1000 & exit 3"),
        |ended| {
            assert_eq!(ended.end, End::Exited(3));
            assert_eq!(ended.leftovers, Leftovers { killed: 2, ..Leftovers::default() });
        },
    );
}

#[test]
fn descendants_that_detached_are_killed() {
    // A session of its own, an orphan, deaf to everything but SIGKILL, holding the output.
    let script = "(setsid sh -c 'trap \"\" TERM HUP INT; echo detached; sleep 1000 & wait' &) ; \
                  while ! grep -qs . /dev/null; do sleep 0.1; done";
    both(
        || shell(script).timeout(2000).grace(10),
        |ended| {
            assert_eq!(ended.end, End::TimedOut);
            assert_eq!(text(&ended.stdout), "detached\n");
        },
    );
    both(
        || shell("echo verdict; setsid -f sh -c 'sleep 1000; echo never'; exit 0"),
        |ended| {
            assert_eq!(ended.end, End::Exited(0));
            assert_eq!(text(&ended.stdout), "verdict\n");
            assert!(ended.leftovers.killed > 0);
        },
    );
}

#[test]
fn orphans_that_ended_by_themselves_are_no_leftovers() {
    both(
        || shell("{ (setsid true &); (true &) } | cat"), // cat ends when they have
        |ended| assert_eq!(ended.leftovers, Leftovers::default()),
    );
}

#[test]
fn a_tree_that_forks_while_it_dies_is_killed() {
    let script = "f() { (setsid sh -c \"$F\" &) ; }; F='i=0; while [ $i -lt 40 ]; do \
                  (setsid sh -c \"sleep 1000\" &) ; i=$((i+1)); done; sleep 1000'; f; f; sleep 1000";
    both(
        || shell(script).timeout(300),
        |ended| {
            assert_eq!(ended.end, End::TimedOut);
            assert!(!ended.leftovers.lingering);
        },
    );
}

#[test]
fn raising_the_stop_ends_running_and_future_children() {
    let stop = Stop::new().expect("a descriptor");
    let fifo_dir = tempfile::tempdir().expect("a directory");
    let fifo = fifo_dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let script = format!("echo started > {}; sleep 1000", fifo.display());
    let running = Shell { stop: stop.clone(), ..shell(&script) };
    let thread = std::thread::spawn(move || running.run_in(None));
    let mut word = String::new();
    fs::File::open(&fifo).expect("fifo").read_to_string(&mut word).ok();
    // The reader sees the end only when the shell's echo is done.
    assert_eq!(word, "started\n");
    stop.raise();
    assert_eq!(thread.join().expect("no panic").end, End::Stopped);
    let late = Shell { stop, ..shell("sleep 1000") };
    assert_eq!(late.run_in(None).end, End::Stopped);
}

#[test]
fn killing_the_reaper_is_no_pass() {
    for subtree in [None, Subtree::find()] {
        let Shell { program, bounds, stop, marker } = shell("kill -9 $PPID; exec sleep 1000");
        let ended = spawner().run(program, bounds, &stop, subtree.as_ref()).expect("it starts");
        assert_eq!(ended.end, End::Unwatched);
        // The kernel kills the child for it, in its own time.
        wait_for_end_of(&marked(&marker));
    }
}

/// Waits until the processes have ended.
fn wait_for_end_of(pids: &[u32]) {
    for pid in pids {
        let Ok(pidfd) = raw::pidfd_open(nix::unistd::Pid::from_raw(*pid as i32)) else { continue };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll_until(&mut fds, Instant::now().checked_add(LONG)), Ok(1), "{pid} lives");
    }
}

#[test]
fn a_control_group_holds_the_child_and_goes_with_it() {
    let Some(subtree) = Subtree::find() else { return };
    let ended = shell("grep ^0:: /proc/self/cgroup").run_in(Some(&subtree));
    let out = text(&ended.stdout);
    let (_, leaf) = out.trim().rsplit_once('/').expect("a path");
    assert!(leaf.starts_with("virtcimd-check-"), "{out}");
    assert!(!subtree.path().join(leaf).exists());
}

#[test]
fn what_a_killed_reaper_leaves_in_the_control_group_is_killed() {
    let Some(subtree) = Subtree::find() else { return };
    let script = "setsid -f sleep 1000; setsid -f sleep 1000; kill -9 $PPID; sleep 1000";
    let ended = shell(script).run_in(Some(&subtree));
    assert_eq!(ended.end, End::Unwatched);
}

#[test]
fn poll_until_ends_at_its_time() {
    let until = Instant::now() + Duration::from_millis(1);
    assert_eq!(poll_until(&mut [], Some(until)), Ok(0));
    assert!(Instant::now() >= until);
}

#[test]
fn a_killed_spawner_is_replaced() {
    let spawner = Spawner::start().expect("a spawner");
    let run = || {
        let Shell { program, bounds, stop, .. } = shell("exit 7");
        spawner.run(program, bounds, &stop, None).expect("it starts").end
    };
    assert_eq!(run(), End::Exited(7));
    let Shell { program, bounds, stop, .. } = shell("kill -9 $(ps -o ppid= $PPID)");
    spawner.run(program, bounds, &stop, None).expect("it starts");
    // A request that the dying spawner had already got is lost: no pass, but no hanging either.
    assert!(matches!(run(), End::Unwatched | End::Exited(7)));
    assert_eq!(run(), End::Exited(7));
}
