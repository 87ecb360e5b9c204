//! Who may do what (DESIGN.md §4).

use super::{Principal, Role};
use crate::cim::{CimError, Operation, StatusCode};

/// What everybody may do who is known. That nobody may change classes and qualifiers is told to
/// everybody.
const READING: [&str; 31] = [
    "GetClass",
    "EnumerateClasses",
    "EnumerateClassNames",
    "GetQualifier",
    "EnumerateQualifiers",
    "GetInstance",
    "EnumerateInstances",
    "EnumerateInstanceNames",
    "GetProperty",
    "Associators",
    "AssociatorNames",
    "References",
    "ReferenceNames",
    "ExecQuery",
    "OpenEnumerateInstances",
    "OpenEnumerateInstancePaths",
    "OpenAssociatorInstances",
    "OpenAssociatorInstancePaths",
    "OpenReferenceInstances",
    "OpenReferenceInstancePaths",
    "OpenQueryInstances",
    "PullInstancesWithPath",
    "PullInstancePaths",
    "PullInstances",
    "CloseEnumeration",
    "EnumerationCount",
    "CreateClass",
    "ModifyClass",
    "DeleteClass",
    "SetQualifier",
    "DeleteQualifier",
];
/// Subscriptions and finished jobs are all that clients make, change and delete.
const CHANGING: [&str; 4] = ["CreateInstance", "ModifyInstance", "DeleteInstance", "SetProperty"];

/// The role an operation needs. A method call needs the role its method names.
pub(super) fn needed(operation: &Operation) -> Role {
    match operation {
        Operation::InvokeMethod { .. } => Role::Viewer,
        intrinsic => needed_by(intrinsic.name()),
    }
}

/// The role an intrinsic operation of that name needs, compared without regard to case. What is not
/// listed needs the highest.
pub(super) fn needed_by(operation: &str) -> Role {
    let is_one = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(operation));
    if is_one(&READING) {
        Role::Viewer
    } else if is_one(&CHANGING) {
        Role::Operator
    } else {
        Role::Admin
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
    use crate::ops::OperationType;

    #[test]
    fn who_only_looks_changes_nothing() {
        let intrinsic = OperationType::all().filter(|it| *it != OperationType::METHOD);
        for operation in intrinsic.map(OperationType::name) {
            let instances = ["CreateInstance", "ModifyInstance", "DeleteInstance", "SetProperty"];
            let role = match operation {
                "Unknown" => Role::Admin,
                _ if instances.contains(&operation) => Role::Operator,
                _ => Role::Viewer,
            };
            assert_eq!(needed_by(operation), role, "{operation}");
            assert_eq!(needed_by(&operation.to_uppercase()), role, "{operation}");
        }
    }

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
