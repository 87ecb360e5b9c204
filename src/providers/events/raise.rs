//! RaiseIndication, which libvirt-cim's provider calls on itself. Here it is refused: what is told
//! happened, and nobody but the host can say so.

use std::sync::Arc;

use super::{Family, Host};
use crate::{
    cim::{CimName, Instance, InstancePath},
    ops::{
        InstanceProvider, MethodCall, MethodResult, MethodSpec, Outcome, ProviderError, Registry,
        RegistryError, Role, Sink, Space,
    },
};

const METHODS: &[MethodSpec] =
    &[MethodSpec { name: "RaiseIndication", role: Role::Operator, required: &[] }];

/// A class of indications, which have no instances to ask for.
struct Indications {
    class: CimName,
}

/// Registers the classes that have the method.
pub(super) fn register(registry: &mut Registry, host: &Host) -> Result<(), RegistryError> {
    for family in [
        Family::ComputerSystemMigrationJobCreatedIndication,
        Family::ComputerSystemMigrationJobModifiedIndication,
        Family::ComputerSystemMigrationJobDeletedIndication,
    ] {
        let class = family.of(host.prefix);
        registry.serve(Space::Virt, Arc::new(Indications { class }))?;
    }
    Ok(())
}

impl InstanceProvider for Indications {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, _sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    fn get<'a>(&'a self, _path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async { Err(ProviderError::no_instance()) })
    }

    fn methods(&self) -> &'static [MethodSpec] {
        METHODS
    }

    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        let text = format!(
            "{} is not for clients: indications tell what happened, and only the server says so",
            call.method
        );
        Box::pin(async move { Err(ProviderError::MethodNotAvailable(text)) })
    }
}
