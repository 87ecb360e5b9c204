//! A guest that did not shut down in time is watched: it may still do so.
//!
//! Its state tells why it is off, as long as it has a definition. One that has none is gone with its
//! end, and only libvirt's event says that it shut down by itself; nobody hears it while the daemon is
//! down.

use std::time::Duration;

use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::Instant,
};

use crate::{
    hypervisor::{DomainChange, DomainEvent, Lifecycle},
    migration::executor::hands::Hands,
};

/// VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN.
const STOPPED_SHUTDOWN: i32 = 0;
/// VIR_DOMAIN_EVENT_SHUTDOWN_HOST: not the guest's own doing.
const SHUTDOWN_HOST: i32 = 2;

/// What is needed to watch a guest.
pub(super) struct Late {
    /// When it was watched for long enough; `None` once that was told. A daemon that was restarted
    /// begins anew: no clock of the wall is asked.
    pub(super) ends: Option<Instant>,
    changes: Option<broadcast::Receiver<DomainEvent>>,
}

impl Late {
    pub(super) fn new(hands: &Hands, how_long: Duration) -> Self {
        let changes = hands.source.as_ref().map(|source| source.changes());
        Self { ends: Some(Instant::now() + how_long), changes }
    }
}

/// Returns when the guest shuts down by itself, if it is watched. May be dropped at any time.
pub(super) async fn shut_down(late: &mut Option<Late>, uuid: &str) {
    if let Some(Late { changes: Some(changes), .. }) = late {
        loop {
            match changes.recv().await {
                Ok(event) if tells_of_shutdown(&event, uuid) => return,
                // What was lost shows in the guest's state, if at all.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    }
    std::future::pending().await
}

/// A guest shuts down, then it is stopped; by the second event nobody may know any more whose it is.
fn tells_of_shutdown(event: &DomainEvent, uuid: &str) -> bool {
    let guest = event.previous.as_ref().or(event.current.as_ref());
    let by_itself = match event.change {
        DomainChange::Lifecycle { change: Lifecycle::Shutdown, detail } => detail != SHUTDOWN_HOST,
        DomainChange::Lifecycle { change: Lifecycle::Stopped, detail } => {
            detail == STOPPED_SHUTDOWN
        }
        DomainChange::Lifecycle { .. } | DomainChange::Other(_) | DomainChange::Found => false,
    };
    by_itself && guest.is_some_and(|guest| guest.uuid == uuid)
}
