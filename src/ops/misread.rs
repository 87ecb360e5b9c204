//! Requests that nobody can execute, for a parameter cannot be read.
//!
//! The errors of an operation come in the order of DSP0200 §5.3.2: whether the caller may do it at all,
//! whether there is such a namespace, and only then what is wrong with the parameters.

use super::{
    Context, Operations, Space,
    audit::Record,
    authorise::{authorise, needed_by},
    classes::{changes_schema, fixed},
    core::Core,
};
use crate::cim::{CimError, CimName, Namespace, ObjectPath, StatusCode};

/// What is known of a request with a parameter that cannot be read.
#[derive(Clone, Copy, Debug)]
pub enum Misread<'r> {
    /// An operation of that name, in that namespace.
    Operation(&'r str, &'r Namespace),
    /// A call of the method on an object, which has a namespace unless the client forgot it.
    Method(&'r str, &'r ObjectPath),
}

impl Operations {
    /// What the caller of such a request is told, if `error` is what is wrong with it.
    pub fn refuse(&self, ctx: &Context, request: Misread<'_>, error: CimError) -> CimError {
        // Nobody may do, or may not do, what does not exist.
        if error.status == StatusCode::NotSupported {
            return error;
        }
        let error = self.core.judge(ctx, request).err().unwrap_or(error);
        if let Some(record) = Record::of_misread(ctx, request) {
            record.refuse(&error);
        }
        error
    }
}

impl Core {
    fn judge(&self, ctx: &Context, request: Misread<'_>) -> Result<(), CimError> {
        match request {
            Misread::Operation(name, namespace) => {
                authorise(&ctx.principal, needed_by(name), name)?;
                Space::find(namespace)?;
                if changes_schema(name) {
                    return Err(fixed(name));
                }
            }
            Misread::Method(name, object) => {
                let Some(namespace) = object.namespace() else { return Ok(()) };
                let space = Space::find(namespace)?;
                let name = CimName::parse(name).ok();
                let class = self.repository.class(object.class());
                let method = class.as_ref().zip(name).and_then(|(class, name)| class.method(&name));
                let spec = method.and_then(|method| self.implementation(space, object, method));
                if let Some((_, spec)) = spec {
                    authorise(&ctx.principal, spec.role, spec.name)?;
                }
            }
        }
        Ok(())
    }
}
