//! A small model of two hosts that lie, break and vanish, and of an executor between them.

mod executor;
mod libvirt;

use std::collections::VecDeque;

use super::{broke, properties::check_legal, *};

/// What a host runs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Host {
    defined: bool,
    active: Option<Activity>,
    migrated: bool,
    /// Somebody has ended the guest.
    ended: bool,
    /// It has copies of the guest's disks.
    copies: bool,
    autostart: bool,
    /// It stood still for a migration and goes on since.
    revived: bool,
    cut: bool,
}

impl Host {
    fn sight(&self, outgoing: Outgoing) -> Sight {
        if self.cut {
            return Sight::Unreachable;
        }
        let activity = match self.active {
            Some(activity) => activity,
            None if !self.defined => return Sight::Absent,
            None if self.migrated => Activity::OffMigrated,
            None if self.ended => Activity::Ended,
            None => Activity::Off,
        };
        let (persistent, autostart, revived) = (self.defined, self.autostart, self.revived);
        Sight::Present(Presence { activity, persistent, autostart, outgoing, revived })
    }

    fn executes(&self) -> bool {
        matches!(self.active, Some(Activity::Running))
    }

    fn stop(&mut self) {
        self.active = None;
        self.revived = false;
    }
}

/// How far libvirt has moved the guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Copying,
    Switching,
    Finishing,
    PostCopy,
}

/// How far somebody else has moved the guest, to a host that we do not know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Foreign {
    Copying,
    Gone,
}

/// Something that the executor waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Waiting {
    Gate,
    Preparation,
    Move,
    Shutdown,
    Look,
}

/// Bytes that decide what goes wrong; zeros, and everything goes well, once they are used up.
struct Dice(VecDeque<u8>);

impl Dice {
    /// A number below `sides`; 0 when the bytes are used up.
    fn roll(&mut self, sides: u8) -> u8 {
        self.0.pop_front().unwrap_or(0) % sides
    }
}

/// What may fail for ever, except in a world without dice.
const BREAKABLE: [Deed; 11] = [
    Deed::ResumeSource,
    Deed::ResumeDestination,
    Deed::StartSource,
    Deed::DestroySource,
    Deed::DestroyIncoming,
    Deed::PersistDestination,
    Deed::UndefineDestination,
    Deed::UndefineSource,
    Deed::AutostartDestination,
    Deed::AutostartSource,
    Deed::HoldSource,
];

pub(super) struct World {
    terms: Terms,
    facts: Facts,
    source: Host,
    destination: Host,
    moving: Option<Stage>,
    foreign: Option<Foreign>,
    /// The guest was at the destination, or may have been.
    arrived: bool,
    /// The guest ended on its own accord, or by a fault; then it need not run at the end.
    stopped: bool,
    /// Asked to shut down, and has not yet.
    shutting_down: bool,
    /// Paused by the executor for the sake of the migration.
    suspended: bool,
    /// It has shut down late, while nobody could see that.
    unseen: bool,
    /// libvirt itself has resumed the guest at the source although the destination runs it.
    doubled: bool,
    /// A start at the destination whose report was lost and that is still to happen.
    starting_late: bool,
    /// What never works.
    broken: Option<Deed>,
    dice: Dice,
    job: Job,
    /// What the store has of it.
    stored: Job,
    /// The store takes nothing.
    full: bool,
    /// The job is not stored as it is.
    unstored: bool,
    /// Clients have seen it end.
    shown: bool,
    agenda: Agenda,
    waiting: Option<Waiting>,
    killed: bool,
    log: Vec<String>,
}

impl World {
    pub(super) fn new(terms: Terms, facts: Facts, dice: Vec<u8>) -> Self {
        let active = match terms.migration_type {
            MigrationType::Offline => None,
            _ if facts.paused => Some(Activity::Paused),
            _ => Some(Activity::Running),
        };
        let mut dice = Dice(dice.into());
        let broken = dice.roll(40).checked_sub(1);
        let broken = broken.and_then(|index| BREAKABLE.get(usize::from(index))).copied();
        Self {
            terms,
            facts,
            broken,
            source: Host {
                defined: facts.persistent,
                active,
                autostart: facts.autostart,
                ..Host::default()
            },
            destination: Host { defined: facts.destination_defined, ..Host::default() },
            moving: None,
            foreign: None,
            arrived: false,
            stopped: false,
            shutting_down: false,
            suspended: false,
            unseen: false,
            doubled: false,
            starting_late: false,
            dice,
            job: Job::new(terms),
            stored: Job::new(terms),
            full: false,
            unstored: false,
            shown: false,
            agenda: Agenda::default(),
            waiting: None,
            killed: false,
            log: Vec::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.log.push(format!("{event:?}"));
        let before = self.job.clone();
        match before.clone().on(event.clone()) {
            Ok((job, effects)) => {
                let stored = serde_json::to_string(&job).expect("a job can be stored");
                assert_eq!(serde_json::from_str::<Job>(&stored).expect("and read back"), job);
                check_legal(&job, &effects);
                if let Event::MoveEnded(_) = event {
                    self.agenda.clear();
                }
                self.job = job;
                self.agenda.extend(&effects);
                self.store(before);
                self.log.push(format!("  → {:?} {effects:?}", self.job.phase()));
            }
            Err(refusal @ Refusal::Unexpected { .. }) => panic!("{refusal}\n{}", self.report()),
            Err(_) => {
                let expected = matches!(event, Event::Abort | Event::Kill)
                    || self.job.phase() == Phase::Cancelled;
                assert!(expected, "{event:?} refused\n{}", self.report());
            }
        }
        self.check_safe();
    }

    /// Stores the job as its worker does: one that has changed nothing fails if that does not work.
    fn store(&mut self, before: Job) {
        self.unstored = self.full;
        if !self.full {
            self.stored = self.job.clone();
        } else if !self.job.phase().is_over()
            && !before.phase().touches_hosts()
            && let Ok((failed, _)) = before.on(Event::Broke(broke()))
        {
            self.job = failed;
        }
        let hidden = self.unstored && self.stored.may_move_guest();
        self.shown |= self.job.phase().is_over() && !hidden;
    }

    fn is_settled(&self) -> bool {
        self.job.phase().is_over() && !self.unstored
    }

    /// The store has room again.
    fn make_room(&mut self) {
        self.full = false;
        if self.unstored {
            self.unstored = false;
            self.stored = self.job.clone();
            self.shown |= self.job.phase().is_over();
        }
    }

    fn report(&self) -> String {
        format!(
            "{:?} {:?}\nsource {:?}\ndestination {:?}\n{:?}\n{}",
            self.terms,
            self.facts,
            self.source,
            self.destination,
            self.moving,
            self.log.join("\n")
        )
    }

    fn check_safe(&self) {
        assert!(
            self.doubled || !(self.source.executes() && self.destination.executes()),
            "two running guests\n{}",
            self.report()
        );
        let either = self.source.executes() || self.destination.executes();
        let gone = self.foreign == Some(Foreign::Gone);
        assert!(!(gone && either), "a guest that others moved runs here, too\n{}", self.report());
        assert!(
            !self.facts.persistent
                || self.source.defined
                || self.destination.defined
                || self.foreign == Some(Foreign::Gone),
            "no definition left\n{}",
            self.report()
        );
    }

    /// The daemon dies and comes back: what was under way, and what was not stored, is forgotten.
    fn crash(&mut self) {
        self.log.push("crash".to_owned());
        self.agenda.clear();
        self.waiting = None;
        self.job = self.stored.clone();
        self.unstored = false;
        if !self.job.phase().is_over() {
            self.tell(Event::Adopted);
            if self.job.phase() == Phase::Queued {
                self.tell(Event::Admitted);
            }
        }
    }

    fn step(&mut self) {
        if self.job.phase().is_over() {
            match self.dice.roll(4) {
                1 => self.crash(),
                2 => self.make_room(),
                _ => {}
            }
            return;
        }
        if self.unstored {
            // The world does not wait for our store.
            match self.dice.roll(8) {
                1 => self.make_room(),
                2 => self.start_by_hand(),
                _ => {}
            }
        }
        match self.dice.roll(20) {
            1 | 2 => self.tick(),
            3 => self.crash(),
            4 => self.source.cut = !self.source.cut,
            5 | 6 => self.destination.cut = !self.destination.cut,
            7 => self.tell_if_running(Event::Abort),
            14 => self.restart_source_host(),
            8 if self.dice.roll(4) == 0 => {
                self.killed = true;
                self.tell_if_running(Event::Kill);
            }
            9 => self.reap_half(),
            12 if self.moves() => self.tell(Event::Hold),
            13 if self.moves() || self.job.post_copy() && self.waiting == Some(Waiting::Move) => {
                self.tell(Event::GiveUp(Failure::new(Reason::TimedOut, "late")));
            }
            10 if self.has_patience() => self.lose_patience(),
            11 if self.moving.is_none() && self.dice.roll(4) == 0 => self.stop_guest(),
            15 => self.begin_foreign_move(),
            16 if self.full => self.make_room(),
            16 => self.full = true,
            17 => self.start_by_hand(),
            18 => self.tell(Event::Overdue),
            _ => self.go_on(),
        }
        self.check_safe();
    }

    /// The next effect, as the worker chooses it, or what was waited for.
    fn go_on(&mut self) {
        if !self.unstored && self.agenda.take_late() && self.waiting != Some(Waiting::Move) {
            self.agenda.clear();
            self.tell(Event::Adopted);
            return;
        }
        match self.agenda.next(!self.unstored) {
            Some(effect) => self.act(effect),
            None => self.deliver(),
        }
    }

    fn moves(&self) -> bool {
        let running = self.terms.migration_type.moves_memory() && self.source.executes();
        running && self.waiting == Some(Waiting::Move)
    }

    /// The source host, and our daemon with it, starts anew, and with it the guests that start with it.
    fn restart_source_host(&mut self) {
        let (source, destination) = (&mut self.source, &mut self.destination);
        let half = matches!(self.moving, Some(Stage::Finishing | Stage::PostCopy))
            || matches!(source.active, Some(Activity::PostCopy | Activity::PostCopyFailed));
        // A definition that is to be removed right after the arrival is not held before: should this host
        // fail on the way, the guest is to start with it again.
        let leaving = destination.active.is_some_and(|it| it != Activity::InTransit);
        if self.dice.roll(4) != 1 || half || (leaving && self.terms.undefine_source) {
            return;
        }
        self.log.push("the source host starts anew".to_owned());
        (self.moving, self.shutting_down) = (None, false);
        self.foreign = self.foreign.filter(|foreign| *foreign == Foreign::Gone);
        if source.active.is_some() {
            self.stopped |= destination.active.is_none_or(|it| it == Activity::InTransit);
            self.doubled = false;
            source.stop();
        }
        if source.defined && source.autostart {
            source.active = Some(Activity::Running);
            self.log.push("the guest starts with it".to_owned());
        }
        self.check_safe();
        self.crash();
    }

    /// Somebody sees that the guest runs nowhere, and starts it.
    fn start_by_hand(&mut self) {
        let idle = self.source.active.is_none() && self.destination.active.is_none();
        let moved = self.moving.is_some() || self.foreign.is_some();
        if !idle || moved || self.starting_late || self.stopped {
            return;
        }
        // What we were not to start at the destination is taken to be off there while it is silent; and
        // one to be moved while off is not looked for.
        let there = match self.terms.migration_type {
            MigrationType::Restart => self.job.was_started_there(),
            MigrationType::Live | MigrationType::Resume => true,
            MigrationType::Offline => false,
        };
        let there = there && self.dice.roll(2) == 1;
        let host = if there { &mut self.destination } else { &mut self.source };
        if host.defined {
            host.active = Some(Activity::Running);
            host.migrated = false;
            self.arrived |= there;
            self.log.push("somebody starts the guest".to_owned());
        }
    }

    /// Whether a clock runs: a host that is overdue is waited for as long as it takes.
    fn has_patience(&self) -> bool {
        self.job.doubt().is_some_and(|doubt| doubt != Doubt::Overdue)
    }

    /// By then libvirt has finished what no job shows.
    fn lose_patience(&mut self) {
        while self.terms.migration_type == MigrationType::Offline && self.moving.is_some() {
            self.tick();
        }
        if self.starting_late {
            self.start_late();
        }
        if self.job.doubt() == Some(Doubt::MayShutDown) && self.shutting_down {
            self.shutting_down = false;
            if self.dice.roll(2) == 0 {
                self.shut_down();
            }
        }
        self.waiting = None;
        self.tell(Event::PatienceOver);
    }

    fn tell_if_running(&mut self, event: Event) {
        if !self.job.phase().is_over() {
            self.tell(event);
        }
    }

    /// The guest ends on its own accord.
    fn stop_guest(&mut self) {
        let ended = self.dice.roll(2) == 1;
        for host in [&mut self.source, &mut self.destination] {
            if host.executes() {
                host.stop();
                host.ended = ended;
                self.stopped = true;
                self.log.push("the guest stops".to_owned());
            }
        }
    }

    /// Random faults while the bytes last; then everything works and the job must end.
    pub(super) fn run(mut self) {
        self.tell(Event::Admitted);
        while !self.dice.0.is_empty() && !self.is_settled() {
            self.step();
        }
        self.make_room();
        self.source.cut = false;
        self.destination.cut = false;
        // A step that never works is tried ten times, which may be each time that patience is over.
        for round in 0..1500 {
            if self.job.phase().is_over() {
                break;
            }
            if round % 50 == 49 {
                self.reap_half();
                if self.has_patience() {
                    self.lose_patience();
                }
            }
            self.go_on();
            self.tick();
            self.check_safe();
        }
        assert!(self.job.phase().is_over(), "the job does not end\n{}", self.report());
        self.check_end();
    }

    fn check_end(&self) {
        let report = || self.report();
        let (source, destination) = (&self.source, &self.destination);
        let reason = self.job.failure().map(|failure| failure.reason);
        let tidy = self.job.note().is_none();
        if reason == Some(Reason::Unresolved) {
            assert!(self.killed, "unresolved without being killed\n{}", report());
            return;
        }
        if self.doubled && !self.stopped {
            assert_eq!(reason, Some(Reason::RunsTwice), "a doubled guest is hidden\n{}", report());
            return;
        }
        if self.foreign == Some(Foreign::Gone) && !self.stopped {
            assert!(destination.active.is_none() && source.active.is_none(), "{}", report());
            assert_ne!(self.job.phase(), Phase::Done, "others moved it\n{}", report());
            let touched =
                destination.autostart || destination.defined != self.facts.destination_defined;
            let ours = self.terms.migration_type == MigrationType::Restart && !source.defined;
            assert!(!touched || ours || !tidy, "the destination was changed\n{}", report());
            return;
        }
        if self.job.phase() == Phase::Done {
            assert!(self.arrived, "done, but the guest never was there\n{}", report());
            let persist = self.terms.persist.unwrap_or(self.facts.persistent);
            let works = |deed| self.broken != Some(deed);
            assert!(tidy || self.broken.is_some(), "untidy for no reason\n{}", report());
            let ghost = source.active.is_some() && works(Deed::DestroySource);
            assert!(!ghost, "done, but active at the source\n{}", report());
            let copied = destination.copies || !self.facts.copies || self.stopped;
            assert!(copied, "done, and the disks are gone\n{}", report());
            let offline = self.terms.migration_type == MigrationType::Offline;
            let own = destination.active == Some(self.own_state()) && !self.suspended;
            let runs = own || offline || self.stopped;
            assert!(runs, "done, but not at the destination\n{}", report());
            // One that stopped there before it got a definition is gone; and of one that has none at the
            // source either nobody takes away the last.
            let gone = self.stopped && !destination.defined;
            let last = self.stopped && !source.defined;
            let there = persist || self.facts.destination_defined;
            let by_us = works(Deed::PersistDestination) && works(Deed::UndefineDestination);
            let right = gone || last || destination.defined == there;
            assert!(right || !by_us, "{}", report());
            let kept = !self.terms.undefine_source && self.facts.persistent;
            // A transient guest at the destination can't replace a definition.
            let irreplaceable = self.facts.persistent && !destination.defined;
            let removed = works(Deed::UndefineSource) && works(Deed::DestroySource);
            assert!(!removed || source.defined == (kept || irreplaceable), "{}", report());
            let held = works(Deed::HoldSource) && source.defined;
            assert!(!(held && source.autostart), "it may start twice\n{}", report());
            return;
        }
        assert!(
            matches!(self.job.phase(), Phase::Failed | Phase::Cancelled),
            "not over\n{}",
            report()
        );
        if self.stopped || matches!(reason, Some(Reason::Vanished | Reason::PostCopyBroken)) {
            return;
        }
        let stands = destination.active == Some(Activity::Paused) && self.suspended;
        if stands && self.broken == Some(Deed::ResumeDestination) {
            assert_eq!(reason, Some(Reason::Host), "{}", report());
            return;
        }
        // A half-arrived guest that could not be looked at is ended by its own libvirt.
        let half = !tidy && destination.active == Some(Activity::InTransit);
        assert!(
            destination.active.is_none() || half,
            "failed, but active at the destination\n{}",
            report()
        );
        let off = self.terms.migration_type == MigrationType::Offline;
        assert!(!self.shutting_down, "over, but the guest may shut down\n{}", report());
        let home =
            (source.active == Some(self.own_state()) && !self.suspended) || off || self.unseen;
        assert!(home || !tidy, "failed, but not at the source\n{}", report());
        assert_eq!(source.defined, self.facts.persistent, "{}", report());
        if tidy {
            assert_eq!(source.autostart, self.facts.autostart, "{}", report());
            assert_eq!(destination.defined, self.facts.destination_defined, "{}", report());
            assert!(!destination.copies, "failed, and copies are left\n{}", report());
        }
    }
}
