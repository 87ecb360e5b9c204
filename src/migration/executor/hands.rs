//! The executor's hands: what is done on both hosts, and what is seen there.
//!
//! Questions have a deadline. Deeds have none once they are begun: a deed that goes on after its deadline
//! would be mistaken for one that failed. A dead connection ends both, for libvirt asks the other end for
//! signs of life.
//!
//! Guests are found by their UUID, so that one renamed meanwhile is still the same guest. What would
//! hurt if the guest had changed since it was looked at is looked at once more, in the same call.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    hypervisor::{
        Connection, Connector, Domain, DomainState, HypervisorError, JobKind, JobOperation,
        JobStats, Migrator, XmlForm,
    },
    migration::{
        DestinationFacts, SourceFacts,
        executor::{failures, ticket},
        job::{
            Activity, Deed, Effect, Event, Facts, Failure, Outgoing, Presence, Reason, Sight,
            Sights,
        },
    },
    sys::blocking::{SlotError, Slots},
};

/// The longest a question to a destination may take, and a deed may wait until it can begin.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest that connecting to a destination may take: ssh may have much to do.
pub(super) const CONNECT: Duration = Duration::from_secs(60);

/// How often a guest that was asked to shut down is looked at.
const LOOK_FOR_SHUTDOWN: Duration = Duration::from_millis(500);

/// VIR_ERR_OPERATION_INVALID.
const OPERATION_INVALID: u32 = 55;

/// virDomainRunningReason: a migration was cancelled after the guest stood still for it; post-copy under
/// way, broken.
const RUNNING_MIGRATION_CANCELED: i32 = 6;
const RUNNING_POST_COPY: i32 = 10;
const RUNNING_POST_COPY_FAILED: i32 = 11;
/// virDomainPausedReason: for a migration, while it starts, post-copy under way, broken.
const PAUSED_MIGRATION: i32 = 2;
const PAUSED_STARTING_UP: i32 = 11;
const PAUSED_POST_COPY: i32 = 12;
const PAUSED_POST_COPY_FAILED: i32 = 13;
/// virDomainShutoffReason: not known, as after a restart of libvirt; shut down by itself; left for
/// another host.
const SHUTOFF_UNKNOWN: i32 = 0;
const SHUTOFF_SHUTDOWN: i32 = 1;
const SHUTOFF_MIGRATED: i32 = 4;

/// Both hosts of one job.
pub(super) struct Hands {
    pub(super) guest_uuid: String,
    /// The URI of the source.
    pub(super) source_uri: String,
    /// `None` if the hypervisor is not configured any more.
    pub(super) source: Option<Connection>,
    pub(super) destination_uri: String,
    pub(super) connector: Arc<dyn Connector>,
    /// For what takes its time at the source, and for everything at the destination.
    pub(super) source_slots: Slots,
    pub(super) destination_slots: Slots,
    /// Kept while it works: some drivers' hosts live as long as the connection.
    pub(super) destination: Arc<Mutex<Option<Arc<dyn Migrator>>>>,
}

/// What a change may need to know of the guest.
#[derive(Clone, Debug, Default)]
pub(super) struct Means {
    pub(super) facts: Facts,
    /// What is defined, where something is.
    pub(super) definition: Option<String>,
    /// The files at the destination that were made for copies of its disks.
    pub(super) copies: Vec<String>,
}

type Answer<T> = Result<T, HypervisorError>;

impl Hands {
    fn unconfigured(&self) -> HypervisorError {
        HypervisorError::Unreachable {
            uri: self.source_uri.clone(),
            message: "this hypervisor is not configured any more".to_owned(),
        }
    }

    fn broken(&self, uri: &str, error: &SlotError) -> HypervisorError {
        HypervisorError::Unreachable { uri: uri.to_owned(), message: error.to_string() }
    }

    /// The error of a deed that could not begin, or that broke off.
    fn undone(&self, uri: &str, error: &SlotError) -> HypervisorError {
        match error {
            SlotError::Late { .. } | SlotError::Busy { .. } => HypervisorError::Busy,
            SlotError::Broken => self.broken(uri, error),
        }
    }

    /// Asks the source, within its connection's deadline.
    pub(super) async fn ask_source<T: Send + 'static>(
        &self,
        name: &'static str,
        question: impl FnOnce(&dyn Migrator) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let source = self.source.as_ref().ok_or_else(|| self.unconfigured())?;
        source.call(name, question).await
    }

    /// The source itself, for what takes its time.
    pub(super) async fn source(&self) -> Answer<Arc<dyn Migrator>> {
        let source = self.source.as_ref().ok_or_else(|| self.unconfigured())?;
        source.hypervisor().await
    }

    async fn act_at_source(
        &self,
        deed: impl FnOnce(&dyn Migrator) -> Answer<()> + Send + 'static,
    ) -> Answer<()> {
        let source = self.source().await?;
        let done = self.source_slots.run_begun_within(DEADLINE, move || deed(&*source)).await;
        done.unwrap_or_else(|error| Err(self.undone(&self.source_uri, &error)))
    }

    /// Connects to the destination, if that is not so already. A connection that comes too late for this
    /// caller is there for the next one.
    pub(super) async fn destination(&self) -> Answer<Arc<dyn Migrator>> {
        if let Some(destination) = &*lock(&self.destination) {
            return Ok(Arc::clone(destination));
        }
        let (connector, uri) = (Arc::clone(&self.connector), self.destination_uri.clone());
        let kept = Arc::clone(&self.destination);
        let open = move || {
            let opened = connector.open(&uri)?;
            Ok(Arc::clone(lock(&kept).get_or_insert(opened)))
        };
        match self.destination_slots.run_within(CONNECT, open).await {
            Ok(opened) => opened,
            Err(SlotError::Late { deadline }) => {
                Err(HypervisorError::Deadline { call: "open", seconds: deadline.as_secs() })
            }
            Err(error) => Err(self.broken(&self.destination_uri, &error)),
        }
    }

    /// Asks the destination.
    pub(super) async fn ask_destination<T: Send + 'static>(
        &self,
        name: &'static str,
        question: impl FnOnce(&dyn Migrator) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let asked = async {
            let destination = self.destination().await?;
            let answer = self.destination_slots.run(move || question(&*destination)).await;
            answer.unwrap_or_else(|error| Err(self.broken(&self.destination_uri, &error)))
        };
        let answer = timeout(DEADLINE, asked).await.unwrap_or_else(|_| {
            Err(HypervisorError::Deadline { call: name, seconds: DEADLINE.as_secs() })
        });
        self.notice(answer)
    }

    async fn act_at_destination(
        &self,
        deed: impl FnOnce(&dyn Migrator) -> Answer<()> + Send + 'static,
    ) -> Answer<()> {
        let destination = self.destination().await?;
        let done = self.destination_slots.run_begun_within(DEADLINE, move || deed(&*destination));
        let answer =
            done.await.unwrap_or_else(|error| Err(self.undone(&self.destination_uri, &error)));
        self.notice(answer)
    }

    /// Gives up a connection that does not work.
    fn notice<T>(&self, answer: Answer<T>) -> Answer<T> {
        if let Err(HypervisorError::Unreachable { .. } | HypervisorError::Deadline { .. }) = &answer
        {
            drop(lock(&self.destination).take());
        }
        answer
    }

    /// Looks at both hosts, the source first.
    pub(super) async fn inspect(&self, ours: OurMove) -> Sights {
        let uuid = self.guest_uuid.clone();
        let source = self.ask_source("inspect", move |host| sight(host, &uuid, ours)).await;
        let uuid = self.guest_uuid.clone();
        let look = move |host: &dyn Migrator| sight(host, &uuid, ours);
        let destination = self.ask_destination("inspect", look).await;
        // An error that is no absence is no knowledge either.
        Sights {
            source: source.unwrap_or(Sight::Unreachable),
            destination: destination.unwrap_or(Sight::Unreachable),
        }
    }

    /// What planning needs to know of the source.
    pub(super) async fn source_facts(&self) -> Answer<SourceFacts> {
        let uuid = self.guest_uuid.clone();
        self.ask_source("prepare", move |host| {
            let domain = host.domain_by_uuid(&uuid)?;
            let definition = host.domain_xml(&domain.name, XmlForm::InactiveSecure)?;
            let live_xml = match host.domain_xml(&domain.name, XmlForm::Migratable) {
                // The test driver has no such form.
                Err(HypervisorError::Unsupported { .. } | HypervisorError::Libvirt { .. }) => {
                    definition.clone()
                }
                other => other?,
            };
            let job = match host.active_job(&domain.name) {
                // A guest that is off has none.
                Err(
                    HypervisorError::Unsupported { .. }
                    | HypervisorError::Libvirt { code: OPERATION_INVALID, .. },
                ) => None,
                other => other?,
            };
            Ok(SourceFacts { domain, job, live_xml, definition })
        })
        .await
    }

    /// What planning needs to know of the destination.
    pub(super) async fn destination_facts(
        &self,
        name: String,
        mut files: Vec<String>,
    ) -> Answer<DestinationFacts> {
        let uuid = self.guest_uuid.clone();
        self.ask_destination("prepare", move |host| {
            // What can't be told is taken for something that was there before.
            files.retain(|path| matches!(host.is_free(path), Ok(true)));
            Ok(DestinationFacts {
                same_uuid: present(host.domain_by_uuid(&uuid))?,
                same_name: present(host.domain(&name))?,
                free_files: files,
            })
        })
        .await
    }

    /// Asks the guest to shut down and waits until it is off.
    pub(super) async fn shut_down(&self, timeout: Duration) -> Event {
        let deadline = Instant::now() + timeout;
        let uuid = self.guest_uuid.clone();
        let asked = self.ask_source("shutdown", move |host| {
            let domain = host.domain_by_uuid(&uuid)?;
            if domain.is_active() { host.shutdown(&domain.name) } else { Ok(()) }
        });
        match asked.await {
            Ok(()) => {}
            // It is gone, which is off.
            Err(HypervisorError::NotFound { .. }) => return Event::GuestOff,
            Err(error) => return failures::unasked(&error),
        }
        loop {
            let uuid = self.guest_uuid.clone();
            let looked = self
                .ask_source("shutdown", move |host| Ok(host.domain_by_uuid(&uuid)?.is_active()))
                .await;
            match looked {
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

    /// Looks at the other host once more, right before a deed after which this one runs the guest:
    /// others act on guests, too. A destination that was never told to start it may be silent.
    pub(super) async fn check_elsewhere(
        &self,
        deed: Deed,
        facts: Facts,
        started_there: bool,
    ) -> Answer<()> {
        let uuid = self.guest_uuid.clone();
        let look = move |host: &dyn Migrator| sight(host, &uuid, OurMove::default());
        let (elsewhere, may) = match deed {
            Deed::StartDestination => {
                let source = self.ask_source("inspect", look).await?;
                (source, source.lets_start(facts))
            }
            Deed::ResumeDestination => {
                let source = self.ask_source("inspect", look).await?;
                (source, source.is_idle())
            }
            Deed::StartSource | Deed::ResumeSource => {
                let trusted = deed == Deed::StartSource && !started_there;
                match self.ask_destination("inspect", look).await {
                    Err(_) if trusted => return Ok(()),
                    Err(error) => return Err(error),
                    Ok(destination) => (destination, destination.is_idle()),
                }
            }
            _ => return Ok(()),
        };
        if may {
            return Ok(());
        }
        let message = format!("the other host shows the guest as {elsewhere:?} meanwhile");
        Err(HypervisorError::Unsupported { message })
    }

    /// Does something to the move, or to the guest for its sake, if it still is the one.
    pub(super) async fn influence(&self, effect: Effect, ours: OurMove) -> Answer<()> {
        let uuid = self.guest_uuid.clone();
        self.ask_source("influence", move |host| {
            let (name, asked) = (name_of(host, &uuid)?, now());
            if let Ok(Some(job)) = host.job(&name)
                && is_outgoing(&job)
                && !ours.may_be(&job, asked)
            {
                let message = "another migration moves the guest".to_owned();
                return Err(HypervisorError::Unsupported { message });
            }
            match effect {
                Effect::SuspendSource => host.suspend(&name),
                Effect::PausePostCopy => host.pause_post_copy(&name),
                _ => host.abort_job(&name),
            }
        })
        .await
    }

    /// Changes one host.
    pub(super) async fn change(&self, deed: Deed, means: Means) -> Answer<()> {
        let Means { facts, definition, copies } = means;
        let uuid = self.guest_uuid.clone();
        match deed {
            Deed::DefineDestination => {
                let definition = definition.ok_or_else(no_definition)?;
                self.act_at_destination(move |host| host.define(&definition)).await
            }
            Deed::StartDestination => {
                if facts.autostart {
                    // Or this host's next start would run the guest a second time.
                    let uuid = uuid.clone();
                    self.act_at_source(move |host| set_autostart(host, &uuid, false)).await?;
                }
                self.act_at_destination(move |host| host.start(&name_of(host, &uuid)?)).await
            }
            Deed::StartSource => {
                self.act_at_source(move |host| start_again(host, &uuid, facts, definition)).await
            }
            Deed::ResumeSource => {
                self.act_at_source(move |host| host.resume(&name_of(host, &uuid)?)).await
            }
            Deed::ResumeDestination => {
                self.act_at_destination(move |host| host.resume(&name_of(host, &uuid)?)).await
            }
            Deed::DestroySource => {
                self.act_at_source(move |host| destroy_if(host, &uuid, is_on_its_way)).await
            }
            Deed::DestroyIncoming => {
                self.act_at_destination(move |host| destroy_if(host, &uuid, is_on_its_way)).await
            }
            Deed::PersistDestination => {
                self.act_at_destination(move |host| {
                    let name = name_of(host, &uuid)?;
                    host.define(&host.domain_xml(&name, XmlForm::InactiveSecure)?)
                })
                .await
            }
            Deed::UndefineDestination => {
                self.act_at_destination(move |host| host.undefine(&name_of(host, &uuid)?)).await
            }
            Deed::RemoveCopies => {
                self.act_at_destination(move |host| remove_files(host, &uuid, &copies)).await
            }
            Deed::UndefineSource => {
                self.act_at_source(move |host| {
                    let domain = host.domain_by_uuid(&uuid)?;
                    if domain.is_active() {
                        return Err(changed(&domain));
                    }
                    host.undefine(&domain.name)
                })
                .await
            }
            Deed::AutostartDestination => {
                self.act_at_destination(move |host| set_autostart(host, &uuid, true)).await
            }
            Deed::HoldSource => {
                self.act_at_source(move |host| set_autostart(host, &uuid, false)).await
            }
            Deed::AutostartSource => {
                self.act_at_source(move |host| set_autostart(host, &uuid, true)).await
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(host: &dyn Migrator, uuid: &str) -> Answer<String> {
    Ok(host.domain_by_uuid(uuid)?.name)
}

fn set_autostart(host: &dyn Migrator, uuid: &str, autostart: bool) -> Answer<()> {
    host.set_autostart(&name_of(host, uuid)?, autostart)
}

fn no_definition() -> HypervisorError {
    let message = "the guest's definition was not kept".to_owned();
    HypervisorError::NotFound { message }
}

fn changed(domain: &Domain) -> HypervisorError {
    let message = format!("guest {} is {:?} meanwhile", domain.name, domain.state);
    HypervisorError::Unsupported { message }
}

/// Starts a guest that was shut down, as it was: with its definition if it had one. The start comes
/// as late as can be: if what is before it fails, all is tried again.
fn start_again(
    host: &dyn Migrator,
    uuid: &str,
    facts: Facts,
    definition: Option<String>,
) -> Answer<()> {
    if present(host.domain_by_uuid(uuid))?.is_none() {
        host.define(&definition.ok_or_else(no_definition)?)?;
    }
    let name = name_of(host, uuid)?;
    if facts.persistent && facts.autostart {
        host.set_autostart(&name, true)?;
    }
    host.start(&name)?;
    if facts.persistent { Ok(()) } else { host.undefine(&name) }
}

/// Removes what was made for the disks of a guest that has not come, unless it has by now.
fn remove_files(host: &dyn Migrator, uuid: &str, files: &[String]) -> Answer<()> {
    if let Some(domain) = present(host.domain_by_uuid(uuid))?.filter(Domain::is_active) {
        return Err(changed(&domain));
    }
    for path in files {
        if host.volume(path)?.is_some() {
            host.delete_volume(path)?;
        }
    }
    Ok(())
}

/// Ends a guest if it is still what it was seen as.
fn destroy_if(host: &dyn Migrator, uuid: &str, still: impl FnOnce(Activity) -> bool) -> Answer<()> {
    let domain = host.domain_by_uuid(uuid)?;
    if still(activity(&domain)) { host.destroy(&domain.name) } else { Err(changed(&domain)) }
}

fn is_on_its_way(activity: Activity) -> bool {
    activity == Activity::InTransit
}

/// The guest, if there is one.
fn present(domain: Answer<Domain>) -> Answer<Option<Domain>> {
    match domain {
        Ok(domain) => Ok(Some(domain)),
        Err(HypervisorError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What tells the move that we asked for from others of the same guest: libvirt's jobs have no names, but
/// each begins at a moment of its own. Milliseconds since 1970, by the clock of this host, which is the
/// source's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OurMove {
    /// One that began later is not ours; `None` if all may be.
    pub(super) begins_until: Option<i64>,
}

/// How long libvirt may take to begin a move that it was asked for.
const TIME_TO_BEGIN: i64 = 60_000;
/// How exactly the moment is known at which a move began.
const TOLERANCE: i64 = 1000;

impl OurMove {
    /// The move was asked for then, and was seen to have begun then.
    pub(super) fn new(asked: Option<i64>, began: Option<i64>) -> Self {
        let begun = began.map(|began| began.saturating_add(TOLERANCE));
        let asked = asked.map(|asked| asked.saturating_add(TIME_TO_BEGIN));
        Self { begins_until: begun.or(asked) }
    }

    /// Whether that job, of which libvirt told when it was asked `at`, may be the move.
    pub(super) fn may_be(self, job: &JobStats, at: i64) -> bool {
        match (self.begins_until, job.elapsed.map(i64::try_from)) {
            (Some(until), Some(Ok(elapsed))) => at.saturating_sub(elapsed) <= until,
            // Nothing is known that would tell them apart.
            (None, _) | (_, None | Some(Err(_))) => true,
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    ticket::now() / 1000
}

fn sight(host: &dyn Migrator, uuid: &str, ours: OurMove) -> Answer<Sight> {
    let asked = now();
    let Some(domain) = present(host.domain_by_uuid(uuid))? else { return Ok(Sight::Absent) };
    let job = match host.job(&domain.name) {
        Ok(job) => job,
        // The destination of a migration does not tell, nor does a guest that is off.
        Err(HypervisorError::Libvirt { code: OPERATION_INVALID, .. }) => None,
        Err(HypervisorError::Unsupported { .. }) => None,
        // It left between the questions.
        Err(HypervisorError::NotFound { .. }) => return Ok(Sight::Absent),
        Err(error) => return Err(error),
    };
    Ok(Sight::Present(Presence {
        activity: activity(&domain),
        persistent: domain.persistent,
        autostart: domain.autostart,
        outgoing: match job.filter(is_outgoing) {
            None => Outgoing::No,
            Some(job) if ours.may_be(&job, asked) => Outgoing::Ours,
            Some(_) => Outgoing::Foreign,
        },
        revived: domain.state == DomainState::Running
            && domain.reason == RUNNING_MIGRATION_CANCELED,
    }))
}

/// Whether the job moves the guest away.
pub(super) fn is_outgoing(job: &JobStats) -> bool {
    job.operation == JobOperation::MigrationOut
        && matches!(job.kind, JobKind::Bounded | JobKind::Unbounded)
}

pub(super) fn activity(domain: &Domain) -> Activity {
    match (domain.state, domain.reason) {
        (DomainState::Shutoff, SHUTOFF_MIGRATED) => Activity::OffMigrated,
        (DomainState::Shutoff, SHUTOFF_UNKNOWN | SHUTOFF_SHUTDOWN) => Activity::Off,
        (DomainState::Shutoff, _) => Activity::Ended,
        (DomainState::Paused, PAUSED_MIGRATION | PAUSED_STARTING_UP) => Activity::InTransit,
        (DomainState::Running, RUNNING_POST_COPY) | (DomainState::Paused, PAUSED_POST_COPY) => {
            Activity::PostCopy
        }
        (DomainState::Running, RUNNING_POST_COPY_FAILED)
        | (DomainState::Paused, PAUSED_POST_COPY_FAILED) => Activity::PostCopyFailed,
        (DomainState::Paused | DomainState::Crashed | DomainState::PmSuspended, _) => {
            Activity::Paused
        }
        (
            DomainState::NoState
            | DomainState::Running
            | DomainState::Blocked
            | DomainState::Shutdown
            | DomainState::Other(_),
            _,
        ) => Activity::Running,
    }
}
