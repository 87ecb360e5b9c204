//! VirtualSystemMigrationService: may a guest move? Then let it.
//!
//! The methods validate in libvirt-cim's order and words: parameters, guest reference, settings,
//! destination, connection, guest. Then a Check method asks the gate, and a Migrate method starts a job
//! that asks it again. Where libvirt-cim pasted the destination into a URI, here it is parsed.
//!
//! A Migrate method refuses at once whatever can be known at once, so it looks for the guest before it
//! connects; libvirt-cim accepts a guest that does not exist and tells of it in the job.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Family, Host, Prefix, edits, finding,
    job::{FailedJobState, job_class, job_path},
    plan::Plan,
    service, ssh_key,
};
use crate::{
    checks::{
        Finding, Gate, Severity, Source,
        builtin::{self, Levels},
    },
    cim::{CimName, Instance, InstancePath, ObjectPath, Value},
    hypervisor::{Connector, Domain, HostInfo, HypervisorError, Migrator},
    migration::{
        AskGate, DestinationPolicy, DiskDirectories, Edits, JobView, Question, QueueError,
        SubmitError,
    },
    ops::{
        InstanceProvider, MethodCall, MethodResult, MethodSpec, Outcome, Principal, ProviderError,
        Role, Sink,
    },
    sys::blocking::{SlotError, Slots},
};

const METHODS: &[MethodSpec] = &[
    MethodSpec {
        name: "CheckVirtualSystemIsMigratableToHost",
        role: Role::Checker,
        required: &["ComputerSystem", "DestinationHost"],
    },
    MethodSpec {
        name: "CheckVirtualSystemIsMigratableToSystem",
        role: Role::Checker,
        required: &["ComputerSystem", "DestinationSystem"],
    },
    MethodSpec {
        name: "MigrateVirtualSystemToHost",
        role: Role::Operator,
        required: &["ComputerSystem", "DestinationHost"],
    },
    MethodSpec {
        name: "MigrateVirtualSystemToSystem",
        role: Role::Operator,
        required: &["ComputerSystem", "DestinationSystem"],
    },
    MethodSpec { name: "MigrateSSHKeyCopy", role: Role::Operator, required: &[] },
    MethodSpec { name: "MigrateSSHKeyDelete", role: Role::Operator, required: &[] },
];

/// ReturnValue: Completed with No Error.
const COMPLETED: u32 = 0;

/// ReturnValue: Method Parameters Checked - Job Started.
const JOB_STARTED: u32 = 4096;

/// How many destinations may be being connected to at the same time, for all clients.
const CONNECTING: usize = 16;

/// How many more may wait for that.
const WAITING: usize = 64;

/// How long a look at the paths of disks may take.
const LOOK: Duration = Duration::from_secs(10);

/// The service.
pub(super) fn migration_service(prefix: Prefix, info: &HostInfo) -> Instance {
    service(prefix, Family::VirtualSystemMigrationService, "MigrationService", info).done()
}

/// On which terms guests may leave; replaced as a whole when the configuration is read again.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Runs the check programs.
    pub gate: Gate,
    /// Which built-in checks count how much.
    pub levels: Levels,
    /// Where guests may go.
    pub destinations: DestinationPolicy,
    /// How a refusal is told.
    pub check_failure: CheckFailure,
    /// The JobState of a job that failed.
    pub failed_job_state: FailedJobState,
    /// Where disks may be at a destination that somebody else than an administrator names.
    pub disk_directories: DiskDirectories,
    /// Where MigrateSSHKeyCopy finds and puts keys; `None` is nowhere.
    pub ssh_key_directory: Option<PathBuf>,
}

/// Asks the gate about a guest that is about to move, on the terms that stand then.
pub fn ask_gate(terms: watch::Receiver<Arc<Terms>>) -> AskGate {
    Arc::new(move |question, cancelled| {
        let terms = Arc::clone(&terms.borrow());
        Box::pin(async move {
            let Question { request, inputs } = question;
            let levels = terms.levels.clone();
            let builtin = move || builtin::run(&inputs, &levels);
            terms.gate.run(request, builtin, cancelled).await
        })
    })
}

/// How a Check method tells that the gate refuses (`compatibility.check-failure`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CheckFailure {
    /// It succeeds, and IsMigratable is false.
    #[default]
    Verdict,
    /// It fails with the first finding's message.
    Error,
}

/// What the migration services of all hypervisors share.
#[derive(Clone)]
pub struct Migrations {
    connector: Arc<dyn Connector>,
    connecting: Slots,
    terms: watch::Receiver<Arc<Terms>>,
}

impl Migrations {
    /// Migrations to destinations that `connector` opens, on the terms that stand in `terms`.
    pub fn new(connector: Arc<dyn Connector>, terms: watch::Receiver<Arc<Terms>>) -> Self {
        Self { connector, connecting: Slots::new(CONNECTING, WAITING), terms }
    }

    /// The terms that stand now.
    pub(super) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.borrow())
    }

    /// Whether that caller may attach the disks: an administrator any, others those in the directories
    /// for them.
    async fn check_disks(
        &self,
        terms: &Arc<Terms>,
        edits: &Edits,
        principal: &Principal,
    ) -> Result<(), ProviderError> {
        if edits.disks.is_empty() || principal.role >= Role::Admin {
            return Ok(());
        }
        let (terms, disks) = (Arc::clone(terms), edits.disks.clone());
        let looked = self.connecting.run_within(LOOK, move || {
            let mut refusals = disks
                .iter()
                .map(|disk| terms.disk_directories.admit(&disk.path).map_err(|it| (disk, it)));
            refusals.find_map(Result::err).map(|(disk, refusal)| (disk.target.clone(), refusal))
        });
        match looked.await {
            Ok(None) => Ok(()),
            Ok(Some((target, refusal))) => Err(ProviderError::AccessDenied(format!(
                "NewResourceSettingData: disk `{target}` needs the role {}: {refusal}; user `{}` has the role {}",
                Role::Admin.name(),
                principal.name,
                principal.role.name(),
            ))),
            Err(error) => Err(ProviderError::Failed(format!(
                "NewResourceSettingData: the disks' paths can't be looked at: {error}"
            ))),
        }
    }

    /// Connects to a destination.
    async fn open(&self, uri: &str) -> Result<Opened, ProviderError> {
        let (connector, owned) = (Arc::clone(&self.connector), uri.to_owned());
        let opened = self.connecting.run(move || connector.open(&owned)).await;
        let reason = match opened {
            Ok(Ok(destination)) => return Ok(Opened(Some(destination))),
            Ok(Err(HypervisorError::Unreachable { message, .. })) => message,
            Ok(Err(HypervisorError::Busy)) | Err(SlotError::Busy { .. }) => {
                let text = "too many destinations are being connected to".to_owned();
                return Err(ProviderError::LimitReached(text));
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(ProviderError::Failed(format!("Failed to connect to remote host ({uri}): {reason}")))
    }
}

/// A connection to a destination. To close one may block, so a blocking thread does it.
struct Opened(Option<Arc<dyn Migrator>>);

impl Opened {
    /// The connection, for somebody who blocks anyway.
    fn into_inner(mut self) -> Arc<dyn Migrator> {
        self.0.take().expect("only this and drop take it")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(destination) = self.0.take() {
            tokio::task::spawn_blocking(move || drop(destination));
        }
    }
}

/// Serves the migration service of a hypervisor.
pub(super) struct MigrationService {
    host: Host,
    migrations: Migrations,
    class: CimName,
}

impl MigrationService {
    pub(super) fn new(host: &Host, migrations: &Migrations) -> Self {
        let class = Family::VirtualSystemMigrationService.of(host.prefix);
        Self { host: host.clone(), migrations: migrations.clone(), class }
    }

    async fn instance(&self) -> Result<Instance, ProviderError> {
        Ok(migration_service(self.host.prefix, &self.host.info().await?))
    }

    /// The Check methods: asks the gate whether a guest may move.
    async fn check(&self, call: MethodCall) -> Result<MethodResult, ProviderError> {
        let terms = self.migrations.terms();
        let plan = Plan::new(self.host.prefix, &call.arguments, &terms)?;
        let destination = self.migrations.open(&plan.target.uri).await?;
        let (info, source) = match self.source().await {
            Ok(source) => source,
            // As libvirt-cim: no error, but no guest moves either.
            Err(ProviderError::Unreachable(reason)) => {
                return Ok(verdict(&[source_unreachable(reason)]));
            }
            Err(error) => return Err(error),
        };
        let guest = self.guest(&plan).await?;
        let edits = edits::edits(self.host.prefix, &guest, &call.arguments)?;
        self.migrations.check_disks(&terms, &edits, &call.principal).await?;
        let request = plan.gate_request(&guest, info.uri);
        let inputs = Opened::into_inner(destination);
        let inputs = plan.inputs(&guest, &edits, source, inputs);
        let levels = terms.levels.clone();
        let builtin = move || builtin::run(&inputs, &levels);
        let report = terms.gate.run(request, builtin, call.cancelled).await?;
        info!(
            domain = guest.name,
            destination = plan.target.uri,
            passed = report.passed(),
            finding = report.headline().map_or("", |headline| &headline.message),
            "guest was checked for a migration"
        );
        match report.headline() {
            Some(headline) if terms.check_failure == CheckFailure::Error => {
                Err(ProviderError::Failed(headline.message.clone()))
            }
            _ => Ok(verdict(&report.findings)),
        }
    }

    /// The guest that is to move.
    async fn guest(&self, plan: &Plan) -> Result<Arc<Domain>, ProviderError> {
        let guest = self.host.guest(&plan.guest_name).await?;
        let guest = guest
            .map_err(|message| ProviderError::NotFound(format!("No such domain: {message}")))?;
        plan.check_path(self.host.prefix)?;
        Ok(guest)
    }

    /// The Migrate methods: starts a job.
    async fn migrate(&self, call: MethodCall) -> Result<MethodResult, ProviderError> {
        let terms = self.migrations.terms();
        let prefix = self.host.prefix;
        let plan = Plan::new(prefix, &call.arguments, &terms)?;
        plan.check_overrides(&call.principal)?;
        let Some(class) = job_class(prefix) else {
            let text = "libvirt's LXC driver can't migrate";
            return Err(ProviderError::NotSupported(text.to_owned()));
        };
        terms.gate.check_parameters(plan.check_parameters.as_deref())?;
        let guest = self.guest(&plan).await?;
        let edits = edits::edits(prefix, &guest, &call.arguments)?;
        self.migrations.check_disks(&terms, &edits, &call.principal).await?;
        if let Some(job) = self.host.migrations.job_of_guest(&guest.uuid) {
            return Err(SubmitError::from(QueueError::Migrating { job: job.id.clone() }).into());
        }
        drop(self.migrations.open(&plan.target.uri).await?);
        let hypervisor = self.host.connection.uri();
        let request = plan.request(&guest, edits, hypervisor, &call);
        let job = self.host.migrations.submit(request).await?;
        audit(&call.principal, &job);
        let path = ObjectPath::from(job_path(class, &job.id));
        let out = vec![(CimName::literal("Job"), Value::from(path))];
        Ok(MethodResult { value: Value::from(JOB_STARTED), out })
    }

    async fn copy_key(&self, call: MethodCall) -> Result<MethodResult, ProviderError> {
        let source = call.arguments.string("SSH_Key_Src").map(str::to_owned);
        let directory = self.migrations.terms().ssh_key_directory.clone();
        ssh_key::blocking(directory, move |it| ssh_key::copy(it, source.as_deref())).await?;
        Ok(MethodResult { value: Value::from(COMPLETED), out: Vec::new() })
    }

    async fn delete_key(&self) -> Result<MethodResult, ProviderError> {
        let directory = self.migrations.terms().ssh_key_directory.clone();
        ssh_key::blocking(directory, ssh_key::delete).await?;
        Ok(MethodResult { value: Value::from(COMPLETED), out: Vec::new() })
    }

    async fn source(&self) -> Result<(HostInfo, Arc<dyn Migrator>), ProviderError> {
        Ok((self.host.info().await?, self.host.connection.hypervisor().await?))
    }
}

impl InstanceProvider for MigrationService {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move { sink.put(self.instance().await?).await })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(self.instance())
    }

    fn methods(&self) -> &'static [MethodSpec] {
        METHODS
    }

    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        match call.method.as_str() {
            "MigrateVirtualSystemToHost" | "MigrateVirtualSystemToSystem" => {
                Box::pin(self.migrate(call))
            }
            "MigrateSSHKeyCopy" => Box::pin(self.copy_key(call)),
            "MigrateSSHKeyDelete" => Box::pin(self.delete_key()),
            _ => Box::pin(self.check(call)),
        }
    }
}

/// Records what a job is allowed beyond what its guest is: which findings do not stop it, and which
/// devices it changes.
fn audit(principal: &Principal, job: &JobView) {
    let (user, domain) = (&principal.name, &job.request.guest);
    if !job.request.overrides.is_empty() {
        warn!(
            target: "audit",
            user,
            job = job.id,
            domain,
            findings = job.request.overrides.join(" "),
            "findings are overridden"
        );
    }
    for change in job.request.edits.describe() {
        info!(target: "audit", user, job = job.id, domain, change, "guest is changed on the way");
    }
}

/// What a Check method answers.
fn verdict(findings: &[Finding]) -> MethodResult {
    let stops = |finding: &Finding| finding.severity == Severity::Error;
    let migratable = Value::from(!findings.iter().any(stops));
    let mut out = vec![(CimName::literal("IsMigratable"), migratable)];
    if !findings.is_empty() {
        let errors: Vec<_> = findings.iter().map(finding::error).collect();
        out.push((CimName::literal("Findings"), Value::from(errors)));
    }
    MethodResult { value: Value::from(COMPLETED), out }
}

/// Our own daemon's libvirt is away. No check has a code for that, for none could run.
fn source_unreachable(reason: String) -> Finding {
    Finding {
        code: "VMC000".into(),
        severity: Severity::Error,
        source: Source::Builtin,
        subject: "source".to_owned(),
        message: format!("The source's hypervisor can't be asked: {reason}."),
        arguments: vec![reason],
        remedies: vec!["Check that libvirt's daemon runs on the source.".to_owned()],
    }
}
