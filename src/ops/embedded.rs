//! Text where an embedded instance belongs.

use crate::{
    cim::Instance,
    mof::{self, MofError},
};

/// The text is no instance.
#[derive(Debug, thiserror::Error)]
pub(super) enum EmbeddedError {
    /// It is no MOF.
    #[error(transparent)]
    Mof(#[from] MofError),
}

/// Reads an instance.
pub(super) fn parse(text: &str) -> Result<Instance, EmbeddedError> {
    Ok(mof::parse_instance(text)?)
}
