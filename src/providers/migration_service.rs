//! VirtualSystemMigrationService: may a guest move?
//!
//! The Check methods validate in libvirt-cim's order and words: parameters, guest reference, settings,
//! destination, connection, guest. Then the gate decides. Where libvirt-cim pasted the destination into
//! a URI, here it is parsed.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::info;

use super::{Family, Host, Prefix, finding, plan::Plan, service};
use crate::{
    checks::{
        Finding, Gate, Severity, Source,
        builtin::{self, Levels},
    },
    cim::{CimName, Instance, InstancePath, Value},
    hypervisor::{Connector, HostInfo, HypervisorError, Migrator},
    migration::DestinationPolicy,
    ops::{
        InstanceProvider, MethodCall, MethodResult, MethodSpec, Outcome, ProviderError, Role, Sink,
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
];

/// ReturnValue: Completed with No Error.
const COMPLETED: u32 = 0;

/// How many destinations may be being connected to at the same time, for all clients.
const CONNECTING: usize = 16;

/// How many more may wait for that.
const WAITING: usize = 64;

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
        let terms = Arc::clone(&self.migrations.terms.borrow());
        let plan = Plan::new(self.host.prefix, &call.arguments, &terms.destinations)?;
        let destination = self.migrations.open(&plan.target.uri).await?;
        let (info, source) = match self.source().await {
            Ok(source) => source,
            // As libvirt-cim: no error, but no guest moves either.
            Err(ProviderError::Unreachable(reason)) => {
                return Ok(verdict(&[source_unreachable(reason)]));
            }
            Err(error) => return Err(error),
        };
        let guest = self.host.guest(&plan.guest_name).await?;
        let guest = guest
            .map_err(|message| ProviderError::NotFound(format!("No such domain: {message}")))?;
        plan.check_path(self.host.prefix)?;
        let request = plan.gate_request(&guest, info.uri);
        let inputs = Opened::into_inner(destination);
        let inputs = plan.inputs(&guest, source, inputs);
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
        Box::pin(self.check(call))
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
