//! Safe wrappers over the operating system: child process groups, bounded blocking slots, notify.
//!
//! Nothing here knows what a check or a migration is.

pub mod blocking;

use std::{future::Future, pin::Pin};

/// A boxed future, for the few traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
