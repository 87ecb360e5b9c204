//! What the destination's hypervisor must be able to give the guest: CPU, machine, device models,
//! memory, vCPUs.

use super::{Facts, Movement, Notes};
use crate::hypervisor::{CpuComparison, Element, HypervisorError, Platform};

/// The first QEMU that can do post-copy over several connections.
const QEMU_PARALLEL_POST_COPY: u64 = 10_001_000;

/// VMC003.
pub(super) fn cpu(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some((destination, _)), Some(domain)) = (&facts.destination, &facts.xml) else { return };
    let Some(cpu) = domain.child("cpu") else { return };
    let moves_memory = facts.inputs.movement.moves_memory();
    match cpu.attribute("mode") {
        // A guest that starts anew takes what it finds there.
        Some("host-passthrough" | "maximum" | "host-model") if !moves_memory => return,
        Some(mode @ ("host-passthrough" | "maximum")) => {
            notes
                .warning(
                    "cpu",
                    format!(
                        "The guest's CPU is {mode}: it moves safely only between hosts with the same \
                         processor, microcode and hypervisor."
                    ),
                )
                .argument(mode)
                .remedy("Give the guest a named CPU model that both hosts have.");
            return;
        }
        _ => {}
    }
    let told = destination.compare_cpu(&cpu.to_xml(), &Platform::of(domain));
    let told = notes.answer("cpu", "whether the destination has the guest's CPU", told);
    if let Some(CpuComparison::Incompatible { reason }) = told {
        let model = cpu.text_at("model").unwrap_or("of this guest");
        let reason = reason.unwrap_or_else(|| "libvirt does not say why".to_owned());
        notes
            .error("cpu", format!("The destination can't provide CPU {model}: {reason}."))
            .argument(model)
            .argument(reason)
            .remedy("Give the guest a CPU model that both hosts have, and restart it.");
    }
}

/// Where a domain's XML names a device model, and where domain capabilities list what there is.
const MODELS: &[Models] = &[
    Models { devices: "disk", part: "target", attribute: "bus", capability: "disk", list: "bus" },
    Models {
        devices: "video",
        part: "model",
        attribute: "type",
        capability: "video",
        list: "modelType",
    },
    Models {
        devices: "graphics",
        part: "",
        attribute: "type",
        capability: "graphics",
        list: "type",
    },
    Models { devices: "rng", part: "", attribute: "model", capability: "rng", list: "model" },
    Models { devices: "tpm", part: "", attribute: "model", capability: "tpm", list: "model" },
    Models {
        devices: "tpm",
        part: "backend",
        attribute: "type",
        capability: "tpm",
        list: "backendModel",
    },
];

struct Models {
    devices: &'static str,
    /// The child that has the attribute; empty for the device itself.
    part: &'static str,
    attribute: &'static str,
    capability: &'static str,
    list: &'static str,
}

/// VMC004.
pub(super) fn models(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some(destination), Some(domain)) = (facts.real_destination(), &facts.xml) else { return };
    let platform = Platform::of(domain);
    let capabilities = match destination.domain_capabilities(&platform) {
        Err(HypervisorError::Libvirt { message, .. }) => {
            let machine = platform.machine.as_deref().unwrap_or("its default machine");
            notes
                .error(
                    "machine",
                    format!("The destination does not offer machine {machine} to the guest: {message}."),
                )
                .argument(machine)
                .argument(message)
                .remedy("Give the guest a machine type, architecture and emulator that both hosts have.");
            return;
        }
        told => match notes.answer("machine", "what the destination offers guests", told) {
            Some(capabilities) => capabilities,
            None => return,
        },
    };
    for Models { devices, part, attribute, capability, list } in MODELS {
        let Some(support) = capabilities.devices.get(*capability) else { continue };
        let Some(offered) = support.values.get(*list).filter(|_| support.supported) else {
            continue;
        };
        for device in facts.devices(devices) {
            let named = if part.is_empty() { Some(device) } else { device.child(part) };
            let Some(model) = named.and_then(|named| named.attribute(attribute)) else { continue };
            if model != "none" && !offered.contains(model) {
                let offered = offered.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                notes
                    .error(
                        *devices,
                        format!(
                            "The destination has no {devices} {attribute} {model}, only {offered}."
                        ),
                    )
                    .argument(model)
                    .argument(offered)
                    .remedy("Give the guest a device that both hosts have.");
            }
        }
    }
}

/// VMC009.
pub(super) fn memory(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some(destination), Some(domain)) = (facts.real_destination(), &facts.xml) else { return };
    let Some(needed) = domain.child("memory").and_then(kib) else { return };
    let severity = facts.inputs.movement.lack();
    let pages = domain.at("memoryBacking/hugepages");
    let page_kib = pages.and_then(|pages| pages.child("page")).and_then(|page| {
        let size: u64 = page.attribute("size")?.parse().ok()?;
        size.checked_mul(unit_bytes(page.attribute("unit").unwrap_or("KiB"))?).map(|it| it / 1024)
    });
    let told = destination.resources(page_kib);
    let Some(host) = notes.answer("memory", "how much memory the destination has", told) else {
        return;
    };
    if needed > host.memory_kib {
        let (needed, there) = (mib(needed), mib(host.memory_kib));
        notes
            .note(
                severity,
                "memory",
                format!("The guest needs {needed} MiB of memory; the destination has {there} MiB."),
            )
            .argument(needed)
            .argument(there)
            .remedy("Name a destination with more memory, or give the guest less.");
        return;
    }
    if facts.inputs.movement == Movement::Offline {
        return;
    }
    if let (Some(size), Some(free)) = (page_kib, host.free_pages) {
        let wanted = needed.div_ceil(size);
        if free < wanted {
            notes
                .error(
                    "memory",
                    format!(
                        "The guest needs {wanted} huge pages of {size} KiB; the destination has {free} free."
                    ),
                )
                .argument(wanted)
                .argument(size)
                .argument(free)
                .remedy("Reserve more huge pages at the destination.");
        }
    } else if let Some(free) = host.free_kib.filter(|free| *free < needed && pages.is_none()) {
        let (needed, free) = (mib(needed), mib(free));
        notes
            .warning(
                "memory",
                format!(
                    "The guest needs {needed} MiB of memory; the destination has {free} MiB free."
                ),
            )
            .argument(needed)
            .argument(free)
            .remedy("Free memory at the destination, or name another one.");
    }
}

fn mib(kib: u64) -> u64 {
    kib.div_ceil(1024)
}

/// An amount of memory as libvirt writes it.
fn kib(element: &Element) -> Option<u64> {
    let amount: u64 = element.text.parse().ok()?;
    let unit = unit_bytes(element.attribute("unit").unwrap_or("KiB"))?;
    amount.checked_mul(unit).map(|bytes| bytes.div_ceil(1024))
}

fn unit_bytes(unit: &str) -> Option<u64> {
    Some(match unit {
        "b" | "bytes" => 1,
        "KB" => 1_000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    })
}

/// VMC015.
pub(super) fn vcpus(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let (Some(destination), Some(domain)) = (facts.real_destination(), &facts.xml) else { return };
    let Some(needed) = domain.text_at("vcpu").and_then(|count| count.parse::<u32>().ok()) else {
        return;
    };
    let told = destination.max_vcpus(domain.attribute("type"));
    let most = notes.answer("vcpu", "how many vCPUs the destination allows", told);
    if let Some(most) = most.filter(|most| *most < needed) {
        notes
            .error("vcpu", format!("The guest has {needed} vCPUs; the destination allows {most}."))
            .argument(needed)
            .argument(most)
            .remedy("Give the guest fewer vCPUs, or name another destination.");
    }
}

/// VMC016.
pub(super) fn tsc(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    let Some(domain) = facts.xml.as_ref().filter(|_| facts.inputs.movement.moves_memory()) else {
        return;
    };
    let invariant = domain.child("cpu").is_some_and(|cpu| {
        cpu.children_named("feature").any(|feature| {
            feature.attribute("name") == Some("invtsc")
                && matches!(feature.attribute("policy"), Some("require" | "force") | None)
        })
    });
    let fixed = domain.child("clock").is_some_and(|clock| {
        clock.children_named("timer").any(|timer| {
            timer.attribute("name") == Some("tsc") && timer.attribute("frequency").is_some()
        })
    });
    if invariant && !fixed {
        notes
            .error("cpu", "The guest's CPU has invtsc, but no TSC frequency is set for it.")
            .argument("invtsc")
            .remedy("Set the frequency of the guest's tsc timer, or take invtsc from its CPU.");
    }
}

/// VMC017.
pub(super) fn options(facts: &Facts<'_>, notes: &mut Notes<'_>) {
    if !(facts.inputs.post_copy && facts.inputs.parallel) {
        return;
    }
    let destination = facts.destination.as_ref().map(|(_, host)| host);
    for (side, host) in [("source", facts.source_host.as_ref().ok()), ("destination", destination)]
    {
        let Some(host) = host.filter(|host| host.driver == "QEMU") else { continue };
        if host.version < QEMU_PARALLEL_POST_COPY {
            notes
                .error(
                    "options",
                    format!("QEMU at the {side} can't do post-copy over parallel connections."),
                )
                .argument(side)
                .remedy("Ask for only one of the two, or update QEMU to 10.1.");
        }
    }
}
