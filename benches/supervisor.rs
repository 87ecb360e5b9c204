//! What supervision costs (DESIGN.md §6): `cargo bench --bench supervisor`.
//!
//! Everything is compared with spawning the same program bare, measured in turns in one run, so that a
//! busy machine slows both; medians of many rounds. The process is made as fat as a daemon with many guests,
//! for the costs of a fork grow with it. Prints ratios; judges nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    fs::{self, Permissions},
    hint::black_box,
    num::NonZeroUsize,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use virtcimd::checks::{Containment, Gate, GateRequest, Options, Phase};

/// Rounds of each measurement.
const ROUNDS: usize = 200;
/// Bytes that the daemon is assumed to hold.
const BALLAST: usize = 64 << 20;
/// Checks that sleep side by side.
const SLEEPERS: usize = 50;

fn main() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    let one = directory(&place.path().join("one"), 1, "exit 0")?;
    let sleeper = directory(&place.path().join("sleeper"), 1, "sleep 0.5")?;
    let sleepers = directory(&place.path().join("sleepers"), SLEEPERS, "sleep 0.5")?;

    let gate = |directory: &Path, containment| {
        let many = NonZeroUsize::MIN.saturating_add(SLEEPERS - 1);
        Gate::new(Options {
            directory: directory.to_owned(),
            parallel: many,
            parallel_total: many,
            containment,
            ..Options::default()
        })
    };
    let grouped = gate(&one, Containment::ControlGroup)?;
    let ungrouped = gate(&one, Containment::Ancestry)?;
    let (alone, together) =
        (gate(&sleeper, Containment::ControlGroup)?, gate(&sleepers, Containment::ControlGroup)?);
    // As in the daemon, whose gate starts its spawner before there is much to copy.
    let ballast = black_box(vec![1_u8; BALLAST]);
    let runtime = tokio::runtime::Runtime::new()?;
    let ask = |gate: &Gate| {
        let report = runtime.block_on(gate.run(request(), Vec::new, CancellationToken::new()));
        assert!(report.expect("the gate runs").passed());
    };

    let program = one.join("check-00");
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let spawn = || {
            let output = Command::new(&program).args(["web1", "qemu:///system"]).output();
            assert!(output.expect("it runs").status.success());
        };
        times[0].push(time(spawn));
        times[1].push(time(|| ask(&grouped)));
        times[2].push(time(|| ask(&ungrouped)));
    }
    let [bare, grouped, ungrouped] = times.map(median);
    println!("process of {} MiB", ballast.len() >> 20);
    println!("spawning `exit 0` bare                     {bare:>10.2?}");
    println!(
        "a request with it, with control groups     {grouped:>10.2?}  {}",
        ratio(grouped, bare)
    );
    println!(
        "a request with it, without                 {ungrouped:>10.2?}  {}",
        ratio(ungrouped, bare)
    );
    println!(
        "budget: 2 times and 1 ms                   {:>10.2?}",
        bare * 2 + Duration::from_millis(1)
    );

    // What so many processes cost this machine, whoever starts them.
    let program = sleepers.join("check-00");
    let spawn_all = || {
        let spawn = |_| Command::new(&program).args(["web1", "qemu:///system"]).spawn();
        let children: Vec<_> = (0..SLEEPERS).map(spawn).collect();
        for child in children {
            assert!(child.and_then(|mut it| it.wait()).expect("it runs").success());
        }
    };
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..5 {
        times[0].push(time(|| ask(&alone)));
        times[1].push(time(spawn_all));
        times[2].push(time(|| ask(&together)));
    }
    let [alone, bare, together] = times.map(median);
    println!("1 check that sleeps half a second          {alone:>10.2?}");
    println!(
        "{SLEEPERS} bare processes that do, side by side      {bare:>10.2?}  {}",
        ratio(bare, alone)
    );
    println!(
        "{SLEEPERS} checks side by side                       {together:>10.2?}  {} ({} the bare ones)",
        ratio(together, alone),
        ratio(together, bare)
    );
    Ok(())
}

fn directory(path: &Path, checks: usize, script: &str) -> std::io::Result<std::path::PathBuf> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    for number in 0..checks {
        let check = path.join(format!("check-{number:02}"));
        fs::write(&check, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&check, Permissions::from_mode(0o755))?;
    }
    Ok(path.to_owned())
}

fn request() -> GateRequest {
    GateRequest {
        guest: "web1".into(),
        guest_uuid: "5e1e1d6f-3d5c-4f4c-9c3c-0c3a2e2c8d11".into(),
        source_uri: "qemu:///system".into(),
        destination_host: "hostb".into(),
        destination_uri: "qemu+tls://hostb/system".into(),
        migration_type: "live",
        transport: "tls",
        phase: Phase::Check,
        parameters: None,
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ratio(time: Duration, base: Duration) -> String {
    format!("{:.2} times", time.as_secs_f64() / base.as_secs_f64())
}
