//! virtcimd: the virtual-system-migration part of the libvirt-cim model, served over CIM-XML by one
//! daemon, behind a gate of check programs that every migration must pass.
//!
//! Each module is a room of the house described in `docs/ARCHITECTURE.md`; a room uses only rooms
//! listed before it. This is the library of this package's two programs; its API is not stable.

pub mod sys;

pub mod telemetry;

pub mod cim;

pub mod xml;

pub mod mof;

pub mod query;

pub mod repository;

pub mod store;

pub mod hypervisor;

pub mod checks;

pub mod migration;

pub mod client;

pub mod indications;

pub mod ops;

pub mod providers;

pub mod http;

pub mod config;

pub mod cli;

pub mod daemon;

#[doc(hidden)]
pub mod fuzzing;
