//! `[[hypervisor]]`, `[migration]` and what of `[compatibility]` concerns them.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, time::Duration};

use super::{Choice, FromNode, Node, Place, Section, section::Setting, value::OneOrMany};
use crate::{
    migration::{
        AllowedDestination, AllowedError, DestinationPolicy, DirectoryError, DiskDirectories,
        DiskDirectory, Mode, NamedDestination, Options, Transport,
    },
    providers::{CheckFailure, FailedJobState, Prefix},
};

/// One `[[hypervisor]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hypervisor {
    /// The connection's URI.
    pub uri: String,
    /// The prefix of its classes.
    pub prefix: Prefix,
}

impl Choice for Prefix {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("KVM", Self::Kvm),
        ("Xen", Self::Xen),
        ("LXC", Self::Lxc),
        // As it stands in class names.
        ("KVM_", Self::Kvm),
        ("Xen_", Self::Xen),
        ("LXC_", Self::Lxc),
    ];
}

impl Choice for CheckFailure {
    const WORDS: &'static [(&'static str, Self)] =
        &[("verdict", Self::Verdict), ("error", Self::Error)];
}

/// `[migration]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Migration {
    /// Who manages a migration.
    pub mode: Mode,
    /// Where guests may go, and how.
    pub policy: DestinationPolicy,
    /// Outgoing migrations at once.
    pub max_outgoing: NonZeroUsize,
    /// Migrations to one destination at once.
    pub max_per_destination: NonZeroUsize,
    /// Migrations that may wait for their turn.
    pub max_waiting: NonZeroUsize,
    /// How long a guest may take to shut down for a restart migration.
    pub shutdown_timeout: Duration,
    /// How long a guest that did not shut down in time is watched, should it still do so.
    pub late_shutdown: Duration,
    /// How long a migration may send nothing before it is given up.
    pub stall_timeout: Duration,
    /// How long a doubt about where a guest is may last before what can be decided is decided.
    pub patience: Duration,
    /// Where clients that are no administrators may find disks at a destination.
    pub disk_directories: DiskDirectories,
    /// Where MigrateSSHKeyCopy finds and puts keys; `None` is nowhere.
    pub ssh_key_directory: Option<PathBuf>,
    /// The JobState of a job that failed.
    pub failed_job_state: FailedJobState,
}

impl Choice for Mode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("peer-to-peer", Self::PeerToPeer), ("direct", Self::Direct)];
}

impl Choice for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ssh", Self::Ssh),
        ("tls", Self::Tls),
        ("tls-strict", Self::TlsStrict),
        ("tcp", Self::Tcp),
        ("unix", Self::Unix),
    ];
}

impl Choice for FailedJobState {
    const WORDS: &'static [(&'static str, Self)] =
        &[("completed", Self::Completed), ("exception", Self::Exception)];
}

/// Reads `[[hypervisor]]`; without any it is the system's QEMU.
pub(super) fn hypervisors(root: &mut Section<'_>) -> Vec<Hypervisor> {
    let mut hypervisors: Vec<Hypervisor> = Vec::new();
    for (mut section, place) in root.list("hypervisor").unwrap_or_default() {
        let uri = section.setting::<String>("uri");
        let prefix = section.setting::<Prefix>("prefix");
        match uri {
            None => section.report(&place, "hypervisor.uri is missing"),
            Some(uri) => {
                check_uri(&section, "uri", &uri);
                let prefix = prefix.map_or_else(|| Prefix::of_uri(&uri.value), |set| set.value);
                if let Some(other) = hypervisors.iter().find(|other| other.prefix == prefix) {
                    let message = format!(
                        "{} and {} have the prefix {} both: give one of them another prefix",
                        other.uri,
                        uri.value,
                        prefix.name()
                    );
                    section.report(&uri.place, message);
                }
                hypervisors.push(Hypervisor { uri: uri.value, prefix });
            }
        }
        section.finish();
    }
    if hypervisors.is_empty() {
        hypervisors.push(Hypervisor { uri: "qemu:///system".into(), prefix: Prefix::Kvm });
    }
    hypervisors
}

/// A libvirt URI begins with a driver's name.
fn check_uri(section: &Section<'_>, key: &str, uri: &Setting<String>) {
    let scheme = uri.value.split_once("://").map(|(scheme, _)| scheme);
    let good = scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    if !good {
        let name = section.full(key);
        let message =
            format!("{name}: expected a URI like \"qemu:///system\", found {:?}", uri.value);
        section.report(&uri.place, message);
    }
}

pub(super) fn not_zero(section: &Section<'_>, key: &str, setting: &Setting<Duration>) {
    if setting.value.is_zero() {
        section.report(&setting.place, format!("{} must be greater than 0", section.full(key)));
    }
}

/// Reads `[migration]`.
pub(super) fn migration(root: &mut Section<'_>) -> Migration {
    let mut section = root.section("migration");
    let mut patience = |key: &'static str, default: Duration| {
        let timeout = section.setting::<Duration>(key);
        if let Some(timeout) = &timeout {
            not_zero(&section, key, timeout);
        }
        timeout.map_or(default, |timeout| timeout.value)
    };
    let defaults = Options::default();
    let shutdown_timeout = patience("shutdown-timeout", defaults.shutdown_timeout);
    let stall_timeout = patience("stall-timeout", defaults.stall);
    let patience = patience("patience", defaults.patience);
    let two = NonZeroUsize::MIN.saturating_add(1);
    let migration = Migration {
        mode: section.or("mode", Mode::PeerToPeer),
        policy: policy(&mut section),
        max_outgoing: section.or("max-outgoing", two),
        max_per_destination: section.or("max-per-destination", two),
        max_waiting: section.or("max-waiting", NonZeroUsize::MIN.saturating_add(999)),
        shutdown_timeout,
        late_shutdown: section.or("late-shutdown", defaults.late_shutdown),
        stall_timeout,
        patience,
        disk_directories: section
            .optional::<OneOrMany<DiskDirectory>>("allowed-disk-directories")
            .map(|directories| DiskDirectories(directories.0))
            .unwrap_or_default(),
        ssh_key_directory: section.optional("ssh-key-directory"),
        failed_job_state: section.or("failed-job-state", FailedJobState::Completed),
    };
    section.finish();
    migration
}

fn policy(migration: &mut Section<'_>) -> DestinationPolicy {
    let defaults = DestinationPolicy::default();
    let transports = migration
        .optional::<OneOrMany<Transport>>("allowed-transports")
        .map_or(defaults.transports, |transports| transports.0);
    let written = migration.setting::<Transport>("default-transport");
    let default_transport =
        written.as_ref().map_or(defaults.default_transport, |transport| transport.value);
    if !transports.contains(&default_transport) {
        let place = written.map_or(Place::Nowhere, |transport| transport.place);
        migration.report(&place, "migration.default-transport is not in allowed-transports");
    }
    DestinationPolicy {
        allowed: migration
            .optional::<OneOrMany<AllowedDestination>>("allowed-destinations")
            .map(|destinations| destinations.0),
        transports,
        default_transport,
        named: destinations(migration),
    }
}

impl FromNode for AllowedDestination {
    fn from_node(node: &Node) -> Result<Self, String> {
        String::from_node(node)?.parse().map_err(|error: AllowedError| error.to_string())
    }
}

impl FromNode for DiskDirectory {
    fn from_node(node: &Node) -> Result<Self, String> {
        String::from_node(node)?.parse().map_err(|error: DirectoryError| error.to_string())
    }
}

fn destinations(migration: &mut Section<'_>) -> BTreeMap<String, NamedDestination> {
    let mut destinations = BTreeMap::new();
    for (name, mut section, place) in migration.section("destinations").subsections() {
        let uri = section.setting::<String>("uri");
        let migration_uri = section.setting::<String>("migration-uri");
        match &uri {
            Some(uri) => check_uri(&section, "uri", uri),
            None => section.report(&place, format!("{} is missing", section.full("uri"))),
        }
        section.finish();
        if let Some(uri) = uri {
            let migration_uri = migration_uri.map(|setting| setting.value);
            destinations.insert(name, NamedDestination { uri: uri.value, migration_uri });
        }
    }
    destinations
}
