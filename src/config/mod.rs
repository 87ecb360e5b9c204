//! The configuration: files as written, and as meant.
//!
//! `/etc/virtcimd/virtcimd.toml` and the fragments in `virtcimd.d` beside it become one tree that
//! remembers where each value was written (`tree.rs`); the command line is laid on top of it; each
//! section is read with its types and defaults (`sections.rs`). Reading never stops at a problem:
//! all of them are reported together, each with its file and line.
//!
//! Every setting has a safe default, so no file at all is a good configuration too.

mod checks;
mod hosts;
mod network;
mod problem;
mod section;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

pub use hosts::{Hypervisor, Migration};
pub use problem::{Place, Problem};

use self::{
    problem::Problems,
    section::Section,
    tree::{Located, Node, Table},
    value::{Choice, FromNode},
};
use crate::{
    checks::{Options, builtin::Levels},
    http, indications,
    ops::{self, PullLimits, QueryLimits},
    providers::CheckFailure,
    telemetry, xml,
};

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_FILE: &str = "/etc/virtcimd/virtcimd.toml";

/// The configuration as meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server.
    pub http: http::Options,
    /// `[[hypervisor]]`: at least one.
    pub hypervisors: Vec<Hypervisor>,
    /// `[checks]`: the gate.
    pub checks: Options,
    /// `[checks.builtin]`.
    pub check_levels: Levels,
    /// `[migration]`.
    pub migration: Migration,
    /// `jobs.keep`: how long a finished job can be asked about.
    pub jobs_keep: Duration,
    /// `jobs.history`: how long it is remembered.
    pub jobs_history: Duration,
    /// `[indications]`: how many objects there may be.
    pub indications: indications::Limits,
    /// `[indications]`: how indications are sent.
    pub delivery: indications::DeliveryOptions,
    /// `compatibility.check-failure`.
    pub check_failure: CheckFailure,
    /// How much one request may ask of the decoder: `limits.body-size`, `xml-depth` and so on.
    pub xml: xml::Limits,
    /// What operations may cost: `limits.pull-contexts`, `limits.query-size` and so on.
    pub operations: ops::Limits,
    /// `schema.directories`: MOF read at start besides the schema in the program.
    pub schema_directories: Vec<PathBuf>,
    /// `store.path`: the database; its directory is the state directory.
    pub store_path: PathBuf,
    /// `daemon.runtime-directory`: files that need not outlive the daemon.
    pub runtime_directory: PathBuf,
    /// `daemon.stop-timeout`: how long requests may go on after SIGTERM.
    pub stop_timeout: Duration,
    /// `[log]`.
    pub log: telemetry::Options,
}

/// What the command line lays on top of the files.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--hypervisor`: replaces the list of the files if there is one.
    pub hypervisors: Vec<String>,
    /// `--listen`: replaces every listener of the files if there is one.
    pub listen: Vec<String>,
    /// `--migrate-check-dir`.
    pub check_directory: Option<PathBuf>,
    /// `--migrate-check-timeout`.
    pub check_timeout: Option<Duration>,
}

/// A configuration that cannot be used: everything that is wrong with it.
#[derive(Debug, Eq, PartialEq)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Reads the configuration of `file`, or of the default place, and its fragments.
///
/// # Errors
/// [`ConfigError`] with every problem. A named file must exist; the default one need not.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Config, ConfigError> {
    let problems = Problems::default();
    let mut root = Table::new();
    let main = file.unwrap_or(Path::new(DEFAULT_FILE));
    match fs::read_to_string(main) {
        Ok(text) => root = tree::parse(&text, main, &problems),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => {}
        Err(error) => problems.report(Place::WholeFile(main.into()), cannot_read(&error)),
    }
    for fragment in fragments(&main.with_extension("d"), &problems) {
        match fs::read_to_string(&fragment) {
            Ok(text) => tree::merge(&mut root, tree::parse(&text, &fragment, &problems)),
            Err(error) => problems.report(Place::WholeFile(fragment.into()), cannot_read(&error)),
        }
    }
    overrides.lay_on(&mut root, &problems);
    let config = read(&root, &problems);
    match problems.into_sorted() {
        none if none.is_empty() => Ok(config),
        problems => Err(ConfigError(problems)),
    }
}

fn cannot_read(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// The `*.toml` files of `directory` in the order of their names.
fn fragments(directory: &Path, problems: &Problems) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            problems.report(Place::WholeFile(directory.into()), cannot_read(&error));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(|path| path.file_name().is_none_or(|name| name.as_encoded_bytes()[0] != b'.'))
        .collect();
    files.sort();
    files
}

impl Overrides {
    fn lay_on(&self, root: &mut Table, problems: &Problems) {
        let mut over = Table::new();
        if !self.hypervisors.is_empty() {
            root.remove("hypervisor");
            let place = Place::Argument("--hypervisor");
            let list = self.hypervisors.iter().map(|uri| {
                let uri = located(Node::Text(uri.clone()), &place);
                located(Node::Table(Table::from([("uri".into(), uri)])), &place)
            });
            over.insert("hypervisor".into(), located(Node::Array(list.collect()), &place));
        }
        if !self.listen.is_empty() {
            network::replace_listeners(root, &self.listen, problems);
        }
        let mut checks = Table::new();
        if let Some(directory) = &self.check_directory {
            let place = Place::Argument("--migrate-check-dir");
            let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
            let text = Node::Text(absolute.to_string_lossy().into_owned());
            checks.insert("directory".into(), located(text, &place));
        }
        if let Some(timeout) = self.check_timeout {
            let place = Place::Argument("--migrate-check-timeout");
            let text = Node::Text(format!("{}ms", timeout.as_millis()));
            checks.insert("timeout".into(), located(text, &place));
        }
        over.insert("checks".into(), located(Node::Table(checks), &Place::Nowhere));
        tree::merge(root, over);
    }
}

fn located(node: Node, place: &Place) -> Located {
    Located { node, place: place.clone() }
}

/// Reads every section of the merged tree.
fn read(root: &Table, problems: &Problems) -> Config {
    let mut root = Section::root(root, problems);
    let mut daemon = root.section("daemon");
    let runtime_directory = daemon.or("runtime-directory", default_runtime_directory());
    let stop_timeout = daemon.or("stop-timeout", Duration::from_secs(30));
    daemon.finish();
    let mut limits = root.section("limits");
    let mut compatibility = root.section("compatibility");
    let http = network::read(&mut root, &mut limits, &mut compatibility, &runtime_directory);
    let (checks, check_levels) = checks::read(&mut root, &mut limits, &runtime_directory);
    let (jobs_keep, jobs_history) = jobs(&mut root);
    let query = query_limits(&mut limits);
    let (indications, delivery) = subscriptions::read(&mut root, http.allow_cleartext, query);
    let config = Config {
        xml: xml_limits(&mut limits, http.limits.body_size.get()),
        operations: ops::Limits { pull: pull_limits(&mut limits), query },
        http,
        hypervisors: hosts::hypervisors(&mut root),
        checks,
        check_levels,
        migration: hosts::migration(&mut root),
        jobs_keep,
        jobs_history,
        indications,
        delivery,
        check_failure: compatibility.or("check-failure", CheckFailure::Verdict),
        schema_directories: schema(&mut root),
        store_path: store(&mut root),
        runtime_directory,
        stop_timeout,
        log: log(&mut root),
    };
    limits.finish();
    compatibility.finish();
    root.finish();
    config
}

fn xml_limits(limits: &mut Section<'_>, bytes: usize) -> xml::Limits {
    let defaults = xml::Limits::default();
    xml::Limits {
        bytes,
        depth: count(limits, "xml-depth", defaults.depth),
        elements: count(limits, "xml-elements", defaults.elements),
        attributes: count(limits, "xml-attributes", defaults.attributes),
        embedded: count(limits, "xml-embedded", defaults.embedded),
    }
}

fn pull_limits(limits: &mut Section<'_>) -> PullLimits {
    let defaults = PullLimits::default();
    PullLimits {
        contexts: count(limits, "pull-contexts", defaults.contexts),
        contexts_per_user: count(limits, "pull-contexts-per-user", defaults.contexts_per_user),
        objects: number(limits, "pull-objects", defaults.objects),
        empty: number(limits, "pull-empty", defaults.empty),
        default_timeout: network::time(limits, "pull-timeout", defaults.default_timeout),
        max_timeout: network::time(limits, "pull-timeout-most", defaults.max_timeout),
    }
}

fn query_limits(limits: &mut Section<'_>) -> QueryLimits {
    let defaults = QueryLimits::default();
    QueryLimits {
        length: size(limits, "query-size", defaults.length),
        depth: depth(limits, "query-depth", defaults.depth),
        parts: count(limits, "query-parts", defaults.parts),
        pattern_steps: count(limits, "query-pattern-steps", defaults.pattern_steps),
        pattern_depth: depth(limits, "query-pattern-depth", defaults.pattern_depth),
        work: count(limits, "query-work", defaults.work),
    }
}

/// How deep parts of a query may stand inside each other; the stack has an end.
fn depth(limits: &mut Section<'_>, key: &'static str, default: usize) -> usize {
    let deepest = QueryLimits::DEEPEST;
    match limits.setting::<std::num::NonZeroUsize>(key) {
        None => default,
        Some(setting) if setting.value.get() <= deepest => setting.value.get(),
        Some(setting) => {
            let name = limits.full(key);
            let problem = format!("{name} must be at most {deepest}, found {}", setting.value);
            limits.report(&setting.place, problem);
            default
        }
    }
}

/// A limit that clients give numbers up to; 0 is refused.
fn number(section: &mut Section<'_>, key: &'static str, default: u32) -> u32 {
    section.optional(key).map_or(default, std::num::NonZeroU32::get)
}

/// A limit that counts; 0 is refused.
fn count(section: &mut Section<'_>, key: &'static str, default: usize) -> usize {
    section.optional(key).map_or(default, std::num::NonZeroUsize::get)
}

/// A limit in bytes; 0 is refused.
fn size(section: &mut Section<'_>, key: &'static str, default: usize) -> usize {
    section.optional::<value::Bytes>(key).map_or(default, |bytes| bytes.0.get())
}

fn jobs(root: &mut Section<'_>) -> (Duration, Duration) {
    let mut jobs = root.section("jobs");
    let defaults = crate::migration::Options::default();
    // CIM_ConcreteJob.TimeBeforeRemoval's default.
    let keep = jobs.or("keep", defaults.keep);
    let history = jobs.or("history", defaults.history);
    jobs.finish();
    (keep, history)
}

fn schema(root: &mut Section<'_>) -> Vec<PathBuf> {
    let mut schema = root.section("schema");
    let directories = schema.optional::<value::OneOrMany<PathBuf>>("directories");
    schema.finish();
    directories.map_or_else(Vec::new, |directories| directories.0)
}

fn store(root: &mut Section<'_>) -> PathBuf {
    let mut store = root.section("store");
    let path = store.or("path", default_state_directory().join("virtcimd.db"));
    store.finish();
    path
}

impl Choice for telemetry::Format {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("journal", Self::Journal),
        ("text", Self::Text),
        ("json", Self::Json),
    ];
}

fn log(root: &mut Section<'_>) -> telemetry::Options {
    let mut log = root.section("log");
    let defaults = telemetry::Options::default();
    let level = log.setting::<String>("level");
    let options = telemetry::Options {
        format: log.or("format", defaults.format),
        level: level.as_ref().map_or(defaults.level, |level| level.value.clone()),
    };
    if let (Some(level), Err(error)) = (level, options.validate()) {
        log.report(&level.place, telemetry::Chain(&error).to_string());
    }
    log.finish();
    options
}

/// `/run/virtcimd`, or what systemd or the session gives a daemon that is not root.
fn default_runtime_directory() -> PathBuf {
    own_directory("RUNTIME_DIRECTORY", "/run/virtcimd", "XDG_RUNTIME_DIR", None)
}

/// `/var/lib/virtcimd`, or what systemd or the user's home gives a daemon that is not root.
fn default_state_directory() -> PathBuf {
    own_directory("STATE_DIRECTORY", "/var/lib/virtcimd", "XDG_STATE_HOME", Some(".local/state"))
}

/// systemd's choice, else the system's directory for root, else one of the user's own.
fn own_directory(systemd: &str, system: &str, session: &str, in_home: Option<&str>) -> PathBuf {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    if let Some(path) = absolute(systemd) {
        return path;
    }
    if nix::unistd::geteuid().is_root() {
        return system.into();
    }
    let home = || Some(absolute("HOME")?.join(in_home?));
    absolute(session).or_else(home).map_or_else(|| system.into(), |path| path.join("virtcimd"))
}
