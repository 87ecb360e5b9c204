//! What hosts show of a guest, and what of it leaves a doubt.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Facts;

/// What both hosts show of the guest. The source was looked at first: a guest that arrived in between
/// is then seen twice rather than nowhere.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sights {
    /// The host it comes from.
    pub source: Sight,
    /// The host it goes to.
    pub destination: Sight,
}

/// What one host shows of the guest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Sight {
    /// The host could not be asked.
    Unreachable,
    /// It does not know the guest.
    Absent,
    /// It knows the guest.
    Present(Presence),
}

/// A guest on a host.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Presence {
    /// What it does.
    pub activity: Activity,
    /// It has a definition.
    pub persistent: bool,
    /// It starts with the host.
    pub autostart: bool,
    /// Whether a migration job moves it away.
    pub outgoing: Outgoing,
    /// It stood still for a migration and goes on here since, as libvirt believes that the migration
    /// was cancelled.
    pub revived: bool,
}

/// The migration job that moves a guest away from a host.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outgoing {
    /// There is none.
    #[default]
    No,
    /// It is the one that we asked for, as far as can be told.
    Ours,
    /// It is somebody else's.
    Foreign,
}

/// What a guest does on a host.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Activity {
    /// Nothing.
    Off,
    /// Nothing, since it left for another host.
    OffMigrated,
    /// Nothing, though it did not shut down: somebody ended or saved it, or it crashed.
    Ended,
    /// It runs.
    Running,
    /// It is paused, though not by a migration.
    Paused,
    /// It is paused by a migration: on its way out, or half-arrived.
    InTransit,
    /// Post-copy is under way.
    PostCopy,
    /// Post-copy broke off.
    PostCopyFailed,
}

/// What keeps a job from deciding where the guest is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Doubt {
    /// The source can't be asked.
    SourceUnreachable,
    /// The destination can't be asked.
    DestinationUnreachable,
    /// The guest is between states that pass by themselves.
    InTransit,
    /// The source runs it, and the destination has a part that will not arrive.
    HalfArrived,
    /// Both hosts run it, or seem to.
    RunsTwice,
    /// Neither host knows it, or seems to.
    Vanished,
    /// Somebody else moves it, and where it will be is open.
    Foreign,
    /// Post-copy is broken, and both halves could not be brought together yet.
    PostCopyBroken,
    /// The source runs a guest that was asked to shut down and may still do so.
    MayShutDown,
    /// A host answers, but does not come to an end with what it was told to do.
    Overdue,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SourceUnreachable => "the source host can't be asked where the guest is",
            Self::DestinationUnreachable => {
                "the destination host can't be asked where the guest is"
            }
            Self::InTransit => "the guest is paused between the hosts",
            Self::HalfArrived => "the destination has a part of the guest that did not arrive",
            Self::RunsTwice => "both hosts show the guest as running",
            Self::Vanished => "neither host knows the guest",
            Self::Foreign => "another migration moves the guest",
            Self::PostCopyBroken => {
                "post-copy broke off: the guest is at the destination, and a part of its memory still \
                 at the source, so neither half may be ended or resumed"
            }
            Self::MayShutDown => {
                "the guest has not shut down when asked to; if it does so late it is started again"
            }
            Self::Overdue => {
                "a host has not come to an end with what it was told to do, and may still do so at any time"
            }
        })
    }
}

impl Presence {
    pub(super) fn is_off(self) -> bool {
        matches!(self.activity, Activity::Off | Activity::OffMigrated | Activity::Ended)
    }

    /// It runs here, or would if nobody had paused it: this host owns it.
    pub(super) fn is_active(self) -> bool {
        matches!(self.activity, Activity::Running | Activity::Paused)
    }
}

impl Sight {
    pub(super) fn presence(self) -> Option<Presence> {
        match self {
            Self::Present(presence) => Some(presence),
            Self::Unreachable | Self::Absent => None,
        }
    }

    pub(super) fn activity(self) -> Option<Activity> {
        self.presence().map(|presence| presence.activity)
    }

    pub(super) fn outgoing(self) -> Outgoing {
        self.presence().map_or(Outgoing::No, |presence| presence.outgoing)
    }

    /// The host was asked and does not run the guest.
    pub fn is_idle(self) -> bool {
        match self {
            Self::Unreachable => false,
            Self::Absent => true,
            Self::Present(presence) => presence.is_off(),
        }
    }

    /// The source was asked and has the guest as our request to shut down leaves it, so that it may be
    /// started at the destination, or again here. One that went to another host runs there, and one
    /// whose definition is gone may do so.
    pub fn lets_start(self, facts: Facts) -> bool {
        match self {
            Self::Unreachable => false,
            Self::Absent => !facts.persistent,
            Self::Present(here) => here.is_off() && here.activity != Activity::OffMigrated,
        }
    }

    pub(super) fn is_active(self) -> bool {
        self.presence().is_some_and(Presence::is_active)
    }

    /// The host was asked and has a definition of a guest that does not run.
    pub(super) fn is_only_defined(self) -> bool {
        self.presence().is_some_and(|presence| presence.is_off() && presence.persistent)
    }
}
