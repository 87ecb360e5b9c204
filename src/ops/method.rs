//! Calling methods (DSP0200 §5.4).

use std::sync::Arc;

use super::{
    Context, InstanceProvider, MethodCall, MethodResult, MethodSpec, ProviderError, Space,
    authorise::authorise, core::Core, namespaces::Scope, provider::unavailable,
};
use crate::cim::{
    CimError, CimName, Class, ClassPath, Method, ObjectPath, ParamValue, Reply, StatusCode,
};

impl Core {
    /// Calls a method on an instance or on a class; cimtest calls all of them on the class.
    pub(super) async fn invoke(
        &self,
        ctx: &Context,
        scope: &Scope,
        object: ObjectPath,
        name: &CimName,
        parameters: Vec<ParamValue>,
    ) -> Result<Reply, CimError> {
        let class = self.class(object.class(), StatusCode::NotFound)?;
        let method = class.method(name).ok_or_else(|| {
            let text = format!("Unknown Method: {} has no method {name}", class.name);
            CimError::new(StatusCode::MethodNotFound, text)
        })?;
        let found = self.implementation(scope.space, &object, method);
        let Some((provider, spec)) = found else {
            return Err(self.not_here(scope.space, &class.name, method).into());
        };
        authorise(&ctx.principal, spec.role, method.name.as_str())?;
        let arguments = self.conformer().arguments(method, spec.required, parameters)?;
        let object = self.conformed_object(&class, object)?;
        let call = MethodCall {
            method: method.name.clone(),
            object,
            arguments,
            principal: ctx.principal.clone(),
            cancelled: ctx.cancelled.clone(),
        };
        let result = provider.invoke(call).await?;
        Ok(self.reply(scope, method, result))
    }

    /// The method is not called here: but elsewhere, or nowhere.
    fn not_here(&self, space: Space, class: &CimName, method: &Method) -> ProviderError {
        let object = ObjectPath::Class(ClassPath::local(class.clone()));
        let other =
            |it: &Space| *it != space && self.implementation(*it, &object, method).is_some();
        match Space::ALL.into_iter().find(other) {
            Some(there) => {
                let (name, there, here) = (&method.name, there.name(), space.name());
                let text = format!("method {name} of {class} is called in {there}, not in {here}");
                ProviderError::MethodNotAvailable(text)
            }
            None => unavailable(class, &method.name),
        }
    }

    /// Who implements a method for that class, and what they say of it.
    pub(super) fn implementation(
        &self,
        space: Space,
        object: &ObjectPath,
        method: &Method,
    ) -> Option<(&Arc<dyn InstanceProvider>, &'static MethodSpec)> {
        let provider = self.registry.instance(space, object.class())?;
        let spec = provider.methods().iter().find(|spec| method.name == *spec.name)?;
        Some((provider, spec))
    }

    fn conformed_object(&self, class: &Class, object: ObjectPath) -> Result<ObjectPath, CimError> {
        Ok(match object {
            ObjectPath::Instance(path) => self.conformer().path(class, path)?.into(),
            ObjectPath::Class(mut path) => {
                path.class = class.name.clone();
                path.into()
            }
        })
    }

    /// The reply with declared types, output parameters in the order of their declaration.
    fn reply(&self, scope: &Scope, method: &Method, result: MethodResult) -> Reply {
        let MethodResult { value, mut out } = result;
        let mut parameters = Vec::with_capacity(out.len());
        for declared in method.parameters.iter().filter(|parameter| parameter.is_out()) {
            if let Some(index) = out.iter().position(|(name, _)| *name == declared.name) {
                let mut value = out.swap_remove(index).1;
                self.localise_value(scope, &mut value);
                parameters.push(ParamValue {
                    name: declared.name.clone(),
                    ty: Some(declared.ty.clone()),
                    value: Some(value),
                });
            }
        }
        debug_assert!(out.is_empty(), "{} returns what it does not declare: {out:?}", method.name);
        let return_type = method.return_type.clone();
        Reply::Method { return_type, return_value: Some(value), out: parameters }
    }
}
