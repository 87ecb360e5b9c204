//! What a migration job does next: a pure state machine.
//!
//! ```text
//!            Admitted         GatePassed          Prepared
//!   Queued ───────────▶ Checking ─────▶ Preparing ───┬──────────────────────▶ Copying ⇄ Switching
//!     ▲ daemon restarted │                │          │ offline, live, resume     │ MoveEnded
//!     └──────────────────┴────────────────┘          │ restart                   ▼
//!                                                    └▶ Defining ▶ ShuttingDown ▶ Starting
//!                                                          │            │            │
//!                                                          ▼            ▼            ▼
//!          Done ◀── guest at the destination ──┐      ┌──────────── Confirming ◀──────┘
//!        Failed ◀── guest at the source ───────┤◀─────┤  Seen: look at both hosts,
//!     Cancelled ◀── the same, on request ──────┘      │  decide, look again
//!                                                     └▶ CleaningUp ▶ Confirming …
//! ```
//!
//! [`Job::on`] is the only way a job moves. It returns the new state and the effects; the executor
//! stores the state, then carries out the effects, and tells the result as the next event.
//!
//! The end of a libvirt call proves nothing about where the guest is: an error may hide a success and
//! the other way round. So whatever happened, what both hosts show (`settle.rs`) decides, and while it
//! leaves a doubt nothing is started, resumed, stopped or undefined. For the same reason a daemon that
//! finds an unfinished job at its start only has to look.
//!
//! A request to shut down can't be taken back. A guest that has not obeyed when a restart fails, or is
//! aborted, may do so later; so the job is not over before that has been watched for a while
//! ([`Doubt::MayShutDown`], in Confirming): a guest that shuts down late is started again at the source,
//! one that somebody ended is left alone.
//!
//! A deed has no deadline: one that was given up might still happen, and then a guest be started twice.
//! A host that does not come to an end with it leaves a doubt ([`Doubt::Overdue`]) that is shown and
//! waited out; only [`Event::Kill`] ends such a job, and leaves all as it is.
//!
//! What was decided is as old as the look that it follows from. A deed that waited for the store is
//! therefore not done but decided anew (`agenda.rs`), and one after which a host runs the guest is
//! withheld if the other host does not let it, right before ([`Event::Withheld`]).
//!
//! What is deliberately absent: time, libvirt, the store. The executor measures patience and tells
//! [`Event::PatienceOver`] and [`Event::Overdue`].

mod agenda;
mod event;
mod failure;
mod phase;
mod settle;
mod sight;
#[cfg(test)]
mod tests;

pub use agenda::Agenda;
pub use event::{Deed, Effect, Ending, Event, Refusal};
pub use failure::{Failure, Reason};
pub use phase::Phase;
use serde::{Deserialize, Serialize};
pub use sight::{Activity, Doubt, Outgoing, Presence, Sight, Sights};

use super::MigrationType;

/// How often a step of cleaning up is tried. Then it is left, and the others go on.
const MAX_TRIES: u8 = 10;

/// How many steps of cleaning up a job takes at most: a guest that pauses again and again must not keep
/// it busy for ever.
const MAX_STEPS: u16 = 100;

/// How often a guest without a definition is looked for once it is gone, until the event is awaited no
/// longer that says whether it has shut down.
const MAX_LOOKS: u8 = 10;

/// How often a broken post-copy is taken up again within moments, for libvirt and QEMU need some to
/// notice that it is broken; further attempts come one patience apart.
const MAX_RECOVERIES_AT_ONCE: u8 = 10;
/// How often it is taken up again at all. Then it is for people; what they do is still followed.
const MAX_RECOVERIES: u8 = 100;

/// What was asked for, as far as it decides the order of events.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Terms {
    /// How the guest travels.
    pub migration_type: MigrationType,
    /// Whether the destination keeps a definition; `None` is "as at the source".
    pub persist: Option<bool>,
    /// Whether the source's definition goes once the destination has one.
    pub undefine_source: bool,
}

/// What the guest was like before it was touched.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Facts {
    /// It had a definition at the source.
    pub persistent: bool,
    /// It was to start with the source host.
    pub autostart: bool,
    /// It was paused.
    pub paused: bool,
    /// The destination had a definition of it already, which is then not ours to remove.
    pub destination_defined: bool,
    /// Its disks are copied into files that were not there before, and are ours to remove.
    #[serde(default)]
    pub copies: bool,
}

/// A migration job.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Job {
    terms: Terms,
    phase: Phase,
    /// Known from `Prepared` on.
    facts: Facts,
    /// Somebody wants the guest to stay.
    abort: bool,
    failure: Option<Failure>,
    /// Restart: the guest was asked to shut down by us.
    shut_down: bool,
    /// Restart: it was seen off since. What was asked of it is done and can't happen any more.
    #[serde(default)]
    was_off: bool,
    /// Restart: it did not shut down in time, and we watch whether it does so late.
    #[serde(default)]
    watched: bool,
    /// Restart: we have watched for long enough.
    #[serde(default)]
    watch_over: bool,
    /// Restart: while we watched it shut down, as libvirt told.
    #[serde(default)]
    obeyed: bool,
    /// Restart: so often it was gone, and nobody had told how it ended.
    #[serde(default)]
    gone: u8,
    /// Restart: it is started at the source again.
    #[serde(default)]
    returning: bool,
    /// Restart: the guest was started at the destination by us, or was about to be.
    starting: bool,
    /// We were told that the guest is at the destination.
    arrived: bool,
    /// The guest stands still because we wanted it to.
    held: bool,
    /// The move was given up, and why.
    given_up: Option<Failure>,
    /// Nobody told us how the move ended, or whether.
    unclear: bool,
    /// The guest runs at the destination while memory is still at the source.
    post_copy: bool,
    /// The guest was seen to stand still for the last pages: the destination may have been told to run it.
    #[serde(default)]
    switched: bool,
    /// How often post-copy was taken up again.
    #[serde(default)]
    recoveries: u8,
    /// What keeps us from deciding.
    doubt: Option<Doubt>,
    /// This doubt has lasted as long as we are willing to wait.
    impatient: bool,
    /// The current step of cleaning up, and how often it has failed.
    #[serde(default)]
    step: Option<Deed>,
    tries: u8,
    /// How many steps of cleaning up there were.
    #[serde(default)]
    steps: u16,
    /// The steps that are left as they are.
    #[serde(default)]
    undone: Vec<Deed>,
    /// What could not be put in order.
    note: Option<String>,
    /// What became of the copies of disks that are of no use.
    #[serde(default)]
    copies: Copies,
}

/// The copies of disks at the destination of a guest that stays.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
enum Copies {
    #[default]
    Kept,
    /// They are being removed.
    Going,
    Gone,
}

/// A new state and what to do once it is stored.
pub type Step = (Job, Vec<Effect>);

impl Job {
    /// A job that waits for its turn.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            phase: Phase::Queued,
            facts: Facts::default(),
            abort: false,
            failure: None,
            shut_down: false,
            was_off: false,
            watched: false,
            watch_over: false,
            obeyed: false,
            gone: 0,
            returning: false,
            starting: false,
            arrived: false,
            held: false,
            given_up: None,
            unclear: false,
            post_copy: false,
            switched: false,
            recoveries: 0,
            doubt: None,
            impatient: false,
            step: None,
            tries: 0,
            steps: 0,
            undone: Vec::new(),
            note: None,
            copies: Copies::Kept,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What was asked for.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What the guest was like; meaningful once it is being touched.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Why it failed, or why it is on its way back.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// What keeps it from deciding.
    pub fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Whether somebody wants the guest to stay.
    pub fn abort_wanted(&self) -> bool {
        self.abort
    }

    /// Whether the move is to be cancelled, by somebody or because it does not get on.
    pub fn is_giving_up(&self) -> bool {
        (self.abort || self.given_up.is_some()) && !self.post_copy
    }

    /// Whether the destination was, or was about to be, told to start the guest.
    pub fn was_started_there(&self) -> bool {
        self.starting
    }

    /// Whether the guest runs at the destination while memory is still at the source.
    pub fn post_copy(&self) -> bool {
        self.post_copy
    }

    /// Whether a program that starts with the job as it is would move the guest, rather than look where
    /// it is and put things in order there.
    pub fn may_move_guest(&self) -> bool {
        if self.phase.is_over() {
            return false;
        }
        let restart = self.terms.migration_type == MigrationType::Restart;
        !self.phase.touches_hosts() || (restart && !self.abort && self.failure.is_none())
    }

    /// What could not be put in order after the end.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Takes the event: the only way a job moves. Store the new state before carrying out the
    /// effects, in their order.
    ///
    /// # Errors
    /// [`Refusal`] if the event does not fit the phase; the job stays as it was.
    pub fn on(self, event: Event) -> Result<Step, Refusal> {
        let phase = self.phase;
        if phase.is_over() {
            return Err(Refusal::Over(phase));
        }
        match event {
            Event::Abort => self.on_abort(),
            Event::Kill => self.on_kill(),
            Event::Adopted => Ok(self.on_adopted()),
            Event::Abandoned(failure) => Ok(self.fail(failure)),
            Event::Seen(sights) if phase.touches_hosts() => Ok(self.on_seen(sights)),
            Event::PatienceOver if phase.touches_hosts() => Ok(self.on_patience_over()),
            Event::Overdue => Ok(self.on_overdue()),
            // Whatever it is, the host has come to an end.
            event => self.without_overdue().on_progress(event),
        }
    }

    fn on_progress(self, event: Event) -> Result<Step, Refusal> {
        Ok(match (self.phase, event) {
            (Phase::Queued, Event::Admitted) => self.to(Phase::Checking, &[Effect::RunGate]),
            (Phase::Checking, Event::GatePassed) => self.to(Phase::Preparing, &[Effect::Prepare]),
            (Phase::Preparing, Event::Prepared(facts)) => Self { facts, ..self }.begin(),
            (
                Phase::Queued | Phase::Checking | Phase::Preparing,
                Event::Broke(failure) | Event::Lost(failure),
            ) => self.fail(failure),
            (Phase::Defining, Event::Did) if self.abort => self.confirm(),
            (Phase::Defining, Event::Did) => self.shut_down(),
            (Phase::ShuttingDown, Event::GuestOff) if self.abort => self.confirm(),
            (Phase::ShuttingDown, Event::GuestOff) => self.start_destination(),
            (Phase::Starting, Event::Did) => Self { arrived: true, ..self }.confirm(),
            // It was not asked, or refused to hear.
            (Phase::ShuttingDown, Event::Broke(failure))
                if failure.reason != Reason::ShutdownTimeout =>
            {
                Self { shut_down: false, failure: Some(failure), ..self }.confirm()
            }
            (Phase::Confirming, Event::GuestOff) if self.doubt == Some(Doubt::MayShutDown) => {
                Self { obeyed: true, ..self }.to(Phase::Confirming, &[Effect::Inspect])
            }
            (Phase::Defining | Phase::ShuttingDown | Phase::Starting, Event::Broke(failure)) => {
                Self { failure: Some(failure), ..self }.confirm()
            }
            (Phase::Defining | Phase::ShuttingDown | Phase::Starting, Event::Lost(failure)) => {
                Self { failure: Some(failure), unclear: true, ..self }.confirm()
            }
            // A look that was lost is done again.
            (Phase::Confirming, Event::Lost(_)) => {
                self.to(Phase::Confirming, &[Effect::InspectLater])
            }
            (Phase::Starting | Phase::CleaningUp, Event::Withheld) => {
                Self { impatient: false, ..self }.to(Phase::Confirming, &[Effect::InspectLater])
            }
            (Phase::Copying | Phase::Switching, Event::Switched { post_copy }) => {
                let post_copy = self.post_copy || post_copy;
                Self { post_copy, switched: true, ..self }.to(Phase::Switching, &[])
            }
            (phase @ (Phase::Copying | Phase::Switching), Event::Hold) => {
                // A guest that was paused before stays so afterwards.
                let held = self.held || !self.facts.paused;
                Self { held, ..self }.to(phase, &[Effect::SuspendSource])
            }
            (phase @ (Phase::Copying | Phase::Switching), Event::GiveUp(_)) if self.post_copy => {
                self.to(phase, &[Effect::PausePostCopy])
            }
            (phase @ (Phase::Copying | Phase::Switching), Event::GiveUp(failure)) => {
                Self { given_up: Some(failure), ..self }.to(phase, &[Effect::AbortMove])
            }
            (Phase::Copying | Phase::Switching, Event::MoveEnded(ending)) => self.ended(ending),
            (Phase::CleaningUp, Event::Did) => self.tidied(),
            (Phase::CleaningUp, Event::Broke(failure) | Event::Lost(failure)) => {
                self.retry(failure)
            }
            (phase, event) => {
                return Err(Refusal::Unexpected { phase, event: format!("{event:?}") });
            }
        })
    }

    fn to(self, phase: Phase, effects: &[Effect]) -> Step {
        (Self { phase, ..self }, effects.to_vec())
    }

    /// The first thing that changes a host.
    fn begin(self) -> Step {
        match self.terms.migration_type {
            MigrationType::Offline | MigrationType::Live | MigrationType::Resume => {
                self.to(Phase::Copying, &[Effect::StartMove])
            }
            MigrationType::Restart => {
                self.to(Phase::Defining, &[Effect::Do(Deed::DefineDestination)])
            }
        }
    }

    fn shut_down(self) -> Step {
        Self { shut_down: true, was_off: false, ..self }
            .to(Phase::ShuttingDown, &[Effect::ShutDownGuest])
    }

    fn start_destination(self) -> Step {
        Self { starting: true, was_off: true, ..self }
            .to(Phase::Starting, &[Effect::Do(Deed::StartDestination)])
    }

    fn ended(self, ending: Ending) -> Step {
        let (failure, arrived, unclear) = match ending {
            Ending::Arrived => (None, true, false),
            Ending::Failed(failure) => (Some(failure), false, false),
            Ending::Unclear(failure) => (Some(failure), false, true),
        };
        let again = self.recoveries > 0 && !arrived;
        let job = Self { failure, arrived, unclear, ..self };
        if again {
            return Self { impatient: false, ..job }.to(Phase::Confirming, &[Effect::InspectLater]);
        }
        job.confirm()
    }

    /// Looks where the guest is.
    fn confirm(self) -> Step {
        Self { impatient: false, ..self }.to(Phase::Confirming, &[Effect::Inspect])
    }

    fn fail(self, failure: Failure) -> Step {
        Self { failure: Some(failure), doubt: None, ..self }.to(Phase::Failed, &[])
    }

    fn on_abort(self) -> Result<Step, Refusal> {
        match self.phase {
            Phase::Queued | Phase::Preparing => {
                Ok(Self { abort: true, ..self }.to(Phase::Cancelled, &[]))
            }
            Phase::Checking => {
                Ok(Self { abort: true, ..self }.to(Phase::Cancelled, &[Effect::StopGate]))
            }
            // A guest that is being shut down can't be told to stay: it is started again when off.
            phase @ (Phase::Defining | Phase::ShuttingDown) => {
                Ok(Self { abort: true, ..self }.to(phase, &[]))
            }
            phase @ (Phase::Copying | Phase::Switching) if !self.post_copy => {
                Ok(Self { abort: true, ..self }.to(phase, &[Effect::AbortMove]))
            }
            phase => Err(Refusal::TooLate(phase)),
        }
    }

    /// As abort; but a job in doubt ends, with everything left as it is.
    fn on_kill(self) -> Result<Step, Refusal> {
        match self.doubt {
            Some(doubt) => {
                let message = format!("ended on request while waiting: {doubt}");
                Ok(self.fail(Failure::new(Reason::Unresolved, message)))
            }
            None => self.on_abort(),
        }
    }

    fn on_adopted(self) -> Step {
        match self.phase {
            Phase::Queued => (self, Vec::new()),
            // No host was touched yet.
            Phase::Checking | Phase::Preparing => self.to(Phase::Queued, &[]),
            phase => {
                let unclear = self.unclear || matches!(phase, Phase::Copying | Phase::Switching);
                // Whether they are gone was not told.
                let copies = if self.copies == Copies::Going { Copies::Kept } else { self.copies };
                let job = Self { unclear, impatient: false, copies, ..self }.without_overdue();
                job.to(phase, &[Effect::Inspect])
            }
        }
    }

    /// The doubt has to show once more: what was seen is as old as our patience.
    fn on_patience_over(self) -> Step {
        match self.doubt {
            // A look would not bring what is under way to its end.
            None | Some(Doubt::Overdue) => (self, Vec::new()),
            Some(Doubt::MayShutDown) => (Self { watch_over: true, ..self }, vec![Effect::Inspect]),
            Some(_) => (Self { impatient: true, ..self }, vec![Effect::Inspect]),
        }
    }

    fn on_overdue(self) -> Step {
        let doubt = if self.waits_for_a_host() { Some(Doubt::Overdue) } else { self.doubt };
        (Self { doubt, ..self }, Vec::new())
    }

    /// Whether a host is at work for the job, on a deed or on the end of a move.
    fn waits_for_a_host(&self) -> bool {
        match self.phase {
            Phase::Defining | Phase::Starting | Phase::CleaningUp => true,
            Phase::Copying | Phase::Switching => self.is_giving_up(),
            Phase::Queued
            | Phase::Checking
            | Phase::Preparing
            | Phase::ShuttingDown
            | Phase::Confirming
            | Phase::Done
            | Phase::Failed
            | Phase::Cancelled => false,
        }
    }

    fn without_overdue(self) -> Self {
        let doubt = self.doubt.filter(|doubt| *doubt != Doubt::Overdue);
        Self { doubt, ..self }
    }

    /// A step of cleaning up is done.
    fn tidied(self) -> Step {
        // From now on it pauses for reasons of its own.
        let resumed = matches!(self.step, Some(Deed::ResumeSource | Deed::ResumeDestination));
        let held = self.held && !resumed;
        let copies = match self.copies {
            Copies::Going | Copies::Gone => Copies::Gone,
            Copies::Kept => Copies::Kept,
        };
        Self { tries: 0, step: None, held, copies, ..self }.confirm()
    }

    /// A step of cleaning up failed. If that was often enough it is left, and the next one comes.
    fn retry(mut self, failure: Failure) -> Step {
        self.tries += 1;
        if self.copies == Copies::Going {
            self.copies = Copies::Kept;
        }
        if self.tries >= MAX_TRIES {
            self.tries = 0;
            self.undone.extend(self.step.take());
            self = self.noting(&failure.message);
        }
        self.to(Phase::CleaningUp, &[Effect::InspectLater])
    }

    /// Adds to what could not be put in order.
    fn noting(self, text: &str) -> Self {
        let note = match self.note {
            Some(note) if note.contains(text) => note,
            Some(note) => format!("{note}; {text}"),
            None => text.to_owned(),
        };
        Self { note: Some(note), ..self }
    }
}
