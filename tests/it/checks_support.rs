//! A place with a check directory and real check programs, and what must be left of a run: nothing.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use virtcimd::checks::{
    Containment, Examination, Finding, Gate, GateError, GateRequest, Options, Phase, Severity,
};

/// Long enough never to matter on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// For checks that never end by themselves, but have to get somewhere before.
pub(crate) const ENOUGH: Duration = Duration::from_secs(3);

/// For checks that never end by themselves, however far they get.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A check directory, a vendor's directory, a directory for results, and the gate's settings.
pub(crate) struct Place {
    root: tempfile::TempDir,
    uuid: String,
    pub(crate) options: Options,
}

impl Place {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Check programs of another user must be able to pass.
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        for (name, mode) in [("checks", 0o755), ("vendor", 0o755), ("out", 0o1777)] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::set_permissions(root.path().join(name), Permissions::from_mode(mode)).unwrap();
        }
        let options = Options {
            directory: root.path().join("checks"),
            vendor_directory: Some(root.path().join("vendor")),
            timeout: LONG,
            runtime_directory: root.path().join("run/checks"),
            ..Options::default()
        };
        Self { root, uuid: uuid::Uuid::new_v4().to_string(), options }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Installs a check; its script finds the directory for results in `$OUT`.
    pub(crate) fn check(&self, name: &str, script: &str) -> &Self {
        let out = self.at("out");
        let text = format!("#!/bin/sh\nOUT='{}'\n{script}\n", out.display());
        install(&self.at("checks").join(name), &text, 0o755);
        self
    }

    /// What a check wrote to `$OUT/NAME`.
    pub(crate) fn result(&self, name: &str) -> String {
        fs::read_to_string(self.at("out").join(name)).unwrap_or_default()
    }

    pub(crate) fn request(&self) -> GateRequest {
        GateRequest {
            guest: "web1".into(),
            guest_uuid: self.uuid.clone(),
            source_uri: "qemu:///system".into(),
            destination_host: "hostb".into(),
            destination_uri: "qemu+tls://hostb/system".into(),
            migration_type: "live",
            transport: "tls",
            phase: Phase::Check,
            parameters: None,
        }
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate::new(self.options.clone()).unwrap()
    }

    /// Runs the gate, once with control groups and once without, and has each result looked at.
    #[track_caller]
    pub(crate) fn each(&self, look: impl Fn(&Self, &Examination)) {
        for containment in [Containment::ControlGroup, Containment::Ancestry] {
            let options = Options { containment, ..self.options.clone() };
            let gate = Gate::new(options).unwrap();
            let examination = run(&gate, self.request()).unwrap();
            self.assert_nothing_left();
            look(self, &examination);
        }
    }

    /// Runs the gate and compares the messages of its findings.
    #[track_caller]
    pub(crate) fn messages(&self, expected: &[&str]) {
        self.each(|_, examination| {
            let here = self.root.path().to_str().unwrap();
            let findings = examination.report().findings;
            let messages: Vec<_> = findings.iter().map(|f| message(f).replace(here, ".")).collect();
            assert_eq!(messages, expected);
        });
    }

    /// The processes of this place's checks.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let marker = format!("VIRTCIMD_GUEST_UUID={}", self.uuid);
        let holds = |pid: &i32| {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|entry| entry == marker.as_bytes())
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(holds).collect()
    }

    /// No process of a check, no parameter file.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let left: Vec<_> = self.processes().into_iter().map(command_line).collect();
        assert_eq!(left, [] as [String; 0], "survivors");
        assert_eq!(self.parameter_files(), [] as [PathBuf; 0]);
    }

    pub(crate) fn parameter_files(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(self.at("run/checks")) else { return Vec::new() };
        files.flatten().map(|file| file.path()).collect()
    }
}

/// `CODE severity: message`
pub(crate) fn message(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    format!("{} {severity}: {}", finding.code, finding.message)
}

/// Runs a gate without built-in checks to its end.
pub(crate) fn run(gate: &Gate, request: GateRequest) -> Result<Examination, GateError> {
    runtime().block_on(gate.examine(request, Vec::new, CancellationToken::new()))
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap()
}

pub(crate) fn timeouts(of: &str, timeout: Duration) -> BTreeMap<String, Duration> {
    BTreeMap::from([(of.to_owned(), timeout)])
}

/// Writes a file through another process: a descriptor of ours that is open for writing could be copied
/// by another test's fork, and executing the file would fail.
pub(crate) fn install(path: &Path, text: &str, mode: u32) {
    let mut install = Command::new("install")
        .arg(format!("-m{mode:o}"))
        .arg("/dev/stdin")
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    install.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}

fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid}: {}", String::from_utf8_lossy(&line).replace('\0', " "))
}
