//! The gate as a whole: finds the checks, runs them side by side, collects what they say.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use tokio::{
    sync::Semaphore,
    task::{JoinError, JoinHandle, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Directories, Discovery, Entry, Fate, Finding, GateError, GateRequest, Outcome, ParameterLimits,
    Report, Trouble, TroubleKind, Verdict, discover, outcome,
    parameters::{self, ParameterFile},
    supervise::{Check, Surroundings},
    text,
};
use crate::{
    sys::{
        blocking::{SlotError, Slots},
        cgroup::Subtree,
        child::{Bounds, Limits, Spawner, StartError, Stop, User, UserError},
    },
    telemetry::Chain,
};

/// How many look-throughs of the check directories may be under way; more only if a directory hangs.
const DISCOVERIES: usize = 8;

/// The settings of the gate.
#[derive(Clone, Debug)]
pub struct Options {
    /// `checks.directory`: the administrator's checks.
    pub directory: PathBuf,
    /// `checks.vendor-directory`: a package's checks.
    pub vendor_directory: Option<PathBuf>,
    /// `checks.timeout`: how long a check may take.
    pub timeout: Duration,
    /// `checks.timeouts`: the same for single checks, by name.
    pub timeouts: BTreeMap<String, Duration>,
    /// `checks.grace`: from SIGTERM to SIGKILL; zero is SIGKILL at once.
    pub grace: Duration,
    /// `checks.parallel`: checks of one request at the same time.
    pub parallel: NonZeroUsize,
    /// `checks.parallel-total`: checks, and requests, at the same time. Each takes a thread of tokio's
    /// blocking pool while it runs.
    pub parallel_total: NonZeroUsize,
    /// `limits.queued-checks`: requests that wait while others are served.
    pub queue: usize,
    /// `checks.when-directory-missing`.
    pub when_directory_missing: WhenMissing,
    /// `checks.user`: who the checks run as, by name.
    pub user: Option<String>,
    /// Where parameter files lie. Private to this purpose.
    pub runtime_directory: PathBuf,
    /// Bytes kept of each output of a check.
    pub output_bytes: usize,
    /// Bytes of the reason that a client sees.
    pub reason_bytes: usize,
    /// What a client may say in CheckParameters.
    pub parameters: ParameterLimits,
    /// What a check may use.
    pub limits: Limits,
    /// How the descendants of a check are held together.
    pub containment: Containment,
}

/// What a missing check directory means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WhenMissing {
    /// No guest may move.
    Fail,
    /// There are no checks.
    Pass,
}

/// How the descendants of a check are held together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Containment {
    /// By a control group where one can be made, and by their ancestry.
    ControlGroup,
    /// By their ancestry alone.
    Ancestry,
}

impl Default for Options {
    fn default() -> Self {
        let parallel = available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            directory: "/usr/libexec/extchecks".into(),
            vendor_directory: None,
            timeout: Duration::from_secs(10),
            timeouts: BTreeMap::new(),
            grace: Duration::ZERO,
            parallel,
            parallel_total: Self::total(parallel),
            queue: 64,
            when_directory_missing: WhenMissing::Fail,
            user: None,
            runtime_directory: "/run/virtcimd/checks".into(),
            output_bytes: 64 << 10,
            reason_bytes: 1 << 10,
            parameters: ParameterLimits::default(),
            limits: Limits {
                open_files: Some(1024),
                processes: Some(1024),
                file_size: Some(1 << 30),
                address_space: Some(4 << 30),
            },
            containment: Containment::ControlGroup,
        }
    }
}

impl Options {
    /// `checks.parallel-total` where only `checks.parallel` is set: four requests' worth, 16 at least.
    pub fn total(parallel: NonZeroUsize) -> NonZeroUsize {
        let [four, sixteen] = [4, 16].map(|number| NonZeroUsize::MIN.saturating_add(number - 1));
        parallel.saturating_mul(four).max(sixteen)
    }

    /// Where checks are looked for, by absolute paths.
    ///
    /// # Errors
    /// [`SetupError::Directory`].
    pub fn directories(&self) -> Result<Directories, SetupError> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|source| SetupError::Directory { path: path.to_owned(), source })
        };
        Ok(Directories {
            admin: absolute(&self.directory)?,
            vendor: self.vendor_directory.as_deref().map(absolute).transpose()?,
        })
    }
}

/// Why there is no gate.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `checks.user` can't be.
    #[error("checks.user is of no use")]
    User(#[from] UserError),
    /// No process that starts the checks.
    #[error("can't start the process that starts checks")]
    Spawner(#[from] StartError),
    /// A check directory has no absolute path.
    #[error("the check directory `{}' has no absolute path", path.display())]
    Directory {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Decides whether guests may move. Clones are one and the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Options,
    directories: Directories,
    user: Option<User>,
    spawner: Arc<Spawner>,
    subtree: Option<Arc<Subtree>>,
    /// Requests.
    requests: Slots,
    /// Look-throughs of the directories.
    discoveries: Slots,
    /// Check programs, of all requests.
    programs: Arc<Semaphore>,
}

/// Everything one run of the gate saw.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// What the built-in checks found.
    pub builtin: Vec<Finding>,
    /// What is wrong with the check directories or with handing over the parameters.
    pub directories: Vec<Finding>,
    /// What became of each check program, by the byte order of their names.
    pub programs: Vec<Outcome>,
}

impl Examination {
    /// All findings in order.
    pub fn report(&self) -> Report {
        let programs = self.programs.iter().flat_map(Outcome::findings);
        let before = self.builtin.iter().chain(&self.directories).cloned();
        Report { findings: before.chain(programs).collect() }
    }
}

impl Gate {
    /// Sets the gate up. Forks the process that will start the checks, so the earlier in the daemon's
    /// life the better, and removes parameter files that a killed daemon left.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(options: Options) -> Result<Self, SetupError> {
        let spawner = Arc::new(Spawner::start()?);
        let subtree = match options.containment {
            Containment::ControlGroup => Subtree::find().map(Arc::new),
            Containment::Ancestry => None,
        };
        match &subtree {
            Some(subtree) => {
                tracing::info!(path = %subtree.path().display(), "checks get control groups");
            }
            None => tracing::info!("checks get no control groups"),
        }
        parameters::sweep(&options.runtime_directory);
        Self::build(options, spawner, subtree)
    }

    /// A gate with other settings, for a reload: runs that are under way keep theirs.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn reconfigured(&self, options: Options) -> Result<Self, SetupError> {
        Self::build(options, Arc::clone(&self.0.spawner), self.0.subtree.clone())
    }

    fn build(
        options: Options,
        spawner: Arc<Spawner>,
        subtree: Option<Arc<Subtree>>,
    ) -> Result<Self, SetupError> {
        let user = options.user.as_deref().map(User::named).transpose()?;
        let directories = options.directories()?;
        let total = options.parallel_total.get();
        Ok(Self(Arc::new(Inner {
            user,
            spawner,
            subtree,
            directories,
            requests: Slots::new(total, options.queue),
            discoveries: Slots::new(DISCOVERIES, usize::MAX),
            programs: Arc::new(Semaphore::new(total)),
            options,
        })))
    }

    /// Where this gate looks for checks.
    pub fn directories(&self) -> &Directories {
        &self.0.directories
    }

    /// Whether check programs could be given these parameters.
    ///
    /// # Errors
    /// [`GateError::Parameter`].
    pub fn check_parameters(&self, entries: Option<&[Option<String>]>) -> Result<(), GateError> {
        let limits = &self.0.options.parameters;
        entries.map_or(Ok(()), |entries| parameters::text(entries, limits).map(drop))
    }

    /// Asks whether a guest may move.
    ///
    /// `builtin` runs on a blocking thread beside the programs. Cancelling, or dropping the future,
    /// kills the programs.
    ///
    /// # Errors
    /// [`GateError`]; nothing ran, or what ran was killed.
    pub async fn run(
        &self,
        request: GateRequest,
        builtin: impl FnOnce() -> Vec<Finding> + Send + 'static,
        cancelled: CancellationToken,
    ) -> Result<Report, GateError> {
        Ok(self.examine(request, builtin, cancelled).await?.report())
    }

    /// As [`Self::run`], and tells of the checks that passed, too.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn examine(
        &self,
        request: GateRequest,
        builtin: impl FnOnce() -> Vec<Finding> + Send + 'static,
        cancelled: CancellationToken,
    ) -> Result<Examination, GateError> {
        let span =
            tracing::info_span!("gate", domain = %request.guest, phase = request.phase.as_str());
        self.examine_in_span(request, builtin, cancelled).instrument(span).await
    }

    async fn examine_in_span(
        &self,
        request: GateRequest,
        builtin: impl FnOnce() -> Vec<Finding> + Send + 'static,
        cancelled: CancellationToken,
    ) -> Result<Examination, GateError> {
        let options = &self.0.options;
        let parameters = request.parameters.as_deref();
        let parameters =
            parameters.map(|entries| parameters::text(entries, &options.parameters)).transpose()?;
        let _place = cancelled
            .run_until_cancelled(self.0.requests.slot())
            .await
            .ok_or(GateError::Cancelled)?
            .map_err(|_| GateError::Busy { limit: options.queue })?;

        let began = Instant::now();
        let span = tracing::Span::current();
        let builtin = move || {
            let found = builtin();
            tracing::debug!(findings = found.len(), "built-in checks have run");
            found
        };
        let builtin = spawn_blocking(move || span.in_scope(builtin));
        let stop = StopWhenDropped(Stop::new().map_err(GateError::Setup)?);
        let mut programs = Box::pin(self.programs(request, parameters, stop.0.clone()));
        let examined = cancelled.run_until_cancelled(&mut programs).await;
        let Some((directories, programs)) = examined else {
            stop.0.raise();
            programs.await;
            return Err(GateError::Cancelled);
        };
        let builtin = cancelled.run_until_cancelled(builtin).await.ok_or(GateError::Cancelled)?;
        let builtin = builtin.unwrap_or_else(|error| {
            tracing::error!(%error, "the built-in checks broke off");
            vec![outcome::builtin_broke_off()]
        });
        let examination = Examination { builtin, directories, programs };
        tracing::debug!(
            elapsed = ?began.elapsed(),
            programs = examination.programs.len(),
            passed = examination.report().passed(),
            "gate has run"
        );
        Ok(examination)
    }

    /// Finds and runs the check programs.
    async fn programs(
        &self,
        request: GateRequest,
        parameters: Option<String>,
        stop: Stop,
    ) -> (Vec<Finding>, Vec<Outcome>) {
        let (discovery, parameters) = match self.prepare(parameters).await {
            Ok(prepared) => prepared,
            Err(finding) => return (vec![finding], Vec::new()),
        };
        let directories = discovery.troubles.iter().filter(|trouble| self.matters(trouble));
        let directories = directories.map(Trouble::finding).collect();
        let surroundings = Arc::new(Surroundings {
            request,
            parameters,
            user: self.0.user.clone(),
            limits: self.0.options.limits,
            reason_bytes: self.0.options.reason_bytes,
            spawner: Arc::clone(&self.0.spawner),
            subtree: self.0.subtree.clone(),
            stop,
        });
        let parallel = Arc::new(Semaphore::new(self.0.options.parallel.get()));
        let mut begun = Vec::new();
        for entry in discovery.entries {
            begun.push(self.begin(entry, &surroundings, &parallel).await);
        }
        let mut outcomes = Vec::new();
        for check in begun.into_iter().flatten() {
            outcomes.push(check.outcome().await);
        }
        (directories, outcomes)
    }

    /// Looks through the directories, and writes the parameter file if there is anybody to read it.
    async fn prepare(
        &self,
        text: Option<String>,
    ) -> Result<(Discovery, Option<ParameterFile>), Finding> {
        let inner = Arc::clone(&self.0);
        let prepare = move || {
            let discovery = discover(&inner.directories);
            let anybody = discovery.entries.iter().any(|entry| matches!(entry.fate, Fate::Run(_)));
            let file = text.filter(|_| anybody).map(|text| {
                let directory = &inner.options.runtime_directory;
                ParameterFile::write(directory, &text, inner.user.as_ref())
            });
            (discovery, file.transpose())
        };
        let deadline = self.0.options.timeout;
        match self.0.discoveries.run_within(deadline, prepare).await {
            Ok((discovery, Ok(file))) => Ok((discovery, file)),
            Ok((_, Err(error))) => {
                let error = Chain(&error);
                tracing::error!(%error, "the checks can't be given their parameters");
                let directory = text::display(self.0.options.runtime_directory.as_os_str());
                let why = format!("the checks can't be given their parameters: {error}");
                let remedy = format!("See that the daemon can write to `{directory}'.");
                Err(outcome::unable("VMX010", &directory, &why, remedy))
            }
            Err(error) => {
                tracing::error!(%error, "the check directory does not answer");
                let directory = text::display(self.0.directories.admin.as_os_str());
                let remedy = format!("See that the daemon can read `{directory}'.");
                let why = match error {
                    SlotError::Late { deadline } => {
                        format!("the directory does not answer within {}", text::seconds(deadline))
                    }
                    SlotError::Busy { .. } | SlotError::Broken => error.to_string(),
                };
                Err(outcome::unable("VMX006", &directory, &why, remedy))
            }
        }
    }

    fn matters(&self, trouble: &Trouble) -> bool {
        match (&trouble.kind, self.0.options.when_directory_missing) {
            (TroubleKind::Missing, WhenMissing::Pass) => false,
            (kind, _) => {
                let path = trouble.directory.display();
                tracing::error!(%path, error = %kind, "check directory can't be used");
                true
            }
        }
    }

    /// Begins a check, as soon as there is room for it. `None` if the entry is no check.
    async fn begin(
        &self,
        entry: Entry,
        surroundings: &Arc<Surroundings>,
        parallel: &Arc<Semaphore>,
    ) -> Option<Begun> {
        let name = entry.name;
        let identity = match entry.fate {
            Fate::Run(identity) => identity,
            Fate::Refused(refusal) => {
                tracing::error!(path = %entry.path.display(), error = %refusal, "check refused");
                let verdict = Verdict::Refused(refusal);
                return Some(Begun::Done(Outcome::not_run(&name, verdict)));
            }
            Fate::Ignored(reason) => {
                tracing::debug!(path = %entry.path.display(), %reason, "ignored");
                return None;
            }
            Fate::Masked { by } => {
                tracing::debug!(path = %entry.path.display(), by = %by.display(), "masked");
                return None;
            }
        };
        // In this order, so that a request that may run no more checks of its own holds up no other.
        let own = Arc::clone(parallel).acquire_owned().await;
        let common = Arc::clone(&self.0.programs).acquire_owned().await;
        let check = Check { path: entry.path, identity, bounds: self.bounds(&name), name };
        let lost =
            Outcome::not_run(&check.name, Verdict::CouldNotRun("its supervision broke off".into()));
        let surroundings = Arc::clone(surroundings);
        let span = tracing::Span::current();
        let task = spawn_blocking(move || {
            let _permits = (own, common);
            span.in_scope(|| surroundings.supervise(&check))
        });
        Some(Begun::Running { task, lost })
    }

    fn bounds(&self, name: &std::ffi::OsStr) -> Bounds {
        let options = &self.0.options;
        let own = name.to_str().and_then(|name| options.timeouts.get(name));
        Bounds {
            timeout: own.copied().unwrap_or(options.timeout),
            grace: options.grace,
            output: options.output_bytes,
        }
    }
}

/// A check that was begun.
enum Begun {
    Done(Outcome),
    Running { task: JoinHandle<Outcome>, lost: Outcome },
}

impl Begun {
    async fn outcome(self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Running { task, lost } => task.await.unwrap_or_else(|error: JoinError| {
                tracing::error!(%error, check = lost.name, "supervision broke off");
                lost
            }),
        }
    }
}

/// Ends the programs of a run that nobody waits for any more.
struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.raise();
    }
}
