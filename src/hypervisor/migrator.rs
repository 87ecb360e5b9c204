//! What a migration does to a guest, and what libvirt tells of it meanwhile.

use serde::{Deserialize, Serialize};

use super::{Hypervisor, HypervisorError};

/// What a connection can do to a guest. Every call may block; a migration does so to its end.
pub trait Migrator: Hypervisor {
    /// Moves the guest. Returns when it is over; the guest runs on until then.
    ///
    /// # Errors
    /// [`HypervisorError`]. One of them does not prove that the guest stayed: after a lost
    /// connection the caller asks both hosts.
    fn migrate(&self, guest: &str, order: &MigrationOrder) -> Result<(), HypervisorError>;

    /// Cancels the guest's job.
    ///
    /// # Errors
    /// [`HypervisorError`], also if there is no job, or a migration in post-copy phase.
    fn abort_job(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Breaks off a migration in post-copy phase so that an order with `resume_post_copy` can take it
    /// up again. The guest is on both hosts until then.
    ///
    /// # Errors
    /// [`HypervisorError`], also if no migration is in post-copy phase.
    fn pause_post_copy(&self, guest: &str) -> Result<(), HypervisorError>;

    /// The job that runs on the guest; `None` if there is none.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError>;

    /// The last job that ended on the guest; `None` if none is known. Reading leaves it in place.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn completed_job(&self, guest: &str) -> Result<Option<JobStats>, HypervisorError>;

    /// Limits a running migration, in MiB/s; 0 is no limit. It outlasts the migration.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn set_max_speed(&self, guest: &str, mib_per_second: u64) -> Result<(), HypervisorError>;

    /// How long a running migration may stop the guest, in milliseconds.
    ///
    /// # Errors
    /// [`HypervisorError`], also if no migration runs.
    fn set_max_downtime(&self, guest: &str, milliseconds: u64) -> Result<(), HypervisorError>;

    /// Switches a migration that was started with `post_copy` to post-copy.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn start_post_copy(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Asks the guest to shut down; returns at once.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn shutdown(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Ends the guest at once.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn destroy(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Starts a defined guest.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn start(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Stops the guest's processors.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn suspend(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Lets the guest's processors go on.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn resume(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Asks the guest to reboot; returns at once.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn reboot(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Defines a guest, or redefines the one with the same name and UUID.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn define(&self, xml: &str) -> Result<(), HypervisorError>;

    /// Removes a guest's definition. A running guest runs on without one; a guest with a
    /// managed-save image, snapshots or checkpoints is refused, its firmware variables are kept.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn undefine(&self, guest: &str) -> Result<(), HypervisorError>;

    /// Whether nothing lies at that path, in a pool over its directory: the pool looks anew.
    ///
    /// # Errors
    /// [`HypervisorError`], also if there is no such pool, or it can't look now.
    fn is_free(&self, path: &str) -> Result<bool, HypervisorError>;

    /// Deletes the volume at that path, with all that is in it.
    ///
    /// # Errors
    /// [`HypervisorError`], also if no pool knows it.
    fn delete_volume(&self, path: &str) -> Result<(), HypervisorError>;

    /// Decides whether a guest starts with the host. It must have a definition.
    ///
    /// # Errors
    /// [`HypervisorError`].
    fn set_autostart(&self, guest: &str, autostart: bool) -> Result<(), HypervisorError>;
}

/// One migration, as libvirt is told of it (virDomainMigrateToURI3, virDomainMigrate3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MigrationOrder {
    /// Who carries it out, and to where.
    pub route: Route,
    /// What travels.
    pub transfer: Transfer,
    /// Give the destination a definition that outlives the guest.
    pub persist_destination: bool,
    /// Remove the source's definition once the guest runs at the destination.
    pub undefine_source: bool,
    /// The guest's name at the destination, if another.
    pub destination_name: Option<String>,
    /// The XML the guest runs with at the destination, if another.
    pub destination_xml: Option<String>,
    /// The definition that stays at the destination, if another.
    pub persistent_xml: Option<String>,
    /// Where the memory goes, if not where libvirt chooses.
    pub migration_uri: Option<String>,
    /// MiB/s at most.
    pub bandwidth: Option<u64>,
    /// MiB/s at most after the switch to post-copy.
    pub post_copy_bandwidth: Option<u64>,
    /// Let [`Migrator::start_post_copy`] work.
    pub post_copy: bool,
    /// Take up a migration again that broke off in post-copy phase.
    pub resume_post_copy: bool,
    /// Slow the guest down until its memory can be copied.
    pub auto_converge: Option<AutoConverge>,
    /// This many streams.
    pub parallel: Option<u32>,
    /// Compress the memory.
    pub compression: Vec<Compression>,
    /// Encrypt the memory by the hypervisor's own TLS.
    pub tls: bool,
    /// The name in the destination's certificate, if not its host name.
    pub tls_destination: Option<String>,
    /// Copy disks.
    pub storage: StorageCopy,
    /// The disks to copy, by target; empty for all that are neither shared nor read-only.
    pub disks: Vec<String>,
    /// Let a guest whose disks libvirt does not take for shared and coherent go all the same.
    pub allow_unsafe: bool,
    /// Give up when a disk fails meanwhile.
    pub abort_on_io_error: bool,
}

impl MigrationOrder {
    /// A plain migration: nothing persisted, nothing undefined, libvirt's defaults.
    pub fn new(route: Route, transfer: Transfer) -> Self {
        Self {
            route,
            transfer,
            persist_destination: false,
            undefine_source: false,
            destination_name: None,
            destination_xml: None,
            persistent_xml: None,
            migration_uri: None,
            bandwidth: None,
            post_copy_bandwidth: None,
            post_copy: false,
            resume_post_copy: false,
            auto_converge: None,
            parallel: None,
            compression: Vec::new(),
            tls: false,
            tls_destination: None,
            storage: StorageCopy::None,
            disks: Vec::new(),
            allow_unsafe: false,
            abort_on_io_error: false,
        }
    }
}

/// Who carries a migration out. The URI is the destination's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Route {
    /// The source's libvirt talks to the destination's; it goes on if we die.
    PeerToPeer(String),
    /// We talk to both; it is cancelled if we die.
    Direct(String),
}

/// What travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transfer {
    /// The definition of a guest that does not run.
    Offline,
    /// A running guest, which runs meanwhile.
    Live,
    /// A running guest, which stands still meanwhile.
    Paused,
}

/// How hard a guest is slowed down, in percent; libvirt's defaults where `None`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AutoConverge {
    /// At first.
    pub initial: Option<u8>,
    /// More at each further step.
    pub increment: Option<u8>,
}

/// A way to compress memory pages.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum Compression {
    Xbzrle,
    MultiThread,
    Zlib,
    Zstd,
}

/// Which part of the disks is copied.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum StorageCopy {
    /// None: the storage is shared.
    #[default]
    None,
    /// All of them.
    Full,
    /// What lies above the backing images, which the destination has.
    Incremental,
}

/// What libvirt tells of a job. Bytes, unless said otherwise; what it does not tell is `None`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JobStats {
    /// How far it is.
    pub kind: JobKind,
    /// What it does.
    pub operation: JobOperation,
    /// Milliseconds since it began.
    pub elapsed: Option<u64>,
    /// Milliseconds it may still take.
    pub remaining: Option<u64>,
    /// Milliseconds the guest stood or will stand still.
    pub downtime: Option<u64>,
    /// Memory and disks.
    pub data_total: Option<u64>,
    /// Memory and disks.
    pub data_processed: Option<u64>,
    /// Memory and disks.
    pub data_remaining: Option<u64>,
    /// Memory alone.
    pub memory_total: Option<u64>,
    /// Memory alone.
    pub memory_processed: Option<u64>,
    /// Memory alone.
    pub memory_remaining: Option<u64>,
    /// Bytes a second.
    pub memory_rate: Option<u64>,
    /// Pages dirtied a second.
    pub dirty_rate: Option<u64>,
    /// Bytes in a page.
    pub page_size: Option<u64>,
    /// The pass over the memory, from 1.
    pub iteration: Option<u64>,
    /// Pages the destination had to ask for.
    pub post_copy_requests: Option<u64>,
    /// Disks alone.
    pub disk_total: Option<u64>,
    /// Disks alone.
    pub disk_processed: Option<u64>,
    /// Disks alone.
    pub disk_remaining: Option<u64>,
    /// Bytes a second.
    pub disk_rate: Option<u64>,
    /// Percent by which the guest is slowed down.
    pub throttle: Option<i32>,
    /// Whether a job that ended did so well.
    pub success: Option<bool>,
    /// Why one that ended badly did so.
    pub error: Option<String>,
}

/// How far a job is (virDomainJobType).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum JobKind {
    #[default]
    None,
    /// Runs; its end can be foreseen.
    Bounded,
    /// Runs; its end can't.
    Unbounded,
    Completed,
    Failed,
    Cancelled,
}

/// What a job does (virDomainJobOperation).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum JobOperation {
    #[default]
    Unknown,
    Start,
    Save,
    Restore,
    MigrationIn,
    MigrationOut,
    Snapshot,
    SnapshotRevert,
    Dump,
    Backup,
    SnapshotDelete,
    /// An operation newer than this program.
    Other(i32),
}

impl JobOperation {
    /// In libvirt's words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Unknown | Self::Other(_) => "job",
            Self::Start => "start",
            Self::Save => "save",
            Self::Restore => "restore",
            Self::MigrationIn => "incoming migration",
            Self::MigrationOut => "outgoing migration",
            Self::Snapshot => "snapshot",
            Self::SnapshotRevert => "snapshot revert",
            Self::Dump => "dump",
            Self::Backup => "backup",
            Self::SnapshotDelete => "snapshot delete",
        }
    }
}
