//! The guest's disks: whether the destination reaches what they are on, and what is needed to copy them.

use std::{collections::BTreeMap, path::Path};

use nix::sys::statfs::statfs;

use super::{Facts, Notes, Severity};
use crate::hypervisor::{
    Element, Hypervisor, HypervisorError, SecretRef, StorageCopy, StoragePool,
};

/// Filesystems that several hosts mount at once, by their magic numbers; libvirt's list.
const SHARED_FILESYSTEMS: &[i64] = &[
    0x6969,      // NFS
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
    0x5346_414f, // AFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x00c3_6400, // Ceph
    0x4750_4653, // GPFS
    0x0bd0_0bd0, // Lustre
    0x5155_4f42, // Quobyte
];

/// A FUSE filesystem may be GlusterFS or Quobyte, or not.
const FUSE: i64 = 0x6573_5546;

/// One disk with a source that the guest can write.
struct Disk<'a> {
    target: &'a str,
    kind: &'a str,
    source: &'a Element,
    /// Where it is at the source.
    here: Option<&'a str>,
    /// Whether its content travels with the guest.
    copied: bool,
}

impl<'a> Disk<'a> {
    /// The file or device it is on at the destination.
    fn path(&self) -> Option<&'a str> {
        path(self.kind, self.source)
    }

    fn subject(&self) -> String {
        format!("disk {}", self.target)
    }
}

fn path<'a>(kind: &str, source: &'a Element) -> Option<&'a str> {
    match kind {
        "file" => source.attribute("file"),
        "block" => source.attribute("dev"),
        _ => None,
    }
}

/// The file or device that a disk is on at the source.
fn path_here<'a>(facts: &'a Facts<'_>, target: &str) -> Option<&'a str> {
    let devices = facts.here.as_ref()?.child("devices")?;
    let mut disks = devices.children_named("disk");
    let disk = disks.find(|disk| disk.attribute_at("target", "dev") == Some(target))?;
    path(disk.attribute("type").unwrap_or("file"), disk.child("source")?)
}

fn writable<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = Disk<'a>> {
    let copies = facts.inputs.storage != StorageCopy::None;
    let chosen = &facts.inputs.disks;
    facts.devices("disk").filter_map(move |disk| {
        let target = disk.attribute_at("target", "dev")?;
        let source = disk.child("source")?;
        // QEMU copies what can be written and is not shared, unless told which disks.
        let fixed = disk.child("readonly").is_some() || disk.child("shareable").is_some();
        let copied =
            copies && if chosen.is_empty() { !fixed } else { chosen.iter().any(|it| it == target) };
        let removable = matches!(disk.attribute("device"), Some("cdrom" | "floppy"));
        if (removable || disk.child("readonly").is_some()) && !copied {
            return None;
        }
        let kind = disk.attribute("type").unwrap_or("file");
        Some(Disk { target, kind, source, here: path_here(facts, target), copied })
    })
}

/// VMC005.
pub(super) fn reachable(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(destination) = facts.real_destination() else { return };
    let severity = facts.inputs.movement.lack();
    for target in &facts.inputs.disks {
        if !facts.devices("disk").any(|disk| disk.attribute_at("target", "dev") == Some(target)) {
            notes
                .error(format!("disk {target}"), format!("The guest has no disk {target} to copy."))
                .argument(target)
                .remedy("Name disks by their target names, such as vda.");
        }
    }
    for disk in writable(facts) {
        match disk.kind {
            "volume" => pool_is_there(destination, &disk, severity, notes),
            "file" if disk.copied => copy_has_a_pool(facts, destination, &disk, notes),
            "file" | "block" if disk.path() != disk.here => {
                image_is_there(destination, &disk, notes)
            }
            _ => {}
        }
    }
}

fn pool_is_there(
    destination: &dyn Hypervisor,
    disk: &Disk<'_>,
    severity: Severity,
    notes: &mut Notes<'_>,
) {
    let Some(name) = disk.source.attribute("pool") else { return };
    let (subject, target) = (disk.subject(), disk.target);
    let told = destination.pool(name);
    match notes.answer(&subject, "whether the destination has the disk's pool", told) {
        None | Some(Some(StoragePool { active: true, .. })) => {}
        Some(found) => {
            let state = if found.is_some() { "is not active" } else { "does not exist" };
            notes
                .note(
                    severity,
                    subject,
                    format!("Disk {target} is in pool {name}, which {state} at the destination."),
                )
                .argument(target)
                .argument(name)
                .remedy("Define and start the pool at the destination.");
        }
    }
}

/// Where a client says that a disk is. Only what is in a pool can be seen from here, and a pool does not
/// show what came since its last refresh.
fn image_is_there(destination: &dyn Hypervisor, disk: &Disk<'_>, notes: &mut Notes<'_>) {
    let Some(path) = disk.path() else { return };
    let (subject, target) = (disk.subject(), disk.target);
    let asked = "whether the destination has the disk's image";
    if notes.answer(&subject, asked, destination.volume(path)).flatten().is_some() {
        return;
    }
    let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    let pool = notes.answer(&subject, asked, destination.pool_at(directory)).flatten();
    if let Some(StoragePool { name, active: true, .. }) = pool {
        notes
            .warning(
                subject,
                format!("The destination's pool {name} does not show {path} for disk {target}."),
            )
            .argument(name)
            .argument(path)
            .argument(target)
            .remedy("Put the image there, or refresh the pool if it is there.");
    }
}

/// libvirt makes the copies of disks in pools.
fn copy_has_a_pool(
    facts: &Facts<'_>,
    destination: &dyn Hypervisor,
    disk: &Disk<'_>,
    notes: &mut Notes<'_>,
) {
    let Some(path) = disk.path() else { return };
    let (subject, target) = (disk.subject(), disk.target);
    let asked = "where the destination would put the copy";
    let there = notes.answer(&subject, asked, destination.volume(path)).flatten().is_some();
    match facts.inputs.storage {
        StorageCopy::Incremental if !there => {
            notes
                .error(
                    subject,
                    format!("The destination has no image {path}, into which disk {target} could be copied incrementally."),
                )
                .argument(target)
                .argument(path)
                .remedy("Make an image of the same size and over the same backing image there, or copy the whole disk.");
            return;
        }
        StorageCopy::Full if there => {
            notes
                .warning(
                    subject,
                    format!("The destination has {path} already: disk {target} is copied over it."),
                )
                .argument(target)
                .argument(path)
                .remedy("Move it away if it is of any use.");
            return;
        }
        StorageCopy::None | StorageCopy::Full | StorageCopy::Incremental if there => return,
        StorageCopy::None | StorageCopy::Full | StorageCopy::Incremental => {}
    }
    let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    match notes.answer(&subject, asked, destination.pool_at(directory)) {
        None | Some(Some(StoragePool { active: true, .. })) => {}
        Some(_) => {
            notes
                .error(
                    subject,
                    format!(
                        "The destination has no active pool over {directory} for disk {target}."
                    ),
                )
                .argument(target)
                .argument(directory)
                .remedy("Define and start a pool over that directory at the destination.");
        }
    }
}

/// VMC006.
pub(super) fn unsafe_storage(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Ok(source) = &facts.source_host else { return };
    // Only what our own host has can be looked at.
    let local = source.driver == "QEMU" && source.uri.contains(":///");
    let severity =
        if facts.inputs.movement.moves_memory() { Severity::Error } else { Severity::Warning };
    for disk in writable(facts).filter(|disk| !disk.copied) {
        let target = disk.target;
        if disk.kind == "nvme" {
            notes
                .note(
                    severity,
                    disk.subject(),
                    format!("Disk {target} is an NVMe device of the source."),
                )
                .argument(target)
                .remedy("Move the disk to storage that both hosts reach.");
        }
        // libvirt looks at where the disk is now, wherever it will be.
        let Some(path) = disk.here.filter(|_| disk.kind == "file" && local) else { continue };
        if is_local(Path::new(path)) == Some(true) {
            notes
                .note(
                    severity,
                    disk.subject(),
                    format!("Disk {target} is on storage of the source alone: {path}."),
                )
                .argument(target)
                .argument(path)
                .remedy("Let the disk be copied (StorageCopy), or move it to storage that both hosts reach.");
        }
    }
}

/// Whether only this host has what lies at `path`; `None` if we can't tell.
fn is_local(path: &Path) -> Option<bool> {
    let kind = statfs(path).ok()?.filesystem_type().0;
    match kind & 0xffff_ffff {
        FUSE => None,
        kind => Some(!SHARED_FILESYSTEMS.contains(&kind)),
    }
}

/// VMC013.
pub(super) fn secrets(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(destination) = facts.real_destination() else { return };
    let mut needed: Vec<(String, SecretRef)> = Vec::new();
    for disk in facts.devices("disk") {
        let target = disk.attribute_at("target", "dev").unwrap_or("without a name");
        collect_secrets(disk, &format!("disk {target}"), None, &mut needed);
    }
    for tpm in facts.devices("tpm") {
        collect_secrets(tpm, "tpm", None, &mut needed);
    }
    for (subject, secret) in needed {
        let named = match &secret {
            SecretRef::Uuid(uuid) => uuid.clone(),
            SecretRef::Usage { kind, name } => format!("{name} (usage {kind})"),
        };
        let told = destination.has_secret(&secret);
        if notes.answer(&subject, "whether the destination has the secret", told) == Some(false) {
            let severity = facts.inputs.movement.lack();
            let message = format!("The destination lacks secret {named}, which {subject} needs.");
            notes
                .note(severity, subject, message)
                .argument(named)
                .remedy("Define the secret at the destination and set its value.");
        }
    }
}

/// Secrets are named in `<auth>` and `<encryption>`, which may stand below a disk or its sources.
fn collect_secrets(
    element: &Element,
    subject: &str,
    auth: Option<&str>,
    into: &mut Vec<(String, SecretRef)>,
) {
    for child in &element.children {
        if child.name != "secret" {
            // In `<auth>` the secret's own type says what it is for; in `<encryption>` the usage is a
            // volume's.
            let within = if child.name == "encryption" { Some("volume") } else { auth };
            collect_secrets(child, subject, within, into);
            continue;
        }
        let secret = match (child.attribute("uuid"), child.attribute("usage")) {
            (Some(uuid), _) => SecretRef::Uuid(uuid.to_owned()),
            (None, Some(name)) => {
                let Some(kind) = auth.or_else(|| child.attribute("type")) else { continue };
                SecretRef::Usage { kind: kind.to_owned(), name: name.to_owned() }
            }
            (None, None) => continue,
        };
        into.push((subject.to_owned(), secret));
    }
}

/// VMC014.
pub(super) fn space(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(destination) = facts.real_destination() else { return };
    let mut needed: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for disk in writable(facts).filter(|disk| disk.copied) {
        let Some(path) = disk.path() else { continue };
        // Not what a pool remembers of the image, which may be another one by now.
        let here = disk.here.unwrap_or(path);
        let asked = facts.inputs.source.disk_capacity(&facts.inputs.guest, here);
        let Some(capacity) = notes.answer(&disk.subject(), "how large the disk is", asked) else {
            continue;
        };
        // One that is there already takes no more room.
        if matches!(destination.volume(path), Ok(Some(_))) {
            continue;
        }
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        match destination.pool_at(directory) {
            Ok(Some(pool)) => {
                let entry = needed.entry(pool.name).or_insert((0, pool.available));
                entry.0 = entry.0.saturating_add(capacity);
            }
            // VMC005 says so.
            Ok(None) | Err(HypervisorError::Unsupported { .. }) => {}
            Err(error) => {
                notes.answer::<()>(
                    &disk.subject(),
                    "how much room the destination has",
                    Err(error),
                );
            }
        }
    }
    for (pool, (bytes, available)) in needed {
        if bytes > available {
            let (needed, available) = (bytes.div_ceil(1 << 20), available >> 20);
            notes
                .error(
                    format!("pool {pool}"),
                    format!(
                        "The copied disks need {needed} MiB in pool {pool}; the destination has \
                         {available} MiB there."
                    ),
                )
                .argument(pool)
                .argument(needed)
                .argument(available)
                .remedy("Make room in the pool, or copy fewer disks.");
        }
    }
}
