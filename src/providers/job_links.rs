//! What jobs are associated with: the service that owns them (OwningJobElement), the guest they are
//! about (AffectedJobElement), the call that made them (AssociatedJobMethodResult, MethodResult).
//!
//! These classes are the DMTF's own and have no prefix: one provider serves the jobs of all
//! hypervisors.

use std::sync::Arc;

use super::{
    Facts, Family, Host, Migrations,
    job::{INSTANCE_ID, job_class, job_path, migration_job},
    method_call,
    migration_service::migration_service,
    name_of,
};
use crate::{
    cim::{CimName, Instance, InstancePath, Value},
    hypervisor::HostInfo,
    migration::JobView,
    ops::{
        AssociationProvider, End, Far, InstanceProvider, Link, Outcome, ProviderError, Registry,
        RegistryError, Sink, Space,
    },
};

static METHOD_RESULT: CimName = CimName::literal("CIM_MethodResult");

/// What a MethodResult's InstanceID begins with; the job's follows.
const RESULT_ID: &str = "virtcimd:";

/// ElementEffects: Exclusive Use. A guest that migrates can't be done anything else with.
const EXCLUSIVE_USE: u16 = 2;

/// ReturnValue of a call that started a job.
const JOB_STARTED: &str = "4096";

/// Registers what all hypervisors' jobs have in common.
///
/// # Errors
/// [`RegistryError`] if somebody serves one of these classes already.
pub(super) fn register(
    registry: &mut Registry,
    hosts: &[Host],
    migrations: &Migrations,
) -> Result<(), RegistryError> {
    let jobs = Jobs { hosts: hosts.into(), migrations: migrations.clone() };
    registry.serve(Space::Virt, Arc::new(MethodResults { jobs: jobs.clone() }))?;
    for kind in [Kind::Owning, Kind::Affected, Kind::Result] {
        registry.associate(Space::Virt, Arc::new(JobLinks::new(kind, &jobs)))?;
    }
    Ok(())
}

/// The jobs of all hypervisors.
#[derive(Clone)]
struct Jobs {
    hosts: Arc<[Host]>,
    migrations: Migrations,
}

impl Jobs {
    /// A job, its host and its class.
    fn find(&self, id: &str) -> Option<(&Host, CimName, Arc<JobView>)> {
        self.hosts.iter().find_map(|host| Some((host, job_class(host.prefix)?, host.job(id)?)))
    }

    fn instance(&self, class: CimName, job: &JobView) -> Instance {
        migration_job(class, job, self.migrations.terms().failed_job_state)
    }

    /// The hypervisor whose class of that family it is.
    fn host_of(&self, class: &CimName, family: Family) -> Option<&Host> {
        self.hosts.iter().find(|host| family.of(host.prefix) == *class)
    }

    /// The jobs of one hypervisor that fit.
    async fn put_jobs(
        &self,
        host: &Host,
        fits: impl Fn(&JobView) -> bool,
        sink: &mut dyn Sink<Link>,
        link: impl Fn(Instance) -> Link,
    ) -> Result<(), ProviderError> {
        let Some(class) = job_class(host.prefix) else { return Ok(()) };
        for job in host.jobs().iter().filter(|job| fits(job)) {
            sink.put(link(self.instance(class.clone(), job))).await?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Owning,
    Affected,
    Result,
}

struct JobLinks {
    kind: Kind,
    class: CimName,
    ends: [End; 2],
    jobs: Jobs,
}

impl JobLinks {
    fn new(kind: Kind, jobs: &Jobs) -> Self {
        let end = |role, classes| End { role: CimName::literal(role), classes };
        let prefixes = || jobs.hosts.iter().map(|host| host.prefix);
        let job_classes: Vec<CimName> = prefixes().filter_map(job_class).collect();
        let of = |family: Family| prefixes().map(|prefix| family.of(prefix)).collect();
        let (class, ends) = match kind {
            Kind::Owning => (
                "CIM_OwningJobElement",
                [
                    end("OwnedElement", job_classes),
                    end("OwningElement", of(Family::VirtualSystemMigrationService)),
                ],
            ),
            Kind::Affected => (
                "CIM_AffectedJobElement",
                [
                    end("AffectingElement", job_classes),
                    end("AffectedElement", of(Family::ComputerSystem)),
                ],
            ),
            Kind::Result => (
                "CIM_AssociatedJobMethodResult",
                [end("Job", job_classes), end("JobParameters", vec![METHOD_RESULT.clone()])],
            ),
        };
        Self { kind, class: CimName::literal(class), ends, jobs: jobs.clone() }
    }

    fn link(&self, far: Instance) -> Link {
        let effects = (CimName::literal("ElementEffects"), Value::from(vec![EXCLUSIVE_USE]));
        let properties = if self.kind == Kind::Affected { vec![effects] } else { Vec::new() };
        Link { far: Far::Instance(far), properties }
    }

    async fn of_job(&self, id: &str, sink: &mut dyn Sink<Link>) -> Result<(), ProviderError> {
        let Some((host, class, job)) = self.jobs.find(id) else { return Ok(()) };
        let far = match self.kind {
            Kind::Owning => migration_service(host.prefix, &host.info().await?),
            Kind::Result => method_result(host, &host.info().await?, class, &job),
            // A guest that has left is no longer there to be affected.
            Kind::Affected => match host.guest(&job.request.guest).await? {
                Ok(guest) if guest.uuid == job.request.guest_uuid => host.computer_system(&guest),
                Ok(_) | Err(_) => return Ok(()),
            },
        };
        sink.put(self.link(far)).await
    }

    async fn of_other(
        &self,
        source: &Instance,
        sink: &mut dyn Sink<Link>,
    ) -> Result<(), ProviderError> {
        let link = |far| self.link(far);
        match self.kind {
            Kind::Owning => {
                let service = Family::VirtualSystemMigrationService;
                let Some(host) = self.jobs.host_of(&source.class, service) else { return Ok(()) };
                self.jobs.put_jobs(host, |_| true, sink, link).await
            }
            Kind::Affected => {
                let host = self.jobs.host_of(&source.class, Family::ComputerSystem);
                let Some(host) = host else { return Ok(()) };
                let uuid = name_of(source, "UUID");
                self.jobs.put_jobs(host, |job| job.request.guest_uuid == uuid, sink, link).await
            }
            Kind::Result => {
                let id = name_of(source, "InstanceID").strip_prefix(RESULT_ID);
                match id.and_then(|id| self.jobs.find(id)) {
                    Some((_, class, job)) => {
                        sink.put(self.link(self.jobs.instance(class, &job))).await
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

impl AssociationProvider for JobLinks {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            if *role == self.ends[0].role {
                self.of_job(name_of(source, "InstanceID"), sink).await
            } else {
                self.of_other(source, sink).await
            }
        })
    }
}

/// The call that made a job, before and after.
fn method_result(host: &Host, info: &HostInfo, class: CimName, job: &JobView) -> Instance {
    let service = migration_service(host.prefix, info);
    let key = |name| (CimName::literal(name), name_of(&service, name));
    let keys = ["CreationClassName", "Name", "SystemCreationClassName", "SystemName"].map(key);
    let path = InstancePath::new(service.class.clone(), keys).to_string();
    let before = method_call::input(&job.request.parameters);
    let after = method_call::output(&job_path(class, &job.id));
    let call = |pre_call, parameters| {
        Facts::of(CimName::literal("CIM_InstMethodCall"))
            .set("SourceInstance", service.clone())
            .set("SourceInstanceModelPath", path.as_str())
            .set("MethodName", job.request.tag.as_str())
            .set_some("MethodParameters", parameters)
            .set("PreCall", pre_call)
    };
    Facts::of(METHOD_RESULT.clone())
        .set("InstanceID", format!("{RESULT_ID}{}", job.id))
        .set("ElementName", format!("{} of {}", job.request.tag, job.request.guest))
        .set("PreCallIndication", call(true, before).done())
        .set("PostCallIndication", call(false, Some(after)).set("ReturnValue", JOB_STARTED).done())
        .done()
}

/// Serves the calls that made jobs.
struct MethodResults {
    jobs: Jobs,
}

impl InstanceProvider for MethodResults {
    fn class(&self) -> &CimName {
        &METHOD_RESULT
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for host in &*self.jobs.hosts {
                let Some(class) = job_class(host.prefix) else { continue };
                let info = match host.info().await {
                    Ok(info) => info,
                    // Its service is not there to have been called; those of others are.
                    Err(ProviderError::Unreachable(_)) => continue,
                    Err(error) => return Err(error),
                };
                for job in host.jobs() {
                    sink.put(method_result(host, &info, class.clone(), &job)).await?;
                }
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let id = path.string_key(&INSTANCE_ID).and_then(|id| id.strip_prefix(RESULT_ID));
            let Some((host, class, job)) = id.and_then(|id| self.jobs.find(id)) else {
                return Err(ProviderError::no_instance_with(&INSTANCE_ID));
            };
            Ok(method_result(host, &host.info().await?, class, &job))
        })
    }
}
