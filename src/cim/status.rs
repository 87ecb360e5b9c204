//! CIM status codes (DSP0200 §5.3.1).

use std::fmt;

macro_rules! status_codes {
    ($($variant:ident = $code:literal, $name:literal;)*) => {
        /// A CIM status code.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[expect(missing_docs, reason = "the variants are the standard's names")]
        pub enum StatusCode {
            $($variant = $code,)*
        }

        impl StatusCode {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The standard's name, e.g. `CIM_ERR_NOT_FOUND`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("CIM_ERR_", $name),)*
                }
            }
        }
    };
}

status_codes! {
    Failed = 1, "FAILED";
    AccessDenied = 2, "ACCESS_DENIED";
    InvalidNamespace = 3, "INVALID_NAMESPACE";
    InvalidParameter = 4, "INVALID_PARAMETER";
    InvalidClass = 5, "INVALID_CLASS";
    NotFound = 6, "NOT_FOUND";
    NotSupported = 7, "NOT_SUPPORTED";
    ClassHasChildren = 8, "CLASS_HAS_CHILDREN";
    ClassHasInstances = 9, "CLASS_HAS_INSTANCES";
    InvalidSuperclass = 10, "INVALID_SUPERCLASS";
    AlreadyExists = 11, "ALREADY_EXISTS";
    NoSuchProperty = 12, "NO_SUCH_PROPERTY";
    TypeMismatch = 13, "TYPE_MISMATCH";
    QueryLanguageNotSupported = 14, "QUERY_LANGUAGE_NOT_SUPPORTED";
    InvalidQuery = 15, "INVALID_QUERY";
    MethodNotAvailable = 16, "METHOD_NOT_AVAILABLE";
    MethodNotFound = 17, "METHOD_NOT_FOUND";
    NamespaceNotEmpty = 20, "NAMESPACE_NOT_EMPTY";
    InvalidEnumerationContext = 21, "INVALID_ENUMERATION_CONTEXT";
    InvalidOperationTimeout = 22, "INVALID_OPERATION_TIMEOUT";
    PullHasBeenAbandoned = 23, "PULL_HAS_BEEN_ABANDONED";
    PullCannotBeAbandoned = 24, "PULL_CANNOT_BE_ABANDONED";
    FilteredEnumerationNotSupported = 25, "FILTERED_ENUMERATION_NOT_SUPPORTED";
    ContinuationOnErrorNotSupported = 26, "CONTINUATION_ON_ERROR_NOT_SUPPORTED";
    ServerLimitsExceeded = 27, "SERVER_LIMITS_EXCEEDED";
    ServerIsShuttingDown = 28, "SERVER_IS_SHUTTING_DOWN";
    QueryFeatureNotSupported = 29, "QUERY_FEATURE_NOT_SUPPORTED";
}

impl StatusCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The code of that number; an unknown number from a peer counts as `Failed`.
    pub fn from_code(code: u16) -> Self {
        Self::ALL.iter().copied().find(|status| status.code() == code).unwrap_or(Self::Failed)
    }
}

/// What an operation answers instead of a result: a status and a sentence for the client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CimError {
    /// The status code.
    pub status: StatusCode,
    /// The description the client sees.
    pub description: String,
}

impl CimError {
    /// The most characters of a description. It may repeat what a client sent, which may be megabytes.
    pub const MAX_DESCRIPTION: usize = 4096;

    /// An error with that description, cut where it is too long to be read by anybody.
    pub fn new(status: StatusCode, description: impl Into<String>) -> Self {
        let mut description = description.into();
        if let Some((end, _)) = description.char_indices().nth(Self::MAX_DESCRIPTION) {
            description.truncate(end);
            description.push('…');
        }
        Self { status, description }
    }
}

impl fmt::Display for CimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.status.name(), self.status.code(), self.description)
    }
}

impl std::error::Error for CimError {}
