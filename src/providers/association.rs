//! Associations between the objects of one hypervisor.

use super::{Family, Host};
use crate::{
    cim::{CimName, Instance},
    ops::{AssociationProvider, End, Link, Outcome, Sink},
};

/// Finds what an object is associated with; which end it stands at shows in its class.
type Find = for<'a> fn(&'a Host, &'a Instance, &'a mut dyn Sink<Link>) -> Outcome<'a, ()>;

/// Serves the association whose links `find` finds.
pub(super) struct Association {
    host: Host,
    class: CimName,
    ends: [End; 2],
    find: Find,
}

impl Association {
    /// An association with two ends, each a role and the families of the objects that stand there.
    pub(super) fn new(
        host: &Host,
        family: Family,
        ends: [(&'static str, &[Family]); 2],
        find: Find,
    ) -> Self {
        let ends = ends.map(|(role, families)| End {
            role: CimName::literal(role),
            classes: families.iter().map(|family| family.of(host.prefix)).collect(),
        });
        Self { host: host.clone(), class: family.of(host.prefix), ends, find }
    }
}

impl AssociationProvider for Association {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        _role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        (self.find)(&self.host, source, sink)
    }
}
