//! Which provider serves which class, and where.

use std::sync::Arc;

use super::{
    AssociationProvider, InstanceProvider, Outcome, Space,
    statistics::{Statistics, Timed},
};
use crate::cim::{CimName, Instance, InstancePath, Property};

/// All providers, in the order in which lists name their objects. Filled at start, immutable after.
#[derive(Clone, Default)]
pub struct Registry {
    instances: Vec<(Space, Arc<dyn InstanceProvider>)>,
    associations: Vec<(Space, Arc<dyn AssociationProvider>)>,
    statistics: Arc<Statistics>,
}

/// Two providers want to serve the same class in the same namespace.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("class {class} of namespace {namespace} has two providers")]
pub struct RegistryError {
    /// The class.
    pub class: CimName,
    /// The namespace.
    pub namespace: &'static str,
}

/// What serves the instances of one class.
#[derive(Clone, Copy)]
pub(super) enum Server<'r> {
    Instances(&'r Arc<dyn InstanceProvider>),
    Associations(&'r Arc<dyn AssociationProvider>),
}

impl Server<'_> {
    pub(super) fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        match self {
            Self::Instances(provider) => provider.create(instance),
            Self::Associations(provider) => provider.create(instance),
        }
    }

    pub(super) fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        match self {
            Self::Instances(provider) => provider.modify(path, changes),
            Self::Associations(provider) => provider.modify(path, changes),
        }
    }

    pub(super) fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        match self {
            Self::Instances(provider) => provider.delete(path),
            Self::Associations(provider) => provider.delete(path),
        }
    }
}

impl Registry {
    /// What is counted of the operations that these providers take part in.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Lets `provider` serve the instances of its class in `space`.
    ///
    /// # Errors
    /// [`RegistryError`] if the class has a provider there.
    pub fn serve(
        &mut self,
        space: Space,
        provider: Arc<dyn InstanceProvider>,
    ) -> Result<(), RegistryError> {
        self.check_free(space, provider.class())?;
        self.instances.push((space, Arc::new(Timed(provider))));
        Ok(())
    }

    /// Lets `provider` serve its association, whose instances live in `space`.
    ///
    /// # Errors
    /// [`RegistryError`] if the class has a provider there.
    pub fn associate(
        &mut self,
        space: Space,
        provider: Arc<dyn AssociationProvider>,
    ) -> Result<(), RegistryError> {
        self.check_free(space, provider.class())?;
        self.associations.push((space, Arc::new(Timed(provider))));
        Ok(())
    }

    fn check_free(&self, space: Space, class: &CimName) -> Result<(), RegistryError> {
        if self.instance(space, class).is_some() || self.association(space, class).is_some() {
            return Err(RegistryError { class: class.clone(), namespace: space.name() });
        }
        Ok(())
    }

    /// What serves exactly that class, an association or not.
    pub(super) fn server(&self, space: Space, class: &CimName) -> Option<Server<'_>> {
        let instances = self.instance(space, class).map(Server::Instances);
        instances.or_else(|| self.association(space, class).map(Server::Associations))
    }

    /// The provider of exactly that class.
    pub(super) fn instance(
        &self,
        space: Space,
        class: &CimName,
    ) -> Option<&Arc<dyn InstanceProvider>> {
        self.instances_in(space).find(|provider| provider.class() == class)
    }

    /// The provider of exactly that association class.
    pub(super) fn association(
        &self,
        space: Space,
        class: &CimName,
    ) -> Option<&Arc<dyn AssociationProvider>> {
        self.associations_in(space).find(|provider| provider.class() == class)
    }

    /// The providers of instances that live there.
    pub(super) fn instances_in(
        &self,
        space: Space,
    ) -> impl Iterator<Item = &Arc<dyn InstanceProvider>> {
        self.instances.iter().filter(move |(at, _)| *at == space).map(|(_, provider)| provider)
    }

    /// The providers of associations whose instances live there.
    pub(super) fn associations_in(
        &self,
        space: Space,
    ) -> impl Iterator<Item = &Arc<dyn AssociationProvider>> {
        self.associations.iter().filter(move |(at, _)| *at == space).map(|(_, provider)| provider)
    }

    /// All associations with the namespaces of their instances: they are followed from anywhere.
    pub(super) fn associations(
        &self,
    ) -> impl Iterator<Item = (Space, &Arc<dyn AssociationProvider>)> {
        self.associations.iter().map(|(space, provider)| (*space, provider))
    }

    /// Where else than in `space` instances or associations of that class live.
    pub(super) fn elsewhere(&self, space: Space, class: &CimName) -> Option<Space> {
        Space::ALL.into_iter().find(|it| *it != space && self.server(*it, class).is_some())
    }

    /// The namespace where instances of that class live, `preferred` if it is one of several.
    pub(super) fn home(&self, class: &CimName, preferred: Space) -> Option<Space> {
        let mut homes = self.instances.iter().filter(|(_, provider)| provider.class() == class);
        if self.instance(preferred, class).is_some() {
            return Some(preferred);
        }
        homes.next().map(|(space, _)| *space)
    }
}
