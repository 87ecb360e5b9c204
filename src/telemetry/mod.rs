//! Logs: the subscriber's set-up, the printing of error chains and of strangers' text, a limit on log
//! lines that strangers cause.
//!
//! Under systemd every event goes to the journal natively, so that levels become priorities and
//! fields stay fields; elsewhere it goes to standard error as text or JSON.

mod chain;
mod subscriber;
mod throttle;

pub use chain::{Chain, Clean};
pub use subscriber::{Format, Options, TelemetryError, init};
pub use throttle::Throttle;

/// The target of audit events: who did what, from where, and what came of it. They pass every level.
/// Their fields are `user`, `peer`, `operation`, `object`, `outcome`.
pub const AUDIT: &str = "audit";
