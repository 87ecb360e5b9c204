//! What errors of the rooms below mean to a client.

use crate::{checks::GateError, hypervisor::HypervisorError, ops::ProviderError};

impl From<HypervisorError> for ProviderError {
    fn from(error: HypervisorError) -> Self {
        let text = error.to_string();
        match error {
            HypervisorError::Unreachable { .. } => Self::Unreachable(text),
            HypervisorError::NotFound { .. } => Self::NotFound(text),
            HypervisorError::Unsupported { .. } => Self::NotSupported(text),
            HypervisorError::Busy => Self::LimitReached(text),
            HypervisorError::Deadline { .. } | HypervisorError::Libvirt { .. } => {
                Self::Failed(text)
            }
        }
    }
}

impl From<GateError> for ProviderError {
    fn from(error: GateError) -> Self {
        let text = error.to_string();
        match error {
            GateError::Parameter { .. } => Self::InvalidParameter(text),
            GateError::Busy { .. } => Self::LimitReached(text),
            GateError::Setup(_) | GateError::Cancelled => Self::Failed(text),
        }
    }
}
