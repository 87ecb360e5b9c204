//! VALUE, VALUE.ARRAY, VALUE.REFERENCE and VALUE.REFARRAY (DSP0201 §5.2.3).

use std::{borrow::Cow, fmt};

use super::{
    super::{DecodeError, embedded, error::Quoted, reader::Reader},
    class, path,
};
use crate::cim::{CimName, CimType, DataType, Embedded, ObjectPath, Qualifier, Scalar, Value};

/// Whose value is read, for messages.
#[derive(Clone, Copy)]
pub(super) struct Owner<'n> {
    pub(super) kind: &'static str,
    pub(super) name: &'n str,
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// What a value's element says of its type.
#[derive(Clone, Copy)]
pub(super) struct Stated {
    /// `None` where TYPE or PARAMTYPE is left out.
    pub(super) ty: Option<CimType>,
    pub(super) embedded: Option<Embedded>,
}

impl Stated {
    /// What the attributes of the element opened last say. PARAMTYPE may also be `instance` or
    /// `object`, as old clients write it.
    pub(super) fn read(reader: &Reader<'_>, attribute: &str) -> Result<Self, DecodeError> {
        let object =
            reader.attribute("EmbeddedObject").or_else(|| reader.attribute("EMBEDDEDOBJECT"));
        let mut embedded = match object {
            None => None,
            Some("instance") => Some(Embedded::Instance),
            Some("object") => Some(Embedded::Object),
            Some(other) => {
                let what = format!("EmbeddedObject {} is not known", Quoted(other));
                return Err(reader.not_valid(what));
            }
        };
        let mut ty = match reader.attribute(attribute) {
            None => None,
            Some("instance") => {
                embedded = Some(Embedded::Instance);
                Some(CimType::String)
            }
            Some("object") => {
                embedded = Some(Embedded::Object);
                Some(CimType::String)
            }
            Some(name) => Some(CimType::from_name(name).ok_or_else(|| {
                reader.not_valid(format!("{attribute} {} is not known", Quoted(name)))
            })?),
        };
        if embedded.is_some() {
            ty = Some(CimType::String);
        }
        Ok(Self { ty, embedded })
    }

    /// With what the qualifiers of the element say that a string embeds.
    pub(super) fn or_qualified(self, qualifiers: &[Qualifier]) -> Self {
        match (self.ty, self.embedded) {
            (Some(CimType::String) | None, None) => {
                Self { embedded: class::embedded_by(qualifiers), ..self }
            }
            _ => self,
        }
    }

    /// The type as the model has it; what is not stated counts as a string.
    pub(super) fn data_type(self) -> DataType {
        let ty = DataType::scalar(self.ty.unwrap_or(CimType::String));
        DataType { embedded: self.embedded, ..ty }
    }
}

/// VALUE, opened. `None` if the text was rejected.
pub(super) fn scalar(
    reader: &mut Reader<'_>,
    stated: Stated,
    owner: Owner<'_>,
) -> Result<Option<Scalar>, DecodeError> {
    let text = reader.content()?;
    Ok(match (stated.ty, stated.embedded) {
        (_, Some(_)) => Some(embedded_object(reader, text)),
        (None, None) => Some(Scalar::Untyped(text.into_owned())),
        (Some(CimType::String), None) => Some(Scalar::String(text.into_owned())),
        (Some(ty), None) => {
            let value = Scalar::parse(ty, &text);
            if value.is_none() {
                reader.reject(format!("{owner} is {}, not {ty}", Quoted(&text)));
            }
            value
        }
    })
}

/// An embedded object, or the text as it is where it is none in XML: it may be MOF, and whoever
/// knows the declared type says what is wrong with it.
fn embedded_object(reader: &Reader<'_>, text: Cow<'_, str>) -> Scalar {
    embedded::decode_inside(reader, &text).unwrap_or_else(|_| Scalar::String(text.into_owned()))
}

/// VALUE.ARRAY, opened.
pub(super) fn array(
    reader: &mut Reader<'_>,
    stated: Stated,
    owner: Owner<'_>,
) -> Result<Value, DecodeError> {
    let mut elements = Vec::new();
    while let Some(element) = reader.child()? {
        match element {
            "VALUE" => elements.push(scalar(reader, stated, owner)?),
            "VALUE.NULL" => {
                reader.end()?;
                elements.push(None);
            }
            other => return Err(reader.unexpected(other)),
        }
    }
    Ok(Value::Array(elements))
}

/// VALUE.REFERENCE, opened.
pub(super) fn reference(reader: &mut Reader<'_>) -> Result<ObjectPath, DecodeError> {
    let Some(element) = reader.child()? else {
        return Err(reader.lacks("INSTANCENAME"));
    };
    let path = path::object_path(reader, element)?;
    reader.end()?;
    Ok(path)
}

/// VALUE.REFARRAY, opened.
pub(super) fn reference_array(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let mut elements = Vec::new();
    while let Some(element) = reader.child()? {
        match element {
            "VALUE.REFERENCE" => {
                elements.push(Some(Scalar::Reference(Box::new(reference(reader)?))));
            }
            "VALUE.NULL" => {
                reader.end()?;
                elements.push(None);
            }
            other => return Err(reader.unexpected(other)),
        }
    }
    Ok(Value::Array(elements))
}

/// A boolean with blanks around it, or the rejection of something else.
pub(super) fn parse_boolean(text: &str) -> Option<bool> {
    match Scalar::parse(CimType::Boolean, text) {
        Some(Scalar::Boolean(value)) => Some(value),
        _ => None,
    }
}

/// An owner for messages.
pub(super) fn owner<'n>(kind: &'static str, name: &'n CimName) -> Owner<'n> {
    Owner { kind, name: name.as_str() }
}
