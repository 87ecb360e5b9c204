//! What errors of hosts mean for a job.

use crate::{
    hypervisor::HypervisorError,
    migration::job::{Deed, Ending, Event, Failure, Reason},
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

/// What a failed deed means.
pub(super) fn broke(deed: Deed, error: &HypervisorError) -> Event {
    event(doing(deed), error)
}

/// That the guest could not be asked to shut down.
pub(super) fn unasked(error: &HypervisorError) -> Event {
    event("Unable to shutdown guest", error)
}

fn doing(deed: Deed) -> &'static str {
    match deed {
        Deed::DefineDestination => "Failed to define domain",
        Deed::StartDestination => "Failed to start domain on remote host",
        Deed::ResumeSource | Deed::ResumeDestination => "Failed to resume domain",
        Deed::StartSource => "Failed to start domain again",
        Deed::DestroySource | Deed::DestroyIncoming => "Failed to end what is left of the domain",
        Deed::PersistDestination => "Failed to make the domain persistent",
        Deed::UndefineDestination | Deed::UndefineSource => "Failed to undefine domain",
        Deed::AutostartDestination | Deed::HoldSource | Deed::AutostartSource => {
            "Failed to set autostart"
        }
        Deed::RemoveCopies => "Failed to remove copied disks",
    }
}

/// What was not reported as done may have been done, if the report was lost.
fn event(doing: &str, error: &HypervisorError) -> Event {
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
        assert_eq!(broke(Deed::DefineDestination, &refused(90)), Event::Broke(step()));
        assert_eq!(broke(Deed::DefineDestination, &unclear), Event::Lost(step()));
    }
}
