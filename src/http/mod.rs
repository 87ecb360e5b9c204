//! Bytes in, bytes out: listeners, TLS, authentication, the CIM-XML binding of DSP0200 §6 and §7.

mod auth;
mod options;
mod peer;
mod socket;
pub mod tls;
pub mod users;
mod wire;

pub use options::{
    AuthMode, AuthOptions, Limits, ListenAddress, Listener, Options, PywbemBooleans, TlsFiles,
};
