//! virtcimd: the virtual-system-migration part of the libvirt-cim model, served over CIM-XML by one
//! daemon, behind a gate of check programs that every migration must pass.
//!
//! Each module is a room of the house described in `docs/ARCHITECTURE.md`; a room uses only rooms
//! listed before it. Without the feature `daemon` only the model, its parsers and the operations on it
//! are built: what is fuzzed. This is the library of this package's two programs; its API is not stable.

#[cfg(feature = "operations")]
pub mod sys;

#[cfg(feature = "daemon")]
pub mod telemetry;

pub mod cim;

pub mod xml;

pub mod mof;

pub mod query;

pub mod repository;

#[cfg(feature = "daemon")]
pub mod store;

#[cfg(feature = "daemon")]
pub mod hypervisor;

#[cfg(feature = "daemon")]
pub mod checks;

#[cfg(feature = "daemon")]
pub mod migration;

#[cfg(feature = "daemon")]
pub mod client;

#[cfg(feature = "daemon")]
pub mod indications;

#[cfg(feature = "operations")]
pub mod ops;

#[cfg(feature = "daemon")]
pub mod providers;

#[cfg(feature = "daemon")]
pub mod http;

#[cfg(feature = "daemon")]
pub mod config;

#[cfg(feature = "daemon")]
pub mod cli;

#[cfg(feature = "daemon")]
pub mod daemon;

#[cfg(feature = "operations")]
#[doc(hidden)]
pub mod fuzzing;
