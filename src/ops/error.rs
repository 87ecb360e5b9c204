//! Why a provider says no, and the one place where that becomes a CIM status code.

use super::Space;
use crate::cim::{CimError, CimName, InstancePath, StatusCode};

/// Why a provider did not do what it was asked, with the sentence the client sees.
///
/// `providers/` turns the errors of the rooms below into these; only here they get a number.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProviderError {
    /// The object, or something the request names, does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A parameter is missing or has a value that can't be.
    #[error("{0}")]
    InvalidParameter(String),
    /// The caller may not do that.
    #[error("{0}")]
    AccessDenied(String),
    /// There is such an object already.
    #[error("{0}")]
    AlreadyExists(String),
    /// The query can't be read.
    #[error("{0}")]
    InvalidQuery(String),
    /// The query asks for what we do not evaluate.
    #[error("{0}")]
    QueryFeatureNotSupported(String),
    /// The query is in a language we do not speak.
    #[error("{0}")]
    QueryLanguageNotSupported(String),
    /// The class can't do that.
    #[error("{0}")]
    NotSupported(String),
    /// The class has the method, but nobody implements it.
    #[error("{0}")]
    MethodNotAvailable(String),
    /// A limit is reached; later it may work.
    #[error("{0}")]
    LimitReached(String),
    /// It was tried and did not work, or libvirt-cim says so.
    #[error("{0}")]
    Failed(String),
    /// The hypervisor behind the objects can't be reached: for a reader they do not exist.
    #[error("{0}")]
    Unreachable(String),
    /// Nobody reads the answer any more.
    #[error("the answer is no longer wanted")]
    Unwanted,
}

impl ProviderError {
    /// There is no such instance.
    pub fn no_instance() -> Self {
        Self::NotFound("No such instance".to_owned())
    }

    /// There is no such instance, for there are none of that very class.
    pub fn no_instance_of(class: &CimName, space: Space) -> Self {
        let space = space.name();
        Self::NotFound(format!(
            "No such instance: {space} has no instances of class {class} itself"
        ))
    }

    /// There is no instance of that path.
    pub fn no_instance_at(path: &InstancePath) -> Self {
        Self::NotFound(format!("No such instance: {path}"))
    }

    /// There is no such instance, for the value of that key names none.
    pub fn no_instance_with(key: &CimName) -> Self {
        Self::NotFound(format!("No such instance ({key})"))
    }
}

impl From<ProviderError> for CimError {
    /// The only translation to status codes.
    fn from(error: ProviderError) -> Self {
        let status = match error {
            ProviderError::NotFound(_) => StatusCode::NotFound,
            ProviderError::InvalidParameter(_) => StatusCode::InvalidParameter,
            ProviderError::AccessDenied(_) => StatusCode::AccessDenied,
            ProviderError::AlreadyExists(_) => StatusCode::AlreadyExists,
            ProviderError::InvalidQuery(_) => StatusCode::InvalidQuery,
            ProviderError::QueryFeatureNotSupported(_) => StatusCode::QueryFeatureNotSupported,
            ProviderError::QueryLanguageNotSupported(_) => StatusCode::QueryLanguageNotSupported,
            ProviderError::NotSupported(_) => StatusCode::NotSupported,
            ProviderError::MethodNotAvailable(_) => StatusCode::MethodNotAvailable,
            ProviderError::LimitReached(_) => StatusCode::ServerLimitsExceeded,
            ProviderError::Failed(_) | ProviderError::Unreachable(_) | ProviderError::Unwanted => {
                StatusCode::Failed
            }
        };
        Self::new(status, error.to_string())
    }
}
