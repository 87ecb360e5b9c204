//! What `ops` asks of providers.
//!
//! Providers state facts: instances with the properties they know, links between them, what a method
//! does. Everything that is the same for all classes stands in `ops`: defaults and order of properties,
//! property lists, paths and namespaces, filters of association operations, types of parameters.

use tokio_util::sync::CancellationToken;

use super::{Arguments, Principal, ProviderError, Role};
use crate::{
    cim::{CimName, Instance, InstancePath, ObjectPath, Property, Value},
    sys::BoxFuture,
};

/// What a provider's answer to most questions is.
pub type Outcome<'a, T> = BoxFuture<'a, Result<T, ProviderError>>;

/// Takes what a provider finds, one by one.
pub trait Sink<T>: Send {
    /// Takes one item; waits while the reader is slow. An error ends the search.
    fn put(&mut self, item: T) -> Outcome<'_, ()>;
}

/// Serves the instances of one class, not those of its subclasses.
pub trait InstanceProvider: Send + Sync {
    /// The class it serves.
    fn class(&self) -> &CimName;

    /// Finds all instances. Those that are behind an unreachable hypervisor do not exist: such an
    /// error leaves an empty list, unless an instance was found before, for then it is incomplete.
    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()>;

    /// Finds the instance of that path. Its keys have the declared names and types; some may be
    /// missing. `ops` compares the answer's keys with all that are
    /// there, so only those that find it need a look.
    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance>;

    /// Makes an instance and returns it with its keys.
    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        Box::pin(async move { Err(unsupported(&instance.class, "created")) })
    }

    /// Changes these properties of an instance.
    fn modify(&self, path: InstancePath, _changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async move { Err(unsupported(&path.class, "modified")) })
    }

    /// Deletes an instance.
    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async move { Err(unsupported(&path.class, "deleted")) })
    }

    /// The methods it implements.
    fn methods(&self) -> &'static [MethodSpec] {
        &[]
    }

    /// Runs one of [`InstanceProvider::methods`].
    fn invoke(&self, call: MethodCall) -> Outcome<'_, MethodResult> {
        Box::pin(async move { Err(unavailable(call.object.class(), &call.method)) })
    }
}

/// Serves one association class.
pub trait AssociationProvider: Send + Sync {
    /// The association class.
    fn class(&self) -> &CimName;

    /// Its two ends. All associations are found from the first, so the one with fewer objects should
    /// stand there.
    fn ends(&self) -> &[End; 2];

    /// Finds each object that `source`, which exists, is associated with when it stands at the end
    /// `role`; none twice. An unreachable hypervisor is as for [`InstanceProvider::enumerate`], for all
    /// sources of one class together.
    fn links<'a>(
        &'a self,
        source: &'a Instance,
        role: &'a CimName,
        sink: &'a mut dyn Sink<Link>,
    ) -> Outcome<'a, ()>;

    /// Makes an association and returns it with its references.
    fn create(&self, association: Instance) -> Outcome<'_, Instance> {
        Box::pin(async move { Err(unsupported(&association.class, "created")) })
    }

    /// Changes these properties of an association.
    fn modify(&self, path: InstancePath, _changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async move { Err(unsupported(&path.class, "modified")) })
    }

    /// Deletes an association.
    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async move { Err(unsupported(&path.class, "deleted")) })
    }
}

/// An end of an association.
#[derive(Clone, Debug)]
pub struct End {
    /// The reference property.
    pub role: CimName,
    /// The classes whose instances may stand there.
    pub classes: Vec<CimName>,
}

/// An association found from one of its ends.
#[derive(Clone, Debug)]
pub struct Link {
    /// What stands at the other end.
    pub far: Far,
    /// What the association says beyond its two references.
    pub properties: Vec<(CimName, Value)>,
}

/// The object at the other end of a link.
#[derive(Clone, Debug)]
pub enum Far {
    /// Its path; its provider is asked if the instance is needed.
    Path(InstancePath),
    /// The instance, where the provider has it at hand anyway.
    Instance(Instance),
}

impl From<Instance> for Link {
    fn from(far: Instance) -> Self {
        Self { far: Far::Instance(far), properties: Vec::new() }
    }
}

/// A method that a provider implements.
#[derive(Clone, Copy, Debug)]
pub struct MethodSpec {
    /// Its name.
    pub name: &'static str,
    /// Who may call it.
    pub role: Role,
    /// The parameters a caller must pass.
    pub required: &'static [&'static str],
}

/// A method call whose parameters have their declared types.
#[derive(Clone, Debug)]
pub struct MethodCall {
    /// The method, as the class spells it.
    pub method: CimName,
    /// The class or the instance it is called on. That the instance exists has not been checked.
    pub object: ObjectPath,
    /// The input parameters.
    pub arguments: Arguments,
    /// Who calls.
    pub principal: Principal,
    /// Cancelled when the caller hangs up.
    pub cancelled: CancellationToken,
}

/// What a method returned.
#[derive(Clone, Debug)]
pub struct MethodResult {
    /// The return value.
    pub value: Value,
    /// The output parameters that are not NULL.
    pub out: Vec<(CimName, Value)>,
}

/// Instances of the class are not for clients to change, wherever they are.
pub(super) fn unsupported(class: &CimName, what: &str) -> ProviderError {
    ProviderError::NotSupported(format!("instances of {class} cannot be {what}"))
}

/// The class has the method, but nobody implements it.
pub(super) fn unavailable(class: &CimName, method: &CimName) -> ProviderError {
    ProviderError::MethodNotAvailable(format!("method {method} of {class} is not implemented"))
}
