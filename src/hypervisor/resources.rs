//! What a host has and what a guest needs of it.

use std::collections::{BTreeMap, BTreeSet};

/// What decides what a hypervisor can do for a guest.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Platform {
    /// The emulator binary; `None` for the host's own choice.
    pub emulator: Option<String>,
    /// The architecture, e.g. `x86_64`.
    pub arch: Option<String>,
    /// The machine type, e.g. `pc-q35-7.2`.
    pub machine: Option<String>,
    /// The domain type, e.g. `kvm` or `qemu`.
    pub virt_type: Option<String>,
}

/// libvirt's verdict on a CPU (virCPUCompareResult).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CpuComparison {
    /// The host can't give the guest this CPU.
    Incompatible {
        /// libvirt's explanation, which names the missing features where it can.
        reason: Option<String>,
    },
    /// Exactly the host's CPU.
    Identical,
    /// The host has more.
    Superset,
}

/// What guests of one platform can have (virConnectGetDomainCapabilities).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DomainCapabilities {
    /// The canonical machine type.
    pub machine: Option<String>,
    /// The most vCPUs a guest may have.
    pub max_vcpus: Option<u32>,
    /// By element name: `disk`, `video`, `tpm`, `loader`…
    pub devices: BTreeMap<String, Support>,
}

/// Whether a kind of device is to be had, and with which attribute values.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Support {
    /// Whether it is to be had at all.
    pub supported: bool,
    /// Values by attribute: `bus` → `virtio`, `scsi`…
    pub values: BTreeMap<String, BTreeSet<String>>,
}

/// Memory and processors of a host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HostResources {
    /// All memory, in KiB.
    pub memory_kib: u64,
    /// What is free or could be freed at once, in KiB; `None` where the driver can't tell.
    pub free_kib: Option<u64>,
    /// Active processors.
    pub cpus: u32,
    /// Free huge pages of the size asked for; `None` where not asked or not known.
    pub free_pages: Option<u64>,
}

/// A storage volume.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Its pool's name.
    pub pool: String,
    /// Its size as the guest sees it, in bytes.
    pub capacity: u64,
}

/// A storage pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoragePool {
    /// Its name.
    pub name: String,
    /// `dir`, `netfs`, `rbd`…
    pub kind: String,
    /// Whether it is started.
    pub active: bool,
    /// Room left, in bytes.
    pub available: u64,
}

/// How a guest names a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretRef {
    /// By UUID.
    Uuid(String),
    /// By usage.
    Usage {
        /// `volume`, `ceph`, `iscsi`, `tls` or `vtpm`.
        kind: String,
        /// The usage's own name.
        name: String,
    },
}

/// What hangs on a guest beside its definition.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Baggage {
    /// How many snapshots it has.
    pub snapshots: usize,
    /// How many checkpoints it has.
    pub checkpoints: usize,
    /// Disks on which a block job runs.
    pub busy_disks: Vec<String>,
}
