//! `virtcimctl check`: may this guest move there, and why not.

use std::io::Write;

use serde_json::json;

use super::{
    CheckArguments, Outcome, Shared,
    model::{Model, number, setting_data_class, text, texts},
};
use crate::{
    cim::{CimName, Instance, InstancePath, Scalar, Value},
    cli::table::{Table, printable},
    client::embedded_instances,
};

/// One finding of the gate, as CIM_Error tells it.
pub(super) struct Finding {
    pub(super) code: String,
    pub(super) severity: &'static str,
    pub(super) source: String,
    pub(super) message: String,
    pub(super) remedies: Vec<String>,
}

impl Finding {
    pub(super) fn from_error(error: &Instance) -> Self {
        // CIM_Error.PerceivedSeverity.
        let severity = match number(error, "PerceivedSeverity") {
            Some(2) => "info",
            Some(3) => "warning",
            _ => "error",
        };
        Self {
            code: text(error, "MessageID").to_owned(),
            severity,
            source: text(error, "ErrorSource").to_owned(),
            message: text(error, "Message").to_owned(),
            remedies: texts(error, "RecommendedActions").into_iter().map(str::to_owned).collect(),
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        json!({
            "code": self.code,
            "severity": self.severity,
            "source": self.source,
            "message": self.message,
            "remedies": self.remedies,
        })
    }
}

/// Runs the command; the outcome is the exit code's.
pub(super) async fn run(
    model: &Model,
    arguments: &CheckArguments,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let guest = model.guest(&arguments.guest, shared.prefix.as_deref()).await?;
    let service = model.migration_service(&guest).await?;
    let destination = arguments.destination()?;
    let parameters = [
        (
            CimName::literal("ComputerSystem"),
            Value::from(crate::cim::ObjectPath::from(guest.clone())),
        ),
        (CimName::literal("DestinationHost"), Value::from(destination)),
        (CimName::literal("MigrationSettingData"), Value::from(setting_data(&guest, arguments)?)),
    ];
    let method = CimName::literal("CheckVirtualSystemIsMigratableToHost");
    let returned = model.call(service, method, parameters).await?;
    let migratable = returned.code == 0
        && returned
            .out(&CimName::literal("IsMigratable"))
            .and_then(Value::as_bool)
            .unwrap_or(false);
    let findings: Vec<Finding> = returned
        .out(&CimName::literal("Findings"))
        .map(embedded_instances)
        .unwrap_or_default()
        .iter()
        .map(Finding::from_error)
        .collect();
    if shared.json {
        let document = json!({
            "guest": arguments.guest,
            "destination": destination,
            "migratable": migratable,
            "return": i64::try_from(returned.code).ok(),
            "findings": findings.iter().map(Finding::json).collect::<Vec<_>>(),
        });
        writeln!(out, "{document}")?;
    } else {
        print(out, arguments, destination, migratable, &findings)?;
    }
    Ok(if migratable { Outcome::Done } else { Outcome::Refused })
}

fn print(
    out: &mut dyn Write,
    arguments: &CheckArguments,
    destination: &str,
    migratable: bool,
    findings: &[Finding],
) -> std::io::Result<()> {
    let verdict = if migratable { "may migrate" } else { "may NOT migrate" };
    writeln!(out, "{} {verdict} to {}", printable(&arguments.guest), printable(destination))?;
    if findings.is_empty() && !migratable {
        writeln!(out, "The server gives no reasons.")?;
    }
    print_findings(out, findings)
}

/// Prints findings as a table, then what can be done about each; nothing if there are none.
pub(super) fn print_findings(out: &mut dyn Write, findings: &[Finding]) -> std::io::Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(["SEVERITY", "CODE", "SOURCE", "MESSAGE"]);
    for finding in findings {
        table.row([finding.severity, &finding.code, &finding.source, &finding.message]);
    }
    write!(out, "\n{table}")?;
    for finding in findings.iter().filter(|finding| !finding.remedies.is_empty()) {
        writeln!(out, "\n{}:", printable(&finding.code))?;
        for remedy in &finding.remedies {
            writeln!(out, "  - {}", printable(remedy))?;
        }
    }
    Ok(())
}

/// The setting data a client sends: only what the user said, so that the server's defaults hold.
pub(super) fn setting_data(
    guest: &InstancePath,
    arguments: &CheckArguments,
) -> anyhow::Result<Instance> {
    let mut settings = Instance::new(setting_data_class(guest)?);
    settings.set(CimName::literal("InstanceID"), "MigrationSettingData");
    if let Some(kind) = arguments.migration_type {
        settings.set(CimName::literal("MigrationType"), kind.number());
    }
    if let Some(transport) = arguments.transport {
        settings.set(CimName::literal("TransportType"), transport.number());
    }
    if !arguments.parameters.is_empty() {
        let elements = arguments.parameters.iter().map(|entry| Some(Scalar::String(entry.clone())));
        settings.set(CimName::literal("CheckParameters"), Value::Array(elements.collect()));
    }
    Ok(settings)
}
