//! The assembled daemon: in this process on a hypervisor in memory, and as a program.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::TcpStream;
use virtcimd::{
    config::{self, Config, Overrides},
    daemon::Daemon,
    http::ListenAddress,
    hypervisor::fake::FakeWorld,
};

use super::http_support::*;

/// A configuration file in a directory of its own, with everything that a daemon writes in it.
fn file(directory: &Path, more: &str) -> std::path::PathBuf {
    let text = format!(
        "[daemon]\nruntime-directory = \"{0}/run\"\nstop-timeout = \"20s\"\n[store]\n\
         path = \"{0}/virtcimd.db\"\n[listen]\nhttp = \"127.0.0.1:0\"\n\
         unix = \"{0}/run/virtcimd.sock\"\n{more}",
        directory.display()
    );
    let path = directory.join("virtcimd.toml");
    fs::write(&path, text).unwrap();
    path
}

const OPEN: &str = "[auth]\nmode = \"none\"\n";

fn load(directory: &Path, more: &str) -> Config {
    config::load(Some(&file(directory, more)), &Overrides::default()).unwrap()
}

fn tcp(addresses: &[ListenAddress]) -> SocketAddr {
    let tcp = addresses.iter().find_map(|address| match address {
        ListenAddress::Http(address) | ListenAddress::Https(address) => Some(*address),
        ListenAddress::Unix(_) => None,
    });
    tcp.expect("an address on loopback")
}

async fn ask(address: SocketAddr, request: String) -> Answered {
    let mut client = Client::new(TcpStream::connect(address).await.unwrap());
    client.send(request).await;
    client.answer().await
}

#[tokio::test]
async fn a_request_goes_through_every_room_and_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = FakeWorld::new();
    world.add_host("qemu:///system");
    let config = load(directory.path(), OPEN);
    let daemon = Daemon::start_on(&config, Vec::new(), Arc::clone(&world) as Arc<_>).await.unwrap();
    let address = tcp(daemon.addresses());
    let answered = ask(address, request("KVM_HostSystem", &[])).await;
    assert_eq!(answered.code(), 200);
    assert!(
        answered.text().contains("<INSTANCENAME CLASSNAME=\"KVM_HostSystem\">"),
        "{answered:?}"
    );
    let answered = ask(address, request("KVM_NoSuchClass", &[])).await;
    assert!(answered.text().contains("<ERROR CODE=\"5\""), "{answered:?}");
    assert!(daemon.stop().await);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!directory.path().join("run/virtcimd.sock").exists());
}

#[tokio::test]
async fn the_same_address_twice_is_an_error_and_leaves_nothing_running() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = load(directory.path(), OPEN);
    let world = FakeWorld::new();
    let daemon = Daemon::start_on(&config, Vec::new(), Arc::clone(&world) as Arc<_>).await.unwrap();
    config.http.listeners.retain(|listener| matches!(listener.address, ListenAddress::Unix(_)));
    let second = Daemon::start_on(&config, Vec::new(), Arc::clone(&world) as Arc<_>).await;
    let message = second.err().expect("refused").to_string();
    assert!(message.ends_with("another process does"), "{message}");
    config.http.listeners[0].address = ListenAddress::Http(tcp(daemon.addresses()));
    let second = Daemon::start_on(&config, Vec::new(), world as Arc<_>).await;
    assert!(second.err().expect("refused").to_string().starts_with("cannot listen on 127.0.0.1:"));
    assert!(daemon.stop().await);
}

/// The program, killed when the test ends.
struct Program {
    child: Child,
    directory: tempfile::TempDir,
    notify: UnixDatagram,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(more: &str, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = file(directory.path(), more);
        let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_virtcimd"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .args(["--hypervisor", "test:///default"])
            .args(arguments)
            .env("NOTIFY_SOCKET", directory.path().join("notify"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, directory, notify }
    }

    /// Waits until the service manager is told this.
    fn told(&self, state: &str) {
        let mut seen = String::new();
        loop {
            let mut message = [0; 512];
            let length = self.notify.recv(&mut message).unwrap_or_else(|e| panic!("{e}: {seen}"));
            seen += std::str::from_utf8(&message[..length]).unwrap();
            if seen.lines().any(|line| line == state) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn address(&mut self) -> SocketAddr {
        let log = BufReader::new(self.child.stderr.take().unwrap());
        let mut lines = log.lines();
        let found = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("address=http://")?;
            Some(rest.trim().parse().unwrap())
        });
        // The rest of the log is read so that the program never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        found.unwrap()
    }

    fn ends(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut log).unwrap();
        }
        (self.child.wait().unwrap().code(), log)
    }
}

#[tokio::test]
async fn the_program_tells_its_service_manager_and_obeys_signals() {
    let mut program = Program::start(OPEN, &[]);
    program.told("READY=1");
    let address = program.address();
    let answered = ask(address, request("KVM_HostSystem", &[])).await;
    assert_eq!(answered.code(), 200);
    program.signal(Signal::SIGHUP);
    program.told("RELOADING=1");
    program.told("READY=1");
    assert_eq!(ask(address, request("KVM_HostSystem", &[])).await.code(), 200);
    program.signal(Signal::SIGTERM);
    program.told("STOPPING=1");
    assert_eq!(program.ends().0, Some(0));
    assert!(!program.directory.path().join("run/virtcimd.sock").exists());
}

#[test]
fn a_watchdog_is_fed() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(directory.path(), OPEN);
    let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_virtcimd"))
        .args(["serve", "--hypervisor", "test:///default", "--config"])
        .arg(config)
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .env("WATCHDOG_USEC", Duration::from_millis(200).as_micros().to_string())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let program = Program { child, directory, notify };
    for _ in 0..3 {
        program.told("WATCHDOG=1");
    }
}

/// Runs the program to its end and compares its exit code and what its error says.
#[track_caller]
fn fails(more: &str, arguments: &[&str], code: i32, message: &str) {
    let (status, log) = Program::start(more, arguments).ends();
    assert_eq!(status, Some(code), "{log}");
    assert!(log.contains(message), "{log}");
}

#[test]
fn what_cannot_start_says_why_and_with_which_code() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails(
        OPEN,
        &["--listen", &address],
        69,
        &format!("cannot listen on {address}: Address already in use"),
    );
    fails("[chekcs]\n", &[], 78, "unknown section `chekcs`; did you mean `checks`?");
    fails(
        OPEN,
        &["--listen", "0.0.0.0:0"],
        78,
        "--listen: auth.mode \"none\" is for loopback only",
    );
    let tls = "[tls]\ncertificate = \"/nonexistent\"\nprivate-key = \"/nonexistent\"\n";
    fails(
        &format!("{OPEN}{tls}"),
        &["--listen", "https://127.0.0.1:0"],
        78,
        "cannot read the certificate from /nonexistent",
    );
    fails("[auth]\nusers-file = \"/\"\n", &[], 78, "cannot read the users file /");
    fails(&format!("{OPEN}[schema]\ndirectories = \"/nonexistent\"\n"), &[], 78, "/nonexistent");
    fails(OPEN, &["--migrate-check-timeout", "0"], 2, "invalid value '0'");
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_served_instead_of_our_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = file(directory.path(), OPEN);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    // The shell moves the socket to descriptor 3 and tells the process id, which it keeps by exec.
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; \
                  exec \"$0\" \"$@\"";
    let child = Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_virtcimd")])
        .args(["serve", "--hypervisor", "test:///default", "--config"])
        .arg(config)
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .stdin(OwnedFd::from(listener))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut program = Program { child, directory, notify };
    program.told("READY=1");
    assert_eq!(ask(address, request("KVM_HostSystem", &[])).await.code(), 200);
    // It takes the place of our sockets of its kind, not of others.
    assert!(program.directory.path().join("run/virtcimd.sock").exists());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ends().0, Some(0));
}
