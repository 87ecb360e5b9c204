//! The destination as a whole: there, another host, not older, and without a guest of that name.

use super::{Facts, Notes};
use crate::hypervisor::{Domain, HostInfo, HypervisorError};

/// VMC001.
pub(super) fn reachable(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let uri = &facts.inputs.destination_uri;
    if let Some(reason) = &facts.unreachable {
        notes
            .error("destination", format!("Destination {uri} can't be reached: {reason}."))
            .argument(uri)
            .argument(reason)
            .remedy("Check that libvirt's daemon runs there and listens for this transport.")
            .remedy(
                "Check that this daemon's user may connect: name, keys, certificates, firewall.",
            );
    }
    let (Some((_, destination)), Some(source)) = (
        &facts.destination,
        notes.answer("source", "which host this is", facts.source_host.clone()),
    ) else {
        return;
    };
    let same = match (&source.uuid, &destination.uuid) {
        (Some(source), Some(destination)) => source.eq_ignore_ascii_case(destination),
        // Drivers without a host UUID: only the very same connection is surely the same host.
        (None, _) | (_, None) => source.uri == destination.uri,
    };
    if same {
        let identity = source.uuid.as_ref().unwrap_or(&source.uri);
        notes
            .error(
                "destination",
                format!("Destination {uri} is the source itself: both are host {identity}."),
            )
            .argument(uri)
            .argument(identity)
            .remedy("Name another host.")
            .remedy(
                "If these are two hosts, give one of them a host_uuid of its own in libvirtd.conf.",
            );
    }
}

/// VMC010.
pub(super) fn identity(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some((destination, _)), Ok(guest)) = (&facts.destination, &facts.guest) else { return };
    let name = &facts.inputs.destination_name;
    let mut holders: Vec<Domain> = Vec::new();
    for found in [destination.domain(name), destination.domain_by_uuid(&guest.uuid)] {
        match found {
            Ok(holder) if holders.iter().any(|known| known.uuid == holder.uuid) => {}
            Ok(holder) => holders.push(holder),
            Err(HypervisorError::NotFound { .. }) => {}
            Err(error) => {
                notes
                    .error(
                        "destination",
                        format!("Could not find out whether the destination has {name}: {error}."),
                    )
                    .argument(name)
                    .argument(error);
            }
        }
    }
    for holder in holders {
        let Domain { name: held, uuid, .. } = &holder;
        let itself = held == name && *uuid == guest.uuid;
        let message = match (itself, holder.is_active()) {
            (true, true) => format!("The destination already runs {held} (UUID {uuid})."),
            (true, false) => {
                format!("The destination has a definition of {held} (UUID {uuid}), to be replaced.")
            }
            (false, _) if held == name => {
                format!("The destination has another guest {held}, with UUID {uuid}.")
            }
            (false, _) => format!("The destination has UUID {uuid} already, for its guest {held}."),
        };
        let note = if itself && !holder.is_active() {
            notes.warning("destination", message)
        } else {
            notes.error("destination", message)
        };
        note.argument(held).argument(uuid).remedy("Remove or rename the guest at the destination.");
    }
}

/// VMC011.
pub(super) fn versions(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some((_, destination)), Ok(source)) = (&facts.destination, &facts.source_host) else {
        return;
    };
    if source.driver != destination.driver {
        let (here, there) = (&source.driver, &destination.driver);
        notes
            .error(
                "hypervisor",
                format!("The source's hypervisor is {here} and the destination's is {there}."),
            )
            .argument(here)
            .argument(there)
            .remedy("Name a destination with the same hypervisor.");
        return;
    }
    let driver = source.driver.as_str();
    for (what, version) in [
        (driver, (|host| host.version) as fn(&HostInfo) -> u64),
        ("libvirt", |host| host.libvirt_version),
    ] {
        let (here, there) = (version(source), version(destination));
        if there < here {
            let (here, there) = (dotted(here), dotted(there));
            notes
                .error(
                    what,
                    format!("The destination's {what} {there} is older than the source's {here}."),
                )
                .argument(there)
                .argument(here)
                .remedy(format!("Update {what} at the destination."));
        }
    }
}

/// libvirt's numbers as people write them.
fn dotted(version: u64) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1_000 % 1_000, version % 1_000)
}
