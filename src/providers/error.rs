//! What errors of the rooms below mean to a client.

use crate::{
    checks::GateError,
    hypervisor::HypervisorError,
    indications::SubscriptionError,
    migration::{CommandError, PlanError, QueueError, SettingsError, SubmitError, TargetError},
    ops::ProviderError,
    query::QueryError,
    telemetry::Chain,
};

impl From<HypervisorError> for ProviderError {
    fn from(error: HypervisorError) -> Self {
        let text = error.to_string();
        match error {
            HypervisorError::Unreachable { .. } => Self::Unreachable(text),
            HypervisorError::NotFound { .. } => Self::NotFound(text),
            HypervisorError::Unsupported { .. } => Self::NotSupported(text),
            HypervisorError::Busy => Self::LimitReached(text),
            HypervisorError::Deadline { .. }
            | HypervisorError::Unclear { .. }
            | HypervisorError::Libvirt { .. } => Self::Failed(text),
        }
    }
}

impl From<GateError> for ProviderError {
    fn from(error: GateError) -> Self {
        let text = error.to_string();
        match error {
            GateError::Parameter { .. } => Self::InvalidParameter(text),
            GateError::Busy { .. } => Self::LimitReached(text),
            GateError::Setup(source) => Self::Failed(format!("{text}: {source}")),
            GateError::Cancelled => Self::Failed(text),
        }
    }
}

impl From<SettingsError> for ProviderError {
    /// The text begins with the property.
    fn from(error: SettingsError) -> Self {
        Self::InvalidParameter(error.to_string())
    }
}

impl From<TargetError> for ProviderError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Malformed(_) | TargetError::DestinationNotAllowed(_) => {
                Self::InvalidParameter(format!("DestinationHost: {error}"))
            }
            TargetError::TransportNotAllowed { .. } => {
                Self::InvalidParameter(format!("TransportType: {error}"))
            }
            // libvirt-cim's words come first.
            TargetError::UnixWithoutUri | TargetError::NoRemoteHosts => {
                Self::Failed(format!("Failed to construct a valid libvirt URI: {error}"))
            }
        }
    }
}

impl From<SubmitError> for ProviderError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Queue(QueueError::Full { .. }) => Self::LimitReached(error.to_string()),
            SubmitError::Queue(QueueError::Migrating { .. }) => Self::Failed(error.to_string()),
            // libvirt-cim's words come first.
            SubmitError::Plan(PlanError::State(reason)) => {
                Self::Failed(format!("Failed to construct a valid libvirt URI: {reason}"))
            }
            SubmitError::Plan(_) => Self::InvalidParameter(error.to_string()),
            SubmitError::Store(_) | SubmitError::Stopping => {
                Self::Failed(Chain(&error).to_string())
            }
        }
    }
}

impl From<CommandError> for ProviderError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Unknown(_) => Self::no_instance(),
            CommandError::Busy => Self::LimitReached(error.to_string()),
            CommandError::Refused(_)
            | CommandError::Running
            | CommandError::Store(_)
            | CommandError::Stopping => Self::Failed(Chain(&error).to_string()),
        }
    }
}

impl From<SubscriptionError> for ProviderError {
    fn from(error: SubscriptionError) -> Self {
        let text = error.to_string();
        match error {
            SubscriptionError::Language(_) => Self::QueryLanguageNotSupported(text),
            SubscriptionError::Query(QueryError::Unsupported { .. }) => {
                Self::QueryFeatureNotSupported(text)
            }
            // As in OpenPegasus, what the schema lacks is no error of the query.
            SubscriptionError::Query(
                QueryError::UnknownClass { .. } | QueryError::UnknownProperty { .. },
            )
            | SubscriptionError::NoIndication(_)
            | SubscriptionError::Missing { .. }
            | SubscriptionError::Value { .. }
            | SubscriptionError::TooLarge { .. } => Self::InvalidParameter(text),
            SubscriptionError::Query(_) => Self::InvalidQuery(text),
            SubscriptionError::Unsupported { .. } => Self::NotSupported(text),
            SubscriptionError::Exists(_) => Self::AlreadyExists(text),
            SubscriptionError::NoInstance | SubscriptionError::NoEnd { .. } => Self::NotFound(text),
            SubscriptionError::Limit { .. } => Self::LimitReached(text),
            SubscriptionError::InUse { .. }
            | SubscriptionError::Store(_)
            | SubscriptionError::Closed => Self::Failed(text),
        }
    }
}
