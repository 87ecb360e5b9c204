//! The parameters of an intrinsic operation, taken one by one as what they should be.

use std::borrow::Cow;

use super::{super::error::Quoted, value::parse_boolean};
use crate::cim::{
    AssociationFilter, CimError, CimName, CimType, Class, ClassOptions, ClassPath, Instance,
    InstanceOptions, InstancePath, ObjectPath, OpenOptions, QualifierDeclaration, Scalar,
    StatusCode, Value,
};

/// What an IPARAMVALUE holds.
pub(super) enum Argument<'a> {
    Text(Cow<'a, str>),
    /// Of untyped elements.
    Array(Value),
    InstanceName(InstancePath),
    Reference(ObjectPath),
    ClassName(Cow<'a, str>),
    Instance(Instance),
    NamedInstance(Instance),
    Class(Box<Class>),
    Qualifier(Box<QualifierDeclaration>),
}

/// A parameter as it is given: its name, and what it holds unless it is NULL.
pub(super) type Given<'a> = (Cow<'a, str>, Option<Argument<'a>>);

/// The parameters of a call that its operation has not taken yet.
pub(super) struct Arguments<'a> {
    given: Vec<Given<'a>>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(given: Vec<Given<'a>>) -> Self {
        Self { given }
    }

    /// Takes a parameter; `None` if it is absent or NULL.
    fn take(&mut self, name: &str) -> Option<Argument<'a>> {
        let index = self.given.iter().position(|(given, _)| given.eq_ignore_ascii_case(name))?;
        self.given.swap_remove(index).1
    }

    fn optional_text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::Text(text)) => Ok(Some(text)),
            Some(_) => Err(unsuitable(name, "a VALUE")),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, CimError> {
        self.owned_text(name)?.ok_or_else(|| missing(name))
    }

    fn owned_text(&mut self, name: &str) -> Result<Option<String>, CimError> {
        Ok(self.optional_text(name)?.map(Cow::into_owned))
    }

    /// The name of a property or a qualifier.
    pub(super) fn element_name(&mut self, name: &str) -> Result<CimName, CimError> {
        parse_name(name, &self.text(name)?)
    }

    /// A role. Some clients write "no role" as an empty one.
    fn role(&mut self, name: &str) -> Result<Option<CimName>, CimError> {
        match self.optional_text(name)?.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => parse_name(name, text).map(Some),
        }
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, CimError> {
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

    pub(super) fn number(&mut self, name: &str) -> Result<u32, CimError> {
        self.optional_number(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn optional_class(&mut self, name: &str) -> Result<Option<CimName>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::ClassName(text)) => parse_name(name, &text).map(Some),
            Some(_) => Err(unsuitable(name, "a CLASSNAME")),
        }
    }

    pub(super) fn class(&mut self, name: &str) -> Result<CimName, CimError> {
        self.optional_class(name)?.ok_or_else(|| missing(name))
    }

    pub(super) fn object_path(&mut self, name: &str) -> Result<ObjectPath, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::InstanceName(path)) => Ok(path.into()),
            Some(Argument::ClassName(text)) => {
                Ok(ClassPath::local(parse_name(name, &text)?).into())
            }
            Some(_) => Err(unsuitable(name, "an INSTANCENAME or a CLASSNAME")),
        }
    }

    pub(super) fn instance_path(&mut self, name: &str) -> Result<InstancePath, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::InstanceName(path)) => Ok(path),
            Some(_) => Err(unsuitable(name, "an INSTANCENAME")),
        }
    }

    pub(super) fn instance(&mut self, name: &str) -> Result<Instance, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Instance(instance)) => Ok(instance),
            Some(_) => Err(unsuitable(name, "an INSTANCE")),
        }
    }

    pub(super) fn named_instance(&mut self, name: &str) -> Result<Instance, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::NamedInstance(instance)) => Ok(instance),
            Some(_) => Err(unsuitable(name, "a VALUE.NAMEDINSTANCE")),
        }
    }

    pub(super) fn class_definition(&mut self, name: &str) -> Result<Box<Class>, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Class(class)) => Ok(class),
            Some(_) => Err(unsuitable(name, "a CLASS")),
        }
    }

    pub(super) fn qualifier(&mut self, name: &str) -> Result<Box<QualifierDeclaration>, CimError> {
        match self.take(name) {
            None => Err(missing(name)),
            Some(Argument::Qualifier(declaration)) => Ok(declaration),
            Some(_) => Err(unsuitable(name, "a QUALIFIER.DECLARATION")),
        }
    }

    /// The new value of a property, untyped unless it is a reference.
    pub(super) fn value(&mut self, name: &str) -> Result<Option<Value>, CimError> {
        match self.take(name) {
            None => Ok(None),
            Some(Argument::Text(text)) => {
                Ok(Some(Value::Scalar(Scalar::Untyped(text.into_owned()))))
            }
            Some(Argument::Array(array)) => Ok(Some(array)),
            Some(Argument::Reference(path)) => Ok(Some(path.into())),
            Some(_) => Err(unsuitable(name, "a VALUE, VALUE.ARRAY or VALUE.REFERENCE")),
        }
    }

    /// PropertyList. What is no name of a property names none, like an unknown name.
    pub(super) fn property_list(&mut self) -> Result<Option<Vec<CimName>>, CimError> {
        match self.take("PropertyList") {
            None => Ok(None),
            Some(Argument::Array(Value::Array(elements))) => {
                let names = elements.iter().flatten().filter_map(Scalar::as_str);
                Ok(Some(names.filter_map(|name| CimName::parse(name.trim()).ok()).collect()))
            }
            Some(_) => Err(unsuitable("PropertyList", "a VALUE.ARRAY")),
        }
    }

    pub(super) fn class_options(&mut self) -> Result<ClassOptions, CimError> {
        Ok(ClassOptions {
            local_only: self.flag("LocalOnly", true)?,
            include_qualifiers: self.flag("IncludeQualifiers", true)?,
            include_class_origin: self.flag("IncludeClassOrigin", false)?,
            properties: None,
        })
    }

    pub(super) fn instance_options(&mut self) -> Result<InstanceOptions, CimError> {
        Ok(InstanceOptions {
            include_class_origin: self.flag("IncludeClassOrigin", false)?,
            properties: self.property_list()?,
        })
    }

    /// The options of an operation that has the deprecated ones as well.
    pub(super) fn deprecating_options(&mut self) -> Result<InstanceOptions, CimError> {
        self.flag("LocalOnly", true)?;
        self.flag("IncludeQualifiers", false)?;
        self.instance_options()
    }

    pub(super) fn associator_filter(&mut self) -> Result<AssociationFilter, CimError> {
        Ok(AssociationFilter {
            association_class: self.optional_class("AssocClass")?,
            result_class: self.optional_class("ResultClass")?,
            role: self.role("Role")?,
            result_role: self.role("ResultRole")?,
        })
    }

    pub(super) fn reference_filter(&mut self) -> Result<AssociationFilter, CimError> {
        Ok(AssociationFilter {
            association_class: self.optional_class("ResultClass")?,
            result_class: None,
            role: self.role("Role")?,
            result_role: None,
        })
    }

    pub(super) fn open_options(&mut self) -> Result<OpenOptions, CimError> {
        Ok(OpenOptions {
            filter_language: self.owned_text("FilterQueryLanguage")?,
            filter: self.owned_text("FilterQuery")?,
            operation_timeout: self.optional_number("OperationTimeout")?,
            continue_on_error: self.flag("ContinueOnError", false)?,
            max_object_count: self.optional_number("MaxObjectCount")?.unwrap_or(0),
        })
    }
}

pub(super) fn invalid(description: String) -> CimError {
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
