//! HostedDependency: guests on the host; HostedService: services on the host.

use super::{
    Family, Host, association::Association, host_system::host_system,
    management::management_service, migration_service::migration_service,
};
use crate::{
    cim::Instance,
    ops::{Link, Outcome, Sink},
};

/// The roles are the wrong way round, as in libvirt-cim, on whose names its clients rely: the host
/// depends on its guests.
pub(super) fn hosted_dependency(host: &Host) -> Association {
    let ends: [(_, &[_]); 2] =
        [("Dependent", &[Family::HostSystem]), ("Antecedent", &[Family::ComputerSystem])];
    Association::new(host, Family::HostedDependency, ends, find_guests)
}

fn find_guests<'a>(
    host: &'a Host,
    source: &'a Instance,
    sink: &'a mut dyn Sink<Link>,
) -> Outcome<'a, ()> {
    Box::pin(async move {
        if Family::of_class(&source.class, host.prefix) == Some(Family::ComputerSystem) {
            return sink.put(host_system(host.prefix, &host.info().await?).into()).await;
        }
        for guest in host.computer_systems().await? {
            sink.put(guest.into()).await?;
        }
        Ok(())
    })
}

pub(super) fn hosted_service(host: &Host) -> Association {
    let services: &[_] =
        &[Family::VirtualSystemManagementService, Family::VirtualSystemMigrationService];
    let ends: [(_, &[_]); 2] = [("Antecedent", &[Family::HostSystem]), ("Dependent", services)];
    Association::new(host, Family::HostedService, ends, find_services)
}

fn find_services<'a>(
    host: &'a Host,
    source: &'a Instance,
    sink: &'a mut dyn Sink<Link>,
) -> Outcome<'a, ()> {
    Box::pin(async move {
        let (prefix, info) = (host.prefix, host.info().await?);
        if Family::of_class(&source.class, prefix) != Some(Family::HostSystem) {
            return sink.put(host_system(prefix, &info).into()).await;
        }
        sink.put(management_service(prefix, &info).into()).await?;
        sink.put(migration_service(prefix, &info).into()).await
    })
}
