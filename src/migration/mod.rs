//! The migration machine: typed settings, destinations, plan, job, executor.

mod destination;

pub use destination::{
    AllowedDestination, AllowedError, Destination, DestinationError, DestinationPolicy, Driver,
    Host, HostName, NamedDestination, Target, TargetError, Transport,
};
