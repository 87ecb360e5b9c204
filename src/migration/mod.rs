//! The migration machine: typed settings, destinations, plan, job, executor.

mod destination;
mod directories;
mod executor;
pub mod job;
mod plan;
mod progress;
mod queue;
mod settings;

pub use destination::{
    AllowedDestination, AllowedError, Destination, DestinationError, DestinationPolicy, Driver,
    Host, HostName, NamedDestination, Target, TargetError, Transport,
};
pub use directories::{DirectoryError, DirectoryRefusal, DiskDirectories, DiskDirectory};
pub use executor::{
    Amendment, AskGate, CommandError, JobChange, JobView, MigrationHandle, Options, Parts,
    Question, Removal, Request, SubmitError,
};
pub use plan::{
    DestinationFacts, DiskEdit, Edits, GraphicsEdit, GuestName, Mode, NetworkEdit, NetworkSource,
    Plan, PlanError, Port, SourceFacts, copied_files,
};
pub use progress::{Action, Because, Patience, Progress, Report};
pub use queue::{Entry, Limits, Queue, QueueError, Wait};
pub use settings::{MigrationType, Settings, SettingsError, SettingsSpec, TimeoutAction};
