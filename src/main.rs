//! The daemon's program: arguments and exit codes; everything else is in the library.

use clap::Parser;
use virtcimd::cli::Cli;

fn main() {
    Cli::parse();
}
