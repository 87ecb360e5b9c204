//! `virtcimd checks …`: the gate by hand, without a running daemon.

mod list;
mod run;

use std::{io, path::Path};

use clap::Subcommand;

use super::exit;
use crate::{
    checks::{GateError, SetupError},
    config::{self, ConfigError, Overrides},
    hypervisor::HypervisorError,
    migration::TargetError,
};

/// `virtcimd checks …`.
#[derive(Debug, Subcommand)]
pub enum ChecksCommand {
    /// Show each file of the check directories: used, ignored or refused, and why
    List,
    /// Run the gate for a guest and show what each check says
    Run {
        /// The guest's name
        guest: String,
        /// The destination host; without it the built-in checks are left out
        #[arg(long, value_name = "HOST")]
        destination: Option<String>,
        /// An entry of CheckParameters; may be repeated
        #[arg(long = "parameter", value_name = "K=V")]
        parameters: Vec<String>,
    },
}

/// Why a checks command failed.
#[derive(Debug, thiserror::Error)]
pub enum ChecksError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration is right and still there is no gate.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No hypervisor that answers has the guest.
    #[error("there is no such guest")]
    Guest(#[source] HypervisorError),
    /// No guest may go there.
    #[error("no guest may go to {destination}")]
    Destination {
        /// As given.
        destination: String,
        /// Why.
        source: TargetError,
    },
    /// The gate did not run.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Nothing can be said, or no thread be had.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ChecksError {
    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Setup(SetupError::User(_) | SetupError::Directory { .. }) => {
                exit::CONFIG
            }
            Self::Guest(_) | Self::Destination { .. } => exit::USAGE,
            Self::Gate(GateError::Parameter { .. }) => exit::USAGE,
            Self::Gate(GateError::Cancelled) => exit::INTERRUPTED,
            Self::Gate(GateError::Busy { .. } | GateError::Setup(_))
            | Self::Setup(SetupError::Spawner(_)) => exit::SOFTWARE,
            Self::Io(_) => exit::IO,
        }
    }
}

/// Carries a checks command out. Returns the exit code.
///
/// # Errors
/// [`ChecksError`].
pub fn run(command: &ChecksCommand, file: Option<&Path>) -> Result<u8, ChecksError> {
    let config = config::load(file, &Overrides::default())?;
    let mut out = io::stdout().lock();
    match command {
        ChecksCommand::List => list::run(&config.checks, &mut out),
        ChecksCommand::Run { guest, destination, parameters } => {
            let asked = run::Asked { guest, destination: destination.as_deref(), parameters };
            run::run(&config, &asked, &mut out)
        }
    }
}
