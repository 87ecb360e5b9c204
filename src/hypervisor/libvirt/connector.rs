//! Opens connections within a deadline.
//!
//! libvirt can't be interrupted while it connects: a host that swallows packets holds it for minutes,
//! one whose daemon is stopped for ever. So each attempt has a thread of its own, and everybody who
//! wants the same URI meanwhile waits for the same attempt. A dead host costs one thread, never more.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{KeepAlive, Libvirt};
use crate::hypervisor::{Connector, HypervisorError, Migrator};

/// How connections are opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LibvirtOptions {
    /// The longest a caller waits for a connection.
    pub deadline: Duration,
    /// How a connection notices that the other end no longer answers.
    pub keep_alive: KeepAlive,
    /// The most URIs that may be in the course of being opened.
    pub opening: usize,
}

impl Default for LibvirtOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            keep_alive: KeepAlive { interval: Duration::from_secs(5), count: 3 },
            opening: 64,
        }
    }
}

/// Opens connections through libvirt. Clones share their attempts.
#[derive(Clone)]
pub struct LibvirtConnector {
    options: LibvirtOptions,
    attempts: Arc<Mutex<HashMap<String, Arc<Attempt>>>>,
}

type Opened = Result<Arc<Libvirt>, HypervisorError>;

#[derive(Default)]
struct Attempt {
    outcome: Mutex<Option<Opened>>,
    over: Condvar,
}

impl LibvirtConnector {
    /// A connector that opens as `options` say.
    pub fn new(options: LibvirtOptions) -> Self {
        Self { options, attempts: Arc::default() }
    }

    /// The attempt that runs for `uri`, begun if there is none.
    fn attempt(&self, uri: &str) -> Result<Arc<Attempt>, HypervisorError> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = attempts.get(uri) {
            return Ok(Arc::clone(attempt));
        }
        if attempts.len() >= self.options.opening {
            return Err(HypervisorError::Busy);
        }
        let attempt = Arc::new(Attempt::default());
        let (shared, running) = (Arc::clone(&self.attempts), Arc::clone(&attempt));
        let (owned, connector) = (uri.to_owned(), self.clone());
        let opening = move || {
            let outcome = Libvirt::open(&owned, connector).map(Arc::new);
            // From here on a new caller begins anew; those who wait share this outcome.
            shared.lock().unwrap_or_else(PoisonError::into_inner).remove(&owned);
            running.finish(outcome);
        };
        let started = thread::Builder::new().name("libvirt-open".to_owned()).spawn(opening);
        started.map_err(|error| HypervisorError::Unreachable {
            uri: uri.to_owned(),
            message: format!("no thread to connect from: {error}"),
        })?;
        attempts.insert(uri.to_owned(), Arc::clone(&attempt));
        Ok(attempt)
    }

    /// How its connections notice that the other end no longer answers.
    pub(super) fn keep_alive(&self) -> KeepAlive {
        self.options.keep_alive
    }

    /// A connection to `uri`, within the deadline.
    pub(super) fn connect(&self, uri: &str) -> Opened {
        self.attempt(uri)?.wait(self.options.deadline).unwrap_or_else(|| {
            let seconds = self.options.deadline.as_secs_f32();
            let message = format!("no connection within {seconds} s");
            Err(HypervisorError::Unreachable { uri: uri.to_owned(), message })
        })
    }
}

impl Connector for LibvirtConnector {
    fn open(&self, uri: &str) -> Result<Arc<dyn Migrator>, HypervisorError> {
        self.connect(uri).map(|opened| opened as Arc<dyn Migrator>)
    }
}

impl Attempt {
    fn finish(&self, outcome: Opened) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.over.notify_all();
    }

    fn wait(&self, deadline: Duration) -> Option<Opened> {
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let (outcome, _) = self
            .over
            .wait_timeout_while(outcome, deadline, |outcome| outcome.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        outcome.clone()
    }
}
