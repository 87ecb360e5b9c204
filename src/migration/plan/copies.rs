//! The disks that libvirt makes at the destination, to copy the guest's into them.

use super::{Edits, Settings};
use crate::hypervisor::{Element, StorageCopy};

/// Where the copies of the guest's disks will lie at the destination, as far as they are files. An
/// incremental copy goes into images that are there already.
pub fn copied_files(settings: &Settings, edits: &Edits, live_xml: &str) -> Vec<String> {
    let copies = settings.storage == StorageCopy::Full && settings.migration_type.moves_memory();
    let Some(guest) = Element::parse(live_xml).ok().filter(|_| copies) else { return Vec::new() };
    let Some(devices) = guest.child("devices") else { return Vec::new() };
    let path = |disk: &Element| {
        let target = disk.attribute_at("target", "dev")?;
        // libvirt copies what can be written and is not shared, unless told which disks.
        let fixed = disk.child("readonly").is_some() || disk.child("shareable").is_some();
        let chosen = match settings.disks.as_slice() {
            [] => !fixed,
            disks => disks.iter().any(|it| it == target),
        };
        let here = disk.attribute_at("source", "file").filter(|_| chosen)?;
        let edit = edits.disks.iter().find(|edit| edit.target == target);
        Some(edit.map_or(here, |edit| &edit.path).to_owned())
    };
    devices.children_named("disk").filter_map(path).collect()
}
