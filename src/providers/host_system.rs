//! HostSystem: the host.

use super::{Facts, Family, Prefix};
use crate::{cim::Instance, hypervisor::HostInfo};

/// The host.
pub(super) fn host_system(prefix: Prefix, info: &HostInfo) -> Instance {
    Facts::named(Family::HostSystem.of(prefix)).set("Name", info.hostname.as_str()).done()
}
