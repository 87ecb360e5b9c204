//! Two real libvirt hosts of a test's own, from `tests/testbed`.

use std::{
    collections::HashMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use tempfile::TempDir;

/// A pair of hosts, up until it is dropped.
pub(crate) struct TwoHosts {
    directory: TempDir,
    environment: HashMap<String, String>,
}

impl TwoHosts {
    /// Brings the hosts up. Where that can't be, says on the terminal that the test was not run, past
    /// the test harness, which keeps what a passing test prints to itself.
    pub(crate) fn up() -> Option<Self> {
        static MISSING: OnceLock<String> = OnceLock::new();
        let missing = MISSING.get_or_init(|| {
            let told = Command::new(program()).arg("check").output().expect("python3 is installed");
            String::from_utf8_lossy(&told.stdout).trim().replace('\n', "; ")
        });
        if !missing.is_empty() {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("a test");
            let _ =
                writeln!(std::io::stderr(), "NOT RUN: {name}, which needs two hosts: {missing}");
            return None;
        }
        // A short name: sockets below it have a limit of 107 characters.
        let directory = tempfile::Builder::new().prefix("bed").tempdir_in("/tmp").unwrap();
        let mut hosts = Self { directory, environment: HashMap::new() };
        hosts.testbed(&["up"]);
        for line in hosts.testbed(&["env"]).lines() {
            let (name, value) =
                line.strip_prefix("export ").and_then(|rest| rest.split_once('=')).unwrap();
            hosts.environment.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
        Some(hosts)
    }

    /// A value that `testbed env` prints, without its `TESTBED_`.
    pub(crate) fn get(&self, name: &str) -> &str {
        &self.environment[&format!("TESTBED_{name}")]
    }

    /// Runs a command of the test bed and gives what it prints.
    #[track_caller]
    pub(crate) fn testbed(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "testbed {}: {status}: {stderr}", arguments.join(" "));
        String::from_utf8(stdout).unwrap()
    }

    /// Runs a shell command inside a host.
    #[track_caller]
    pub(crate) fn run(&self, host: &str, script: &str) -> String {
        self.testbed(&["run", host, "sh", "-c", script])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env("TESTBED_DIR", self.place());
        command
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("bed")
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        let down = self.command(&["down"]).status();
        if !std::thread::panicking() {
            assert!(down.unwrap().success(), "the hosts go down");
            assert!(!self.place().exists(), "nothing is left of them");
        }
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/testbed")
}
