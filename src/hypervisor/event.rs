//! What a host tells on its own accord.

use std::{any::Any, fmt, sync::Arc};

use super::JobStats;

/// Receives events. Called on the library's event thread: it must neither block nor call back.
pub type EventSink = Arc<dyn Fn(HostEvent) + Send + Sync>;

/// Keeps a watch alive; dropping it ends the watch. Dropping may block like any other call.
pub struct Watch(#[expect(dead_code, reason = "held for its Drop")] Box<dyn Any + Send + Sync>);

impl Watch {
    /// A watch that lasts as long as `guard` lives.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Something that happened on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum HostEvent {
    /// A guest's life went on.
    Lifecycle {
        /// The guest's UUID, lower case.
        uuid: String,
        /// The guest's name.
        name: String,
        /// What happened.
        change: Lifecycle,
        /// libvirt's detail, a number whose meaning depends on `change`.
        detail: i32,
    },
    /// Something else about a guest changed: it rebooted, a device came or went, its metadata.
    Changed {
        /// The guest's UUID, lower case.
        uuid: String,
        /// The guest's name.
        name: String,
        /// What it was, for the log.
        what: &'static str,
    },
    /// A migration began another pass over the guest's memory.
    MigrationIteration {
        /// The guest's UUID, lower case.
        uuid: String,
        /// The number of the pass, from 1.
        iteration: u32,
    },
    /// A job on a guest ended; the statistics tell how. libvirt keeps silent about some jobs that
    /// were cancelled or failed: the call that began them says so.
    JobCompleted {
        /// The guest's UUID, lower case.
        uuid: String,
        /// The job's last numbers.
        stats: Box<JobStats>,
    },
    /// The connection is gone; nothing follows.
    Closed {
        /// Why, in words.
        reason: &'static str,
    },
}

/// libvirt's virDomainEventType.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "the names are libvirt's")]
pub enum Lifecycle {
    Defined,
    Undefined,
    Started,
    Suspended,
    Resumed,
    Stopped,
    Shutdown,
    PmSuspended,
    Crashed,
    /// An event newer than this program.
    Other(i32),
}
