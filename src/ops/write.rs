//! Operations that change instances (DSP0200 §5.3.2.5 to §5.3.2.8, §5.3.2.22).

use super::{
    ProviderError, core::Core, namespaces::Scope, provider::unsupported, registry::Server,
};
use crate::cim::{
    CimError, CimName, Class, Instance, InstancePath, KeyValue, Property, PropertyDeclaration,
    StatusCode, Value,
};

/// The parameters that carry what is to be written.
static NEW_INSTANCE: CimName = CimName::literal("NewInstance");
static MODIFIED_INSTANCE: CimName = CimName::literal("ModifiedInstance");
static NEW_VALUE: CimName = CimName::literal("NewValue");

impl Core {
    /// CreateInstance: makes an instance and returns its path, without namespace.
    ///
    /// # Errors
    /// INVALID_CLASS, INVALID_PARAMETER naming the property, and the provider's.
    pub(super) async fn create(
        &self,
        scope: &Scope,
        instance: Instance,
    ) -> Result<InstancePath, CimError> {
        let class = self.class(&instance.class, StatusCode::InvalidClass)?;
        if let Some(unknown) =
            instance.properties.iter().find(|it| class.property(&it.name).is_none())
        {
            return Err(no_property(StatusCode::InvalidParameter, &class, &unknown.name));
        }
        let provider = self.writer(scope, &class, "created")?;
        let instance = self.conformer().instance(&NEW_INSTANCE, &class, instance)?;
        let mut created = provider.create(instance).await?;
        self.localise(scope, &mut created);
        Ok(self.path_of(&created)?)
    }

    /// ModifyInstance: sets the properties that the list names, all of the instance's without a list. A
    /// property that is listed but not in the instance becomes its default or NULL.
    ///
    /// # Errors
    /// INVALID_PARAMETER for an unknown property, a wrong value or a changed key, and the provider's.
    pub(super) async fn modify(
        &self,
        scope: &Scope,
        instance: Instance,
        listed: Option<Vec<CimName>>,
    ) -> Result<(), CimError> {
        let class = self.class(&instance.class, StatusCode::InvalidClass)?;
        let Some(path) = instance.path.clone() else {
            let text = "ModifiedInstance has no path";
            return Err(CimError::new(StatusCode::InvalidParameter, text));
        };
        if path.class != class.name {
            let text = format!(
                "ModifiedInstance is of class {}, its path of class {}",
                class.name, path.class
            );
            return Err(CimError::new(StatusCode::InvalidParameter, text));
        }
        let path = self.conformer().path(&class, path)?;
        let names = instance.properties.iter().map(|it| &it.name).chain(listed.iter().flatten());
        if let Some(unknown) = names.into_iter().find(|name| class.property(name).is_none()) {
            return Err(no_property(StatusCode::InvalidParameter, &class, unknown));
        }
        let instance = self.conformer().instance(&MODIFIED_INSTANCE, &class, instance)?;
        self.existing(scope, &path).await?;
        let changes = changes(&class, &path, instance, listed)?;
        let provider = self.writer(scope, &class, "modified")?;
        Ok(provider.modify(path, changes).await?)
    }

    /// DeleteInstance.
    ///
    /// # Errors
    /// INVALID_CLASS, NOT_FOUND, and the provider's.
    pub(super) async fn delete(&self, scope: &Scope, path: InstancePath) -> Result<(), CimError> {
        let class = self.class(&path.class, StatusCode::InvalidClass)?;
        let path = self.conformer().path(&class, path)?;
        self.existing(scope, &path).await?;
        let provider = self.writer(scope, &class, "deleted")?;
        Ok(provider.delete(path).await?)
    }

    /// What serves the instances of a class here, to be `done` something.
    fn writer(
        &self,
        scope: &Scope,
        class: &Class,
        done: &str,
    ) -> Result<Server<'_>, ProviderError> {
        let class = &class.name;
        if let Some(server) = self.registry.server(scope.space, class) {
            return Ok(server);
        }
        Err(match self.registry.elsewhere(scope.space, class) {
            Some(there) => {
                let (there, here) = (there.name(), scope.space.name());
                let text = format!("instances of {class} are {done} in {there}, not in {here}");
                ProviderError::NotSupported(text)
            }
            None => unsupported(class, done),
        })
    }

    /// SetProperty.
    ///
    /// # Errors
    /// INVALID_CLASS, NOT_FOUND, NO_SUCH_PROPERTY, TYPE_MISMATCH, and those of [`Core::modify`].
    pub(super) async fn set_property(
        &self,
        scope: &Scope,
        path: InstancePath,
        name: &CimName,
        value: Option<Value>,
    ) -> Result<(), CimError> {
        let class = self.class(&path.class, StatusCode::InvalidClass)?;
        let path = self.conformer().path(&class, path)?;
        self.existing(scope, &path).await?;
        let declared = declared(&class, name)?;
        let property = Property {
            name: declared.name.clone(),
            ty: declared.ty.clone(),
            value,
            class_origin: None,
        };
        let instance =
            Instance { class: class.name.clone(), path: Some(path), properties: vec![property] };
        let mistyped = |error: CimError| CimError::new(StatusCode::TypeMismatch, error.description);
        let instance = self.conformer().instance(&NEW_VALUE, &class, instance).map_err(mistyped)?;
        self.modify(scope, instance, None).await
    }
}

/// The property of a class, or the error of an operation that names one it does not have.
pub(super) fn declared<'c>(
    class: &'c Class,
    name: &CimName,
) -> Result<&'c PropertyDeclaration, CimError> {
    class.property(name).ok_or_else(|| no_property(StatusCode::NoSuchProperty, class, name))
}

/// What a modification sets; keys that keep their value are no change.
fn changes(
    class: &Class,
    path: &InstancePath,
    instance: Instance,
    listed: Option<Vec<CimName>>,
) -> Result<Vec<Property>, CimError> {
    let mut changes = instance.properties;
    if let Some(listed) = listed {
        changes.retain(|it| listed.contains(&it.name));
        for name in listed {
            let declared = declared(class, &name)?;
            if !changes.iter().any(|it| it.name == name) && !declared.is_key() {
                let (name, ty, value) =
                    (declared.name.clone(), declared.ty.clone(), declared.default.clone());
                changes.push(Property { name, ty, value, class_origin: None });
            }
        }
    }
    let is_key = |it: &Property| class.property(&it.name).is_some_and(PropertyDeclaration::is_key);
    for key in changes.iter().filter(|it| is_key(it)) {
        let value = key.value.as_ref().and_then(Value::scalar).and_then(KeyValue::from_scalar);
        let same = match (path.key(&key.name), &value) {
            (Some(is), Some(asked)) => is.same_value(asked),
            _ => false,
        };
        if !same {
            let text = format!("key property {} can not be changed", key.name);
            return Err(CimError::new(StatusCode::InvalidParameter, text));
        }
    }
    changes.retain(|it| !is_key(it));
    Ok(changes)
}

fn no_property(status: StatusCode, class: &Class, name: &CimName) -> CimError {
    CimError::new(status, format!("class {} has no property {name}", class.name))
}
