//! Waiting for descriptors with a deadline.

use std::time::Instant;

use nix::{
    errno::Errno,
    poll::{PollFd, ppoll},
    sys::time::TimeSpec,
};

/// Waits until a descriptor is ready or the time has come; gives the number of ready ones.
pub(super) fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>) -> Result<usize, Errno> {
    loop {
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        match ppoll(fds, rest.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready.unsigned_abs() as usize),
        }
    }
}
