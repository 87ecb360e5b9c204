//! Tests of the assembled daemon, one binary; each module says what it shows.
#![expect(clippy::unwrap_used, reason = "a test ends by panic")]
#![expect(clippy::print_stderr, reason = "a test tells what it leaves out")]

mod architecture;
mod checks;
mod checks_cli;
mod checks_isolated;
mod checks_support;
mod config;
mod daemon;
mod example_checks;
mod heavy_queries;
mod http;
mod http_auth;
mod http_limits;
mod http_support;
mod http_tls;
mod hypervisor;
mod migration_jobs;
mod migrations;
mod migrations_support;
mod model;
mod model_support;
mod streaming;
mod transcripts;
mod two_hosts;
mod units;
