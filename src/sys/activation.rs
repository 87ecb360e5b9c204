//! Sockets that the service manager opened for us (sd_listen_fds(3)).

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
    sync::atomic::{AtomicBool, Ordering},
};

/// The sockets handed over to this process, each with its FileDescriptorName=; none on a second call.
///
/// # Errors
/// If the service manager's variables make no sense.
pub fn take_sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let sockets = sd_notify::listen_fds_with_names()?;
    let owned = sockets.map(|(descriptor, name)| {
        // SAFETY: the service manager opened the descriptor for this process alone (LISTEN_PID names
        // it), nothing else here knows its number, and it is taken once, because of TAKEN.
        #[expect(unsafe_code, reason = "a descriptor handed over by number has to be adopted")]
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        (name, descriptor)
    });
    Ok(owned.collect())
}
