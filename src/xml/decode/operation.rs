//! Intrinsic operations from their parameters (DSP0200 §5.3.2).
//!
//! Names of operations and parameters are compared without regard to case. LocalOnly and
//! IncludeQualifiers of instance operations, both deprecated, are read and dropped.

use super::{
    super::error::Quoted,
    arguments::{Arguments, Given, invalid},
};
use crate::cim::{CimError, ClassOptions, Operation};

/// Makes an operation of its parameters.
type Builder = fn(&mut Arguments<'_>) -> Result<Operation, CimError>;

/// An operation that can be called.
pub(super) struct Signature {
    name: &'static str,
    /// The parameters it has, in groups that operations share.
    parameters: &'static [&'static [&'static str]],
    build: Builder,
}

impl Signature {
    /// The operation of that name, if there is one.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|known| known.name.eq_ignore_ascii_case(name))
    }

    /// The operation with the parameters `given`. One that it does not have comes before one that is
    /// missing, for most likely it is the same one with its name misspelled.
    pub(super) fn build(&self, given: Vec<Given<'_>>) -> Result<Operation, CimError> {
        for (index, (name, _)) in given.iter().enumerate() {
            let same = |other: &str| other.eq_ignore_ascii_case(name);
            if !self.parameters.iter().copied().flatten().copied().any(same) {
                return Err(self.unknown(name));
            }
            if given[..index].iter().any(|(other, _)| same(other)) {
                return Err(invalid(format!("parameter {} is given twice", Quoted(name))));
            }
        }
        (self.build)(&mut Arguments::new(given))
    }

    fn unknown(&self, parameter: &str) -> CimError {
        let (name, known) = (self.name, self.parameters.concat().join(", "));
        let known =
            if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
        invalid(format!("{name} has no parameter {}: {known}", Quoted(parameter)))
    }
}

const LIST_OPTIONS: &[&str] = &["IncludeClassOrigin", "PropertyList"];
const DEPRECATED_OPTIONS: &[&str] = &["LocalOnly", "IncludeQualifiers"];
const ASSOCIATOR_FILTER: &[&str] = &["AssocClass", "ResultClass", "Role", "ResultRole"];
const REFERENCE_FILTER: &[&str] = &["ResultClass", "Role"];
const OPEN_OPTIONS: &[&str] = &[
    "FilterQueryLanguage",
    "FilterQuery",
    "OperationTimeout",
    "ContinueOnError",
    "MaxObjectCount",
];

const OPERATIONS: [Signature; 35] = [
    Signature {
        name: "GetClass",
        parameters: &[&["ClassName"], DEPRECATED_OPTIONS, LIST_OPTIONS],
        build: |given| {
            let properties = given.property_list()?;
            Ok(Operation::GetClass {
                class: given.class("ClassName")?,
                options: ClassOptions { properties, ..given.class_options()? },
            })
        },
    },
    Signature {
        name: "EnumerateClasses",
        parameters: &[&["ClassName", "DeepInheritance", "IncludeClassOrigin"], DEPRECATED_OPTIONS],
        build: |given| {
            Ok(Operation::EnumerateClasses {
                class: given.optional_class("ClassName")?,
                deep_inheritance: given.flag("DeepInheritance", false)?,
                options: given.class_options()?,
            })
        },
    },
    Signature {
        name: "EnumerateClassNames",
        parameters: &[&["ClassName", "DeepInheritance"]],
        build: |given| {
            Ok(Operation::EnumerateClassNames {
                class: given.optional_class("ClassName")?,
                deep_inheritance: given.flag("DeepInheritance", false)?,
            })
        },
    },
    Signature {
        name: "CreateClass",
        parameters: &[&["NewClass"]],
        build: |given| Ok(Operation::CreateClass { class: given.class_definition("NewClass")? }),
    },
    Signature {
        name: "ModifyClass",
        parameters: &[&["ModifiedClass"]],
        build: |given| {
            Ok(Operation::ModifyClass { class: given.class_definition("ModifiedClass")? })
        },
    },
    Signature {
        name: "DeleteClass",
        parameters: &[&["ClassName"]],
        build: |given| Ok(Operation::DeleteClass { class: given.class("ClassName")? }),
    },
    Signature {
        name: "GetQualifier",
        parameters: &[&["QualifierName"]],
        build: |given| Ok(Operation::GetQualifier { name: given.element_name("QualifierName")? }),
    },
    Signature {
        name: "EnumerateQualifiers",
        parameters: &[],
        build: |_| Ok(Operation::EnumerateQualifiers),
    },
    Signature {
        name: "SetQualifier",
        parameters: &[&["QualifierDeclaration"]],
        build: |given| {
            Ok(Operation::SetQualifier { declaration: given.qualifier("QualifierDeclaration")? })
        },
    },
    Signature {
        name: "DeleteQualifier",
        parameters: &[&["QualifierName"]],
        build: |given| {
            Ok(Operation::DeleteQualifier { name: given.element_name("QualifierName")? })
        },
    },
    Signature {
        name: "GetInstance",
        parameters: &[&["InstanceName"], DEPRECATED_OPTIONS, LIST_OPTIONS],
        build: |given| {
            Ok(Operation::GetInstance {
                path: given.instance_path("InstanceName")?,
                options: given.deprecating_options()?,
            })
        },
    },
    Signature {
        name: "EnumerateInstances",
        parameters: &[&["ClassName", "DeepInheritance"], DEPRECATED_OPTIONS, LIST_OPTIONS],
        build: |given| {
            Ok(Operation::EnumerateInstances {
                class: given.class("ClassName")?,
                deep_inheritance: given.flag("DeepInheritance", true)?,
                options: given.deprecating_options()?,
            })
        },
    },
    Signature {
        name: "EnumerateInstanceNames",
        parameters: &[&["ClassName"]],
        build: |given| Ok(Operation::EnumerateInstanceNames { class: given.class("ClassName")? }),
    },
    Signature {
        name: "CreateInstance",
        parameters: &[&["NewInstance"]],
        build: |given| Ok(Operation::CreateInstance { instance: given.instance("NewInstance")? }),
    },
    Signature {
        name: "ModifyInstance",
        parameters: &[&["ModifiedInstance", "IncludeQualifiers", "PropertyList"]],
        build: |given| {
            given.flag("IncludeQualifiers", true)?;
            Ok(Operation::ModifyInstance {
                instance: given.named_instance("ModifiedInstance")?,
                properties: given.property_list()?,
            })
        },
    },
    Signature {
        name: "DeleteInstance",
        parameters: &[&["InstanceName"]],
        build: |given| Ok(Operation::DeleteInstance { path: given.instance_path("InstanceName")? }),
    },
    Signature {
        name: "GetProperty",
        parameters: &[&["InstanceName", "PropertyName"]],
        build: |given| {
            Ok(Operation::GetProperty {
                path: given.instance_path("InstanceName")?,
                property: given.element_name("PropertyName")?,
            })
        },
    },
    Signature {
        name: "SetProperty",
        parameters: &[&["InstanceName", "PropertyName", "NewValue"]],
        build: |given| {
            Ok(Operation::SetProperty {
                path: given.instance_path("InstanceName")?,
                property: given.element_name("PropertyName")?,
                value: given.value("NewValue")?,
            })
        },
    },
    Signature {
        name: "Associators",
        parameters: &[&["ObjectName", "IncludeQualifiers"], ASSOCIATOR_FILTER, LIST_OPTIONS],
        build: |given| {
            Ok(Operation::Associators {
                object: given.object_path("ObjectName")?,
                filter: given.associator_filter()?,
                include_qualifiers: given.flag("IncludeQualifiers", false)?,
                options: given.instance_options()?,
            })
        },
    },
    Signature {
        name: "AssociatorNames",
        parameters: &[&["ObjectName"], ASSOCIATOR_FILTER],
        build: |given| {
            Ok(Operation::AssociatorNames {
                object: given.object_path("ObjectName")?,
                filter: given.associator_filter()?,
            })
        },
    },
    Signature {
        name: "References",
        parameters: &[&["ObjectName", "IncludeQualifiers"], REFERENCE_FILTER, LIST_OPTIONS],
        build: |given| {
            Ok(Operation::References {
                object: given.object_path("ObjectName")?,
                filter: given.reference_filter()?,
                include_qualifiers: given.flag("IncludeQualifiers", false)?,
                options: given.instance_options()?,
            })
        },
    },
    Signature {
        name: "ReferenceNames",
        parameters: &[&["ObjectName"], REFERENCE_FILTER],
        build: |given| {
            Ok(Operation::ReferenceNames {
                object: given.object_path("ObjectName")?,
                filter: given.reference_filter()?,
            })
        },
    },
    Signature {
        name: "ExecQuery",
        parameters: &[&["QueryLanguage", "Query"]],
        build: |given| {
            Ok(Operation::ExecQuery {
                language: given.text("QueryLanguage")?,
                query: given.text("Query")?,
            })
        },
    },
    Signature {
        name: "OpenEnumerateInstances",
        parameters: &[&["ClassName", "DeepInheritance"], LIST_OPTIONS, OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenEnumerateInstances {
                class: given.class("ClassName")?,
                deep_inheritance: given.flag("DeepInheritance", true)?,
                options: given.instance_options()?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenEnumerateInstancePaths",
        parameters: &[&["ClassName"], OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenEnumerateInstancePaths {
                class: given.class("ClassName")?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenAssociatorInstances",
        parameters: &[&["InstanceName"], ASSOCIATOR_FILTER, LIST_OPTIONS, OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenAssociatorInstances {
                path: given.instance_path("InstanceName")?,
                filter: given.associator_filter()?,
                options: given.instance_options()?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenAssociatorInstancePaths",
        parameters: &[&["InstanceName"], ASSOCIATOR_FILTER, OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenAssociatorInstancePaths {
                path: given.instance_path("InstanceName")?,
                filter: given.associator_filter()?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenReferenceInstances",
        parameters: &[&["InstanceName"], REFERENCE_FILTER, LIST_OPTIONS, OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenReferenceInstances {
                path: given.instance_path("InstanceName")?,
                filter: given.reference_filter()?,
                options: given.instance_options()?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenReferenceInstancePaths",
        parameters: &[&["InstanceName"], REFERENCE_FILTER, OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenReferenceInstancePaths {
                path: given.instance_path("InstanceName")?,
                filter: given.reference_filter()?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "OpenQueryInstances",
        parameters: &[&["ReturnQueryResultClass"], OPEN_OPTIONS],
        build: |given| {
            Ok(Operation::OpenQueryInstances {
                return_query_result_class: given.flag("ReturnQueryResultClass", false)?,
                open: given.open_options()?,
            })
        },
    },
    Signature {
        name: "PullInstancesWithPath",
        parameters: &[&["EnumerationContext", "MaxObjectCount"]],
        build: |given| {
            Ok(Operation::PullInstancesWithPath {
                context: given.text("EnumerationContext")?,
                max_object_count: given.number("MaxObjectCount")?,
            })
        },
    },
    Signature {
        name: "PullInstancePaths",
        parameters: &[&["EnumerationContext", "MaxObjectCount"]],
        build: |given| {
            Ok(Operation::PullInstancePaths {
                context: given.text("EnumerationContext")?,
                max_object_count: given.number("MaxObjectCount")?,
            })
        },
    },
    Signature {
        name: "PullInstances",
        parameters: &[&["EnumerationContext", "MaxObjectCount"]],
        build: |given| {
            Ok(Operation::PullInstances {
                context: given.text("EnumerationContext")?,
                max_object_count: given.number("MaxObjectCount")?,
            })
        },
    },
    Signature {
        name: "CloseEnumeration",
        parameters: &[&["EnumerationContext"]],
        build: |given| {
            Ok(Operation::CloseEnumeration { context: given.text("EnumerationContext")? })
        },
    },
    Signature {
        name: "EnumerationCount",
        parameters: &[&["EnumerationContext"]],
        build: |given| {
            Ok(Operation::EnumerationCount { context: given.text("EnumerationContext")? })
        },
    },
];
