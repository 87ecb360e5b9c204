//! The task that sends to one destination.

use std::{sync::Arc, time::Duration};

use http::StatusCode as HttpStatus;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::{
    Terms,
    dispatcher::Outbox,
    failing::{Failing, How},
    is_private,
    parcel::Parcel,
    policy::{self, Action, Rule, Wish},
    rest::Rest,
};
use crate::{
    cim::{CimName, Instance, StatusCode, Value},
    client::{ClientError, Endpoint, Listener},
    indications::{Identity, Objects, Subscriptions},
    repository::Repository,
    store::{ObjectKind, SequenceRow},
    telemetry::{AUDIT, Chain, Throttle},
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
    /// Where the last attempt went, and the SequenceContext that counts there; empty before the first.
    url: String,
    context: String,
    /// Attempts that failed one after the other.
    failures: u32,
    failing: Failing,
    /// What is being sent, and its number once it was tried.
    hand: Option<Arc<Parcel>>,
    number: Option<i64>,
    /// The store still has what an earlier daemon left.
    is_kept: bool,
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
        sequence: Option<SequenceRow>,
    ) -> Self {
        let (url, context) = sequence.map(|row| (row.url, row.context)).unwrap_or_default();
        let is_kept = outbox.queue().len() > 0;
        Self {
            subscriptions,
            repository,
            destination,
            outbox,
            url,
            context,
            failures: 0,
            failing: Failing::default(),
            hand: None,
            number: None,
            is_kept,
            lost: 0,
            is_known_to_fail: false,
            turns: Throttle::new(3, MINUTE),
            losses: Throttle::new(3, MINUTE),
        }
    }

    /// Sends until the destination is no more or the daemon ends; then it returns what is left.
    pub(super) async fn run(mut self) -> Option<Rest> {
        let outbox = Arc::clone(&self.outbox);
        let farewell = async {
            outbox.closing.cancelled().await;
            sleep(FAREWELL).await;
        };
        // What is cut off in the middle was for a destination that is no more, or stays in hand.
        tokio::select! {
            () = outbox.gone.cancelled() => return None,
            () = farewell => {}
            () = self.work() => {}
        }
        Some(self.rest())
    }

    fn rest(self) -> Rest {
        let (mut next, mut waiting) = std::mem::take(&mut *self.outbox.queue()).into_parts();
        if let Some(parcel) = self.hand {
            waiting.insert(0, (0, parcel));
            // The listener may have taken it without our having heard so: its number stays its own.
            next = self.number.unwrap_or(next);
        }
        let (destination, url, context) = (self.destination.0.clone(), self.url, self.context);
        let was_tried = !url.is_empty();
        let sequence = was_tried.then_some(SequenceRow { destination, url, context, next });
        Rest { destination: self.destination, sequence, waiting }
    }

    async fn work(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        loop {
            let filled = outbox.filled.notified();
            let objects = self.subscriptions.objects();
            let taken = outbox.queue().take(|parcel| parcel.is_wanted(&objects));
            (self.hand, self.number) = (taken.clone(), None);
            if self.is_kept && !taken.as_ref().is_some_and(|parcel| parcel.is_kept()) {
                self.forget().await;
            }
            match taken {
                Some(parcel) => {
                    if !self.deliver(&parcel).await {
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

    /// All that an earlier daemon left is through.
    async fn forget(&mut self) {
        self.is_kept = false;
        let destination = self.destination.0.clone();
        if let Err(error) = self.subscriptions.store().forget_parcels(destination).await {
            let destination = self.destination.name();
            warn!(destination, error = %Chain(&error), "indications that were sent are still kept");
        }
    }

    /// Sends until it is taken, refused, or tried often enough. Says whether to go on.
    pub(super) async fn deliver(&mut self, parcel: &Parcel) -> bool {
        let mut attempts = 0;
        loop {
            let terms = self.subscriptions.terms();
            let pause = policy::pause(self.failures, terms.options.interval);
            if !pause.is_zero() {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.moved() => {}
                    // No time is left for a listener that did not answer before.
                    () = self.outbox.closing.cancelled() => return false,
                }
            }
            let objects = self.subscriptions.objects();
            if !parcel.is_wanted(&objects) {
                return true;
            }
            let Some(destination) = objects.get(ObjectKind::Destination, &self.destination) else {
                return true;
            };
            if self.arrive_at(url_of(destination)) {
                attempts = 0;
            }
            let number = *self.number.get_or_insert_with(|| self.outbox.queue().number());
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

    /// Waits until the destination is at another place than that of the last attempt.
    async fn moved(&self) {
        let mut changes = self.subscriptions.watch();
        let has_moved = |objects: &Arc<Objects>| {
            let destination = objects.get(ObjectKind::Destination, &self.destination);
            destination.is_some_and(|it| url_of(it) != self.url)
        };
        if changes.wait_for(has_moved).await.is_err() {
            // Nobody changes anything any more.
            std::future::pending::<()>().await;
        }
    }

    /// A listener at another place is another listener: it gets numbers of its own, and what the one
    /// before did not take says nothing against it. Says whether it is.
    fn arrive_at(&mut self, url: &str) -> bool {
        if self.url == url {
            return false;
        }
        self.url = url.to_owned();
        self.context = format!("virtcimd#{}", Uuid::new_v4());
        self.number = None;
        self.failures = 0;
        self.failing = Failing::default();
        self.outbox.queue().renumber();
        true
    }

    async fn attempt(&self, number: i64, parcel: &Parcel, terms: &Terms) -> Result<(), Failure> {
        let refused = |reason| Failure { how: How::Refused, reason };
        let endpoint =
            Endpoint::parse(&self.url).map_err(|error| refused(Chain(&error).to_string()))?;
        if !terms.options.allow_cleartext && !is_private(&endpoint) {
            let reason =
                "plain HTTP to another machine is not allowed (indications.allow-cleartext)";
            return Err(refused(reason.to_owned()));
        }
        let indication = parcel.indication(&self.repository);
        let mut indication = indication.map_err(|error| refused(Chain(&error).to_string()))?;
        indication.set(CONTEXT, self.context.as_str());
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
        let filter = parcel.subscription.filter_name();
        debug!(destination = self.destination.name(), filter, "indication sent");
    }

    fn unheard(&mut self, parcel: &Parcel, reason: &str) {
        if self.failures == 0
            && let Some(suppressed) = self.turns.admit()
        {
            self.is_known_to_fail = true;
            let listener = Endpoint::parse(&self.url).map(|it| it.server()).unwrap_or_default();
            let destination = self.destination.name();
            warn!(destination, listener, reason, suppressed, "a listener takes no indications");
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
            let (destination, total) = (self.destination.name(), self.lost);
            let filter = parcel.subscription.filter_name();
            warn!(destination, filter, reason, total, suppressed, "an indication is lost");
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
                filter = parcel.subscription.filter_name(),
                action = if action == Action::Remove { "removed" } else { "disabled" },
                reason,
                "a subscription failed for too long"
            );
            self.act(action, subscription).await;
        }
    }

    async fn act(&self, action: Action, subscription: &Instance) {
        let (operation, done) = match action {
            Action::Keep => return,
            Action::Disable => ("ModifyInstance", self.subscriptions.disable(subscription).await),
            Action::Remove => ("DeleteInstance", self.subscriptions.remove(subscription).await),
        };
        match done {
            Ok(()) => info!(
                target: AUDIT,
                user = "virtcimd",
                peer = "",
                operation,
                object = %Objects::path(subscription),
                outcome = "done",
                "a subscription failed for too long"
            ),
            // A client may have been faster.
            Err(error) => {
                let destination = self.destination.name();
                debug!(destination, error = %Chain(&error), "a subscription stays");
            }
        }
    }
}

/// Where a destination's listener is.
fn url_of(destination: &Instance) -> &str {
    let url = destination.value(&CimName::literal("Destination"));
    url.and_then(Value::as_str).unwrap_or_default()
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
