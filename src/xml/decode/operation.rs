//! Intrinsic operations from their parameters (DSP0200 §5.3.2).
//!
//! Names of operations and parameters are compared without regard to case. LocalOnly and
//! IncludeQualifiers of instance operations, both deprecated, are read and dropped.

use super::{super::error::Quoted, value::parse_boolean};
use crate::cim::{
    AssociationFilter, CimError, CimName, CimType, Class, ClassOptions, ClassPath, Instance,
    InstanceOptions, InstancePath, ObjectPath, OpenOptions, Operation, QualifierDeclaration,
    Scalar, StatusCode, Value,
};

/// What an IPARAMVALUE holds.
pub(super) enum Argument {
    Text(String),
    /// Of untyped elements.
    Array(Value),
    InstanceName(InstancePath),
    Reference(ObjectPath),
    ClassName(String),
    Instance(Instance),
    NamedInstance(Instance),
    Class(Box<Class>),
    Qualifier(Box<QualifierDeclaration>),
}

/// Makes an operation of its parameters.
pub(super) type Builder = fn(&mut Arguments) -> Result<Operation, CimError>;

/// What makes the operation of that name, if there is one.
pub(super) fn builder(name: &str) -> Option<Builder> {
    OPERATIONS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, builder)| *builder)
}

/// The operation that `builder` makes of `given`, all of which it must take.
pub(super) fn build(
    builder: Builder,
    given: Vec<(String, Option<Argument>)>,
) -> Result<Operation, CimError> {
    let mut arguments = Arguments { given };
    let operation = builder(&mut arguments)?;
    match arguments.given.first() {
        None => Ok(operation),
        Some((name, _)) => {
            Err(invalid(format!("parameter {} is unknown or given twice", Quoted(name))))
        }
    }
}

const OPERATIONS: [(&str, Builder); 35] = [
    ("GetClass", |given| {
        let properties = given.property_list()?;
        Ok(Operation::GetClass {
            class: given.class("ClassName")?,
            options: ClassOptions { properties, ..given.class_options()? },
        })
    }),
    ("EnumerateClasses", |given| {
        Ok(Operation::EnumerateClasses {
            class: given.optional_class("ClassName")?,
            deep_inheritance: given.flag("DeepInheritance", false)?,
            options: given.class_options()?,
        })
    }),
    ("EnumerateClassNames", |given| {
        Ok(Operation::EnumerateClassNames {
            class: given.optional_class("ClassName")?,
            deep_inheritance: given.flag("DeepInheritance", false)?,
        })
    }),
    ("CreateClass", |given| {
        Ok(Operation::CreateClass { class: given.class_definition("NewClass")? })
    }),
    ("ModifyClass", |given| {
        Ok(Operation::ModifyClass { class: given.class_definition("ModifiedClass")? })
    }),
    ("DeleteClass", |given| Ok(Operation::DeleteClass { class: given.class("ClassName")? })),
    ("GetQualifier", |given| {
        Ok(Operation::GetQualifier { name: given.element_name("QualifierName")? })
    }),
    ("EnumerateQualifiers", |_| Ok(Operation::EnumerateQualifiers)),
    ("SetQualifier", |given| {
        Ok(Operation::SetQualifier { declaration: given.qualifier("QualifierDeclaration")? })
    }),
    ("DeleteQualifier", |given| {
        Ok(Operation::DeleteQualifier { name: given.element_name("QualifierName")? })
    }),
    ("GetInstance", |given| {
        Ok(Operation::GetInstance {
            path: given.instance_path("InstanceName")?,
            options: given.deprecating_options()?,
        })
    }),
    ("EnumerateInstances", |given| {
        Ok(Operation::EnumerateInstances {
            class: given.class("ClassName")?,
            deep_inheritance: given.flag("DeepInheritance", true)?,
            options: given.deprecating_options()?,
        })
    }),
    ("EnumerateInstanceNames", |given| {
        Ok(Operation::EnumerateInstanceNames { class: given.class("ClassName")? })
    }),
    ("CreateInstance", |given| {
        Ok(Operation::CreateInstance { instance: given.instance("NewInstance")? })
    }),
    ("ModifyInstance", |given| {
        given.flag("IncludeQualifiers", true)?;
        Ok(Operation::ModifyInstance {
            instance: given.named_instance("ModifiedInstance")?,
            properties: given.property_list()?,
        })
    }),
    ("DeleteInstance", |given| {
        Ok(Operation::DeleteInstance { path: given.instance_path("InstanceName")? })
    }),
    ("GetProperty", |given| {
        Ok(Operation::GetProperty {
            path: given.instance_path("InstanceName")?,
            property: given.element_name("PropertyName")?,
        })
    }),
    ("SetProperty", |given| {
        Ok(Operation::SetProperty {
            path: given.instance_path("InstanceName")?,
            property: given.element_name("PropertyName")?,
            value: given.value("NewValue")?,
        })
    }),
    ("Associators", |given| {
        Ok(Operation::Associators {
            object: given.object_path("ObjectName")?,
            filter: given.associator_filter()?,
            include_qualifiers: given.flag("IncludeQualifiers", false)?,
            options: given.instance_options()?,
        })
    }),
    ("AssociatorNames", |given| {
        Ok(Operation::AssociatorNames {
            object: given.object_path("ObjectName")?,
            filter: given.associator_filter()?,
        })
    }),
    ("References", |given| {
        Ok(Operation::References {
            object: given.object_path("ObjectName")?,
            filter: given.reference_filter()?,
            include_qualifiers: given.flag("IncludeQualifiers", false)?,
            options: given.instance_options()?,
        })
    }),
    ("ReferenceNames", |given| {
        Ok(Operation::ReferenceNames {
            object: given.object_path("ObjectName")?,
            filter: given.reference_filter()?,
        })
    }),
    ("ExecQuery", |given| {
        Ok(Operation::ExecQuery {
            language: given.text("QueryLanguage")?,
            query: given.text("Query")?,
        })
    }),
    ("OpenEnumerateInstances", |given| {
        Ok(Operation::OpenEnumerateInstances {
            class: given.class("ClassName")?,
            deep_inheritance: given.flag("DeepInheritance", true)?,
            options: given.instance_options()?,
            open: given.open_options()?,
        })
    }),
    ("OpenEnumerateInstancePaths", |given| {
        Ok(Operation::OpenEnumerateInstancePaths {
            class: given.class("ClassName")?,
            open: given.open_options()?,
        })
    }),
    ("OpenAssociatorInstances", |given| {
        Ok(Operation::OpenAssociatorInstances {
            path: given.instance_path("InstanceName")?,
            filter: given.associator_filter()?,
            options: given.instance_options()?,
            open: given.open_options()?,
        })
    }),
    ("OpenAssociatorInstancePaths", |given| {
        Ok(Operation::OpenAssociatorInstancePaths {
            path: given.instance_path("InstanceName")?,
            filter: given.associator_filter()?,
            open: given.open_options()?,
        })
    }),
    ("OpenReferenceInstances", |given| {
        Ok(Operation::OpenReferenceInstances {
            path: given.instance_path("InstanceName")?,
            filter: given.reference_filter()?,
            options: given.instance_options()?,
            open: given.open_options()?,
        })
    }),
    ("OpenReferenceInstancePaths", |given| {
        Ok(Operation::OpenReferenceInstancePaths {
            path: given.instance_path("InstanceName")?,
            filter: given.reference_filter()?,
            open: given.open_options()?,
        })
    }),
    ("OpenQueryInstances", |given| {
        Ok(Operation::OpenQueryInstances {
            return_query_result_class: given.flag("ReturnQueryResultClass", false)?,
            open: given.open_options()?,
        })
    }),
    ("PullInstancesWithPath", |given| {
        Ok(Operation::PullInstancesWithPath {
            context: given.text("EnumerationContext")?,
            max_object_count: given.number("MaxObjectCount")?,
        })
    }),
    ("PullInstancePaths", |given| {
        Ok(Operation::PullInstancePaths {
            context: given.text("EnumerationContext")?,
            max_object_count: given.number("MaxObjectCount")?,
        })
    }),
    ("PullInstances", |given| {
        Ok(Operation::PullInstances {
            context: given.text("EnumerationContext")?,
            max_object_count: given.number("MaxObjectCount")?,
        })
    }),
    ("CloseEnumeration", |given| {
        Ok(Operation::CloseEnumeration { context: given.text("EnumerationContext")? })
    }),
    ("EnumerationCount", |given| {
        Ok(Operation::EnumerationCount { context: given.text("EnumerationContext")? })
    }),
];

/// The parameters of a call that its operation has not taken yet.
pub(super) struct Arguments {
    given: Vec<(String, Option<Argument>)>,
}

impl Arguments {
    /// Takes a parameter; `None` if it is absent or NULL.
    fn take(&mut self, name: &str) -> Option<Argument> {
        let index = self.given.iter().position(|(given, _)| given.eq_ignore_ascii_case(name))?;
        self.given.remove(index).1
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<String>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(text)),
            Some(_) => Err(unsuitable(name, "a VALUE")),
        }
    }

    fn text(&mut self, name: &str) -> Result<String, CimError> {
        self.optional_text(name)?.ok_or_else(|| missing(name))
    }

    /// The name of a property or a qualifier.
    fn element_name(&mut self, name: &str) -> Result<CimName, CimError> {
        parse_name(name, &self.text(name)?)
    }

    /// A role. Some clients write "no role" as an empty one.
    fn role(&mut self, name: &str) -> Result<Option<CimName>, CimError> {
        match self.optional_text(name)?.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => parse_name(name, text).map(Some),
        }
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, CimError> {
        match self.optional_text(name)? {
            None => Ok(default),
            Some(text) => {
                parse_boolean(&text).ok_or_else(|| bad_value(name, &text, "TRUE or FALSE"))
            }
        }
    }

    fn optional_number(&mut self, name: &str) -> Result<Option<u32>, CimError> {
        match self.optional_text(name)? {
            None => Ok(None),
            Some(text) => match Scalar::parse(CimType::Uint32, &text) {
                Some(Scalar::Uint32(number)) => Ok(Some(number)),
                _ => Err(bad_value(name, &text, "uint32")),
            },
        }
    }

    fn number(&mut self, name: &str) -> Result<u32, CimError> {
        self.optional_number(name)?.ok_or_else(|| missing(name))
    }

    fn optional_class(&mut self, name: &str) -> Result<Option<CimName>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::ClassName(text)) => parse_name(name, &text).map(Some),
            Some(_) => Err(unsuitable(name, "a CLASSNAME")),
        }
    }

    fn class(&mut self, name: &str) -> Result<CimName, CimError> {
        self.optional_class(name)?.ok_or_else(|| missing(name))
    }

    fn object_path(&mut self, name: &str) -> Result<ObjectPath, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::InstanceName(path)) => Ok(path.into()),
            Some(Argument::ClassName(text)) => {
                Ok(ClassPath::local(parse_name(name, &text)?).into())
            }
            Some(_) => Err(unsuitable(name, "an INSTANCENAME or a CLASSNAME")),
        }
    }

    fn instance_path(&mut self, name: &str) -> Result<InstancePath, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::InstanceName(path)) => Ok(path),
            Some(_) => Err(unsuitable(name, "an INSTANCENAME")),
        }
    }

    fn instance(&mut self, name: &str) -> Result<Instance, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Instance(instance)) => Ok(instance),
            Some(_) => Err(unsuitable(name, "an INSTANCE")),
        }
    }

    fn named_instance(&mut self, name: &str) -> Result<Instance, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::NamedInstance(instance)) => Ok(instance),
            Some(_) => Err(unsuitable(name, "a VALUE.NAMEDINSTANCE")),
        }
    }

    fn class_definition(&mut self, name: &str) -> Result<Box<Class>, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Class(class)) => Ok(class),
            Some(_) => Err(unsuitable(name, "a CLASS")),
        }
    }

    fn qualifier(&mut self, name: &str) -> Result<Box<QualifierDeclaration>, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Qualifier(declaration)) => Ok(declaration),
            Some(_) => Err(unsuitable(name, "a QUALIFIER.DECLARATION")),
        }
    }

    /// The new value of a property, untyped unless it is a reference.
    fn value(&mut self, name: &str) -> Result<Option<Value>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(Value::Scalar(Scalar::Untyped(text)))),
            Some(Argument::Array(array)) => Ok(Some(array)),
            Some(Argument::Reference(path)) => Ok(Some(path.into())),
            Some(_) => Err(unsuitable(name, "a VALUE, VALUE.ARRAY or VALUE.REFERENCE")),
        }
    }

    /// PropertyList. What is no name of a property names none, like an unknown name.
    fn property_list(&mut self) -> Result<Option<Vec<CimName>>, CimError> {
        match self.take("PropertyList") {
            None => Ok(None),
            Some(Argument::Array(Value::Array(elements))) => {
                let names = elements.iter().flatten().filter_map(Scalar::as_str);
                Ok(Some(names.filter_map(|name| CimName::parse(name.trim()).ok()).collect()))
            }
            Some(_) => Err(unsuitable("PropertyList", "a VALUE.ARRAY")),
        }
    }

    fn class_options(&mut self) -> Result<ClassOptions, CimError> {
        Ok(ClassOptions {
            local_only: self.flag("LocalOnly", true)?,
            include_qualifiers: self.flag("IncludeQualifiers", true)?,
            include_class_origin: self.flag("IncludeClassOrigin", false)?,
            properties: None,
        })
    }

    fn instance_options(&mut self) -> Result<InstanceOptions, CimError> {
        Ok(InstanceOptions {
            include_class_origin: self.flag("IncludeClassOrigin", false)?,
            properties: self.property_list()?,
        })
    }

    /// The options of an operation that has the deprecated ones as well.
    fn deprecating_options(&mut self) -> Result<InstanceOptions, CimError> {
        self.flag("LocalOnly", true)?;
        self.flag("IncludeQualifiers", false)?;
        self.instance_options()
    }

    fn associator_filter(&mut self) -> Result<AssociationFilter, CimError> {
        Ok(AssociationFilter {
            association_class: self.optional_class("AssocClass")?,
            result_class: self.optional_class("ResultClass")?,
            role: self.role("Role")?,
            result_role: self.role("ResultRole")?,
        })
    }

    fn reference_filter(&mut self) -> Result<AssociationFilter, CimError> {
        Ok(AssociationFilter {
            association_class: self.optional_class("ResultClass")?,
            result_class: None,
            role: self.role("Role")?,
            result_role: None,
        })
    }

    fn open_options(&mut self) -> Result<OpenOptions, CimError> {
        Ok(OpenOptions {
            filter_language: self.optional_text("FilterQueryLanguage")?,
            filter: self.optional_text("FilterQuery")?,
            operation_timeout: self.optional_number("OperationTimeout")?,
            continue_on_error: self.flag("ContinueOnError", false)?,
            max_object_count: self.optional_number("MaxObjectCount")?.unwrap_or(0),
        })
    }
}

fn invalid(description: String) -> CimError {
    CimError::new(StatusCode::InvalidParameter, description)
}

fn missing(name: &str) -> CimError {
    invalid(format!("parameter `{name}` is missing"))
}

fn unsuitable(name: &str, allowed: &str) -> CimError {
    invalid(format!("parameter `{name}` must hold {allowed}"))
}

fn bad_value(name: &str, text: &str, allowed: &str) -> CimError {
    invalid(format!("parameter `{name}` is {}, not {allowed}", Quoted(text)))
}

fn parse_name(parameter: &str, text: &str) -> Result<CimName, CimError> {
    CimName::parse(text.trim())
        .map_err(|error| invalid(format!("parameter `{parameter}`: {error}")))
}
