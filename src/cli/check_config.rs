//! `virtcimd check-config`: is the configuration one the daemon would start with?

use std::{
    io::{self, Write},
    path::Path,
};

use super::exit;
use crate::config::{self, ConfigError, Overrides};

/// Reads the configuration and prints every problem, or that there is none. Returns the exit code.
///
/// # Errors
/// If nothing can be written.
pub fn run(file: Option<&Path>) -> io::Result<u8> {
    let mut out = io::stdout().lock();
    match config::load(file, &Overrides::default()) {
        Ok(_) => {
            let file = file.unwrap_or(Path::new(config::DEFAULT_FILE));
            writeln!(out, "{}: the configuration is good", file.display())?;
            Ok(exit::OK)
        }
        Err(ConfigError(problems)) => {
            for problem in problems {
                writeln!(out, "{problem}")?;
            }
            Ok(exit::CONFIG)
        }
    }
}
