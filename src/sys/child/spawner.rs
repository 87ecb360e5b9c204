//! The spawner: a small process that forks the reapers.
//!
//! A fork copies the page tables of the forking process, and every page that is written afterwards;
//! with the guests of a big host in memory that is many milliseconds for each check. So the daemon forks
//! once, early, when it is small, and asks that copy from then on. It has one thread, none of the
//! daemon's later secrets, and nothing to do but to receive a request and fork.

use std::{
    convert::Infallible,
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{Mutex, PoisonError},
};

use nix::{
    cmsg_space,
    errno::Errno,
    fcntl::{OFlag, open},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow},
        socket::{
            AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
            recvmsg, sendmsg, socketpair,
        },
        stat::Mode,
        wait::waitpid,
    },
    unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::{
    Bounds, Ended, Program, StartError, Stop,
    capture::Capture,
    raw, reaper,
    report::{Report, Step},
    request::{Descriptors, LeafDescriptors, MOST_DESCRIPTORS, Request},
    supervise::{self, Running},
};
use crate::sys::cgroup::{Leaf, Subtree};

/// The size of the largest request; the kernel's own limit for such a socket is about the same.
const LARGEST_REQUEST: usize = 256 << 10;

/// The daemon's end of the spawner. Dropping it ends the spawner, not the children that run.
#[derive(Debug)]
pub struct Spawner {
    process: Mutex<Process>,
}

/// A spawner process.
#[derive(Debug)]
struct Process {
    pid: Pid,
    /// `None` only while it is dropped.
    socket: Option<OwnedFd>,
}

impl Spawner {
    /// Forks the spawner. The earlier in a process's life the better.
    ///
    /// # Errors
    /// [`StartError`] if there is no process or no descriptor to be had.
    pub fn start() -> Result<Self, StartError> {
        Ok(Self { process: Mutex::new(Process::start()?) })
    }

    /// Runs a program to its end.
    ///
    /// Blocks. When it returns, nothing of the child is left but what [`super::Leftovers`] says.
    ///
    /// # Errors
    /// [`StartError`] if there was no way to begin.
    pub fn run(
        &self,
        program: Program,
        bounds: Bounds,
        stop: &Stop,
        subtree: Option<&Subtree>,
    ) -> Result<Ended, StartError> {
        let leaf = subtree.and_then(|subtree| {
            let leaf = subtree.leaf();
            if let Err(errno) = &leaf {
                tracing::warn!(error = %errno, "no control group for a child");
            }
            leaf.ok()
        });
        let running = self.launch(program, bounds.output, leaf.as_ref())?;
        Ok(supervise::supervise(running, bounds, stop))
    }

    /// Makes pipes and a socket, and has a reaper forked that holds their other ends.
    fn launch(
        &self,
        program: Program,
        output_limit: usize,
        leaf: Option<&Leaf<'_>>,
    ) -> Result<Running, StartError> {
        let (stdout, child_stdout) = io::pipe().map_err(StartError::Descriptors)?;
        let (stderr, child_stderr) = io::pipe().map_err(StartError::Descriptors)?;
        let (control, reaper_control) = socket_pair()?;
        let (request, image) = Request::new(program, leaf);
        let descriptors = Descriptors {
            control: reaper_control.as_fd(),
            stdout: child_stdout.as_fd(),
            stderr: child_stderr.as_fd(),
            image: image.as_ref().map(AsFd::as_fd),
            leaf: leaf.map(LeafDescriptors::new),
        };
        let descriptors: Vec<_> = descriptors.list().iter().map(AsRawFd::as_raw_fd).collect();
        self.ask(&request.encode(), &descriptors)?;
        Ok(Running {
            control,
            stdout: Capture::new(stdout, output_limit).map_err(StartError::Descriptors)?,
            stderr: Capture::new(stderr, output_limit).map_err(StartError::Descriptors)?,
        })
    }

    /// Sends a request. If somebody killed the spawner, there is a new one.
    fn ask(&self, request: &[u8], descriptors: &[RawFd]) -> Result<(), StartError> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.send(request, descriptors) {
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ECONNREFUSED | Errno::ENOTCONN) => {
                tracing::error!(
                    pid = process.pid.as_raw(),
                    "the spawner is gone; starting another"
                );
                *process = Process::start()?;
                process.send(request, descriptors)
            }
            result => result,
        }
        .map_err(StartError::Ask)
    }
}

impl Process {
    fn start() -> Result<Self, StartError> {
        let (socket, other) = socket_pair()?;
        // Blocked signals stay blocked in the spawner: a handler of this process must not run there,
        // where it would write into descriptors that both share.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let before = before.map_err(StartError::Fork)?;
        let forked = raw::fork(|| spawn_for(other));
        before.thread_set_mask().map_err(StartError::Fork)?;
        Ok(Self { pid: forked.map_err(StartError::Fork)?, socket: Some(socket) })
    }

    fn send(&self, request: &[u8], descriptors: &[RawFd]) -> Result<(), Errno> {
        let socket = self.socket.as_ref().ok_or(Errno::EPIPE)?;
        let parts = [IoSlice::new(request)];
        let rights = [ControlMessage::ScmRights(descriptors)];
        loop {
            let flags = MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(socket.as_raw_fd(), &parts, &rights, flags, None) {
                Err(Errno::EINTR) => {}
                result => return result.map(drop),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.socket = None;
        waitpid(self.pid, None).ok();
    }
}

fn socket_pair() -> Result<(OwnedFd, OwnedFd), StartError> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| StartError::Descriptors(errno.into()))
}

/// The spawner's life: serves requests until the daemon closes the socket.
fn spawn_for(socket: OwnedFd) -> Infallible {
    if detach(&socket).is_err() {
        raw::exit_now(1);
    }
    let mut buffer = vec![0; LARGEST_REQUEST];
    let mut socket = Some(socket);
    while let Some(job) = socket.as_ref().and_then(|socket| receive(socket, &mut buffer)) {
        let mut job = Some(job);
        let forked = raw::fork(|| {
            socket = None; // a reaper's copy would hide the spawner's death
            match job.take() {
                Some((request, descriptors)) => reaper::run(request, descriptors),
                None => raw::exit_now(1),
            }
        });
        if let (Err(errno), Some((_, descriptors))) = (forked, job) {
            let report = Report::NotStarted { step: Step::Fork, errno };
            report.send(&descriptors.control);
        }
    }
    raw::exit_now(0)
}

/// Leaves everything of the daemon behind: terminal, signals, descriptors.
fn detach(socket: &OwnedFd) -> Result<(), Errno> {
    setsid()?;
    raw::reset_signal_dispositions();
    raw::ignore_children();
    prctl::set_name(c"virtcimd-spawn")?;
    // A copy of the daemon's memory: no core dumps, no tracing. Reapers inherit it.
    prctl::set_dumpable(false)?;
    raw::close_all_but(socket.as_raw_fd())?;
    let null = open(c"/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)
}

/// Receives one request; `None` when there will be no more.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<(Request, Descriptors<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MOST_DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags).ok()?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs().ok()? {
        if let ControlMessageOwned::ScmRights(rights) = control {
            descriptors.extend(rights.into_iter().map(raw::received));
        }
    }
    let length = message.bytes;
    let request = Request::decode(buffer.get(..length)?)?;
    let descriptors = Descriptors::from_list(descriptors, &request)?;
    Some((request, descriptors))
}
