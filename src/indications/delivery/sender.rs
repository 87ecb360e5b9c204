//! The task that sends to one destination.

use std::{sync::Arc, time::Duration};

use http::StatusCode as HttpStatus;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::{
    Terms,
    dispatcher::{Outbox, Parcel},
    failing::{Failing, How},
    is_private,
    policy::{self, Action, Rule, Wish},
};
use crate::{
    cim::{CimName, Instance, StatusCode, Value},
    client::{ClientError, Endpoint, Listener},
    indications::{Identity, Objects, Subscriptions, now, subscription},
    repository::Repository,
    store::ObjectKind,
    telemetry::{Chain, Throttle},
};

const CONTEXT: CimName = CimName::literal("SequenceContext");
const NUMBER: CimName = CimName::literal("SequenceNumber");

/// How long an outbox may empty itself when the daemon ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How much of a reason is logged.
const MAX_REASON: usize = 256;

/// How often more than a few lines about one listener are logged.
const MINUTE: Duration = Duration::from_secs(60);

/// Why an attempt did not succeed.
struct Failure {
    how: How,
    reason: String,
}

pub(super) struct Sender {
    subscriptions: Subscriptions,
    repository: Arc<Repository>,
    destination: Identity,
    outbox: Arc<Outbox>,
    /// The daemon's.
    start: u128,
    /// Where the last attempt went, and the SequenceContext that counts there.
    address: (String, String),
    contexts: u32,
    /// Attempts that failed one after the other.
    failures: u32,
    failing: Failing,
    /// What is being sent.
    hand: Option<Arc<Parcel>>,
    lost: u64,
    /// The log says that it fails.
    is_known_to_fail: bool,
    /// On log lines about that.
    turns: Throttle,
    /// On log lines about what is lost.
    losses: Throttle,
}

impl Sender {
    pub(super) fn new(
        subscriptions: Subscriptions,
        repository: Arc<Repository>,
        destination: Identity,
        outbox: Arc<Outbox>,
        start: u128,
    ) -> Self {
        Self {
            subscriptions,
            repository,
            destination,
            outbox,
            start,
            address: (String::new(), String::new()),
            contexts: 0,
            failures: 0,
            failing: Failing::default(),
            hand: None,
            lost: 0,
            is_known_to_fail: false,
            turns: Throttle::new(3, MINUTE),
            losses: Throttle::new(3, MINUTE),
        }
    }

    pub(super) async fn run(mut self) {
        let outbox = Arc::clone(&self.outbox);
        let farewell = async {
            outbox.closing.cancelled().await;
            sleep(FAREWELL).await;
        };
        // What is cut off in the middle was for a destination that is no more, or too late.
        tokio::select! {
            () = outbox.gone.cancelled() => return,
            () = farewell => {}
            () = self.work() => {}
        }
        let left = outbox.queue().len() + usize::from(self.hand.is_some());
        if left > 0 {
            info!(
                destination = self.destination.name(),
                left, "indications were not sent any more"
            );
        }
    }

    async fn work(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        loop {
            let filled = outbox.filled.notified();
            let objects = self.subscriptions.objects();
            let taken = outbox.queue().take(|parcel| is_wanted(parcel, &objects));
            match taken {
                Some((number, parcel)) => {
                    let parcel = Arc::new(parcel);
                    self.hand = Some(Arc::clone(&parcel));
                    if !self.deliver(number, &parcel).await {
                        return;
                    }
                    self.hand = None;
                }
                None => tokio::select! {
                    biased;
                    // What came last is seen to before the end, which may be told at the same time.
                    () = filled => {}
                    () = outbox.closing.cancelled() => return,
                },
            }
        }
    }

    /// Sends until it is taken, refused, or tried often enough. Says whether to go on.
    pub(super) async fn deliver(&mut self, mut number: i64, parcel: &Parcel) -> bool {
        let mut attempts = 0;
        loop {
            let terms = self.subscriptions.terms();
            let pause = policy::pause(self.failures, terms.options.interval);
            if !pause.is_zero() {
                tokio::select! {
                    () = sleep(pause) => {}
                    // No time is left for a listener that did not answer before.
                    () = self.outbox.closing.cancelled() => return false,
                }
            }
            let objects = self.subscriptions.objects();
            if !is_wanted(parcel, &objects) {
                return true;
            }
            let Some(destination) = objects.get(ObjectKind::Destination, &self.destination) else {
                return true;
            };
            if let Some(first) = self.arrive_at(destination) {
                number = first;
            }
            attempts += 1;
            match self.attempt(number, parcel, &terms).await {
                Ok(()) => {
                    self.heard(parcel);
                    return true;
                }
                Err(Failure { how: How::Refused, reason }) => {
                    self.failures = 0;
                    self.lose(parcel, How::Refused, &reason).await;
                    return true;
                }
                Err(Failure { how: How::Unheard, reason }) => {
                    self.unheard(parcel, &reason);
                    if attempts > u32::from(terms.options.attempts) {
                        self.lose(parcel, How::Unheard, &reason).await;
                        return true;
                    }
                }
            }
        }
    }

    /// A listener at another place is another listener: it gets numbers of its own. Returns the first.
    fn arrive_at(&mut self, destination: &Instance) -> Option<i64> {
        let url = destination.value(&CimName::literal("Destination")).and_then(Value::as_str);
        let url = url.unwrap_or_default();
        if self.address.0 == url {
            return None;
        }
        let is_first = self.contexts == 0;
        self.contexts += 1;
        let began = now();
        let context = format!("virtcimd#{}#{}.{}", self.start, began.as_str(), self.contexts);
        self.address = (url.to_owned(), context);
        if is_first { None } else { Some(self.outbox.queue().renumber()) }
    }

    async fn attempt(&self, number: i64, parcel: &Parcel, terms: &Terms) -> Result<(), Failure> {
        let (url, context) = &self.address;
        let refused = |reason| Failure { how: How::Refused, reason };
        let endpoint = Endpoint::parse(url).map_err(|error| refused(Chain(&error).to_string()))?;
        if !terms.options.allow_cleartext && !is_private(&endpoint) {
            let reason =
                "plain HTTP to another machine is not allowed (indications.allow-cleartext)";
            return Err(refused(reason.to_owned()));
        }
        let mut indication = parcel.filter.select(&parcel.event, &self.repository);
        indication.set(CONTEXT, context.as_str());
        indication.set(NUMBER, number);
        let listener = Listener { endpoint, tls: terms.tls.clone(), limits: terms.limits() };
        let message = number.to_string();
        listener.export(&message, &indication).await.map_err(|error| classify(&error))
    }

    fn heard(&mut self, parcel: &Parcel) {
        if std::mem::take(&mut self.is_known_to_fail) {
            let (destination, attempts) = (self.destination.name(), self.failures);
            info!(destination, attempts, "a listener takes indications again");
        }
        self.failures = 0;
        self.failing.heard(&parcel.subscription);
        debug!(destination = self.destination.name(), class = %parcel.event.indication.class, "indication sent");
    }

    fn unheard(&mut self, parcel: &Parcel, reason: &str) {
        if self.failures == 0
            && let Some(suppressed) = self.turns.admit()
        {
            self.is_known_to_fail = true;
            let (destination, url) = (self.destination.name(), &self.address.0);
            warn!(destination, url, reason, suppressed, "a listener takes no indications");
        }
        self.failures = self.failures.saturating_add(1);
        let objects = self.subscriptions.objects();
        if let Some(subscription) = objects.get(ObjectKind::Subscription, &parcel.subscription) {
            let now = Instant::now();
            self.failing.failed(&parcel.subscription, subscription, How::Unheard, now);
        }
    }

    /// An indication is lost: says so, and asks what becomes of its subscription.
    async fn lose(&mut self, parcel: &Parcel, how: How, reason: &str) {
        self.lost += 1;
        if let Some(suppressed) = self.losses.admit() {
            let (destination, class) = (self.destination.name(), &parcel.event.indication.class);
            let total = self.lost;
            warn!(destination, %class, reason, total, suppressed, "an indication is lost");
        }
        let objects = self.subscriptions.objects();
        let Some(subscription) = objects.get(ObjectKind::Subscription, &parcel.subscription) else {
            return;
        };
        // Of those that clients removed nothing is to be decided any more.
        self.failing.retain(|it| objects.get(ObjectKind::Subscription, it).is_some());
        let now = Instant::now();
        let (since, first_loss) = self.failing.lost(&parcel.subscription, subscription, how, now);
        let action = {
            let options = &self.subscriptions.terms().options;
            let rule = Rule { action: options.removal, after: options.removal_after };
            policy::verdict(wish(subscription), rule, since, first_loss)
        };
        if action != Action::Keep {
            self.failing.retain(|it| *it != parcel.subscription);
            warn!(
                destination = self.destination.name(),
                filter = parcel.filter.name(),
                action = if action == Action::Remove { "removed" } else { "disabled" },
                reason,
                "a subscription failed for too long"
            );
            self.act(action, subscription).await;
        }
    }

    async fn act(&self, action: Action, subscription: &Instance) {
        let done = match action {
            Action::Keep => Ok(()),
            Action::Disable => self.subscriptions.disable(subscription).await,
            Action::Remove => self.subscriptions.remove(subscription).await,
        };
        if let Err(error) = done {
            // A client may have been faster.
            debug!(destination = self.destination.name(), error = %Chain(&error), "a subscription stays");
        }
    }
}

/// Whether somebody still waits for it.
fn is_wanted(parcel: &Parcel, objects: &Objects) -> bool {
    let found = objects.get(ObjectKind::Subscription, &parcel.subscription);
    found.is_some_and(|it| subscription::is_enabled(it) && subscription::made(it) == &*parcel.made)
}

/// What a subscription asks for if it fails.
fn wish(subscription: &Instance) -> Wish {
    let number = |name| subscription.value(&CimName::literal(name)).and_then(Value::as_integer);
    let action = match number("OnFatalErrorPolicy") {
        Some(3) => Action::Disable,
        Some(4) => Action::Remove,
        _ => Action::Keep,
    };
    let seconds = number("FailureTriggerTimeInterval").and_then(|it| u64::try_from(it).ok());
    Wish { action, after: Duration::from_secs(seconds.unwrap_or(0)) }
}

/// Whether it would fail again. What a listener says of itself, that it is full or about to end, passes.
fn classify(error: &ClientError) -> Failure {
    let passes = match error {
        ClientError::Cim(error) => matches!(
            error.status,
            StatusCode::Failed
                | StatusCode::ServerLimitsExceeded
                | StatusCode::ServerIsShuttingDown
        ),
        ClientError::Status { status, .. } => {
            (status.is_server_error() && *status != HttpStatus::NOT_IMPLEMENTED)
                || matches!(*status, HttpStatus::REQUEST_TIMEOUT | HttpStatus::TOO_MANY_REQUESTS)
        }
        ClientError::Header(_) => false,
        ClientError::Unreachable { .. }
        | ClientError::Http { .. }
        | ClientError::NoAnswer { .. }
        | ClientError::TooLarge { .. }
        | ClientError::Unauthorized { .. }
        | ClientError::Decode { .. }
        | ClientError::Trust { .. } => true,
    };
    // It may have a listener's own words in it.
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let reason = Chain(error).to_string().chars().map(shown).take(MAX_REASON).collect();
    Failure { how: if passes { How::Unheard } else { How::Refused }, reason }
}
