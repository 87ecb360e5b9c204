//! Who asks, from where, and how they hang up.

use tokio_util::sync::CancellationToken;

/// The caller of an operation. Made by authentication only: it has no default.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// The user's name, or the certificate's subject, or `uid:N` for a unix socket's peer.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What a caller may do; each role includes those before it (DESIGN.md §4).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    /// Read the model.
    Viewer,
    /// Also ask whether a guest may migrate.
    Checker,
    /// Also migrate, abort, subscribe.
    Operator,
    /// Also override findings.
    Admin,
}

impl Role {
    /// The name in configuration and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Checker => "checker",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// What an operation knows of its request.
#[derive(Clone, Debug)]
pub struct Context {
    /// Who asks.
    pub principal: Principal,
    /// Where from, for audit records: `address:port` or `unix:PID`.
    pub peer: String,
    /// `host[:port]` as the client addressed us (its Host header): the HOST of paths we return.
    pub host: String,
    /// Cancelled when the client hangs up. A check stops then; a migration does not.
    pub cancelled: CancellationToken,
}
