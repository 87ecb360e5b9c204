//! What the reaper tells the supervisor: messages of one size on a socket that keeps their borders.

use std::{
    ffi::c_int,
    fmt,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{self, MsgFlags},
    unistd::Pid,
};

/// The supervisor asks for SIGTERM to the group.
pub(super) const TERMINATE: u8 = b'T';
/// The supervisor asks for the end; so does closing the socket.
pub(super) const KILL: u8 = b'K';

/// A message from the reaper, or from the child before it executes its program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Report {
    /// The program was not executed.
    NotStarted { step: Step, errno: Errno },
    /// The child could not be put into its control group and goes on without.
    OutsideCgroup { errno: Errno },
    /// The child ended, with this raw wait status.
    Exited { status: c_int },
    /// All descendants are gone, or all that can be made to go.
    Swept { killed: u32, refused: Option<Refused> },
}

/// A descendant that could not be killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Its process id, 0 if descendants could not even be listed.
    pub pid: Pid,
    /// Why.
    pub errno: Errno,
}

/// The steps between the fork of the reaper and the program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "Display says it")]
#[repr(i32)]
pub enum Step {
    Fork,
    Reaper,
    Watch,
    Session,
    Directory,
    Descriptors,
    User,
    Parent,
    Limits,
    Execute,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Fork,
        Self::Reaper,
        Self::Watch,
        Self::Session,
        Self::Directory,
        Self::Descriptors,
        Self::User,
        Self::Parent,
        Self::Limits,
        Self::Execute,
    ];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "forking",
            Self::Reaper => "setting up its reaper",
            Self::Watch => "watching it",
            Self::Session => "giving it a session of its own",
            Self::Directory => "changing to the root directory",
            Self::Descriptors => "setting up its descriptors",
            Self::User => "changing to its user",
            Self::Parent => "tying it to its supervisor",
            Self::Limits => "setting its limits",
            Self::Execute => "executing it",
        })
    }
}

/// The size of every message.
pub(super) const SIZE: usize = 16;

impl Report {
    /// Tells the supervisor; if that is no more, nobody.
    pub(super) fn send(self, control: &OwnedFd) {
        socket::send(control.as_raw_fd(), &self.encode(), MsgFlags::MSG_NOSIGNAL).ok();
    }

    pub(super) fn encode(self) -> [u8; SIZE] {
        let words = match self {
            Self::NotStarted { step, errno } => [1, step as i32, errno as i32, 0],
            Self::OutsideCgroup { errno } => [2, errno as i32, 0, 0],
            Self::Exited { status } => [3, status, 0, 0],
            Self::Swept { killed, refused } => {
                let (pid, errno) = refused.map_or((0, 0), |r| (r.pid.as_raw(), r.errno as i32));
                [4, killed.cast_signed(), pid, errno]
            }
        };
        let mut message = [0; SIZE];
        for (bytes, word) in message.chunks_exact_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        message
    }

    pub(super) fn decode(message: [u8; SIZE]) -> Option<Self> {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(message.chunks_exact(4)) {
            *word = i32::from_ne_bytes(bytes.try_into().ok()?);
        }
        Some(match words {
            [1, step, errno, _] => Self::NotStarted {
                step: Step::ALL.into_iter().find(|known| *known as i32 == step)?,
                errno: Errno::from_raw(errno),
            },
            [2, errno, _, _] => Self::OutsideCgroup { errno: Errno::from_raw(errno) },
            [3, status, _, _] => Self::Exited { status },
            [4, killed, pid, errno] => Self::Swept {
                killed: killed.cast_unsigned(),
                refused: (errno != 0)
                    .then(|| Refused { pid: Pid::from_raw(pid), errno: Errno::from_raw(errno) }),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_socket() {
        let refused = Refused { pid: Pid::from_raw(77), errno: Errno::EPERM };
        let mut reports = vec![
            Report::OutsideCgroup { errno: Errno::EACCES },
            Report::Exited { status: 0x7f00 },
            Report::Swept { killed: 3, refused: None },
            Report::Swept { killed: 0, refused: Some(refused) },
        ];
        reports.extend(Step::ALL.map(|step| Report::NotStarted { step, errno: Errno::ENOEXEC }));
        for report in reports {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
    }

    #[test]
    fn nonsense_is_no_message() {
        assert_eq!(Report::decode([0xff; SIZE]), None);
        let mut unknown_step = Report::NotStarted { step: Step::Fork, errno: Errno::EIO }.encode();
        unknown_step[4] = 0xee;
        assert_eq!(Report::decode(unknown_step), None);
    }
}
