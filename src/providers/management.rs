//! VirtualSystemManagementService and its capabilities. Guests are not managed through this server;
//! clients read here what it runs on, and libvirt-cim's test suite which replies to expect.

use super::{Facts, Family, Prefix, service};
use crate::{
    cim::{Instance, Value},
    hypervisor::HostInfo,
};

/// The revision of libvirt-cim whose behaviour this server has. Old clients compare it with numbers up
/// to 1312 to learn what they may expect.
const REVISION: &str = "1316";

/// OperationalStatus: OK.
const OK: u16 = 2;

/// The service.
pub(super) fn management_service(prefix: Prefix, info: &HostInfo) -> Instance {
    service(prefix, Family::VirtualSystemManagementService, "Management Service", info)
        .set("Caption", format!("{} {}", info.driver, dotted(info.version)))
        .set("LibvirtVersion", dotted(info.libvirt_version))
        .set("Changeset", concat!("virtcimd-", env!("CARGO_PKG_VERSION")))
        .set("Revision", REVISION)
        .set("Release", env!("CARGO_PKG_VERSION"))
        .set("OperationalStatus", vec![OK])
        .done()
}

/// What the service can do: nothing but be there.
pub(super) fn management_capabilities(prefix: Prefix, _info: &HostInfo) -> Instance {
    Facts::of(Family::VirtualSystemManagementCapabilities.of(prefix))
        .set("InstanceID", "ManagementCapabilities")
        .set("SynchronousMethodsSupported", Value::Array(Vec::new()))
        .set("AsynchronousMethodsSupported", Value::Array(Vec::new()))
        .set("ElementNameEditSupported", false)
        .done()
}

/// A version that libvirt codes as 1 000 000 × major + 1 000 × minor + release.
fn dotted(version: u64) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_decoded() {
        assert_eq!(dotted(9_000_000), "9.0.0");
        assert_eq!(dotted(7_002_013), "7.2.13");
    }
}
