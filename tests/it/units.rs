//! The files for systemd, judged by systemd's own tools where they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// Runs a tool of systemd; `None` if it is not installed.
fn run(tool: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(tool).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("{tool} is not installed: not tested");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[track_caller]
fn succeeds(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = run(tool, arguments)?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{tool} {arguments:?}: {said}");
    Some(said)
}

#[test]
fn the_units_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    let service = fs::read_to_string(shipped("virtcimd.service")).unwrap();
    // systemd wants to see the program.
    let program = env!("CARGO_BIN_EXE_virtcimd");
    assert!(service.contains("ExecStart=/usr/sbin/virtcimd serve\n"));
    let service = service.replace("/usr/sbin/virtcimd", program);
    let (unit, socket) =
        (directory.path().join("virtcimd.service"), directory.path().join("virtcimd.socket"));
    fs::write(&unit, service).unwrap();
    fs::copy(shipped("virtcimd.socket"), &socket).unwrap();
    let units = [unit.to_str().unwrap(), socket.to_str().unwrap()];
    let said = succeeds("systemd-analyze", &["verify", "--man=no", units[0], units[1]]);
    if let Some(said) = said {
        assert!(!said.contains("virtcimd"), "{said}");
    }
}

#[test]
fn the_service_exposes_little() {
    let unit = shipped("virtcimd.service");
    let unit = unit.to_str().unwrap();
    // The threshold is ten times the level of exposure.
    succeeds("systemd-analyze", &["security", "--offline=true", "--threshold=20", unit]);
}

#[test]
fn the_user_and_the_directories_can_be_made() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let prefix = format!("--root={}", root.path().display());
    let users = shipped("virtcimd.sysusers");
    if succeeds("systemd-sysusers", &[&prefix, users.to_str().unwrap()]).is_none() {
        return;
    }
    let group = fs::read_to_string(root.path().join("etc/group")).unwrap();
    let member =
        group.lines().any(|line| line.starts_with("libvirt:") && line.ends_with(":virtcimd"));
    assert!(member, "{group}");
    let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(passwd.lines().any(|line| line.starts_with("virtcimd:")), "{passwd}");
    let files = shipped("virtcimd.tmpfiles");
    succeeds("systemd-tmpfiles", &[&prefix, "--create", files.to_str().unwrap()]);
    assert!(root.path().join("etc/virtcimd").is_dir());
}
