//! What libvirt does by itself, and what goes wrong in it.

use super::*;

impl World {
    pub(super) fn begin_move(&mut self) -> bool {
        let ready = match self.terms.migration_type {
            MigrationType::Offline => self.source.active.is_none() && self.source.defined,
            _ => self.source.active.is_some(),
        };
        if self.source.cut
            || self.destination.cut
            || !ready
            || self.moving.is_some()
            || self.foreign.is_some()
            || self.destination.active.is_some()
        {
            return false;
        }
        self.moving = Some(Stage::Copying);
        self.destination.copies |= self.facts.copies;
        if self.terms.migration_type != MigrationType::Offline {
            self.destination.active = Some(Activity::InTransit);
            if self.terms.migration_type == MigrationType::Resume {
                self.source.active = Some(Activity::InTransit);
            }
        }
        true
    }

    pub(super) fn finish_move(&mut self) {
        self.arrived = true;
        self.moving = None;
        self.source.stop();
        self.source.migrated = true;
        if self.terms.migration_type == MigrationType::Offline {
            self.destination.defined = true;
        }
        if self.terms.undefine_source && self.destination.defined {
            self.source = Host { cut: self.source.cut, ..Host::default() };
        }
    }

    pub(super) fn own_state(&self) -> Activity {
        if self.facts.paused || self.suspended { Activity::Paused } else { Activity::Running }
    }

    /// One step of whatever libvirt does by itself.
    pub(super) fn tick(&mut self) {
        let fault = self.dice.roll(8);
        if self.shutting_down && fault != 1 {
            self.shut_down();
        }
        if self.starting_late && fault != 1 {
            self.start_late();
        }
        if self.foreign == Some(Foreign::Copying) && !self.shutting_down {
            self.go_on_foreign(fault);
        }
        let Some(stage) = self.moving else { return };
        self.log.push(format!("libvirt: {stage:?} fault {fault}"));
        if self.terms.migration_type == MigrationType::Offline {
            if fault == 2 {
                self.moving = None
            } else {
                self.finish_move()
            }
            return;
        }
        match (stage, fault) {
            (Stage::Copying, 2) => {
                // The guest goes on at the source; the destination's half dies.
                self.moving = None;
                self.revive();
                self.destination.active = None;
            }
            (Stage::Copying, 3) => {
                self.moving = None;
                self.revive();
                // The half is noticed later.
            }
            (Stage::Copying, 4) => {
                self.moving = None;
                self.stopped = true;
                self.source.stop();
                self.destination.active = None;
            }
            (Stage::Copying, 5)
                if self.terms.migration_type == MigrationType::Live
                    && self.own_state() == Activity::Running =>
            {
                self.moving = Some(Stage::PostCopy);
                self.source.active = Some(Activity::PostCopy);
                self.destination.active = Some(Activity::PostCopy);
            }
            (Stage::Copying, _) => {
                self.moving = Some(Stage::Switching);
                self.source.active = Some(Activity::InTransit);
            }
            (Stage::Switching, 2) => {
                self.moving = None;
                self.destination.active = None;
                self.revive();
            }
            (Stage::Switching, 3) => {
                // The source's libvirt is restarted: it leaves the guest paused.
                self.moving = None;
                self.destination.active = None;
            }
            (Stage::Switching, _) => {
                self.arrived = true;
                self.moving = Some(Stage::Finishing);
                self.destination.active = Some(self.own_state());
                if self.terms.persist.unwrap_or(self.facts.persistent) && fault != 6 {
                    self.destination.defined = true;
                }
            }
            (Stage::Finishing, 3) => self.moving = None,
            (Stage::Finishing, 4 | 5) => {
                // The destination's last answer is lost.
                self.moving = None;
                self.revive();
                self.doubled = true;
            }
            (Stage::Finishing, _) => self.finish_move(),
            (Stage::PostCopy, 2 | 3) => self.break_post_copy(),
            (Stage::PostCopy, _) => {
                self.destination.active = Some(Activity::Running);
                self.destination.defined |= self.terms.persist.unwrap_or(self.facts.persistent);
                self.finish_move();
            }
        }
        if self.moving.is_none() && self.dice.roll(2) == 0 {
            self.reap_half();
        }
    }

    /// The guest obeys. Of one without a definition only an event tells that, to whoever listens.
    pub(super) fn shut_down(&mut self) {
        self.shutting_down = false;
        if !self.source.executes() {
            return;
        }
        self.source.stop();
        if self.job.doubt() == Some(Doubt::MayShutDown) && !self.source.cut {
            self.tell(Event::GuestOff);
        } else {
            self.unseen = !self.source.defined;
        }
    }

    pub(super) fn break_post_copy(&mut self) {
        self.moving = None;
        self.source.active = Some(Activity::PostCopyFailed);
        // It may run on as long as it needs no page that is missing.
        self.destination.active = Some(match self.dice.roll(2) {
            0 => Activity::PostCopyFailed,
            _ => Activity::PostCopy,
        });
    }

    /// Somebody else begins to move the guest away. One without a definition leaves the same trace as one
    /// that shut down: that can't be told from a restart's own doing.
    pub(super) fn begin_foreign_move(&mut self) {
        let restart = self.terms.migration_type == MigrationType::Restart;
        if self.terms.migration_type == MigrationType::Offline {
            return;
        }
        let may = self.moving.is_none() && !self.shutting_down && !self.starting_late;
        let runs = self.source.executes() && self.destination.active.is_none();
        if may && runs && self.foreign.is_none() && (self.facts.persistent || !restart) {
            self.foreign = Some(Foreign::Copying);
            self.log.push("somebody else moves the guest".to_owned());
        }
    }

    fn go_on_foreign(&mut self, fault: u8) {
        if fault == 2 || !self.source.executes() {
            self.foreign = None;
            return;
        }
        self.foreign = Some(Foreign::Gone);
        self.source.stop();
        self.source.migrated = true;
        self.source.autostart = false;
        self.source.defined &= fault != 3;
        self.log.push("somebody else has moved the guest".to_owned());
    }

    /// libvirt lets the guest go on at the source, if it stood still there.
    pub(super) fn revive(&mut self) {
        self.source.revived = self.source.active == Some(Activity::InTransit);
        self.source.active = Some(self.own_state());
    }

    pub(super) fn start_late(&mut self) {
        self.starting_late = false;
        if self.destination.active.is_none() && self.destination.defined {
            self.destination.active = Some(Activity::Running);
            self.arrived = true;
        }
    }

    /// The destination's libvirt ends a guest that will never arrive.
    pub(super) fn reap_half(&mut self) {
        if self.moving.is_none() && self.destination.active == Some(Activity::InTransit) {
            self.destination.active = None;
        }
    }
}
