//! Who asks, from where, and how they hang up.

use tokio_util::sync::CancellationToken;

use crate::cim::{CimError, StatusCode};

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
    /// Cancelled when the client hangs up. A check stops then, and so does a search; a migration does
    /// not.
    pub cancelled: CancellationToken,
}

impl Context {
    /// Does work that nobody needs once the client has gone.
    ///
    /// # Errors
    /// If it goes before the work is done; nobody reads that.
    pub(super) async fn while_wanted<F: Future>(&self, work: F) -> Result<F::Output, CimError> {
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => {
                Err(CimError::new(StatusCode::Failed, "the client has gone"))
            }
            output = work => Ok(output),
        }
    }
}
