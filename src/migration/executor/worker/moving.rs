//! The move itself: libvirt's call on a thread of its own, and a look at its numbers now and then.

use std::{sync::Arc, thread, time::Duration};

use tokio::{
    sync::{broadcast, oneshot},
    time::Instant,
};
use tracing::{debug, warn};

use super::{Outcome, Worker};
use crate::{
    hypervisor::{Connector, HostEvent, HypervisorError, JobStats, MigrationOrder},
    migration::{
        Action, MigrationType,
        executor::{failures, hands},
        job::{Activity, Effect, Ending, Event, Failure, Phase, Reason},
    },
    telemetry::Chain,
};

/// How many times more often libvirt is asked as long as nothing has been moved.
const EAGER: u32 = 5;

/// A move that goes on.
pub(super) struct Move {
    since: Instant,
    /// How long it had gone on by then; found out with the first numbers.
    before: Option<Duration>,
    pub(super) next_tick: Instant,
    /// The first bytes are over.
    begun: bool,
    /// Nobody waits for its call: its end shows in the source's job alone.
    watched: bool,
    max_downtime: Option<Duration>,
    /// The percentage that was stored last.
    saved: Option<u8>,
}

impl Move {
    /// Whether our own call waits for its end.
    pub(super) fn is_our_call(&self) -> bool {
        !self.watched
    }

    /// How long it goes on. What passed before we began to look libvirt knows, which is asked only once,
    /// for it counts by the wall's clock.
    fn age(&mut self, stats: &JobStats) -> Duration {
        let ours = self.since.elapsed();
        let before = *self.before.get_or_insert_with(|| {
            stats.elapsed.map_or(Duration::ZERO, Duration::from_millis).saturating_sub(ours)
        });
        before + ours
    }
}

impl Worker {
    pub(super) async fn start_move(&mut self, order: Option<MigrationOrder>) {
        let Some(order) = order else {
            let text = "Migration Failed: the plan was lost";
            let failure = Failure::new(Reason::Host, text);
            self.take(Event::MoveEnded(Ending::Failed(failure))).await;
            return;
        };
        self.begin_move(false);
        let (connector, uri) = (Arc::clone(&self.hands.connector), self.hands.source_uri.clone());
        let uuid = self.hands.guest_uuid.clone();
        let facts = self.ticket.job.facts();
        // A definition that stays must not start by itself if this host starts anew while the guest runs
        // elsewhere and nobody has noticed yet.
        let hold = facts.persistent && facts.autostart && !order.undefine_source;
        let (done, ended) = oneshot::channel();
        let call = move || {
            let _ = done.send(migrate(&*connector, &uri, &uuid, &order, hold));
        };
        // If the daemon ends, the thread ends with it: a peer-to-peer migration goes on without us, a
        // direct one is cancelled by libvirt.
        let started = thread::Builder::new().name("migration".to_owned()).spawn(call);
        self.begin(|_| async move {
            Outcome::Event(Event::MoveEnded(match (started, ended.await) {
                (Ok(_), Ok(ending)) => ending,
                (Ok(_), Err(_)) => {
                    let text = "Migration Failed: the call broke off";
                    Ending::Unclear(Failure::new(Reason::Host, text))
                }
                (Err(error), _) => {
                    let text = format!("Migration Failed: no thread for it: {error}");
                    Ending::Failed(Failure::new(Reason::Host, text))
                }
            }))
        });
    }

    pub(super) async fn recover_post_copy(&mut self) {
        let record = &self.ticket.record;
        let persistent = self.ticket.job.facts().persistent;
        let (settings, target) = (&record.request.settings, &record.request.target);
        let route = record.mode.route(target);
        let order = route.ok().and_then(|route| settings.order(route, persistent));
        let order = order.map(|order| MigrationOrder {
            post_copy: true,
            resume_post_copy: true,
            migration_uri: order.migration_uri.or_else(|| target.migration_uri.clone()),
            ..order
        });
        if let Err(error) = self.hands.influence(Effect::PausePostCopy, self.our_move()).await {
            // It is broken off already, unless the source has not noticed that the link is.
            debug!(error = %Chain(&error), "post-copy was not broken off");
        }
        self.start_move(order).await;
    }

    /// Begins to look at a move, by our call or by nobody's.
    pub(super) fn begin_move(&mut self, watched: bool) {
        let now = Instant::now();
        self.progress.begin();
        let settings = &self.ticket.record.request.settings;
        self.moving = Some(Move {
            since: now,
            // One that we began is as old as our look at it.
            before: (!watched).then_some(Duration::ZERO),
            next_tick: now + self.shared.options().poll / EAGER,
            begun: false,
            watched,
            max_downtime: settings.max_downtime,
            saved: None,
        });
    }

    // A move that goes on

    /// Asks libvirt how far the move is; acts if it does not get on.
    pub(super) async fn tick(&mut self) {
        let poll = self.shared.options().poll;
        let Some(moving) = &mut self.moving else { return };
        // Until it gets going, clients wait for the first numbers.
        moving.next_tick = Instant::now() + if moving.begun { poll } else { poll / EAGER };
        let (watched, max_downtime) = (moving.watched, moving.max_downtime);
        let (uuid, ours) = (self.hands.guest_uuid.clone(), self.our_move());
        let at = hands::now();
        let asked = self.hands.ask_source("job", move |host| {
            let domain = host.domain_by_uuid(&uuid)?;
            Ok((hands::activity(&domain), host.job(&domain.name)?))
        });
        match asked.await {
            // libvirt keeps the job of a post-copy that broke off.
            Ok((activity, Some(stats)))
                if hands::is_outgoing(&stats)
                    && ours.may_be(&stats, at)
                    && !(watched && activity == Activity::PostCopyFailed) =>
            {
                self.note_beginning(&stats);
                let Some(moving) = &mut self.moving else { return };
                if stats.data_processed.is_some_and(|bytes| bytes > 0) {
                    moving.begun = true;
                    moving.next_tick = Instant::now() + poll;
                }
                let age = moving.age(&stats);
                if max_downtime.is_some() {
                    self.set_max_downtime(max_downtime).await;
                }
                self.go_on(age, activity, &stats).await;
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

    /// Remembers when our move began: another one is not to be taken for it after a restart.
    fn note_beginning(&mut self, stats: &JobStats) {
        let record = &mut self.ticket.record;
        if record.move_began.is_some() {
            return;
        }
        if let Some(Ok(elapsed)) = stats.elapsed.map(i64::try_from) {
            record.move_began = Some(hands::now().saturating_sub(elapsed));
            if let Some(moving) = &mut self.moving {
                moving.saved = None;
            }
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
        self.save_numbers().await;
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
            self.agenda.add(Effect::AbortMove);
        } else if let Some(action) = self.progress.judge(at) {
            self.despair(action).await;
        }
    }

    /// Stores each new percentage: what a client has seen does not go back after a crash.
    async fn save_numbers(&mut self) {
        let Some(moving) = &mut self.moving else { return };
        let percent = Some(self.ticket.report.percent);
        if moving.saved == percent {
            return;
        }
        moving.saved = percent;
        if let Err(error) = self.ticket.save(&self.shared.store).await {
            debug!(error = %Chain(&error), "numbers can't be stored");
            // The state is.
            self.ticket.unstored = None;
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
                    // It may have been too early for libvirt.
                    warn!(error = %Chain(&error), "the switch to post-copy failed");
                    self.progress.judge_again();
                }
            }
        }
    }

    /// Takes the last numbers of the move from the source's events.
    pub(super) fn read_job_events(&mut self) {
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
}

/// Moves the guest. A connection of its own: hosts limit how many calls of one connection they work
/// on at once, and this one may last for hours.
fn migrate(
    connector: &dyn Connector,
    uri: &str,
    uuid: &str,
    order: &MigrationOrder,
    hold: bool,
) -> Ending {
    let found = connector.open(uri).and_then(|source| {
        let name = source.domain_by_uuid(uuid)?.name;
        if hold {
            source.set_autostart(&name, false)?;
        }
        Ok((source, name))
    });
    match found {
        Ok((source, name)) => failures::ending(source.migrate(&name, order)),
        Err(error) => Ending::Failed(failures::failure_of("Migration Failed", &error)),
    }
}
