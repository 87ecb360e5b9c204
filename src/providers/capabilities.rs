//! ElementCapabilities: what the host, its services and guests can do; SettingsDefineCapabilities:
//! which settings say so.

use super::{
    Family, Host,
    association::Association,
    computer_system::guest_capabilities,
    host_system::host_system,
    management::{management_capabilities, management_service},
    migration::{migration_capabilities, migration_setting_data},
    migration_service::migration_service,
    name_of,
};
use crate::{
    cim::{CimName, Instance, Value},
    ops::{Far, Link, Outcome, Sink},
};

/// Characteristics: the default capabilities of the element.
const DEFAULT: u16 = 2;

pub(super) fn element_capabilities(host: &Host) -> Association {
    let elements: &[_] = &[
        Family::HostSystem,
        Family::VirtualSystemManagementService,
        Family::VirtualSystemMigrationService,
        Family::ComputerSystem,
    ];
    let capabilities: &[_] = &[
        Family::VirtualSystemManagementCapabilities,
        Family::VirtualSystemMigrationCapabilities,
        Family::EnabledLogicalElementCapabilities,
    ];
    let ends = [("ManagedElement", elements), ("Capabilities", capabilities)];
    Association::new(host, Family::ElementCapabilities, ends, find)
}

/// The end of a link between the host and capabilities.
fn of_host(far: Instance) -> Link {
    let properties = vec![(CimName::literal("Characteristics"), Value::from(vec![DEFAULT]))];
    Link { far: Far::Instance(far), properties }
}

fn find<'a>(host: &'a Host, source: &'a Instance, sink: &'a mut dyn Sink<Link>) -> Outcome<'a, ()> {
    Box::pin(async move {
        let prefix = host.prefix;
        let info = host.info().await?;
        match Family::of_class(&source.class, prefix) {
            Some(Family::HostSystem) => {
                sink.put(of_host(management_capabilities(prefix, &info))).await?;
                sink.put(of_host(migration_capabilities(prefix, &info))).await
            }
            Some(Family::VirtualSystemManagementService) => {
                sink.put(management_capabilities(prefix, &info).into()).await
            }
            Some(Family::VirtualSystemMigrationService) => {
                sink.put(migration_capabilities(prefix, &info).into()).await
            }
            // Clients of libvirt-cim expect the service before the host.
            Some(Family::VirtualSystemManagementCapabilities) => {
                sink.put(management_service(prefix, &info).into()).await?;
                sink.put(of_host(host_system(prefix, &info))).await
            }
            Some(Family::VirtualSystemMigrationCapabilities) => {
                sink.put(migration_service(prefix, &info).into()).await?;
                sink.put(of_host(host_system(prefix, &info))).await
            }
            Some(Family::ComputerSystem) => match host.guest(name_of(source, "Name")).await? {
                Ok(guest) => sink.put(guest_capabilities(prefix, &guest).into()).await,
                Err(_) => Ok(()),
            },
            Some(Family::EnabledLogicalElementCapabilities) => {
                match host.guest(name_of(source, "InstanceID")).await? {
                    Ok(guest) => sink.put(host.computer_system(&guest).into()).await,
                    Err(_) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    })
}

pub(super) fn settings_define_capabilities(host: &Host) -> Association {
    let ends: [(_, &[_]); 2] = [
        ("GroupComponent", &[Family::VirtualSystemMigrationCapabilities]),
        ("PartComponent", &[Family::VirtualSystemMigrationSettingData]),
    ];
    Association::new(host, Family::SettingsDefineCapabilities, ends, find_settings)
}

fn find_settings<'a>(
    host: &'a Host,
    source: &'a Instance,
    sink: &'a mut dyn Sink<Link>,
) -> Outcome<'a, ()> {
    Box::pin(async move {
        let (prefix, info) = (host.prefix, host.info().await?);
        let family = Family::of_class(&source.class, prefix);
        let far = if family == Some(Family::VirtualSystemMigrationCapabilities) {
            migration_setting_data(prefix, &info)
        } else {
            migration_capabilities(prefix, &info)
        };
        // Independent, Default, Point: the settings are what applies if a client states none.
        let properties = ["PropertyPolicy", "ValueRole", "ValueRange"]
            .map(|property| (CimName::literal(property), Value::from(0_u16)));
        sink.put(Link { far: Far::Instance(far), properties: properties.into() }).await
    })
}
