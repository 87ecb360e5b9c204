//! The system calls behind a child that neither std nor nix offers in a form fit for our use.
//!
//! All of `sys/child`'s unsafe code is here.
#![expect(unsafe_code, reason = "fork, clone3, exec and wait have no safe form")]

use std::{
    convert::Infallible,
    ffi::{CStr, CString, c_char, c_int, c_long, c_uint},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use nix::{
    errno::Errno,
    unistd::{ForkResult, Pid},
};

/// `CLONE_INTO_CGROUP`; libc's constant is truncated to 32 bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks; the child runs `child` and nothing else of this program.
///
/// If this process has threads, the child has a copy of every lock they held at that instant. The C
/// library puts its own in order, the allocator's too; `child` must not need any other.
pub(super) fn fork(child: impl FnOnce() -> Infallible) -> Result<Pid, Errno> {
    // SAFETY: what the child may do is said above, and `run_forked` never comes back to the caller.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => run_forked(child),
    }
}

/// Forks straight into a control group, from a process that has one thread.
///
/// A move after the fork would do as well, but takes a lock of the whole system, on some kernels for
/// milliseconds.
pub(super) fn fork_into(
    cgroup: BorrowedFd<'_>,
    child: impl FnOnce() -> Infallible,
) -> Result<Pid, Errno> {
    // SAFETY: all zeroes is a value of this struct of integers.
    let mut request: libc::clone_args = unsafe { std::mem::zeroed() };
    request.flags = CLONE_INTO_CGROUP;
    request.exit_signal = libc::SIGCHLD as u64;
    request.cgroup = cgroup.as_raw_fd() as u64;
    let (call, size) = (libc::SYS_clone3, size_of::<libc::clone_args>());
    // SAFETY: the struct outlives the call. Without CLONE_VM and a stack of its own the child is a copy
    // of this process, as after `fork`.
    let pid = unsafe { libc::syscall(call, &raw mut request, size) };
    match Errno::result(pid)? {
        0 => run_forked(child),
        pid => Ok(Pid::from_raw(pid as c_int)),
    }
}

/// Runs the child's part to its end. A panic must not unwind into a copy of the caller.
fn run_forked(child: impl FnOnce() -> Infallible) -> ! {
    match catch_unwind(AssertUnwindSafe(child)) {
        Ok(never) => match never {},
        Err(_) => exit_now(101),
    }
}

/// A descriptor that becomes readable when the process ends. The process must be an unreaped child.
pub(super) fn pidfd_open(pid: Pid) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid.as_raw()), 0) };
    let fd = Errno::result(fd)? as RawFd;
    // SAFETY: the kernel made it for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a descriptor that came with a message.
pub(super) fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made it for us when the message was received, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Closes, in a process just forked, every descriptor from 3 on but `kept`.
pub(super) fn close_all_but(kept: RawFd) -> Result<(), Errno> {
    close_range(3, kept - 1, 0)?;
    close_range(kept + 1, RawFd::MAX, 0)
}

/// Has the next `exec` close every descriptor from 3 on.
pub(super) fn close_all_on_exec() -> Result<(), Errno> {
    close_range(3, RawFd::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: RawFd, last: RawFd, flags: c_uint) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    let (first, last) = (c_long::from(first), c_long::from(last));
    // SAFETY: plain integers. The callers say that nobody uses these descriptors any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, c_long::from(flags)) };
    Errno::result(result).map(drop)
}

/// Gives every signal its default disposition.
///
/// By system call, as the C library refuses the two signals that it keeps to itself, which whoever
/// started the daemon may have had ignored.
pub(super) fn reset_signal_dispositions() {
    // The kernel's struct sigaction: handler (SIG_DFL is 0), flags, restorer, mask.
    const DEFAULT: [u64; 4] = [0; 4];
    const MASK_SIZE: c_long = 8;
    for signal in 1..=64 {
        let old = ptr::null::<u64>();
        // SAFETY: the kernel reads the struct and, given null, writes none; the default runs no code.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), old, MASK_SIZE);
        };
    }
}

/// Has the kernel reap this process's children itself.
pub(super) fn ignore_children() {
    // SAFETY: ignoring runs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Drops capabilities that would pass to a program without being asked for. Old kernels have none.
pub(super) fn clear_ambient_capabilities() {
    // SAFETY: plain integers; unused arguments are zero as the kernel demands.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
}

/// What waiting for children gave.
pub(super) enum Waited {
    /// This child ended, with this raw status; it is reaped.
    Ended(Pid, c_int),
    /// There are children and none has ended.
    NotYet,
    /// There are no children.
    Nobody,
}

/// Waits for any child. Raw, as nix refuses real-time signals in a status.
pub(super) fn wait_for_any(flags: c_int) -> Waited {
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        let result = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        match Errno::result(result) {
            Ok(0) => return Waited::NotYet,
            Ok(pid) => return Waited::Ended(Pid::from_raw(pid), status),
            Err(Errno::EINTR) => {}
            Err(_) => return Waited::Nobody,
        }
    }
}

/// What is executed.
pub(super) enum Target<'a> {
    Descriptor(BorrowedFd<'a>),
    Path(&'a CStr),
}

/// Replaces this process's program; returns only if that fails.
pub(super) fn exec(target: &Target<'_>, arguments: &[CString], environment: &[CString]) -> Errno {
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    let (argv, envp) = (arguments.as_ptr(), environment.as_ptr());
    match target {
        Target::Descriptor(fd) => {
            let (fd, flags) = (c_long::from(fd.as_raw_fd()), c_long::from(libc::AT_EMPTY_PATH));
            // SAFETY: both arrays end with null, and they and their strings outlive the call.
            unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv, envp, flags) };
        }
        Target::Path(path) => {
            // SAFETY: as above; the path ends with NUL.
            unsafe { libc::execve(path.as_ptr(), argv, envp) };
        }
    }
    Errno::last()
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Ends this process at once: no destructors, no exit handlers, no flushing of copied buffers.
pub(super) fn exit_now(code: c_int) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}
