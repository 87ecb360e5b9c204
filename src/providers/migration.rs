//! What VirtualSystemMigrationService can do, and with which settings if the client states none:
//! VirtualSystemMigrationCapabilities and the default VirtualSystemMigrationSettingData.

use super::{Facts, Family, Prefix};
use crate::{cim::Instance, hypervisor::HostInfo};

/// The capabilities: the Migrate methods are jobs, the Check methods answer at once, destinations are
/// named, or addressed with IPv4 or IPv6.
pub(super) fn migration_capabilities(prefix: Prefix, _info: &HostInfo) -> Instance {
    Facts::of(Family::VirtualSystemMigrationCapabilities.of(prefix))
        .set("InstanceID", "MigrationCapabilities")
        .set("AsynchronousMethodsSupported", vec![2_u16, 3])
        .set("SynchronousMethodsSupported", vec![4_u16, 5])
        .set("DestinationHostFormatsSupported", vec![2_u16, 3, 4])
        .done()
}

/// The default settings: live, by SSH.
pub(super) fn migration_setting_data(prefix: Prefix, _info: &HostInfo) -> Instance {
    Facts::of(Family::VirtualSystemMigrationSettingData.of(prefix))
        .set("InstanceID", "MigrationSettingData")
        .set("MigrationType", 2_u16)
        .set("Priority", 0_u16)
        .set("TransportType", 2_u16)
        .done()
}
