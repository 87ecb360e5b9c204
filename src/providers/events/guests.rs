//! The lives of guests.

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{Happening, Host, Prefix, Subject, next};
use crate::{
    cim::{CimName, Instance},
    hypervisor::{Domain, DomainChange, DomainEvent},
    indications::Delivery,
    providers::computer_system::computer_system,
};

const KEYS: &[&str] = &["CreationClassName", "Name"];

/// Follows the guests of one hypervisor.
pub(super) struct Follower {
    host: Host,
    delivery: Delivery,
    /// The host's name, which is not to be had while it is away.
    name: String,
}

impl Follower {
    pub(super) fn new(host: &Host, delivery: &Delivery) -> Self {
        Self { host: host.clone(), delivery: delivery.clone(), name: String::new() }
    }

    pub(super) async fn run(
        mut self,
        mut changes: broadcast::Receiver<DomainEvent>,
        stop: CancellationToken,
    ) {
        while let Some(event) = next(&mut changes, &stop, "guests").await {
            if !self.delivery.is_wanted() {
                continue;
            }
            let Some(guest) = event.current.as_ref().or(event.previous.as_ref()).cloned() else {
                continue;
            };
            let job = self.host.migrations.job_of_guest(&guest.uuid);
            let migrating = job.is_some_and(|job| self.host.is_source_of(&job));
            let Some(happening) = happening(self.host.prefix, &event, migrating) else { continue };
            if let Ok(info) = self.host.info().await {
                self.name = info.hostname;
            }
            let about = (guest.uuid.as_str(), self.name.as_str());
            let event = happening.indication(Subject::Guest, self.host.prefix, KEYS, about);
            self.delivery.tell(event).await;
        }
    }
}

/// What an event means to who looks at guests. libvirt may tell several things at once: of those that
/// come together the first finds the guest as it was, and the others find no difference.
fn happening(prefix: Prefix, event: &DomainEvent, migrating: bool) -> Option<Happening> {
    let show = |guest: &Domain| computer_system(prefix, guest, migrating);
    match (&event.previous, &event.current) {
        (None, None) => None,
        (None, Some(current)) => Some(Happening::Created(show(current))),
        (Some(previous), None) => Some(Happening::Deleted(destroyed(show(previous)))),
        (Some(previous), Some(current)) => {
            let (previous, current) = (show(previous), show(current));
            // As in libvirt-cim each step of its life is told, and of all else what shows.
            let is_told = match event.change {
                DomainChange::Lifecycle { .. } => true,
                DomainChange::Other(_) | DomainChange::Found => previous != current,
            };
            is_told.then_some(Happening::Modified { previous, current })
        }
    }
}

/// A guest that is no more, as libvirt-cim shows it.
fn destroyed(mut guest: Instance) -> Instance {
    let mut set = |name, value: u16| guest.set(CimName::literal(name), value);
    // Other, which OtherEnabledState explains; Unknown; Completed; Unknown.
    set("EnabledState", 1);
    set("HealthState", 0);
    set("OperatingStatus", 8);
    set("RequestedState", 0);
    guest.set(CimName::literal("OtherEnabledState"), "Guest destroyed");
    // Completed, OK.
    guest.set(CimName::literal("OperationalStatus"), vec![17_u16, 2]);
    guest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        cim::Value,
        hypervisor::{DomainState, Lifecycle, fake::FakeHypervisor},
    };

    const STARTED: DomainChange = DomainChange::Lifecycle { change: Lifecycle::Started, detail: 0 };
    const OTHER: DomainChange = DomainChange::Other("metadata");

    #[track_caller]
    fn check(change: DomainChange, states: [Option<DomainState>; 2], expected: &str) {
        let [previous, current] =
            states.map(|state| state.map(|it| Arc::new(FakeHypervisor::guest("web", "u", it))));
        let event = DomainEvent { change, previous, current };
        let found = match happening(Prefix::Kvm, &event, false) {
            None => "nothing",
            Some(Happening::Created(_)) => "created",
            Some(Happening::Modified { .. }) => "modified",
            Some(Happening::Deleted(_)) => "deleted",
        };
        assert_eq!(found, expected, "{event:?}");
    }

    #[test]
    fn what_is_told_of_guests() {
        use DomainState::{Running, Shutoff};
        check(STARTED, [None, None], "nothing");
        check(STARTED, [None, Some(Running)], "created");
        check(DomainChange::Found, [None, Some(Running)], "created");
        check(STARTED, [Some(Shutoff), Some(Running)], "modified");
        check(STARTED, [Some(Running), Some(Running)], "modified");
        check(OTHER, [Some(Running), Some(Running)], "nothing");
        check(DomainChange::Found, [Some(Running), Some(Running)], "nothing");
        check(DomainChange::Found, [Some(Shutoff), Some(Running)], "modified");
        check(STARTED, [Some(Shutoff), None], "deleted");
    }

    #[test]
    fn a_guest_that_is_gone_looks_as_in_libvirt_cim() {
        let guest = FakeHypervisor::guest("web", "u", DomainState::Running);
        let gone = destroyed(computer_system(Prefix::Kvm, &guest, false));
        let value = |name| gone.value(&CimName::literal(name)).cloned();
        assert_eq!(value("EnabledState"), Some(Value::from(1_u16)));
        assert_eq!(value("OtherEnabledState"), Some(Value::from("Guest destroyed")));
        assert_eq!(value("OperationalStatus"), Some(Value::from(vec![17_u16, 2])));
        assert_eq!(value("Name"), Some(Value::from("web")));
    }
}
