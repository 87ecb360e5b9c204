//! The migration machine: typed settings, destinations, plan, job, executor.

mod destination;
pub mod job;
mod settings;

pub use destination::{
    AllowedDestination, AllowedError, Destination, DestinationError, DestinationPolicy, Driver,
    Host, HostName, NamedDestination, Target, TargetError, Transport,
};
pub use settings::{MigrationType, Settings, SettingsError, SettingsSpec, TimeoutAction};
