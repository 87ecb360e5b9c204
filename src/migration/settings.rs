//! What a client wants of one migration, decided: every value in its range, and no two that exclude
//! each other.
//!
//! [`SettingsSpec`] is what was asked for, each property as it came or absent. [`Settings::decide`]
//! fills in what is absent and refuses what can't be, by the property's name. What depends on the hosts
//! (versions, devices) is left to the checks.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Destination, DestinationError, DestinationPolicy};
use crate::hypervisor::{AutoConverge, Compression, MigrationOrder, Route, StorageCopy, Transfer};

/// QEMU counts bytes in 63 bits.
const MAX_BANDWIDTH: u64 = i64::MAX as u64 >> 20;
/// QEMU's own limit, 2000 seconds.
const MAX_DOWNTIME: u64 = 2_000_000;
/// QEMU's own limit of streams.
const MAX_CONNECTIONS: u16 = 255;
/// More disks than any machine type takes.
const MAX_DISKS: usize = 256;

/// How a guest is moved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum MigrationType {
    /// Only its definition: it does not run.
    Offline,
    /// It runs meanwhile.
    Live,
    /// It stands still meanwhile and then goes on.
    Resume,
    /// It shuts down here and boots there.
    Restart,
}

impl MigrationType {
    /// The value of `VIRTCIMD_MIGRATION_TYPE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Live => "live",
            Self::Resume => "resume",
            Self::Restart => "restart",
        }
    }

    /// Whether a running guest's memory travels.
    pub fn moves_memory(self) -> bool {
        match self {
            Self::Live | Self::Resume => true,
            Self::Offline | Self::Restart => false,
        }
    }
}

/// What happens to a migration that takes too long.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TimeoutAction {
    /// It is given up; the guest runs on at the source.
    Abort,
    /// The guest is paused so that the copy can end.
    Pause,
    /// The guest goes on at the destination at once.
    PostCopy,
}

/// What was asked for. The fields are named after the setting data's properties.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the setting data's properties")]
pub struct SettingsSpec {
    pub migration_type: Option<MigrationType>,
    pub priority: Option<u16>,
    /// In MiB/s.
    pub bandwidth: Option<u64>,
    /// In milliseconds.
    pub max_downtime: Option<u64>,
    pub auto_converge: Option<bool>,
    pub post_copy: Option<bool>,
    pub parallel_connections: Option<u16>,
    /// `Some(None)` is compression that was asked to be off.
    pub compression: Option<Option<Compression>>,
    pub encrypt_data: Option<bool>,
    pub storage_copy: Option<StorageCopy>,
    pub storage_copy_disks: Option<Vec<String>>,
    pub migration_uri: Option<String>,
    /// In seconds.
    pub migration_timeout: Option<u32>,
    pub timeout_action: Option<TimeoutAction>,
    pub persist_at_destination: Option<bool>,
    pub undefine_source: Option<bool>,
}

/// What is done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Settings {
    /// How the guest is moved.
    pub migration_type: MigrationType,
    /// Among jobs that wait.
    pub priority: u16,
    /// MiB/s at most.
    pub bandwidth: Option<u64>,
    /// How long the guest may stand still at the switch-over.
    pub max_downtime: Option<Duration>,
    /// Slow the guest down until its memory can be copied.
    pub auto_converge: bool,
    /// The guest may run at the destination before all of its memory is there.
    pub post_copy: bool,
    /// So many streams.
    pub parallel: Option<u16>,
    /// How memory is compressed.
    pub compression: Option<Compression>,
    /// Send memory and disks through the hypervisor's TLS.
    pub encrypt: bool,
    /// Which part of the disks is copied.
    pub storage: StorageCopy,
    /// The disks to copy; empty for all that need it.
    pub disks: Vec<String>,
    /// Where the client wants the memory to go, rebuilt from its parts.
    pub migration_uri: Option<String>,
    /// How long the copying may take, and what happens then.
    pub timeout: Option<(Duration, TimeoutAction)>,
    /// Whether the destination defines the guest; `None` is as at the source.
    pub persist: Option<bool>,
    /// Whether the source forgets the guest.
    pub undefine: bool,
}

/// Why settings are refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// A value is out of its range.
    #[error("{property}: {value} is not allowed: {allowed}")]
    OutOfRange {
        /// The property.
        property: &'static str,
        /// What was received.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A value does not go with the type of migration.
    #[error("{property} has no meaning for a migration of type {}", migration_type.as_str())]
    NotForType {
        /// The property.
        property: &'static str,
        /// The type.
        migration_type: MigrationType,
    },
    /// Two values exclude each other, or one needs another.
    #[error("{first} and {second} can't be combined: {reason}")]
    Conflict {
        /// One property.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The migration's address is no host.
    #[error("MigrationURI: {0}")]
    Address(DestinationError),
    /// The administrator does not allow the migration's address.
    #[error("MigrationURI: {0} is not in migration.allowed-destinations")]
    AddressNotAllowed(Destination),
}

impl SettingsError {
    /// The property that is at fault.
    pub fn property(&self) -> &'static str {
        match self {
            Self::OutOfRange { property, .. } | Self::NotForType { property, .. } => property,
            Self::Conflict { first, .. } => first,
            Self::Address(_) | Self::AddressNotAllowed(_) => "MigrationURI",
        }
    }
}

impl Settings {
    /// Decides what is done of what was asked for.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn decide(spec: SettingsSpec, policy: &DestinationPolicy) -> Result<Self, SettingsError> {
        let migration_type = spec.migration_type.unwrap_or(MigrationType::Live);
        only_where_it_means_something(&spec, migration_type)?;
        within("Bandwidth", spec.bandwidth, 1, MAX_BANDWIDTH, "1 MiB/s to 2^43 MiB/s")?;
        within("MaxDowntime", spec.max_downtime, 1, MAX_DOWNTIME, "1 to 2000000 milliseconds")?;
        let connections = spec.parallel_connections;
        within("ParallelConnections", connections, 1, MAX_CONNECTIONS, "1 to 255")?;
        let auto_converge = spec.auto_converge.unwrap_or(false);
        let post_copy = spec.post_copy.unwrap_or(false);
        let compression = spec.compression.flatten();
        let storage = spec.storage_copy.unwrap_or_default();
        compression_fits(compression, connections)?;
        let undefine = definition_is_kept(&spec, migration_type)?;
        Ok(Self {
            migration_type,
            priority: spec.priority.unwrap_or(0),
            bandwidth: spec.bandwidth,
            max_downtime: spec.max_downtime.map(Duration::from_millis),
            auto_converge,
            post_copy,
            parallel: connections,
            compression,
            encrypt: spec.encrypt_data.unwrap_or(false),
            storage,
            timeout: timeout(&spec, post_copy)?,
            persist: spec.persist_at_destination,
            undefine,
            migration_uri: spec.migration_uri.map(|uri| address(&uri, policy)).transpose()?,
            disks: disks(spec.storage_copy_disks, storage)?,
        })
    }

    /// What libvirt is told to do; `None` for a restart, which is no migration to libvirt. A guest
    /// without a definition leaves none at the source.
    pub fn order(&self, route: Route, source_is_persistent: bool) -> Option<MigrationOrder> {
        let transfer = match self.migration_type {
            MigrationType::Offline => Transfer::Offline,
            MigrationType::Live => Transfer::Live,
            MigrationType::Resume => Transfer::Paused,
            MigrationType::Restart => return None,
        };
        Some(MigrationOrder {
            persist_destination: self.persist.unwrap_or(source_is_persistent),
            undefine_source: self.undefine && source_is_persistent,
            migration_uri: self.migration_uri.clone(),
            bandwidth: self.bandwidth,
            post_copy_bandwidth: self.bandwidth.filter(|_| self.post_copy),
            post_copy: self.post_copy,
            auto_converge: self.auto_converge.then(AutoConverge::default),
            parallel: self.parallel.map(u32::from),
            compression: self.compression.into_iter().collect(),
            tls: self.encrypt,
            storage: self.storage,
            disks: self.disks.clone(),
            ..MigrationOrder::new(route, transfer)
        })
    }
}

fn within<T: PartialOrd + ToString>(
    property: &'static str,
    value: Option<T>,
    least: T,
    most: T,
    allowed: &'static str,
) -> Result<(), SettingsError> {
    match value {
        Some(value) if value < least || value > most => {
            Err(SettingsError::OutOfRange { property, value: value.to_string(), allowed })
        }
        Some(_) | None => Ok(()),
    }
}

fn only_where_it_means_something(
    spec: &SettingsSpec,
    migration_type: MigrationType,
) -> Result<(), SettingsError> {
    let live = migration_type == MigrationType::Live;
    let memory = migration_type.moves_memory();
    let on = |flag: Option<bool>| flag == Some(true);
    let rules = [
        ("Bandwidth", spec.bandwidth.is_some(), memory),
        ("MaxDowntime", spec.max_downtime.is_some(), live),
        ("AutoConverge", on(spec.auto_converge), live),
        ("PostCopy", on(spec.post_copy), live),
        ("ParallelConnections", spec.parallel_connections.is_some(), memory),
        ("Compression", matches!(spec.compression, Some(Some(_))), memory),
        ("EncryptData", on(spec.encrypt_data), memory),
        ("StorageCopy", spec.storage_copy.is_some_and(|it| it != StorageCopy::None), memory),
        ("MigrationURI", spec.migration_uri.is_some(), memory),
        ("MigrationTimeout", spec.migration_timeout.is_some_and(|it| it > 0), memory),
    ];
    match rules.into_iter().find(|(_, asked, allowed)| *asked && !allowed) {
        Some((property, ..)) => Err(SettingsError::NotForType { property, migration_type }),
        None => Ok(()),
    }
}

/// QEMU compresses a single stream in one way and parallel ones in another.
fn compression_fits(
    compression: Option<Compression>,
    connections: Option<u16>,
) -> Result<(), SettingsError> {
    let conflict = |reason| {
        let (first, second) = ("Compression", "ParallelConnections");
        Err(SettingsError::Conflict { first, second, reason })
    };
    match (compression, connections) {
        (Some(Compression::Xbzrle | Compression::MultiThread), Some(_)) => {
            conflict("this compression works on a single connection only")
        }
        (Some(Compression::Zlib | Compression::Zstd), None) => {
            conflict("zlib and zstd need parallel connections")
        }
        _ => Ok(()),
    }
}

fn timeout(
    spec: &SettingsSpec,
    post_copy: bool,
) -> Result<Option<(Duration, TimeoutAction)>, SettingsError> {
    let limit = spec.migration_timeout.filter(|seconds| *seconds > 0);
    let conflict =
        |second, reason| SettingsError::Conflict { first: "TimeoutAction", second, reason };
    match (limit, spec.timeout_action) {
        (None, Some(_)) => Err(conflict("MigrationTimeout", "there is no timeout to act upon")),
        (Some(_), Some(TimeoutAction::PostCopy)) if !post_copy => {
            Err(conflict("PostCopy", "switching to post-copy needs PostCopy to be true"))
        }
        (Some(seconds), action) => {
            let action = action.unwrap_or(TimeoutAction::Abort);
            Ok(Some((Duration::from_secs(seconds.into()), action)))
        }
        (None, None) => Ok(None),
    }
}

/// Whether the source forgets the guest: never where the destination would not keep it.
fn definition_is_kept(
    spec: &SettingsSpec,
    migration_type: MigrationType,
) -> Result<bool, SettingsError> {
    if spec.persist_at_destination != Some(false) {
        return Ok(spec.undefine_source.unwrap_or(true));
    }
    if !migration_type.moves_memory() {
        return Err(SettingsError::OutOfRange {
            property: "PersistAtDestination",
            value: "false".to_owned(),
            allowed: "a guest that arrives without running needs a definition there",
        });
    }
    match spec.undefine_source {
        Some(true) => Err(SettingsError::Conflict {
            first: "UndefineSource",
            second: "PersistAtDestination",
            reason: "neither host would keep the guest's definition",
        }),
        Some(false) | None => Ok(false),
    }
}

fn disks(asked: Option<Vec<String>>, storage: StorageCopy) -> Result<Vec<String>, SettingsError> {
    let property = "StorageCopyDisks";
    let disks = asked.unwrap_or_default();
    if !disks.is_empty() && storage == StorageCopy::None {
        let reason = "disks are only copied where StorageCopy says so";
        return Err(SettingsError::Conflict { first: property, second: "StorageCopy", reason });
    }
    if disks.len() > MAX_DISKS {
        let value = format!("a list of {}", disks.len());
        return Err(SettingsError::OutOfRange { property, value, allowed: "at most 256 disks" });
    }
    let mut seen = BTreeSet::new();
    for disk in &disks {
        let good =
            (1..=32).contains(&disk.len()) && disk.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !good || !seen.insert(disk) {
            let value = format!("{:?}", disk.chars().take(64).collect::<String>());
            let allowed = "a target name such as vda, each once";
            return Err(SettingsError::OutOfRange { property, value, allowed });
        }
    }
    Ok(disks)
}

/// `tcp://HOST[:PORT]` or just `HOST[:PORT]`, rebuilt from its parts: libvirt would take sockets, other
/// protocols and parameters here as well.
fn address(text: &str, policy: &DestinationPolicy) -> Result<String, SettingsError> {
    let rest = text.strip_prefix("tcp://").unwrap_or(text);
    let destination = Destination::parse(rest).map_err(|error| {
        let before = text.len() - rest.len();
        let text = text.chars().take(256).collect();
        SettingsError::Address(DestinationError {
            text,
            position: before + error.position,
            ..error
        })
    })?;
    if !policy.admits(destination.host()) {
        return Err(SettingsError::AddressNotAllowed(destination));
    }
    Ok(format!("tcp://{destination}"))
}
