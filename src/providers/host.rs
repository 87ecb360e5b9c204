//! One hypervisor as providers see it.

use std::sync::Arc;

use super::Prefix;
use crate::{
    hypervisor::{Connection, Domain, HostInfo, HypervisorError},
    ops::ProviderError,
};

/// A hypervisor connection and the prefix of the classes that show it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host {
    /// The family of classes.
    pub prefix: Prefix,
    /// The connection.
    pub connection: Connection,
}

impl Host {
    /// Facts about the host.
    pub(super) async fn info(&self) -> Result<HostInfo, ProviderError> {
        Ok(self.connection.host().await?)
    }

    /// All guests, ordered by name.
    pub(super) async fn guests(&self) -> Result<Arc<[Arc<Domain>]>, ProviderError> {
        Ok(self.connection.domains().await?)
    }

    /// The guest of that name, or libvirt's words that there is none.
    pub(super) async fn guest(
        &self,
        name: &str,
    ) -> Result<Result<Arc<Domain>, String>, ProviderError> {
        match self.connection.domain(name).await {
            Ok(guest) => Ok(Ok(guest)),
            Err(HypervisorError::NotFound { message }) => Ok(Err(message)),
            Err(error) => Err(error.into()),
        }
    }
}
