//! Devices that tie the guest to its host, and what it needs of the network.

use std::net::IpAddr;

use super::{Facts, Notes, Severity};
use crate::hypervisor::Element;

/// VMC007.
pub(super) fn tied(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(domain) = &facts.xml else { return };
    let moves_memory = facts.inputs.movement.moves_memory();
    for device in domain.child("devices").iter().flat_map(|devices| &devices.children) {
        let Some(tie) = tie(device, moves_memory) else { continue };
        let severity = if moves_memory && tie.blocks { Severity::Error } else { Severity::Warning };
        notes
            .note(severity, tie.subject, tie.message)
            .argument(tie.what)
            .remedy("Detach the device before the migration and attach one at the destination.");
    }
    let security = domain.child("launchSecurity").filter(|_| moves_memory);
    if let Some(kind) = security.and_then(|security| security.attribute("type")) {
        notes
            .error(
                "launch security",
                format!("A guest under launch security {kind} can't be moved."),
            )
            .argument(kind)
            .remedy("Move the guest offline.");
    }
}

struct Tie {
    subject: String,
    what: String,
    message: String,
    /// Whether libvirt or QEMU refuses to move a running guest that has it.
    blocks: bool,
}

/// What ties a guest to its host in one device. Without memory to move, only a piece of the host does.
fn tie(device: &Element, moves_memory: bool) -> Option<Tie> {
    let made = |subject: &str, what: &str, message: String, blocks| {
        Some(Tie { subject: subject.to_owned(), what: what.to_owned(), message, blocks })
    };
    let teaming = device.at("teaming").and_then(|teaming| teaming.attribute("type"));
    match device.name.as_str() {
        // The guest does without a device that is one of a team.
        "hostdev" | "interface" if teaming == Some("transient") => None,
        "hostdev" => {
            let kind = device.attribute("type").unwrap_or("unknown");
            let message = format!("The guest uses a {kind} device of the source.");
            made("hostdev", kind, message, kind != "usb")
        }
        "interface" => {
            let kind =
                device.attribute("type").filter(|kind| matches!(*kind, "hostdev" | "vdpa"))?;
            let address = device.attribute_at("mac", "address").unwrap_or("without an address");
            let message = format!("Interface {address} is a {kind} device of the source.");
            made(&format!("interface {address}"), kind, message, true)
        }
        "tpm" if device.attribute_at("backend", "type") == Some("passthrough") => {
            let message = "The guest uses the source's TPM by passthrough.".to_owned();
            made("tpm", "passthrough", message, true)
        }
        "filesystem" => {
            let target = device.attribute_at("target", "dir").unwrap_or("without a name");
            let driver = device.attribute_at("driver", "type").unwrap_or("9p");
            let message =
                format!("Filesystem {target} shares a directory of the source by {driver}.");
            made(&format!("filesystem {target}"), driver, message, true)
        }
        "shmem" if moves_memory && device.attribute("role") != Some("master") => {
            let name = device.attribute("name").unwrap_or("without a name");
            let message = format!("Shared memory {name} is the source's and can't move.");
            made(&format!("shmem {name}"), name, message, true)
        }
        "disk" if moves_memory && device.child("transient").is_some() => {
            let target = device.attribute_at("target", "dev").unwrap_or("without a name");
            let message =
                format!("What the guest wrote to its transient disk {target} can't move.");
            made(&format!("disk {target}"), target, message, true)
        }
        _ => None,
    }
}

/// VMC008.
pub(super) fn networks(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(destination) = facts.real_destination() else { return };
    for interface in facts.devices("interface") {
        let Some(name) = interface.attribute_at("source", "network") else { continue };
        let told = destination.network_active(name);
        let Some(told) = notes.answer("network", "whether the destination has the network", told)
        else {
            continue;
        };
        let state = match told {
            Some(true) => continue,
            Some(false) => "is not active",
            None => "does not exist",
        };
        let address = interface.attribute_at("mac", "address").unwrap_or("without an address");
        notes
            .note(
                facts.inputs.movement.lack(),
                format!("interface {address}"),
                format!("Network {name} of interface {address} {state} at the destination."),
            )
            .argument(name)
            .argument(address)
            .remedy("Define and start the network at the destination.");
    }
}

/// VMC021.
pub(super) fn addresses(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    if facts.real_destination().is_none() {
        return;
    }
    for graphics in facts.devices("graphics") {
        let listen =
            graphics.child("listen").filter(|listen| listen.attribute("type") == Some("address"));
        let address = listen
            .and_then(|listen| listen.attribute("address"))
            .or_else(|| graphics.attribute("listen"));
        let Some(address) = address.and_then(|address| address.parse::<IpAddr>().ok()) else {
            continue;
        };
        if address.is_unspecified() || address.is_loopback() {
            continue;
        }
        let kind = graphics.attribute("type").unwrap_or("graphics");
        notes
            .warning(
                "graphics",
                format!(
                    "The {kind} console listens on {address}, which the destination may not have."
                ),
            )
            .argument(kind)
            .argument(address)
            .remedy("Let the console listen on all addresses or on a network's.");
    }
}
