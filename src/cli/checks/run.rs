//! `virtcimd checks run`: asks the gate about a guest, as a client would.
//!
//! Hypervisors are asked directly. What can't be asked is said, and the check programs run all the same.

use std::{io::Write, sync::Arc, time::Duration};

use nix::unistd::geteuid;
use tokio_util::sync::CancellationToken;

use super::ChecksError;
use crate::{
    checks::{
        Examination, Finding, Gate, GateRequest, Options, Outcome, Phase, Severity,
        builtin::{self, Inputs, Movement},
    },
    cli::{
        exit,
        table::{Table, printable},
    },
    config::Config,
    hypervisor::{
        Connector, Domain, HypervisorError, Migrator, StorageCopy,
        libvirt::{LibvirtConnector, LibvirtOptions},
    },
    migration::{Driver, Target},
    telemetry::Chain,
};

/// What is to be checked.
pub(super) struct Asked<'a> {
    pub(super) guest: &'a str,
    pub(super) destination: Option<&'a str>,
    pub(super) parameters: &'a [String],
}

/// The guest on a hypervisor that answers.
struct Found {
    source: Arc<dyn Migrator>,
    uri: String,
    driver: Driver,
    guest: Domain,
}

/// Runs the gate and shows what it saw.
pub(super) fn run(
    config: &Config,
    asked: &Asked<'_>,
    out: &mut dyn Write,
) -> Result<u8, ChecksError> {
    // First of all, for it forks.
    let gate = Gate::new(options(config))?;
    let connector = LibvirtConnector::new(LibvirtOptions::default());
    let found = find(config, asked.guest, &connector)?;
    if let Err(reason) = &found {
        note(&format!("no hypervisor can be asked: {reason}"));
    }
    let found = found.ok();
    let target = target(config, asked, found.as_ref())?;
    let request = request(config, asked, found.as_ref(), target.as_ref());
    let inputs = found.zip(target).map(|(found, target)| inputs(found, &target, &connector));
    let built_in = inputs.is_some();
    if !built_in {
        note("the built-in checks are left out: they need a hypervisor and --destination");
    }
    let levels = config.check_levels.clone();
    let builtin = move || inputs.map_or_else(Vec::new, |inputs| builtin::run(&inputs, &levels));
    let examination = examine(&gate, request, builtin)?;
    // With a destination the whole gate was asked for.
    let whole = built_in || asked.destination.is_none();
    show(asked.guest, &examination, built_in, whole, out)
}

/// The daemon's settings; but somebody else than root has no part in its run-time directory.
fn options(config: &Config) -> Options {
    let mut options = config.checks.clone();
    if let Some(own) = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| !geteuid().is_root()) {
        options.runtime_directory = std::path::Path::new(&own).join("virtcimd/checks");
    }
    options
}

/// Looks for the guest on the configured hypervisors. The inner error is that none of them answers.
fn find(
    config: &Config,
    guest: &str,
    connector: &dyn Connector,
) -> Result<Result<Found, String>, ChecksError> {
    let (mut silent, mut unknown) = (Vec::new(), None);
    for hypervisor in &config.hypervisors {
        let driver = hypervisor.prefix.driver();
        match look_up(&hypervisor.uri, guest, connector) {
            Ok((source, uri, guest)) => return Ok(Ok(Found { source, uri, driver, guest })),
            Err(error @ HypervisorError::NotFound { .. }) => unknown = Some(error),
            Err(error) => silent.push(Chain(&error).to_string()),
        }
    }
    match unknown {
        Some(error) if silent.is_empty() => Err(ChecksError::Guest(error)),
        _ => Ok(Err(silent.join("; "))),
    }
}

fn look_up(
    uri: &str,
    guest: &str,
    connector: &dyn Connector,
) -> Result<(Arc<dyn Migrator>, String, Domain), HypervisorError> {
    let source = connector.open(uri)?;
    let uri = source.host()?.uri;
    let guest = source.domain(guest)?;
    Ok((source, uri, guest))
}

/// Where the guest is to go, by the same rules as for a client.
fn target(
    config: &Config,
    asked: &Asked<'_>,
    found: Option<&Found>,
) -> Result<Option<Target>, ChecksError> {
    let Some(destination) = asked.destination else { return Ok(None) };
    let first = config.hypervisors.first().map(|hypervisor| hypervisor.prefix.driver());
    let driver = found.map(|found| found.driver).or(first).unwrap_or(Driver::Qemu);
    let target = config.migration.policy.resolve(driver, destination, None);
    let failed = |source| ChecksError::Destination { destination: destination.to_owned(), source };
    target.map(Some).map_err(failed)
}

fn request(
    config: &Config,
    asked: &Asked<'_>,
    found: Option<&Found>,
    target: Option<&Target>,
) -> GateRequest {
    let configured = config.hypervisors.first().map(|hypervisor| hypervisor.uri.clone());
    let parameters: Vec<_> = asked.parameters.iter().cloned().map(Some).collect();
    let transport = target.map_or(config.migration.policy.default_transport, |to| to.transport);
    GateRequest {
        guest: asked.guest.to_owned(),
        guest_uuid: found.map(|found| found.guest.uuid.clone()).unwrap_or_default(),
        source_uri: found.map(|found| found.uri.clone()).or(configured).unwrap_or_default(),
        destination_host: target.map(|target| target.name.clone()).unwrap_or_default(),
        destination_uri: target.map(|target| target.uri.clone()).unwrap_or_default(),
        migration_type: "live",
        transport: transport.as_str(),
        phase: Phase::Check,
        parameters: (!parameters.is_empty()).then_some(parameters),
    }
}

fn inputs(found: Found, target: &Target, connector: &dyn Connector) -> Inputs {
    let destination = connector.open(&target.uri);
    Inputs {
        source: found.source,
        destination_uri: target.uri.clone(),
        destination: destination.map(|destination| destination as Arc<_>),
        destination_name: found.guest.name.clone(),
        guest: found.guest.name,
        movement: Movement::Live,
        storage: StorageCopy::default(),
        disks: Vec::new(),
        post_copy: false,
        parallel: false,
        changes: None,
    }
}

/// Runs the gate; an interrupt ends the checks before it ends us.
fn examine(
    gate: &Gate,
    request: GateRequest,
    builtin: impl FnOnce() -> Vec<Finding> + Send + 'static,
) -> Result<Examination, ChecksError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cancelled = CancellationToken::new();
    let interrupted = cancelled.clone();
    let examination = runtime.block_on(async {
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                interrupted.cancel();
            }
        });
        gate.examine(request, builtin, cancelled).await
    });
    // A built-in check that hangs in libvirt must not keep us.
    runtime.shutdown_background();
    Ok(examination?)
}

fn show(
    guest: &str,
    examination: &Examination,
    built_in: bool,
    whole: bool,
    out: &mut dyn Write,
) -> Result<u8, ChecksError> {
    let mut table = Table::new(["CHECK", "VERDICT", "TIME", "REASON"]);
    for finding in &examination.builtin {
        table.row([&finding.code, word(finding.severity), "", &finding.message]);
    }
    if built_in && examination.builtin.is_empty() {
        table.row(["built-in checks", "passed", "", ""]);
    }
    for finding in &examination.directories {
        table.row([&finding.code, word(finding.severity), "", &finding.message]);
    }
    for outcome in &examination.programs {
        let time = milliseconds(outcome);
        let reason = outcome.reason().unwrap_or_default();
        table.row([&outcome.name, outcome.verdict.word(), &time, &reason]);
        for finding in outcome.findings().iter().filter(|it| it.severity < Severity::Error) {
            table.row([&outcome.name, word(finding.severity), "", &finding.message]);
        }
    }
    write!(out, "{table}")?;
    let report = examination.report();
    let remedies =
        report.findings.iter().flat_map(|it| it.remedies.iter().map(move |text| (it, text)));
    for (index, (finding, remedy)) in remedies.enumerate() {
        let separator = if index == 0 { "\n" } else { "" };
        writeln!(out, "{separator}{} {}", finding.code, printable(remedy))?;
    }
    let guest = printable(guest);
    match report.headline() {
        None if whole => writeln!(out, "\n{guest} may move.")?,
        None => writeln!(out, "\nWhether {guest} may move is not known.")?,
        Some(headline) => {
            writeln!(out, "\n{guest} may not move: {}", printable(&headline.message))?
        }
    }
    Ok(match report.passed() {
        true if whole => exit::OK,
        true => exit::UNAVAILABLE,
        false => exit::REFUSED,
    })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "failed",
    }
}

fn milliseconds(outcome: &Outcome) -> String {
    if outcome.elapsed == Duration::ZERO {
        return String::new();
    }
    format!("{:.0} ms", outcome.elapsed.as_secs_f64() * 1000.0)
}

#[expect(clippy::print_stderr, reason = "notes do not belong into the table")]
fn note(text: &str) {
    eprintln!("virtcimd: {}", printable(text));
}
