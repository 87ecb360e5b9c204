//! Runs one operation: authorise, validate against the schema, route to a provider, filter the
//! answer.
//!
//! ```text
//! request ──authorise──▶ namespace ──▶ class ──▶ conform ──▶ provider ──▶ present ──▶ answer
//! ```
//!
//! `http/` calls [`Operations::execute`] and encodes what comes back; providers implement the traits in
//! `provider.rs`. Whatever is the same for all classes stands here: `conform.rs` gives what a client
//! sent its declared types, `shape.rs` and `present.rs` give answers the form the client asked for,
//! `association.rs` follows associations. Refusals become CIM status codes in `error.rs` and nowhere
//! else. Rules are those of DSP0200; where libvirt-cim's clients rely on another, the comment says so.
//!
//! What is deliberately absent: XML, hosts, and any class by name.

mod association;
mod audit;
mod authorise;
mod classes;
mod conform;
mod context;
mod contexts;
mod core;
mod embedded;
mod error;
mod method;
mod misread;
mod namespaces;
mod operations;
mod present;
mod provider;
mod pull;
mod reach;
mod registry;
mod select;
mod shape;
mod statistics;
mod stream;
#[cfg(test)]
mod tests;
mod write;

pub use classes::ClassList;
pub use conform::Arguments;
pub use context::{Context, Principal, Role};
pub use contexts::PullLimits;
pub use error::ProviderError;
pub use misread::Misread;
pub use namespaces::Space;
pub use operations::Operations;
pub use provider::{
    AssociationProvider, End, Far, InstanceProvider, Link, MethodCall, MethodResult, MethodSpec,
    Outcome, Sink,
};
pub use registry::{Registry, RegistryError};
pub use statistics::{Count, Meter, OperationType, Statistics};
pub use stream::{ObjectFeed, ObjectStream};

use crate::cim::{CimError, ListKind, Reply};
/// What a query may cost.
pub use crate::query::Limits as QueryLimits;

/// What operations may cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Open enumerations.
    pub pull: PullLimits,
    /// The queries and filters of operations.
    pub query: QueryLimits,
}

/// What an operation answers.
pub enum Answer {
    /// All of it at once.
    Whole(Result<Reply, CimError>),
    /// A list that is produced while it is sent.
    Stream(ListKind, ObjectStream),
    /// Classes that are made while they are sent.
    Classes(ClassList),
}

impl Answer {
    /// All of it, for a caller that does not send it on.
    ///
    /// # Errors
    /// What the operation was refused with, or what broke its list off.
    pub async fn collect(self) -> Result<Reply, CimError> {
        match self {
            Self::Whole(result) => result,
            Self::Stream(kind, mut stream) => {
                let mut objects = Vec::new();
                while let Some(object) = stream.next().await {
                    objects.push(object?);
                }
                Ok(Reply::Objects(kind, objects))
            }
            Self::Classes(mut list) => {
                let names: Vec<_> = std::iter::from_fn(|| list.next_name()).collect();
                Ok(Reply::Classes(names.iter().map(|name| list.class(name)).collect()))
            }
        }
    }
}
