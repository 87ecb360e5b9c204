//! The commands of `virtcimd`: arguments in, text and exit codes out.
//!
//! One clap definition feeds the parser, the help texts and the completions. `serve` itself is not
//! here: it needs the whole house and lives in `daemon.rs`; what is here is its arguments.

pub mod check_config;
pub mod checks;
pub mod ctl;
pub mod password;
pub mod table;
pub mod user;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::config::Overrides;

/// Exit codes, those of sysexits(3) where it has one.
pub mod exit {
    /// Done; the answer is yes.
    pub const OK: u8 = 0;
    /// A check refused, a user does not exist: the answer is no.
    pub const REFUSED: u8 = 1;
    /// The arguments make no sense (clap's own code).
    pub const USAGE: u8 = 2;
    /// An address cannot be bound, a hypervisor or another service is not there.
    pub const UNAVAILABLE: u8 = 69;
    /// Our own fault.
    pub const SOFTWARE: u8 = 70;
    /// A file cannot be read.
    pub const NO_INPUT: u8 = 66;
    /// A file cannot be written.
    pub const CANNOT_CREATE: u8 = 73;
    /// Nothing can be read or written.
    pub const IO: u8 = 74;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
    /// Ended by an interrupt, as shells tell it.
    pub const INTERRUPTED: u8 = 130;
}

/// Migration gate and CIM-XML server for libvirt hosts
#[derive(Debug, Parser)]
#[command(name = "virtcimd", version, about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file; fragments are read from the directory of its name with `.d`
    #[arg(long, short, global = true, value_name = "FILE", env = "VIRTCIMD_CONFIG")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `virtcimd`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve(ServeArgs),
    /// Read the configuration, report every problem at once and exit
    CheckConfig,
    /// Look at the migration checks, or run them by hand
    #[command(subcommand)]
    Checks(checks::ChecksCommand),
    /// Manage the users file
    User(user::UserArgs),
}

/// What `serve` overrides of the configuration.
#[derive(Args, Debug, Default)]
pub struct ServeArgs {
    /// A hypervisor connection, e.g. qemu:///system; may be repeated, replaces those of the file
    #[arg(long, value_name = "URI")]
    pub hypervisor: Vec<String>,
    /// Where to listen: http://ADDR:PORT, https://ADDR:PORT, ADDR:PORT (http) or unix:PATH; may be
    /// repeated, replaces the listeners of the file
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// The directory of the administrator's migration checks
    #[arg(long, value_name = "DIR")]
    pub migrate_check_dir: Option<PathBuf>,
    /// How long a migration check may run
    #[arg(long, value_name = "SECS", value_parser = clap::value_parser!(u32).range(1..=86400))]
    pub migrate_check_timeout: Option<u32>,
}

impl ServeArgs {
    /// What these arguments lay on top of the files.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            hypervisors: self.hypervisor.clone(),
            listen: self.listen.clone(),
            check_directory: self.migrate_check_dir.clone(),
            check_timeout: self.migrate_check_timeout.map(|s| Duration::from_secs(s.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_design_parse() {
        for line in [
            "virtcimd serve",
            "virtcimd serve --config f --hypervisor test:///default --hypervisor qemu:///system \
             --listen 127.0.0.1:0 --migrate-check-dir /d --migrate-check-timeout 10",
            "virtcimd check-config --config f",
            "virtcimd --config f check-config",
            "virtcimd checks list",
            "virtcimd checks run guest --destination host --parameter a=b --parameter c=",
            "virtcimd user add alice",
            "virtcimd user add alice --role viewer --users-file /u",
            "virtcimd user remove alice",
            "virtcimd user list",
            "virtcimd user list alice",
        ] {
            Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn a_senseless_command_line_is_a_usage_error() {
        for line in [
            "virtcimd",
            "virtcimd serve --migrate-check-timeout 0",
            "virtcimd serve --migrate-check-timeout ten",
            "virtcimd serve --listem x",
            "virtcimd checks run",
            "virtcimd user add alice --role king",
        ] {
            let error = Cli::try_parse_from(line.split_whitespace()).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(exit::USAGE), "{line}");
        }
    }
}
