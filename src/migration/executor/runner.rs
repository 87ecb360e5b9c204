//! The runner: owns the queue, the jobs that wait and those that are over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    Amendment, Answer, Command, CommandError, JobView, QUEUE, Request, Shared, SubmitError,
    record::{self, Record},
    ticket::{Ticket, now},
    worker::Worker,
};
use crate::{
    migration::{
        Entry, Queue,
        job::{Event, Failure, Job, Reason, Refusal, Terms},
    },
    store::{JobRow, Jobs, StoreError},
    telemetry::Chain,
};

/// How often jobs that are over are looked at: may they be forgotten, are they stored?
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often the history is cut.
const FORGETTING: Duration = Duration::from_secs(3600);

/// How often a worker of one job may break off, by a defect, until the job is abandoned.
const MAX_BREAKS: u8 = 3;

/// What the runner is asked.
pub(super) enum Order {
    Submit { request: Box<Request>, answer: oneshot::Sender<Result<Arc<JobView>, SubmitError>> },
    Command { id: String, command: Command },
    Remove { id: String, answer: Answer },
}

/// Who has a job.
enum Place {
    Waiting(Box<Ticket>),
    /// Its worker has it.
    Running(mpsc::Sender<Command>),
    /// Its worker broke off. The store has it.
    Lost,
    Over(Box<Ticket>),
}

/// A worker has ended.
enum End {
    /// With its job.
    Over(Box<Ticket>),
    /// By a defect of ours, in the midst of the job of this identity.
    Broke(String),
}

impl End {
    fn id(&self) -> &str {
        match self {
            Self::Over(ticket) => &ticket.id,
            Self::Broke(id) => id,
        }
    }
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    queue: Queue,
    places: HashMap<String, Place>,
    ended: (mpsc::Sender<End>, mpsc::Receiver<End>),
    /// How often the workers of jobs have broken off.
    breaks: HashMap<String, u8>,
    forgotten: Instant,
}

impl Runner {
    /// Takes over what the store has.
    pub(super) async fn start(
        shared: Arc<Shared>,
        orders: mpsc::Receiver<Order>,
    ) -> Result<Self, StoreError> {
        let queue = Queue::new(shared.options().limits);
        let mut runner = Self {
            queue,
            orders,
            places: HashMap::new(),
            ended: mpsc::channel(QUEUE),
            breaks: HashMap::new(),
            forgotten: Instant::now(),
            shared,
        };
        let mut rows = runner.shared.store.jobs(Jobs::Visible).await?;
        let visible: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let unfinished = runner.shared.store.jobs(Jobs::Unfinished).await?;
        rows.extend(unfinished.into_iter().filter(|row| !visible.contains(&row.id)));
        for row in rows {
            let stored = match record::read(&row) {
                Ok(stored) => stored,
                Err(error) => {
                    // It stays in the store, for a program that can read it.
                    error!(job = row.id, error = %Chain(&error), "job is left alone");
                    continue;
                }
            };
            let ticket = runner.restore(&row, stored).await?;
            runner.adopt(ticket);
        }
        runner.start_what_may().await;
        Ok(runner)
    }

    async fn restore(&self, row: &JobRow, stored: record::Stored) -> Result<Ticket, StoreError> {
        let findings = self.shared.store.findings(row.id.clone()).await?;
        let findings = record::findings(&findings);
        Ok(Ticket::restore(row, stored, findings, self.shared.changes.clone()))
    }

    /// Takes a job from the store to where it belongs.
    fn adopt(&mut self, mut ticket: Ticket) {
        self.shared.directory().insert(ticket.id.clone(), ticket.watch());
        let phase = ticket.job.phase();
        if phase.is_over() {
            self.put_away(ticket);
            return;
        }
        info!(job = %ticket.id, domain = ticket.record.request.guest, %phase, "job is adopted");
        if phase.touches_hosts() {
            self.queue.restore_running(entry(&ticket));
            self.employ(ticket, Event::Adopted);
            return;
        }
        if let Ok((job, _)) = ticket.job.clone().on(Event::Adopted) {
            ticket.set_job(job);
        }
        self.queue.restore(entry(&ticket));
        ticket.publish();
        self.places.insert(ticket.id.clone(), Place::Waiting(Box::new(ticket)));
    }

    /// Runs until the daemon ends.
    pub(super) async fn run(mut self) {
        let mut housekeeping = interval(HOUSEKEEPING);
        housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut options = self.shared.options.subscribe();
        let stop = self.shared.stop.clone();
        loop {
            // Channels keep what is not received; nothing is lost if another branch is first.
            tokio::select! {
                () = stop.cancelled() => break,
                Some(order) = self.orders.recv() => self.obey(order).await,
                Some(end) = self.ended.1.recv() => self.take_back(end).await,
                Ok(()) = options.changed() => {
                    let limits = options.borrow_and_update().limits;
                    self.queue.set_limits(limits);
                    self.start_what_may().await;
                }
                _ = housekeeping.tick() => self.keep_house().await,
            }
        }
        // What does not get there now is found out anew at the next start.
        self.store_again().await;
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Submit { request, answer } => {
                let submitted = self.submit(*request).await;
                // It goes on whether somebody waits or not.
                let _ = answer.send(submitted);
            }
            Order::Command { id, command } => self.command(&id, command).await,
            Order::Remove { id, answer } => {
                let _ = answer.send(self.remove(&id).await);
            }
        }
    }

    async fn submit(&mut self, request: Request) -> Result<Arc<JobView>, SubmitError> {
        let id = Uuid::new_v4().to_string();
        let terms = Terms {
            migration_type: request.settings.migration_type,
            persist: request.settings.persist,
            undefine_source: request.settings.undefine,
        };
        let record = Record::new(request, &self.shared.options());
        let changes = self.shared.changes.clone();
        let ticket = Ticket::new(id.clone(), Job::new(terms), record, changes);
        self.queue.push(entry(&ticket))?;
        if let Err(error) = ticket.insert(&self.shared.store).await {
            self.queue.remove(&id);
            return Err(error.into());
        }
        let view = ticket.watch();
        self.shared.directory().insert(id.clone(), view.clone());
        ticket.announce();
        info!(
            job = id,
            domain = ticket.record.request.guest,
            destination = ticket.record.request.target.uri,
            owner = ticket.record.request.owner,
            "migration was asked for"
        );
        self.places.insert(id, Place::Waiting(Box::new(ticket)));
        self.start_what_may().await;
        let view = Arc::clone(&view.borrow());
        Ok(view)
    }

    /// Lets jobs go on as far as the limits allow; tells the others what they wait for.
    async fn start_what_may(&mut self) {
        while let Some(entry) = self.queue.start_next() {
            match self.places.remove(&entry.id) {
                Some(Place::Waiting(mut ticket)) => {
                    ticket.waiting = None;
                    self.employ(*ticket, Event::Admitted);
                }
                Some(place) => {
                    error!(job = entry.id, "job has its turn but does not wait");
                    self.places.insert(entry.id.clone(), place);
                    self.queue.remove(&entry.id);
                }
                None => self.queue.remove(&entry.id),
            }
        }
        let waits: Vec<_> = self.queue.waiting().map(|(id, wait)| (id.to_owned(), wait)).collect();
        for (id, wait) in waits {
            if let Some(Place::Waiting(ticket)) = self.places.get_mut(&id)
                && ticket.waiting != wait
            {
                ticket.waiting = wait;
                ticket.publish();
            }
        }
    }

    /// Gives a job to a worker.
    fn employ(&mut self, ticket: Ticket, first: Event) {
        let (commands, received) = mpsc::channel(QUEUE);
        self.places.insert(ticket.id.clone(), Place::Running(commands));
        let id = ticket.id.clone();
        let worker = Worker::new(Arc::clone(&self.shared), ticket, received);
        let worked = self.shared.tasks.spawn(worker.run(first));
        let ended = self.ended.0.clone();
        self.shared.tasks.spawn(async move {
            let end = match worked.await {
                Ok(Some(ticket)) => End::Over(Box::new(ticket)),
                // The daemon ends.
                Ok(None) => return,
                Err(panic) => {
                    error!(job = id, error = %panic, "the worker of a job broke off");
                    End::Broke(id)
                }
            };
            let _ = ended.send(end).await;
        });
    }

    /// Takes a job back from a worker that has ended.
    async fn take_back(&mut self, end: End) {
        match end {
            End::Over(ticket) => {
                // It is stored later.
                let _ = self.end(*ticket).await;
            }
            // What it did is found out as after a crash of the whole program, and not at once: what
            // broke it may be there for a moment only.
            End::Broke(id) => {
                *self.breaks.entry(id.clone()).or_default() += 1;
                self.places.insert(id, Place::Lost);
            }
        }
    }

    /// Goes on with a job whose worker broke off, from what the store has.
    async fn recover(&mut self, id: &str) -> Result<(), StoreError> {
        let rows = self.shared.store.jobs(Jobs::Unfinished).await?;
        let row = rows.into_iter().find(|row| row.id == id);
        let Some((stored, row)) = row.and_then(|row| Some((record::read(&row).ok()?, row))) else {
            error!(job = id, "the store does not have the job, or it can't be read");
            self.places.remove(id);
            self.breaks.remove(id);
            self.shared.directory().remove(id);
            self.let_go(id).await;
            return Ok(());
        };
        let mut ticket = self.restore(&row, stored).await?;
        if self.breaks.get(id).is_some_and(|breaks| *breaks >= MAX_BREAKS) {
            let text = "internal error; where the guest is was not found out";
            let failure = Failure::new(Reason::Unresolved, text);
            if let Ok((job, _)) = ticket.job.clone().on(Event::Abandoned(failure)) {
                ticket.set_job(job);
            }
            self.shared.directory().insert(id.to_owned(), ticket.watch());
            // It is stored later.
            let _ = self.end(ticket).await;
            return Ok(());
        }
        self.queue.remove(id);
        self.adopt(ticket);
        self.start_what_may().await;
        Ok(())
    }

    async fn command(&mut self, id: &str, command: Command) {
        let Some(command) = self.pass_on(id, command).await else { return };
        match command {
            Command::Tell { event, answer } => {
                let _ = answer.send(self.tell(id, event).await);
            }
            Command::Amend { amendment, answer } => {
                let _ = answer.send(self.amend(id, amendment).await);
            }
        }
    }

    /// Gives a command to the job's worker; gives it back if there is none.
    async fn pass_on(&mut self, id: &str, command: Command) -> Option<Command> {
        let Some(Place::Running(commands)) = self.places.get(id) else { return Some(command) };
        match commands.try_send(command) {
            Ok(()) => None,
            Err(TrySendError::Full(
                Command::Tell { answer, .. } | Command::Amend { answer, .. },
            )) => {
                let _ = answer.send(Err(CommandError::Busy));
                None
            }
            Err(TrySendError::Closed(command)) => {
                self.await_end(id).await;
                Some(command)
            }
        }
    }

    /// Takes back a job whose worker has just ended.
    async fn await_end(&mut self, id: &str) {
        let stop = self.shared.stop.clone();
        let mut came = false;
        while !came {
            // When the daemon ends workers give nothing back.
            let Some(Some(end)) = stop.run_until_cancelled(self.ended.1.recv()).await else {
                return;
            };
            came = end.id() == id;
            self.take_back(end).await;
        }
    }

    async fn tell(&mut self, id: &str, event: Event) -> Result<(), CommandError> {
        match self.places.remove(id) {
            None => Err(CommandError::Unknown(id.to_owned())),
            Some(Place::Waiting(ticket)) => self.stop_waiting(*ticket, event).await,
            Some(Place::Over(ticket)) if ticket.unstored.is_some() => {
                let phase = ticket.job.phase();
                self.end(*ticket).await?;
                Err(Refusal::Over(phase).into())
            }
            Some(place) => {
                let refusal = match &place {
                    Place::Over(ticket) => Refusal::Over(ticket.job.phase()).into(),
                    Place::Lost => CommandError::Busy,
                    Place::Waiting(_) | Place::Running(_) => CommandError::Stopping,
                };
                self.places.insert(id.to_owned(), place);
                Err(refusal)
            }
        }
    }

    /// A job that waits is told to end.
    async fn stop_waiting(&mut self, mut ticket: Ticket, event: Event) -> Result<(), CommandError> {
        let (job, _) = match ticket.job.clone().on(event) {
            Ok(step) => step,
            Err(refusal) => {
                self.places.insert(ticket.id.clone(), Place::Waiting(Box::new(ticket)));
                return Err(refusal.into());
            }
        };
        ticket.set_job(job);
        ticket.waiting = None;
        // That it can't be stored yet shows in the job.
        let _ = self.end(ticket).await;
        Ok(())
    }

    /// A job is over. It keeps its guest, and its place if it had one, until that is stored: should we
    /// die before, it is taken up again, and then no other job may have the guest.
    async fn end(&mut self, mut ticket: Ticket) -> Result<(), StoreError> {
        let id = ticket.id.clone();
        self.places.remove(&id);
        self.breaks.remove(&id);
        let saved = ticket.save(&self.shared.store).await;
        match &saved {
            Ok(()) => self.queue.remove(&id),
            Err(error) => {
                error!(job = id, error = %Chain(error), "job can't be stored yet");
                self.queue.hold(&id);
            }
        }
        ticket.publish();
        self.put_away(ticket);
        self.start_what_may().await;
        saved
    }

    async fn let_go(&mut self, id: &str) {
        self.queue.remove(id);
        self.start_what_may().await;
    }

    fn put_away(&mut self, ticket: Ticket) {
        self.places.insert(ticket.id.clone(), Place::Over(Box::new(ticket)));
    }

    async fn amend(&mut self, id: &str, amendment: Amendment) -> Result<(), CommandError> {
        let store = &self.shared.store;
        match self.places.get_mut(id) {
            None => Err(CommandError::Unknown(id.to_owned())),
            Some(Place::Running(_)) => Err(CommandError::Stopping),
            Some(Place::Lost) => Err(CommandError::Busy),
            Some(Place::Waiting(ticket)) => {
                ticket.amend(amendment, store).await?;
                self.queue.set_priority(id, amendment.priority);
                Ok(())
            }
            Some(Place::Over(ticket)) => {
                ticket.amend(amendment, store).await?;
                self.let_go(id).await;
                Ok(())
            }
        }
    }

    /// Clients no longer see the job; the history does.
    async fn remove(&mut self, id: &str) -> Result<(), CommandError> {
        match self.places.get_mut(id) {
            None => Err(CommandError::Unknown(id.to_owned())),
            Some(Place::Waiting(_) | Place::Running(_) | Place::Lost) => Err(CommandError::Running),
            Some(Place::Over(ticket)) => {
                ticket.retract(&self.shared.store).await?;
                self.places.remove(id);
                self.shared.directory().remove(id);
                self.let_go(id).await;
                Ok(())
            }
        }
    }

    async fn keep_house(&mut self) {
        self.store_again().await;
        self.recover_lost().await;
        let expired = |place: &Place| match place {
            Place::Over(ticket) => {
                let removal = ticket.record.removal;
                let due = ticket.over_for() >= removal.after;
                ticket.unstored.is_none() && removal.automatic && due
            }
            Place::Waiting(_) | Place::Running(_) | Place::Lost => false,
        };
        let expired = self.places.iter().filter(|(_, place)| expired(place));
        let expired: Vec<String> = expired.map(|(id, _)| id.clone()).collect();
        for id in expired {
            if let Err(error) = self.remove(&id).await {
                // It stays, and is removed later.
                warn!(job = id, error = %Chain(&error), "job can't be removed");
            }
        }
        if self.forgotten.elapsed() >= FORGETTING {
            self.forgotten = Instant::now();
            self.forget().await;
        }
    }

    async fn recover_lost(&mut self) {
        let lost = self.places.iter().filter(|(_, place)| matches!(place, Place::Lost));
        let lost: Vec<String> = lost.map(|(id, _)| id.clone()).collect();
        for id in lost {
            if let Err(error) = self.recover(&id).await {
                // Later, then.
                warn!(job = id, error = %Chain(&error), "job can't be read");
            }
        }
    }

    /// Stores jobs whose end could not be stored.
    async fn store_again(&mut self) {
        let mut stored = Vec::new();
        for (id, place) in &mut self.places {
            if let Place::Over(ticket) = place
                && ticket.unstored.is_some()
                && ticket.save(&self.shared.store).await.is_ok()
            {
                ticket.publish();
                stored.push(id.clone());
            }
        }
        for id in stored {
            self.let_go(&id).await;
        }
    }

    async fn forget(&self) {
        let history = self.shared.options().history.as_micros();
        let before = now().saturating_sub(i64::try_from(history).unwrap_or(i64::MAX));
        match self.shared.store.forget_jobs(before).await {
            Ok(0) => {}
            Ok(count) => info!(count, "old jobs are forgotten"),
            Err(error) => warn!(error = %Chain(&error), "old jobs can't be forgotten"),
        }
    }
}

fn entry(ticket: &Ticket) -> Entry {
    let request = &ticket.record.request;
    Entry {
        id: ticket.id.clone(),
        guest: request.guest_uuid.clone(),
        destination: request.target.name.clone(),
        owner: request.owner.clone(),
        priority: request.settings.priority,
    }
}
