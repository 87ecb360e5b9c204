//! What all operations share: classes, providers, and the paths of objects.

use std::sync::Arc;

use super::{
    InstanceProvider, ProviderError, QueryLimits, Registry, Space, association,
    conform::{Conformer, is_blank},
    namespaces::Scope,
};
use crate::{
    cim::{
        CimError, CimName, Class, Instance, InstancePath, Key, KeyValue, ObjectPath, Scalar,
        StatusCode, Value,
    },
    repository::Repository,
};

/// Classes and providers, and what may be asked of them.
pub(super) struct Core {
    pub(super) repository: Arc<Repository>,
    pub(super) registry: Registry,
    pub(super) query_limits: QueryLimits,
}

impl Core {
    /// The class of that name, or the error of an operation that names one that does not exist.
    pub(super) fn class(
        &self,
        name: &CimName,
        missing: StatusCode,
    ) -> Result<Arc<Class>, CimError> {
        self.repository.class(name).ok_or_else(|| no_class(missing, name))
    }

    pub(super) fn conformer(&self) -> Conformer<'_> {
        Conformer { repository: &self.repository }
    }

    /// The instance of that path, whose keys are conformed, if its class is served in `space`.
    ///
    /// Old clients pad their keys with blanks, which may as well belong to a name: an instance that is
    /// not found is looked for without them.
    pub(super) async fn find(
        &self,
        space: Space,
        path: &InstancePath,
    ) -> Result<Instance, ProviderError> {
        match self.find_if_reachable(space, path).await {
            Err(ProviderError::Unreachable(_)) => Err(ProviderError::no_instance()),
            found => found,
        }
    }

    /// The same for a caller to whom it matters whether it is not there or can't be reached.
    pub(super) async fn find_if_reachable(
        &self,
        space: Space,
        path: &InstancePath,
    ) -> Result<Instance, ProviderError> {
        let found = self.find_exactly(space, path).await;
        if let Err(ProviderError::NotFound(_)) = found
            && let Some(path) = unpadded(path)
        {
            return self.find_exactly(space, &path).await;
        }
        found
    }

    /// The provider finds it by the keys it needs; all of them are compared here, in class order and
    /// strings without regard to case, as libvirt-cim does.
    async fn find_exactly(
        &self,
        space: Space,
        path: &InstancePath,
    ) -> Result<Instance, ProviderError> {
        let Some(provider) = self.registry.instance(space, &path.class) else {
            return Err(ProviderError::no_instance_of(&path.class, space));
        };
        let found = provider.get(path).await?;
        for key in self.repository.keys(provider.class()) {
            let is = found.value(&key.name).and_then(Value::scalar);
            let matches = match (path.key(&key.name), is) {
                (Some(asked), Some(is)) => same_key(asked, is),
                _ => false,
            };
            if !matches {
                return Err(ProviderError::no_instance_with(&key.name));
            }
        }
        Ok(found)
    }

    /// The instance of that path, whose keys are conformed: of a class or of an association.
    pub(super) async fn existing(
        &self,
        scope: &Scope,
        path: &InstancePath,
    ) -> Result<Instance, ProviderError> {
        match self.registry.association(scope.space, &path.class) {
            Some(provider) => association::find(self, scope, provider, path).await,
            None => self.find(scope.space, path).await,
        }
    }

    /// The path of an instance that a provider made, without host and namespace.
    pub(super) fn path_of(&self, instance: &Instance) -> Result<InstancePath, ProviderError> {
        let class = self.served_class(&instance.class)?;
        let keys = self.repository.keys(&class.name).map(|key| {
            let value = instance.value(&key.name).and_then(Value::scalar);
            match value.and_then(KeyValue::from_scalar) {
                Some(value) => Ok(Key { name: Some(key.name.clone()), value }),
                None => Err(ProviderError::Failed(format!(
                    "internal error: an instance of {} has no key {}",
                    class.name, key.name
                ))),
            }
        });
        Ok(InstancePath {
            host: None,
            namespace: None,
            class: class.name.clone(),
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// The path, in `space`, as it stands in a list: with host and namespace.
    pub(super) fn listed(&self, scope: &Scope, space: Space, path: InstancePath) -> InstancePath {
        InstancePath { host: Some(scope.host.clone()), ..self.referred(scope, space, path) }
    }

    /// The path, in `space`, as it stands in a reference: with a namespace but no host, the one form
    /// that every client takes for equal to the path it got by enumerating (WIRE §5).
    pub(super) fn referred(&self, scope: &Scope, space: Space, path: InstancePath) -> InstancePath {
        InstancePath { host: None, namespace: Some(scope.namespace(space)), ..path }
    }

    /// The namespace where an instance of that class is found by a client that looks in `scope`.
    pub(super) fn home(&self, scope: &Scope, class: &CimName) -> Space {
        self.registry.home(class, scope.space).unwrap_or(scope.space)
    }

    /// The providers whose instances are of `class` or a class derived from it.
    pub(super) fn providers(
        &self,
        space: Space,
        class: &CimName,
    ) -> Vec<Arc<dyn InstanceProvider>> {
        let serves =
            |provider: &&Arc<dyn InstanceProvider>| self.repository.is_a(provider.class(), class);
        self.registry.instances_in(space).filter(serves).cloned().collect()
    }

    /// Gives references in an instance the namespace of what they refer to, where they have none.
    pub(super) fn localise(&self, scope: &Scope, instance: &mut Instance) {
        for value in instance.properties.iter_mut().filter_map(|property| property.value.as_mut()) {
            self.localise_value(scope, value);
        }
    }

    /// Gives references in a value the namespace of what they refer to, where they have none.
    pub(super) fn localise_value(&self, scope: &Scope, value: &mut Value) {
        let localise = |scalar: &mut Scalar| {
            if let Scalar::Reference(path) = scalar
                && let ObjectPath::Instance(path) = &mut **path
                && path.namespace.is_none()
            {
                path.namespace = Some(scope.namespace(self.home(scope, &path.class)));
            }
        };
        match value {
            Value::Scalar(scalar) => localise(scalar),
            Value::Array(elements) => elements.iter_mut().flatten().for_each(localise),
        }
    }

    fn served_class(&self, name: &CimName) -> Result<Arc<Class>, ProviderError> {
        let missing = || ProviderError::Failed(format!("internal error: {name} is no class"));
        self.repository.class(name).ok_or_else(missing)
    }
}

/// The error of an operation that names a class that does not exist.
pub(super) fn no_class(status: StatusCode, name: &CimName) -> CimError {
    CimError::new(status, format!("Class not found: {name}"))
}

/// The path without blanks around its strings; `None` if there are none.
fn unpadded(path: &InstancePath) -> Option<InstancePath> {
    let mut path = path.clone();
    let mut padded = false;
    for key in &mut path.keys {
        if let KeyValue::String(text) = &mut key.value
            && text.trim_matches(is_blank).len() < text.len()
        {
            *text = text.trim_matches(is_blank).to_owned();
            padded = true;
        }
    }
    padded.then_some(path)
}

/// Whether a key value that a client sent names what is there. Strings compare without regard to case,
/// and an empty one counts as missing.
fn same_key(asked: &KeyValue, is: &Scalar) -> bool {
    match (asked, is) {
        (KeyValue::String(asked), Scalar::String(is)) => same_text(asked, is),
        (asked, is) => match (asked, KeyValue::from_scalar(is)) {
            (KeyValue::String(asked), Some(KeyValue::String(is))) => same_text(asked, &is),
            (asked, is) => is.is_some_and(|is| asked.same_value(&is)),
        },
    }
}

fn same_text(asked: &str, is: &str) -> bool {
    !asked.is_empty() && asked.eq_ignore_ascii_case(is)
}
