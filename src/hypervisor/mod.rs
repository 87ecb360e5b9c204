//! What we ask of a hypervisor, in our own words.
//!
//! [`Hypervisor`] is what a connection can tell, [`Migrator`] what it can do to a guest. Both are
//! blocking on purpose: libvirt is. `libvirt/` and `fake.rs` implement them; nobody else names a
//! libvirt type. Async code goes through [`Connection`] (bounded slots, a deadline for each call,
//! reconnect with back-off).
//!
//! What is deliberately absent: CIM. Facts are libvirt's, named as libvirt names them.

mod connection;
mod domain;
mod domain_xml;
mod element;
mod error;
mod event;
pub mod fake;
mod inventory;
pub mod libvirt;
mod migrator;
mod resources;

use std::{collections::BTreeSet, sync::Arc};

pub use connection::{Connection, ConnectionOptions, ConnectionState, Session};
pub use domain::{Console, Domain, DomainConfig, DomainState, XmlForm};
pub use element::{Element, ElementError};
pub use error::HypervisorError;
pub use event::{EventSink, HostEvent, Lifecycle, Watch};
pub use inventory::{DomainChange, DomainEvent};
pub use migrator::{
    AutoConverge, Compression, JobKind, JobOperation, JobStats, MigrationOrder, Migrator, Route,
    StorageCopy, Transfer,
};
pub use resources::{
    Baggage, CpuComparison, DomainCapabilities, HostResources, Platform, SecretRef, StoragePool,
    Support, Volume,
};

/// What a hypervisor connection can tell. Every call may block.
pub trait Hypervisor: Send + Sync {
    /// Facts about the host and the connection's driver.
    ///
    /// # Errors
    /// [`HypervisorError`] if the connection is gone or libvirt refuses.
    fn host(&self) -> Result<HostInfo, HypervisorError>;

    /// All guests, defined and active, ordered by name. A guest that the hypervisor refuses to describe,
    /// as libvirtd does where its access rules let us see it but not read it, is left out: the others
    /// are none the worse for it.
    ///
    /// # Errors
    /// [`HypervisorError`] if the connection is gone or libvirt refuses.
    fn domains(&self) -> Result<Vec<Domain>, HypervisorError>;

    /// The guest of that name.
    ///
    /// # Errors
    /// [`HypervisorError::NotFound`] with libvirt's message if there is none.
    fn domain(&self, name: &str) -> Result<Domain, HypervisorError>;

    /// The guest with that UUID (canonical text form).
    ///
    /// # Errors
    /// [`HypervisorError::NotFound`] with libvirt's message if there is none.
    fn domain_by_uuid(&self, uuid: &str) -> Result<Domain, HypervisorError>;

    /// Those facts of all guests whose changes no event tells; two calls, however many guests.
    ///
    /// # Errors
    /// [`HypervisorError`] if the connection is gone or libvirt refuses.
    fn silent_facts(&self) -> Result<SilentFacts, HypervisorError>;

    /// The guest's XML.
    ///
    /// # Errors
    /// [`HypervisorError`], also where the driver has no such form.
    fn domain_xml(&self, name: &str, form: XmlForm) -> Result<String, HypervisorError>;

    /// Whether a job (migration, save, dump…) runs on the guest, in libvirt's words; `None` if not.
    ///
    /// # Errors
    /// [`HypervisorError`], [`HypervisorError::Unsupported`] where the driver knows no jobs.
    fn active_job(&self, name: &str) -> Result<Option<String>, HypervisorError>;

    /// Whether this host's hypervisor can give a guest the CPU of `cpu_xml` (a `<cpu>` element).
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver can't tell.
    fn compare_cpu(
        &self,
        cpu_xml: &str,
        platform: &Platform,
    ) -> Result<CpuComparison, HypervisorError>;

    /// What guests of that platform can have here.
    ///
    /// # Errors
    /// [`HypervisorError::Libvirt`] with libvirt's reason if this host has no such platform,
    /// [`HypervisorError::Unsupported`] where the driver can't tell.
    fn domain_capabilities(
        &self,
        platform: &Platform,
    ) -> Result<DomainCapabilities, HypervisorError>;

    /// The host's memory and processors. `page_kib` asks for free huge pages of that size as well.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn resources(&self, page_kib: Option<u64>) -> Result<HostResources, HypervisorError>;

    /// The most vCPUs a guest of that domain type may have.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver can't tell.
    fn max_vcpus(&self, virt_type: Option<&str>) -> Result<u32, HypervisorError>;

    /// Whether the network of that name is active; `None` if there is none.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver knows no networks.
    fn network_active(&self, name: &str) -> Result<Option<bool>, HypervisorError>;

    /// How large a guest's disk is that lies at that path, in bytes, as the guest sees it.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver can't tell.
    fn disk_capacity(&self, name: &str, path: &str) -> Result<u64, HypervisorError>;

    /// The volume at that path; `None` if no pool knows it.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver knows no storage.
    fn volume(&self, path: &str) -> Result<Option<Volume>, HypervisorError>;

    /// The pool of that name; `None` if there is none.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver knows no storage.
    fn pool(&self, name: &str) -> Result<Option<StoragePool>, HypervisorError>;

    /// The pool whose directory that is; `None` if there is none.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver knows no storage.
    fn pool_at(&self, directory: &str) -> Result<Option<StoragePool>, HypervisorError>;

    /// Whether the host has that secret.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver knows no secrets.
    fn has_secret(&self, secret: &SecretRef) -> Result<bool, HypervisorError>;

    /// What hangs on a guest beside its definition: snapshots, checkpoints, jobs on its disks.
    ///
    /// # Errors
    /// [`HypervisorError`]; what the driver does not know counts as none.
    fn baggage(&self, name: &str, disks: &[String]) -> Result<Baggage, HypervisorError>;

    /// Tells `sink` what happens on the host until the returned [`Watch`] is dropped.
    ///
    /// # Errors
    /// [`HypervisorError`], [`HypervisorError::Unsupported`] where the driver has no events.
    fn watch(&self, sink: EventSink) -> Result<Watch, HypervisorError>;
}

/// Opens connections to destinations; a seam for tests.
pub trait Connector: Send + Sync {
    /// Opens `uri` within a deadline of its own. The caller built it; no client text is in it
    /// verbatim.
    ///
    /// # Errors
    /// [`HypervisorError::Unreachable`], [`HypervisorError::Busy`].
    fn open(&self, uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError>;
}

/// Facts about a host and the driver of a connection to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostInfo {
    /// The connection's canonical URI (virConnectGetURI).
    pub uri: String,
    /// The driver, e.g. `QEMU` or `TEST` (virConnectGetType).
    pub driver: String,
    /// The hypervisor's version, 1_000_000 × major + 1_000 × minor + release (virConnectGetVersion).
    pub version: u64,
    /// libvirt's version at the far end, coded likewise (virConnectGetLibVersion).
    pub libvirt_version: u64,
    /// The host's name as libvirt tells it (virConnectGetHostname).
    pub hostname: String,
    /// The host's UUID from the capabilities, lower case; `None` if the driver has none.
    pub uuid: Option<String>,
}

/// Facts that change without an event; the UUIDs of the guests that have them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SilentFacts {
    /// Start with the host.
    pub autostart: BTreeSet<String>,
    /// Have a managed-save image.
    pub managed_save: BTreeSet<String>,
}
