//! A whole request (DSP0201 §5.2.6): what was called, on what, with which parameters.

use super::{
    super::{DecodeError, Limits, encode::Envelope, error::Quoted, reader::Reader},
    Head,
    arguments::{Argument, Given},
    class, close_message, instance,
    operation::Signature,
    path, repeated,
    value::{self, Owner, Stated},
};
use crate::cim::{
    ArrayKind, CimError, CimName, CimType, DataType, Embedded, Instance, Namespace, ObjectPath,
    Operation, ParamValue, Request, Scalar, StatusCode, Value,
};

/// A request message.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestMessage {
    /// The client's number for it, which the reply repeats.
    pub id: String,
    /// PROTOCOLVERSION, 1.x.
    pub protocol_version: String,
    /// CIMVERSION, 2.x.
    pub cim_version: String,
    /// DTDVERSION, 2.x.
    pub dtd_version: String,
    /// What it asks.
    pub body: RequestBody,
}

/// What a request message asks.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestBody {
    /// One operation.
    Simple(Box<Call>),
    /// Several at once (MULTIREQ). They are not decoded, since we don't support them.
    Multiple,
}

/// One call in a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The operation or method, spelled as the client did: the reply must repeat it so.
    pub name: String,
    /// What it is called on; tells intrinsic operations from methods.
    pub target: Target,
    /// The operation, or what to answer instead: `NOT_SUPPORTED` for an intrinsic operation that
    /// nobody knows, `INVALID_PARAMETER` for a parameter that is missing, unknown, given twice or
    /// holds what it can't hold, a malformed name or a value that is not of the type stated for it.
    pub request: Result<Request, CimError>,
}

/// What is called, for comparison with the `CIMObject` header.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The namespace of an intrinsic operation.
    Namespace(Namespace),
    /// The class or the instance of a method, with its namespace.
    Object(ObjectPath),
}

impl RequestMessage {
    /// What frames the reply to `call`, which is this message's.
    pub fn envelope<'m>(&'m self, call: &'m Call) -> Envelope<'m> {
        let (id, protocol_version, name) = (&self.id, &self.protocol_version, &call.name);
        match call.target {
            Target::Namespace(_) => Envelope::intrinsic(id, protocol_version, name),
            Target::Object(_) => Envelope::method(id, protocol_version, name),
        }
    }
}

/// A request of which only CIM and MESSAGE were read: what a header says of the protocol is compared
/// before anything else in the message is judged.
pub struct OpenedRequest<'b> {
    reader: Reader<'b>,
    head: Head,
}

/// Opens a request.
///
/// # Errors
/// [`DecodeError`] if it does not begin as a message that we understand.
pub fn open_request<'b>(body: &'b [u8], limits: &Limits) -> Result<OpenedRequest<'b>, DecodeError> {
    let mut reader = Reader::new(body, limits)?;
    let head = super::open_message(&mut reader)?;
    Ok(OpenedRequest { reader, head })
}

impl OpenedRequest<'_> {
    /// PROTOCOLVERSION, whatever it says.
    pub fn protocol_version(&self) -> &str {
        &self.head.protocol_version
    }

    /// Decodes the rest.
    ///
    /// # Errors
    /// [`DecodeError`] if the message as a whole can't be answered with a CIM status. What is wrong
    /// with one parameter is in [`Call::request`] instead.
    pub fn decode(self) -> Result<RequestMessage, DecodeError> {
        let Self { mut reader, head } = self;
        let Head { id, protocol_version, cim_version, dtd_version } = head.understood()?;
        let body = match reader.child()? {
            Some("SIMPLEREQ") => RequestBody::Simple(Box::new(simple_request(&mut reader)?)),
            Some("MULTIREQ") => {
                reader.skip()?;
                RequestBody::Multiple
            }
            Some(other) => return Err(reader.unexpected(other)),
            None => return Err(reader.lacks("SIMPLEREQ")),
        };
        close_message(&mut reader)?;
        Ok(RequestMessage { id, protocol_version, cim_version, dtd_version, body })
    }
}

/// Decodes a request.
///
/// # Errors
/// Those of [`open_request`] and [`OpenedRequest::decode`].
pub fn decode_request(body: &[u8], limits: &Limits) -> Result<RequestMessage, DecodeError> {
    open_request(body, limits)?.decode()
}

fn simple_request(reader: &mut Reader<'_>) -> Result<Call, DecodeError> {
    loop {
        let call = match reader.child()? {
            Some("CORRELATOR") => {
                reader.skip()?;
                continue;
            }
            Some("IMETHODCALL") => intrinsic_call(reader)?,
            Some("METHODCALL") => method_call(reader)?,
            Some(other) => return Err(reader.unexpected(other)),
            None => return Err(reader.lacks("IMETHODCALL")),
        };
        reader.end()?;
        return Ok(call);
    }
}

/// What is wrong with a value in a well-formed request, as its operation's error.
fn invalid_parameter(fault: &DecodeError) -> CimError {
    CimError::new(StatusCode::InvalidParameter, fault.to_string())
}

fn intrinsic_call(reader: &mut Reader<'_>) -> Result<Call, DecodeError> {
    let name = reader.required("NAME")?.to_owned();
    reader.expect("LOCALNAMESPACEPATH")?;
    let namespace = path::local_namespace_path(reader)?;
    let target = Target::Namespace(namespace.clone());
    let Some(signature) = Signature::find(&name) else {
        while reader.child()?.is_some() {
            reader.skip()?;
        }
        let text = format!("operation {} is not known", Quoted(&name));
        let request = Err(CimError::new(StatusCode::NotSupported, text));
        return Ok(Call { name, target, request });
    };
    let mut arguments = Vec::new();
    while let Some(element) = reader.child()? {
        if element != "IPARAMVALUE" {
            return Err(reader.unexpected(element));
        }
        arguments.push(intrinsic_parameter(reader)?);
    }
    let operation = match reader.take_fault() {
        Some(fault) => Err(invalid_parameter(&fault)),
        None => signature.build(arguments),
    };
    let request = operation.map(|operation| Request { namespace, operation });
    Ok(Call { name, target, request })
}

fn intrinsic_parameter<'a>(reader: &mut Reader<'a>) -> Result<Given<'a>, DecodeError> {
    let name = reader.required_text("NAME")?;
    let Some(element) = reader.child()? else {
        return Ok((name, None));
    };
    let untyped = Stated { ty: None, embedded: None };
    let owner = Owner { kind: "parameter", name: &name };
    let argument = match element {
        "VALUE" => Argument::Text(reader.content()?),
        "VALUE.ARRAY" => Argument::Array(value::array(reader, untyped, owner)?),
        "INSTANCENAME" => Argument::InstanceName(path::instance_name(reader)?),
        "CLASSNAME" => {
            let class = reader.required_text("NAME")?;
            reader.end()?;
            Argument::ClassName(class)
        }
        "VALUE.REFERENCE" => Argument::Reference(value::reference(reader)?),
        "INSTANCE" => Argument::Instance(instance(reader)?),
        "VALUE.NAMEDINSTANCE" => {
            Argument::NamedInstance(instance::instance_with(reader, "INSTANCENAME")?)
        }
        "CLASS" => Argument::Class(Box::new(class(reader)?)),
        "QUALIFIER.DECLARATION" => {
            Argument::Qualifier(Box::new(class::qualifier_declaration(reader)?))
        }
        other => return Err(reader.unexpected(other)),
    };
    reader.end()?;
    Ok((name, Some(argument)))
}

fn method_call(reader: &mut Reader<'_>) -> Result<Call, DecodeError> {
    let name = reader.required("NAME")?.to_owned();
    let method = reader.name("NAME")?;
    let object = match reader.child()? {
        Some(element @ ("LOCALINSTANCEPATH" | "LOCALCLASSPATH")) => {
            path::object_path(reader, element)?
        }
        Some(other) => return Err(reader.unexpected(other)),
        None => return Err(reader.lacks("LOCALINSTANCEPATH")),
    };
    let target = Target::Object(object.clone());
    let mut parameters = Vec::new();
    while let Some(element) = reader.child()? {
        if element != "PARAMVALUE" {
            return Err(reader.unexpected(element));
        }
        parameters.push(parameter_value(reader)?);
    }
    if let Some(name) = repeated(parameters.iter().map(|parameter| &parameter.name)) {
        reader.reject(format!("parameter `{name}` is given twice"));
    }
    let (namespace, object) = relative(object);
    let request = match (reader.take_fault(), namespace) {
        (Some(fault), _) => Err(invalid_parameter(&fault)),
        (None, None) => Err(CimError::new(StatusCode::InvalidNamespace, "no namespace")),
        (None, Some(namespace)) => {
            let operation = Operation::InvokeMethod { object, method, parameters };
            Ok(Request { namespace, operation })
        }
    };
    Ok(Call { name, target, request })
}

/// The path without its namespace, like those of intrinsic operations.
fn relative(path: ObjectPath) -> (Option<Namespace>, ObjectPath) {
    match path {
        ObjectPath::Class(mut path) => (path.namespace.take(), path.into()),
        ObjectPath::Instance(mut path) => (path.namespace.take(), path.into()),
    }
}

/// PARAMVALUE, opened, of a call or of a reply.
pub(super) fn parameter_value(reader: &mut Reader<'_>) -> Result<ParamValue, DecodeError> {
    let attribute = if reader.attribute("PARAMTYPE").is_some() { "PARAMTYPE" } else { "TYPE" };
    let stated = Stated::read(reader, attribute)?;
    let name = reader.name("NAME")?;
    let stated_type = stated.ty.map(|_| stated.data_type());
    let Some(element) = reader.child()? else {
        return Ok(ParamValue { name, ty: stated_type, value: None });
    };
    let (ty, value) = parameter_content(reader, element, stated, &name)?;
    reader.end()?;
    Ok(ParamValue { name, ty, value })
}

/// The value of a parameter and its type, as far as the sender stated or showed it.
fn parameter_content(
    reader: &mut Reader<'_>,
    element: &str,
    stated: Stated,
    name: &CimName,
) -> Result<(Option<DataType>, Option<Value>), DecodeError> {
    let owner = value::owner("parameter", name);
    let scalar = stated.ty.map(|_| stated.data_type());
    let array = scalar.clone().map(|ty| DataType { array: ArrayKind::Array, ..ty });
    let reference = DataType::scalar(CimType::Reference);
    let embedded =
        |embedded| DataType { embedded: Some(embedded), ..DataType::scalar(CimType::String) };
    Ok(match element {
        "VALUE" => (scalar, value::scalar(reader, stated, owner)?.map(Value::Scalar)),
        "VALUE.ARRAY" => (array, Some(value::array(reader, stated, owner)?)),
        "VALUE.REFERENCE" => (Some(reference), Some(value::reference(reader)?.into())),
        "VALUE.REFARRAY" => {
            let ty = DataType { array: ArrayKind::Array, ..reference };
            (Some(ty), Some(value::reference_array(reader)?))
        }
        "CLASSNAME" | "INSTANCENAME" => {
            (Some(reference), Some(path::object_path(reader, element)?.into()))
        }
        "INSTANCE" => (Some(embedded(Embedded::Instance)), Some(instance(reader)?.into())),
        "VALUE.NAMEDINSTANCE" => {
            let instance = instance::instance_with(reader, "INSTANCENAME")?;
            let instance = Instance { path: None, ..instance };
            (Some(embedded(Embedded::Instance)), Some(instance.into()))
        }
        "CLASS" => {
            let class = Scalar::EmbeddedClass(Box::new(class(reader)?));
            (Some(embedded(Embedded::Object)), Some(Value::Scalar(class)))
        }
        other => return Err(reader.unexpected(other)),
    })
}
