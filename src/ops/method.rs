//! Calling methods (DSP0200 §5.4).

use super::{
    Context, MethodCall, MethodResult, MethodSpec, authorise::authorise, core::Core,
    namespaces::Scope, provider::unavailable,
};
use crate::cim::{CimError, CimName, Class, Method, ObjectPath, ParamValue, Reply, StatusCode};

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
        let provider = self.registry.instance(scope.space, &class.name);
        let implemented = |spec: &&MethodSpec| method.name == *spec.name;
        let found = provider.and_then(|provider| {
            provider.methods().iter().find(implemented).map(|spec| (provider, spec))
        });
        let Some((provider, spec)) = found else {
            return Err(unavailable(&class.name, &method.name).into());
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
