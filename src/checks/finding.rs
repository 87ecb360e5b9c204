//! Findings: what the gate saw, one by one.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::builtin;

/// The codes of what check programs decide. That one can't be run, or may not, is not theirs to decide.
const PROGRAM_VERDICTS: [&str; 4] = ["VMX001", "VMX002", "VMX003", "VMX004"];

/// Whether an administrator may let a guest go in spite of findings of that code.
pub fn can_be_overridden(code: &str) -> bool {
    match builtin::find(code) {
        Some(check) => !check.mandatory,
        None => PROGRAM_VERDICTS.contains(&code),
    }
}

/// One thing the gate found.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// Stable code: `VMC001`… for built-in checks, `VMX001`… for what happens to check programs.
    pub code: Cow<'static, str>,
    /// Whether it stops the migration.
    pub severity: Severity,
    /// Who found it.
    pub source: Source,
    /// What it is about, e.g. `disk vda`; empty if the guest as a whole.
    pub subject: String,
    /// The sentence a client sees.
    pub message: String,
    /// The varying parts of the message, in order: names, values seen, values needed.
    pub arguments: Vec<String>,
    /// What the administrator can do, a sentence each.
    pub remedies: Vec<String>,
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The guest may move, but.
    Warning,
    /// The guest may not move.
    Error,
}

/// Who made a finding.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Source {
    /// A built-in check.
    Builtin,
    /// A check program, by its file name.
    Program(String),
    /// The check directory as a whole.
    Directory(String),
}

/// All findings of one run: built-in checks first, then programs in byte order of their names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// The findings in order.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether the guest may move: nothing found is an error.
    pub fn passed(&self) -> bool {
        self.headline().is_none()
    }

    /// The first error in order, as a sequential run would have reported it.
    pub fn headline(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.severity == Severity::Error)
    }
}
