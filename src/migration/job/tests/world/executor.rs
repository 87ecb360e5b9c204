//! What the executor does, and what goes wrong then.

use super::*;

impl World {
    pub(super) fn act(&mut self, effect: Effect) {
        self.log.push(format!("effect {effect:?}"));
        let moves = matches!(
            effect,
            Effect::StartMove | Effect::ShutDownGuest | Effect::Do(Deed::StartDestination)
        );
        assert!(!(moves && self.shown), "a job that was over moves the guest\n{}", self.report());
        match effect {
            Effect::RunGate => self.waiting = Some(Waiting::Gate),
            Effect::StopGate => self.waiting = None,
            Effect::Prepare => self.waiting = Some(Waiting::Preparation),
            Effect::StartMove => {
                let keeps = self.facts.autostart && !self.terms.undefine_source;
                if keeps && !self.source.cut {
                    self.source.autostart = false;
                }
                if self.begin_move() {
                    self.waiting = Some(Waiting::Move);
                } else {
                    self.tell(Event::MoveEnded(Ending::Failed(broke())));
                }
            }
            Effect::Watch => self.waiting = Some(Waiting::Move),
            Effect::RecoverPostCopy => {
                let broken = |host: &Host| {
                    matches!(host.active, Some(Activity::PostCopyFailed | Activity::PostCopy))
                };
                if broken(&self.source)
                    && broken(&self.destination)
                    && self.dice.roll(8) != 7
                    && !self.source.cut
                    && !self.destination.cut
                {
                    self.moving = Some(Stage::PostCopy);
                    self.source.active = Some(Activity::PostCopy);
                    self.destination.active = Some(Activity::PostCopy);
                    self.waiting = Some(Waiting::Move);
                } else {
                    self.tell(Event::MoveEnded(Ending::Failed(broke())));
                }
            }
            Effect::AbortMove => {
                if matches!(self.moving, Some(Stage::Copying)) && self.dice.roll(4) != 3 {
                    self.moving = None;
                    if self.terms.migration_type != MigrationType::Offline {
                        self.revive();
                        self.destination.active = None;
                    }
                }
            }
            Effect::PausePostCopy => {
                if self.moving == Some(Stage::PostCopy) && self.dice.roll(4) != 3 {
                    self.break_post_copy();
                }
            }
            Effect::SuspendSource => {
                let ours = self.moving.is_some() && self.source.executes();
                if ours && !self.source.cut && self.dice.roll(4) != 3 {
                    self.source.active = Some(Activity::Paused);
                    self.suspended = true;
                }
            }
            Effect::Inspect | Effect::InspectLater => self.waiting = Some(Waiting::Look),
            Effect::ShutDownGuest => {
                if self.source.cut {
                    self.tell(Event::Broke(broke()));
                } else {
                    self.shutting_down = self.source.executes();
                    self.waiting = Some(Waiting::Shutdown);
                }
            }
            Effect::Do(deed) => self.call(deed),
        }
    }

    /// A call that changes one host: it may fail, and it may fail after it has worked.
    pub(super) fn call(&mut self, deed: Deed) {
        if self.dice.roll(3) == 2 {
            // The world moves on between the decision and the deed.
            self.start_by_hand();
        }
        if !self.other_host_lets(deed) {
            self.tell(Event::Withheld);
            return;
        }
        if self.dice.roll(6) == 5 {
            self.tell(Event::Overdue);
            if self.dice.roll(3) == 2 {
                self.killed = true;
                self.tell_if_running(Event::Kill);
                // What was begun goes on without us.
                self.change(deed);
                return;
            }
        }
        let luck = self.dice.roll(8);
        if luck == 5 && deed == Deed::StartDestination && !self.destination.cut {
            self.starting_late = true;
            self.tell(Event::Lost(broke()));
            return;
        }
        let works = luck != 2 && self.broken != Some(deed) && self.change(deed);
        if luck == 4 {
            self.check_safe();
            self.crash();
        } else if works && luck != 3 {
            self.tell(Event::Did);
        } else if luck == 3 {
            self.tell(Event::Lost(broke()));
        } else {
            self.tell(Event::Broke(broke()));
        }
    }

    /// The look at the other host right before a deed.
    fn other_host_lets(&self, deed: Deed) -> bool {
        let (source, destination) =
            (self.source.sight(Outgoing::No), self.destination.sight(Outgoing::No));
        match deed {
            Deed::StartDestination => source.lets_start(self.facts),
            Deed::ResumeDestination => source.is_idle(),
            Deed::StartSource if !self.job.was_started_there() && self.destination.cut => true,
            Deed::StartSource | Deed::ResumeSource => destination.is_idle(),
            _ => true,
        }
    }

    pub(super) fn change(&mut self, deed: Deed) -> bool {
        let (source, destination) = (&mut self.source, &mut self.destination);
        let at_source = matches!(
            deed,
            Deed::ResumeSource
                | Deed::StartSource
                | Deed::DestroySource
                | Deed::UndefineSource
                | Deed::HoldSource
                | Deed::AutostartSource
        );
        if (at_source && source.cut) || (!at_source && destination.cut) {
            return false;
        }
        match deed {
            Deed::DefineDestination | Deed::PersistDestination => destination.defined = true,
            Deed::StartDestination => {
                if destination.active.is_some() || !destination.defined {
                    return false;
                }
                source.autostart = false;
                destination.active = Some(Activity::Running);
                self.arrived = true;
            }
            Deed::ResumeSource => {
                if !matches!(source.active, Some(Activity::InTransit | Activity::Paused)) {
                    return false;
                }
                self.suspended = false;
                source.active =
                    Some(if self.facts.paused { Activity::Paused } else { Activity::Running });
            }
            Deed::ResumeDestination => {
                if destination.active != Some(Activity::Paused) {
                    return false;
                }
                self.suspended = false;
                destination.active = Some(Activity::Running);
            }
            Deed::StartSource => {
                if source.active.is_some() {
                    return false;
                }
                source.autostart = self.facts.autostart;
                source.active = Some(Activity::Running);
                source.ended = false;
            }
            Deed::DestroySource => source.stop(),
            Deed::DestroyIncoming => {
                if destination.active == Some(Activity::InTransit) {
                    destination.stop();
                }
            }
            Deed::UndefineDestination => destination.defined = false,
            Deed::RemoveCopies => {
                // A guest that uses them is there, or on its way there.
                assert_eq!((self.moving, destination.active), (None, None), "copies are in use");
                destination.copies = false;
            }
            Deed::UndefineSource => {
                if source.active.is_some() {
                    return false;
                }
                source.defined = false;
                source.autostart = false;
            }
            Deed::AutostartDestination => destination.autostart = true,
            Deed::HoldSource => source.autostart = false,
            Deed::AutostartSource => source.autostart = source.defined,
        }
        true
    }

    /// Delivers what the executor waits for, if it is there.
    pub(super) fn deliver(&mut self) {
        match self.waiting {
            None => {}
            Some(Waiting::Gate) => {
                self.waiting = None;
                let event = match self.dice.roll(8) {
                    7 => Event::Broke(Failure::new(Reason::Refused, "no")),
                    _ => Event::GatePassed,
                };
                self.tell(event);
            }
            Some(Waiting::Preparation) => {
                self.waiting = None;
                let event = match self.dice.roll(8) {
                    7 => Event::Broke(broke()),
                    _ => Event::Prepared(self.facts),
                };
                self.tell(event);
            }
            Some(Waiting::Move) => self.deliver_move(),
            Some(Waiting::Shutdown) => {
                let off = self.source.active.is_none();
                // One that was started again after it obeyed does not do so twice.
                if off || !self.shutting_down || self.dice.roll(4) == 3 {
                    self.waiting = None;
                    let timeout = || Event::Broke(Failure::new(Reason::ShutdownTimeout, "late"));
                    self.tell(if off { Event::GuestOff } else { timeout() });
                }
            }
            Some(Waiting::Look) => {
                self.waiting = None;
                let outgoing = match (self.moving, self.foreign) {
                    (Some(_), _) => Outgoing::Ours,
                    (None, Some(Foreign::Copying)) => Outgoing::Foreign,
                    (None, _) => Outgoing::No,
                };
                let source = self.source.sight(outgoing);
                for _ in 0..self.dice.roll(3) {
                    self.tick();
                }
                let destination = self.destination.sight(Outgoing::No);
                self.tell(Event::Seen(Sights { source, destination }));
            }
        }
    }

    pub(super) fn deliver_move(&mut self) {
        match self.moving {
            Some(Stage::PostCopy) if !self.job.post_copy() && self.dice.roll(2) == 0 => {
                self.tell(Event::Switched { post_copy: true });
            }
            Some(Stage::Switching) if self.dice.roll(2) == 0 => {
                self.tell(Event::Switched { post_copy: false });
            }
            // The connection to the source breaks: the call ends, the move goes on.
            Some(_) if self.dice.roll(8) == 7 => {
                self.waiting = None;
                self.tell(Event::MoveEnded(Ending::Unclear(broke())));
            }
            Some(_) => self.tick(),
            None => {
                self.waiting = None;
                let there = self.destination.active == Some(self.own_state())
                    && self.source.active.is_none();
                let ending = match self.dice.roll(8) {
                    6 => Ending::Failed(broke()),
                    7 => Ending::Unclear(broke()),
                    _ if there => Ending::Arrived,
                    _ => Ending::Failed(broke()),
                };
                self.tell(Event::MoveEnded(ending));
            }
        }
    }
}
