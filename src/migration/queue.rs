//! Which jobs may go on, and what the others wait for. Pure: no clock, no tasks.
//!
//! A job runs if fewer than `outgoing` run, and fewer than `per_destination` to its destination. Among
//! those that may run, the next is chosen by priority (1 is the highest, 0 the default in the middle),
//! then by turns between the owners, then by age. Nobody starves: a job that others have overtaken
//! [`MAX_OVERTAKEN`] times comes first. A job whose destination is full holds up nobody else.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// How often younger jobs may overtake one that could have run.
const MAX_OVERTAKEN: u32 = 16;

/// The priority that 0 stands for.
const DEFAULT_PRIORITY: u16 = 1 << 15;

/// How many jobs there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Running at once.
    pub outgoing: usize,
    /// Running at once to one destination.
    pub per_destination: usize,
    /// Waiting.
    pub waiting: usize,
}

/// A job, as far as its turn depends on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its identity.
    pub id: String,
    /// The guest's UUID; no two jobs move the same guest.
    pub guest: String,
    /// Where it goes.
    pub destination: String,
    /// Who asked for it.
    pub owner: String,
    /// As the client gave it: the lower, the sooner; 0 is the default.
    pub priority: u16,
}

/// Why a job is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueueError {
    /// Enough jobs wait already.
    #[error("{limit} migrations are waiting already")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The guest has a job.
    #[error("the guest is being migrated already, by job {job}")]
    Migrating {
        /// The job.
        job: String,
    },
}

/// What a job waits for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Wait {
    /// This host sends as many guests as it may.
    Outgoing {
        /// How many.
        running: usize,
        /// How many it may.
        limit: usize,
    },
    /// The destination receives as many guests from us as it may.
    Destination {
        /// The destination.
        name: String,
        /// How many.
        running: usize,
        /// How many it may.
        limit: usize,
    },
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outgoing { running, limit } => {
                write!(f, "this host has {running} of {limit} outgoing migrations")
            }
            Self::Destination { name, running, limit } => {
                write!(f, "destination {name} has {running} of {limit} migrations from here")
            }
        }
    }
}

/// The jobs that wait and those that run.
#[derive(Clone, Debug)]
pub struct Queue {
    limits: Limits,
    /// By the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    running: Vec<Entry>,
    /// Those that will not run any more, but keep their guests.
    held: Vec<Entry>,
    /// When each owner was served last, counted in jobs.
    served: HashMap<String, u64>,
    next_number: u64,
    next_turn: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    entry: Entry,
    overtaken: u32,
}

impl Queue {
    /// A queue without jobs.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            running: Vec::new(),
            held: Vec::new(),
            served: HashMap::new(),
            next_number: 0,
            next_turn: 1,
        }
    }

    /// Changes the limits. Jobs that run go on, even if they are too many now.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes a job that waits from now on.
    ///
    /// # Errors
    /// [`QueueError`].
    pub fn push(&mut self, entry: Entry) -> Result<(), QueueError> {
        self.check_guest(&entry)?;
        // Those that may run at once do not wait.
        let free = match self.blocked(&entry) {
            None => self.limits.outgoing - self.running.len(),
            Some(_) => 0,
        };
        if self.waiting.len() >= self.limits.waiting + free {
            return Err(QueueError::Full { limit: self.limits.waiting });
        }
        self.restore(entry);
        Ok(())
    }

    /// Takes a job that waited before we were started, however many there are.
    pub fn restore(&mut self, entry: Entry) {
        self.waiting.insert(self.next_number, Waiting { entry, overtaken: 0 });
        self.next_number += 1;
    }

    /// Takes a job that runs already, however many there are.
    pub fn restore_running(&mut self, entry: Entry) {
        self.running.push(entry);
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        let waiting = self.waiting.values().map(|waiting| &waiting.entry);
        waiting.chain(&self.running).chain(&self.held)
    }

    fn check_guest(&self, entry: &Entry) -> Result<(), QueueError> {
        match self.all().find(|other| other.guest == entry.guest) {
            Some(other) => Err(QueueError::Migrating { job: other.id.clone() }),
            None => Ok(()),
        }
    }

    /// The next job that may run, which runs from now on.
    pub fn start_next(&mut self) -> Option<Entry> {
        let (&number, _) = self
            .waiting
            .iter()
            .filter(|(_, waiting)| self.blocked(&waiting.entry).is_none())
            .min_by_key(|(number, waiting)| self.rank(**number, waiting))?;
        let overtaken: Vec<u64> = self
            .waiting
            .range(..number)
            .filter(|(_, waiting)| self.blocked(&waiting.entry).is_none())
            .map(|(number, _)| *number)
            .collect();
        for older in overtaken {
            if let Some(waiting) = self.waiting.get_mut(&older) {
                waiting.overtaken += 1;
            }
        }
        let entry = self.waiting.remove(&number)?.entry;
        self.served.insert(entry.owner.clone(), self.next_turn);
        self.next_turn += 1;
        self.running.push(entry.clone());
        Some(entry)
    }

    /// The lowest goes first.
    fn rank(&self, number: u64, waiting: &Waiting) -> (bool, u16, u64, u64) {
        let Waiting { entry, overtaken } = waiting;
        if *overtaken >= MAX_OVERTAKEN {
            return (false, 0, 0, number);
        }
        let priority = if entry.priority == 0 { DEFAULT_PRIORITY } else { entry.priority };
        (true, priority, self.served.get(&entry.owner).copied().unwrap_or(0), number)
    }

    /// Changes the priority of a job that waits.
    pub fn set_priority(&mut self, id: &str, priority: u16) {
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.entry.id == id) {
            waiting.entry.priority = priority;
        }
    }

    /// A job that waits will not run any more, but no other may have its guest yet.
    pub fn hold(&mut self, id: &str) {
        let number = self.waiting.iter().find(|(_, waiting)| waiting.entry.id == id);
        if let Some(number) = number.map(|(number, _)| *number)
            && let Some(waiting) = self.waiting.remove(&number)
        {
            self.held.push(waiting.entry);
        }
    }

    /// Forgets a job that is over or was cancelled.
    pub fn remove(&mut self, id: &str) {
        self.waiting.retain(|_, waiting| waiting.entry.id != id);
        self.running.retain(|entry| entry.id != id);
        self.held.retain(|entry| entry.id != id);
        let mut served = std::mem::take(&mut self.served);
        served.retain(|owner, _| self.all().any(|entry| entry.owner == *owner));
        self.served = served;
    }

    /// What keeps a job from running; `None` if nothing does.
    fn blocked(&self, entry: &Entry) -> Option<Wait> {
        if self.running.len() >= self.limits.outgoing {
            let (running, limit) = (self.running.len(), self.limits.outgoing);
            return Some(Wait::Outgoing { running, limit });
        }
        let same = |other: &&Entry| other.destination.eq_ignore_ascii_case(&entry.destination);
        let running = self.running.iter().filter(same).count();
        let limit = self.limits.per_destination;
        (running >= limit).then(|| {
            let name = entry.destination.clone();
            Wait::Destination { name, running, limit }
        })
    }

    /// The jobs that wait, oldest first, and what each waits for; `None` for one that goes next.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, Option<Wait>)> {
        self.waiting
            .values()
            .map(|waiting| (waiting.entry.id.as_str(), self.blocked(&waiting.entry)))
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(outgoing: usize, per_destination: usize, waiting: usize) -> Limits {
        Limits { outgoing, per_destination, waiting }
    }

    fn entry(id: &str, destination: &str, owner: &str, priority: u16) -> Entry {
        Entry {
            id: id.to_owned(),
            guest: format!("guest of {id}"),
            destination: destination.to_owned(),
            owner: owner.to_owned(),
            priority,
        }
    }

    fn queue(limits: Limits, entries: Vec<Entry>) -> Queue {
        let mut queue = Queue::new(limits);
        for entry in entries {
            queue.push(entry).expect("room");
        }
        queue
    }

    fn start_all(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.start_next()).map(|entry| entry.id).collect()
    }

    /// Lets jobs run one at a time and tells their order.
    fn order(entries: Vec<Entry>) -> Vec<String> {
        let mut queue = queue(limits(1, 1, 100), entries);
        let mut order = Vec::new();
        while let Some(entry) = queue.start_next() {
            queue.remove(&entry.id);
            order.push(entry.id);
        }
        order
    }

    #[test]
    fn limits_hold() {
        let entries = vec![
            entry("1", "b", "x", 0),
            entry("2", "B", "x", 0),
            entry("3", "b", "x", 0),
            entry("4", "c", "x", 0),
            entry("5", "d", "x", 0),
        ];
        let mut queue = queue(limits(3, 2, 100), entries);
        assert_eq!(start_all(&mut queue), ["1", "2", "4"]);
        let waits: Vec<String> =
            queue.waiting().map(|(id, wait)| format!("{id}: {}", wait.expect("blocked"))).collect();
        assert_eq!(
            waits,
            [
                "3: this host has 3 of 3 outgoing migrations",
                "5: this host has 3 of 3 outgoing migrations",
            ]
        );
        queue.remove("4");
        assert_eq!(start_all(&mut queue), ["5"]);
        queue.remove("5");
        let waits: Vec<_> =
            queue.waiting().map(|(_, wait)| wait.expect("blocked").to_string()).collect();
        assert_eq!(waits, ["destination b has 2 of 2 migrations from here"]);
    }

    #[test]
    fn a_full_queue_says_so_at_once() {
        let mut queue = queue(limits(1, 1, 1), vec![entry("1", "b", "x", 0)]);
        assert_eq!(start_all(&mut queue), ["1"]);
        queue.push(entry("2", "b", "x", 0)).expect("one waits");
        assert_eq!(queue.push(entry("3", "b", "x", 0)), Err(QueueError::Full { limit: 1 }));
        queue.remove("2");
        assert_eq!(queue.push(entry("3", "b", "x", 0)), Ok(()));
        // Without a place to wait a job may still run.
        let mut none = Queue::new(limits(1, 1, 0));
        assert_eq!(none.push(entry("1", "b", "x", 0)), Ok(()));
        assert_eq!(start_all(&mut none), ["1"]);
        assert!(none.push(entry("2", "b", "x", 0)).is_err());
    }

    #[test]
    fn a_guest_has_one_job() {
        let mut queue = queue(limits(1, 1, 9), vec![entry("1", "b", "x", 0)]);
        let again = || Entry { guest: "guest of 1".to_owned(), ..entry("2", "c", "y", 0) };
        let refused = Err(QueueError::Migrating { job: "1".to_owned() });
        assert_eq!(queue.push(again()), refused);
        assert_eq!(start_all(&mut queue), ["1"]);
        assert_eq!(queue.push(again()), refused);
        queue.remove("1");
        assert_eq!(queue.push(again()), Ok(()));
    }

    #[test]
    fn a_job_that_is_held_keeps_its_guest_and_nothing_else() {
        let entries =
            vec![entry("1", "b", "x", 0), entry("2", "b", "x", 0), entry("3", "b", "x", 0)];
        let mut queue = queue(limits(1, 1, 3), entries);
        queue.hold("2");
        queue.hold("nobody");
        let again = Entry { guest: "guest of 2".to_owned(), ..entry("4", "c", "y", 0) };
        let refused = Err(QueueError::Migrating { job: "2".to_owned() });
        assert_eq!(queue.push(again.clone()), refused);
        assert_eq!(start_all(&mut queue), ["1"]);
        queue.remove("1");
        assert_eq!(start_all(&mut queue), ["3"]);
        queue.remove("2");
        assert_eq!(queue.push(again), Ok(()));
    }

    #[test]
    fn the_lower_priority_goes_first_and_zero_is_the_middle() {
        let entries = vec![
            entry("low", "b", "x", 40_000),
            entry("default", "b", "x", 0),
            entry("high", "b", "x", 1),
            entry("middle", "b", "x", 32_768),
            entry("second", "b", "x", 2),
        ];
        assert_eq!(order(entries), ["high", "second", "default", "middle", "low"]);
    }

    #[test]
    fn a_priority_changes_while_a_job_waits() {
        let mut queue = Queue::new(Limits { outgoing: 1, per_destination: 1, waiting: 9 });
        for id in ["first", "second", "third"] {
            queue.push(entry(id, "b", "x", 0)).expect("room");
        }
        queue.set_priority("third", 1);
        queue.set_priority("nobody", 2);
        let mut went = Vec::new();
        while let Some(next) = queue.start_next() {
            queue.remove(&next.id);
            went.push(next.id);
        }
        assert_eq!(went, ["third", "first", "second"]);
    }

    #[test]
    fn owners_take_turns() {
        let mut entries: Vec<Entry> =
            (0..4).map(|number| entry(&format!("a{number}"), "b", "a", 0)).collect();
        entries.push(entry("b0", "b", "b", 0));
        entries.push(entry("b1", "b", "b", 0));
        assert_eq!(order(entries), ["a0", "b0", "a1", "b1", "a2", "a3"]);
    }

    #[test]
    fn what_was_running_before_counts() {
        let mut queue = Queue::new(limits(2, 1, 9));
        queue.restore_running(entry("1", "b", "x", 0));
        queue.restore_running(entry("2", "b", "x", 0));
        queue.restore_running(entry("3", "b", "x", 0));
        queue.push(entry("4", "c", "x", 0)).expect("room");
        assert_eq!(start_all(&mut queue), [""; 0]);
        queue.remove("1");
        queue.remove("2");
        assert_eq!(start_all(&mut queue), ["4"]);
    }

    #[test]
    fn limits_can_change() {
        let mut queue =
            queue(limits(2, 2, 9), vec![entry("1", "b", "x", 0), entry("2", "b", "x", 0)]);
        assert_eq!(start_all(&mut queue).len(), 2);
        queue.set_limits(limits(1, 1, 9));
        queue.push(entry("3", "c", "x", 0)).expect("room");
        queue.remove("1");
        assert_eq!(start_all(&mut queue), [""; 0]);
        queue.set_limits(limits(2, 1, 9));
        assert_eq!(start_all(&mut queue), ["3"]);
    }

    #[derive(Clone, Debug)]
    enum Act {
        Push { destination: u8, owner: u8, priority: u16 },
        Start,
        End(usize),
    }

    fn any_act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..3u8, 0..3u8, prop::sample::select(vec![0u16, 1, 2, 60_000]))
                .prop_map(|(destination, owner, priority)| Act::Push { destination, owner, priority }),
            2 => Just(Act::Start),
            2 => any::<usize>().prop_map(Act::End),
        ]
    }

    proptest! {
        #[test]
        fn limits_hold_and_nothing_idles(
            acts in prop::collection::vec(any_act(), 0..200),
            outgoing in 1..4usize,
            per_destination in 1..3usize,
        ) {
            let limits = limits(outgoing, per_destination, 10);
            let mut queue = Queue::new(limits);
            let mut running: Vec<Entry> = Vec::new();
            let mut number = 0;
            for act in acts {
                match act {
                    Act::Push { destination, owner, priority } => {
                        number += 1;
                        let (destination, owner) = (format!("d{destination}"), format!("o{owner}"));
                        let _ = queue.push(entry(&number.to_string(), &destination, &owner, priority));
                    }
                    Act::Start => {
                        let free = queue.waiting().any(|(_, wait)| wait.is_none());
                        let started = queue.start_next();
                        prop_assert_eq!(started.is_some(), free);
                        running.extend(started);
                    }
                    Act::End(which) => {
                        if !running.is_empty() {
                            let ended = running.swap_remove(which % running.len());
                            queue.remove(&ended.id);
                        }
                    }
                }
                prop_assert_eq!(queue.running(), running.len());
                prop_assert!(running.len() <= outgoing);
                for entry in &running {
                    let same = running.iter().filter(|other| other.destination == entry.destination);
                    prop_assert!(same.count() <= per_destination);
                }
                prop_assert!(queue.waiting().count() <= limits.waiting + outgoing);
            }
        }

        #[test]
        fn nobody_waits_for_ever(priorities in prop::collection::vec(1..5u16, 100)) {
            let mut queue = queue(limits(1, 1, 1000), vec![entry("old", "b", "x", u16::MAX)]);
            let mut overtaken = 0;
            for (number, priority) in priorities.into_iter().enumerate() {
                queue.push(entry(&number.to_string(), "b", "y", priority)).expect("room");
                let next = queue.start_next().expect("one may run");
                queue.remove(&next.id);
                if next.id == "old" {
                    break;
                }
                overtaken += 1;
            }
            prop_assert_eq!(overtaken, MAX_OVERTAKEN);
        }
    }
}
