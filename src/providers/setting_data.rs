//! VirtualSystemSettingData: how a guest is set up.

use super::{Facts, Family, Host, Prefix, strings};
use crate::{
    cim::{CimName, Instance, InstancePath},
    hypervisor::{Domain, DomainConfig},
    ops::{InstanceProvider, Outcome, ProviderError, Sink},
};

const INSTANCE_ID: CimName = CimName::literal("InstanceID");

/// The settings of a guest.
pub(super) fn setting_data(prefix: Prefix, guest: &Domain) -> Instance {
    let config = &guest.config;
    let common = Facts::of(Family::VirtualSystemSettingData.of(prefix))
        .set("InstanceID", format!("{prefix}:{}", guest.name))
        .set("ElementName", guest.name.as_str())
        .set("Caption", "Virtual System")
        .set("Description", "Virtual System")
        .set("VirtualSystemIdentifier", guest.name.as_str())
        .set("VirtualSystemType", prefix.name())
        .set("UUID", guest.uuid.as_str())
        .set("AutomaticShutdownAction", action(config.on_poweroff.as_deref()))
        .set("AutomaticRecoveryAction", action(config.on_crash.as_deref()))
        .set("EnableACPI", config.acpi)
        .set("EnableAPIC", config.apic)
        .set("EnablePAE", config.pae)
        .set("AutoStart", u16::from(guest.autostart))
        .set_some("ClockOffset", clock_offset(config));
    match prefix {
        Prefix::Kvm => common
            .set("BootDevices", strings(config.boot_devices.iter().cloned()))
            .set_some("Emulator", config.emulator.as_deref())
            .set_some("Arch", config.arch.as_deref())
            .set_some("Machine", config.machine.as_deref()),
        Prefix::Xen if is_full_virt(config) => common
            .set("IsFullVirt", true)
            .set("BootDevices", strings(config.boot_devices.iter().cloned()))
            .set_some("Emulator", config.emulator.as_deref()),
        Prefix::Xen => common
            .set("IsFullVirt", false)
            .set_some("Bootloader", config.bootloader.as_deref())
            .set_some("BootloaderArgs", config.bootloader_args.as_deref())
            .set_some("Kernel", config.kernel.as_deref())
            .set_some("Ramdisk", config.initrd.as_deref())
            .set_some("CommandLine", config.command_line.as_deref()),
        Prefix::Lxc => common.set_some("InitPath", config.init.as_deref()),
    }
    .done()
}

/// libvirt-cim's number for what libvirt does with a guest that went down.
fn action(action: Option<&str>) -> u16 {
    match action {
        Some("restart") => 3,
        Some("preserve") => 123,
        _ => 2,
    }
}

/// 0 is UTC, 1 local time; the model can't say more.
fn clock_offset(config: &DomainConfig) -> Option<u16> {
    match config.clock_offset.as_deref() {
        None | Some("utc") => Some(0),
        Some("localtime") => Some(1),
        Some(_) => None,
    }
}

fn is_full_virt(config: &DomainConfig) -> bool {
    config.os_type.as_deref() == Some("hvm")
}

/// The guest that an InstanceID names.
pub(super) fn guest_of_id(id: &str) -> Option<&str> {
    id.split_once(':').map(|(_, guest)| guest)
}

/// Serves the settings of the guests of a hypervisor.
pub(super) struct SettingData {
    host: Host,
    class: CimName,
}

impl SettingData {
    pub(super) fn new(host: &Host) -> Self {
        Self { host: host.clone(), class: Family::VirtualSystemSettingData.of(host.prefix) }
    }
}

impl InstanceProvider for SettingData {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for guest in &*self.host.guests().await? {
                sink.put(setting_data(self.host.prefix, guest)).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let guest = path
                .string_key(&INSTANCE_ID)
                .and_then(guest_of_id)
                .ok_or_else(|| ProviderError::no_instance_with(&INSTANCE_ID))?;
            match self.host.guest(guest).await? {
                Ok(guest) => Ok(setting_data(self.host.prefix, &guest)),
                Err(message) => {
                    Err(ProviderError::NotFound(format!("No such instance ({guest}): {message}")))
                }
            }
        })
    }
}
