//! The gate, asked once more right before the guest moves.

use std::sync::Arc;

use tracing::{error, warn};

use super::{Outcome, Worker};
use crate::{
    checks::{
        self, Finding, GateError, GateRequest, Phase, Report, Severity, Source,
        builtin::{Inputs, Movement},
    },
    hypervisor::HypervisorError,
    migration::{
        MigrationType,
        executor::{Question, Request, failures, hands::Hands},
        job::{Event, Failure, Reason},
    },
    telemetry::Chain,
};

/// Storage from which libvirt calls migration unsafe.
const UNSAFE_STORAGE: &str = "VMC006";

impl Worker {
    pub(super) fn run_gate(&mut self) {
        let (hands, gate) = (Arc::clone(&self.hands), Arc::clone(&self.shared.gate));
        let request = self.ticket.record.request.clone();
        self.begin(|cancelled| async move {
            match question(&hands, &request).await {
                Ok(question) => Outcome::Gate(gate(question, cancelled).await),
                Err(error) => {
                    let failure = failures::failure_of("the source can't be asked", &error);
                    Outcome::Event(Event::Broke(failure))
                }
            }
        });
    }

    /// Keeps what the gate found; decides whether the guest may go.
    pub(super) async fn judge_gate(&mut self, answer: Result<Report, GateError>) -> Event {
        let report = match answer {
            Ok(report) => report,
            Err(error) => {
                let text = Chain(&error).to_string();
                return Event::Broke(Failure::new(Reason::Refused, text));
            }
        };
        self.ticket.findings = report.findings.into();
        if let Err(error) = self.ticket.save_findings(&self.shared.store).await {
            error!(error = %Chain(&error), "findings can't be stored");
        }
        let request = &self.ticket.record.request;
        let errors =
            self.ticket.findings.iter().filter(|finding| finding.severity == Severity::Error);
        for finding in errors {
            if !is_overridden(finding, &request.overrides) {
                return Event::Broke(Failure::new(Reason::Refused, finding.message.clone()));
            }
            let (code, owner) = (&finding.code, &request.owner);
            warn!(%code, owner, message = finding.message, "a finding is overridden");
        }
        Event::GatePassed
    }

    /// Whether the gate let the guest go although libvirt would keep it for the sake of its disks: an
    /// administrator answers for that, by an override or by making the check a warning.
    pub(super) fn accepts_unsafe_storage(&self) -> bool {
        self.ticket.findings.iter().any(|finding| finding.code == UNSAFE_STORAGE)
    }
}

async fn question(hands: &Hands, request: &Request) -> Result<Question, HypervisorError> {
    let source = hands.source().await?;
    let source_uri = hands.ask_source("host", |host| Ok(host.host()?.uri)).await?;
    // One that can't be reached is a finding.
    let destination = hands.destination().await.map(|destination| destination as _);
    let settings = &request.settings;
    let guest = request.guest.clone();
    let destination_uri = request.target.uri.clone();
    let new_name = request.edits.name.as_ref();
    Ok(Question {
        request: GateRequest {
            guest: guest.clone(),
            guest_uuid: request.guest_uuid.clone(),
            source_uri,
            destination_host: request.target.name.clone(),
            destination_uri: destination_uri.clone(),
            migration_type: settings.migration_type.as_str(),
            transport: request.target.transport.as_str(),
            phase: Phase::Migrate,
            parameters: request.check_parameters.clone(),
        },
        inputs: Inputs {
            source,
            destination_uri,
            destination,
            destination_name: new_name.map_or(guest.as_str(), |name| name.as_str()).to_owned(),
            guest,
            movement: movement(settings.migration_type),
            storage: settings.storage,
            disks: settings.disks.clone(),
            post_copy: settings.post_copy,
            parallel: settings.parallel.is_some(),
            changes: request.edits.changes(),
        },
    })
}

/// Whether an administrator said that this finding shall not stop the guest, and may say so.
fn is_overridden(finding: &Finding, overrides: &[String]) -> bool {
    let may = match &finding.source {
        Source::Builtin | Source::Program(_) => checks::can_be_overridden(&finding.code),
        Source::Directory(_) => false,
    };
    may && overrides.iter().any(|wanted| match (wanted.split_once(':'), &finding.source) {
        (None, _) => *wanted == finding.code,
        (Some((code, program)), Source::Program(name)) => code == finding.code && program == name,
        (Some(_), Source::Builtin | Source::Directory(_)) => false,
    })
}

fn movement(migration_type: MigrationType) -> Movement {
    match migration_type {
        MigrationType::Offline => Movement::Offline,
        MigrationType::Live => Movement::Live,
        MigrationType::Resume => Movement::Paused,
        MigrationType::Restart => Movement::Restart,
    }
}
