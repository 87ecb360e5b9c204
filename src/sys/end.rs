//! The end of the process.

use std::io::{self, Write};

/// Ends the process now. What libraries have registered for its end does not run: libvirt's would take
/// things away from its own threads, one of which may still be waiting for an answer, and the process
/// would die of a signal instead of telling its exit code.
pub fn process(code: u8) -> ! {
    // Nobody is left to tell that it failed.
    let _ = io::stdout().flush();
    // SAFETY: _exit(2) takes no pointer, has no precondition and does not return.
    #[expect(unsafe_code, reason = "std and nix know only exit(3)")]
    unsafe {
        libc::_exit(code.into())
    }
}
