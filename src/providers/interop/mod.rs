//! The interop namespace: what the server says about itself, so that a client that knows nothing of it
//! finds its way (DSP0200 §5.5, DSP1033).
//!
//! Clients still look for the object manager of CIM 2.x (pywbem wants exactly one), so that is what
//! describes the server here, not its successor CIM_WBEMServer.

mod fixed;
mod manager;
mod profiles;
mod service;
mod statistics;
mod subscriptions;

use std::sync::Arc;

use super::Host;
use crate::{
    cim::{CimName, Instance, InstancePath, Value},
    indications::{Limits, Subscriptions},
    ops::{End, Registry, RegistryError, Space},
    repository::Repository,
};
use fixed::{Fixed, FixedAssociation};
use subscriptions::{Bindings, Kept};

/// What there is to say about the server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The host's fully qualified name.
    pub system: String,
    /// Whether users must say who they are.
    pub authenticates: bool,
    /// Whether they may do so with a client certificate.
    pub certificates: bool,
    /// The operation timeouts a client may ask for are 1 s to this.
    pub max_operation_timeout: u32,
}

/// Registers what the server says about itself and the hypervisors it serves.
///
/// # Errors
/// [`RegistryError`] if called twice.
pub fn register_server(
    registry: &mut Registry,
    server: &Server,
    hosts: &[Host],
) -> Result<(), RegistryError> {
    let manager = manager::object_manager(server);
    let namespaces = manager::namespaces(server);
    let mechanism = manager::mechanism(server);
    registry.associate(
        Space::Interop,
        Arc::new(FixedAssociation::star(
            CimName::literal("CIM_NamespaceInManager"),
            ["Antecedent", "Dependent"],
            &manager,
            &namespaces,
        )),
    )?;
    registry.associate(
        Space::Interop,
        Arc::new(FixedAssociation::star(
            CimName::literal("CIM_CommMechanismForManager"),
            ["Antecedent", "Dependent"],
            &manager,
            std::slice::from_ref(&mechanism),
        )),
    )?;
    let indications = service::keys(server);
    let hosted = manager::HostsServices::new(&manager, service::path(&indications), hosts);
    registry.associate(Space::Interop, Arc::new(hosted))?;
    let counts = Arc::new(statistics::Counts::new(Arc::clone(registry.statistics())));
    let of_manager = statistics::OfManager::new(&manager, Arc::clone(&counts));
    registry.serve(Space::Interop, counts)?;
    registry.associate(Space::Interop, Arc::new(of_manager))?;
    let serve = |registry: &mut Registry, instances| {
        registry.serve(Space::Interop, Arc::new(Fixed::new(instances)))
    };
    serve(registry, vec![manager])?;
    serve(registry, namespaces)?;
    serve(registry, vec![mechanism])?;
    profiles::register(registry, hosts, &indications)
}

/// Registers the server as the successors of CIM_ObjectManager and CIM_Namespace have it, if the schema
/// has these classes; the one inside the program has not.
///
/// # Errors
/// [`RegistryError`] if called twice.
pub fn register_wbem_server(
    registry: &mut Registry,
    server: &Server,
    repository: &Repository,
) -> Result<(), RegistryError> {
    for instances in [vec![manager::wbem_server(server)], manager::wbem_namespaces()] {
        if instances.iter().all(|it| repository.contains(&it.class)) {
            registry.serve(Space::Interop, Arc::new(Fixed::new(instances)))?;
        }
    }
    Ok(())
}

/// Registers what clients want to be told, and who tells them.
///
/// # Errors
/// [`RegistryError`] if called twice.
pub fn register_subscriptions(
    registry: &mut Registry,
    server: &Server,
    limits: &Limits,
    subscriptions: &Subscriptions,
) -> Result<(), RegistryError> {
    let service = service::Service::new(server, subscriptions);
    registry.serve(Space::Interop, Arc::new(service))?;
    let capabilities = service::capabilities(limits);
    let has = FixedAssociation::new(
        CimName::literal("CIM_ElementCapabilities"),
        ["ManagedElement", "Capabilities"],
        vec![(service::keys(server), capabilities.clone())],
    );
    registry.associate(Space::Interop, Arc::new(has.naming(service::SERVICE)))?;
    registry.serve(Space::Interop, Arc::new(Fixed::new(vec![capabilities])))?;
    let affects = service::Affects::new(server, subscriptions);
    registry.associate(Space::Interop, Arc::new(affects))?;
    for kept in Kept::all(subscriptions) {
        registry.serve(Space::Interop, Arc::new(kept))?;
    }
    registry.associate(Space::Interop, Arc::new(Bindings::new(subscriptions)))
}

/// An end of an association at which instances of these classes stand.
fn end(role: &'static str, classes: impl IntoIterator<Item = CimName>) -> End {
    End { role: CimName::literal(role), classes: classes.into_iter().collect() }
}

/// Whether a path names an instance: all keys that the path has are alike, strings in any case.
fn names(path: &InstancePath, instance: &Instance) -> bool {
    path.keys.iter().all(|key| {
        let is = key.name.as_ref().and_then(|name| instance.value(name)).and_then(Value::as_str);
        match (key.value.as_str(), is) {
            (Some(asked), Some(is)) => asked.eq_ignore_ascii_case(is),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests;
