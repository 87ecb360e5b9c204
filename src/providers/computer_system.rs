//! ComputerSystem: guests; and EnabledLogicalElementCapabilities: what state changes they admit.

use super::{Facts, Family, Host, Prefix, strings};
use crate::{
    cim::{CimName, Instance, InstancePath, Value},
    hypervisor::{Domain, DomainState},
    ops::{InstanceProvider, Outcome, ProviderError, Sink},
};

/// What a guest's state looks like in the model.
struct Status {
    enabled_state: u16,
    health_state: u16,
    operational_status: u16,
    operating_status: u16,
}

impl Status {
    fn of(prefix: Prefix, guest: &Domain) -> Self {
        let status = |enabled_state, health_state, operational_status, operating_status| Self {
            enabled_state,
            health_state,
            operational_status,
            operating_status,
        };
        match guest.state {
            // An idle Xen guest has no state.
            DomainState::NoState if prefix == Prefix::Xen => status(2, 5, 2, STARTED),
            DomainState::NoState => status(0, 0, 15, 5),
            DomainState::Running => status(2, 5, 2, STARTED),
            DomainState::Blocked => status(2, 5, 2, 7),
            DomainState::Paused => status(9, 5, 2, 7),
            DomainState::Shutdown => status(4, 0, 15, 5),
            DomainState::Shutoff if guest.managed_save => status(6, 0, 15, 5),
            DomainState::Shutoff => status(3, 0, 15, 5),
            DomainState::Crashed => status(3, 20, 6, 6),
            DomainState::PmSuspended | DomainState::Other(_) => status(0, 0, 0, 0),
        }
    }
}

/// OperatingStatus: libvirt-cim's own value for a guest that runs.
const STARTED: u16 = 32768;

/// OperatingStatus: Migrating.
const MIGRATING: u16 = 9;

/// A guest, which a job of ours may be migrating.
pub(super) fn computer_system(prefix: Prefix, guest: &Domain, migrating: bool) -> Instance {
    let status = Status::of(prefix, guest);
    let operating_status = if migrating { MIGRATING } else { status.operating_status };
    let kind = format!("{prefix} Virtual System");
    Facts::named(Family::ComputerSystem.of(prefix))
        .set("Name", guest.name.as_str())
        .set("ElementName", guest.name.as_str())
        .set("UUID", guest.uuid.as_str())
        .set("Caption", caption(guest))
        .set("Description", "Virtual System")
        .set("EnabledState", status.enabled_state)
        .set("HealthState", status.health_state)
        .set("OperationalStatus", vec![status.operational_status])
        .set("OperatingStatus", operating_status)
        // Nobody asked for a state through this server.
        .set("RequestedState", 0_u16)
        .set("OtherIdentifyingInfo", strings(["Virtual System", &kind, &guest.uuid]))
        .set("IdentifyingDescriptions", strings(["Type", "Model", "UUID"]))
        .done()
}

fn caption(guest: &Domain) -> String {
    let Some(console) = &guest.config.console else {
        return "Virtual System (No console)".to_owned();
    };
    let host = console.host.as_deref().unwrap_or_default();
    // libvirt writes a port it has not chosen yet as -1.
    let port = console.port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    format!("Virtual System (Console on {}://{host}:{port})", console.kind)
}

/// Serves the guests of a hypervisor.
pub(super) struct ComputerSystem {
    host: Host,
    class: CimName,
}

impl ComputerSystem {
    pub(super) fn new(host: &Host) -> Self {
        Self { host: host.clone(), class: Family::ComputerSystem.of(host.prefix) }
    }
}

impl InstanceProvider for ComputerSystem {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for guest in self.host.computer_systems().await? {
                sink.put(guest).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let name = path.string_key(&CimName::literal("Name")).ok_or_else(no_name)?;
            match self.host.guest(name).await {
                Ok(Ok(guest)) => Ok(self.host.computer_system(&guest)),
                Ok(Err(message)) => Err(ProviderError::NotFound(format!(
                    "Referenced domain `{name}' does not exist: {message}"
                ))),
                // With a full stop, unlike everywhere else.
                Err(ProviderError::Unreachable(_)) => {
                    Err(ProviderError::NotFound("No such instance.".to_owned()))
                }
                Err(error) => Err(error),
            }
        })
    }
}

fn no_name() -> ProviderError {
    ProviderError::Failed("No domain name specified".to_owned())
}

/// What a guest admits: enable, disable, quiesce, reboot, reset.
pub(super) fn guest_capabilities(prefix: Prefix, guest: &Domain) -> Instance {
    Facts::of(Family::EnabledLogicalElementCapabilities.of(prefix))
        .set("InstanceID", guest.name.as_str())
        .set("RequestedStatesSupported", Value::from(vec![2_u16, 3, 9, 10, 11]))
        .set("ElementNameEditSupported", false)
        .done()
}

/// Serves the capabilities of the guests of a hypervisor.
pub(super) struct GuestCapabilities {
    host: Host,
    class: CimName,
}

impl GuestCapabilities {
    pub(super) fn new(host: &Host) -> Self {
        let class = Family::EnabledLogicalElementCapabilities.of(host.prefix);
        Self { host: host.clone(), class }
    }
}

impl InstanceProvider for GuestCapabilities {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for guest in &*self.host.guests().await? {
                sink.put(guest_capabilities(self.host.prefix, guest)).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let id = path
                .string_key(&CimName::literal("InstanceID"))
                .ok_or_else(|| ProviderError::Failed("No InstanceID specified".to_owned()))?;
            match self.host.guest(id).await? {
                Ok(guest) => Ok(guest_capabilities(self.host.prefix, &guest)),
                Err(message) => {
                    Err(ProviderError::NotFound(format!("No such instance ({id}): {message}")))
                }
            }
        })
    }
}
