//! The daemon's program: arguments and exit codes; everything else is in the library.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use virtcimd::cli::{self, Cli, Command, exit};

#[expect(clippy::print_stderr, reason = "the last words of a program belong on standard error")]
fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("virtcimd: {error:#}");
            exit::SOFTWARE.into()
        }
    }
}

fn run(arguments: &Cli) -> anyhow::Result<u8> {
    let file = arguments.config.as_deref();
    match &arguments.command {
        Command::CheckConfig => {
            cli::check_config::run(file).context("cannot write to standard output")
        }
        Command::Serve(_) | Command::Checks(_) | Command::User(_) => Ok(exit::SOFTWARE),
    }
}
