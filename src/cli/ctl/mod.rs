//! `virtcimctl`: the migration model on a terminal, from any CIM-XML server that has it.

mod check;
mod hosts;
mod jobs;
mod model;
mod progress;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use crate::{
    cim::{CimName, Namespace, Value},
    client::{Client, ClientError, Credentials, Endpoint, ExchangeLimits, Transport, trust},
    telemetry::Chain,
};
use model::Model;

/// Where the daemon listens for local clients unless its configuration says otherwise.
const LOCAL_SOCKET: &str = "/run/virtcimd/virtcimd.sock";

/// Ask whether guests may migrate, migrate them and watch, on any CIM-XML server with the
/// libvirt-cim migration model.
#[derive(Debug, Parser)]
#[command(name = "virtcimctl", version, disable_help_subcommand = true)]
#[command(after_help = "Exit status: 0 done, 1 refused or failed, 2 usage, 3 server unreachable.")]
pub struct Ctl {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
struct Shared {
    /// The server: http://HOST[:PORT], https://HOST[:PORT] or unix:/SOCKET
    #[arg(long, global = true, env = "VIRTCIMCTL_URL", default_value_t = default_url(), value_name = "URL")]
    url: String,
    /// The user name; the password comes from --password-file, VIRTCIMCTL_PASSWORD or the terminal
    #[arg(long, short, global = true, env = "VIRTCIMCTL_USER", value_name = "USER")]
    user: Option<String>,
    /// A file whose first line is the password
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Certificates (PEM) to trust for https instead of the machine's
    #[arg(long, global = true, env = "VIRTCIMCTL_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The CIM namespace of the virtualization classes
    #[arg(long, global = true, default_value = "root/virt", value_name = "NAMESPACE")]
    namespace: String,
    /// The class prefix, where guests of several hypervisors have the same name
    #[arg(long, global = true, value_name = "KVM|Xen|LXC")]
    prefix: Option<String>,
    /// Seconds to wait for an answer
    #[arg(long, global = true, default_value_t = 120, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Print JSON, one document
    #[arg(long, global = true)]
    json: bool,
}

fn default_url() -> String {
    if std::path::Path::new(LOCAL_SOCKET).exists() {
        format!("unix:{LOCAL_SOCKET}")
    } else {
        "http://localhost:5988".to_owned()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask whether a guest may migrate
    Check(CheckArguments),
    /// Migrate a guest and watch it go
    Migrate(Box<MigrateArguments>),
    /// List migration jobs
    Jobs(JobsArguments),
    /// Watch a migration job until it is over
    Watch(WatchArguments),
    /// Abort a migration job; the guest stays where it is
    Abort(WatchArguments),
    /// List the hosts the server manages, with their guests
    Hosts,
    /// Print a completion script for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What `migrate` takes beyond `check`.
#[derive(Args, Debug)]
struct MigrateArguments {
    #[command(flatten)]
    what: CheckArguments,
    /// Return as soon as the job has started
    #[arg(long)]
    detach: bool,
    /// Before jobs of higher number in the queue; 0 is the server's default
    #[arg(long, value_name = "N")]
    priority: Option<u16>,
    /// Limit of the transfer, MiB/s
    #[arg(long, value_name = "MIB/S")]
    bandwidth: Option<u16>,
    /// How long the guest may stand still at the end, milliseconds
    #[arg(long, value_name = "MS")]
    max_downtime: Option<u64>,
    /// Slow the guest's CPUs down until the migration can end
    #[arg(long)]
    auto_converge: bool,
    /// Let the guest run at the destination before its memory is there, if it must
    #[arg(long)]
    post_copy: bool,
    /// Connections to send memory over at the same time
    #[arg(long, value_name = "N")]
    parallel: Option<u16>,
    /// Compress memory on the way; zlib and zstd need --parallel
    #[arg(long, value_name = "xbzrle|multithreaded|zlib|zstd")]
    compress: Option<Compression>,
    /// Encrypt memory and disks on the way, whatever the transport
    #[arg(long)]
    encrypt: bool,
    /// Copy disks that the hosts don't share
    #[arg(long, value_name = "none|full|incremental")]
    copy_storage: Option<StorageCopy>,
    /// A disk to copy, e.g. vda; may be repeated; without it all that are not shared
    #[arg(long = "copy-disk", value_name = "DISK")]
    copy_disks: Vec<String>,
    /// Where the destination takes the data, if not at its name, e.g. tcp://10.0.0.2
    #[arg(long, value_name = "URI")]
    migration_uri: Option<String>,
    /// Seconds after which --timeout-action is taken
    #[arg(long = "migration-timeout", value_name = "SECONDS")]
    migration_timeout: Option<u32>,
    /// What to do at the timeout
    #[arg(long, value_name = "abort|pause|post-copy", requires = "migration_timeout")]
    timeout_action: Option<TimeoutAction>,
    /// The code of a finding to go on in spite of; may be repeated; needs the admin role
    #[arg(long = "override", value_name = "CODE")]
    overrides: Vec<String>,
}

impl MigrateArguments {
    /// The setting data properties of the options that were given.
    fn properties(&self) -> Vec<(CimName, Value)> {
        let mut properties = Vec::new();
        let mut add = |name: &'static str, value: Option<Value>| {
            properties.extend(value.map(|value| (CimName::literal(name), value)));
        };
        let yes = |flag: bool| flag.then(|| Value::from(true));
        add("Priority", self.priority.map(Value::from));
        add("Bandwidth", self.bandwidth.map(Value::from));
        add("BandwidthUnit", self.bandwidth.map(|_| Value::from("byte / second * 2^20")));
        add("MaxDowntime", self.max_downtime.map(Value::from));
        add("AutoConverge", yes(self.auto_converge));
        add("PostCopy", yes(self.post_copy));
        add("ParallelConnections", self.parallel.map(Value::from));
        add("Compression", self.compress.map(|method| Value::from(method as u16)));
        add("EncryptData", yes(self.encrypt));
        add("StorageCopy", self.copy_storage.map(|copy| Value::from(copy as u16)));
        add(
            "StorageCopyDisks",
            (!self.copy_disks.is_empty()).then(|| jobs::strings(&self.copy_disks)),
        );
        add("MigrationURI", self.migration_uri.as_deref().map(Value::from));
        add("MigrationTimeout", self.migration_timeout.map(Value::from));
        add("TimeoutAction", self.timeout_action.map(|action| Value::from(action as u16)));
        add(
            "OverrideFindings",
            (!self.overrides.is_empty()).then(|| jobs::strings(&self.overrides)),
        );
        properties
    }
}

/// The setting data's StorageCopy.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StorageCopy {
    None = 0,
    Full = 1,
    Incremental = 2,
}

/// The setting data's TimeoutAction.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TimeoutAction {
    Abort = 1,
    Pause = 2,
    PostCopy = 3,
}

/// The setting data's Compression.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Compression {
    Xbzrle = 1,
    Multithreaded = 2,
    Zlib = 3,
    Zstd = 4,
}

/// What `jobs` takes.
#[derive(Args, Debug)]
struct JobsArguments {
    /// Also jobs that are over and gone, from the server's history
    #[arg(long)]
    all: bool,
}

/// A job.
#[derive(Args, Debug)]
struct WatchArguments {
    /// The job's id, or its beginning
    job: String,
}

/// A guest, where it goes and how.
#[derive(Args, Debug)]
struct CheckArguments {
    /// The guest's name
    guest: String,
    /// The host it would go to
    #[arg(value_name = "DESTINATION", required_unless_present = "destination_option")]
    destination: Option<String>,
    /// The same as DESTINATION
    #[arg(
        long = "destination",
        id = "destination_option",
        value_name = "HOST",
        conflicts_with = "destination"
    )]
    destination_option: Option<String>,
    /// How it would move (the server's default is live)
    #[arg(long = "type", value_name = "TYPE")]
    migration_type: Option<MigrationType>,
    /// How the hosts talk to each other
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportType>,
    /// A line for the check programs, by custom KEY=VALUE; may be repeated
    #[arg(long = "parameter", short = 'p', value_name = "K=V")]
    parameters: Vec<String>,
}

impl CheckArguments {
    fn destination(&self) -> anyhow::Result<&str> {
        self.destination
            .as_deref()
            .or(self.destination_option.as_deref())
            .context("DESTINATION is missing")
    }
}

/// CIM_VirtualSystemMigrationSettingData.MigrationType.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum MigrationType {
    Offline,
    Live,
    Resume,
    Restart,
}

impl MigrationType {
    fn number(self) -> u16 {
        match self {
            Self::Offline => 1,
            Self::Live => 2,
            Self::Resume => 3,
            Self::Restart => 4,
        }
    }
}

/// CIM_VirtualSystemMigrationSettingData.TransportType; unix is libvirt-cim's vendor value.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransportType {
    Ssh,
    Tls,
    TlsStrict,
    Tcp,
    Unix,
}

impl TransportType {
    fn number(self) -> u16 {
        match self {
            Self::Ssh => 2,
            Self::Tls => 3,
            Self::TlsStrict => 4,
            Self::Tcp => 5,
            Self::Unix => 32768,
        }
    }
}

/// How a command ended, for the exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Done,
    Refused,
}

/// A word on the command line that only running could find wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Ctl {
    /// Runs the command and prints what it found.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return failed(&anyhow::Error::from(error).context("cannot start")),
        };
        let outcome = runtime.block_on(self.dispatch(&mut std::io::stdout()));
        // Nobody waits for a person who was asked and has not answered.
        runtime.shutdown_background();
        match outcome {
            Ok(Outcome::Done) => ExitCode::SUCCESS,
            Ok(Outcome::Refused) => ExitCode::from(1),
            Err(error) => failed(&error),
        }
    }

    async fn dispatch(self, out: &mut (dyn Write + Send)) -> anyhow::Result<Outcome> {
        if let Command::Completions { shell } = &self.command {
            clap_complete::generate(*shell, &mut Self::command(), "virtcimctl", &mut *out);
            return Ok(Outcome::Done);
        }
        let (model, shared) = (self.shared.connect()?, &self.shared);
        match &self.command {
            Command::Check(arguments) => check::run(&model, arguments, shared, out).await,
            Command::Migrate(arguments) => jobs::migrate(&model, arguments, shared, out).await,
            Command::Jobs(arguments) => jobs::list(&model, arguments, shared, out).await,
            Command::Watch(arguments) => jobs::watch(&model, arguments, shared, out).await,
            Command::Abort(arguments) => jobs::abort(&model, arguments, shared, out).await,
            Command::Hosts => hosts::run(&model, shared, out).await,
            Command::Completions { .. } => Ok(Outcome::Done),
        }
    }
}

impl Shared {
    /// How progress is shown on standard output.
    fn style(&self) -> progress::Style {
        let stdout = std::io::stdout();
        if self.json {
            progress::Style::Json
        } else if stdout.is_terminal() {
            progress::Style::Bar(terminal_columns(&stdout))
        } else {
            progress::Style::Lines
        }
    }

    fn connect(&self) -> anyhow::Result<Model> {
        let endpoint = Endpoint::parse(&self.url).map_err(|error| Usage(error.to_string()))?;
        let namespace =
            Namespace::parse(&self.namespace).map_err(|error| Usage(error.to_string()))?;
        let tls = match endpoint.transport {
            Transport::Https(_) => Some(trust(self.ca.as_deref())?),
            Transport::Http(_) | Transport::Unix(_) => None,
        };
        let credentials = self.credentials()?;
        let limits = ExchangeLimits {
            answer: Duration::from_secs(self.timeout),
            ..ExchangeLimits::default()
        };
        Ok(Model::new(Client::new(endpoint, credentials.as_ref(), tls, limits), namespace))
    }

    fn credentials(&self) -> anyhow::Result<Option<Credentials>> {
        let Some(user) = &self.user else { return Ok(None) };
        if user.contains(':') {
            return Err(Usage("a user name has no colon".into()).into());
        }
        let password = if let Some(file) = &self.password_file {
            let content = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the password from {}", file.display()))?;
            Zeroizing::new(content.lines().next().unwrap_or_default().to_owned())
        } else if let Ok(password) = std::env::var("VIRTCIMCTL_PASSWORD") {
            Zeroizing::new(password)
        } else if std::io::stdin().is_terminal() {
            super::password::ask(&format!("Password of {user}: "))?
        } else {
            return Err(Usage(
                "--user needs --password-file, VIRTCIMCTL_PASSWORD or a terminal".into(),
            )
            .into());
        };
        Ok(Some(Credentials { user: user.clone(), password }))
    }
}

#[expect(clippy::print_stderr, reason = "this is where a terminal program tells why it failed")]
fn failed(error: &anyhow::Error) -> ExitCode {
    let code = match error.downcast_ref::<ClientError>() {
        Some(error) if error.is_away() => 3,
        _ if error.is::<Usage>() => 2,
        _ => 1,
    };
    eprintln!("virtcimctl: {}", super::table::printable(&Chain(error.as_ref()).to_string()));
    ExitCode::from(code)
}

/// The width of a terminal; 80 where it does not tell.
fn terminal_columns(terminal: &impl std::os::fd::AsFd) -> usize {
    terminal_size::terminal_size_of(terminal).map_or(80, |(width, _)| width.0.into())
}
