//! Bytes in, bytes out: listeners, TLS, authentication, the CIM-XML binding of DSP0200 §6 and §7.
//!
//! ```text
//!   listener ─▶ server ─▶ (tls) ─▶ wire ─▶ hyper ─▶ service ─▶ xml ─▶ Handler
//!                limits            deadlines        head, auth  answer ◀─┘
//! ```
//!
//! One task serves one connection; an operation that waits runs in a task of its own, so that a client's going
//! away cancels it politely (`Context::cancelled`) and never in the middle of a step. A list is
//! encoded as far as the client reads it. Every bound is in [`Limits`].
//!
//! What is deliberately absent: what an operation means (`ops/`), HTTP/2, compression, redirects and
//! files. A GET is answered 405, whatever it asks for.

mod acceptable;
mod answer;
mod auth;
mod classes;
mod head;
mod listener;
mod options;
#[cfg(feature = "pam")]
mod pam;
mod peer;
mod places;
mod refusal;
mod server;
mod service;
mod socket;
pub mod tls;
pub mod users;
mod wire;

pub use listener::{BindError, Inherited, Listeners};
pub use options::{
    AuthMode, AuthOptions, Limits, ListenAddress, Listener, Options, TlsFiles, Workaround,
};
pub use server::{Server, ServerError};

use std::sync::Arc;

use crate::{
    cim::{CimError, Request},
    ops::{Answer, Context, Misread, Operations, Statistics},
    sys::BoxFuture,
};

/// Executes operations; a seam for tests.
pub trait Handler: Send + Sync + 'static {
    /// Executes one operation. It runs to its end even if the client has gone, but should hurry when
    /// [`Context::cancelled`] says so.
    fn execute<'a>(&'a self, ctx: &'a Context, request: Request) -> BoxFuture<'a, Answer>;

    /// What the caller is told of a request whose parameters cannot be read, with this error.
    fn refuse(&self, ctx: &Context, request: Misread<'_>, error: CimError) -> CimError;

    /// Where operations are counted.
    fn statistics(&self) -> &Arc<Statistics>;
}

impl Handler for Operations {
    fn execute<'a>(&'a self, ctx: &'a Context, request: Request) -> BoxFuture<'a, Answer> {
        Box::pin(Self::execute(self, ctx, request))
    }

    fn refuse(&self, ctx: &Context, request: Misread<'_>, error: CimError) -> CimError {
        Self::refuse(self, ctx, request, error)
    }

    fn statistics(&self) -> &Arc<Statistics> {
        self.statistics()
    }
}
