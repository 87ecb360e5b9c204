//! virtcimd: the virtual-system-migration part of the libvirt-cim model, served over CIM-XML by one
//! daemon, behind a gate of check programs that every migration must pass.
//!
//! Each module is a room of the house described in `docs/ARCHITECTURE.md`; a room uses only rooms
//! listed before it. This is the library of this package's two programs; its API is not stable.

pub mod sys;

pub mod cim;

pub mod hypervisor;

pub mod checks;

pub mod ops;
