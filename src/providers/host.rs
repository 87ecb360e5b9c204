//! One hypervisor as providers see it.

use std::{collections::HashSet, sync::Arc};

use super::{Prefix, computer_system::computer_system};
use crate::{
    cim::Instance,
    hypervisor::{Connection, Domain, HostInfo, HypervisorError},
    migration::{JobView, MigrationHandle},
    ops::ProviderError,
};

/// A hypervisor connection and the prefix of the classes that show it. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// The family of classes.
    pub prefix: Prefix,
    /// The connection.
    pub connection: Connection,
    /// The migrations of this daemon.
    pub migrations: MigrationHandle,
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

    /// The guests as the model shows them, ordered by name.
    pub(super) async fn computer_systems(
        &self,
    ) -> Result<impl Iterator<Item = Instance> + Send + use<>, ProviderError> {
        let guests = self.guests().await?;
        let jobs = self.jobs().into_iter().filter(|job| !job.is_over());
        let migrating: HashSet<String> = jobs.map(|job| job.request.guest_uuid.clone()).collect();
        let prefix = self.prefix;
        Ok((0..guests.len()).map(move |index| {
            let guest = &guests[index];
            computer_system(prefix, guest, migrating.contains(&guest.uuid))
        }))
    }

    /// A guest as the model shows it.
    pub(super) fn computer_system(&self, guest: &Domain) -> Instance {
        let migrating = self.migrations.job_of_guest(&guest.uuid);
        let here = migrating.is_some_and(|job| self.is_source_of(&job));
        computer_system(self.prefix, guest, here)
    }

    /// The jobs of its guests that clients see.
    pub(super) fn jobs(&self) -> Vec<Arc<JobView>> {
        let mut jobs = self.migrations.jobs();
        jobs.retain(|job| self.is_source_of(job));
        jobs
    }

    /// One of these.
    pub(super) fn job(&self, id: &str) -> Option<Arc<JobView>> {
        self.migrations.job(id).filter(|job| self.is_source_of(job))
    }

    /// Whether a job is about one of its guests.
    pub(super) fn is_source_of(&self, job: &JobView) -> bool {
        job.request.hypervisor == self.connection.uri()
    }
}
