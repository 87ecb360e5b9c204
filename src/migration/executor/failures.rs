//! What errors of hosts mean for a job.

use crate::{
    hypervisor::HypervisorError,
    migration::job::{Effect, Ending, Event, Failure, Reason},
};

/// What the result of libvirt's call says of the move.
pub(super) fn ending(result: Result<(), HypervisorError>) -> Ending {
    let Err(error) = result else { return Ending::Arrived };
    let failure = failure_of("Migration Failed", &error);
    match error {
        HypervisorError::Unreachable { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Unclear { .. } => Ending::Unclear(failure),
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
        | HypervisorError::Unclear { .. }
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
        Effect::ShutDownGuest => "Unable to shutdown guest",
        Effect::DestroySource | Effect::DestroyIncoming => {
            "Failed to end what is left of the domain"
        }
        Effect::PersistDestination => "Failed to make the domain persistent",
        Effect::UndefineDestination | Effect::UndefineSource => "Failed to undefine domain",
        Effect::AutostartDestination | Effect::HoldSource | Effect::AutostartSource => {
            "Failed to set autostart"
        }
        Effect::RemoveCopies => "Failed to remove copied disks",
        Effect::RunGate
        | Effect::StopGate
        | Effect::Prepare
        | Effect::StartMove
        | Effect::Watch
        | Effect::AbortMove
        | Effect::SuspendSource
        | Effect::PausePostCopy
        | Effect::RecoverPostCopy
        | Effect::Inspect
        | Effect::InspectLater => "Failed",
    };
    let failure = failure_of(doing, error);
    match error {
        HypervisorError::Unreachable { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Unclear { .. } => Event::Lost(failure),
        HypervisorError::NotFound { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Event::Broke(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u32) -> HypervisorError {
        HypervisorError::Libvirt { code, message: "why".to_owned() }
    }

    #[test]
    fn only_what_libvirt_says_plainly_is_a_reported_end() {
        let failure = || Failure::new(Reason::Host, "Migration Failed: why");
        assert_eq!(ending(Ok(())), Ending::Arrived);
        assert_eq!(ending(Err(refused(90))), Ending::Failed(failure()));
        let unclear = HypervisorError::Unclear { message: "why".to_owned() };
        assert_eq!(ending(Err(unclear.clone())), Ending::Unclear(failure()));
        let step = "Failed to define domain: why";
        let step = || Failure::new(Reason::Host, step);
        assert_eq!(broke(Effect::DefineDestination, &refused(90)), Event::Broke(step()));
        assert_eq!(broke(Effect::DefineDestination, &unclear), Event::Lost(step()));
    }
}
