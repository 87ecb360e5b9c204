//! Sends what happens to those who subscribed to it (DSP1054).
//!
//! ```text
//! providers ──Event──▶ Dispatcher ──matches──▶ Outbox (one per destination) ──▶ Sender ──▶ listener
//!                          ▲ route.rs             queue.rs                        policy.rs
//!                       Objects (watch)                               failing for long ──▶ Subscriptions
//! ```
//!
//! One task matches, one for each destination sends, one indication after the other. An outbox is bounded;
//! what is too much for it is given up, the oldest first. So a listener that is slow, hangs or is gone
//! costs a task and a bounded queue, and delays nobody else.
//!
//! An indication that a listener does not take is sent again, after pauses that grow, as often as
//! `retry-attempts` says; then it is lost. One that a listener refuses is lost at once: it would be
//! refused again. What is lost is told by a gap in SequenceNumber and by the log.
//!
//! When the daemon ends, each outbox has a moment to empty itself. What is left then is kept in the store,
//! with how far each destination is numbered, and the next daemon goes on with both (`rest.rs`). What is
//! deliberately absent: writing to the store for each indication. So a daemon that is killed loses what
//! waits, except for what an earlier one left: that stays in the store until all of it is through. Who
//! goes on after it cannot know how far the numbers got, and begins a new SequenceContext.

mod dispatcher;
mod failing;
mod parcel;
mod policy;
mod queue;
mod rest;
mod route;
mod sender;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use policy::RemovalAction;

use super::Subscriptions;
use crate::{
    cim::{Instance, Namespace},
    client::{self, ClientError, Endpoint, ExchangeLimits, Transport},
    repository::Repository,
};
use dispatcher::Dispatcher;

/// How many events may wait for being matched; beyond, whoever tells of them waits.
const EVENTS: usize = 1024;

/// How much of a listener's answer is read.
const ANSWER: usize = 64 * 1024;

/// How indications are sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeliveryOptions {
    /// `indications.max-queued`: how many may wait for one destination.
    pub queued: usize,
    /// `indications.max-kept`: how many bytes of those that wait are kept when the daemon ends.
    pub kept: usize,
    /// `indications.retry-attempts`: how often one is sent again.
    pub attempts: u16,
    /// `indications.retry-interval`: the first pause before that.
    pub interval: Duration,
    /// `indications.removal-action`: what becomes of subscriptions whose listener takes nothing…
    pub removal: RemovalAction,
    /// `indications.removal-interval`: …for so long.
    pub removal_after: Duration,
    /// `indications.connect-timeout`.
    pub connect: Duration,
    /// `indications.answer-timeout`.
    pub answer: Duration,
    /// `indications.allow-cleartext`: whether listeners on other machines may be reached by plain HTTP.
    pub allow_cleartext: bool,
    /// `indications.ca`: the authorities that vouch for listeners; the machine's without it.
    pub ca: Option<PathBuf>,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            queued: 1000,
            kept: 16 << 20,
            attempts: 3,
            interval: Duration::from_secs(30),
            removal: RemovalAction::default(),
            removal_after: Duration::from_secs(30 * 86_400),
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            allow_cleartext: false,
            ca: None,
        }
    }
}

/// The options, and what was read because of them.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) options: DeliveryOptions,
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Terms {
    /// Reads what the options name. A machine without authorities of its own is no error: there may be
    /// no HTTPS listener.
    pub(super) fn read(options: DeliveryOptions) -> Result<Self, ClientError> {
        let tls = match (client::trust(options.ca.as_deref()), &options.ca) {
            (Ok(tls), _) => Some(tls),
            (Err(error), Some(_)) => return Err(error),
            (Err(error), None) => {
                tracing::info!(%error, "listeners cannot be reached by HTTPS");
                None
            }
        };
        Ok(Self { options, tls })
    }

    fn limits(&self) -> ExchangeLimits {
        let options = &self.options;
        ExchangeLimits { connect: options.connect, answer: options.answer, body: ANSWER }
    }
}

/// Whether nobody can listen on the way to it: TLS, or this machine.
pub(super) fn is_private(endpoint: &Endpoint) -> bool {
    match &endpoint.transport {
        Transport::Https(_) | Transport::Unix(_) => true,
        Transport::Http(authority) => {
            let address = authority.host.parse::<std::net::IpAddr>();
            let is_loopback = address.is_ok_and(|address| address.to_canonical().is_loopback());
            is_loopback || authority.host.eq_ignore_ascii_case("localhost")
        }
    }
}

/// Something that happened, as an indication.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it happened.
    pub namespace: Namespace,
    /// The indication; delivery adds the filter's name and the sequence.
    pub indication: Instance,
}

/// Takes events. Clones share it.
#[derive(Clone)]
pub struct Delivery {
    events: mpsc::Sender<Event>,
    subscriptions: Subscriptions,
}

impl Delivery {
    /// Begins to send. Tasks live in `tasks` until a moment after `stop`.
    pub fn start(
        subscriptions: &Subscriptions,
        repository: Arc<Repository>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (events, waiting) = mpsc::channel(EVENTS);
        let dispatcher = Dispatcher::new(subscriptions.clone(), repository, tasks.clone());
        tasks.spawn(dispatcher.run(waiting, stop));
        Self { events, subscriptions: subscriptions.clone() }
    }

    /// Whether anybody has subscribed to anything; otherwise there is no need to tell.
    pub fn is_wanted(&self) -> bool {
        self.subscriptions.objects().subscriptions().next().is_some()
    }

    /// Tells of an event. Waits only while very many have not been matched yet; never for a listener.
    pub async fn tell(&self, event: Event) {
        // When the daemon ends there is nobody to take it.
        let _ = self.events.send(event).await;
    }
}
