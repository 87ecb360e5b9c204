//! Audit records: who did what, from where, and how it ended.

use std::fmt;

use super::Clean;

/// How an audited act ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It was done, or the answer is yes.
    Allowed,
    /// It was refused, or the answer is no.
    Denied,
    /// It was tried and failed.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        })
    }
}

/// One audit record. It is logged with target `audit` at level info and passes every level filter.
#[derive(Clone, Copy, Debug)]
pub struct Audit<'a> {
    /// The act: `login`, `check`, `migrate`, `abort`, `subscribe`…
    pub act: &'static str,
    /// Who: a principal's name.
    pub who: &'a str,
    /// From where: `address:port` or `unix:PID`.
    pub from: &'a str,
    /// What it was done to: a guest, a job, a subscription; with its details.
    pub what: &'a str,
    /// How it ended.
    pub verdict: Verdict,
}

impl Audit<'_> {
    /// The target of audit events.
    pub const TARGET: &'static str = "audit";

    /// Writes the record.
    pub fn record(self) {
        tracing::info!(
            target: Audit::TARGET,
            act = self.act,
            who = %Clean(self.who),
            from = %Clean(self.from),
            what = %Clean(self.what),
            verdict = %self.verdict,
            "audit"
        );
    }
}
