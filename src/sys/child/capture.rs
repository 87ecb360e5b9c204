//! What a child writes, read as it comes and kept up to a limit.

use std::{
    io::{self, PipeReader, Read},
    os::fd::{AsFd, BorrowedFd},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Reads before the other things to watch get their turn; more than a pipe holds.
const READS: usize = 32;

/// What a child wrote to one of its outputs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captured {
    /// The beginning, as far as the limit allows.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub truncated: bool,
}

/// The reading end of an output.
pub(super) struct Capture {
    pipe: Option<PipeReader>,
    captured: Captured,
    limit: usize,
}

impl Capture {
    pub(super) fn new(pipe: PipeReader, limit: usize) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe: Some(pipe), captured: Captured::default(), limit })
    }

    /// The descriptor to wait for; `None` when there is nothing more to come.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there, without waiting, and not for ever if the writer is faster.
    pub(super) fn pump(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut buffer = [0; 8192];
        for _ in 0..READS {
            match pipe.read(&mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    return;
                }
                Ok(length) => {
                    let room = self.limit - self.captured.bytes.len();
                    let kept = &buffer[..length.min(room)];
                    self.captured.bytes.extend_from_slice(kept);
                    self.captured.truncated |= kept.len() < length;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.pipe = None;
                    return;
                }
            }
        }
    }

    /// Takes what is still in the pipe and closes it, whoever holds the other end.
    pub(super) fn finish(mut self) -> Captured {
        self.pump();
        self.captured
    }
}
