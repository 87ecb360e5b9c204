//! The daemon: builds every room in order, wires them, and takes them down in the opposite order.
//!
//! ```text
//!   configuration ─▶ listeners ─▶ schema ─▶ store ─▶ connections ─▶ migrations ─▶ providers
//!     ─▶ subscriptions ─▶ operations ─▶ server
//! ```
//!
//! Addresses come first, because nothing else fails as often or is as cheap to try. The connections
//! to hypervisors are only begun: the daemon is ready, and says the truth, also while libvirtd is down.
//! Jobs that an earlier daemon left unfinished go on at once. When the daemon ends it leaves running
//! migrations as they are: the next one takes them over. Indications that wait have a moment to be sent;
//! the next daemon sends the others.
//!
//! Signals: SIGHUP reads users, certificates and the configuration again; SIGTERM and SIGINT let
//! requests be answered for `daemon.stop-timeout` and end; a second one ends at once.

use std::{
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    checks::{Gate, SetupError},
    config::{self, Config, Overrides},
    http::{AuthMode, BindError, Inherited, ListenAddress, Listeners, Server, ServerError},
    hypervisor::{
        Connection, ConnectionOptions, Connector,
        libvirt::{LibvirtConnector, LibvirtOptions},
    },
    indications::{self, Delivery, Subscriptions},
    migration::{Limits, MigrationHandle, Options, Parts},
    ops::{Operations, Registry, RegistryError},
    providers::{self, Host, Migrations, Terms},
    repository::{LoadError, Repository},
    store::{Store, StoreError},
    sys::activation,
    telemetry::{self, Chain},
};

/// How long what is behind the server may take to end. A call that hangs in libvirt ends with us.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Users or certificates cannot be read.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The schema is wrong.
    #[error("the schema cannot be used")]
    Schema(#[from] LoadError),
    /// The checks cannot be set up.
    #[error(transparent)]
    Checks(#[from] SetupError),
    /// Nobody vouches for the listeners of indications.
    #[error(transparent)]
    Indications(#[from] indications::SetupError),
    /// Two hypervisors have the same prefix.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store cannot be used.
    #[error("the store {} cannot be used", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The run-time directory cannot be made.
    #[error("cannot make the run-time directory {}", path.display())]
    RuntimeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A running daemon.
pub struct Daemon {
    server: Server,
    operations: Operations,
    /// On which terms guests may leave.
    terms: watch::Sender<Arc<Terms>>,
    migrations: MigrationHandle,
    subscriptions: Subscriptions,
    store: Store,
    /// The connections to hypervisors, the migrations, the subscriptions and what is sent for them.
    tasks: TaskTracker,
    stop: CancellationToken,
    stop_timeout: Duration,
}

impl Daemon {
    /// Builds everything and serves, on real hypervisors.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(config: &Config, inherited: Vec<Inherited>) -> Result<Self, StartError> {
        let connector = Arc::new(LibvirtConnector::new(LibvirtOptions::default()));
        Self::start_on(config, inherited, connector).await
    }

    /// Builds everything and serves, on hypervisors that `connector` opens.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start_on(
        config: &Config,
        inherited: Vec<Inherited>,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, StartError> {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let started = Self::build(config, inherited, connector, tasks.clone(), stop.clone()).await;
        if started.is_err() {
            stop.cancel();
            end(&tasks).await;
        }
        started
    }

    async fn build(
        config: &Config,
        inherited: Vec<Inherited>,
        connector: Arc<dyn Connector>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        make_runtime_directory(&config.runtime_directory)?;
        let gate = Gate::new(config.checks.clone())?;
        let terms = watch::Sender::new(Arc::new(terms(config, gate)));
        let listeners = Listeners::bind(&config.http, inherited).await?;
        let repository = schema(&config.schema_directories)?;
        let store = open_store(&config.store_path).await?;
        let sources: Vec<Connection> = config
            .hypervisors
            .iter()
            .map(|hypervisor| {
                let options = ConnectionOptions::new(&hypervisor.uri);
                Connection::start(options, Arc::clone(&connector), &tasks, stop.clone())
            })
            .collect();
        let parts = Parts {
            store: store.clone(),
            sources: sources.clone(),
            connector: Arc::clone(&connector),
            gate: providers::ask_gate(terms.subscribe()),
        };
        let started = MigrationHandle::start(parts, options(config), &tasks, stop.clone()).await;
        let migrations = started.map_err(|source| unusable(&config.store_path, source))?;
        let hosts: Vec<Host> = config
            .hypervisors
            .iter()
            .zip(sources)
            .map(|(hypervisor, connection)| {
                let migrations = migrations.clone();
                Host { prefix: hypervisor.prefix, connection, migrations }
            })
            .collect();
        let shared = Migrations::new(connector, terms.subscribe());
        let mut registry = Registry::default();
        for host in &hosts {
            providers::register(&mut registry, host, &shared)?;
        }
        providers::register_jobs(&mut registry, &hosts, &shared)?;
        let server = about(config);
        providers::register_server(&mut registry, &server, &hosts)?;
        providers::register_wbem_server(&mut registry, &server, &repository)?;
        let options = delivery_options(config, &server);
        let schema = Arc::clone(&repository);
        let started = Subscriptions::start(store.clone(), schema, options, &tasks, stop.clone());
        let subscriptions = started.await.map_err(|error| no_indications(config, error))?;
        let limits = &config.indications;
        providers::register_subscriptions(&mut registry, &server, limits, &subscriptions)?;
        let schema = Arc::clone(&repository);
        let delivery = Delivery::start(&subscriptions, schema, &tasks, stop.clone());
        providers::follow_events(&hosts, &shared, &delivery, &tasks, &stop);
        let operations = Operations::new(repository, registry, config.operations);
        let handler = Arc::new(operations.clone());
        let server = Server::start(listeners, &config.http, config.xml, handler)?;
        let stop_timeout = config.stop_timeout;
        Ok(Self {
            server,
            operations,
            terms,
            migrations,
            subscriptions,
            store,
            tasks,
            stop,
            stop_timeout,
        })
    }

    /// The addresses served; a port of 0 has become a number.
    pub fn addresses(&self) -> &[ListenAddress] {
        self.server.addresses()
    }

    /// Takes over what of a new configuration can change without a restart: checks, destinations, how
    /// migrations are carried out, what a refusal is answered with, and how indications are sent. Reads
    /// users and certificates again.
    ///
    /// # Errors
    /// Everything that is wrong; that stays as it was.
    pub fn reload(&self, config: &Config) -> Result<(), Vec<StartError>> {
        let mut errors: Vec<StartError> = Vec::new();
        let gate = self.terms.borrow().gate.reconfigured(config.checks.clone());
        match gate {
            Ok(gate) => {
                self.terms.send_replace(Arc::new(terms(config, gate)));
                self.migrations.set_options(options(config));
            }
            // What may migrate, and how, changes together or not at all.
            Err(error) => errors.push(error.into()),
        }
        if let Err(error) = self.subscriptions.set_delivery(config.delivery.clone()) {
            errors.push(error.into());
        }
        if let Err(failures) = self.server.reload() {
            errors.extend(failures.into_iter().map(StartError::from));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Answers what was asked, accepts nothing new, and ends. Returns whether everything was answered
    /// in time.
    pub async fn stop(self) -> bool {
        let answered = self.server.stop(self.stop_timeout).await;
        if timeout(LAST_PATIENCE, self.operations.close()).await.is_err() {
            warn!("an operation still hangs and is left behind");
        }
        self.stop.cancel();
        end(&self.tasks).await;
        // Last, for migrations store what they have come to.
        self.store.close().await;
        answered
    }
}

async fn open_store(path: &Path) -> Result<Store, StartError> {
    Store::open(path).await.map_err(|source| unusable(path, source))
}

fn unusable(path: &Path, source: StoreError) -> StartError {
    StartError::Store { path: path.to_owned(), source }
}

fn no_indications(config: &Config, error: indications::SetupError) -> StartError {
    match error {
        indications::SetupError::Store(source) => unusable(&config.store_path, source),
        error @ indications::SetupError::Trust(_) => error.into(),
    }
}

/// What clients may ask to be told, and how they are.
fn delivery_options(config: &Config, server: &providers::Server) -> indications::Options {
    indications::Options {
        system: server.system.clone(),
        limits: config.indications,
        delivery: config.delivery.clone(),
    }
}

/// How migrations are carried out.
fn options(config: &Config) -> Options {
    let migration = &config.migration;
    Options {
        mode: migration.mode,
        limits: Limits {
            outgoing: migration.max_outgoing.get(),
            per_destination: migration.max_per_destination.get(),
            waiting: migration.max_waiting.get(),
        },
        shutdown_timeout: migration.shutdown_timeout,
        late_shutdown: migration.late_shutdown,
        stall: migration.stall_timeout,
        patience: migration.patience,
        keep: config.jobs_keep,
        history: config.jobs_history,
        ..Options::default()
    }
}

/// Waits for tasks that were told to stop.
async fn end(tasks: &TaskTracker) {
    tasks.close();
    if timeout(LAST_PATIENCE, tasks.wait()).await.is_err() {
        warn!("a hypervisor call still hangs and is left behind");
    }
}

fn terms(config: &Config, gate: Gate) -> Terms {
    Terms {
        gate,
        levels: config.check_levels.clone(),
        destinations: config.migration.policy.clone(),
        check_failure: config.check_failure,
        failed_job_state: config.migration.failed_job_state,
        disk_directories: config.migration.disk_directories.clone(),
        ssh_key_directory: config.migration.ssh_key_directory.clone(),
    }
}

/// What the server says about itself.
fn about(config: &Config) -> providers::Server {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let most = config.operations.pull.max_timeout.as_secs();
    providers::Server {
        system: name.unwrap_or_else(|| "localhost".to_owned()),
        authenticates: config.http.auth.mode != AuthMode::None,
        certificates: config.http.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()),
        max_operation_timeout: u32::try_from(most).unwrap_or(u32::MAX),
    }
}

fn schema(directories: &[PathBuf]) -> Result<Arc<Repository>, LoadError> {
    if directories.is_empty() {
        return Ok(Repository::builtin());
    }
    let repository = Repository::load(directories)?;
    for note in repository.notes() {
        info!(%note, "schema");
    }
    Ok(Arc::new(repository))
}

fn make_runtime_directory(path: &Path) -> Result<(), StartError> {
    // Others must be able to reach the unix socket in it.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|source| StartError::RuntimeDirectory { path: path.to_owned(), source })
}

/// `virtcimd serve`: runs until a signal.
///
/// # Errors
/// [`config::ConfigError`], [`StartError`], or what the system refuses.
pub fn serve(file: Option<&Path>, overrides: &Overrides) -> anyhow::Result<()> {
    let config = config::load(file, overrides)?;
    telemetry::init(&config.log)?;
    let sockets =
        activation::take_sockets().context("cannot take the service manager's sockets")?;
    let inherited =
        sockets.into_iter().map(|(name, descriptor)| Inherited { name, descriptor }).collect();
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(&config, inherited, file, overrides));
    // A thread that hangs in a library must not keep us.
    runtime.shutdown_background();
    result
}

/// A connection costs a descriptor; the soft limit is for programs that use select(2).
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        warn!(%error, "the limit of open files stays as it is");
    }
}

async fn run(
    config: &Config,
    inherited: Vec<Inherited>,
    file: Option<&Path>,
    overrides: &Overrides,
) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let daemon = Daemon::start(config, inherited).await?;
    for address in daemon.addresses() {
        info!(%address, "listening");
    }
    tell(&[NotifyState::Ready, NotifyState::Status("Serving")]);
    let watchdog = tokio::spawn(feed_watchdog());
    while let Order::Reload = signals.next().await {
        reload(&daemon, file, overrides);
    }
    info!("stopping");
    tell(&[NotifyState::Stopping, NotifyState::Status("Answering the last requests")]);
    tokio::select! {
        answered = daemon.stop() => if !answered {
            warn!("some requests were cut off");
        },
        () = signals.end() => warn!("stopped at once"),
    }
    watchdog.abort();
    info!("stopped");
    Ok(())
}

/// Reads everything again that can change without a restart.
fn reload(daemon: &Daemon, file: Option<&Path>, overrides: &Overrides) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "the service manager is not told of the reload"),
    }
    match config::load(file, overrides) {
        Ok(config) => match daemon.reload(&config) {
            Ok(()) => info!("reloaded"),
            Err(errors) => {
                for failure in errors {
                    error!(error = %Chain(&failure), "not reloaded, what was before stays");
                }
            }
        },
        Err(config::ConfigError(problems)) => {
            for problem in problems {
                error!(%problem, "configuration not reloaded, what was before stays");
            }
        }
    }
    tell(&[NotifyState::Ready]);
}

/// Tells the service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// Shows the service manager that tasks are still scheduled, if it wants to know.
async fn feed_watchdog() {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    let mut ticks = tokio::time::interval(timeout / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

enum Order {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.hangup.recv() => Order::Reload,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::Stop,
        }
    }

    /// Waits for a signal to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
