//! Filters, destinations and subscriptions as CIM objects. What may be is for `indications` to say;
//! here stands only which namespaces there are.

use super::end;
use crate::{
    cim::{CimName, Instance, InstancePath, Namespace, ObjectPath, Property, Value},
    indications::{
        DESTINATION, FILTER, FILTER_ROLE, HANDLER, HANDLER_ROLE, SUBSCRIPTION, Subscriptions,
    },
    ops::{
        AssociationProvider, End, Far, InstanceProvider, Link, Outcome, ProviderError, Sink, Space,
    },
};

/// The filters, or the destinations of one class.
pub(super) struct Kept {
    class: CimName,
    subscriptions: Subscriptions,
}

impl Kept {
    /// One provider for each class.
    pub(super) fn all(subscriptions: &Subscriptions) -> [Self; 3] {
        [FILTER, DESTINATION, HANDLER]
            .map(|class| Self { class, subscriptions: subscriptions.clone() })
    }
}

impl InstanceProvider for Kept {
    fn class(&self) -> &CimName {
        &self.class
    }

    fn enumerate<'a>(&'a self, sink: &'a mut dyn Sink<Instance>) -> Outcome<'a, ()> {
        Box::pin(async move {
            for instance in self.subscriptions.objects().of_class(&self.class) {
                sink.put(instance.clone()).await?;
            }
            Ok(())
        })
    }

    fn get<'a>(&'a self, path: &'a InstancePath) -> Outcome<'a, Instance> {
        Box::pin(async move {
            let objects = self.subscriptions.objects();
            objects.at(path).cloned().ok_or_else(|| ProviderError::no_instance_at(path))
        })
    }

    fn create(&self, instance: Instance) -> Outcome<'_, Instance> {
        Box::pin(async move {
            check_namespaces(&instance.properties)?;
            Ok(self.subscriptions.create(instance).await?)
        })
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async move {
            check_namespaces(&changes)?;
            Ok(self.subscriptions.modify(path, changes).await?)
        })
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async move { Ok(self.subscriptions.delete(path).await?) })
    }
}

/// A filter that waits for what happens in a namespace that does not exist would wait for ever.
fn check_namespaces(properties: &[Property]) -> Result<(), ProviderError> {
    const SOURCES: [CimName; 2] =
        [CimName::literal("SourceNamespaces"), CimName::literal("SourceNamespace")];
    for property in properties.iter().filter(|it| SOURCES.contains(&it.name)) {
        let names: Vec<&str> = match &property.value {
            Some(Value::Array(elements)) => {
                elements.iter().flatten().filter_map(|it| it.as_str()).collect()
            }
            Some(Value::Scalar(scalar)) => scalar.as_str().into_iter().collect(),
            None => Vec::new(),
        };
        for name in names {
            let known = Namespace::parse(name.trim()).map(|it| Space::find(&it));
            if !matches!(known, Ok(Ok(_))) {
                let name: String = name.escape_debug().take(64).collect();
                let known = Space::ALL.map(Space::name).join(", ");
                let text =
                    format!("{}: there is no namespace `{name}`, only {known}", property.name);
                return Err(ProviderError::InvalidParameter(text));
            }
        }
    }
    Ok(())
}

/// The subscriptions.
pub(super) struct Bindings {
    ends: [End; 2],
    subscriptions: Subscriptions,
}

impl Bindings {
    pub(super) fn new(subscriptions: &Subscriptions) -> Self {
        let ends = [end("Filter", [FILTER]), end("Handler", [DESTINATION, HANDLER])];
        Self { ends, subscriptions: subscriptions.clone() }
    }
}

impl AssociationProvider for Bindings {
    fn class(&self) -> &CimName {
        static CLASS: CimName = SUBSCRIPTION;
        &CLASS
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
            for (far, properties) in self.subscriptions.objects().subscriptions_of(source, role) {
                sink.put(Link { far: Far::Path(far), properties }).await?;
            }
            Ok(())
        })
    }

    fn create(&self, association: Instance) -> Outcome<'_, Instance> {
        Box::pin(async move {
            for role in [FILTER_ROLE, HANDLER_ROLE] {
                check_home(&association, &role)?;
            }
            Ok(self.subscriptions.create(association).await?)
        })
    }

    fn modify(&self, path: InstancePath, changes: Vec<Property>) -> Outcome<'_, ()> {
        Box::pin(async move { Ok(self.subscriptions.modify(path, changes).await?) })
    }

    fn delete(&self, path: InstancePath) -> Outcome<'_, ()> {
        Box::pin(async move { Ok(self.subscriptions.delete(path).await?) })
    }
}

/// What a subscription refers to lives where it does. A reference without namespace means that.
fn check_home(association: &Instance, role: &CimName) -> Result<(), ProviderError> {
    let path = association.value(role).and_then(Value::as_reference);
    let Some(namespace) = path.and_then(ObjectPath::namespace) else { return Ok(()) };
    match Space::find(namespace) {
        Ok(Space::Interop) => Ok(()),
        Ok(Space::Virt | Space::Cimv2) | Err(_) => Err(ProviderError::NotFound(format!(
            "{role} not found: there is none in namespace {namespace}"
        ))),
    }
}
