//! The client program: arguments and exit codes; everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use virtcimd::cli::ctl::Ctl;

fn main() -> ExitCode {
    Ctl::parse().run()
}
