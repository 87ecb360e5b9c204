//! The model: hosts, guests and services as CIM objects. The one room that knows both hosts and CIM.
//!
//! Each file is a family of classes. A class exists once for each [`Prefix`]; [`register`] makes the
//! providers of one hypervisor connection. Functions named after a class make its instances from facts
//! (`computer_system`, `host_system`…), so that an object looks the same wherever it is found.
//!
//! Values, keys and error texts are libvirt-cim's unless a comment says why not.

mod affects;
mod association;
mod capabilities;
mod computer_system;
mod edits;
mod error;
mod events;
mod facts;
mod finding;
mod host;
mod host_system;
mod hosted;
mod interop;
mod job;
mod job_history;
mod job_links;
mod management;
mod method_call;
mod migration;
mod migration_service;
mod migration_settings;
mod plan;
mod prefix;
mod setting_data;
mod settings;
mod singleton;
mod ssh_key;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use events::follow_events;
pub use host::Host;
pub use interop::{Server, register_server, register_subscriptions, register_wbem_server};
pub use job::FailedJobState;
pub use migration_service::{CheckFailure, Migrations, Terms, ask_gate};
pub use prefix::{Prefix, PrefixError};

use crate::{
    cim::{CimName, Instance, Value},
    hypervisor::HostInfo,
    ops::{InstanceProvider, Registry, RegistryError, Space},
};
use computer_system::{ComputerSystem, GuestCapabilities};
use facts::{Facts, strings};
use job::MigrationJob;
use job_history::JobHistory;
use migration_service::MigrationService;
use prefix::Family;
use setting_data::SettingData;
use singleton::Singleton;

/// Registers the providers of all classes that show one hypervisor.
///
/// # Errors
/// [`RegistryError`] if another hypervisor has the same prefix.
pub fn register(
    registry: &mut Registry,
    host: &Host,
    migrations: &Migrations,
) -> Result<(), RegistryError> {
    let singleton = |family, make| -> Arc<dyn InstanceProvider> {
        Arc::new(Singleton::new(host, family, make))
    };
    let instances: [Arc<dyn InstanceProvider>; 9] = [
        singleton(Family::HostSystem, host_system::host_system),
        Arc::new(ComputerSystem::new(host)),
        Arc::new(SettingData::new(host)),
        Arc::new(GuestCapabilities::new(host)),
        singleton(Family::VirtualSystemManagementService, management::management_service),
        singleton(Family::VirtualSystemManagementCapabilities, management::management_capabilities),
        Arc::new(MigrationService::new(host, migrations)),
        singleton(Family::VirtualSystemMigrationCapabilities, migration::migration_capabilities),
        singleton(Family::VirtualSystemMigrationSettingData, migration::migration_setting_data),
    ];
    for provider in instances {
        registry.serve(Space::Virt, provider)?;
    }
    events::register(registry, host)?;
    if let Some(class) = job::job_class(host.prefix) {
        registry.serve(Space::Virt, Arc::new(MigrationJob::new(host, migrations, class)))?;
    }
    let associations = [
        hosted::hosted_dependency(host),
        hosted::hosted_service(host),
        capabilities::element_capabilities(host),
        capabilities::settings_define_capabilities(host),
        settings::settings_define_state(host),
        settings::element_setting_data(host),
        affects::service_affects_element(host),
    ];
    for provider in associations {
        registry.associate(Space::Virt, Arc::new(provider))?;
    }
    Ok(())
}

/// Registers the providers of what the jobs of all hypervisors have in common.
///
/// # Errors
/// [`RegistryError`] if that was done before.
pub fn register_jobs(
    registry: &mut Registry,
    hosts: &[Host],
    migrations: &Migrations,
) -> Result<(), RegistryError> {
    job_links::register(registry, hosts, migrations)?;
    registry.serve(Space::Virt, Arc::new(JobHistory::new(hosts, migrations)))
}

/// The beginning of every service: its keys.
fn service(prefix: Prefix, family: Family, name: &'static str, info: &HostInfo) -> Facts {
    Facts::named(family.of(prefix))
        .set("Name", name)
        .set("SystemCreationClassName", Family::HostSystem.of(prefix).as_str())
        .set("SystemName", info.hostname.as_str())
}

/// The value of a string property of an instance that we made; empty if it has none.
fn name_of<'a>(instance: &'a Instance, property: &'static str) -> &'a str {
    instance.value(&CimName::literal(property)).and_then(Value::as_str).unwrap_or_default()
}
