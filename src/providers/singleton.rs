//! Classes of which each hypervisor has exactly one instance.

use super::{Family, Host, Prefix};
use crate::{
    cim::{CimName, Instance, InstancePath},
    hypervisor::HostInfo,
    ops::{InstanceProvider, Outcome, ProviderError, Sink},
};

/// Serves the one instance that `make` makes.
pub(super) struct Singleton {
    host: Host,
    class: CimName,
    make: fn(Prefix, &HostInfo) -> Instance,
}

impl Singleton {
    pub(super) fn new(
        host: &Host,
        family: Family,
        make: fn(Prefix, &HostInfo) -> Instance,
    ) -> Self {
        Self { host: host.clone(), class: family.of(host.prefix), make }
    }

    async fn instance(&self) -> Result<Instance, ProviderError> {
        Ok((self.make)(self.host.prefix, &self.host.info().await?))
    }
}

impl InstanceProvider for Singleton {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move { sink.put(self.instance().await?).await })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(self.instance())
    }
}
