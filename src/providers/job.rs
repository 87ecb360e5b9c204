//! MigrationJob: a migration as a client follows it (DESIGN.md §2).
//!
//! The states are libvirt-cim's: whoever has been told of a job sees it *Running* until it ends, also
//! while it waits for its turn; and it ends *Completed*, well or not, unless
//! `migration.failed-job-state` says otherwise. Beyond that it has what CIM_ConcreteJob has, and what
//! the transfer is like.

use std::time::Duration;

use super::{Facts, Host, Migrations, Prefix, finding};
use crate::{
    checks::Severity,
    cim::{CimName, DateTime, Instance, InstancePath, Property, Scalar, Value},
    migration::{
        Amendment, CommandError, JobView, Removal,
        job::{Doubt, Failure, Phase, Reason, Refusal},
    },
    ops::{
        InstanceProvider, MethodCall, MethodResult, MethodSpec, Outcome, ProviderError, Role, Sink,
    },
};

pub(super) const INSTANCE_ID: CimName = CimName::literal("InstanceID");
const DELETE_ON_COMPLETION: CimName = CimName::literal("DeleteOnCompletion");
const PRIORITY: CimName = CimName::literal("Priority");
const TIME_BEFORE_REMOVAL: CimName = CimName::literal("TimeBeforeRemoval");

/// The JobState of a job that failed (`migration.failed-job-state`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailedJobState {
    /// 7, as libvirt-cim has it.
    #[default]
    Completed,
    /// 10.
    Exception,
}

/// The class of the jobs of a hypervisor. There is none for LXC, whose libvirt driver can't migrate.
pub(super) fn job_class(prefix: Prefix) -> Option<CimName> {
    match prefix {
        Prefix::Kvm => Some(CimName::literal("KVM_MigrationJob")),
        Prefix::Xen => Some(CimName::literal("Xen_MigrationJob")),
        Prefix::Lxc => None,
    }
}

/// The path of a job.
pub(super) fn job_path(class: CimName, id: &str) -> InstancePath {
    InstancePath::new(class, [(INSTANCE_ID, id)])
}

/// The job.
pub(super) fn migration_job(class: CimName, job: &JobView, failed: FailedJobState) -> Instance {
    facts(class, job, failed)
        .set("Name", "Migration")
        .set("DeleteOnCompletion", job.removal.automatic)
        .set_some("TimeBeforeRemoval", DateTime::interval(job.removal.after))
        .done()
}

/// What is told of a job as long as it is remembered.
pub(super) fn facts(class: CimName, job: &JobView, failed: FailedJobState) -> Facts {
    let (request, report) = (&job.request, &job.report);
    let status = Status::of(job, failed);
    let time = |micros| DateTime::timestamp(micros, 0);
    let failure = job.failure.as_ref().filter(|_| job.phase == Phase::Failed);
    let how = request.settings.migration_type.as_str();
    Facts::of(class)
        .set("InstanceID", job.id.as_str())
        .set("ElementName", format!("Migration of {}", request.guest))
        .set("Caption", "Migration")
        .set("Description", format!("{} to {}, {how}", request.guest, request.target.name))
        .set("VirtualSystemName", request.guest.as_str())
        .set("DestinationHost", request.target.name.as_str())
        .set("Owner", request.owner.as_str())
        .set("Priority", u32::from(request.settings.priority))
        .set("JobState", status.job_state)
        .set("JobStatus", job_status(job))
        .set("Status", status.text)
        .set("OperationalStatus", status.operational)
        .set("PercentComplete", status.percent)
        .set("ErrorCode", failure.map_or(0, error_code))
        .set_some("ErrorDescription", failure.map(|failure| failure.message.as_str()))
        .set("MigrationPhase", phase_number(job.phase))
        .set_some("TimeSubmitted", time(job.submitted))
        // As in libvirt-cim a job has this from its beginning.
        .set_some("StartTime", time(job.started.unwrap_or(job.submitted)))
        .set_some("ElapsedTime", DateTime::interval(job.elapsed()))
        .set_some("TimeOfLastStateChange", time(job.changed))
        .set_some("DataTotal", report.total)
        .set_some("DataProcessed", report.processed)
        .set_some("DataRemaining", report.remaining)
        .set_some("TransferRate", report.rate)
        .set_some("DirtyRate", report.dirty_rate)
        .set_some("Iteration", report.iteration.map(|n| u32::try_from(n).unwrap_or(u32::MAX)))
        .set_some("Downtime", report.downtime)
        .set_some("EstimatedTimeLeft", time_left(job))
}

fn time_left(job: &JobView) -> Option<DateTime> {
    let seconds = job.report.eta.filter(|_| !job.is_over())?;
    DateTime::interval(Duration::from_secs(seconds))
}

/// Where a job stands, in the terms of CIM_ConcreteJob.
struct Status {
    job_state: u16,
    text: String,
    operational: Vec<u16>,
    percent: u16,
}

impl Status {
    fn of(job: &JobView, failed: FailedJobState) -> Self {
        // OperationalStatus: 2 OK, 3 Degraded, 6 Error, 10 Stopped, 17 Completed.
        let at_work = u16::from(job.report.percent);
        let status = |job_state, text: &str, operational: &[u16], percent| Self {
            job_state,
            text: text.to_owned(),
            operational: operational.to_vec(),
            percent,
        };
        match job.phase {
            // Something could not be put in order: JobStatus says what.
            Phase::Done if job.note.is_some() => status(7, "Completed", &[17, 3], 100),
            Phase::Done => status(7, "Completed", &[17, 2], 100),
            Phase::Cancelled => status(8, "Terminated", &[17, 10], at_work.min(99)),
            Phase::Failed => {
                let (job_state, percent) = match failed {
                    FailedJobState::Completed => (7, 100),
                    FailedJobState::Exception => (10, at_work.min(99)),
                };
                let text = job.failure.as_ref().map_or("Failed", |failure| &failure.message);
                status(job_state, text, &[17, 6], percent)
            }
            _ if job.abort_wanted => status(6, "Stopping", &[2], at_work.min(99)),
            _ if is_troubled(job) => status(4, "Running", &[3], at_work.min(99)),
            _ => status(4, "Running", &[2], at_work.min(99)),
        }
    }
}

fn is_troubled(job: &JobView) -> bool {
    job.doubt.is_some() || job.unstored.is_some()
}

/// What the job is doing, what it waits for, what is in its way.
fn job_status(job: &JobView) -> String {
    let phase = job.phase.to_string();
    let mut text = phase[..1].to_ascii_uppercase() + &phase[1..];
    let mut add = |more: &str| {
        text.push_str(": ");
        text.push_str(more);
    };
    match (&job.waiting, job.phase) {
        (Some(wait), _) => add(&wait.to_string()),
        (None, Phase::Queued) => add("its turn comes"),
        (None, _) => {}
    }
    if job.abort_wanted && !job.is_over() {
        add("asked to stop");
    }
    if let Some(doubt) = job.doubt {
        add(&doubt.to_string());
        if doubt == Doubt::PostCopyBroken {
            add(&how_to_recover(job));
        }
    }
    if let Some(note) = job.note.as_deref().filter(|_| job.is_over()) {
        add(note);
    }
    if let Some(unstored) = &job.unstored {
        add(unstored);
    }
    text
}

/// What people can do if we can't bring both halves together, and why we could not.
fn how_to_recover(job: &JobView) -> String {
    let (guest, uri, settings) =
        (&job.request.guest, &job.request.target.uri, &job.request.settings);
    let keep = if settings.persist == Some(false) { "" } else { " --persistent" };
    let undefine = if settings.undefine { " --undefinesource" } else { "" };
    let last =
        job.failure.as_ref().map(|failure| format!("; the last attempt: {}", failure.message));
    format!(
        "it is taken up again once both hosts can be reached, or by hand at the source: virsh \
         domjobabort {guest} --postcopy; virsh migrate {guest} {uri} --live --p2p --postcopy \
         --postcopy-resume{keep}{undefine}{}",
        last.unwrap_or_default()
    )
}

/// MigrationPhase. A restart's own phases are told by JobStatus.
fn phase_number(phase: Phase) -> u16 {
    match phase {
        Phase::Queued => 1,
        Phase::Checking => 2,
        Phase::Preparing | Phase::Defining => 3,
        Phase::Copying => 4,
        Phase::Switching | Phase::ShuttingDown | Phase::Starting => 5,
        Phase::Confirming => 6,
        Phase::CleaningUp => 7,
        Phase::Done => 8,
        Phase::Failed => 9,
        Phase::Cancelled => 10,
    }
}

/// ErrorCode: a CIM status code.
fn error_code(failure: &Failure) -> u16 {
    match failure.reason {
        // CIM_ERR_INVALID_PARAMETER, as in libvirt-cim for a type that does not fit the guest's state.
        Reason::Unsuitable => 4,
        // CIM_ERR_NOT_FOUND.
        Reason::NotFound => 6,
        // CIM_ERR_FAILED.
        Reason::Refused
        | Reason::Host
        | Reason::ShutdownTimeout
        | Reason::TimedOut
        | Reason::Interrupted
        | Reason::GuestStopped
        | Reason::PostCopyBroken
        | Reason::RunsTwice
        | Reason::Vanished
        | Reason::Unresolved => 1,
    }
}

/// MessageID of the error that ended a job.
fn message_id(reason: Reason) -> &'static str {
    match reason {
        Reason::Refused => "VMJ001",
        Reason::Unsuitable => "VMJ002",
        Reason::NotFound => "VMJ003",
        Reason::Host => "VMJ004",
        Reason::ShutdownTimeout => "VMJ005",
        Reason::TimedOut => "VMJ006",
        Reason::Interrupted => "VMJ007",
        Reason::GuestStopped => "VMJ008",
        Reason::PostCopyBroken => "VMJ009",
        Reason::RunsTwice => "VMJ010",
        Reason::Vanished => "VMJ011",
        Reason::Unresolved => "VMJ012",
    }
}

/// What ended the job, if it failed.
fn failure_error(job: &JobView) -> Option<Instance> {
    let failure = job.failure.as_ref().filter(|_| job.phase == Phase::Failed)?;
    // A refusal is told by the finding that refused.
    let refused = job.findings.iter().find(|finding| {
        failure.reason == Reason::Refused
            && finding.severity == Severity::Error
            && finding.message == failure.message
    });
    let mut error = refused.map_or_else(|| own_error(job, failure), finding::error);
    error.set(CimName::literal("CIMStatusCode"), u32::from(error_code(failure)));
    Some(error)
}

fn own_error(job: &JobView, failure: &Failure) -> Instance {
    // PerceivedSeverity 5: Major; ErrorSourceFormat 1: Other.
    Facts::of(CimName::literal("CIM_Error"))
        .set("OwningEntity", "virtcimd")
        .set("MessageID", message_id(failure.reason))
        .set("Message", failure.message.as_str())
        .set("PerceivedSeverity", 5_u16)
        .set("ErrorSource", job.id.as_str())
        .set("ErrorSourceFormat", 1_u16)
        .set("OtherErrorSourceFormat", "migration job")
        .done()
}

/// What ended the job, and everything else that the gate found.
fn errors(job: &JobView) -> Vec<Instance> {
    let first = failure_error(job);
    let told = first.as_ref().and_then(|error| error.value(&CimName::literal("Message"))).cloned();
    let others = job
        .findings
        .iter()
        .filter(|finding| told.as_ref().and_then(Value::as_str) != Some(finding.message.as_str()));
    let others: Vec<Instance> = others.map(finding::error).collect();
    first.into_iter().chain(others).collect()
}

const METHODS: &[MethodSpec] = &[
    MethodSpec { name: "RequestStateChange", role: Role::Operator, required: &["RequestedState"] },
    MethodSpec { name: "KillJob", role: Role::Operator, required: &[] },
    MethodSpec { name: "GetError", role: Role::Viewer, required: &[] },
    MethodSpec { name: "GetErrors", role: Role::Viewer, required: &[] },
];

/// Return values of RequestStateChange.
mod state_change {
    pub(super) const DONE: u32 = 0;
    pub(super) const NOT_SUPPORTED: u32 = 1;
    pub(super) const INVALID_PARAMETER: u32 = 5;
    pub(super) const STARTED: u32 = 4096;
    pub(super) const INVALID_TRANSITION: u32 = 4097;
    pub(super) const NO_TIMEOUT: u32 = 4098;
    pub(super) const BUSY: u32 = 4099;
}

/// Return values of KillJob.
mod kill_job {
    pub(super) const SUCCESS: u32 = 0;
    pub(super) const FAILED: u32 = 4;
}

/// Serves the jobs of a hypervisor.
pub(super) struct MigrationJob {
    host: Host,
    migrations: Migrations,
    class: CimName,
}

impl MigrationJob {
    pub(super) fn new(host: &Host, migrations: &Migrations, class: CimName) -> Self {
        Self { host: host.clone(), migrations: migrations.clone(), class }
    }

    fn instance(&self, job: &JobView) -> Instance {
        migration_job(self.class.clone(), job, self.migrations.terms().failed_job_state)
    }

    fn id(path: &InstancePath) -> Result<&str, ProviderError> {
        path.string_key(&INSTANCE_ID).ok_or_else(|| ProviderError::no_instance_with(&INSTANCE_ID))
    }

    fn job(&self, path: &InstancePath) -> Result<std::sync::Arc<JobView>, ProviderError> {
        let job = self.host.job(Self::id(path)?);
        job.ok_or_else(|| ProviderError::no_instance_with(&INSTANCE_ID))
    }

    async fn change(
        &self,
        path: &InstancePath,
        changes: Vec<Property>,
    ) -> Result<(), ProviderError> {
        let job = self.job(path)?;
        let now = self.instance(&job);
        let mut amendment = job.amendable();
        for change in changes {
            if now.value(&change.name) == change.value.as_ref() {
                continue;
            }
            if change.name == DELETE_ON_COMPLETION {
                let automatic = change.value.as_ref().and_then(Value::as_bool);
                amendment.removal.automatic =
                    automatic.ok_or_else(|| no_value(&change.name, "true or false"))?;
            } else if change.name == TIME_BEFORE_REMOVAL {
                amendment.removal.after = change
                    .value
                    .as_ref()
                    .and_then(interval)
                    .ok_or_else(|| no_value(&change.name, "an interval"))?;
            } else if change.name == PRIORITY {
                if job.is_over() {
                    let text = "the job is over: its Priority means nothing any more".to_owned();
                    return Err(ProviderError::Failed(text));
                }
                let number = change.value.as_ref().and_then(Value::as_integer);
                let number = number.and_then(|number| u16::try_from(number).ok());
                amendment.priority =
                    number.ok_or_else(|| no_value(&change.name, "a number from 0 to 65535"))?;
            } else {
                let text = format!("property {} of a job can't be changed", change.name);
                return Err(ProviderError::NotSupported(text));
            }
        }
        if amendment != job.amendable() {
            self.host.migrations.amend(&job.id, amendment).await?;
        }
        Ok(())
    }

    async fn request_state_change(
        &self,
        call: &MethodCall,
        id: &str,
    ) -> Result<u32, ProviderError> {
        let patience = call.arguments.value("TimeoutPeriod").and_then(interval);
        if patience.is_some_and(|patience| !patience.is_zero()) {
            return Ok(state_change::NO_TIMEOUT);
        }
        let asked = call.arguments.value("RequestedState").and_then(Value::as_integer);
        let told = match asked {
            Some(4) => self.host.migrations.abort(id).await,
            Some(5) => self.host.migrations.kill(id).await,
            // Start, Suspend, Service.
            Some(2 | 3 | 6) => return Ok(state_change::NOT_SUPPORTED),
            _ => return Ok(state_change::INVALID_PARAMETER),
        };
        match told {
            Ok(()) if self.host.job(id).is_none_or(|job| job.is_over()) => Ok(state_change::DONE),
            Ok(()) => Ok(state_change::STARTED),
            Err(CommandError::Refused(Refusal::TooLate(_) | Refusal::Over(_))) => {
                Ok(state_change::INVALID_TRANSITION)
            }
            Err(CommandError::Busy) => Ok(state_change::BUSY),
            Err(error) => Err(error.into()),
        }
    }

    async fn kill(&self, call: &MethodCall, job: &JobView) -> Result<u32, ProviderError> {
        let (id, amendable) = (&job.id, job.amendable());
        match self.host.migrations.kill(id).await {
            Ok(()) => {}
            Err(CommandError::Refused(Refusal::TooLate(_) | Refusal::Over(_))) => {
                return Ok(kill_job::FAILED);
            }
            Err(error) => return Err(error.into()),
        }
        if call.arguments.boolean("DeleteOnKill") == Some(true) {
            let removal = Removal { automatic: true, after: Duration::ZERO };
            self.host.migrations.amend(id, Amendment { removal, ..amendable }).await?;
        }
        Ok(kill_job::SUCCESS)
    }

    async fn call(&self, call: MethodCall) -> Result<MethodResult, ProviderError> {
        let Some(path) = call.object.instance() else {
            let text = format!("{} is called on a job, not on its class", call.method);
            return Err(ProviderError::InvalidParameter(text));
        };
        let job = self.job(path)?;
        let result = |code: u32, out| MethodResult { value: Value::from(code), out };
        Ok(match call.method.as_str() {
            "RequestStateChange" => {
                result(self.request_state_change(&call, &job.id).await?, Vec::new())
            }
            "KillJob" => result(self.kill(&call, &job).await?, Vec::new()),
            "GetError" => {
                let error = failure_error(&job)
                    .map(|error| (CimName::literal("Error"), Value::from(error)));
                result(0, error.into_iter().collect())
            }
            _ => {
                let errors = errors(&job);
                let out =
                    (!errors.is_empty()).then(|| (CimName::literal("Errors"), Value::from(errors)));
                result(0, out.into_iter().collect())
            }
        })
    }
}

fn no_value(property: &CimName, allowed: &str) -> ProviderError {
    ProviderError::InvalidParameter(format!("{property} must be {allowed}"))
}

fn interval(value: &Value) -> Option<Duration> {
    let Some(Scalar::DateTime(time)) = value.scalar() else { return None };
    let micros = time.microseconds().filter(|_| time.is_interval())?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

impl InstanceProvider for MigrationJob {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for job in self.host.jobs() {
                sink.put(self.instance(&job)).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move { Ok(self.instance(&*self.job(path)?)) })
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async move { self.change(&path, changes).await })
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async move {
            let job = self.job(&path)?;
            Ok(self.host.migrations.remove(&job.id).await?)
        })
    }

    fn methods(&self) -> &'static [MethodSpec] {
        METHODS
    }

    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        Box::pin(self.call(call))
    }
}
