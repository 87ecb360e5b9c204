//! Replies as a client reads them (DSP0201 §5.2.6).

use super::{
    super::{DecodeError, Limits, error::Quoted, reader::Reader},
    class, close_message, instance, open_message, path, request,
    value::{self, Owner, Stated},
};
use crate::cim::{
    CimError, CimName, CimType, Class, ClassPath, DataType, Instance, ListKind, Object, ObjectPath,
    Operation, ParamValue, QualifierDeclaration, Reply, Scalar, StatusCode, Value,
};

/// Decodes the reply to `operation`, or the CIM error it carries.
///
/// The value that GetProperty returns carries no type, so it comes untyped.
///
/// # Errors
/// [`DecodeError`] if it is no reply to that operation.
pub fn decode_reply(
    body: &[u8],
    operation: &Operation,
    limits: &Limits,
) -> Result<Result<Reply, CimError>, DecodeError> {
    let mut reader = Reader::new(body, limits)?;
    open_message(&mut reader)?.understood()?;
    reader.expect("SIMPLERSP")?;
    let is_method = matches!(operation, Operation::InvokeMethod { .. });
    reader.expect(if is_method { "METHODRESPONSE" } else { "IMETHODRESPONSE" })?;
    let name = reader.required("NAME")?;
    if !name.eq_ignore_ascii_case(operation.name()) {
        let what = format!("the reply is to {}, not {}", Quoted(name), operation.name());
        return Err(reader.not_valid(what));
    }
    let mut content = Content { kind: list_kind(operation), ..Content::default() };
    while let Some(element) = reader.child()? {
        content.read(&mut reader, element, is_method)?;
    }
    reader.end()?;
    close_message(&mut reader)?;
    match (reader.take_fault(), content.error.take()) {
        (Some(fault), _) => Err(fault),
        (None, Some(error)) => Ok(Err(error)),
        (None, None) => content.into_reply(operation, &reader).map(Ok),
    }
}

/// ERROR, opened. Instances of CIM_Error in it are passed over.
pub(super) fn error(reader: &mut Reader<'_>) -> Result<CimError, DecodeError> {
    let code = reader.required("CODE")?;
    let Ok(code) = code.trim().parse() else {
        return Err(reader.not_valid(format!("CODE is {}, not a number", Quoted(code))));
    };
    let description = reader.attribute("DESCRIPTION").unwrap_or_default().to_owned();
    reader.skip()?;
    Ok(CimError::new(StatusCode::from_code(code), description))
}

/// What stands in a response, before the operation says what it means.
#[derive(Default)]
struct Content {
    kind: Option<ListKind>,
    error: Option<CimError>,
    objects: Vec<Object>,
    items: Vec<Item>,
    /// RETURNVALUE: the type it states, and its value.
    returned: Option<(DataType, Option<Value>)>,
    parameters: Vec<ParamValue>,
}

/// What an IRETURNVALUE holds beside objects.
enum Item {
    Class(Box<Class>),
    ClassName(CimName),
    Qualifier(Box<QualifierDeclaration>),
    Value(Value),
}

impl Content {
    fn read(
        &mut self,
        reader: &mut Reader<'_>,
        element: &str,
        is_method: bool,
    ) -> Result<(), DecodeError> {
        match element {
            "ERROR" => self.error = Some(error(reader)?),
            "IRETURNVALUE" if !is_method => {
                while let Some(element) = reader.child()? {
                    self.item(reader, element)?;
                }
            }
            "RETURNVALUE" if is_method => self.returned = Some(return_value(reader)?),
            "PARAMVALUE" => self.parameters.push(request::parameter_value(reader)?),
            other => return Err(reader.unexpected(other)),
        }
        Ok(())
    }

    fn item(&mut self, reader: &mut Reader<'_>, element: &str) -> Result<(), DecodeError> {
        let owner = Owner { kind: "result", name: "IRETURNVALUE" };
        let untyped = Stated { ty: None, embedded: None };
        match element {
            "CLASS" => self.items.push(Item::Class(Box::new(class(reader)?))),
            "CLASSNAME" => self.items.push(Item::ClassName(path::class_name(reader)?)),
            "QUALIFIER.DECLARATION" => {
                let declaration = Box::new(class::qualifier_declaration(reader)?);
                self.items.push(Item::Qualifier(declaration));
            }
            "VALUE" => {
                let value = value::scalar(reader, untyped, owner)?.map(Value::Scalar);
                self.items.extend(value.map(Item::Value));
            }
            "VALUE.ARRAY" => self.items.push(Item::Value(value::array(reader, untyped, owner)?)),
            "VALUE.REFERENCE" => {
                self.items.push(Item::Value(value::reference(reader)?.into()));
            }
            _ => self.objects.push(object(reader, element)?),
        }
        Ok(())
    }

    fn into_reply(
        mut self,
        operation: &Operation,
        reader: &Reader<'_>,
    ) -> Result<Reply, DecodeError> {
        let reply = match operation {
            Operation::GetClass { .. } => match self.items.pop() {
                Some(Item::Class(class)) => Some(Reply::Class(class)),
                _ => None,
            },
            Operation::EnumerateClasses { .. } => self
                .all(|item| match item {
                    Item::Class(class) => Some(*class),
                    _ => None,
                })
                .map(Reply::Classes),
            Operation::EnumerateClassNames { .. } => self
                .all(|item| match item {
                    Item::ClassName(name) => Some(name),
                    _ => None,
                })
                .map(Reply::ClassNames),
            Operation::GetQualifier { .. } => match self.items.pop() {
                Some(Item::Qualifier(declaration)) => {
                    Some(Reply::QualifierDeclaration(declaration))
                }
                _ => None,
            },
            Operation::EnumerateQualifiers => self
                .all(|item| match item {
                    Item::Qualifier(declaration) => Some(*declaration),
                    _ => None,
                })
                .map(Reply::QualifierDeclarations),
            Operation::GetInstance { .. } => match self.objects.pop() {
                Some(Object::Instance(instance)) => Some(Reply::Instance(instance)),
                _ => None,
            },
            Operation::CreateInstance { .. } => match self.objects.pop() {
                Some(Object::InstancePath(path)) => Some(Reply::InstanceName(path)),
                _ => None,
            },
            Operation::GetProperty { .. } => self.into_property(),
            Operation::EnumerationCount { .. } => self.into_count(),
            Operation::InvokeMethod { .. } => {
                let (return_type, return_value) =
                    self.returned.unwrap_or((DataType::scalar(CimType::String), None));
                Some(Reply::Method { return_type, return_value, out: self.parameters })
            }
            Operation::CreateClass { .. }
            | Operation::ModifyClass { .. }
            | Operation::DeleteClass { .. }
            | Operation::SetQualifier { .. }
            | Operation::DeleteQualifier { .. }
            | Operation::ModifyInstance { .. }
            | Operation::DeleteInstance { .. }
            | Operation::SetProperty { .. }
            | Operation::CloseEnumeration { .. } => Some(Reply::Void),
            Operation::EnumerateInstances { .. }
            | Operation::EnumerateInstanceNames { .. }
            | Operation::Associators { .. }
            | Operation::AssociatorNames { .. }
            | Operation::References { .. }
            | Operation::ReferenceNames { .. }
            | Operation::ExecQuery { .. } => {
                self.kind.map(|kind| Reply::Objects(kind, self.objects))
            }
            Operation::OpenEnumerateInstances { .. }
            | Operation::OpenEnumerateInstancePaths { .. }
            | Operation::OpenAssociatorInstances { .. }
            | Operation::OpenAssociatorInstancePaths { .. }
            | Operation::OpenReferenceInstances { .. }
            | Operation::OpenReferenceInstancePaths { .. }
            | Operation::OpenQueryInstances { .. }
            | Operation::PullInstancesWithPath { .. }
            | Operation::PullInstancePaths { .. }
            | Operation::PullInstances { .. } => self.into_pulled(),
        };
        reply.ok_or_else(|| {
            reader.not_valid(format!("the reply has not what {} returns", operation.name()))
        })
    }

    /// The items, if all are of the kind that `pick` takes.
    fn all<T>(self, pick: impl Fn(Item) -> Option<T>) -> Option<Vec<T>> {
        self.items.into_iter().map(pick).collect()
    }

    fn into_property(mut self) -> Option<Reply> {
        let value = match self.items.pop() {
            None => return Some(Reply::Property(DataType::scalar(CimType::String), None)),
            Some(Item::Value(value)) => value,
            Some(_) => return None,
        };
        let ty = match &value {
            Value::Scalar(Scalar::Reference(_)) => DataType::scalar(CimType::Reference),
            Value::Scalar(_) => DataType::scalar(CimType::String),
            Value::Array(_) => DataType::array(CimType::String),
        };
        Some(Reply::Property(ty, Some(value)))
    }

    fn into_count(mut self) -> Option<Reply> {
        match self.items.pop() {
            None => Some(Reply::Count(None)),
            Some(Item::Value(value)) => match Scalar::parse(CimType::Uint64, value.as_str()?) {
                Some(Scalar::Uint64(count)) => Some(Reply::Count(Some(count))),
                _ => None,
            },
            Some(_) => None,
        }
    }

    fn into_pulled(self) -> Option<Reply> {
        let (mut context, mut ended, mut query_result_class) = (None, None, None);
        for ParamValue { name, value, .. } in self.parameters {
            let text = value.as_ref().and_then(Value::as_str);
            if name == "EnumerationContext" {
                context = text.map(str::to_owned);
            } else if name == "EndOfSequence" {
                ended = match &value {
                    Some(Value::Scalar(Scalar::Untyped(text))) => value::parse_boolean(text),
                    other => other.as_ref().and_then(Value::as_bool),
                };
            } else if name == "QueryResultClass"
                && let Some(Value::Scalar(Scalar::EmbeddedClass(class))) = value
            {
                query_result_class = Some(class);
            }
        }
        let context = if ended? { None } else { Some(context?) };
        Some(Reply::Pulled { kind: self.kind?, objects: self.objects, context, query_result_class })
    }
}

fn list_kind(operation: &Operation) -> Option<ListKind> {
    Some(match operation {
        Operation::EnumerateInstances { .. } => ListKind::NamedInstances,
        Operation::EnumerateInstanceNames { .. } => ListKind::InstanceNames,
        Operation::Associators { .. }
        | Operation::References { .. }
        | Operation::ExecQuery { .. } => ListKind::ObjectsWithPath,
        Operation::AssociatorNames { .. } | Operation::ReferenceNames { .. } => {
            ListKind::ObjectPaths
        }
        Operation::OpenEnumerateInstances { .. }
        | Operation::OpenAssociatorInstances { .. }
        | Operation::OpenReferenceInstances { .. }
        | Operation::PullInstancesWithPath { .. } => ListKind::InstancesWithPath,
        Operation::OpenEnumerateInstancePaths { .. }
        | Operation::OpenAssociatorInstancePaths { .. }
        | Operation::OpenReferenceInstancePaths { .. }
        | Operation::PullInstancePaths { .. } => ListKind::InstancePaths,
        Operation::OpenQueryInstances { .. } | Operation::PullInstances { .. } => {
            ListKind::Instances
        }
        _ => return None,
    })
}

/// RETURNVALUE, opened: its type and value.
fn return_value(reader: &mut Reader<'_>) -> Result<(DataType, Option<Value>), DecodeError> {
    let stated = Stated::read(reader, "PARAMTYPE")?;
    let owner = Owner { kind: "result", name: "RETURNVALUE" };
    let value = match reader.child()? {
        None => return Ok((stated.data_type(), None)),
        Some("VALUE") => value::scalar(reader, stated, owner)?.map(Value::Scalar),
        Some("VALUE.REFERENCE") => Some(value::reference(reader)?.into()),
        Some(other) => return Err(reader.unexpected(other)),
    };
    reader.end()?;
    let ty = match &value {
        Some(Value::Scalar(Scalar::Reference(_))) => DataType::scalar(CimType::Reference),
        _ => stated.data_type(),
    };
    Ok((ty, value))
}

/// An object of a list, in any of the elements that hold one.
fn object(reader: &mut Reader<'_>, element: &str) -> Result<Object, DecodeError> {
    Ok(match element {
        "INSTANCE" => Object::Instance(instance(reader)?),
        "INSTANCENAME" => Object::InstancePath(path::instance_name(reader)?),
        "INSTANCEPATH" => Object::InstancePath(path::instance_path(reader)?),
        "VALUE.NAMEDINSTANCE" => Object::Instance(instance::instance_with(reader, "INSTANCENAME")?),
        "VALUE.INSTANCEWITHPATH" => {
            Object::Instance(instance::instance_with(reader, "INSTANCEPATH")?)
        }
        "VALUE.OBJECT" => {
            let inner = reader.child()?.ok_or_else(|| reader.lacks("INSTANCE"))?;
            let object = described(reader, inner, None)?;
            reader.end()?;
            object
        }
        "VALUE.OBJECTWITHPATH" | "VALUE.OBJECTWITHLOCALPATH" => {
            let path_element = reader.child()?.ok_or_else(|| reader.lacks("INSTANCEPATH"))?;
            let path = path::object_path(reader, path_element)?;
            let inner = reader.child()?.ok_or_else(|| reader.lacks("INSTANCE"))?;
            let object = described(reader, inner, Some(path))?;
            reader.end()?;
            object
        }
        "OBJECTPATH" => {
            let inner = reader.child()?.ok_or_else(|| reader.lacks("INSTANCEPATH"))?;
            let object = match path::object_path(reader, inner)? {
                ObjectPath::Instance(path) => Object::InstancePath(path),
                ObjectPath::Class(path) => Object::ClassPath(path),
            };
            reader.end()?;
            object
        }
        other => return Err(reader.unexpected(other)),
    })
}

/// INSTANCE or CLASS, opened, that follows its path.
fn described(
    reader: &mut Reader<'_>,
    element: &str,
    path: Option<ObjectPath>,
) -> Result<Object, DecodeError> {
    match (element, path) {
        ("INSTANCE", None) => Ok(Object::Instance(instance(reader)?)),
        ("INSTANCE", Some(ObjectPath::Instance(path))) => {
            let instance = instance(reader)?;
            Ok(Object::Instance(Instance { path: Some(path), ..instance }))
        }
        ("CLASS", None) => {
            let class = class(reader)?;
            Ok(Object::Class(ClassPath::local(class.name.clone()), Box::new(class)))
        }
        ("CLASS", Some(ObjectPath::Class(path))) => {
            Ok(Object::Class(path, Box::new(class(reader)?)))
        }
        (other, _) => Err(reader.unexpected(other)),
    }
}
