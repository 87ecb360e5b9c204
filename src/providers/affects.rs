//! ServiceAffectsElement: the migration service manages the guests. libvirt-cim does not say so, but
//! DSP1081 finds the service that way.

use super::{Family, Host, association::Association, migration_service::migration_service};
use crate::{
    cim::{CimName, Instance, Value},
    ops::{Far, Link, Outcome, Sink},
};

/// ElementEffects: Manages.
const MANAGES: u16 = 5;

pub(super) fn service_affects_element(host: &Host) -> Association {
    let ends: [(_, &[_]); 2] = [
        ("AffectingElement", &[Family::VirtualSystemMigrationService]),
        ("AffectedElement", &[Family::ComputerSystem]),
    ];
    Association::new(host, Family::ServiceAffectsElement, ends, find)
}

fn link(far: Instance) -> Link {
    let properties = vec![(CimName::literal("ElementEffects"), Value::from(vec![MANAGES]))];
    Link { far: Far::Instance(far), properties }
}

fn find<'a>(host: &'a Host, source: &'a Instance, sink: &'a mut dyn Sink<Link>) -> Outcome<'a, ()> {
    Box::pin(async move {
        let prefix = host.prefix;
        if Family::of_class(&source.class, prefix) == Some(Family::ComputerSystem) {
            return sink.put(link(migration_service(prefix, &host.info().await?))).await;
        }
        for guest in host.computer_systems().await? {
            sink.put(link(guest)).await?;
        }
        Ok(())
    })
}
