//! Logs: the subscriber's set-up, the printing of error chains, and audit records.
//!
//! Under systemd every event goes to the journal natively, so that levels become priorities and
//! fields stay fields; elsewhere it goes to standard error as text or JSON.

mod audit;
mod chain;
mod subscriber;

pub use audit::{Audit, Verdict};
pub use chain::{Chain, Clean};
pub use subscriber::{Format, Options, TelemetryError, init};
