//! The worker of one job: tells the machine what happened, stores what it decides, does it.
//!
//! Whatever takes long (the gate, planning, waiting for a guest to shut down, the move itself) is an
//! *activity* beside the worker, which listens for commands meanwhile. A move has a thread of its own:
//! it may last for hours. There is at most one activity; the result of an earlier one is nobody's.

use std::{
    collections::VecDeque,
    future::Future,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant as Deadline, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::{
    Command, CommandError, Question, Shared, hands, hands::Hands, record::Definitions,
    ticket::Ticket,
};
use crate::{
    checks::{
        self, Finding, GateError, GateRequest, Phase as GatePhase, Report as GateReport, Severity,
        builtin::{Inputs, Movement},
    },
    hypervisor::{HostEvent, HypervisorError, JobStats, MigrationOrder},
    migration::{
        Action, MigrationType, Patience, Plan, Progress,
        job::{Activity, Effect, Ending, Event, Failure, Job, Phase, Reason, Refusal},
    },
    telemetry::Chain,
};

/// Between attempts to store what can't be stored.
const STORE_AGAIN: Duration = Duration::from_secs(1);

/// How often a guest that was asked to shut down is looked at.
const LOOK_FOR_SHUTDOWN: Duration = Duration::from_millis(500);

/// VIR_ERR_MIGRATE_FINISH_OK: the last step worked though it was told that the move had failed.
const MIGRATE_FINISH_OK: u32 = 90;

/// The codes of findings about check programs that an administrator may wave through; an unsafe or
/// unreadable program is none.
const PROGRAM_VERDICTS: [&str; 4] = ["VMX001", "VMX002", "VMX003", "VMX004"];

/// What an activity brings.
enum Outcome {
    Event(Event),
    Gate(Result<GateReport, GateError>),
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    ticket: Ticket,
    hands: Hands,
    progress: Progress,
    commands: mpsc::Receiver<Command>,
    effects: VecDeque<Effect>,
    /// The number of the current activity, and what ends it.
    activity: (u64, CancellationToken),
    /// What activities bring, with their numbers.
    results: mpsc::Receiver<(u64, Outcome)>,
    reporter: mpsc::Sender<(u64, Outcome)>,
    /// The order to carry out, once it is planned.
    order: Option<MigrationOrder>,
    moving: Option<Move>,
    /// When to look at both hosts again.
    look_at: Option<Deadline>,
    /// When doubt has lasted long enough.
    patience_ends: Option<Deadline>,
    job_events: Option<broadcast::Receiver<HostEvent>>,
}

/// A move that goes on.
struct Move {
    since: Instant,
    next_tick: Deadline,
    /// Nobody waits for its call: its end shows in the source's job alone.
    watched: bool,
    max_downtime: Option<Duration>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        ticket: Ticket,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let request = &ticket.record.request;
        let source = shared.sources.get(&request.hypervisor).cloned();
        let options = shared.options();
        let patience = Patience {
            stall: options.stall,
            limit: request.settings.timeout,
            auto_converge: request.settings.auto_converge,
        };
        let progress = Progress::new(request.settings.migration_type, patience);
        let (reporter, results) = mpsc::channel(4);
        Self {
            hands: Hands {
                guest_uuid: request.guest_uuid.clone(),
                hypervisor: request.hypervisor.clone(),
                source: source.clone(),
                destination_uri: request.target.uri.clone(),
                connector: Arc::clone(&shared.connector),
                slots: shared.slots.clone(),
                destination: hands::Opened::default(),
            },
            job_events: source.map(|source| source.job_events()),
            progress,
            commands,
            effects: VecDeque::new(),
            activity: (0, CancellationToken::new()),
            results,
            reporter,
            order: None,
            moving: None,
            look_at: None,
            patience_ends: None,
            shared,
            ticket,
        }
    }

    /// Works until the job is over or the daemon ends; in the latter case the job is left as it is.
    pub(super) async fn run(self, first: Event) -> Option<Ticket> {
        let request = &self.ticket.record.request;
        let span = info_span!("job", job = %self.ticket.id, domain = %request.guest);
        self.work(first).instrument(span).await
    }

    async fn work(mut self, first: Event) -> Option<Ticket> {
        self.take(first).await;
        while !self.ticket.job.phase().is_over() {
            if self.shared.stop.is_cancelled() {
                self.activity.1.cancel();
                return None;
            }
            match self.effects.pop_front() {
                Some(effect) => self.act(effect).await,
                None => self.wait().await,
            }
        }
        self.activity.1.cancel();
        self.finish().await;
        Some(self.ticket)
    }

    /// Waits for whatever comes next.
    async fn wait(&mut self) {
        let tick = self.moving.as_ref().map(|moving| moving.next_tick);
        let (look_at, patience_ends) = (self.look_at, self.patience_ends);
        // Nothing is lost if another branch is first: channels keep what was not received.
        tokio::select! {
            () = self.shared.stop.cancelled() => {}
            Some(command) = self.commands.recv() => self.obey(command).await,
            Some((number, outcome)) = self.results.recv() => {
                if number == self.activity.0 {
                    self.receive(outcome).await;
                }
            }
            () = until(tick) => self.tick().await,
            () = until(look_at) => {
                self.look_at = None;
                self.effects.push_back(Effect::Inspect);
            }
            () = until(patience_ends) => {
                self.patience_ends = None;
                self.look_at = None;
                self.take(Event::PatienceOver).await;
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let Command { event, answer } = command;
        let before = self.ticket.job.phase();
        let refused = self.take(event).await;
        let after = self.ticket.job.phase();
        info!(%before, %after, refused = refused.is_some(), "told to stop");
        let _ = answer.send(refused.map_or(Ok(()), |refusal| Err(CommandError::Refused(refusal))));
    }

    async fn receive(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Event(event) => {
                if matches!(event, Event::MoveEnded(_)) {
                    self.read_job_events();
                    self.moving = None;
                }
                self.take(event).await;
            }
            Outcome::Gate(answer) => {
                let event = self.judge_gate(answer).await;
                self.take(event).await;
            }
        }
    }

    /// Tells the machine; stores and shows what it decides. Returns its refusal.
    async fn take(&mut self, event: Event) -> Option<Refusal> {
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
        if job.phase() != before.phase() {
            info!(phase = %job.phase(), "job enters phase");
        }
        self.progress.enter(job.phase());
        self.ticket.report = self.progress.report().clone();
        self.ticket.set_job(job);
        if self.store(&before).await {
            self.effects.extend(effects);
            self.keep_time();
        }
        self.ticket.publish();
        None
    }

    /// Starts and stops the clock of our patience.
    fn keep_time(&mut self) {
        if self.ticket.job.doubt().is_none() {
            self.patience_ends = None;
        } else if self.patience_ends.is_none() {
            self.patience_ends = Some(Deadline::now() + self.shared.options().patience);
        }
    }

    /// Stores the job; false if the effects of its step must not be carried out. A job that has changed
    /// nothing yet fails if it can't be stored. Any other waits: its next deed must be known after a
    /// crash. One that is over is stored by the runner, later.
    async fn store(&mut self, before: &Job) -> bool {
        loop {
            let problem = match self.ticket.save(&self.shared.store).await {
                Ok(()) => return true,
                Err(problem) => problem,
            };
            let text = Chain(&problem).to_string();
            error!(error = %text, "job can't be stored");
            if self.ticket.job.phase().is_over() {
                return true;
            }
            if !before.phase().touches_hosts() {
                let failure = Failure::new(Reason::Host, format!("can't be stored: {text}"));
                if let Ok((failed, _)) = before.clone().on(Event::Broke(failure)) {
                    self.ticket.set_job(failed);
                    return false;
                }
            }
            self.ticket.unstored = Some(text);
            self.ticket.publish();
            tokio::select! {
                () = self.shared.stop.cancelled() => return false,
                () = sleep(STORE_AGAIN) => {}
            }
        }
    }

    async fn act(&mut self, effect: Effect) {
        debug!(?effect, "acts");
        match effect {
            Effect::RunGate => self.run_gate().await,
            Effect::StopGate => self.activity.1.cancel(),
            Effect::Prepare => self.prepare().await,
            Effect::ShutDownGuest => self.shut_down(),
            Effect::StartMove => {
                let order = self.order.take();
                self.start_move(order).await;
            }
            Effect::RecoverPostCopy => self.recover_post_copy().await,
            Effect::Watch => self.begin_move(true),
            Effect::Inspect => {
                self.look_at = None;
                let sights = self.hands.inspect().await;
                debug!(?sights, "looked at both hosts");
                self.take(Event::Seen(sights)).await;
            }
            Effect::InspectLater => {
                self.look_at = Some(Deadline::now() + self.shared.options().look_again);
            }
            Effect::AbortMove | Effect::SuspendSource => {
                if let Err(error) = self.change(effect).await {
                    // It shows by itself whether the move ends, or the guest stands still.
                    info!(?effect, error = %Chain(&error), "had no effect");
                }
            }
            Effect::DefineDestination
            | Effect::StartDestination
            | Effect::ResumeSource
            | Effect::ResumeDestination
            | Effect::StartSource
            | Effect::DestroySource
            | Effect::DestroyIncoming
            | Effect::PersistDestination
            | Effect::UndefineDestination
            | Effect::UndefineSource
            | Effect::AutostartDestination
            | Effect::HoldSource => {
                let event = match self.change(effect).await {
                    Ok(()) => Event::Did,
                    Err(error) => {
                        warn!(?effect, error = %Chain(&error), "a step of the job failed");
                        broke(effect, &error)
                    }
                };
                self.take(event).await;
            }
        }
    }

    async fn change(&mut self, effect: Effect) -> Result<(), HypervisorError> {
        let definitions = self.ticket.record.definitions.clone();
        let definition = definitions.map(|Definitions { source, destination }| match effect {
            Effect::DefineDestination => destination,
            _ => source,
        });
        let facts = *self.ticket.job.facts();
        self.hands.change(effect, facts, definition).await
    }

    // Activities

    /// Begins an activity in place of the one before.
    fn begin(&mut self, make: impl FnOnce(CancellationToken) -> BoxedOutcome) {
        self.activity.1.cancel();
        let cancelled = self.shared.stop.child_token();
        self.activity = (self.activity.0 + 1, cancelled.clone());
        let (number, results) = (self.activity.0, self.reporter.clone());
        let activity = make(cancelled.clone());
        self.shared.tasks.spawn(async move {
            tokio::select! {
                outcome = activity => {
                    let _ = results.send((number, outcome)).await;
                }
                () = cancelled.cancelled() => {}
            }
        });
    }

    async fn run_gate(&mut self) {
        let source = match self.hands.source().await {
            Ok(source) => source,
            Err(error) => {
                let failure = failure_of("the source can't be asked", &error);
                self.take(Event::Broke(failure)).await;
                return;
            }
        };
        let source_uri = match source_uri(&self.hands).await {
            Ok(uri) => uri,
            Err(error) => {
                let failure = failure_of("the source can't be asked", &error);
                self.take(Event::Broke(failure)).await;
                return;
            }
        };
        let destination = self.hands.destination().await;
        let request = &self.ticket.record.request;
        let settings = &request.settings;
        let question = Question {
            request: GateRequest {
                guest: request.guest.clone(),
                guest_uuid: request.guest_uuid.clone(),
                source_uri,
                destination_host: request.target.name.clone(),
                destination_uri: request.target.uri.clone(),
                migration_type: settings.migration_type.as_str(),
                transport: request.target.transport.as_str(),
                phase: GatePhase::Migrate,
                parameters: request.check_parameters.clone(),
            },
            inputs: Inputs {
                source,
                destination_uri: request.target.uri.clone(),
                destination: destination.map(|destination| destination as _),
                guest: request.guest.clone(),
                destination_name: match &request.edits.name {
                    Some(name) => name.as_str().to_owned(),
                    None => request.guest.clone(),
                },
                movement: movement(settings.migration_type),
                storage: settings.storage,
                disks: settings.disks.clone(),
                post_copy: settings.post_copy,
                parallel: settings.parallel.is_some(),
            },
        };
        let gate = Arc::clone(&self.shared.gate);
        self.begin(move |cancelled| {
            Box::pin(async move { Outcome::Gate(gate(question, cancelled).await) })
        });
    }

    /// Keeps what the gate found; decides whether the guest may go.
    async fn judge_gate(&mut self, answer: Result<GateReport, GateError>) -> Event {
        let report = match answer {
            Ok(report) => report,
            Err(error) => {
                let text = Chain(&error).to_string();
                return Event::Broke(Failure::new(Reason::Refused, text));
            }
        };
        self.ticket.findings = report.findings.into();
        if let Err(error) = self.ticket.save_findings(&self.shared.store).await {
            error!(error = %Chain(&error), "findings can't be stored");
        }
        let overrides = &self.ticket.record.request.overrides;
        let mut errors =
            self.ticket.findings.iter().filter(|finding| finding.severity == Severity::Error);
        match errors.find(|finding| !is_overridden(finding, overrides)) {
            Some(finding) => Event::Broke(Failure::new(Reason::Refused, finding.message.clone())),
            None => Event::GatePassed,
        }
    }

    /// Plans the migration.
    async fn prepare(&mut self) {
        let event = match self.plan().await {
            Ok(plan) => {
                self.ticket.record.keep(&plan);
                self.order = plan.order;
                Event::Prepared(plan.facts)
            }
            Err(failure) => Event::Broke(failure),
        };
        self.take(event).await;
    }

    async fn plan(&mut self) -> Result<Plan, Failure> {
        let guest = self.ticket.record.request.guest.clone();
        let lookup = format!("Failed to lookup domain `{guest}'");
        let source =
            self.hands.source_facts().await.map_err(|error| failure_of(&lookup, &error))?;
        let request = &self.ticket.record.request;
        let name = match &request.edits.name {
            Some(name) => name.as_str().to_owned(),
            None => source.domain.name.clone(),
        };
        let connect = format!("Failed to connect to remote host ({})", request.target.uri);
        let destination = self.hands.destination_facts(name).await;
        let destination = destination.map_err(|error| failure_of(&connect, &error))?;
        let record = &self.ticket.record;
        let request = &record.request;
        Plan::decide(
            &request.settings,
            &request.edits,
            record.mode,
            &request.target,
            &source,
            &destination,
        )
        .map_err(|error| Failure::new(Reason::Unsuitable, error.to_string()))
    }

    /// Asks the guest to shut down and waits until it is off.
    fn shut_down(&mut self) {
        let timeout = self.shared.options().shutdown_timeout;
        let (source, uuid) = (self.hands.source.clone(), self.hands.guest_uuid.clone());
        let unconfigured = self.hands.hypervisor.clone();
        self.begin(move |_| {
            Box::pin(async move {
                let Some(source) = source else {
                    let text = format!("hypervisor {unconfigured} is not configured any more");
                    return Outcome::Event(Event::Broke(Failure::new(Reason::Host, text)));
                };
                Outcome::Event(shutdown(&source, uuid, timeout).await)
            })
        });
    }

    async fn start_move(&mut self, order: Option<MigrationOrder>) {
        let started = match (order, self.hands.source().await) {
            (Some(order), Ok(source)) => {
                let uuid = self.hands.guest_uuid.clone();
                self.begin_move(false);
                self.spawn_move(move || {
                    let name = source.domain_by_uuid(&uuid)?.name;
                    source.migrate(&name, &order)
                })
            }
            (None, _) => Err("the plan was lost".to_owned()),
            (_, Err(error)) => Err(Chain(&error).to_string()),
        };
        if let Err(text) = started {
            self.moving = None;
            let failure = Failure::new(Reason::Host, format!("Migration Failed: {text}"));
            self.take(Event::MoveEnded(Ending::Failed(failure))).await;
        }
    }

    async fn recover_post_copy(&mut self) {
        let record = &self.ticket.record;
        let persistent = self.ticket.job.facts().persistent;
        let route = record.mode.route(&record.request.target);
        let order = route.ok().and_then(|route| record.request.settings.order(route, persistent));
        let order = order.map(|order| MigrationOrder {
            post_copy: true,
            resume_post_copy: true,
            migration_uri: order
                .migration_uri
                .clone()
                .or_else(|| record.request.target.migration_uri.clone()),
            ..order
        });
        let uuid = self.hands.guest_uuid.clone();
        let paused = self.hands.ask_source("pause_post_copy", move |host| {
            host.pause_post_copy(&host.domain_by_uuid(&uuid)?.name)
        });
        if let Err(error) = paused.await {
            // It is broken off already, unless the source has not noticed that the link is.
            debug!(error = %Chain(&error), "post-copy was not broken off");
        }
        self.start_move(order).await;
    }

    fn begin_move(&mut self, watched: bool) {
        self.activity.1.cancel();
        self.activity = (self.activity.0 + 1, CancellationToken::new());
        let settings = &self.ticket.record.request.settings;
        self.moving = Some(Move {
            since: Instant::now(),
            next_tick: Deadline::now() + self.shared.options().poll,
            watched,
            max_downtime: settings.max_downtime,
        });
    }

    /// Runs the move on a thread of its own. If the daemon ends, the thread ends with it: a
    /// peer-to-peer migration goes on without us, a direct one is cancelled by libvirt.
    fn spawn_move(
        &mut self,
        work: impl FnOnce() -> Result<(), HypervisorError> + Send + 'static,
    ) -> Result<(), String> {
        let (done, ended) = oneshot::channel();
        let run = move || {
            let _ = done.send(work());
        };
        thread::Builder::new()
            .name("migration".to_owned())
            .spawn(run)
            .map_err(|error| format!("no thread for it: {error}"))?;
        let (number, results) = (self.activity.0, self.reporter.clone());
        self.shared.tasks.spawn(async move {
            let result = ended.await.unwrap_or_else(|_| {
                let message = "the call broke off".to_owned();
                Err(HypervisorError::Unreachable { uri: String::new(), message })
            });
            let event = Event::MoveEnded(ending(result));
            let _ = results.send((number, Outcome::Event(event))).await;
        });
        Ok(())
    }

    // A move that goes on

    /// Asks libvirt how far the move is; acts if it does not get on.
    async fn tick(&mut self) {
        let poll = self.shared.options().poll;
        let Some(moving) = &mut self.moving else { return };
        moving.next_tick = Deadline::now() + poll;
        let (since, watched, max_downtime) = (moving.since, moving.watched, moving.max_downtime);
        let uuid = self.hands.guest_uuid.clone();
        let asked = self.hands.ask_source("job", move |host| {
            let domain = host.domain_by_uuid(&uuid)?;
            Ok((hands::activity(&domain), host.job(&domain.name)?))
        });
        match asked.await {
            Ok((activity, Some(stats))) if hands::is_outgoing(&stats) => {
                if max_downtime.is_some() {
                    self.set_max_downtime(max_downtime).await;
                }
                self.go_on(since.elapsed(), activity, &stats).await;
            }
            Ok(_) | Err(HypervisorError::NotFound { .. } | HypervisorError::Libvirt { .. })
                if watched =>
            {
                self.end_of_watch("the migration ended while nobody waited for it").await;
            }
            Err(HypervisorError::Unreachable { message, .. }) if watched => {
                self.end_of_watch(&message).await;
            }
            // Not begun yet, or just ended: its call will tell.
            Ok(_) | Err(_) => {}
        }
    }

    async fn end_of_watch(&mut self, text: &str) {
        self.read_job_events();
        self.moving = None;
        let failure = Failure::new(Reason::Interrupted, text);
        self.take(Event::MoveEnded(Ending::Unclear(failure))).await;
    }

    async fn set_max_downtime(&mut self, downtime: Option<Duration>) {
        let Some(downtime) = downtime else { return };
        let milliseconds = u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX);
        let uuid = self.hands.guest_uuid.clone();
        let set = self.hands.ask_source("set_max_downtime", move |host| {
            host.set_max_downtime(&host.domain_by_uuid(&uuid)?.name, milliseconds)
        });
        match (set.await, &mut self.moving) {
            (Ok(()), Some(moving)) => moving.max_downtime = None,
            (Err(error), _) => debug!(error = %Chain(&error), "downtime is not set yet"),
            (Ok(()), None) => {}
        }
    }

    async fn go_on(&mut self, at: Duration, activity: Activity, stats: &JobStats) {
        self.progress.sample(at, stats);
        self.ticket.report = self.progress.report().clone();
        self.ticket.publish();
        let live = self.ticket.record.request.settings.migration_type == MigrationType::Live;
        let switching = self.ticket.job.phase() == Phase::Switching;
        match activity {
            Activity::PostCopy if !self.ticket.job.post_copy() => {
                self.take(Event::Switched { post_copy: true }).await;
            }
            Activity::InTransit if live && !switching => {
                self.take(Event::Switched { post_copy: false }).await;
            }
            _ => {}
        }
        if self.ticket.job.is_giving_up() {
            // It may have been too early for libvirt before.
            self.effects.push_back(Effect::AbortMove);
        } else if let Some(action) = self.progress.judge(at) {
            self.despair(action).await;
        }
    }

    async fn despair(&mut self, action: Action) {
        warn!(?action, "migration does not get on");
        match action {
            Action::Abort(because) => {
                let text = format!("Migration Failed: {because}");
                self.take(Event::GiveUp(Failure::new(Reason::TimedOut, text))).await;
            }
            Action::Pause(_) => {
                self.take(Event::Hold).await;
            }
            Action::PostCopy(_) => {
                let uuid = self.hands.guest_uuid.clone();
                let switched = self.hands.ask_source("start_post_copy", move |host| {
                    host.start_post_copy(&host.domain_by_uuid(&uuid)?.name)
                });
                if let Err(error) = switched.await {
                    warn!(error = %Chain(&error), "the switch to post-copy failed");
                }
            }
        }
    }

    /// Takes the last numbers of the move from the source's events.
    fn read_job_events(&mut self) {
        let Some(events) = &mut self.job_events else { return };
        loop {
            match events.try_recv() {
                Ok(HostEvent::JobCompleted { uuid, stats }) if uuid == self.hands.guest_uuid => {
                    self.progress.finish(&stats);
                }
                Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(
                    broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed,
                ) => return,
            }
        }
    }

    /// The job is over: the last numbers, and a last word.
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
            self.ticket.publish();
            if let Err(error) = self.ticket.save(&self.shared.store).await {
                error!(error = %Chain(&error), "the last numbers can't be stored");
            }
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

type BoxedOutcome = std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Sleeps; for ever if there is no moment.
async fn until(moment: Option<Deadline>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn source_uri(hands: &Hands) -> Result<String, HypervisorError> {
    match &hands.source {
        Some(source) => Ok(source.host().await?.uri),
        None => hands.ask_source("host", |host| Ok(host.host()?.uri)).await,
    }
}

async fn shutdown(
    source: &crate::hypervisor::Connection,
    uuid: String,
    timeout: Duration,
) -> Event {
    let deadline = Instant::now() + timeout;
    let asked_for = uuid.clone();
    let asked = source.call("shutdown", move |host| {
        let domain = host.domain_by_uuid(&asked_for)?;
        if domain.is_active() { host.shutdown(&domain.name) } else { Ok(()) }
    });
    if let Err(error) = asked.await {
        return match error {
            // It is gone, which is off.
            HypervisorError::NotFound { .. } => Event::GuestOff,
            error => Event::Broke(failure_of("Unable to shutdown guest", &error)),
        };
    }
    loop {
        let uuid = uuid.clone();
        let looked =
            source.call("shutdown", move |host| Ok(host.domain_by_uuid(&uuid)?.is_active()));
        match looked.await {
            Ok(false) | Err(HypervisorError::NotFound { .. }) => return Event::GuestOff,
            Ok(true) | Err(_) => {}
        }
        if Instant::now() >= deadline {
            let text = format!("Domain failed to shutdown in {} seconds", timeout.as_secs());
            return Event::Broke(Failure::new(Reason::ShutdownTimeout, text));
        }
        sleep(LOOK_FOR_SHUTDOWN.min(timeout)).await;
    }
}

/// What the result of libvirt's call says of the move.
fn ending(result: Result<(), HypervisorError>) -> Ending {
    let Err(error) = result else { return Ending::Arrived };
    let failure = failure_of("Migration Failed", &error);
    match error {
        HypervisorError::Unreachable { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Libvirt { code: MIGRATE_FINISH_OK, .. } => Ending::Unclear(failure),
        HypervisorError::NotFound { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Ending::Failed(failure),
    }
}

fn failure_of(doing: &str, error: &HypervisorError) -> Failure {
    let reason = match error {
        HypervisorError::NotFound { .. } => Reason::NotFound,
        HypervisorError::Unreachable { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Deadline { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Reason::Host,
    };
    Failure::new(reason, format!("{doing}: {error}"))
}

/// What a failed deed means: one whose report was lost may have been done.
fn broke(effect: Effect, error: &HypervisorError) -> Event {
    let doing = match effect {
        Effect::DefineDestination => "Failed to define domain",
        Effect::StartDestination => "Failed to start domain on remote host",
        Effect::ResumeSource | Effect::ResumeDestination => "Failed to resume domain",
        Effect::StartSource => "Failed to start domain again",
        Effect::DestroySource | Effect::DestroyIncoming => {
            "Failed to end what is left of the domain"
        }
        Effect::PersistDestination => "Failed to make the domain persistent",
        Effect::UndefineDestination | Effect::UndefineSource => "Failed to undefine domain",
        Effect::AutostartDestination | Effect::HoldSource => "Failed to set autostart",
        Effect::RunGate
        | Effect::StopGate
        | Effect::Prepare
        | Effect::ShutDownGuest
        | Effect::StartMove
        | Effect::Watch
        | Effect::AbortMove
        | Effect::SuspendSource
        | Effect::RecoverPostCopy
        | Effect::Inspect
        | Effect::InspectLater => "Failed",
    };
    let failure = failure_of(doing, error);
    match error {
        HypervisorError::Unreachable { .. } | HypervisorError::Deadline { .. } => {
            Event::Lost(failure)
        }
        HypervisorError::NotFound { .. }
        | HypervisorError::Unsupported { .. }
        | HypervisorError::Busy
        | HypervisorError::Libvirt { .. } => Event::Broke(failure),
    }
}

/// Whether an administrator said that this finding shall not stop the guest, and may say so.
fn is_overridden(finding: &Finding, overrides: &[String]) -> bool {
    use checks::{Source, builtin};
    let may = match &finding.source {
        Source::Builtin => builtin::find(&finding.code).is_some_and(|check| !check.mandatory),
        Source::Program(_) => PROGRAM_VERDICTS.contains(&&*finding.code),
        Source::Directory(_) => false,
    };
    may && overrides.iter().any(|wanted| match (wanted.split_once(':'), &finding.source) {
        (None, _) => *wanted == finding.code,
        (Some((code, program)), Source::Program(name)) => code == finding.code && program == name,
        (Some(_), Source::Builtin | Source::Directory(_)) => false,
    })
}

fn movement(migration_type: MigrationType) -> Movement {
    match migration_type {
        MigrationType::Offline => Movement::Offline,
        MigrationType::Live => Movement::Live,
        MigrationType::Resume => Movement::Paused,
        MigrationType::Restart => Movement::Restart,
    }
}
