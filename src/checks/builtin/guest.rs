//! The guest itself: there, in a state that can be moved, and with nothing that would stay behind.

use super::{Facts, Movement, Notes};
use crate::hypervisor::{Domain, HypervisorError};

/// VMC002.
pub(super) fn state(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let name = &facts.inputs.guest;
    let guest = match &facts.guest {
        Ok(guest) => guest,
        Err(HypervisorError::NotFound { message }) => {
            notes
                .error("", format!("There is no guest {name}: {message}."))
                .argument(name)
                .argument(message)
                .remedy("Name a guest that the source has.");
            return;
        }
        Err(error) => {
            notes.error("", format!("Guest {name} can't be read: {error}.")).argument(name);
            return;
        }
    };
    right_state(facts, guest, notes);
    let job = match facts.inputs.source.active_job(name) {
        // libvirt knows no job of a guest that does not run.
        Err(HypervisorError::Libvirt { .. }) if !guest.is_active() => None,
        told => notes.answer("", "whether a job runs on the guest", told).flatten(),
    };
    if let Some(job) = job {
        notes
            .error("", format!("A job runs on guest {name}: {job}."))
            .argument(name)
            .argument(job)
            .remedy("Wait until the job has ended, or cancel it.");
    }
}

fn right_state(facts: &Facts<'_>, guest: &Domain, notes: &mut Notes<'_>) {
    let name = &guest.name;
    let movement = facts.inputs.movement;
    if let Some(wrong) = guest.trouble() {
        notes
            .error("", format!("Guest {name} {wrong}."))
            .argument(name)
            .remedy("Bring the guest back to a sound state, or shut it off and move it offline.");
        return;
    }
    let (fits, needed) = match movement {
        Movement::Offline => (!guest.is_active(), "shut off"),
        Movement::Live | Movement::Paused | Movement::Restart => (guest.is_active(), "running"),
    };
    if !fits {
        let kind = movement.as_str();
        notes
            .error("", format!("Guest {name} must be {needed} for {kind} migration."))
            .argument(name)
            .argument(needed)
            .remedy("Bring the guest into that state, or choose another type of migration.");
    }
}

/// VMC012.
pub(super) fn baggage(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Ok(guest) = &facts.guest else { return };
    let name = &guest.name;
    if guest.managed_save && !guest.is_active() {
        notes
            .error("", format!("Guest {name} has a saved state, which would stay behind."))
            .argument(name)
            .remedy("Start the guest from its saved state, or remove that.");
    }
    let disks: Vec<String> = facts
        .devices("disk")
        .filter_map(|disk| disk.attribute_at("target", "dev"))
        .map(str::to_owned)
        .collect();
    let told = facts.inputs.source.baggage(name, &disks);
    let Some(baggage) = notes.answer("", "whether the guest has snapshots", told) else { return };
    if baggage.snapshots > 0 {
        let count = baggage.snapshots;
        notes
            .error("", format!("Guest {name} has snapshots, which can't move with it: {count}."))
            .argument(name)
            .argument(count)
            .remedy("Delete the snapshots, or only what libvirt knows of them.");
    }
    if baggage.checkpoints > 0 {
        let count = baggage.checkpoints;
        notes
            .warning("", format!("Guest {name} has checkpoints, which stay behind: {count}."))
            .argument(name)
            .argument(count)
            .remedy("Make a full backup at the destination before the next incremental one.");
    }
    for disk in baggage.busy_disks {
        notes
            .error(format!("disk {disk}"), format!("A block job runs on disk {disk}."))
            .argument(&disk)
            .remedy("Wait until the block job has ended, or cancel it.");
    }
}

/// VMC022.
pub(super) fn changes(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    if let Some(reason) = &facts.misfit {
        notes
            .error("", format!("The guest can't be changed as asked: {reason}."))
            .argument(reason)
            .remedy("Name devices that the guest has, as they are named in its definition.");
    }
}
