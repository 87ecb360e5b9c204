//! `virtcimd check-config`: is the configuration one the daemon would start with?

use std::{
    io::{self, Write},
    path::Path,
};

use super::exit;
use crate::{
    client,
    config::{self, Config, ConfigError, Overrides},
    http::{
        AuthMode, tls,
        users::{Users, UsersError},
    },
    repository::Repository,
    sys::child::{User, UserError},
    telemetry::Chain,
};

/// Reads the configuration and the files it names, and prints every problem, or that there is none.
/// Returns the exit code.
///
/// # Errors
/// If nothing can be written.
pub fn run(file: Option<&Path>) -> io::Result<u8> {
    let problems = match config::load(file, &Overrides::default()) {
        Ok(config) => files(&config),
        Err(ConfigError(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    let mut out = io::stdout().lock();
    if problems.is_empty() {
        let file = file.unwrap_or(Path::new(config::DEFAULT_FILE));
        match file.exists() {
            true => writeln!(out, "{}: the configuration is good", file.display())?,
            false => writeln!(out, "there is no {}: the defaults are good", file.display())?,
        }
        return Ok(exit::OK);
    }
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    Ok(exit::CONFIG)
}

/// What is wrong with the files that the configuration names.
fn files(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(Err(error)) = config.http.tls.as_ref().map(tls::check) {
        problems.push(Chain(&error).to_string());
    }
    if let AuthMode::UsersFile(path) = &config.http.auth.mode {
        match Users::read(path) {
            // Nobody was added yet.
            Err(UsersError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => problems.push(Chain(&error).to_string()),
            Ok(_) => {}
        }
    }
    // Whether we are root now says nothing of the daemon.
    let user = config.checks.user.as_deref().map(User::named);
    if let Some(Err(error @ (UserError::Unknown { .. } | UserError::Lookup { .. }))) = user {
        problems.push(Chain(&error).to_string());
    }
    if let Some(Err(error)) = config.delivery.ca.as_deref().map(|ca| client::trust(Some(ca))) {
        problems.push(Chain(&error).to_string());
    }
    if let Err(error) = Repository::load(&config.schema_directories) {
        problems.extend(error.problems.iter().map(ToString::to_string));
    }
    problems
}
