//! The gate: what decides whether a guest may move.
//!
//! `discover.rs` finds the administrator's check programs, `supervise.rs` runs one of them and tells
//! how it ended, `builtin/` holds our own checks. [`Gate`] puts them together into one [`Report`].
//!
//! What is deliberately absent: CIM. A finding is plain data; `providers/` turns it into CIM_Error.

pub mod builtin;
mod discover;
mod finding;
mod gate;
mod outcome;
mod parameters;
mod shebang;
mod supervise;
mod text;
mod trust;

pub use discover::{
    Directories, Discovery, Entry, Fate, Identity, Ignored, Origin, Refusal, Trouble, TroubleKind,
    discover,
};
pub use finding::{Finding, Report, Severity, Source, can_be_overridden};
pub use gate::{Containment, Examination, Gate, Options, SetupError, WhenMissing};
pub use outcome::{Outcome, Verdict};
pub use parameters::ParameterLimits;
pub use trust::Distrust;

/// The `PATH` of every check. Only directories that the system's packages own.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a check is told; the text form of each field is the contract of DESIGN.md §1.1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GateRequest {
    /// The guest's name.
    pub guest: String,
    /// The guest's UUID.
    pub guest_uuid: String,
    /// The source connection's URI.
    pub source_uri: String,
    /// The destination as the client named it, validated.
    pub destination_host: String,
    /// The destination's connection URI, built by us.
    pub destination_uri: String,
    /// `offline`, `live`, `resume` or `restart`.
    pub migration_type: &'static str,
    /// `ssh`, `tls`, `tls-strict`, `tcp` or `unix`.
    pub transport: &'static str,
    /// Why the gate runs.
    pub phase: Phase,
    /// CheckParameters; `None` where the setting data has none (NULL).
    pub parameters: Option<Vec<Option<String>>>,
}

/// Why the gate runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// A client asks.
    Check,
    /// A migration is about to begin.
    Migrate,
}

impl Phase {
    /// The value of `VIRTCIMD_PHASE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Migrate => "migrate",
        }
    }
}

/// Why the gate gave no report.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A check parameter is refused; nothing ran.
    #[error("CheckParameters{}: {reason}", index.map(|i| format!("[{i}]")).unwrap_or_default())]
    Parameter {
        /// The offending entry; `None` if the list as a whole is.
        index: Option<usize>,
        /// What is wrong, what was received and what is allowed.
        reason: String,
    },
    /// Too many checks wait already.
    #[error("too many checks are waiting: the limit is {limit}")]
    Busy {
        /// `limits.queued-checks`.
        limit: usize,
    },
    /// The process has no descriptors left.
    #[error("the checks can't be run")]
    Setup(#[source] std::io::Error),
    /// The caller gave up; every group was killed.
    #[error("the check run was cancelled")]
    Cancelled,
}
