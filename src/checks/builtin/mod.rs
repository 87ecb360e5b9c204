//! Our own checks: what the hypervisors on both ends can tell before a guest moves.
//!
//! Each check has a code in `catalog.rs`, is a function over [`Facts`], and adds to the findings
//! whatever it sees: none stops at the first, none keeps another from running. What a driver can't tell
//! is no finding; what could not be asked is one. Everything is read-only and blocks.
//!
//! They judge the guest as it will be at the destination: with what a client changes on the way, and a
//! guest that is restarted there as it is defined.
//!
//! The libvirt test driver runs no guests, so what its hosts have (networks, storage, memory, device
//! models) is not looked at; nor has it a host UUID, so only the URI tells whether a destination is the
//! source itself.

mod catalog;
mod destination;
mod devices;
mod disks;
mod guest;
mod platform;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use catalog::{CATALOG, Check, Level, LevelError, Levels, find};

use super::{Finding, Severity, Source};
use crate::hypervisor::{
    Domain, Element, HostInfo, Hypervisor, HypervisorError, StorageCopy, XmlForm,
};

/// What the checks are to judge.
#[derive(Clone)]
pub struct Inputs {
    /// The source.
    pub source: Arc<dyn Hypervisor>,
    /// The destination's URI.
    pub destination_uri: String,
    /// The destination, or why it can't be reached.
    pub destination: Result<Arc<dyn Hypervisor>, HypervisorError>,
    /// The guest's name at the source.
    pub guest: String,
    /// The guest's name at the destination.
    pub destination_name: String,
    /// How it is to move.
    pub movement: Movement,
    /// Which part of its disks is copied.
    pub storage: StorageCopy,
    /// The disks that are copied, by target; empty for all that need it.
    pub disks: Vec<String>,
    /// Whether it may run at the destination before all of its memory is there.
    pub post_copy: bool,
    /// Whether its memory goes over several connections.
    pub parallel: bool,
    /// What is different at the destination; `None` is nothing.
    pub changes: Option<Changes>,
}

/// Makes the guest's XML at the destination from that at the source, or says why that can't be.
pub type Changes = Arc<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// How a guest is to move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Movement {
    /// Only its definition.
    Offline,
    /// It runs meanwhile.
    Live,
    /// It stands still meanwhile.
    Paused,
    /// It shuts down here and boots there.
    Restart,
}

impl Movement {
    fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "an offline",
            Self::Live => "a live",
            Self::Paused => "a paused",
            Self::Restart => "a restart",
        }
    }

    /// Whether the memory of a running guest travels.
    fn moves_memory(self) -> bool {
        match self {
            Self::Live | Self::Paused => true,
            Self::Offline | Self::Restart => false,
        }
    }

    /// What a lack of something at the destination is: grave where the guest is to run at once.
    fn lack(self) -> Severity {
        match self {
            Self::Live | Self::Paused | Self::Restart => Severity::Error,
            Self::Offline => Severity::Warning,
        }
    }
}

/// Runs every check that is not switched off.
pub fn run(inputs: &Inputs, levels: &Levels) -> Vec<Finding> {
    let facts = Facts::gather(inputs);
    let mut findings = Vec::new();
    for (check, run) in CHECKS {
        let level = levels.of(check);
        if level == Level::Off {
            continue;
        }
        let mut notes = Notes { check, level, findings: &mut findings };
        run(&facts, &mut notes);
    }
    findings
}

type Run = fn(&Facts<'_>, &mut Notes<'_>);

const CHECKS: &[(&Check, Run)] = &[
    (&catalog::DESTINATION, destination::reachable),
    (&catalog::STATE, guest::state),
    (&catalog::CPU, platform::cpu),
    (&catalog::PLATFORM, platform::models),
    (&catalog::STORAGE, disks::reachable),
    (&catalog::UNSAFE, disks::unsafe_storage),
    (&catalog::DEVICES, devices::tied),
    (&catalog::NETWORKS, devices::networks),
    (&catalog::MEMORY, platform::memory),
    (&catalog::IDENTITY, destination::identity),
    (&catalog::VERSIONS, destination::versions),
    (&catalog::BAGGAGE, guest::baggage),
    (&catalog::SECRETS, disks::secrets),
    (&catalog::SPACE, disks::space),
    (&catalog::VCPUS, platform::vcpus),
    (&catalog::TSC, platform::tsc),
    (&catalog::OPTIONS, platform::options),
    (&catalog::ADDRESSES, devices::addresses),
    (&catalog::CHANGES, guest::changes),
];

/// What more than one check needs to know, asked for once.
struct Facts<'a> {
    inputs: &'a Inputs,
    source_host: Result<HostInfo, HypervisorError>,
    guest: Result<Domain, HypervisorError>,
    /// The guest's XML as it will be at the destination; `None` where there is no guest.
    xml: Option<Element>,
    /// The same, as it is at the source.
    here: Option<Element>,
    /// Why it can't be changed as asked.
    misfit: Option<String>,
    /// `None` where the destination can't be reached.
    destination: Option<(&'a dyn Hypervisor, HostInfo)>,
    /// Why not.
    unreachable: Option<String>,
}

impl<'a> Facts<'a> {
    fn gather(inputs: &'a Inputs) -> Self {
        let source = &inputs.source;
        let guest = source.domain(&inputs.guest);
        let here = guest.as_ref().ok().and_then(|guest| source_xml(inputs, guest));
        let (there, misfit) = match (&here, &inputs.changes) {
            (Some(here), Some(change)) => match change(here) {
                Ok(there) => (Some(there), None),
                Err(reason) => (Some(here.clone()), Some(reason)),
            },
            (here, _) => (here.clone(), None),
        };
        let parsed = |xml: Option<String>| Element::parse(&xml?).ok();
        let (xml, here) = (parsed(there), parsed(here));
        let opened = inputs.destination.as_ref().map_err(HypervisorError::clone);
        let told = opened.and_then(|opened| Ok((&**opened, opened.host()?)));
        let (destination, unreachable) = match told {
            Ok(told) => (Some(told), None),
            Err(HypervisorError::Unreachable { message, .. }) => (None, Some(message)),
            Err(error) => (None, Some(error.to_string())),
        };
        let source_host = source.host();
        Self { inputs, source_host, guest, xml, here, misfit, destination, unreachable }
    }

    /// The destination, where it is a host that really runs guests.
    fn real_destination(&self) -> Option<&'a dyn Hypervisor> {
        let (hypervisor, host) = self.destination.as_ref()?;
        (!host.driver.eq_ignore_ascii_case("test")).then_some(*hypervisor)
    }

    fn devices<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = &'b Element> {
        let devices = self.xml.as_ref().and_then(|domain| domain.child("devices"));
        devices.into_iter().flat_map(move |devices| devices.children_named(kind))
    }
}

/// The XML from which the destination's is made.
fn source_xml(inputs: &Inputs, guest: &Domain) -> Option<String> {
    let form = match inputs.movement {
        Movement::Offline | Movement::Live | Movement::Paused => XmlForm::Migratable,
        Movement::Restart => XmlForm::Inactive,
    };
    let source = &inputs.source;
    // Some drivers have no such form.
    let told = source.domain_xml(&guest.name, form);
    told.or_else(|_| source.domain_xml(&guest.name, XmlForm::Live)).ok()
}

/// Takes down what one check finds.
struct Notes<'a> {
    check: &'static Check,
    level: Level,
    findings: &'a mut Vec<Finding>,
}

/// A finding being written.
struct Note<'a>(&'a mut Finding);

impl Notes<'_> {
    fn error(&mut self, subject: impl Into<String>, message: impl Into<String>) -> Note<'_> {
        self.note(Severity::Error, subject, message)
    }

    fn warning(&mut self, subject: impl Into<String>, message: impl Into<String>) -> Note<'_> {
        self.note(Severity::Warning, subject, message)
    }

    fn note(
        &mut self,
        severity: Severity,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Note<'_> {
        let severity = match self.level {
            Level::Warn => severity.min(Severity::Warning),
            Level::Default | Level::Off => severity,
        };
        self.findings.push(Finding {
            code: self.check.code.into(),
            severity,
            source: Source::Builtin,
            subject: subject.into(),
            message: message.into(),
            arguments: Vec::new(),
            remedies: Vec::new(),
        });
        Note(self.findings.last_mut().expect("it was just pushed"))
    }

    /// An answer, if there is one. A driver that can't tell says nothing either way; a host that no
    /// longer answers is an error, any other refusal a warning.
    fn answer<T>(
        &mut self,
        subject: &str,
        asked: &str,
        answer: Result<T, HypervisorError>,
    ) -> Option<T> {
        let severity = match &answer {
            Ok(_) | Err(HypervisorError::Unsupported { .. }) => return answer.ok(),
            Err(HypervisorError::Libvirt { .. } | HypervisorError::NotFound { .. }) => {
                Severity::Warning
            }
            Err(
                HypervisorError::Unreachable { .. }
                | HypervisorError::Deadline { .. }
                | HypervisorError::Unclear { .. }
                | HypervisorError::Busy,
            ) => Severity::Error,
        };
        if let Err(error) = answer {
            let message = format!("Could not find out {asked}: {error}.");
            self.note(severity, subject, message).argument(error);
        }
        None
    }
}

impl Note<'_> {
    /// A varying part of the message.
    fn argument(self, argument: impl ToString) -> Self {
        self.0.arguments.push(argument.to_string());
        self
    }

    /// What can be done about it.
    fn remedy(self, remedy: impl Into<String>) -> Self {
        self.0.remedies.push(remedy.into());
        self
    }
}
