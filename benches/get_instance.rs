//! GetInstance against a bare hyper server that sends the same bytes (DESIGN.md §6):
//! `cargo bench --bench get_instance`.
//!
//! Both are processes of their own, asked by the same clients over kept connections, in turns, so that
//! a busy machine slows both. Prints ratios; judges nothing.
//!
//! Two loads: as fast as the answers come, which shows the throughput; and at a rate that both can
//! bear, which shows how long an answer takes. In the first, more threads want to run than there are
//! processors, and the slowest answers are those whose client the kernel let wait.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::{
    convert::Infallible,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use support::{Client, Daemon, message, system};
use virtcimd::cim::{InstanceOptions, Operation};

/// Set in the process that is the bare server.
const ROLE: &str = "VIRTCIMD_BENCH_BARE";
/// Connections that ask at the same time.
const CLIENTS: usize = 8;
/// How often both are measured, and for how long each time.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
/// How often each connection asks where the rate is given: 1 600 requests a second in all.
const PACE: Duration = Duration::from_millis(5);

fn main() -> anyhow::Result<()> {
    if env::var_os(ROLE).is_some() {
        return be_bare();
    }
    let daemon = Daemon::start(100, "")?;
    let path = system("KVM_ComputerSystem", "guest00042");
    let request = message(&Operation::GetInstance { path, options: InstanceOptions::default() })?;
    let mut answer = Vec::new();
    daemon.client()?.exchange(&request, &mut answer)?;
    let bare = Bare::start(&answer)?;

    let addresses = (daemon.address, bare.address);
    load(daemon.address, &request, Duration::ZERO, ROUND / 4)?; // both are warm then
    load(bare.address, &request, Duration::ZERO, ROUND / 4)?;
    println!(
        "GetInstance, {} bytes, {CLIENTS} connections    per second       median          p99",
        answer.len()
    );
    let (ours, theirs) = compare("as fast as answers come", addresses, &request, Duration::ZERO)?;
    let share = 100.0 * ours.per_second / theirs.per_second;
    println!("throughput: {share:.0} % of bare (budget: 60 % or more)");
    println!("p99: {:.2} times bare, at saturation", support::ratio(ours.p99, theirs.p99));
    let (ours, theirs) = compare("at a given rate", addresses, &request, PACE)?;
    println!("p99: {:.2} times bare (budget: 3 times)", support::ratio(ours.p99, theirs.p99));
    Ok(())
}

/// Measures the daemon and the bare server in turns; what the middle rounds showed.
fn compare(
    how: &str,
    (daemon, bare): (SocketAddr, SocketAddr),
    request: &[u8],
    pace: Duration,
) -> anyhow::Result<(Load, Load)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(load(bare, request, pace, ROUND)?);
        ours.push(load(daemon, request, pace, ROUND)?);
    }
    let (ours, theirs) = (Load::middle(ours), Load::middle(theirs));
    for (name, load) in [("a bare hyper server", &theirs), ("the daemon", &ours)] {
        let name = format!("{name}, {how}");
        println!("{name:<45} {:>10.0} {:>12.2?} {:>12.2?}", load.per_second, load.median, load.p99);
    }
    Ok((ours, theirs))
}

/// What one round showed.
struct Load {
    per_second: f64,
    median: Duration,
    p99: Duration,
}

impl Load {
    /// The round in the middle by throughput.
    fn middle(mut rounds: Vec<Self>) -> Self {
        rounds.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
        rounds.swap_remove(rounds.len() / 2)
    }
}

/// Asks once in `pace` on each connection, or as fast as the answers come if they take longer.
fn load(
    address: SocketAddr,
    request: &[u8],
    pace: Duration,
    time: Duration,
) -> anyhow::Result<Load> {
    let ask = |number: u32| -> anyhow::Result<Vec<Duration>> {
        let (mut client, mut body) = (Client::connect(address)?, Vec::new());
        let (began, mut times) = (Instant::now(), Vec::new());
        // Not all at once.
        let mut due = began + pace * number / CLIENTS as u32;
        while began.elapsed() < time {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            due += pace;
            let sent = Instant::now();
            client.exchange(request, &mut body)?;
            times.push(sent.elapsed());
        }
        Ok(times)
    };
    let times = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS as u32).map(|number| scope.spawn(move || ask(number))).collect();
        let times = clients.into_iter().map(|it| it.join().expect("a client does not panic"));
        times.collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mut times = times.concat();
    times.sort();
    Ok(Load {
        per_second: times.len() as f64 / time.as_secs_f64(),
        median: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    })
}

/// A process that answers every request with the same bytes. It ends with this value.
struct Bare {
    child: Child,
    address: SocketAddr,
}

impl Bare {
    fn start(answer: &[u8]) -> anyhow::Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("its input is piped")?.write_all(answer)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output is piped")?).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, child })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The other process: reads each request whole, as the daemon must, and sends what it got from us.
fn be_bare() -> anyhow::Result<()> {
    let mut answer = Vec::new();
    std::io::stdin().read_to_end(&mut answer)?;
    let answer = Bytes::from(answer);
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    // A client that breaks off gets no better answer.
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(answer)))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}
