//! `virtcimd checks …`: the gate by hand, without a running daemon.

use clap::Subcommand;

/// `virtcimd checks …`.
#[derive(Debug, Subcommand)]
pub enum ChecksCommand {
    /// Show each file of the check directories: used, ignored or refused, and why
    List,
    /// Run the gate for a guest and show the findings as a table
    Run {
        /// The guest's name
        guest: String,
        /// The destination host
        #[arg(long, value_name = "HOST")]
        destination: Option<String>,
        /// An entry of CheckParameters; may be repeated
        #[arg(long = "parameter", value_name = "K=V")]
        parameters: Vec<String>,
    },
}
