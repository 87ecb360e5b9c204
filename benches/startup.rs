//! Until the daemon is ready, and what it holds then, with its own schema and with the DMTF's complete
//! one (DESIGN.md §6): `cargo bench --bench startup`.
//!
//! The yardstick is a process that does nothing but open a connection with libvirt's library, measured
//! in turns. Prints differences; judges nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use support::{Daemon, Memory, median, mib};
use virt::connect::Connect;

/// Set in the process that only opens a connection.
const ROLE: &str = "VIRTCIMD_BENCH_LIBVIRT";
/// Where `tools/deps clients` puts the DMTF's schema.
const DMTF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/dmtf-schema");
const ROUNDS: usize = 10;

fn main() -> anyhow::Result<()> {
    if env::var_os(ROLE).is_some() {
        return be_libvirt();
    }
    let dmtf = format!("[schema]\ndirectories = [\"{DMTF}\"]\n");
    let mut kinds = vec![("the daemon", String::new())];
    if Path::new(DMTF).is_dir() {
        kinds.push(("with the DMTF's complete schema", dmtf));
    } else {
        println!("NOT MEASURED with the DMTF's schema: it is missing (tools/deps clients)");
    }
    let mut library = Vec::new();
    let mut daemons = vec![Vec::new(); kinds.len()];
    for _ in 0..ROUNDS {
        let process = Libvirt::start()?;
        library.push((process.ready_after, Memory(process.child.id()).resident()?));
        for ((_, more), daemon) in kinds.iter().zip(&mut daemons) {
            let process = Daemon::start(1, more)?;
            daemon.push((process.ready_after, process.memory().resident()?));
        }
    }
    println!("                                        ready after     resident   over the library");
    let (time, base) = middle(library);
    println!("{:<38} {time:>12.2?} {:>8.1} MiB", "libvirt's library alone", mib(base));
    for ((name, _), daemon) in kinds.iter().zip(daemons) {
        let (time, resident) = middle(daemon);
        let over = mib(resident) - mib(base);
        println!("{name:<38} {time:>12.2?} {:>8.1} MiB {over:>10.1} MiB", mib(resident));
    }
    println!("budget: the daemon with its own schema within 150 ms, 16 MiB over the library");
    Ok(())
}

fn middle(rounds: Vec<(Duration, u64)>) -> (Duration, u64) {
    let (times, mut memory): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    memory.sort_unstable();
    (median(times), memory[memory.len() / 2])
}

/// A process with a connection. It ends with this value.
struct Libvirt {
    child: Child,
    ready_after: Duration,
}

impl Libvirt {
    fn start() -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut child = Command::new(env::current_exe()?)
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(Self { child, ready_after: began.elapsed() })
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The other process: connects, says so, and lives until its input ends.
fn be_libvirt() -> anyhow::Result<()> {
    let connection = Connect::open(Some("test:///default"))?;
    println!("{} guests", connection.num_of_domains()?);
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
