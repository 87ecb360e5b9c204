//! Why a job fails.

use serde::{Deserialize, Serialize};

/// Why a job fails.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Failure {
    /// The kind of reason, for programs.
    pub reason: Reason,
    /// The sentence for people.
    pub message: String,
}

/// The kinds of reasons for which a job fails.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Reason {
    /// The gate said no.
    Refused,
    /// The request can't be carried out on this guest.
    Unsuitable,
    /// There is no such guest.
    NotFound,
    /// A host refused, or failed.
    Host,
    /// The guest did not shut down in time.
    ShutdownTimeout,
    /// It took too long or stood still, and was to be given up then.
    TimedOut,
    /// The daemon stopped in between.
    Interrupted,
    /// The guest stopped on its own accord.
    GuestStopped,
    /// The guest's memory is on two hosts and can't be brought together.
    PostCopyBroken,
    /// Both hosts run the guest.
    RunsTwice,
    /// Neither host knows the guest.
    Vanished,
    /// Where the guest is was not found out.
    Unresolved,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
