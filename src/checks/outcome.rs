//! What became of a check, and the findings that are made of it.
//!
//! | code | severity | what happened |
//! |---|---|---|
//! | `VMX001` | error | the check ended with a status that says no (1–125, 128–255) |
//! | `VMX002` | error | the check could not run: status 126 or 127, or it could not be started |
//! | `VMX003` | error | the check was killed by a signal |
//! | `VMX004` | error | the check had not ended at its deadline |
//! | `VMX005` | error | the check is not safe to run, or can't be examined |
//! | `VMX006` | error | a check directory is missing, can't be read or does not answer |
//! | `VMX007` | error | a check directory is not safe |
//! | `VMX008` | error | the check was changed or replaced while it was found and run |
//! | `VMX009` | error | the process that watched the check was killed, so nobody knows its end |
//! | `VMX010` | error | the checks could not be given their parameters |
//! | `VMX011` | warning | a process of the check could not be killed |
//! | `VMX012` | warning | the check left processes behind; they were killed |
//! | `VMX013` | warning | the check passed and warns: a line of its output begins with `warning:` |
//! | `VMX014` | error | the built-in checks broke off |
//!
//! The codes are documented for users in virtcimd-checks(7).

use std::{ffi::OsStr, time::Duration};

use super::{
    Finding, Refusal, Severity, Source, Trouble, TroubleKind,
    text::{self, seconds},
};
use crate::sys::child::{End, Leftovers};

/// What became of one check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// The name of its file, fit for display.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What it said: the first line of its output that says something.
    pub said: Option<String>,
    /// Warnings it gave although it passed.
    pub warnings: Vec<String>,
    /// What it left behind.
    pub leftovers: Leftovers,
    /// How long it took, if it ran.
    pub elapsed: Duration,
}

/// How a check ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Status 0: the guest may move.
    Passed,
    /// Another status: it may not.
    Failed {
        /// The status.
        status: i32,
    },
    /// It never came to a verdict of its own.
    CouldNotRun(String),
    /// Something killed it.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It did not end in time.
    TimedOut {
        /// The time it had.
        timeout: Duration,
    },
    /// It was not run.
    Refused(Refusal),
    /// The process that watched it was killed.
    Unwatched,
    /// The caller gave up.
    Stopped,
}

impl Verdict {
    /// The verdict of a child's end.
    pub(super) fn of(end: End, timeout: Duration) -> Self {
        match end {
            End::Exited(0) => Self::Passed,
            End::Exited(126) => Self::CouldNotRun("exit status 126 (can't execute)".into()),
            End::Exited(127) => Self::CouldNotRun("exit status 127 (command not found)".into()),
            End::Exited(status) => Self::Failed { status },
            End::Signalled(signal) => Self::Signalled { signal },
            End::TimedOut => Self::TimedOut { timeout },
            End::NotStarted { step, errno } => {
                Self::CouldNotRun(format!("{step} failed: {}", errno.desc()))
            }
            End::Unwatched => Self::Unwatched,
            End::Stopped => Self::Stopped,
        }
    }

    /// The verdict in a few words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::CouldNotRun(_) => "could not run",
            Self::Signalled { .. } => "killed",
            Self::TimedOut { .. } => "timed out",
            Self::Refused(_) => "refused",
            Self::Unwatched => "lost",
            Self::Stopped => "cancelled",
        }
    }

    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Passed | Self::Stopped => return None,
            Self::Failed { .. } => "VMX001",
            Self::CouldNotRun(_) => "VMX002",
            Self::Signalled { .. } => "VMX003",
            Self::TimedOut { .. } => "VMX004",
            Self::Refused(Refusal::Changed) => "VMX008",
            Self::Refused(_) => "VMX005",
            Self::Unwatched => "VMX009",
        })
    }
}

impl Outcome {
    /// Of a check that did not run.
    pub(super) fn not_run(name: &OsStr, verdict: Verdict) -> Self {
        Self {
            name: text::display(name),
            verdict,
            said: None,
            warnings: Vec::new(),
            leftovers: Leftovers::default(),
            elapsed: Duration::ZERO,
        }
    }

    /// Why the check did not pass; `None` if it did.
    pub fn reason(&self) -> Option<String> {
        let what = match &self.verdict {
            Verdict::Passed => return None,
            // The check's own words are the reason, if it has any.
            Verdict::Failed { status } => {
                return Some(self.said.clone().unwrap_or_else(|| format!("exit status {status}")));
            }
            Verdict::CouldNotRun(why) => why.clone(),
            Verdict::Signalled { signal } => format!("killed by {}", text::signal(*signal)),
            Verdict::TimedOut { timeout } => format!("no answer within {}", seconds(*timeout)),
            Verdict::Refused(refusal) => refusal.to_string(),
            Verdict::Unwatched => "the process that watched it was killed".into(),
            Verdict::Stopped => "cancelled".into(),
        };
        Some(match &self.said {
            Some(said) => format!("{what}; it said: {said}"),
            None => what,
        })
    }

    /// The findings: the verdict's first.
    pub fn findings(&self) -> Vec<Finding> {
        let verdict = self.verdict.code().zip(self.reason()).map(|(code, reason)| {
            let message = format!("Migration check `{}' failed: {reason}", self.name);
            self.finding(code, Severity::Error, message, vec![reason], self.remedies())
        });
        let mut findings: Vec<_> = verdict.into_iter().collect();
        findings.extend(self.warnings.iter().map(|warning| {
            let message = format!("Migration check `{}' warns: {warning}", self.name);
            self.finding("VMX013", Severity::Warning, message, vec![warning.clone()], Vec::new())
        }));
        if let Some(what) = self.unkillable() {
            let message = format!("Migration check `{}' can't be ended: {what}", self.name);
            let remedies = vec![
                "End the process by hand; it is logged.".into(),
                "Do not let checks change their user (sudo, setuid), or run them in a control group: \
                 Delegate=yes in the daemon's unit."
                    .into(),
            ];
            findings.push(self.finding("VMX011", Severity::Warning, message, vec![what], remedies));
        }
        let killed = self.leftovers.killed;
        // After a deadline that is no wonder.
        if killed > 0 && matches!(self.verdict, Verdict::Passed | Verdict::Failed { .. }) {
            let message = format!(
                "Migration check `{}' left {killed} {} behind, which had to be killed",
                self.name,
                if killed == 1 { "process" } else { "processes" },
            );
            let remedies = vec!["Have the check wait for what it starts in the background.".into()];
            let arguments = vec![killed.to_string()];
            findings.push(self.finding("VMX012", Severity::Warning, message, arguments, remedies));
        }
        findings
    }

    fn unkillable(&self) -> Option<String> {
        if let Some(refused) = self.leftovers.refused {
            let errno = refused.errno.desc();
            return Some(match refused.pid.as_raw() {
                0 => format!("its processes can't be listed: {errno}"),
                pid => format!("process {pid} can't be killed: {errno}"),
            });
        }
        self.leftovers.lingering.then(|| "it was killed but is not gone".into())
    }

    fn finding(
        &self,
        code: &'static str,
        severity: Severity,
        message: String,
        mut arguments: Vec<String>,
        remedies: Vec<String>,
    ) -> Finding {
        arguments.insert(0, self.name.clone());
        Finding {
            code: code.into(),
            severity,
            source: Source::Program(self.name.clone()),
            subject: format!("check {}", self.name),
            message,
            arguments,
            remedies,
        }
    }

    /// What the administrator can do.
    fn remedies(&self) -> Vec<String> {
        let name = &self.name;
        let remedy = match &self.verdict {
            Verdict::Passed | Verdict::Stopped => return Vec::new(),
            Verdict::Failed { .. } => {
                format!("Do what the check `{name}' asks for, then check again.")
            }
            Verdict::CouldNotRun(_) => {
                "See that the file begins with `#!' and an interpreter that exists, or is a program \
                 for this machine, and that the programs it calls are in the PATH of \
                 virtcimd-checks(7)."
                    .into()
            }
            Verdict::Signalled { .. } => {
                "Look for a crash, the kernel's out-of-memory killer, or a resource limit of \
                 [checks] that is too low."
                    .into()
            }
            Verdict::TimedOut { .. } => {
                format!("Make the check faster, or give it time: [checks] timeouts.\"{name}\".")
            }
            Verdict::Refused(Refusal::Changed) => "Check again.".into(),
            Verdict::Refused(_) => {
                "Have root own the check, its interpreter and every directory on the way, and nobody \
                 else able to write there (chown root, chmod go-w); `virtcimd checks list' shows \
                 all."
                    .into()
            }
            Verdict::Unwatched => {
                "Run the checks as a user of their own (checks.user): a check must not be able to \
                 kill processes of the daemon."
                    .into()
            }
        };
        vec![remedy]
    }
}

impl Trouble {
    /// The finding about the directory.
    pub(super) fn finding(&self) -> Finding {
        let directory = text::display(self.directory.as_os_str());
        let (code, remedy) = match &self.kind {
            TroubleKind::Missing => (
                "VMX006",
                format!(
                    "Make `{directory}', or set checks.when-directory-missing to \"pass\" if there \
                     shall be no checks."
                ),
            ),
            TroubleKind::Unreadable(_) => {
                ("VMX006", format!("See that the daemon can read `{directory}'."))
            }
            TroubleKind::Unsafe(_) => (
                "VMX007",
                "Have root own every directory on the way, and nobody else able to write there \
                 (chown root, chmod go-w)."
                    .into(),
            ),
        };
        unable(code, &directory, &self.kind.to_string(), remedy)
    }
}

/// The finding that no check could be run.
pub(super) fn unable(code: &'static str, directory: &str, why: &str, remedy: String) -> Finding {
    Finding {
        code: code.into(),
        severity: Severity::Error,
        source: Source::Directory(directory.to_owned()),
        subject: format!("directory {directory}"),
        message: format!("Unable to execute migration checks: `{directory}': {why}"),
        arguments: vec![directory.to_owned(), why.to_owned()],
        remedies: vec![remedy],
    }
}

/// The finding that the built-in checks panicked.
pub(super) fn builtin_broke_off() -> Finding {
    Finding {
        code: "VMX014".into(),
        severity: Severity::Error,
        source: Source::Builtin,
        subject: String::new(),
        message: "Unable to execute migration checks: the built-in checks broke off".into(),
        arguments: Vec::new(),
        remedies: vec!["This is a defect of the daemon; the log has the details.".into()],
    }
}
