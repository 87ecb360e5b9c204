//! What we ask of a hypervisor, in our own words.
//!
//! [`Hypervisor`] is blocking on purpose: libvirt is. `libvirt/` and `fake.rs` implement it; nobody
//! else names a libvirt type. Async code goes through [`Connection`] (bounded slots, a deadline for
//! each call, reconnect with back-off).
//!
//! What is deliberately absent: CIM. Facts are libvirt's, named as libvirt names them.

mod domain;
mod error;

pub use domain::{Console, Domain, DomainConfig, DomainState, XmlForm};
pub use error::HypervisorError;

/// What we ask of one hypervisor connection. Every call may block.
pub trait Hypervisor: Send + Sync {
    /// Facts about the host and the connection's driver.
    ///
    /// # Errors
    /// [`HypervisorError`] if the connection is gone or libvirt refuses.
    fn host(&self) -> Result<HostInfo, HypervisorError>;

    /// All guests, defined and active, ordered by name.
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

    /// Whether this host's hypervisor can give the guest the CPU it has now.
    ///
    /// # Errors
    /// [`HypervisorError::Unsupported`] where the driver can't tell.
    fn compare_cpu(&self, guest: &GuestCpu) -> Result<CpuComparison, HypervisorError>;
}

/// Opens connections to destinations; a seam for tests.
pub trait Connector: Send + Sync {
    /// Opens `uri`. The caller built it; no client text is in it verbatim.
    ///
    /// # Errors
    /// [`HypervisorError::Unreachable`].
    fn open(&self, uri: &str) -> Result<std::sync::Arc<dyn Hypervisor>, HypervisorError>;
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
    /// The host's UUID from the capabilities; `None` if the driver has none.
    pub uuid: Option<String>,
}

/// What a CPU comparison needs to know of a guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GuestCpu {
    /// The `<cpu>` element of the guest's migratable XML.
    pub cpu_xml: String,
    /// The emulator binary on the source; a destination may have another and is then asked without.
    pub emulator: Option<String>,
    /// The architecture, e.g. `x86_64`.
    pub arch: Option<String>,
    /// The machine type, e.g. `pc-q35-7.2`.
    pub machine: Option<String>,
    /// The domain type, e.g. `kvm` or `qemu`.
    pub virt_type: Option<String>,
}

/// libvirt's verdict on a CPU (virCPUCompareResult).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum CpuComparison {
    Incompatible,
    Identical,
    Superset,
}
