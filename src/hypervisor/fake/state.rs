//! What a host in memory is like at first, and how it fails.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::FakeState;
use crate::hypervisor::{
    CpuComparison, DomainCapabilities, HostInfo, HostResources, HypervisorError,
};

impl FakeState {
    /// Fails as told to.
    pub(super) fn check(&mut self, call: &'static str) -> Result<(), HypervisorError> {
        if !self.reachable {
            let (uri, message) = (self.info.uri.clone(), "the host is down".to_owned());
            return Err(HypervisorError::Unreachable { uri, message });
        }
        self.failures.get_mut(call).and_then(VecDeque::pop_front).map_or(Ok(()), Err)
    }

    pub(super) fn new(uri: &str) -> Self {
        let digest = uri.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte) + 1)
        });
        Self {
            info: HostInfo {
                uri: uri.to_owned(),
                driver: "FAKE".to_owned(),
                version: 1_000_000,
                libvirt_version: 9_000_000,
                hostname: "fake.example".to_owned(),
                uuid: Some(format!("fa4e0000-0000-4000-8000-{:012x}", digest & 0xffff_ffff_ffff)),
            },
            guests: BTreeMap::new(),
            resources: HostResources {
                memory_kib: 64 << 20,
                free_kib: Some(32 << 20),
                cpus: 16,
                free_pages: None,
            },
            capabilities: DomainCapabilities::default(),
            cpu: CpuComparison::Superset,
            networks: BTreeMap::new(),
            pools: BTreeMap::new(),
            volumes: BTreeMap::new(),
            secrets: Vec::new(),
            reachable: true,
            failures: HashMap::new(),
            hanging: BTreeMap::new(),
            slow: HashMap::new(),
            waiting: BTreeMap::new(),
            calls: Vec::new(),
            orders: Vec::new(),
        }
    }
}
