//! Why filters, destinations and subscriptions are not made, changed or deleted.

use crate::{cim::CimName, client::ClientError, query::QueryError, store::StoreError};

/// How much of a wrong value a message repeats.
const MAX_SHOWN: usize = 64;

/// Why a change is refused. Messages name the property that is the cause.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// A property without which the object makes no sense.
    #[error("{class} needs the property {property}")]
    Missing {
        /// The class.
        class: CimName,
        /// The property.
        property: &'static str,
    },
    /// A property has a value that can't be.
    #[error("{property} {rule}, received `{received}`")]
    Value {
        /// The property.
        property: String,
        /// What holds for its values.
        rule: &'static str,
        /// The beginning of the value.
        received: String,
    },
    /// A property asks for what this server does not do.
    #[error("{property} is not supported")]
    Unsupported {
        /// The property.
        property: &'static str,
    },
    /// The language is none of ours.
    #[error("QueryLanguage `{0}` is not supported: WQL, DMTF:CQL and DMTF:FQL are")]
    Language(String),
    /// The query can't be read, or can't be asked of its class.
    #[error("Query: {0}")]
    Query(#[source] QueryError),
    /// The query is about something that never happens.
    #[error("Query: class {0} is no indication")]
    NoIndication(CimName),
    /// An object of that name is there already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is no such object.
    #[error("No such instance")]
    NoInstance,
    /// What a subscription refers to is not there.
    #[error("{role} not found: {path}")]
    NoEnd {
        /// The reference.
        role: &'static str,
        /// What it names.
        path: String,
    },
    /// A subscription refers to it.
    #[error("{name} is in use by {subscriptions} subscription(s): delete them first")]
    InUse {
        /// Its name.
        name: String,
        /// How many.
        subscriptions: usize,
    },
    /// There are as many as there may be.
    #[error("there are {limit} instances of {class} already, which is the limit {name}")]
    Limit {
        /// The class.
        class: CimName,
        /// The limit.
        limit: usize,
        /// Its name.
        name: &'static str,
    },
    /// The object is too large to be kept.
    #[error("the instance has {size} bytes as XML; at most {limit} are kept")]
    TooLarge {
        /// Its size.
        size: usize,
        /// How much may be.
        limit: usize,
    },
    /// The change could not be stored.
    #[error("the change could not be stored")]
    Store(#[from] StoreError),
    /// The server is ending.
    #[error("the server is shutting down")]
    Closed,
}

/// Why the room can't be opened, or not be changed.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The objects of an earlier daemon can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authorities that vouch for listeners can't be read.
    #[error("listeners of indications cannot be verified")]
    Trust(#[from] ClientError),
}

impl SubscriptionError {
    /// The value of `property` is wrong.
    pub(super) fn value(property: &str, rule: &'static str, received: &str) -> Self {
        let received = received.escape_debug().take(MAX_SHOWN).collect();
        Self::Value { property: property.to_owned(), rule, received }
    }
}
