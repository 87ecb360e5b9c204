//! What exactly will be done: the settings, the guest and the destination, put together.
//!
//! Pure: the executor asks both hosts, this decides. A request that can't be carried out on this guest
//! is refused here, before anything is changed; so is every edit that has nothing to apply to.

mod copies;
mod rewrite;
#[cfg(test)]
mod tests;

use std::{net::IpAddr, sync::Arc};

pub use copies::copied_files;
use serde::{Deserialize, Serialize};

use super::{
    MigrationType, Settings, Target, Transport,
    job::{Facts, Terms},
};
use crate::{
    checks::builtin::Changes,
    hypervisor::{Domain, DomainState, MigrationOrder, Route},
};

/// The longest name a guest may be given.
const MAX_NAME: usize = 200;

/// Who carries a migration out.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Mode {
    /// The source's libvirt, which carries on without us.
    PeerToPeer,
    /// We do; it is cancelled if we die.
    Direct,
}

impl Mode {
    /// The way to that destination.
    ///
    /// # Errors
    /// [`PlanError::State`] for a socket of this host, which the source's libvirt does not open.
    pub fn route(self, target: &Target) -> Result<Route, PlanError> {
        match self {
            Self::PeerToPeer if target.transport == Transport::Unix => {
                Err(PlanError::State("transport unix needs migration.mode = \"direct\""))
            }
            Self::PeerToPeer => Ok(Route::PeerToPeer(target.uri.clone())),
            Self::Direct => Ok(Route::Direct(target.uri.clone())),
        }
    }
}

/// What shall be different at the destination.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Edits {
    /// The guest's name.
    pub name: Option<GuestName>,
    /// Where interfaces are connected.
    pub networks: Vec<NetworkEdit>,
    /// Where disks are.
    pub disks: Vec<DiskEdit>,
    /// Where consoles listen.
    pub graphics: Vec<GraphicsEdit>,
}

impl Edits {
    /// Whether they can be meant: the new values are some, and no device is named twice.
    ///
    /// # Errors
    /// [`PlanError::Value`], [`PlanError::Twice`].
    pub fn check(&self) -> Result<(), PlanError> {
        check_values(self)?;
        let (networks, disks, graphics) = (&self.networks, &self.disks, &self.graphics);
        let same_mac = |a: &NetworkEdit, b: &NetworkEdit| a.mac.eq_ignore_ascii_case(&b.mac);
        let twice = |kind, selector: &str| PlanError::Twice { kind, selector: selector.to_owned() };
        if let Some(edit) = repeated(networks, same_mac) {
            return Err(twice("interface", &edit.mac));
        }
        if let Some(edit) = repeated(disks, |a, b| a.target == b.target) {
            return Err(twice("disk", &edit.target));
        }
        // One without a type means the only console.
        let same_console = |a: &GraphicsEdit, b: &GraphicsEdit| {
            a.kind == b.kind || a.kind.is_none() || b.kind.is_none()
        };
        repeated(graphics, same_console)
            .map_or(Ok(()), |edit| Err(twice("graphics", edit.selector())))
    }

    /// Each of them in words, for the record.
    pub fn describe(&self) -> Vec<String> {
        let name = self.name.iter().map(|name| format!("name {:?}", name.as_str()));
        let networks = self.networks.iter().map(|NetworkEdit { mac, source }| match source {
            NetworkSource::Network(name) => format!("interface {mac:?} to network {name:?}"),
            NetworkSource::Bridge(name) => format!("interface {mac:?} to bridge {name:?}"),
        });
        let disks = self
            .disks
            .iter()
            .map(|DiskEdit { target, path }| format!("disk {target:?} to {path:?}"));
        let graphics = self.graphics.iter().map(|edit| {
            let address = edit.listen.map(|address| format!(" to address {address}"));
            let port = edit.port.map(|port| match port {
                Port::Automatic => " to any port".to_owned(),
                Port::Number(number) => format!(" to port {number}"),
            });
            let (address, port) = (address.unwrap_or_default(), port.unwrap_or_default());
            format!("graphics {:?}{address}{port}", edit.selector())
        });
        name.chain(networks).chain(disks).chain(graphics).collect()
    }

    /// What they make of a guest's XML; `None` if they leave the devices alone.
    pub fn changes(&self) -> Option<Changes> {
        let edits = self.clone();
        self.touch_devices().then(|| -> Changes {
            Arc::new(move |xml| rewrite::rewrite(xml, &edits).map_err(|error| error.to_string()))
        })
    }

    /// Whether the XML has to be changed; a name alone libvirt changes itself.
    fn touch_devices(&self) -> bool {
        !(self.networks.is_empty() && self.disks.is_empty() && self.graphics.is_empty())
    }
}

/// A name that libvirt takes for a guest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestName(String);

impl GuestName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for GuestName {
    type Error = PlanError;

    fn try_from(text: String) -> Result<Self, PlanError> {
        let good = !text.is_empty()
            && text.len() <= MAX_NAME
            && text.trim() == text
            && !text.starts_with(['.', '-'])
            && !text.contains(|c: char| c == '/' || c.is_control());
        let allowed =
            "1 to 200 bytes without `/` and control characters, not beginning with `.` or `-`";
        if good { Ok(Self(text)) } else { Err(PlanError::Value { what: "name", text, allowed }) }
    }
}

impl From<GuestName> for String {
    fn from(name: GuestName) -> Self {
        name.0
    }
}

/// Where an interface is connected.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NetworkEdit {
    /// The interface, by its address.
    pub mac: String,
    /// What to.
    pub source: NetworkSource,
}

/// What an interface is connected to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum NetworkSource {
    /// A libvirt network.
    Network(String),
    /// A host bridge.
    Bridge(String),
}

/// Where a disk is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DiskEdit {
    /// The disk, by its target: `vda`.
    pub target: String,
    /// The path of its image.
    pub path: String,
}

/// Where a console listens.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GraphicsEdit {
    /// The console, by its type; `None` where there is only one.
    pub kind: Option<String>,
    /// The address.
    pub listen: Option<IpAddr>,
    /// The port.
    pub port: Option<Port>,
}

impl GraphicsEdit {
    /// How the console is named.
    fn selector(&self) -> &str {
        self.kind.as_deref().unwrap_or("any type")
    }
}

/// The first that is the same as one before.
fn repeated<T>(edits: &[T], same: impl Fn(&T, &T) -> bool) -> Option<&T> {
    let repeats = |(at, edit): &(usize, &T)| edits[..*at].iter().any(|before| same(before, edit));
    edits.iter().enumerate().find(repeats).map(|(_, edit)| edit)
}

/// A console's port.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Port {
    /// libvirt chooses it.
    Automatic,
    /// This one.
    Number(u16),
}

/// What the source tells of the guest.
#[derive(Clone, Debug)]
pub struct SourceFacts {
    /// The guest.
    pub domain: Domain,
    /// A job that runs on it, in libvirt's words.
    pub job: Option<String>,
    /// Its XML as libvirt would send it (`XmlForm::Migratable`).
    pub live_xml: String,
    /// Its definition with secrets (`XmlForm::InactiveSecure`).
    pub definition: String,
}

/// What the destination tells.
#[derive(Clone, Debug, Default)]
pub struct DestinationFacts {
    /// The guest of that UUID.
    pub same_uuid: Option<Domain>,
    /// The guest of the name that ours would have.
    pub same_name: Option<Domain>,
    /// Those of the [`copied_files`] of which nothing is there yet.
    pub free_files: Vec<String>,
}

/// What will be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// What decides the order of events.
    pub terms: Terms,
    /// What the guest was like.
    pub facts: Facts,
    /// The guest's name at the destination.
    pub destination_name: String,
    /// What libvirt is told; `None` for a restart.
    pub order: Option<MigrationOrder>,
    /// The definition for the destination: what a restart defines, and what is defined should the
    /// guest arrive without one.
    pub destination_definition: String,
    /// The definition at the source, should it have to be started there again.
    pub source_definition: String,
    /// The files that libvirt will make at the destination, of which nothing was there before.
    pub copies: Vec<String>,
}

/// Why a migration can't be carried out.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The guest is not in the state that this type of migration needs.
    #[error("{0}")]
    State(&'static str),
    /// Something goes on with the guest.
    #[error("another job is running for domain `{guest}': {job}")]
    Busy {
        /// The guest.
        guest: String,
        /// The job, in libvirt's words.
        job: String,
    },
    /// It would leave its memory image behind.
    #[error("Domain has a managed-save image: start the guest or discard the image")]
    ManagedSave,
    /// The destination has the guest, or one of its name.
    #[error("Remote already has domain `{name}'{detail}")]
    Taken {
        /// The name.
        name: String,
        /// In what way.
        detail: &'static str,
    },
    /// A new value is none.
    #[error("new {what} {text:?} is not allowed: {allowed}")]
    Value {
        /// What it is the value of.
        what: &'static str,
        /// What was received.
        text: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The guest has no such device.
    #[error("the guest has no {kind} `{selector}`")]
    NoDevice {
        /// The kind of device.
        kind: &'static str,
        /// How it was named.
        selector: String,
    },
    /// The guest has several.
    #[error("the guest has more than one {kind} `{selector}`")]
    ManyDevices {
        /// The kind of device.
        kind: &'static str,
        /// How it was named.
        selector: String,
    },
    /// It was named twice.
    #[error("{kind} `{selector}` is to be changed more than once")]
    Twice {
        /// The kind of device.
        kind: &'static str,
        /// How it was named.
        selector: String,
    },
    /// The device can't be changed so.
    #[error("{kind} `{selector}` can't be changed: {reason}")]
    Inapplicable {
        /// The kind of device.
        kind: &'static str,
        /// How it was named.
        selector: String,
        /// Why.
        reason: String,
    },
    /// The guest's XML is not understood.
    #[error("the guest's XML can't be changed: {reason}")]
    Document {
        /// Why.
        reason: String,
    },
}

impl Plan {
    /// Decides what will be done.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn decide(
        settings: &Settings,
        edits: &Edits,
        mode: Mode,
        target: &Target,
        source: &SourceFacts,
        destination: &DestinationFacts,
    ) -> Result<Self, PlanError> {
        let migration_type = settings.migration_type;
        let domain = &source.domain;
        fits_state(migration_type, domain)?;
        if let Some(job) = &source.job {
            return Err(PlanError::Busy { guest: domain.name.clone(), job: job.clone() });
        }
        edits.check()?;
        let destination_name = edits.name.as_ref().map_or(domain.name.as_str(), GuestName::as_str);
        fits_destination(migration_type, destination_name, domain, destination)?;
        let destination_definition = rewrite::rewrite(&source.definition, edits)?;
        let order = settings.order(mode.route(target)?, domain.persistent);
        let order = order.map(|order| with_edits(order, edits, source)).transpose()?;
        let order = order.map(|order| MigrationOrder {
            migration_uri: order.migration_uri.or_else(|| target.migration_uri.clone()),
            ..order
        });
        Ok(Self {
            terms: Terms {
                migration_type,
                persist: settings.persist,
                undefine_source: settings.undefine,
            },
            facts: Facts {
                persistent: domain.persistent,
                autostart: domain.autostart,
                paused: domain.state == DomainState::Paused,
                destination_defined: destination.same_uuid.is_some(),
                copies: !destination.free_files.is_empty(),
            },
            destination_name: destination_name.to_owned(),
            order,
            destination_definition,
            source_definition: source.definition.clone(),
            copies: destination.free_files.clone(),
        })
    }
}

fn fits_state(migration_type: MigrationType, domain: &Domain) -> Result<(), PlanError> {
    let runs = matches!(domain.state, DomainState::Running | DomainState::Blocked);
    match migration_type {
        MigrationType::Offline if domain.is_active() => {
            Err(PlanError::State("Domain must be shut off for offline migration"))
        }
        MigrationType::Offline if domain.managed_save => Err(PlanError::ManagedSave),
        MigrationType::Offline => Ok(()),
        MigrationType::Live | MigrationType::Resume => {
            // libvirt moves a paused guest as well; it arrives paused.
            if runs || domain.state == DomainState::Paused {
                Ok(())
            } else {
                Err(PlanError::State("Domain must be running for live or resume migration"))
            }
        }
        MigrationType::Restart if runs => Ok(()),
        MigrationType::Restart => {
            Err(PlanError::State("Domain must be running for restart migration"))
        }
    }
}

fn fits_destination(
    migration_type: MigrationType,
    name: &str,
    domain: &Domain,
    destination: &DestinationFacts,
) -> Result<(), PlanError> {
    let taken = |detail| Err(PlanError::Taken { name: name.to_owned(), detail });
    if let Some(other) = &destination.same_name
        && other.uuid != domain.uuid
    {
        return taken(" with another UUID");
    }
    match &destination.same_uuid {
        None => Ok(()),
        Some(same) if same.is_active() => taken(", and it is active"),
        Some(same) if same.name != name => taken(" under another name"),
        // libvirt puts the arriving guest in the place of one that is off; a restart could not put
        // back what was there.
        Some(_) if migration_type == MigrationType::Restart => taken(""),
        Some(same) if same.managed_save => taken(", with a managed-save image"),
        Some(_) => Ok(()),
    }
}

fn check_values(edits: &Edits) -> Result<(), PlanError> {
    let plain = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && !text.contains(char::is_control)
    };
    for NetworkEdit { source, .. } in &edits.networks {
        let (what, text, most, allowed) = match source {
            NetworkSource::Network(text) => ("network", text, 255, "1 to 255 printable bytes"),
            NetworkSource::Bridge(text) => ("bridge", text, 15, "1 to 15 printable bytes"),
        };
        if !plain(text, most) || text.contains('/') {
            return Err(PlanError::Value { what, text: text.clone(), allowed });
        }
    }
    for DiskEdit { path, .. } in &edits.disks {
        let parts = path.split('/').skip(1);
        let clean = parts.clone().count() > 0
            && parts.clone().all(|part| !part.is_empty() && part != "." && part != "..");
        if !(plain(path, 4095) && path.starts_with('/') && clean) {
            let allowed = "an absolute path without `//`, `.` and `..`";
            return Err(PlanError::Value { what: "disk source", text: path.clone(), allowed });
        }
    }
    Ok(())
}

/// What of the edits libvirt is told, and in which form.
fn with_edits(
    order: MigrationOrder,
    edits: &Edits,
    source: &SourceFacts,
) -> Result<MigrationOrder, PlanError> {
    let destination_name = edits.name.clone().map(String::from);
    if !edits.touch_devices() {
        return Ok(MigrationOrder { destination_name, ..order });
    }
    let offline = !source.domain.is_active();
    let live = if offline { &source.definition } else { &source.live_xml };
    let destination_xml = Some(rewrite::rewrite(live, edits)?);
    // Or the definition that stays would have the source's devices (CVE-2020-17376).
    let persistent_xml = match order.persist_destination {
        true => Some(rewrite::rewrite(&source.definition, edits)?),
        false => None,
    };
    Ok(MigrationOrder { destination_name, destination_xml, persistent_xml, ..order })
}
