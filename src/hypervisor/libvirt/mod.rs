//! libvirt behind our traits.
//!
//! [`Libvirt`] is one connection. `facts.rs` implements [`Hypervisor`], `orders.rs` [`Migrator`];
//! `connector.rs` opens connections within a deadline; `event_loop.rs` runs libvirt's loop; `ffi/`
//! is the one place with unsafe code.
//!
//! [`Hypervisor`]: super::Hypervisor
//! [`Migrator`]: super::Migrator

mod connector;
mod event_loop;
mod facts;
mod ffi;
mod job;
mod orders;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::runtime::Handle;
use virt::{connect::Connect, domain::Domain, error::Error};
use virt_sys as sys;

pub use connector::{LibvirtConnector, LibvirtOptions};
use event_loop::EventLoop;

use super::HypervisorError;

/// One connection to libvirt.
pub struct Libvirt {
    /// `None` only while it is being dropped.
    connection: Option<Connect>,
    uri: String,
    /// What opened it; a direct migration reaches the destination through it.
    connector: LibvirtConnector,
    /// The connection's events and keep-alive need it; dropped after the connection.
    _event_loop: EventLoop,
}

/// How a connection notices that the other end no longer answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeepAlive {
    /// After this much silence the other end is asked.
    pub interval: Duration,
    /// So many unanswered questions break the connection.
    pub count: u32,
}

impl Libvirt {
    /// Opens `uri` and asks for nothing: where credentials would be needed it fails. Blocks as long
    /// as libvirt likes; [`LibvirtConnector`] sets a deadline.
    fn open(uri: &str, connector: LibvirtConnector) -> Result<Self, HypervisorError> {
        let unreachable = |error: &Error| HypervisorError::Unreachable {
            uri: uri.to_owned(),
            message: error.message().to_owned(),
        };
        let event_loop = EventLoop::enter().map_err(|error| unreachable(&error))?;
        let connection =
            Connect::open(Some(&without_prompts(uri))).map_err(|error| unreachable(&error))?;
        let keep_alive = connector.keep_alive();
        let interval = i32::try_from(keep_alive.interval.as_secs()).unwrap_or(i32::MAX).max(1);
        // Drivers in our own process have nothing to keep alive and refuse.
        let _ = connection.set_keep_alive(interval, keep_alive.count);
        Ok(Self {
            connection: Some(connection),
            uri: uri.to_owned(),
            connector,
            _event_loop: event_loop,
        })
    }

    fn connection(&self) -> &Connect {
        self.connection.as_ref().expect("only drop takes the connection")
    }

    fn lookup(&self, name: &str) -> Result<Domain, HypervisorError> {
        self.connection().lookup_domain_by_name(name).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &Error) -> HypervisorError {
        let broken = || matches!(self.connection().is_alive(), Ok(false));
        meaning(error.code().to_raw(), error.message(), broken, &self.uri)
    }
}

/// An error in our words. libvirt tells a broken connection by many numbers; the connection itself knows.
fn meaning(
    code: sys::virErrorNumber,
    message: &str,
    broken: impl FnOnce() -> bool,
    uri: &str,
) -> HypervisorError {
    let message = message.to_owned();
    match code {
        sys::VIR_ERR_NO_DOMAIN => HypervisorError::NotFound { message },
        sys::VIR_ERR_NO_SUPPORT | sys::VIR_ERR_OPERATION_UNSUPPORTED => {
            HypervisorError::Unsupported { message }
        }
        sys::VIR_ERR_MIGRATE_FINISH_OK => HypervisorError::Unclear { message },
        _ if broken() => HypervisorError::Unreachable { uri: uri.to_owned(), message },
        _ => HypervisorError::Libvirt { code, message },
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let connection = self.connection.take();
        // Closing says goodbye over the wire and waits for the answer: not on a runtime's thread.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(connection))),
            Err(_) => drop(connection),
        }
    }
}

/// ssh would ask for passwords on our terminal, if there is one.
fn without_prompts(uri: &str) -> String {
    let scheme = uri.split_once("://").map_or("", |(scheme, _)| scheme);
    if !scheme.ends_with("+ssh") || uri.contains("no_tty=") {
        return uri.to_owned();
    }
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}no_tty=1")
}
