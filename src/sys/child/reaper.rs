//! The reaper: the process between the daemon and one child.
//!
//! It is forked from the spawner, executes nothing, and is a child subreaper: whatever the child starts,
//! however it detaches itself, becomes the reaper's child when its own parents are gone. So it knows
//! its own from the descendants of other children, and from processes that libraries of the daemon
//! started. All it does is: start the child, wait for the child's end or a word from the daemon (the
//! daemon's death is such a word), kill what is left, reap it, tell.
//!
//! It also is the only process that signals the child or its group, and the one that reaps it, so the
//! ids it signals are never those of strangers.

use std::{
    ffi::c_int,
    ops::ControlFlow,
    os::fd::{AsFd, OwnedFd},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, open, openat},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigSet, Signal, kill},
        stat::{Mode, umask},
    },
    unistd::{
        Pid, UnlinkatFlags, chdir, dup2_stderr, dup2_stdout, getpid, getppid, read, setgroups,
        setresgid, setresuid, setsid, unlinkat, write,
    },
};

use super::{
    raw::{self, Target, Waited},
    report::{KILL, Refused, Report, Step, TERMINATE},
    request::{Descriptors, LIMITS, LeafDescriptors, Request},
};

/// What the limits of a request are of.
const RESOURCES: [Resource; LIMITS] = [
    Resource::RLIMIT_CORE,
    Resource::RLIMIT_NOFILE,
    Resource::RLIMIT_NPROC,
    Resource::RLIMIT_FSIZE,
    Resource::RLIMIT_AS,
];

/// How often and how long a program that somebody still writes to is tried again, 100 ms in all: a
/// packager that has just closed the file, or a fork of another thread that still holds a copy of the
/// descriptor for an instant.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// The reaper's life.
pub(super) fn run(request: Request, descriptors: Descriptors<OwnedFd>) -> ! {
    let job = Job { request, descriptors };
    match job.start() {
        Ok((child, pidfd)) => {
            job.wait_for_end(child, &pidfd);
            let tally = job.sweep(child);
            if let (Some(leaf), Some(name)) = (&job.descriptors.leaf, &job.request.leaf) {
                // The daemon tries again if this fails.
                unlinkat(&leaf.parent, name.as_c_str(), UnlinkatFlags::RemoveDir).ok();
            }
            job.tell(Report::Swept { killed: tally.killed, refused: tally.refused });
        }
        Err((step, errno)) => job.tell(Report::NotStarted { step, errno }),
    }
    raw::exit_now(0)
}

/// One child's case.
struct Job {
    request: Request,
    descriptors: Descriptors<OwnedFd>,
}

impl Job {
    /// Makes this process a reaper and forks the child, into its control group if it has one.
    fn start(&self) -> Result<(Pid, OwnedFd), (Step, Errno)> {
        let at = |errno| (Step::Reaper, errno);
        raw::reset_signal_dispositions(); // the spawner ignores its children's ends
        prctl::set_name(c"virtcimd-reaper").map_err(at)?;
        prctl::set_child_subreaper(true).map_err(at)?;
        let child = self.fork().map_err(|errno| (Step::Fork, errno))?;
        match raw::pidfd_open(child) {
            Ok(pidfd) => Ok((child, pidfd)),
            Err(errno) => {
                self.sweep(child);
                Err((Step::Watch, errno))
            }
        }
    }

    fn fork(&self) -> Result<Pid, Errno> {
        let reaper = getpid();
        let Some(leaf) = &self.descriptors.leaf else {
            return raw::fork(|| self.become_program(reaper));
        };
        // Where seccomp filters forbid clone3, as systemd's RestrictNamespaces= does, the child
        // has to move by itself.
        raw::fork_into(leaf.group.as_fd(), || self.become_program(reaper)).or_else(|_| {
            raw::fork(|| {
                if let Err(errno) = join(leaf) {
                    self.tell(Report::OutsideCgroup { errno });
                }
                self.become_program(reaper)
            })
        })
    }

    /// The child: from the fork to the program.
    fn become_program(&self, reaper: Pid) -> ! {
        let (step, errno) = match self.prepare(reaper) {
            Ok(()) => (Step::Execute, self.execute()),
            Err(error) => error,
        };
        self.tell(Report::NotStarted { step, errno });
        raw::exit_now(127)
    }

    fn execute(&self) -> Errno {
        let Request { path, arguments, environment, .. } = &self.request;
        let target = match (path, &self.descriptors.image) {
            (Some(path), _) => Target::Path(path),
            (None, Some(image)) => Target::Descriptor(image.as_fd()),
            (None, None) => return Errno::EBADF,
        };
        let mut errno = raw::exec(&target, arguments, environment);
        for _ in 0..BUSY_TRIES {
            if errno != Errno::ETXTBSY {
                break;
            }
            thread::sleep(BUSY_PAUSE);
            errno = raw::exec(&target, arguments, environment);
        }
        errno
    }

    /// Makes the surroundings that the program is promised.
    fn prepare(&self, reaper: Pid) -> Result<(), (Step, Errno)> {
        setsid().map_err(|errno| (Step::Session, errno))?;
        umask(Mode::from_bits_truncate(0o077));
        chdir(c"/").map_err(|errno| (Step::Directory, errno))?;

        // The spawner's standard input is /dev/null already.
        let at = |errno| (Step::Descriptors, errno);
        dup2_stdout(&self.descriptors.stdout).map_err(at)?;
        dup2_stderr(&self.descriptors.stderr).map_err(at)?;
        raw::close_all_on_exec().map_err(at)?;

        raw::clear_ambient_capabilities();
        if let Some(user) = &self.request.user {
            let at = |errno| (Step::User, errno);
            setgroups(&user.groups).map_err(at)?;
            setresgid(user.gid, user.gid, user.gid).map_err(at)?;
            setresuid(user.uid, user.uid, user.uid).map_err(at)?;
        }

        // After the change of user, which would clear it; and then see whether the reaper still lived.
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| (Step::Parent, errno))?;
        if getppid() != reaper {
            return Err((Step::Parent, Errno::ESRCH));
        }
        for (resource, wanted) in RESOURCES.into_iter().zip(self.request.limits) {
            let Some(wanted) = wanted else { continue };
            let at = |errno| (Step::Limits, errno);
            let (_, most) = getrlimit(resource).map_err(at)?;
            setrlimit(resource, wanted.min(most), wanted.min(most)).map_err(at)?;
        }
        SigSet::empty().thread_set_mask().map_err(|errno| (Step::Session, errno))
    }

    /// Waits until the child has ended or the daemon wants it to end.
    fn wait_for_end(&self, child: Pid, pidfd: &OwnedFd) {
        let control = &self.descriptors.control;
        loop {
            let mut fds = [
                PollFd::new(control.as_fd(), PollFlags::POLLIN),
                PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut fds, PollTimeout::NONE).is_err() {
                return; // every signal is blocked: this can't be an interruption
            }
            let [word, ended] = fds.map(|fd| fd.any().unwrap_or(true));
            if ended {
                return;
            }
            if word {
                let mut command = [KILL];
                match read(control, &mut command) {
                    Ok(1) if command == [TERMINATE] => terminate(child),
                    _ => return,
                }
            }
        }
    }

    /// Kills and reaps the child and all its descendants, and reports the child's end on the way.
    ///
    /// Each round kills the reaper's children; what they leave behind becomes the reaper's children for
    /// the next round, before the reaper hears of their death.
    fn sweep(&self, child: Pid) -> Tally {
        // The child is not reaped yet, so its group's id is still its own. The kernel signals all
        // members at once; a fork in flight is undone.
        kill(group_of(child), Signal::SIGKILL).ok();
        let leaf = self.descriptors.leaf.as_ref();
        let by_cgroup = leaf.is_some_and(|leaf| write(&leaf.kill, b"1").is_ok());

        let mut tally = Tally::default();
        loop {
            let mut progress = false;
            loop {
                match self.note(child, &mut tally, raw::wait_for_any(libc::WNOHANG)) {
                    ControlFlow::Continue(true) => progress = true,
                    ControlFlow::Continue(false) => break,
                    ControlFlow::Break(()) => return tally,
                }
            }
            let (mut dying, mut refused) = (false, None);
            let listed = for_each_child(|pid| match kill(pid, Signal::SIGKILL) {
                Ok(()) => dying = true,
                // cgroup.kill asks nobody's permission: it is dying although we may not signal it.
                Err(Errno::EPERM) if by_cgroup => dying = true,
                Err(errno) if errno != Errno::ESRCH => refused = Some(Refused { pid, errno }),
                Err(_) => {}
            });
            if let Err(errno) = listed {
                tally.refused = Some(Refused { pid: Pid::from_raw(0), errno });
                return tally;
            }
            if dying {
                if self.note(child, &mut tally, raw::wait_for_any(0)).is_break() {
                    return tally;
                }
            } else if refused.is_some() && !progress {
                tally.refused = refused;
                return tally;
            }
        }
    }

    /// Notes one result of waiting: whether a child was reaped, or that none is left.
    fn note(&self, child: Pid, tally: &mut Tally, waited: Waited) -> ControlFlow<(), bool> {
        match waited {
            Waited::Ended(pid, status) if pid == child => {
                self.tell(Report::Exited { status });
                ControlFlow::Continue(true)
            }
            Waited::Ended(_, status) => {
                tally.killed += u32::from(was_killed(status));
                ControlFlow::Continue(true)
            }
            Waited::NotYet => ControlFlow::Continue(false),
            Waited::Nobody => ControlFlow::Break(()),
        }
    }

    fn tell(&self, report: Report) {
        report.send(&self.descriptors.control);
    }
}

/// Moves this process into a control group.
fn join(leaf: &LeafDescriptors<OwnedFd>) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let processes = openat(&leaf.group, c"cgroup.procs", flags, Mode::empty())?;
    write(&processes, b"0").map(drop)
}

/// What the sweep saw.
#[derive(Default)]
struct Tally {
    /// Descendants, without the child itself, that were alive and had to be killed.
    killed: u32,
    refused: Option<Refused>,
}

/// Asks the group to end; the child alone if it has no group yet.
fn terminate(child: Pid) {
    if kill(group_of(child), Signal::SIGTERM).is_err() {
        kill(child, Signal::SIGTERM).ok();
    }
}

fn group_of(child: Pid) -> Pid {
    Pid::from_raw(-child.as_raw())
}

fn was_killed(status: c_int) -> bool {
    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
}

/// Calls `act` for each child of this process.
fn for_each_child(mut act: impl FnMut(Pid)) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let list = open(c"/proc/thread-self/children", flags, Mode::empty())?;
    let mut buffer = [0; 4096];
    let mut number: Option<c_int> = None; // a number may lie across two reads
    loop {
        let length = read(&list, &mut buffer)?;
        for byte in buffer.iter().take(length) {
            match byte {
                b'0'..=b'9' => {
                    let digit = c_int::from(byte - b'0');
                    number = Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(digit));
                }
                _ => number.take().into_iter().for_each(|pid| act(Pid::from_raw(pid))),
            }
        }
        if length == 0 {
            number.into_iter().for_each(|pid| act(Pid::from_raw(pid)));
            return Ok(());
        }
    }
}
