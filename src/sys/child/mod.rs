//! One child program, supervised to its end and beyond.
//!
//! ```text
//!   daemon ──request──▶ spawner ──fork──▶ reaper ──fork, exec──▶ child ──▶ its descendants
//!   a thread of its own for each child        │                  own session, process group
//!   in [`Spawner::run`]: deadline, output     │                  and, if there is one, control group
//!           └─────────── a socket ────────────┘
//! ```
//!
//! [`Spawner::run`] blocks its thread until the child has ended and everything the child started is dead
//! and reaped. It waits in `poll` for the reaper's word, for output, for the caller's [`Stop`] and for
//! the deadline; nothing is looked at in intervals. The end is told by the child's exit, never by its
//! pipes, which a grandchild may hold for ever.
//!
//! *Why a reaper?* The daemon could be the child subreaper itself. But then orphans of all children, and
//! of programs that libraries run in this process (libvirt runs ssh), would become its children with
//! nothing left that tells whose they are, and each would have to be reaped by somebody without
//! stealing an exit status that a library waits for. A reaper for each child knows its own, works the
//! same with and without control groups, and cleans up when the daemon is killed: its socket closes.
//!
//! *Why a spawner?* So that the forks are those of a small process with one thread (`spawner.rs`).
//!
//! *What control groups add.* `cgroup.kill` reaches processes of other users and can't be outrun by a
//! program that forks and detaches faster than the reaper's rounds, and what is left when a child kills
//! its reaper. (A child of the daemon's own user can do that, as it can kill the daemon. It is never
//! taken for a pass; the child dies with its reaper, but without control groups its descendants stay.)
//!
//! *How a program is executed.* From an open descriptor ([`Image::Descriptor`]) what was examined is what
//! runs. A `#!` script can't be run so: its interpreter would get `/dev/fd/N` for a name, so the script
//! would lose its `$0` and inherit a descriptor, both part of what check programs are promised. Scripts are
//! executed by path ([`Image::Path`]); whoever needs certainty compares the file's identity before and
//! after, as the checks do.
//!
//! Needs Linux 5.11 (close_range with CLOSE_RANGE_CLOEXEC).

mod capture;
mod raw;
mod reaper;
mod report;
mod request;
mod spawner;
mod supervise;
#[cfg(test)]
mod tests;
mod user;

use std::{
    ffi::{CString, c_int},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags},
    sys::eventfd::{EfdFlags, EventFd},
};

pub use self::{
    capture::Captured,
    report::{Refused, Step},
    spawner::Spawner,
    user::{User, UserError},
};
use super::poll_until;

/// A program to run, and all it is given.
#[derive(Debug)]
pub struct Program {
    /// What is executed.
    pub image: Image,
    /// The arguments, the program's own name first.
    pub arguments: Vec<CString>,
    /// The whole environment, `NAME=value` each; nothing is inherited.
    pub environment: Vec<CString>,
    /// Who it runs as; `None` is this process's user.
    pub user: Option<User>,
    /// What it may use.
    pub limits: Limits,
}

/// What is executed.
#[derive(Debug)]
pub enum Image {
    /// The very file that is open here; no script.
    Descriptor(OwnedFd),
    /// Whatever file has this name when the child gets there.
    Path(CString),
}

/// Resource limits of a child; `None` leaves what this process has. Core dumps are always off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads of the child's user, not only the child's; the kernel exempts root.
    pub processes: Option<u64>,
    /// The size of a file it writes, in bytes.
    pub file_size: Option<u64>,
    /// Address space of each process, in bytes.
    pub address_space: Option<u64>,
}

/// How long a child may run and how much it may say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Until then it has to end.
    pub timeout: Duration,
    /// At the deadline the group gets SIGTERM, and SIGKILL after this; zero is SIGKILL at once.
    pub grace: Duration,
    /// Bytes kept of each output; the rest is read and dropped.
    pub output: usize,
}

/// A way to end children early. Clones are one and the same.
#[derive(Clone, Debug)]
pub struct Stop(Arc<EventFd>);

impl Stop {
    /// A stop that is not raised.
    ///
    /// # Errors
    /// Without a free descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_flags(flags)?)))
    }

    /// Ends, with SIGKILL, all children that run or will run under this stop.
    pub fn raise(&self) {
        // It can only fail if the counter is full, and then the stop is raised.
        self.0.write(1).ok();
    }

    /// Whether it is raised.
    pub fn is_raised(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        matches!(poll_until(&mut fds, Some(Instant::now())), Ok(1))
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// By itself, with this code.
    Exited(c_int),
    /// By this signal.
    Signalled(c_int),
    /// It ran too long; what it did when told to end is of no interest.
    TimedOut,
    /// The caller raised the [`Stop`].
    Stopped,
    /// The program never ran.
    NotStarted {
        /// What failed.
        step: Step,
        /// How.
        errno: Errno,
    },
    /// Somebody killed the reaper; nothing is known.
    Unwatched,
}

/// A child's end and what was found out on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// What it wrote to standard output.
    pub stdout: Captured,
    /// What it wrote to standard error.
    pub stderr: Captured,
    /// What it left behind.
    pub leftovers: Leftovers,
}

/// What a child left behind.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Leftovers {
    /// Descendants that still lived and were killed.
    pub killed: u32,
    /// One that could not be killed.
    pub refused: Option<Refused>,
    /// Killed, but not gone for two seconds, as happens to processes that wait for a dead file server.
    /// The reaper stays with them.
    pub lingering: bool,
}

/// Why a child could not be started. What goes wrong later is an [`End`].
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No descriptors.
    #[error("can't prepare the child's descriptors")]
    Descriptors(#[source] io::Error),
    /// No process.
    #[error("can't fork the spawner")]
    Fork(#[source] Errno),
    /// The spawner doesn't take the request.
    #[error("can't hand the program to the spawner")]
    Ask(#[source] Errno),
}
