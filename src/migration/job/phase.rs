//! Where a job stands.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Phase {
    /// Waits for its turn.
    Queued,
    /// The gate runs.
    Checking,
    /// Both hosts are asked what there is; nothing is changed yet.
    Preparing,
    /// The guest is being defined at the destination.
    Defining,
    /// The guest was asked to shut down.
    ShuttingDown,
    /// The guest is being started at the destination.
    Starting,
    /// libvirt moves the guest.
    Copying,
    /// The guest stands still for the last pages, or runs at the destination already (post-copy).
    Switching,
    /// Both hosts are asked where the guest is.
    Confirming,
    /// What is left over is put in order.
    CleaningUp,
    /// The guest is at the destination.
    Done,
    /// The guest is where it was, or [`Failure`] says what is known.
    Failed,
    /// The guest is where it was, as was asked.
    Cancelled,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 13] = [
        Self::Queued,
        Self::Checking,
        Self::Preparing,
        Self::Defining,
        Self::ShuttingDown,
        Self::Starting,
        Self::Copying,
        Self::Switching,
        Self::Confirming,
        Self::CleaningUp,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The job has ended.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// A host may have been changed and both must be looked at before the job ends.
    pub fn touches_hosts(self) -> bool {
        match self {
            Self::Defining
            | Self::ShuttingDown
            | Self::Starting
            | Self::Copying
            | Self::Switching
            | Self::Confirming
            | Self::CleaningUp => true,
            Self::Queued
            | Self::Checking
            | Self::Preparing
            | Self::Done
            | Self::Failed
            | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Checking => "checking",
            Self::Preparing => "preparing",
            Self::Defining => "defining the guest at the destination",
            Self::ShuttingDown => "shutting the guest down",
            Self::Starting => "starting the guest at the destination",
            Self::Copying => "copying",
            Self::Switching => "switching",
            Self::Confirming => "confirming",
            Self::CleaningUp => "cleaning up",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}
