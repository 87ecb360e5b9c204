//! The guests of one connection, in memory. Pure: it is told what is and says what changed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::{Domain, Lifecycle, SilentFacts};

/// A change of a guest, as the daemon learned of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainEvent {
    /// What happened.
    pub change: DomainChange,
    /// The guest before; `None` if it was not known.
    pub previous: Option<Arc<Domain>>,
    /// The guest as it was found after the change; `None` if it is gone. Events that come fast
    /// upon each other share one look at the guest.
    pub current: Option<Arc<Domain>>,
}

/// What happened to a guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DomainChange {
    /// libvirt told of a step in its life.
    Lifecycle {
        /// The step.
        change: Lifecycle,
        /// libvirt's detail, a number whose meaning depends on the step.
        detail: i32,
    },
    /// libvirt told of another change, in these words.
    Other(&'static str),
    /// It was found to be different when all guests were read again, as after a lost connection.
    Found,
}

/// What is known of all guests.
#[derive(Default)]
pub(super) struct Inventory {
    guests: BTreeMap<String, Arc<Domain>>,
    names: HashMap<String, String>,
    /// The guests as a list, until one of them changes.
    list: Option<Arc<[Arc<Domain>]>>,
    /// The UUIDs of those that were looked at since the silent facts were last asked for.
    seen: HashSet<String>,
}

impl Inventory {
    /// All guests, ordered by name.
    pub(super) fn list(&mut self) -> Arc<[Arc<Domain>]> {
        Arc::clone(self.list.get_or_insert_with(|| self.guests.values().cloned().collect()))
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Arc<Domain>> {
        self.guests.get(name)
    }

    pub(super) fn by_uuid(&self, uuid: &str) -> Option<&Arc<Domain>> {
        self.names.get(uuid).and_then(|name| self.guests.get(name))
    }

    /// Takes note of a guest as it is now: with `None`, that there is none with that UUID. The guest
    /// as it was before and as it is now come back.
    pub(super) fn update(
        &mut self,
        uuid: &str,
        now: Option<Domain>,
    ) -> (Option<Arc<Domain>>, Option<Arc<Domain>>) {
        let previous = self.by_uuid(uuid).cloned();
        match (&previous, now) {
            (Some(previous), Some(now)) if **previous == now => {
                self.seen.insert(uuid.to_owned());
                (Some(Arc::clone(previous)), Some(Arc::clone(previous)))
            }
            (_, Some(now)) => {
                self.remove(uuid);
                let now = Arc::new(now);
                self.insert(&now);
                (previous, Some(now))
            }
            (_, None) => {
                self.remove(uuid);
                (previous, None)
            }
        }
    }

    /// Takes note of all guests at once and says which differ from what was known.
    pub(super) fn replace(&mut self, now: Vec<Domain>) -> Vec<DomainEvent> {
        let before = std::mem::take(self);
        let uuids: HashSet<&str> = now.iter().map(|guest| guest.uuid.as_str()).collect();
        // Those that are gone come first: another guest may have the name of one of them.
        let gone = before.guests.values().filter(|guest| !uuids.contains(guest.uuid.as_str()));
        let gone = gone.map(|guest| DomainEvent {
            change: DomainChange::Found,
            previous: Some(Arc::clone(guest)),
            current: None,
        });
        let mut events: Vec<DomainEvent> = gone.collect();
        for guest in now {
            let previous = before.by_uuid(&guest.uuid).cloned();
            let current = match &previous {
                Some(previous) if **previous == guest => Arc::clone(previous),
                _ => Arc::new(guest),
            };
            if previous.as_ref() != Some(&current) {
                let current = Some(Arc::clone(&current));
                events.push(DomainEvent { change: DomainChange::Found, previous, current });
            }
            self.insert(&current);
        }
        events
    }

    /// The facts that no event tells are about to be asked for.
    pub(super) fn ask_silent(&mut self) {
        self.seen.clear();
    }

    /// Takes note of the facts that no event tells and says which guests differ. Of those that were looked
    /// at since they were asked for, newer ones are known.
    pub(super) fn set_silent(&mut self, facts: &SilentFacts) -> Vec<DomainEvent> {
        let mut events = Vec::new();
        for guest in self.guests.values_mut().filter(|guest| !self.seen.contains(&guest.uuid)) {
            let autostart = facts.autostart.contains(&guest.uuid);
            let managed_save = facts.managed_save.contains(&guest.uuid);
            if (guest.autostart, guest.managed_save) == (autostart, managed_save) {
                continue;
            }
            let previous = Arc::clone(guest);
            *guest = Arc::new(Domain { autostart, managed_save, ..Domain::clone(guest) });
            let current = Some(Arc::clone(guest));
            events.push(DomainEvent {
                change: DomainChange::Found,
                previous: Some(previous),
                current,
            });
        }
        if !events.is_empty() {
            self.list = None;
        }
        events
    }

    fn insert(&mut self, guest: &Arc<Domain>) {
        // Of two guests of one name the earlier one is gone already; its event is on its way.
        if let Some(other) = self.guests.insert(guest.name.clone(), Arc::clone(guest)) {
            self.names.remove(&other.uuid);
            self.seen.remove(&other.uuid);
        }
        self.names.insert(guest.uuid.clone(), guest.name.clone());
        self.seen.insert(guest.uuid.clone());
        self.list = None;
    }

    fn remove(&mut self, uuid: &str) {
        if let Some(name) = self.names.remove(uuid) {
            self.guests.remove(&name);
            self.seen.remove(uuid);
            self.list = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hypervisor::{DomainState, fake::FakeHypervisor};

    fn guest(name: &str, uuid: &str) -> Domain {
        FakeHypervisor::guest(name, uuid, DomainState::Running)
    }

    fn names(inventory: &mut Inventory) -> Vec<String> {
        inventory.list().iter().map(|guest| guest.name.clone()).collect()
    }

    #[test]
    fn the_first_look_and_a_look_without_change() {
        let mut inventory = Inventory::default();
        let guests = vec![guest("b", "2"), guest("a", "1")];
        assert_eq!(inventory.replace(guests.clone()).len(), 2);
        assert_eq!(names(&mut inventory), ["a", "b"]);
        let list = inventory.list();
        assert_eq!(inventory.replace(guests), []);
        assert_eq!(inventory.list(), list);
        assert_eq!(inventory.update("1", Some(guest("a", "1"))).0.unwrap().name, "a");
    }

    /// The names and UUIDs before and after of each event that a look at these guests gives.
    fn found(inventory: &mut Inventory, now: Vec<Domain>) -> Vec<[Option<String>; 2]> {
        let shown = |guest: Arc<Domain>| format!("{} {}", guest.name, guest.uuid);
        let events = inventory.replace(now).into_iter();
        events.map(|event| [event.previous, event.current].map(|it| it.map(shown))).collect()
    }

    #[test]
    fn a_look_after_changes_tells_each_of_them() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("a", "1"), guest("b", "2"), guest("c", "3")]);
        let mut paused = guest("b", "2");
        paused.state = DomainState::Paused;
        let told = found(&mut inventory, vec![guest("a", "1"), paused, guest("d", "4")]);
        let some = |guest: &str| Some(guest.to_owned());
        let expected = [[some("c 3"), None], [some("b 2"), some("b 2")], [None, some("d 4")]];
        assert_eq!(told, expected);
        assert_eq!(names(&mut inventory), ["a", "b", "d"]);
    }

    #[test]
    fn who_had_the_name_before_is_told_to_be_gone_before_who_has_it_now() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("web", "1")]);
        let told = found(&mut inventory, vec![guest("web", "2")]);
        let some = |guest: &str| Some(guest.to_owned());
        assert_eq!(told, [[some("web 1"), None], [None, some("web 2")]]);
        assert_eq!(inventory.by_name("web").unwrap().uuid, "2");
    }

    #[test]
    fn a_renamed_guest_has_one_name() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("old", "1")]);
        let (previous, _) = inventory.update("1", Some(guest("new", "1")));
        assert_eq!(previous.unwrap().name, "old");
        assert_eq!(names(&mut inventory), ["new"]);
        assert!(inventory.by_name("old").is_none());
    }

    #[test]
    fn a_name_taken_over_belongs_to_the_new_guest() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("web", "1")]);
        inventory.update("2", Some(guest("web", "2")));
        assert!(inventory.by_uuid("1").is_none());
        // The late event of the first one does no harm.
        assert_eq!(inventory.update("1", None), (None, None));
        assert_eq!(inventory.by_name("web").unwrap().uuid, "2");
    }

    #[test]
    fn silent_facts_are_taken_over() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("a", "1"), guest("b", "2")]);
        let facts = SilentFacts {
            autostart: ["2".to_owned()].into(),
            managed_save: ["2".to_owned()].into(),
        };
        inventory.ask_silent();
        assert_eq!(inventory.set_silent(&facts).len(), 1);
        assert_eq!(inventory.set_silent(&facts).len(), 0);
        let b = inventory.list()[1].clone();
        assert!(b.autostart && b.managed_save);
    }

    #[test]
    fn silent_facts_do_not_replace_newer_ones() {
        let mut inventory = Inventory::default();
        inventory.replace(vec![guest("a", "1"), guest("b", "2")]);
        inventory.ask_silent();
        let saved = Domain { managed_save: true, ..guest("a", "1") };
        inventory.update("1", Some(saved.clone()));
        let answer = SilentFacts { autostart: ["2".to_owned()].into(), ..SilentFacts::default() };
        let told = inventory.set_silent(&answer);
        assert_eq!(
            told.iter()
                .filter_map(|it| it.current.as_ref())
                .map(|it| it.name.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
        assert!(inventory.by_uuid("1").unwrap().managed_save);
        // A look that finds nothing new is one, too.
        inventory.ask_silent();
        inventory.update("1", Some(saved));
        assert_eq!(inventory.set_silent(&answer), []);
        // Asked again they are the newest.
        inventory.ask_silent();
        assert_eq!(inventory.set_silent(&answer).len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Gone(u8),
    }

    proptest! {
        /// Whatever happens, names and UUIDs stay a one-to-one map and the list shows it.
        #[test]
        fn names_and_uuids_agree(steps in proptest::collection::vec(
            prop_oneof![
                (0..5_u8, 0..5_u8).prop_map(|(name, uuid)| Step::Put(name, uuid)),
                (0..5_u8).prop_map(Step::Gone),
            ],
            0..40,
        )) {
            let mut inventory = Inventory::default();
            for step in steps {
                match step {
                    Step::Put(name, uuid) => {
                        let (name, uuid) = (name.to_string(), uuid.to_string());
                        inventory.update(&uuid, Some(guest(&name, &uuid)));
                        prop_assert_eq!(&inventory.by_name(&name).unwrap().uuid, &uuid);
                    }
                    Step::Gone(uuid) => {
                        inventory.update(&uuid.to_string(), None);
                    }
                }
                prop_assert_eq!(inventory.names.len(), inventory.guests.len());
                for guest in inventory.list().iter() {
                    prop_assert_eq!(inventory.by_uuid(&guest.uuid), Some(guest));
                    prop_assert_eq!(inventory.by_name(&guest.name), Some(guest));
                }
            }
        }
    }
}
