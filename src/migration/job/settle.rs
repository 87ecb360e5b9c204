//! What both hosts show, and what follows from it.
//!
//! The tables here are the safety of a migration. Their rules: a guest is started, resumed or ended
//! somewhere only if the other host was seen not to run it; a definition is removed only if the other
//! host was seen to have one; a host that can't be asked is a doubt, and in doubt we wait.

use super::{
    Activity, Copies, Deed, Doubt, Effect, Failure, Job, MAX_LOOKS, MAX_RECOVERIES,
    MAX_RECOVERIES_AT_ONCE, MAX_STEPS, MigrationType, Outgoing, Phase, Presence, Reason, Sight,
    Sights, Step,
};

impl Job {
    /// Decides by what was seen.
    pub(super) fn on_seen(self, sights: Sights) -> Step {
        let (job, effects) = match self.terms.migration_type {
            _ if sights.source == Sight::Unreachable => self.wait(Doubt::SourceUnreachable),
            MigrationType::Live | MigrationType::Resume => self.settle_move(sights),
            MigrationType::Offline => self.settle_offline(sights),
            MigrationType::Restart => self.settle_restart(sights),
        };
        // The doubt from before lived until here, to be compared with what is seen now.
        let doubt = job.doubt.filter(|_| job.phase == Phase::Confirming);
        (Self { doubt, ..job }, effects)
    }

    /// Whether this very doubt has lasted long enough. Patience with another one counts for nothing.
    fn has_borne(&self, doubt: Doubt) -> bool {
        self.impatient && self.doubt == Some(doubt)
    }

    /// A guest that runs is moved by libvirt.
    fn settle_move(self, sights: Sights) -> Step {
        let Sights { source, destination } = sights;
        let outgoing = source.outgoing();
        match (source.activity(), destination.activity()) {
            // What we did has to be taken back first, once it is open no more where the guest is.
            _ if outgoing == Outgoing::Foreign && self.has_left_traces(source) => {
                self.wait(Doubt::Foreign)
            }
            _ if outgoing == Outgoing::Foreign => self.fail_with(
                Reason::Host,
                "another migration moves the guest; it and the guest were left alone",
            ),
            (Some(Activity::PostCopyFailed), _) => self.settle_broken(sights),
            (Some(activity), _) if outgoing == Outgoing::Ours => {
                self.follow(activity == Activity::PostCopy)
            }
            (Some(Activity::PostCopy), _) => self.wait(Doubt::InTransit),
            (Some(Activity::InTransit), _) => self.settle_stranded(sights),
            (Some(Activity::Running | Activity::Paused), _) => self.settle_unmoved(sights),
            (Some(Activity::Off | Activity::OffMigrated | Activity::Ended) | None, there) => {
                match there {
                    Some(Activity::Running | Activity::Paused) => self.settle_away(sights),
                    Some(Activity::InTransit) => self.wait(Doubt::InTransit),
                    Some(Activity::PostCopy | Activity::PostCopyFailed) => {
                        self.bear(Doubt::PostCopyBroken, sights)
                    }
                    Some(Activity::Off | Activity::OffMigrated | Activity::Ended) | None => {
                        self.settle_idle(sights)
                    }
                }
            }
        }
    }

    /// Post-copy broke off. Either half is a part of the guest: none is resumed, none is ended, and
    /// both are brought together as soon as the destination can be asked. At first that is tried at
    /// once, then each time our patience ends.
    fn settle_broken(self, sights: Sights) -> Step {
        let job = Self { post_copy: true, ..self };
        let now = job.has_borne(Doubt::PostCopyBroken) || job.recoveries < MAX_RECOVERIES_AT_ONCE;
        if sights.destination.is_idle() {
            job.bear(Doubt::PostCopyBroken, sights)
        } else if sights.destination != Sight::Unreachable && now && job.recoveries < MAX_RECOVERIES
        {
            let recoveries = job.recoveries + 1;
            Self { recoveries, ..job }.to(Phase::Switching, &[Effect::RecoverPostCopy])
        } else {
            job.wait(Doubt::PostCopyBroken)
        }
    }

    /// The source runs the guest and no job moves it.
    fn settle_unmoved(self, sights: Sights) -> Step {
        match (sights.destination, sights.destination.activity()) {
            (Sight::Unreachable, _) => self.bear(Doubt::DestinationUnreachable, sights),
            // A move whose call was lost may be about to begin.
            (_, None | Some(Activity::Off | Activity::OffMigrated | Activity::Ended))
                if self.unclear =>
            {
                Self { unclear: false, ..self }.wait(Doubt::InTransit)
            }
            (_, None | Some(Activity::Off | Activity::OffMigrated | Activity::Ended)) => {
                self.settle_home(sights)
            }
            (_, Some(Activity::InTransit)) if self.has_borne(Doubt::HalfArrived) => {
                self.step(Deed::DestroyIncoming, Self::end_home)
            }
            // Its own libvirt ends it as soon as it notices.
            (_, Some(Activity::InTransit)) => self.wait(Doubt::HalfArrived),
            (
                _,
                Some(
                    Activity::Running
                    | Activity::Paused
                    | Activity::PostCopy
                    | Activity::PostCopyFailed,
                ),
            ) => self.bear(Doubt::RunsTwice, sights),
        }
    }

    /// The source holds the guest paused for a migration that no job carries on: its libvirt was
    /// restarted at the last step, and leaves it to us to see what became of the other side.
    fn settle_stranded(self, sights: Sights) -> Step {
        if sights.destination.is_active() {
            self.settle_away(sights)
        } else if sights.destination.is_idle() {
            self.step(Deed::ResumeSource, |job| {
                job.fail_with(
                    Reason::Host,
                    "the guest is paused at the source and can't be resumed",
                )
            })
        } else if sights.destination == Sight::Unreachable {
            self.wait(Doubt::DestinationUnreachable)
        } else {
            self.wait(Doubt::InTransit)
        }
    }

    /// A guest that ran runs nowhere.
    fn settle_idle(self, sights: Sights) -> Step {
        let Sights { source, destination } = sights;
        if destination == Sight::Unreachable {
            return self.wait(Doubt::DestinationUnreachable);
        }
        // That it left the source proves nothing: others migrate guests, too, and one without a
        // definition is gone when it stops. Nor does a definition that was there before.
        let arrived = self.arrived || !self.facts.destination_defined;
        if destination.is_only_defined() && arrived {
            return self.settle_away(sights);
        }
        if source == Sight::Absent && self.facts.persistent {
            return self.bear(Doubt::Vanished, sights);
        }
        if self.arrived && !self.facts.persistent {
            return self.to(Phase::Done, &[]);
        }
        if self.lacks_autostart(source) {
            return self.begin_step(Deed::AutostartSource);
        }
        let how = match source.activity() {
            Some(Activity::OffMigrated) => {
                "the guest left for another host, and was not seen to arrive at the destination"
            }
            _ => "the guest stopped",
        };
        let message = match &self.failure {
            Some(failure) => format!("{how}: {}", failure.message),
            None => how.to_owned(),
        };
        self.fail(Failure::new(Reason::GuestStopped, message))
    }

    /// A guest that is off: only its definition moves, and no job shows that it does. A source that
    /// is still defined may lose its definition at any moment to a move whose call was lost, so then
    /// nothing is taken from the destination.
    fn settle_offline(self, sights: Sights) -> Step {
        let Sights { source, destination } = sights;
        if source.is_active() && destination.is_active() {
            return self.bear(Doubt::RunsTwice, sights);
        }
        let reported = self.failure.is_some() && !self.unclear;
        let brought = self.arrived || (!reported && !self.facts.destination_defined);
        match destination {
            Sight::Unreachable if self.arrived || source == Sight::Absent => {
                self.wait(Doubt::DestinationUnreachable)
            }
            Sight::Unreachable => self.bear(Doubt::DestinationUnreachable, sights),
            Sight::Absent if source == Sight::Absent => self.bear(Doubt::Vanished, sights),
            Sight::Present(there) if there.persistent && source == Sight::Absent => {
                self.settle_away(sights)
            }
            Sight::Present(there) if there.persistent && brought && source.is_idle() => {
                self.settle_away(sights)
            }
            Sight::Absent | Sight::Present(_)
                if self.unclear && !self.has_borne(Doubt::InTransit) =>
            {
                self.wait(Doubt::InTransit)
            }
            Sight::Absent | Sight::Present(_) => self.settle_home(sights),
        }
    }

    /// A guest that is shut down here and started there. Without an abort or a failure it goes on
    /// from wherever it was.
    fn settle_restart(self, sights: Sights) -> Step {
        let Sights { source, destination } = sights;
        let was_off = self.was_off || (self.shut_down && source.is_idle());
        let job = Self { was_off, ..self };
        let back = job.abort || job.failure.is_some();
        if destination == Sight::Unreachable {
            // What was never started there does not run there.
            let comes_back = back && job.shut_down && !job.starting && job.may_start(source);
            return if source.is_idle() && comes_back {
                job.start_source()
            } else {
                job.bear(Doubt::DestinationUnreachable, sights)
            };
        }
        job.settle_restart_on(sights, back)
    }

    /// The same, with both hosts in sight.
    fn settle_restart_on(self, sights: Sights, back: bool) -> Step {
        let Sights { source, destination } = sights;
        if source.is_active() && destination.is_active() {
            return self.bear(Doubt::RunsTwice, sights);
        }
        // A restart asks libvirt for no migration: this one is somebody else's.
        if source.outgoing() != Outgoing::No {
            return self.wait(Doubt::Foreign);
        }
        let idle_or_active = |sight: Sight| sight.is_idle() || sight.is_active();
        if !idle_or_active(source) || !idle_or_active(destination) {
            return self.wait(Doubt::InTransit);
        }
        if destination.is_active() {
            // From now on its silence proves nothing.
            return Self { starting: true, ..self }.settle_away(sights);
        }
        if source.is_active() {
            return match destination {
                _ if back => self.settle_home(sights),
                _ if self.starting => self
                    .because(Reason::Host, "the guest was started at the source meanwhile")
                    .settle_home(sights),
                Sight::Present(_) => self.shut_down(),
                _ if self.shut_down => self
                    .because(Reason::Host, "the guest's definition vanished from the destination")
                    .settle_home(sights),
                _ => self.to(Phase::Defining, &[Effect::Do(Deed::DefineDestination)]),
            };
        }
        if self.arrived && destination.is_only_defined() {
            return self.settle_away(sights);
        }
        if !self.shut_down {
            return self
                .because(Reason::GuestStopped, "the guest stopped before it was asked to")
                .settle_home(sights);
        }
        // The destination may still be about to carry out a start whose report was lost. That is waited
        // for once, and not again before each attempt to start the guest here.
        if back && self.starting && self.unclear {
            if !self.has_borne(Doubt::InTransit) {
                return self.wait(Doubt::InTransit);
            }
            return Self { unclear: false, ..self }.settle_restart_on(sights, back);
        }
        match destination {
            Sight::Present(_) if !back && source.lets_start(self.facts) => self.start_destination(),
            // The event may be on its way.
            _ if source == Sight::Absent && self.may_be_told() => {
                Self { gone: self.gone + 1, ..self }.wait(Doubt::MayShutDown)
            }
            _ if !self.may_start(source) => self.left_off().settle_home(sights),
            _ => self
                .because(Reason::Host, "the guest's definition vanished from the destination")
                .start_source(),
        }
    }

    /// Whether a guest that is off at the source is off because we wanted it to be: nobody else has
    /// ended it, nor taken away its definition. Once it was started at the destination, or again at
    /// the source, a failed start is all that can have ended it.
    fn may_start(&self, source: Sight) -> bool {
        if !source.lets_start(self.facts) {
            return false;
        }
        if self.starting || self.returning {
            return true;
        }
        match source {
            Sight::Unreachable => false,
            // One without a definition leaves nothing that would say how it ended.
            Sight::Absent => !self.watched || (self.obeyed && !self.facts.persistent),
            Sight::Present(here) => matches!(here.activity, Activity::Off),
        }
    }

    /// Whether an event may still tell how a guest without a definition has ended.
    fn may_be_told(&self) -> bool {
        let asks = self.watched && !self.starting && !self.returning;
        asks && !self.facts.persistent && !self.obeyed && self.gone < MAX_LOOKS
    }

    /// Others have seen to it that the guest does not run.
    fn left_off(self) -> Self {
        let reason = Reason::GuestStopped;
        let message = match &self.failure {
            Some(failure) if failure.reason == reason => return self,
            Some(failure) => {
                format!(
                    "the guest was ended, and not by its own shutdown; first: {}",
                    failure.message
                )
            }
            None => "the guest was ended, and not by its own shutdown".to_owned(),
        };
        Self { failure: Some(Failure::new(reason, message)), ..self }
    }

    fn start_source(self) -> Step {
        Self { returning: true, ..self }.step(Deed::StartSource, |job| {
            job.fail_with(Reason::Host, "the guest was shut down and can't be started again")
        })
    }

    /// Sets the failure, unless there is one or the guest is to stay anyway.
    fn because(self, reason: Reason, message: &str) -> Self {
        let failure = match self.failure {
            None if !self.abort => Some(Failure::new(reason, message)),
            failure => failure,
        };
        Self { failure, ..self }
    }

    fn fail_with(self, reason: Reason, message: &str) -> Step {
        let message = match &self.failure {
            Some(failure) => format!("{message}; first: {}", failure.message),
            None => message.to_owned(),
        };
        self.fail(Failure::new(reason, message))
    }

    /// Follows a move that goes on, though not by a call of ours.
    fn follow(self, post_copy: bool) -> Step {
        let phase = if post_copy { Phase::Switching } else { Phase::Copying };
        let effects: &[Effect] = if self.is_giving_up() && !post_copy {
            &[Effect::AbortMove, Effect::Watch]
        } else {
            &[Effect::Watch]
        };
        Self { post_copy, ..self }.to(phase, effects)
    }

    /// A step of cleaning up, unless it is left as it is.
    fn step(self, deed: Deed, give_up: impl FnOnce(Self) -> Step) -> Step {
        if self.may_try(deed) { self.begin_step(deed) } else { give_up(self) }
    }

    fn begin_step(self, deed: Deed) -> Step {
        let step = Some(deed);
        let tries = if step == self.step { self.tries } else { 0 };
        Self { step, tries, steps: self.steps + 1, ..self }
            .to(Phase::CleaningUp, &[Effect::Do(deed)])
    }

    fn may_try(&self, deed: Deed) -> bool {
        self.steps < MAX_STEPS && !self.undone.contains(&deed)
    }

    fn wait(self, doubt: Doubt) -> Step {
        let impatient = self.has_borne(doubt);
        Self { doubt: Some(doubt), impatient, ..self }
            .to(Phase::Confirming, &[Effect::InspectLater])
    }

    /// A doubt; some can be lived with when they last.
    fn bear(self, doubt: Doubt, sights: Sights) -> Step {
        if !self.has_borne(doubt) {
            return self.wait(doubt);
        }
        match doubt {
            Doubt::DestinationUnreachable if self.is_certainly_home(sights) => {
                if self.lacks_autostart(sights.source) {
                    return self.begin_step(Deed::AutostartSource);
                }
                let note = "the destination host could not be asked whether anything is left there";
                self.noting(note).end_home()
            }
            Doubt::RunsTwice => self.fail_with(
                Reason::RunsTwice,
                "both hosts run the guest; nothing was changed: stop one of them by hand",
            ),
            Doubt::Vanished if sights.destination == Sight::Absent => {
                self.fail_with(Reason::Vanished, "neither host knows the guest any more")
            }
            Doubt::Vanished => self.fail_with(
                Reason::Vanished,
                "the source does not know the guest any more, and it was not seen to arrive at the \
                 destination, whose definition of it is an older one",
            ),
            Doubt::PostCopyBroken if sights.source.is_idle() => self.fail_with(
                Reason::PostCopyBroken,
                "the source stopped before all of the guest's memory had left it",
            ),
            Doubt::PostCopyBroken if sights.destination.is_idle() => self.fail_with(
                Reason::PostCopyBroken,
                "the destination has lost the guest before all of its memory had arrived; what is \
                 paused at the source is a part of it: end it, and start the guest anew",
            ),
            Doubt::SourceUnreachable
            | Doubt::DestinationUnreachable
            | Doubt::InTransit
            | Doubt::HalfArrived
            | Doubt::Foreign
            | Doubt::PostCopyBroken
            | Doubt::MayShutDown
            | Doubt::Overdue => self.wait(doubt),
        }
    }

    /// The destination can't be asked, but need not be: the source runs the guest without a job, or
    /// keeps the definition of one that was to be moved while off and was not.
    fn is_certainly_home(&self, sights: Sights) -> bool {
        match self.terms.migration_type {
            MigrationType::Offline => sights.source.presence().is_some_and(|here| here.persistent),
            // libvirt resumes the guest here also if only the answer of a destination that runs it was
            // lost. One that never stood still for the last pages was never let go; one that is paused
            // can't tell, for it would be so at the destination, too.
            MigrationType::Live | MigrationType::Resume => {
                let here = sights.source.presence();
                let runs = |here: Presence| here.activity == Activity::Running && !here.revived;
                !self.switched && here.is_some_and(runs)
            }
            MigrationType::Restart => {
                // A guest that may still shut down on our request must not be left alone.
                let settled = self.abort || self.failure.is_some() || !self.shut_down;
                let stays = sights.source.is_active() && sights.source.outgoing() == Outgoing::No;
                stays && !self.starting && settled
            }
        }
    }

    /// The guest is at the destination: puts in order what is left, one step at a time.
    fn settle_away(self, sights: Sights) -> Step {
        let job = Self { failure: None, ..self };
        let due = job.steps_away(sights);
        let next = due.into_iter().flatten().find(|deed| job.may_try(*deed));
        let paused = sights.destination.activity() == Some(Activity::Paused);
        match next {
            Some(deed) => job.begin_step(deed),
            None if job.held && paused => job.fail_with(
                Reason::Host,
                "the guest is paused at the destination and can't be resumed",
            ),
            None => job.to(Phase::Done, &[]),
        }
    }

    /// What is due at the destination and left at the source, the most urgent first.
    fn steps_away(&self, sights: Sights) -> [Option<Deed>; 7] {
        let there = sights.destination.presence();
        let here = sights.source.presence();
        let due = |is_due: bool, deed: Deed| is_due.then_some(deed);
        let away = |has: fn(Presence) -> bool| there.is_some_and(has);
        let left = |has: fn(Presence) -> bool| here.is_some_and(has);
        let persist = self.terms.persist.unwrap_or(self.facts.persistent);
        let persistent = away(|there| there.persistent);
        let stands = away(|there| there.activity == Activity::Paused);
        let made_by_us =
            self.terms.migration_type == MigrationType::Restart && !self.facts.destination_defined;
        let too_much = !persist && away(|there| there.persistent && there.is_active());
        let autostart = persist && self.facts.autostart && !away(|there| there.autostart);
        [
            due(left(|here| !here.is_off()), Deed::DestroySource),
            // Or the host's next start would run the guest a second time.
            due(left(|here| here.autostart), Deed::HoldSource),
            due(self.held && stands, Deed::ResumeDestination),
            due(persist && !persistent, Deed::PersistDestination),
            due(too_much && made_by_us, Deed::UndefineDestination),
            due(autostart && persistent, Deed::AutostartDestination),
            due(
                self.terms.undefine_source && persistent && left(Presence::is_off),
                Deed::UndefineSource,
            ),
        ]
    }

    /// The guest is at the source: removes what we brought to the destination, then ends.
    fn settle_home(self, sights: Sights) -> Step {
        let here = sights.source.presence();
        let paused = self.held && sights.source.activity() == Some(Activity::Paused);
        if paused && self.may_try(Deed::ResumeSource) {
            return self.begin_step(Deed::ResumeSource);
        }
        if self.lacks_autostart(sights.source) {
            return self.begin_step(Deed::AutostartSource);
        }
        let kept = here.is_some_and(|here| here.persistent) || !self.facts.persistent;
        let brought = !self.facts.destination_defined && sights.destination.is_only_defined();
        if brought && kept && self.may_try(Deed::UndefineDestination) {
            return self.begin_step(Deed::UndefineDestination);
        }
        let idle = sights.destination.is_idle();
        if self.has_copies() && idle && self.may_try(Deed::RemoveCopies) {
            // The guest has the originals, and nobody there has the copies.
            return Self { copies: Copies::Going, ..self }.begin_step(Deed::RemoveCopies);
        }
        if paused {
            return self
                .fail_with(Reason::Host, "the guest is paused at the source and can't be resumed");
        }
        self.end_home()
    }

    /// Whether the guest's own definition is to start with the source host again.
    fn lacks_autostart(&self, source: Sight) -> bool {
        let offline = self.terms.migration_type == MigrationType::Offline;
        let lacks = |here: Presence| {
            let is_here = offline || here.activity != Activity::OffMigrated;
            here.persistent && !here.autostart && is_here
        };
        self.facts.persistent
            && self.facts.autostart
            && source.presence().is_some_and(lacks)
            && self.may_try(Deed::AutostartSource)
    }

    /// Whether there is something to take back of what was done for the move.
    fn has_left_traces(&self, source: Sight) -> bool {
        self.held || self.has_copies() || self.lacks_autostart(source)
    }

    fn has_copies(&self) -> bool {
        self.facts.copies && self.copies != Copies::Gone
    }

    fn end_home(self) -> Step {
        if self.shut_down && !self.was_off && !self.watch_over {
            return Self { watched: true, ..self }.wait(Doubt::MayShutDown);
        }
        let late = "the guest shut down late and was started again";
        let revived = self.watched && self.returning;
        if self.abort {
            let job = if revived { self.noting(late) } else { self };
            return Self { failure: None, ..job }.to(Phase::Cancelled, &[]);
        }
        let failure = self.given_up.clone().or(self.failure.clone()).unwrap_or_else(|| {
            if self.arrived {
                Failure::new(
                    Reason::Host,
                    "the migration was reported as done, but the guest is at the source",
                )
            } else {
                Failure::new(
                    Reason::Interrupted,
                    "the migration was interrupted; the guest is at the source",
                )
            }
        });
        match revived {
            true => {
                self.fail(Failure { message: format!("{}; {late}", failure.message), ..failure })
            }
            false => self.fail(failure),
        }
    }
}
