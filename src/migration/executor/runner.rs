//! The runner: owns the queue, the jobs that wait and those that are over.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{
    Command, CommandError, JobView, QUEUE, Removal, Request, Shared, SubmitError,
    record::{self, Record},
    ticket::{Ticket, now},
    worker::Worker,
};
use crate::{
    migration::{
        Entry, Queue,
        job::{Event, Job, Phase, Refusal, Terms},
    },
    store::{Jobs, StoreError},
    telemetry::Chain,
};

/// How often jobs that are over are looked at: may they be forgotten, are they stored?
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often the history is cut.
const FORGETTING: Duration = Duration::from_secs(3600);

/// What the runner is asked.
pub(super) enum Order {
    Submit { request: Box<Request>, answer: oneshot::Sender<Result<Arc<JobView>, SubmitError>> },
    Tell { id: String, event: Event, answer: oneshot::Sender<Result<(), CommandError>> },
    SetRemoval { id: String, removal: Removal, answer: oneshot::Sender<Result<(), CommandError>> },
    Remove { id: String, answer: oneshot::Sender<Result<(), CommandError>> },
}

/// Who has a job.
enum Place {
    Waiting(Box<Ticket>),
    /// Its worker.
    Running {
        commands: mpsc::Sender<Command>,
        removal: Option<Removal>,
    },
    /// It is over, so long already when `since` was now.
    Over {
        ticket: Box<Ticket>,
        since: Instant,
        before: Duration,
    },
}

pub(super) struct Runner {
    shared: Arc<Shared>,
    orders: mpsc::Receiver<Order>,
    queue: Queue,
    places: HashMap<String, Place>,
    ended: (mpsc::Sender<Ticket>, mpsc::Receiver<Ticket>),
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
            let findings = runner.shared.store.findings(row.id.clone()).await?;
            let findings = record::findings(&findings);
            let changes = runner.shared.changes.clone();
            runner.adopt(Ticket::restore(&row, stored, findings, changes)).await;
        }
        runner.start_what_may().await;
        Ok(runner)
    }

    /// Takes a job from the store to where it belongs.
    async fn adopt(&mut self, mut ticket: Ticket) {
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
                () = stop.cancelled() => return,
                Some(order) = self.orders.recv() => self.obey(order).await,
                Some(ticket) = self.ended.1.recv() => self.end(ticket).await,
                Ok(()) = options.changed() => {
                    let limits = options.borrow_and_update().limits;
                    self.queue.set_limits(limits);
                    self.start_what_may().await;
                }
                _ = housekeeping.tick() => self.keep_house().await,
            }
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Submit { request, answer } => {
                let submitted = self.submit(*request).await;
                // It goes on whether somebody waits or not.
                let _ = answer.send(submitted);
            }
            Order::Tell { id, event, answer } => self.tell(id, event, answer).await,
            Order::SetRemoval { id, removal, answer } => {
                let _ = answer.send(self.set_removal(&id, removal).await);
            }
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
            if let Some(Place::Waiting(mut ticket)) = self.places.remove(&entry.id) {
                ticket.waiting = None;
                self.employ(*ticket, Event::Admitted);
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
        self.places.insert(ticket.id.clone(), Place::Running { commands, removal: None });
        let worker = Worker::new(Arc::clone(&self.shared), ticket, received);
        let ended = self.ended.0.clone();
        self.shared.tasks.spawn(async move {
            if let Some(ticket) = worker.run(first).await {
                let _ = ended.send(ticket).await;
            }
        });
    }

    async fn tell(
        &mut self,
        id: String,
        event: Event,
        answer: oneshot::Sender<Result<(), CommandError>>,
    ) {
        let told = match self.places.remove(&id) {
            None => Err(CommandError::Unknown(id)),
            Some(Place::Over { ticket, since, before }) => {
                let phase = ticket.job.phase();
                self.places.insert(id, Place::Over { ticket, since, before });
                Err(Refusal::Over(phase).into())
            }
            Some(Place::Running { commands, removal }) => {
                let sender = commands.clone();
                self.places.insert(id, Place::Running { commands, removal });
                // The worker answers. It may be about to end: then it is over.
                if let Err(mpsc::error::SendError(command)) =
                    sender.send(Command { event, answer }).await
                {
                    let _ = command.answer.send(Err(Refusal::Over(Phase::Done).into()));
                }
                return;
            }
            Some(Place::Waiting(ticket)) => self.stop_waiting(*ticket, event).await,
        };
        let _ = answer.send(told);
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
        self.end(ticket).await;
        Ok(())
    }

    /// A job is over.
    async fn end(&mut self, mut ticket: Ticket) {
        if let Some(Place::Running { removal: Some(removal), .. }) = self.places.remove(&ticket.id)
        {
            ticket.record.removal = removal;
        }
        if let Err(error) = ticket.save(&self.shared.store).await {
            error!(job = %ticket.id, error = %Chain(&error), "job can't be stored yet");
        }
        ticket.publish();
        self.queue.remove(&ticket.id);
        self.put_away(ticket);
        self.start_what_may().await;
    }

    fn put_away(&mut self, ticket: Ticket) {
        let (id, before) = (ticket.id.clone(), ticket.over_for());
        let place = Place::Over { ticket: Box::new(ticket), since: Instant::now(), before };
        self.places.insert(id, place);
    }

    async fn set_removal(&mut self, id: &str, removal: Removal) -> Result<(), CommandError> {
        match self.places.get_mut(id) {
            None => Err(CommandError::Unknown(id.to_owned())),
            // Its worker has the record; it is told at the end.
            Some(Place::Running { removal: wanted, .. }) => {
                *wanted = Some(removal);
                Ok(())
            }
            Some(Place::Waiting(ticket) | Place::Over { ticket, .. }) => {
                ticket.record.removal = removal;
                ticket.save(&self.shared.store).await?;
                ticket.publish();
                Ok(())
            }
        }
    }

    async fn remove(&mut self, id: &str) -> Result<(), CommandError> {
        match self.places.remove(id) {
            None => Err(CommandError::Unknown(id.to_owned())),
            Some(Place::Over { ticket, .. }) => {
                self.retract(*ticket).await;
                Ok(())
            }
            Some(other) => {
                self.places.insert(id.to_owned(), other);
                Err(CommandError::Running)
            }
        }
    }

    /// Clients no longer see the job; the history does.
    async fn retract(&mut self, mut ticket: Ticket) {
        self.shared.directory().remove(&ticket.id);
        ticket.retract();
        if let Err(error) = ticket.save(&self.shared.store).await {
            // It will be seen again after a restart, and removed again.
            warn!(job = %ticket.id, error = %Chain(&error), "removal can't be stored");
        }
    }

    async fn keep_house(&mut self) {
        let over = |place: &Place| match place {
            Place::Over { ticket, since, before } => {
                let removal = ticket.record.removal;
                let due = *before + since.elapsed() >= removal.after;
                ticket.unstored.is_none() && removal.automatic && due
            }
            Place::Waiting(_) | Place::Running { .. } => false,
        };
        let expired: Vec<String> =
            self.places.iter().filter(|(_, place)| over(place)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            if let Some(Place::Over { ticket, .. }) = self.places.remove(&id) {
                self.retract(*ticket).await;
            }
        }
        for place in self.places.values_mut() {
            if let Place::Over { ticket, .. } = place
                && ticket.unstored.is_some()
                && ticket.save(&self.shared.store).await.is_ok()
            {
                ticket.publish();
            }
        }
        if self.forgotten.elapsed() >= FORGETTING {
            self.forgotten = Instant::now();
            self.forget().await;
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
