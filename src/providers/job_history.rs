//! Virtcimd_MigrationJobRecord: the jobs that the store remembers, also when clients no longer see them
//! as jobs (`virtcimctl jobs --all`).

use std::sync::Arc;

use super::{
    Host, Migrations,
    job::{INSTANCE_ID, facts, job_class},
};
use crate::{
    cim::{CimName, Instance, InstancePath},
    migration::JobView,
    ops::{InstanceProvider, Outcome, ProviderError, Sink},
};

static CLASS: CimName = CimName::literal("Virtcimd_MigrationJobRecord");

/// How many records are shown, the newest.
const SHOWN: u32 = 1000;

/// Serves the history of all hypervisors' jobs.
pub(super) struct JobHistory {
    hosts: Arc<[Host]>,
    migrations: Migrations,
}

impl JobHistory {
    pub(super) fn new(hosts: &[Host], migrations: &Migrations) -> Self {
        Self { hosts: hosts.into(), migrations: migrations.clone() }
    }

    async fn jobs(&self) -> Result<Vec<Arc<JobView>>, ProviderError> {
        let Some(host) = self.hosts.first() else { return Ok(Vec::new()) };
        let jobs = host.migrations.history(0, SHOWN).await;
        jobs.map_err(|error| ProviderError::Failed(format!("the history can't be read: {error}")))
    }

    fn record(&self, job: &JobView) -> Instance {
        let host = self.hosts.iter().find(|host| host.is_source_of(job));
        let class = host.and_then(|host| job_class(host.prefix));
        facts(CLASS.clone(), job, self.migrations.terms().failed_job_state)
            .set_some("JobClass", class.as_ref().map(CimName::as_str))
            .done()
    }
}

impl InstanceProvider for JobHistory {
    fn class(&self) -> &CimName {
        &CLASS
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for job in self.jobs().await? {
                sink.put(self.record(&job)).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let id = path.string_key(&INSTANCE_ID);
            let job = self.jobs().await?.into_iter().find(|job| Some(job.id.as_str()) == id);
            let job = job.ok_or_else(|| ProviderError::no_instance_with(&INSTANCE_ID))?;
            Ok(self.record(&job))
        })
    }
}
