//! VirtualSystemMigrationService.

use super::{Family, Prefix, service};
use crate::{cim::Instance, hypervisor::HostInfo};

/// The service.
pub(super) fn migration_service(prefix: Prefix, info: &HostInfo) -> Instance {
    service(prefix, Family::VirtualSystemMigrationService, "MigrationService", info).done()
}
