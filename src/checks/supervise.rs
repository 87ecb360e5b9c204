//! Runs one check: the calling convention of DESIGN.md §1.1 and the verdicts of §1.3.

use std::{
    ffi::{CString, OsString},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    GateRequest, Identity, Outcome, SEARCH_PATH, Verdict, discover, parameters::ParameterFile, text,
};
use crate::{
    sys::{
        cgroup::Subtree,
        child::{
            Bounds, Ended, Image, Leftovers, Limits, Program, Spawner, StartError, Stop, User,
        },
    },
    telemetry::Chain,
};

/// One check that is about to run.
pub(super) struct Check {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) bounds: Bounds,
}

/// What all checks of a run have in common.
pub(super) struct Surroundings {
    pub(super) request: GateRequest,
    pub(super) parameters: Option<ParameterFile>,
    pub(super) user: Option<User>,
    pub(super) limits: Limits,
    pub(super) reason_bytes: usize,
    pub(super) spawner: Arc<Spawner>,
    pub(super) subtree: Option<Arc<Subtree>>,
    pub(super) stop: Stop,
}

impl Surroundings {
    /// Runs a check to its verdict. Blocks.
    pub(super) fn supervise(&self, check: &Check) -> Outcome {
        let name = text::display(&check.name);
        let span = tracing::info_span!("check", check = %name, domain = %self.request.guest);
        let _entered = span.enter();
        let began = Instant::now();
        let mut outcome = Outcome::not_run(&check.name, Verdict::Stopped);
        if self.stop.is_raised() {
            return outcome;
        }
        match self.run(check) {
            Ok(ended) => {
                outcome.verdict = Verdict::of(ended.end, check.bounds.timeout);
                outcome.said = self.said(&ended);
                outcome.leftovers = ended.leftovers;
                if outcome.verdict == Verdict::Passed {
                    outcome.said = None;
                    outcome.warnings = text::warnings(&ended.stdout.bytes, self.reason_bytes);
                    // A script is executed by its name: what ran may be another file (`sys/child`).
                    if let Err(refusal) = discover::same_check(&check.path, &check.identity) {
                        outcome.verdict = Verdict::Refused(refusal);
                    }
                }
                log(&outcome, &ended);
            }
            Err(verdict) => {
                tracing::warn!(?verdict, "check did not run");
                outcome.verdict = verdict;
            }
        }
        outcome.elapsed = began.elapsed();
        outcome
    }

    fn said(&self, ended: &Ended) -> Option<String> {
        text::first_line(&ended.stdout.bytes, &ended.stderr.bytes, self.reason_bytes)
    }

    fn run(&self, check: &Check) -> Result<Ended, Verdict> {
        let opened =
            discover::open_check(&check.path, &check.identity).map_err(Verdict::Refused)?;
        let path = c_string(check.path.as_os_str().as_bytes())?;
        let program = Program {
            image: if opened.script {
                Image::Path(path.clone())
            } else {
                Image::Descriptor(opened.fd)
            },
            arguments: self.arguments(path)?,
            environment: self.environment(check.bounds.timeout)?,
            user: self.user.clone(),
            limits: self.limits,
        };
        let subtree = self.subtree.as_deref();
        self.spawner
            .run(program, check.bounds, &self.stop, subtree)
            .map_err(|error| could_not(&error))
    }

    /// `PROGRAM GUEST-NAME SOURCE-URI [PARAMETER-FILE]`
    fn arguments(&self, program: CString) -> Result<Vec<CString>, Verdict> {
        let mut arguments = vec![
            program,
            c_string(self.request.guest.as_bytes())?,
            c_string(self.request.source_uri.as_bytes())?,
        ];
        if let Some(file) = &self.parameters {
            arguments.push(c_string(file.path().as_os_str().as_bytes())?);
        }
        Ok(arguments)
    }

    fn environment(&self, timeout: Duration) -> Result<Vec<CString>, Verdict> {
        let request = &self.request;
        // Whole seconds, for the shell's arithmetic; never 0, which many programs take for "no limit".
        let timeout = timeout.as_secs().max(1).to_string();
        let mut variables = vec![
            ("PATH", SEARCH_PATH),
            ("LANG", "C.UTF-8"),
            ("VIRTCIMD_GUEST", &request.guest),
            ("VIRTCIMD_GUEST_UUID", &request.guest_uuid),
            ("VIRTCIMD_SOURCE_URI", &request.source_uri),
            ("VIRTCIMD_DESTINATION_HOST", &request.destination_host),
            ("VIRTCIMD_DESTINATION_URI", &request.destination_uri),
            ("VIRTCIMD_MIGRATION_TYPE", request.migration_type),
            ("VIRTCIMD_TRANSPORT", request.transport),
            ("VIRTCIMD_PHASE", request.phase.as_str()),
            ("VIRTCIMD_TIMEOUT", &timeout),
        ];
        let parameters = self.parameters.as_ref().map(|file| file.path().to_string_lossy());
        if let Some(path) = &parameters {
            variables.push(("VIRTCIMD_PARAMETERS", path));
        }
        variables
            .iter()
            .map(|(name, value)| c_string(format!("{name}={value}").as_bytes()))
            .collect()
    }
}

fn c_string(bytes: &[u8]) -> Result<CString, Verdict> {
    CString::new(bytes).map_err(|_| Verdict::CouldNotRun("an argument holds a NUL byte".into()))
}

fn could_not(error: &StartError) -> Verdict {
    Verdict::CouldNotRun(Chain(error).to_string())
}

/// The reason goes to the client; the log gets everything.
fn log(outcome: &Outcome, ended: &Ended) {
    let Outcome { verdict, leftovers: Leftovers { killed, refused, lingering }, .. } = outcome;
    let stdout = String::from_utf8_lossy(&ended.stdout.bytes);
    let stderr = String::from_utf8_lossy(&ended.stderr.bytes);
    let truncated = ended.stdout.truncated || ended.stderr.truncated;
    if *verdict == Verdict::Passed {
        tracing::debug!(?stdout, ?stderr, truncated, "check passed");
    } else {
        tracing::info!(?verdict, ?stdout, ?stderr, truncated, "check did not pass");
    }
    if let Some(refused) = refused {
        let (pid, error) = (refused.pid.as_raw(), refused.errno.desc());
        tracing::error!(pid, error, "a process of the check can't be killed");
    }
    if *lingering {
        tracing::error!("a process of the check was killed but is not gone");
    }
    if *killed > 0 && matches!(verdict, Verdict::Passed | Verdict::Failed { .. }) {
        tracing::warn!(killed, "check left processes behind");
    }
}
