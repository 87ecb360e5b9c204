//! Runs one operation: authorise, validate against the schema, route to a provider, filter the
//! answer.
//!
//! `http/` calls [`Operations::execute`] and encodes what comes back; providers implement the traits in
//! `provider.rs`. Errors of lower rooms become CIM status codes here and nowhere else.

mod context;

pub use context::{Context, Principal, Role};

use crate::cim::{CimError, ListKind, Object, Reply};

/// What an operation answers.
pub enum Answer {
    /// All of it at once.
    Whole(Result<Reply, CimError>),
    /// A list that is produced while it is sent.
    Stream(ListKind, ObjectStream),
}

/// The objects of a streamed answer, in order. Dropping it stops the producer.
pub struct ObjectStream {
    receiver: tokio::sync::mpsc::Receiver<Result<Object, CimError>>,
}

impl ObjectStream {
    /// Waits for the next object. `None` is the end; after an error nothing follows.
    pub async fn next(&mut self) -> Option<Result<Object, CimError>> {
        self.receiver.recv().await
    }
}
