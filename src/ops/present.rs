//! Sends what was found, in the form the client asked for.

use std::sync::Arc;

use super::{ProviderError, Space, core::Core, namespaces::Scope, shape::Shaper, stream::Writer};
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

/// Sends found objects in one form.
pub(super) struct Presenter {
    pub(super) core: Arc<Core>,
    pub(super) scope: Scope,
    shaper: Option<Shaper>,
    writer: Writer,
}

impl Presenter {
    pub(super) fn new(core: Arc<Core>, scope: Scope, form: Form, writer: Writer) -> Self {
        let repository = Arc::clone(&core.repository);
        let shaper = match form {
            Form::Paths => None,
            Form::Instances(options) => Some(Shaper::deep(repository, options)),
            Form::InstancesAs(class, options) => Some(Shaper::shallow(repository, options, class)),
        };
        Self { core, scope, shaper, writer }
    }

    /// Sends an instance that lives in `space`, or its path.
    pub(super) async fn show(
        &mut self,
        space: Space,
        path: InstancePath,
        instance: Instance,
    ) -> Result<(), ProviderError> {
        let listed = self.core.listed(&self.scope, space, path);
        let object = match &mut self.shaper {
            None => Object::InstancePath(listed),
            Some(shaper) => {
                let mut instance = shaper.shape(instance);
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
        if self.shaper.is_none() {
            let listed = self.core.listed(&self.scope, space, path);
            return self.writer.send(Object::InstancePath(listed)).await;
        }
        match self.core.find(space, &path).await {
            Ok(instance) => self.show(space, path, instance).await,
            // It was deleted since it was found: then it is not there to be shown.
            Err(ProviderError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
