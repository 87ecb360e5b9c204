//! Audit records: who called a method or changed something, from where, and what came of it
//! (DESIGN.md §4). They are events of the target `audit`.

use tracing::info;

use super::{Answer, Context, Misread, Role, authorise::needed_by};
use crate::cim::{CimError, Operation, ParamValue, Reply, Scalar, Value};

/// How much of a name or a value a record repeats, in characters.
const MAX_SHOWN: usize = 256;
/// How many parameters a record repeats; no method has that many.
const MAX_PARAMETERS: usize = 16;

/// An operation that leaves a record, whatever comes of it: also if its caller hangs up.
pub(super) struct Record {
    user: String,
    peer: String,
    operation: String,
    object: String,
    arguments: String,
    outcome: Option<String>,
}

impl Record {
    /// Begins the record of an operation; `None` if it only reads.
    pub(super) fn begin(ctx: &Context, operation: &Operation) -> Option<Self> {
        let (object, arguments) = match operation {
            Operation::InvokeMethod { object, parameters, .. } => {
                (cut_path(object), show_parameters(parameters))
            }
            Operation::CreateInstance { instance } => (cut(instance.class.as_str()), String::new()),
            Operation::ModifyInstance { instance, .. } => {
                let path = instance.path.as_ref();
                (path.map_or_else(|| cut(instance.class.as_str()), cut_path), String::new())
            }
            Operation::DeleteInstance { path } | Operation::SetProperty { path, .. } => {
                (cut_path(path), String::new())
            }
            _ => return None,
        };
        Some(Self {
            user: ctx.principal.name.clone(),
            peer: ctx.peer.clone(),
            operation: cut(operation.name()),
            object,
            arguments,
            outcome: None,
        })
    }

    /// The record of a request whose parameters cannot be read; `None` if it would only have read.
    pub(super) fn of_misread(ctx: &Context, request: Misread<'_>) -> Option<Self> {
        let (operation, object) = match request {
            Misread::Operation(name, _) if needed_by(name) == Role::Viewer => return None,
            Misread::Operation(name, namespace) => (name, namespace.to_string()),
            Misread::Method(name, object) => (name, cut_path(object)),
        };
        Some(Self {
            user: ctx.principal.name.clone(),
            peer: ctx.peer.clone(),
            operation: cut(operation),
            object,
            arguments: String::new(),
            outcome: None,
        })
    }

    /// Ends the record of a request that was not executed.
    pub(super) fn refuse(mut self, error: &CimError) {
        self.outcome = Some(cut(&error.to_string()));
    }

    /// Ends the record with what came of the operation.
    pub(super) fn end(mut self, answer: &Answer) {
        self.outcome = Some(match answer {
            Answer::Whole(Ok(Reply::Method { return_value, out, .. })) => {
                let returned = return_value.as_ref().and_then(Value::as_integer);
                let returned = returned.map_or_else(|| "no value".to_owned(), |n| n.to_string());
                format!("returned {returned} {}", show_parameters(out)).trim_end().to_owned()
            }
            Answer::Whole(Ok(Reply::InstanceName(path))) => {
                format!("made {}", cut(&path.to_string()))
            }
            Answer::Whole(Ok(_)) | Answer::Stream(..) | Answer::Classes(_) => "done".to_owned(),
            Answer::Whole(Err(error)) => cut(&error.to_string()),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        info!(
            target: "audit",
            user = self.user,
            peer = self.peer,
            operation = self.operation,
            object = self.object,
            arguments = self.arguments,
            outcome = self.outcome.as_deref().unwrap_or("the caller hung up"),
            "operation"
        );
    }
}

/// The plain parameters, in order. Embedded instances may hold secrets and are only named.
fn show_parameters(parameters: &[ParamValue]) -> String {
    let mut shown = Vec::new();
    for parameter in parameters.iter().take(MAX_PARAMETERS) {
        let value = match &parameter.value {
            None => "NULL".to_owned(),
            Some(Value::Array(elements)) => format!("[{} elements]", elements.len()),
            Some(Value::Scalar(scalar)) => show_scalar(scalar),
        };
        shown.push(format!("{}={value}", cut(parameter.name.as_str())));
    }
    if parameters.len() > MAX_PARAMETERS {
        shown.push(format!("and {} more", parameters.len() - MAX_PARAMETERS));
    }
    shown.join(" ")
}

fn show_scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Reference(path) => cut_path(path),
        Scalar::EmbeddedInstance(instance) => format!("(instance of {})", instance.class),
        Scalar::EmbeddedClass(class) => format!("(class {})", class.name),
        // Text may be an embedded instance as well.
        Scalar::String(text) | Scalar::Untyped(text) if text.contains(['<', '{']) => {
            "(text)".to_owned()
        }
        Scalar::String(text) | Scalar::Untyped(text) => format!("\"{}\"", cut(text)),
        Scalar::DateTime(value) => value.to_string(),
        Scalar::Real32(value) => value.to_string(),
        Scalar::Real64(value) => value.to_string(),
        Scalar::Char16(_)
        | Scalar::Uint8(_)
        | Scalar::Sint8(_)
        | Scalar::Uint16(_)
        | Scalar::Sint16(_)
        | Scalar::Uint32(_)
        | Scalar::Sint32(_)
        | Scalar::Uint64(_)
        | Scalar::Sint64(_) => {
            scalar.as_integer().map_or_else(|| "?".to_owned(), |n| n.to_string())
        }
    }
}

/// The beginning of a path, on one line. Quotes in its keys are escaped already.
fn cut_path(path: &impl ToString) -> String {
    let mut shown = String::new();
    for c in path.to_string().chars().take(MAX_SHOWN) {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

/// The beginning of a text, on one line.
fn cut(text: &str) -> String {
    text.escape_debug().take(MAX_SHOWN).collect()
}
