//! Safe wrappers over the operating system: child process groups, bounded blocking slots, notify.
//!
//! Nothing here knows what a check or a migration is.

pub mod activation;
pub mod blocking;
pub mod cgroup;
pub mod child;
pub mod end;

use std::{future::Future, pin::Pin, time::Instant};

use nix::{
    errno::Errno,
    poll::{PollFd, ppoll},
    sys::time::TimeSpec,
};

/// A boxed future, for the few traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Waits until a descriptor is ready or the time has come; gives the number of ready ones.
fn poll_until(fds: &mut [PollFd<'_>], until: Option<Instant>) -> Result<usize, Errno> {
    loop {
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        match ppoll(fds, rest.map(TimeSpec::from_duration), None) {
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready.unsigned_abs() as usize),
        }
    }
}
