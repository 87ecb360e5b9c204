//! The worker of one job: tells the machine what happened, stores what it decides, does it.
//!
//! Whatever may take long (the gate, planning, a deed, a look at both hosts, the move itself) is an
//! *activity* beside the worker, which listens for commands meanwhile. There is at most one activity;
//! the result of an earlier one is nobody's.
//!
//! While the store takes nothing, the machine goes on hearing what happens, but what it decides waits:
//! a deed must be known after a crash. Only what leaves the guest where it is, is done at once; what had
//! to wait is decided anew.

mod gate;
mod late;
mod moving;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    Command, CommandError, Shared, failures,
    hands::{Hands, Means, OurMove},
    record::{Amendment, Definitions, Record},
    ticket::Ticket,
};
use crate::{
    checks::{GateError, Report as GateReport},
    hypervisor::{HostEvent, MigrationOrder},
    migration::{
        Patience, Plan, Progress, copied_files,
        job::{Agenda, Deed, Doubt, Effect, Event, Failure, Job, Phase, Reason, Refusal},
    },
    store::StoreError,
    telemetry::{AUDIT, Chain},
};
use late::Late;
use moving::Move;

/// Between attempts to store what can't be stored.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// What an activity brings.
enum Outcome {
    Event(Event),
    Gate(Result<GateReport, GateError>),
    Planned(Result<Box<Plan>, Failure>),
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    ticket: Ticket,
    hands: Arc<Hands>,
    progress: Progress,
    commands: mpsc::Receiver<Command>,
    agenda: Agenda,
    /// The job is not stored as it is; when to try again.
    store_at: Option<Instant>,
    /// The number of the current activity, and what ends it.
    activity: (u64, CancellationToken),
    /// What activities bring, with their numbers.
    results: mpsc::Receiver<(u64, Outcome)>,
    reporter: mpsc::Sender<(u64, Outcome)>,
    /// The order to carry out, once it is planned.
    order: Option<MigrationOrder>,
    moving: Option<Move>,
    /// When to look at both hosts again.
    look_at: Option<Instant>,
    /// When doubt has lasted long enough.
    patience_ends: Option<Instant>,
    /// When a host should have come to an end with what it does for us.
    overdue_at: Option<Instant>,
    /// A guest that did not shut down in time is watched, should it still do so.
    late: Option<Late>,
    job_events: Option<broadcast::Receiver<HostEvent>>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        ticket: Ticket,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let request = &ticket.record.request;
        let source = shared.sources.get(&request.hypervisor).cloned();
        let patience = Patience {
            stall: shared.options().stall,
            limit: request.settings.timeout,
            auto_converge: request.settings.auto_converge,
        };
        let progress = Progress::new(request.settings.migration_type, patience);
        let (reporter, results) = mpsc::channel(4);
        Self {
            job_events: source.as_ref().map(|source| source.job_events()),
            hands: Arc::new(Hands {
                guest_uuid: request.guest_uuid.clone(),
                source_uri: request.hypervisor.clone(),
                source,
                destination_uri: request.target.uri.clone(),
                connector: Arc::clone(&shared.connector),
                source_slots: shared.source_slots.clone(),
                destination_slots: shared.lanes.of(&request.target.uri),
                destination: Default::default(),
            }),
            progress: progress.resumed(ticket.report.clone()),
            commands,
            agenda: Agenda::default(),
            store_at: None,
            activity: (0, CancellationToken::new()),
            results,
            reporter,
            order: None,
            moving: None,
            look_at: None,
            patience_ends: None,
            overdue_at: None,
            late: None,
            shared,
            ticket,
        }
    }

    /// Works until the job is over or the daemon ends; in the latter case the job is left as it is.
    pub(super) async fn run(mut self, first: Event) -> Option<Ticket> {
        let request = &self.ticket.record.request;
        let span = info_span!("job", job = %self.ticket.id, domain = %request.guest);
        let stop = self.shared.stop.clone();
        // To break off anywhere is what a crash does: the next start goes on from what is stored.
        let worked = stop.run_until_cancelled(self.work(first).instrument(span)).await;
        self.activity.1.cancel();
        worked?;
        let phase = self.ticket.job.phase();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Tell { answer, .. } => {
                    let _ = answer.send(Err(Refusal::Over(phase).into()));
                }
                Command::Amend { amendment, answer } => {
                    let _ = answer.send(self.amend(amendment).await.map_err(Into::into));
                }
            }
        }
        Some(self.ticket)
    }

    async fn work(&mut self, first: Event) {
        self.take(first).await;
        while !self.ticket.job.phase().is_over() {
            if self.store_at.is_none() {
                self.catch_up().await;
            }
            match self.agenda.next(self.store_at.is_none()) {
                Some(effect) => self.act(effect).await,
                None => self.wait().await,
            }
        }
        self.finish().await;
    }

    /// What was decided could be stored only now, and the world has moved on meanwhile: a new look
    /// decides. What is to be done to a move that goes on is no worse for being late.
    async fn catch_up(&mut self) {
        if self.agenda.take_late() && self.moving.is_none() {
            self.agenda.clear();
            self.take(Event::Adopted).await;
        }
    }

    /// Waits for whatever comes next.
    async fn wait(&mut self) {
        let tick = self.moving.as_ref().map(|moving| moving.next_tick);
        let (look_at, patience_ends) = (self.look_at, self.patience_end());
        let overdue_at = self.overdue_at;
        // Nothing is lost if another branch is first: channels keep what was not received.
        tokio::select! {
            Some(command) = self.commands.recv() => self.obey(command).await,
            Some((number, outcome)) = self.results.recv() => {
                if number == self.activity.0 {
                    self.receive(outcome).await;
                }
            }
            () = until(tick) => self.tick().await,
            () = until(self.store_at) => {
                self.store(None).await;
                self.keep_time();
                self.ticket.publish();
            }
            () = until(look_at) => {
                self.look_at = None;
                self.agenda.add(Effect::Inspect);
            }
            () = late::shut_down(&mut self.late, &self.hands.guest_uuid),
                if self.ticket.job.doubt() == Some(Doubt::MayShutDown) =>
            {
                self.take(Event::GuestOff).await;
            }
            () = until(patience_ends) => {
                self.end_patience();
                self.look_at = None;
                self.take(Event::PatienceOver).await;
            }
            () = until(overdue_at) => {
                self.overdue_at = None;
                warn!(phase = %self.ticket.job.phase(), "a host is overdue");
                self.take(Event::Overdue).await;
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Tell { event, answer } => {
                let before = self.ticket.job.phase();
                let told = self.take(event).await.map_or(Ok(()), Err);
                let after = self.ticket.job.phase();
                info!(%before, %after, refused = told.is_err(), "told to stop");
                let _ = answer.send(told.map_err(CommandError::Refused));
            }
            Command::Amend { amendment, answer } => {
                let _ = answer.send(self.amend(amendment).await.map_err(Into::into));
            }
        }
    }

    async fn amend(&mut self, amendment: Amendment) -> Result<(), StoreError> {
        self.ticket.amend(amendment, &self.shared.store).await
    }

    async fn receive(&mut self, outcome: Outcome) {
        self.overdue_at = None;
        let event = match outcome {
            Outcome::Event(event) => event,
            Outcome::Gate(answer) => self.judge_gate(answer).await,
            Outcome::Planned(Ok(plan)) => {
                self.ticket.record.keep(&plan);
                let allow_unsafe = self.accepts_unsafe_storage();
                self.order = plan.order.map(|order| MigrationOrder { allow_unsafe, ..order });
                Event::Prepared(plan.facts)
            }
            Outcome::Planned(Err(failure)) => Event::Broke(failure),
        };
        if let Event::MoveEnded(_) = event {
            self.read_job_events();
            self.moving = None;
        }
        self.take(event).await;
    }

    /// Tells the machine; stores and shows what it decides. Returns its refusal.
    async fn take(&mut self, event: Event) -> Option<Refusal> {
        if self.shared.stop.is_cancelled() {
            // The gate and the connections end with us: what they say now is no news of the guest.
            std::future::pending::<()>().await;
        }
        let before = self.ticket.job.clone();
        let (job, effects) = match before.clone().on(event.clone()) {
            Ok(step) => step,
            Err(refusal) => {
                if let Refusal::Unexpected { .. } = refusal {
                    error!(error = %refusal, "the job's machine was told nonsense");
                }
                return Some(refusal);
            }
        };
        debug!(?event, phase = %job.phase(), ?effects, "job moves");
        if let Event::MoveEnded(_) = event {
            // What was still to be done to the move would now hit another one.
            self.agenda.clear();
        }
        if before.doubt() == Some(Doubt::MayShutDown)
            && effects.contains(&Effect::Do(Deed::StartSource))
        {
            let request = &self.ticket.record.request;
            let (domain, user) = (&request.guest, &request.owner);
            warn!(target: AUDIT, %domain, user, "a guest shut down late and is started again");
        }
        if job.phase() != before.phase() {
            info!(phase = %job.phase(), "job enters phase");
        }
        self.progress.enter(job.phase());
        self.ticket.report = self.progress.report().clone();
        self.ticket.set_job(job);
        self.agenda.extend(&effects);
        self.store(Some(&before)).await;
        if self.ticket.job.doubt() != before.doubt() {
            // Each doubt has our whole patience.
            self.patience_ends = None;
        }
        self.keep_time();
        // The end is shown by the runner, with all numbers, once the guest may have another job.
        if !self.ticket.job.phase().is_over() {
            self.ticket.publish();
        }
        None
    }

    /// Starts and stops the clock of our patience, which does not run while deeds wait for the store.
    fn keep_time(&mut self) {
        let doubt = self.ticket.job.doubt().filter(|_| self.store_at.is_none());
        match doubt {
            // What is overdue can only be waited for.
            None | Some(Doubt::Overdue) => self.patience_ends = None,
            Some(Doubt::MayShutDown) => {
                self.patience_ends = None;
                if self.late.is_none() {
                    self.late = Some(Late::new(&self.hands, self.shared.options().late_shutdown));
                }
            }
            Some(_) if self.patience_ends.is_none() => {
                self.patience_ends = Some(Instant::now() + self.shared.options().patience);
            }
            Some(_) => {}
        }
    }

    /// When our patience with the present doubt ends.
    fn patience_end(&self) -> Option<Instant> {
        match self.ticket.job.doubt() {
            Some(Doubt::MayShutDown) => self.late.as_ref().and_then(|late| late.ends),
            Some(_) | None => self.patience_ends,
        }
    }

    /// It has ended, which is told once.
    fn end_patience(&mut self) {
        match (self.ticket.job.doubt(), &mut self.late) {
            (Some(Doubt::MayShutDown), Some(late)) => late.ends = None,
            _ => self.patience_ends = None,
        }
    }

    /// Stores the job, or sets the time to try again. A job that had changed nothing `before` fails if
    /// it can't be stored. One that is over is stored by the runner.
    async fn store(&mut self, before: Option<&Job>) {
        self.store_at = None;
        let Err(problem) = self.ticket.save(&self.shared.store).await else { return };
        let text = Chain(&problem).to_string();
        error!(error = %text, "job can't be stored");
        if self.ticket.job.phase().is_over() {
            return;
        }
        if let Some(before) = before.filter(|job| !job.phase().touches_hosts()) {
            let failure = Failure::new(Reason::Host, format!("can't be stored: {text}"));
            if let Ok((failed, _)) = before.clone().on(Event::Broke(failure)) {
                self.ticket.set_job(failed);
                return;
            }
        }
        self.store_at = Some(Instant::now() + STORE_AGAIN);
    }

    async fn act(&mut self, effect: Effect) {
        debug!(?effect, "acts");
        match effect {
            Effect::RunGate => self.run_gate(),
            Effect::StopGate => self.activity.1.cancel(),
            Effect::Prepare => {
                let (hands, record) = (Arc::clone(&self.hands), self.ticket.record.clone());
                self.begin(|_| async move {
                    Outcome::Planned(plan(&hands, &record).await.map(Box::new))
                });
            }
            Effect::ShutDownGuest if self.ticket.job.abort_wanted() => {
                // The request to stop came while the store took nothing.
                let failure = Failure::new(Reason::Host, "the guest was not asked to shut down");
                self.take(Event::Broke(failure)).await;
            }
            Effect::ShutDownGuest => {
                let hands = Arc::clone(&self.hands);
                let timeout = self.shared.options().shutdown_timeout;
                self.begin(move |_| async move { Outcome::Event(hands.shut_down(timeout).await) });
            }
            Effect::StartMove => {
                let order = self.order.take();
                self.start_move(order).await;
            }
            Effect::RecoverPostCopy => self.recover_post_copy().await,
            Effect::Watch => self.begin_move(true),
            Effect::Inspect => {
                self.look_at = None;
                let (hands, ours) = (Arc::clone(&self.hands), self.our_move());
                self.begin(|_| async move {
                    let sights = hands.inspect(ours).await;
                    debug!(?sights, "looked at both hosts");
                    Outcome::Event(Event::Seen(sights))
                });
            }
            Effect::InspectLater => {
                self.look_at = Some(Instant::now() + self.shared.options().look_again);
            }
            Effect::AbortMove | Effect::SuspendSource | Effect::PausePostCopy => {
                if effect == Effect::AbortMove && self.ticket.job.doubt().is_none() {
                    self.expect_an_end();
                }
                // They may be late, but we wait for them.
                if let Err(error) = self.hands.influence(effect, self.our_move()).await {
                    // It shows by itself whether the move ends, or the guest stands still.
                    info!(?effect, error = %Chain(&error), "had no effect");
                    if effect == Effect::SuspendSource {
                        self.progress.judge_again();
                    }
                }
            }
            Effect::Do(deed) => self.change(deed),
        }
    }

    /// What tells our move from others. While our own call waits for its end, a guest's job is the one
    /// that it began, whatever somebody does to the clock; a post-copy that was taken up again begins
    /// anew.
    fn our_move(&self) -> OurMove {
        let calling = self.moving.as_ref().is_some_and(Move::is_our_call);
        if calling || self.ticket.job.post_copy() {
            OurMove::default()
        } else {
            self.ticket.record.our_move()
        }
    }

    /// Changes something on one host.
    fn change(&mut self, deed: Deed) {
        let definitions = self.ticket.record.definitions.clone();
        let definition = definitions.map(|Definitions { source, destination }| match deed {
            Deed::DefineDestination => destination,
            _ => source,
        });
        let (facts, copies) = (*self.ticket.job.facts(), self.ticket.record.copies.clone());
        let means = Means { facts, definition, copies };
        let started_there = self.ticket.job.was_started_there();
        let hands = Arc::clone(&self.hands);
        self.begin(move |_| async move {
            if let Err(error) = hands.check_elsewhere(deed, facts, started_there).await {
                warn!(?deed, error = %Chain(&error), "a step of the job is withheld");
                return Outcome::Event(Event::Withheld);
            }
            Outcome::Event(match hands.change(deed, means).await {
                Ok(()) => Event::Did,
                Err(error) => {
                    warn!(?deed, error = %Chain(&error), "a step of the job failed");
                    failures::broke(deed, &error)
                }
            })
        });
        self.expect_an_end();
    }

    /// Sets the time after which a host is overdue, unless it is set.
    fn expect_an_end(&mut self) {
        let patience = self.shared.options().patience;
        self.overdue_at.get_or_insert_with(|| Instant::now() + patience);
    }

    /// Begins an activity in place of the one before.
    fn begin<F>(&mut self, activity: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.activity.1.cancel();
        let cancelled = self.shared.stop.child_token();
        self.activity = (self.activity.0 + 1, cancelled.clone());
        self.overdue_at = None;
        let (number, reporter) = (self.activity.0, self.reporter.clone());
        let activity = cancelled.clone().run_until_cancelled_owned(activity(cancelled));
        let activity = self.shared.tasks.spawn(activity.in_current_span());
        let run = async move {
            let outcome = match activity.await {
                Ok(Some(outcome)) => outcome,
                Ok(None) => return,
                // A defect of ours must not leave the job without an end. What was being done may have
                // happened.
                Err(panic) => {
                    error!(error = %panic, "a step of the job broke off");
                    let text = "internal error: a step of the job broke off";
                    Outcome::Event(Event::Lost(Failure::new(Reason::Host, text)))
                }
            };
            let _ = reporter.send((number, outcome)).await;
        };
        self.shared.tasks.spawn(run.in_current_span());
    }

    /// The job is over: the last numbers, which the runner stores, and a last word.
    async fn finish(&mut self) {
        let done = self.ticket.job.phase() == Phase::Done;
        let moved = self.ticket.record.request.settings.migration_type.moves_memory();
        if done && moved {
            let uuid = self.hands.guest_uuid.clone();
            let asked = self.hands.ask_destination("completed_job", move |host| {
                host.completed_job(&host.domain_by_uuid(&uuid)?.name)
            });
            if let Ok(Some(stats)) = asked.await {
                self.progress.finish(&stats);
            }
            self.read_job_events();
            self.ticket.report = self.progress.report().clone();
        }
        let (elapsed, job) = (self.ticket.elapsed(), &self.ticket.job);
        match job.failure() {
            None => info!(phase = %job.phase(), ?elapsed, "job is over"),
            Some(failure) => {
                let (reason, message) = (failure.reason, &failure.message);
                warn!(?reason, %message, ?elapsed, "job failed");
            }
        }
    }
}

/// Asks both hosts and decides what will be done.
async fn plan(hands: &Hands, record: &Record) -> Result<Plan, Failure> {
    let request = &record.request;
    let lookup = format!("Failed to lookup domain `{}'", request.guest);
    let source = hands.source_facts().await;
    let source = source.map_err(|error| failures::failure_of(&lookup, &error))?;
    let name = match &request.edits.name {
        Some(name) => name.as_str().to_owned(),
        None => source.domain.name.clone(),
    };
    let connect = format!("Failed to connect to remote host ({})", request.target.uri);
    let files = copied_files(&request.settings, &request.edits, &source.live_xml);
    let destination = hands.destination_facts(name, files).await;
    let destination = destination.map_err(|error| failures::failure_of(&connect, &error))?;
    let (settings, edits, target) = (&request.settings, &request.edits, &request.target);
    Plan::decide(settings, edits, record.mode, target, &source, &destination)
        .map_err(|error| Failure::new(Reason::Unsuitable, error.to_string()))
}

/// Sleeps; for ever if there is no moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
