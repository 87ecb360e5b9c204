//! What errors of hosts mean for a job.

use crate::{
    hypervisor::HypervisorError,
    migration::job::{Effect, Ending, Event, Failure, Reason},
};

/// VIR_ERR_MIGRATE_FINISH_OK: the last step worked though it was told that the move had failed.
const MIGRATE_FINISH_OK: u32 = 90;

/// What the result of libvirt's call says of the move.
pub(super) fn ending(result: Result<(), HypervisorError>) -> Ending {
    let Err(error) = result else { return Ending::Arrived };
    let failure = failure_of("Migration Failed", &error);
    match error {
        HypervisorError::Unreachable { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Libvirt { code: MIGRATE_FINISH_OK, .. } => Ending::Unclear(failure),
        HypervisorError::NotFound { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Ending::Failed(failure),
    }
}

pub(super) fn failure_of(doing: &str, error: &HypervisorError) -> Failure {
    let reason = match error {
        HypervisorError::NotFound { .. } => Reason::NotFound,
        HypervisorError::Unreachable { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Reason::Host,
    };
    Failure::new(reason, format!("{doing}: {error}"))
}

/// What a failed deed means: one whose report was lost may have been done.
pub(super) fn broke(effect: Effect, error: &HypervisorError) -> Event {
    let doing = match effect {
        Effect::DefineDestination => "Failed to define domain",
        Effect::StartDestination => "Failed to start domain on remote host",
        Effect::ResumeSource | Effect::ResumeDestination => "Failed to resume domain",
        Effect::StartSource => "Failed to start domain again",
        Effect::DestroySource | Effect::DestroyIncoming => {
            "Failed to end what is left of the domain"
        }
        Effect::PersistDestination => "Failed to make the domain persistent",
        Effect::UndefineDestination | Effect::UndefineSource => "Failed to undefine domain",
        Effect::AutostartDestination | Effect::HoldSource => "Failed to set autostart",
        Effect::RunGate
        | Effect::StopGate
        | Effect::Prepare
        | Effect::ShutDownGuest
        | Effect::StartMove
        | Effect::Watch
        | Effect::AbortMove
        | Effect::SuspendSource
        | Effect::RecoverPostCopy
        | Effect::Inspect
        | Effect::InspectLater => "Failed",
    };
    let failure = failure_of(doing, error);
    match error {
        HypervisorError::Unreachable { .. } | HypervisorError::Deadline { .. } => {
            Event::Lost(failure)
        }
        HypervisorError::NotFound { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Event::Broke(failure),
    }
}
