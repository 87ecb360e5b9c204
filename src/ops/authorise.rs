//! Who may do what (DESIGN.md §4).

use super::{Principal, Role};
use crate::cim::{CimError, Operation, StatusCode};

/// The role an operation needs. A method call needs the role its method names.
pub(super) fn needed(operation: &Operation) -> Role {
    match operation {
        Operation::GetClass { .. }
        | Operation::EnumerateClasses { .. }
        | Operation::EnumerateClassNames { .. }
        | Operation::GetQualifier { .. }
        | Operation::EnumerateQualifiers
        | Operation::GetInstance { .. }
        | Operation::EnumerateInstances { .. }
        | Operation::EnumerateInstanceNames { .. }
        | Operation::GetProperty { .. }
        | Operation::Associators { .. }
        | Operation::AssociatorNames { .. }
        | Operation::References { .. }
        | Operation::ReferenceNames { .. }
        | Operation::ExecQuery { .. }
        | Operation::OpenEnumerateInstances { .. }
        | Operation::OpenEnumerateInstancePaths { .. }
        | Operation::OpenAssociatorInstances { .. }
        | Operation::OpenAssociatorInstancePaths { .. }
        | Operation::OpenReferenceInstances { .. }
        | Operation::OpenReferenceInstancePaths { .. }
        | Operation::OpenQueryInstances { .. }
        | Operation::PullInstancesWithPath { .. }
        | Operation::PullInstancePaths { .. }
        | Operation::PullInstances { .. }
        | Operation::CloseEnumeration { .. }
        | Operation::EnumerationCount { .. }
        | Operation::InvokeMethod { .. } => Role::Viewer,
        // Subscriptions and finished jobs are all that clients make, change and delete.
        Operation::CreateInstance { .. }
        | Operation::ModifyInstance { .. }
        | Operation::DeleteInstance { .. }
        | Operation::SetProperty { .. } => Role::Operator,
        Operation::CreateClass { .. }
        | Operation::ModifyClass { .. }
        | Operation::DeleteClass { .. }
        | Operation::SetQualifier { .. }
        | Operation::DeleteQualifier { .. } => Role::Admin,
    }
}

/// Refuses a caller whose role does not include `needed`.
pub(super) fn authorise(
    principal: &Principal,
    needed: Role,
    operation: &str,
) -> Result<(), CimError> {
    if principal.role >= needed {
        return Ok(());
    }
    let text = format!(
        "{operation} needs the role {}; user `{}` has the role {}",
        needed.name(),
        principal.name,
        principal.role.name(),
    );
    Err(CimError::new(StatusCode::AccessDenied, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(has: Role, needed: Role, allowed: bool) {
        let principal = Principal { name: "x".to_owned(), role: has };
        let result = authorise(&principal, needed, "Op");
        assert_eq!(result.is_ok(), allowed, "{has:?} doing what needs {needed:?}");
        if let Err(error) = result {
            assert_eq!(error.status, StatusCode::AccessDenied);
        }
    }

    #[test]
    fn each_role_includes_those_before_it() {
        let roles = [Role::Viewer, Role::Checker, Role::Operator, Role::Admin];
        for (i, has) in roles.into_iter().enumerate() {
            for (j, needed) in roles.into_iter().enumerate() {
                check(has, needed, i >= j);
            }
        }
    }
}
