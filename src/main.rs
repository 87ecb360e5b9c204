//! The daemon's program: arguments and exit codes; everything else is in the library.

use clap::Parser;
use virtcimd::{
    checks::SetupError,
    cli::{self, Cli, Command, checks::ChecksError, exit, user::UserError},
    config::ConfigError,
    daemon::{self, StartError},
    sys,
};

#[expect(clippy::print_stderr, reason = "the last words of a program belong on standard error")]
fn main() {
    let code = run(&Cli::parse()).unwrap_or_else(|error| {
        eprintln!("virtcimd: {error:#}");
        exit_code(&error)
    });
    sys::end::process(code)
}

fn run(arguments: &Cli) -> anyhow::Result<u8> {
    let file = arguments.config.as_deref();
    match &arguments.command {
        Command::CheckConfig => Ok(cli::check_config::run(file)?),
        Command::User(user) => {
            cli::user::run(user, file)?;
            Ok(exit::OK)
        }
        Command::Serve(arguments) => {
            daemon::serve(file, &arguments.overrides())?;
            Ok(exit::OK)
        }
        Command::Checks(command) => Ok(cli::checks::run(command, file)?),
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<UserError>() {
        return error.exit_code();
    }
    if let Some(error) = error.downcast_ref::<ChecksError>() {
        return error.exit_code();
    }
    match error.downcast_ref::<StartError>() {
        Some(
            StartError::Bind(_) | StartError::RuntimeDirectory { .. } | StartError::Store { .. },
        ) => exit::UNAVAILABLE,
        Some(StartError::Checks(SetupError::Spawner(_))) => exit::SOFTWARE,
        Some(
            StartError::Server(_)
            | StartError::Schema(_)
            | StartError::Checks(SetupError::User(_) | SetupError::Directory { .. })
            | StartError::Indications(_)
            | StartError::Registry(_),
        ) => exit::CONFIG,
        None if error.is::<ConfigError>() => exit::CONFIG,
        None if error.is::<std::io::Error>() => exit::IO,
        None => exit::SOFTWARE,
    }
}
