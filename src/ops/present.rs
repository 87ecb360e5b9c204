//! Sends what was found, in the form the client asked for.

use std::{collections::HashMap, sync::Arc};

use super::{
    ProviderError, Space, core::Core, namespaces::Scope, reach::Reach, select::Selector,
    shape::Shaper, stream::Writer,
};
use crate::cim::{CimName, Instance, InstanceOptions, InstancePath, Object};

/// What a list consists of.
#[derive(Clone, Debug)]
pub(super) enum Form {
    /// Paths.
    Paths,
    /// Instances with these of the properties of their creation class.
    Instances(InstanceOptions),
    /// Instances with those of them that this class has too (DeepInheritance is false).
    InstancesAs(CimName, InstanceOptions),
}

impl Form {
    /// The form of EnumerateInstances and its like.
    pub(super) fn of_list(
        class: &CimName,
        deep_inheritance: bool,
        options: InstanceOptions,
    ) -> Self {
        if deep_inheritance {
            Self::Instances(options)
        } else {
            Self::InstancesAs(class.clone(), options)
        }
    }
}

/// Sends found objects in one form.
pub(super) struct Presenter {
    pub(super) core: Arc<Core>,
    pub(super) scope: Scope,
    shaper: Option<Shaper>,
    selector: Option<Selector>,
    writer: Writer,
    /// Of each class whose instances were asked for by their paths.
    reach: HashMap<CimName, Reach>,
}

impl Presenter {
    pub(super) fn new(core: Arc<Core>, scope: Scope, form: Form, writer: Writer) -> Self {
        let repository = Arc::clone(&core.repository);
        let shaper = match form {
            Form::Paths => None,
            Form::Instances(options) => Some(Shaper::deep(repository, options)),
            Form::InstancesAs(class, options) => Some(Shaper::shallow(repository, options, class)),
        };
        Self { core, scope, shaper, selector: None, writer, reach: HashMap::new() }
    }

    /// The same, but of what is found only what `selector` picks.
    pub(super) fn selecting(self, selector: Option<Selector>) -> Self {
        Self { selector, ..self }
    }

    /// Whether instances must be looked at, or paths are enough.
    fn needs_instances(&self) -> bool {
        self.shaper.is_some() || self.selector.is_some()
    }

    /// Sends an instance that lives in `space`, or its path.
    pub(super) async fn show(
        &mut self,
        space: Space,
        path: InstancePath,
        instance: Instance,
    ) -> Result<(), ProviderError> {
        let (instance, projected) = match &self.selector {
            None => (instance, false),
            Some(selector) => {
                // Judging takes time, and where nothing is picked nothing else waits: this is where
                // others get their turn, and where a search that nobody wants any more ends.
                tokio::task::yield_now().await;
                let repository = &self.core.repository;
                let picked = match repository.complete(instance) {
                    Some(instance) => selector.pick(instance, repository)?,
                    None => None,
                };
                match picked {
                    Some(instance) => (instance, matches!(selector, Selector::Query(_))),
                    None => return Ok(()),
                }
            }
        };
        let listed = self.core.listed(&self.scope, space, path);
        let object = match &mut self.shaper {
            None => Object::InstancePath(listed),
            Some(shaper) => {
                // What a select list left out must not come back as NULL.
                let mut instance = if projected { instance } else { shaper.shape(instance) };
                self.core.localise(&self.scope, &mut instance);
                instance.path = Some(listed);
                Object::Instance(instance)
            }
        };
        self.writer.send(object).await
    }

    /// Sends the object of that path, which lives in `space`; asks its provider if need be.
    pub(super) async fn show_at(
        &mut self,
        space: Space,
        path: InstancePath,
    ) -> Result<(), ProviderError> {
        if !self.needs_instances() {
            let listed = self.core.listed(&self.scope, space, path);
            return self.writer.send(Object::InstancePath(listed)).await;
        }
        let found = self.core.find_if_reachable(space, &path).await;
        let reach = self.reach.entry(path.class.clone()).or_default();
        match found {
            Ok(instance) => {
                reach.found()?;
                self.show(space, path, instance).await
            }
            Err(ProviderError::Unreachable(reason)) => reach.missed(reason),
            // It was deleted since it was found: then it is not there to be shown.
            Err(ProviderError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
