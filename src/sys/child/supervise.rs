//! The daemon's side of a running child: deadline, output, verdict.

use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::socket::{MsgFlags, recv, send},
};

use super::{
    Bounds, End, Ended, Leftovers, Stop,
    capture::Capture,
    report::{KILL, Report, SIZE, TERMINATE},
};
use crate::sys::poll_until;

/// How long the caller waits for killed processes to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a supervision stands. Only ever goes down this list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// The child runs, before its deadline.
    Running,
    /// The group got SIGTERM and has until the end of the grace.
    Terminating,
    /// The end is known; the reaper kills and reaps what is left.
    Sweeping,
}

/// A child that runs, seen from the daemon.
pub(super) struct Running {
    pub(super) control: OwnedFd,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
}

/// One child being watched.
struct Watch<'a> {
    control: &'a OwnedFd,
    stage: Stage,
    /// When the stage ends by itself; `None` if the clock can't count that far.
    until: Option<Instant>,
    grace: Duration,
    end: Option<End>,
    leftovers: Leftovers,
}

/// Watches until nothing is left of the child, or of our patience.
pub(super) fn supervise(running: Running, bounds: Bounds, stop: &Stop) -> Ended {
    let Running { control, mut stdout, mut stderr } = running;
    let mut watch = Watch {
        control: &control,
        stage: Stage::Running,
        until: Instant::now().checked_add(bounds.timeout),
        grace: bounds.grace,
        end: None,
        leftovers: Leftovers::default(),
    };
    loop {
        let mut fds = vec![PollFd::new(control.as_fd(), PollFlags::POLLIN)];
        fds.extend(stdout.as_fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(stderr.as_fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        if watch.stage != Stage::Sweeping {
            fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
        }
        poll_until(&mut fds, watch.until).ok();
        let stopped =
            watch.stage != Stage::Sweeping && fds.last().and_then(PollFd::any).unwrap_or(false);
        stdout.pump();
        stderr.pump();
        // First what the reaper says: a child that ended just in time ended in time.
        match watch.listen() {
            Heard::Nothing => {}
            Heard::Word => continue,
            Heard::End => break,
        }
        if stopped {
            watch.kill(End::Stopped);
        } else if watch.until.is_some_and(|until| until <= Instant::now()) && watch.expire() {
            break;
        }
    }
    Ended {
        end: watch.end.unwrap_or(End::Unwatched),
        leftovers: watch.leftovers,
        stdout: stdout.finish(),
        stderr: stderr.finish(),
    }
}

/// What one look at the socket gave.
enum Heard {
    Nothing,
    Word,
    End,
}

impl Watch<'_> {
    /// Reads one message of the reaper, without waiting.
    fn listen(&mut self) -> Heard {
        let mut message = [0; SIZE];
        let length = recv(self.control.as_raw_fd(), &mut message, MsgFlags::MSG_DONTWAIT);
        match (length, Report::decode(message)) {
            (Err(Errno::EAGAIN | Errno::EINTR), _) => return Heard::Nothing,
            (Ok(SIZE), Some(report)) => self.hear(report),
            _ => return Heard::End,
        }
        Heard::Word
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::NotStarted { step, errno } => self.sweep(End::NotStarted { step, errno }),
            Report::Exited { status } => self.sweep(decode(status)),
            Report::OutsideCgroup { errno } => {
                tracing::warn!(error = %errno, "child runs outside its control group");
            }
            Report::Swept { killed, refused } => {
                self.leftovers.killed = killed;
                self.leftovers.refused = refused;
            }
        }
    }

    /// The stage's time is up. Whether there is nothing more to wait for.
    fn expire(&mut self) -> bool {
        match self.stage {
            Stage::Running if self.grace > Duration::ZERO => {
                self.end = Some(End::TimedOut);
                self.stage = Stage::Terminating;
                self.until = Instant::now().checked_add(self.grace);
                self.command(TERMINATE);
            }
            Stage::Running | Stage::Terminating => self.kill(End::TimedOut),
            Stage::Sweeping => {
                self.leftovers.lingering = true;
                return true;
            }
        }
        false
    }

    fn kill(&mut self, end: End) {
        self.command(KILL);
        self.sweep(end);
    }

    /// From here on only the sweep counts. The first end that was known stays the end.
    fn sweep(&mut self, end: End) {
        self.end.get_or_insert(end);
        if self.stage != Stage::Sweeping {
            self.stage = Stage::Sweeping;
            self.until = Instant::now().checked_add(PATIENCE);
        }
    }

    fn command(&self, command: u8) {
        // If the reaper is gone, the socket tells so at the next look.
        send(self.control.as_raw_fd(), &[command], MsgFlags::MSG_NOSIGNAL).ok();
    }
}

fn decode(status: i32) -> End {
    if libc::WIFSIGNALED(status) {
        End::Signalled(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}
