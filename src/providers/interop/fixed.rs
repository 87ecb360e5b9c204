//! Instances and associations that are known at start and never change.

use super::{end, names, service};
use crate::{
    cim::{CimName, Instance, InstancePath},
    ops::{AssociationProvider, End, Far, InstanceProvider, Link, Outcome, ProviderError, Sink},
};

/// Serves a list of instances of one class, which is not empty.
pub(super) struct Fixed {
    class: CimName,
    instances: Vec<Instance>,
}

impl Fixed {
    pub(super) fn new(instances: Vec<Instance>) -> Self {
        let class = instances.first().expect("a class with fixed instances has one").class.clone();
        Self { class, instances }
    }
}

impl InstanceProvider for Fixed {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for instance in &self.instances {
                sink.put(instance.clone()).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        // The one that comes nearest, so that the error names the first key that is wrong.
        let found = self.instances.iter().find(|instance| names(path, instance));
        let found = found.or(self.instances.first()).cloned();
        Box::pin(async move { found.ok_or_else(ProviderError::no_instance) })
    }
}

/// Links between instances that never change.
pub(super) struct FixedAssociation {
    class: CimName,
    ends: [End; 2],
    links: Vec<(Instance, Instance)>,
    /// The class of which only the keys are known here.
    named: Option<CimName>,
}

impl FixedAssociation {
    /// One instance linked with many.
    pub(super) fn star(
        class: CimName,
        roles: [&'static str; 2],
        one: &Instance,
        many: &[Instance],
    ) -> Self {
        Self::new(class, roles, many.iter().map(|it| (one.clone(), it.clone())).collect())
    }

    /// These links, found from the first end.
    pub(super) fn new(
        class: CimName,
        roles: [&'static str; 2],
        links: Vec<(Instance, Instance)>,
    ) -> Self {
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (one, other) in &links {
            for (classes, instance) in [(&mut first, one), (&mut second, other)] {
                if !classes.contains(&instance.class) {
                    classes.push(instance.class.clone());
                }
            }
        }
        Self { class, ends: [end(roles[0], first), end(roles[1], second)], links, named: None }
    }

    /// Of `class` the links have the keys alone; its provider knows the rest.
    pub(super) fn naming(self, class: CimName) -> Self {
        Self { named: Some(class), ..self }
    }
}

impl AssociationProvider for FixedAssociation {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn ends(&self) -> &[End; 2] {
        &self.ends
    }

    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()> {
        Box::pin(async move {
            for (first, second) in &self.links {
                let (near, far) =
                    if *role == self.ends[0].role { (first, second) } else { (second, first) };
                if !same(near, source) {
                    continue;
                }
                if self.named.as_ref() == Some(&far.class) {
                    let far = Far::Path(service::path(far));
                    sink.put(Link { far, properties: Vec::new() }).await?;
                } else {
                    sink.put(far.clone().into()).await?;
                }
            }
            Ok(())
        })
    }
}

/// Whether both are the same object. The source comes from its provider: a copy of what is here.
fn same(ours: &Instance, source: &Instance) -> bool {
    ours.class == source.class
        && ours.properties.iter().all(|it| source.value(&it.name) == it.value.as_ref())
}
