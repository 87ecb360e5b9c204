//! Safe wrappers over the operating system: child process groups, bounded blocking slots, notify.
//!
//! Nothing here knows what a check or a migration is.

#[cfg(feature = "daemon")]
pub mod activation;
#[cfg(feature = "daemon")]
pub mod blocking;
#[cfg(feature = "daemon")]
pub mod cgroup;
#[cfg(feature = "daemon")]
pub mod child;
#[cfg(feature = "daemon")]
pub mod end;
#[cfg(feature = "daemon")]
pub mod peer_groups;
#[cfg(feature = "daemon")]
mod poll;
#[cfg(feature = "daemon")]
pub mod uptime;

use std::{future::Future, pin::Pin};

#[cfg(feature = "daemon")]
use poll::poll_until;

/// A boxed future, for the few traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
