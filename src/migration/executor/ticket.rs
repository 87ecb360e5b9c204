//! A job with all that is known of it, and the place where others see it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::{broadcast, watch};

use super::{
    Request,
    record::{self, Amendment, Record, Removal, Told},
};
use crate::{
    checks::Finding,
    migration::{
        Report, Wait,
        job::{Doubt, Failure, Job, Phase},
    },
    store::{JobRow, Store, StoreError},
    sys::uptime::Moment,
    telemetry::Chain,
};

/// A job as others see it.
#[derive(Clone, Debug)]
pub struct JobView {
    /// Its identity.
    pub id: String,
    /// Grows with each change.
    pub generation: u64,
    /// What was asked for.
    pub request: Arc<Request>,
    /// The guest's name at the destination.
    pub destination_name: String,
    /// Where it stands.
    pub phase: Phase,
    /// What it waits for in the queue.
    pub waiting: Option<Wait>,
    /// What keeps it from going on.
    pub doubt: Option<Doubt>,
    /// Why it can't be stored just now; it waits until it can.
    pub unstored: Option<String>,
    /// Whether somebody wants the guest to stay.
    pub abort_wanted: bool,
    /// Why it failed, or why it is on its way back.
    pub failure: Option<Failure>,
    /// What could not be put in order at the end.
    pub note: Option<String>,
    /// How far it is.
    pub report: Report,
    /// What the gate found.
    pub findings: Arc<[Finding]>,
    /// When it was asked for; this and the next in microseconds since 1970.
    pub submitted: i64,
    /// When it left the queue.
    pub started: Option<i64>,
    /// When its phase last changed.
    pub changed: i64,
    /// When it ended.
    pub ended: Option<i64>,
    /// When clients stop seeing it.
    pub removal: Removal,
    clock: Clock,
}

/// What measures how long a job takes; the wall's clock may jump.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Waits,
    Runs { since: Instant, before: Duration },
    Stopped { elapsed: Duration },
}

impl Clock {
    fn elapsed(self) -> Duration {
        match self {
            Self::Waits => Duration::ZERO,
            Self::Runs { since, before } => before + since.elapsed(),
            Self::Stopped { elapsed } => elapsed,
        }
    }
}

impl JobView {
    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.phase.is_over()
    }

    /// What a client may change of it.
    pub fn amendable(&self) -> Amendment {
        Amendment { removal: self.removal, priority: self.request.settings.priority }
    }

    /// How long it has run or, if it is over, ran.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

/// What happened to a job, for those who follow all of them.
#[derive(Clone, Debug)]
pub enum JobChange {
    /// It is new.
    Created(Arc<JobView>),
    /// It is different.
    Modified {
        /// What it was.
        previous: Arc<JobView>,
        /// What it is.
        current: Arc<JobView>,
    },
    /// It is not seen any more.
    Deleted(Arc<JobView>),
}

/// A job, its record and its reader's view. Its owner is whoever may change the job: the runner while
/// it waits and when it is over, its worker in between.
pub(super) struct Ticket {
    pub(super) id: String,
    pub(super) job: Job,
    pub(super) record: Record,
    pub(super) report: Report,
    pub(super) findings: Arc<[Finding]>,
    pub(super) waiting: Option<Wait>,
    /// Why its present state is not stored.
    pub(super) unstored: Option<String>,
    /// What the store has of it, from which a new start would go on.
    stored: Job,
    request: Arc<Request>,
    submitted: i64,
    started: Option<i64>,
    changed: i64,
    ended: Option<i64>,
    removed: Option<i64>,
    clock: Clock,
    over: Option<Over>,
    view: watch::Sender<Arc<JobView>>,
    changes: broadcast::Sender<JobChange>,
}

/// How long a job is over: `before`, and since then.
#[derive(Clone, Copy, Debug)]
struct Over {
    since: Instant,
    before: Duration,
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A time that was stored, and what has passed since then. Of another boot of the machine only the
/// wall's clock tells, which may have been set in between.
fn until_now(told: &Told, stored: Duration, since: i64) -> Duration {
    let passed = told.at.as_ref().and_then(|then| Moment::now()?.since(then));
    passed.map_or_else(
        || Duration::from_micros(u64::try_from(now().saturating_sub(since)).unwrap_or(0)),
        |passed| stored + passed,
    )
}

impl Ticket {
    pub(super) fn new(
        id: String,
        job: Job,
        record: Record,
        changes: broadcast::Sender<JobChange>,
    ) -> Self {
        let at = now();
        let parts = Parts { submitted: at, changed: at, ..Parts::default() };
        Self::build(id, job, record, parts, changes)
    }

    /// A job from the store.
    pub(super) fn restore(
        row: &JobRow,
        stored: record::Stored,
        findings: Vec<Finding>,
        changes: broadcast::Sender<JobChange>,
    ) -> Self {
        let record::Stored { record, job, told } = stored;
        let parts = Parts {
            submitted: row.submitted,
            started: row.started,
            changed: row.changed,
            ended: row.ended,
            removed: row.removed,
            told,
            findings,
        };
        Self::build(row.id.clone(), job, record, parts, changes)
    }

    fn build(
        id: String,
        job: Job,
        record: Record,
        parts: Parts,
        changes: broadcast::Sender<JobChange>,
    ) -> Self {
        let Parts { submitted, started, changed, ended, removed, told, findings } = parts;
        let since = Instant::now();
        let clock = match (started, ended) {
            (_, Some(_)) => Clock::Stopped { elapsed: told.elapsed },
            (Some(started), None) => {
                Clock::Runs { since, before: until_now(&told, told.elapsed, started) }
            }
            (None, None) => Clock::Waits,
        };
        let over =
            ended.map(|ended| Over { since, before: until_now(&told, told.over_for, ended) });
        let request = Arc::new(record.request.clone());
        let findings: Arc<[Finding]> = findings.into();
        let first = JobView {
            id: id.clone(),
            generation: 0,
            request: Arc::clone(&request),
            destination_name: record.destination_name.clone(),
            phase: job.phase(),
            waiting: None,
            doubt: None,
            unstored: None,
            abort_wanted: false,
            failure: None,
            note: None,
            report: told.report.clone(),
            findings: Arc::clone(&findings),
            submitted,
            started,
            changed,
            ended,
            removal: record.removal,
            clock,
        };
        let ticket = Self {
            id,
            stored: job.clone(),
            job,
            record,
            report: told.report,
            findings,
            waiting: None,
            unstored: None,
            request,
            submitted,
            started,
            changed,
            ended,
            removed,
            clock,
            over,
            view: watch::Sender::new(Arc::new(first)),
            changes,
        };
        ticket.view.send_replace(Arc::new(ticket.look()));
        ticket
    }

    /// Where others see it.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<JobView>> {
        self.view.subscribe()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// How long it is over already.
    pub(super) fn over_for(&self) -> Duration {
        self.over.map_or(Duration::ZERO, |over| over.before + over.since.elapsed())
    }

    /// Takes over the job's next state.
    pub(super) fn set_job(&mut self, job: Job) {
        let at = now();
        if job.phase() != self.job.phase() {
            self.changed = at;
        }
        match job.phase() {
            Phase::Queued => {
                self.started = None;
                self.clock = Clock::Waits;
            }
            phase if phase.is_over() => {
                self.ended = Some(at);
                self.over = Some(Over { since: Instant::now(), before: Duration::ZERO });
                self.clock = Clock::Stopped { elapsed: self.clock.elapsed() };
                // They have secrets in them.
                self.record.definitions = None;
            }
            _ if self.started.is_none() => {
                self.started = Some(at);
                self.clock = Clock::Runs { since: Instant::now(), before: Duration::ZERO };
            }
            _ => {}
        }
        self.job = job;
    }

    /// Stores and shows what a client changes.
    pub(super) async fn amend(
        &mut self,
        amendment: Amendment,
        store: &Store,
    ) -> Result<(), StoreError> {
        let before = (self.record.amendable(), self.unstored.clone());
        self.set_amendable(amendment);
        let saved = self.save(store).await;
        if saved.is_err() {
            self.set_amendable(before.0);
            self.unstored = before.1;
        }
        self.publish();
        saved
    }

    fn set_amendable(&mut self, Amendment { removal, priority }: Amendment) {
        self.record.removal = removal;
        self.record.request.settings.priority = priority;
        Arc::make_mut(&mut self.request).settings.priority = priority;
    }

    /// Whether it is over, and a new start would not know that but move the guest. Nobody may be told
    /// of such an end.
    pub(super) fn may_rise(&self) -> bool {
        self.unstored.is_some() && self.job.phase().is_over() && self.stored.may_move_guest()
    }

    fn look(&self) -> JobView {
        if self.may_rise() {
            let shown = JobView::clone(&self.view.borrow());
            return JobView {
                generation: shown.generation + 1,
                waiting: None,
                unstored: self.unstored.clone(),
                abort_wanted: self.job.abort_wanted(),
                findings: Arc::clone(&self.findings),
                ..shown
            };
        }
        JobView {
            id: self.id.clone(),
            generation: self.view.borrow().generation + 1,
            request: Arc::clone(&self.request),
            destination_name: self.record.destination_name.clone(),
            phase: self.job.phase(),
            waiting: self.waiting.clone(),
            doubt: self.job.doubt(),
            unstored: self.unstored.clone(),
            abort_wanted: self.job.abort_wanted(),
            failure: self.job.failure().cloned(),
            note: self.job.note().map(str::to_owned),
            report: self.report.clone(),
            findings: Arc::clone(&self.findings),
            submitted: self.submitted,
            started: self.started,
            changed: self.changed,
            ended: self.ended,
            removal: self.record.removal,
            clock: self.clock,
        }
    }

    /// Shows it as it is now.
    pub(super) fn publish(&self) {
        let current = Arc::new(self.look());
        let previous = self.view.send_replace(Arc::clone(&current));
        let _ = self.changes.send(JobChange::Modified { previous, current });
    }

    /// Tells those who follow all jobs that there is one more.
    pub(super) fn announce(&self) {
        let _ = self.changes.send(JobChange::Created(Arc::clone(&self.view.borrow())));
    }

    /// Stores that clients no longer see it, and tells those who follow all jobs.
    pub(super) async fn retract(&mut self, store: &Store) -> Result<(), StoreError> {
        let unstored = self.unstored.clone();
        self.removed = Some(now());
        let saved = self.save(store).await;
        if saved.is_ok() {
            let _ = self.changes.send(JobChange::Deleted(Arc::clone(&self.view.borrow())));
        } else {
            (self.removed, self.unstored) = (None, unstored);
        }
        saved
    }

    fn row(&self) -> JobRow {
        let request = &self.request;
        JobRow {
            id: self.id.clone(),
            guest: request.guest.clone(),
            guest_uuid: request.guest_uuid.clone(),
            hypervisor: request.hypervisor.clone(),
            destination: request.target.name.clone(),
            owner: request.owner.clone(),
            priority: request.settings.priority,
            phase: self.job.phase().to_string(),
            over: self.job.phase().is_over(),
            machine: record::write(&self.job),
            request: record::write(&self.record),
            report: record::write(&Told {
                report: self.report.clone(),
                elapsed: self.elapsed(),
                over_for: self.over_for(),
                at: Moment::now(),
            }),
            submitted: self.submitted,
            started: self.started,
            changed: self.changed,
            ended: self.ended,
            removed: self.removed,
        }
    }

    pub(super) async fn insert(&self, store: &Store) -> Result<(), StoreError> {
        store.insert_job(self.row()).await
    }

    pub(super) async fn save(&mut self, store: &Store) -> Result<(), StoreError> {
        if self.may_rise() {
            // Clients see its end only once it is stored, and for as long as any other.
            self.over = Some(Over { since: Instant::now(), before: Duration::ZERO });
        }
        let saved = store.update_job(self.row()).await;
        if saved.is_ok() {
            self.stored = self.job.clone();
        }
        self.unstored = saved.as_ref().err().map(|error| Chain(error).to_string());
        saved
    }

    pub(super) async fn save_findings(&self, store: &Store) -> Result<(), StoreError> {
        let bodies = self.findings.iter().map(record::write).collect();
        store.set_findings(self.id.clone(), bodies).await
    }
}

#[derive(Default)]
struct Parts {
    submitted: i64,
    started: Option<i64>,
    changed: i64,
    ended: Option<i64>,
    removed: Option<i64>,
    told: Told,
    findings: Vec<Finding>,
}
