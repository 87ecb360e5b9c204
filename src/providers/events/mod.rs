//! What happens on hosts, as indications: guests come, change and go, and so do migration jobs.
//!
//! ```text
//! hypervisor ──DomainEvent──▶ guests.rs ─┐
//! migration ──JobChange─────▶ jobs.rs ───┴──Event──▶ indications
//! ```
//!
//! One task follows each hypervisor, one all jobs. They wait for nobody but the task that matches, so no
//! listener holds up what they follow.

mod guests;
pub(super) mod jobs;
mod raise;

use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{Facts, Family, Host, Migrations, Prefix};
use crate::{
    cim::{CimName, Instance, InstancePath, Namespace},
    indications::{Delivery, Event, now},
    ops::{Registry, RegistryError, Space},
};

/// Tells of what happens on these hosts from now on.
pub fn follow_events(
    hosts: &[Host],
    migrations: &Migrations,
    delivery: &Delivery,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    for host in hosts {
        let changes = host.connection.changes();
        let follower = guests::Follower::new(host, delivery);
        tasks.spawn(follower.run(changes, stop.clone()));
    }
    if let Some(host) = hosts.first() {
        let changes = host.migrations.changes();
        let follower = jobs::Follower::new(hosts, migrations, delivery);
        tasks.spawn(follower.run(changes, stop.clone()));
    }
}

/// Registers the methods of indications.
///
/// # Errors
/// [`RegistryError`] if that was done before.
pub(super) fn register(registry: &mut Registry, host: &Host) -> Result<(), RegistryError> {
    raise::register(registry, host)
}

/// The next item; `None` at the end, which comes after all that happened before. What a slow follower lost
/// it can only say.
async fn next<T: Clone>(
    changes: &mut broadcast::Receiver<T>,
    stop: &CancellationToken,
    what: &'static str,
) -> Option<T> {
    loop {
        let received = match stop.run_until_cancelled(changes.recv()).await {
            Some(received) => received,
            None => match changes.try_recv() {
                Ok(change) => Ok(change),
                Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => Err(RecvError::Closed),
            },
        };
        match received {
            Ok(change) => return Some(change),
            Err(RecvError::Lagged(lost)) => warn!(what, lost, "no indications of some changes"),
            Err(RecvError::Closed) => return None,
        }
    }
}

/// What happened to an instance.
#[derive(Clone, Debug)]
enum Happening {
    Created(Instance),
    Modified { previous: Instance, current: Instance },
    Deleted(Instance),
}

/// The kinds of objects whose changes are told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Subject {
    Guest,
    Job,
}

impl Happening {
    /// The family of its indication.
    fn family(&self, subject: Subject) -> Family {
        match (subject, self) {
            (Subject::Guest, Self::Created(_)) => Family::ComputerSystemCreatedIndication,
            (Subject::Guest, Self::Modified { .. }) => Family::ComputerSystemModifiedIndication,
            (Subject::Guest, Self::Deleted(_)) => Family::ComputerSystemDeletedIndication,
            (Subject::Job, Self::Created(_)) => Family::ComputerSystemMigrationJobCreatedIndication,
            (Subject::Job, Self::Modified { .. }) => {
                Family::ComputerSystemMigrationJobModifiedIndication
            }
            (Subject::Job, Self::Deleted(_)) => Family::ComputerSystemMigrationJobDeletedIndication,
        }
    }

    /// The indication, with what libvirt-cim puts into it: its identifier is the guest's UUID.
    fn indication(
        self,
        subject: Subject,
        prefix: Prefix,
        keys: &'static [&'static str],
        (uuid, host): (&str, &str),
    ) -> Event {
        let namespace = Namespace::parse(Space::Virt.name()).expect("a namespace of ours");
        let facts = Facts::of(self.family(subject).of(prefix));
        let (facts, source) = match self {
            Self::Created(source) | Self::Deleted(source) => (facts, source),
            Self::Modified { previous, current } => {
                let changed = changed_properties(&previous, &current);
                let facts = facts.set_some("ChangedPropertyNames", changed);
                (facts.set("PreviousInstance", previous), current)
            }
        };
        let keys = keys.iter().copied().filter_map(|key| {
            let key = CimName::literal(key);
            let value = source.value(&key)?.as_str()?.to_owned();
            Some((key, value))
        });
        let path = InstancePath::new(source.class.clone(), keys).in_namespace(namespace.clone());
        let indication = facts
            .set("IndicationIdentifier", uuid)
            .set("IndicationTime", now())
            .set("SourceInstanceModelPath", path.to_string())
            .set("SourceInstanceHost", host)
            .set("SourceInstance", source)
            .done();
        Event { namespace, indication }
    }
}

/// The names of the properties whose values differ; `None` if all are alike.
fn changed_properties(previous: &Instance, current: &Instance) -> Option<Vec<String>> {
    let names = previous.properties.iter().chain(&current.properties).map(|it| &it.name);
    let mut changed: Vec<String> = Vec::new();
    for name in names.filter(|name| previous.value(name) != current.value(name)) {
        if !changed.iter().any(|known| known == name.as_str()) {
            changed.push(name.to_string());
        }
    }
    (!changed.is_empty()).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happened_before_the_end_is_still_told() {
        let (changes, mut followed) = broadcast::channel(2);
        let stop = CancellationToken::new();
        for change in 0..3 {
            changes.send(change).unwrap();
        }
        stop.cancel();
        for expected in [Some(1), Some(2), None] {
            assert_eq!(next(&mut followed, &stop, "numbers").await, expected);
        }
    }
}
