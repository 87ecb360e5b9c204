//! Long lists: time per guest and memory with 100, 1000 and 10 000 guests of libvirt's test driver
//! (DESIGN.md §6): `cargo bench --bench lists`.
//!
//! The yardstick of each list is itself with the fewest guests. Prints ratios; judges nothing.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

mod support;

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use support::{Client, Daemon, Memory, median, message, mib, names, ratio, system};
use virtcimd::cim::{AssociationFilter, CimName, InstanceOptions, OpenOptions, Operation, Reply};

const GUEST: CimName = CimName::literal("KVM_ComputerSystem");
const HOST: &str = "KVM_HostSystem";
const GUESTS: [usize; 3] = [100, 1000, 10_000];
/// Objects in one answer to a pull.
const PULLED: u32 = 100;
/// Guests listed for one measurement; with fewer of them lists are asked for more often.
const LISTED: usize = 30_000;

/// What is asked for.
#[derive(Clone, Copy)]
enum Asked {
    Instances,
    Names,
    Pulls,
    Associators,
}

fn main() -> anyhow::Result<()> {
    println!(
        "guests of libvirt's test driver              time a guest   of that with {}   memory over idle",
        GUESTS[0]
    );
    let mut first = [Duration::ZERO; 4];
    for guests in GUESTS {
        let daemon = Daemon::start(guests, "")?;
        let mut client = daemon.client()?;
        let asked = [
            (Asked::Instances, "EnumerateInstances"),
            (Asked::Names, "EnumerateInstanceNames"),
            (Asked::Pulls, "100 at a time by pulls"),
            (Asked::Associators, "Associators of the host"),
        ];
        for ((asked, name), first) in asked.into_iter().zip(&mut first) {
            let (time, memory) = measure(&mut client, &daemon.memory(), asked, guests)?;
            if guests == GUESTS[0] {
                *first = time;
            }
            println!(
                "{guests:>6} {name:<36} {time:>14.2?} {:>15.2} {:>14.1} MiB",
                ratio(time, *first),
                mib(memory),
            );
        }
    }
    println!("budget: time a guest flat, memory at most 16 MiB over idle");
    Ok(())
}

/// The time a guest costs, and the bytes by which the list exceeds what was held before.
fn measure(
    client: &mut Client,
    memory: &Memory,
    asked: Asked,
    guests: usize,
) -> anyhow::Result<(Duration, u64)> {
    // Pulls are several operations.
    let list = match asked {
        Asked::Instances => Some(instances()),
        Asked::Names => Some(names("KVM_ComputerSystem")),
        Asked::Associators => Some(associators(client)?),
        Asked::Pulls => None,
    };
    let idle = memory.resident()?;
    memory.forget_peak()?;
    let (mut times, mut body) = (Vec::new(), Vec::new());
    for _ in 0..(LISTED / guests).max(3) {
        let began = Instant::now();
        match &list {
            Some(list) => client.exchange(&message(list)?, &mut body)?,
            None => pull(client, guests)?,
        }
        times.push(began.elapsed());
    }
    let peak = memory.peak()?;
    if let Some(list) = &list {
        let found = client.objects(list)?;
        ensure!(found == guests, "{found} guests instead of {guests}");
    }
    let time = median(times) / u32::try_from(guests)?;
    Ok((time, peak.saturating_sub(idle)))
}

fn instances() -> Operation {
    Operation::EnumerateInstances {
        class: GUEST,
        deep_inheritance: true,
        options: InstanceOptions::default(),
    }
}

fn associators(client: &mut Client) -> anyhow::Result<Operation> {
    let Reply::Objects(_, hosts) = client.ask(&names(HOST))? else { bail!("not a list") };
    let [virtcimd::cim::Object::InstancePath(host)] = &hosts[..] else { bail!("not one host") };
    let name = host.string_key(&CimName::literal("Name")).unwrap_or_default();
    let filter = AssociationFilter { result_class: Some(GUEST), ..AssociationFilter::default() };
    Ok(Operation::Associators {
        object: system(HOST, name).into(),
        filter,
        include_qualifiers: false,
        options: InstanceOptions::default(),
    })
}

/// A whole sequence of pulls.
fn pull(client: &mut Client, guests: usize) -> anyhow::Result<()> {
    let mut operation = Operation::OpenEnumerateInstances {
        class: GUEST,
        deep_inheritance: true,
        options: InstanceOptions::default(),
        open: OpenOptions { max_object_count: PULLED, ..OpenOptions::default() },
    };
    let mut found = 0;
    let mut body = Vec::new();
    loop {
        client.exchange(&message(&operation)?, &mut body)?;
        let text = String::from_utf8_lossy(&body);
        found += text.matches("<VALUE.INSTANCEWITHPATH>").count();
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let context = after("NAME=\"EnumerationContext\"")
            .and_then(|rest| rest.split_once("<VALUE>"))
            .and_then(|(_, rest)| rest.split_once("</VALUE>"))
            .map(|(context, _)| context.to_owned());
        let ended = after("NAME=\"EndOfSequence\"").is_some_and(|rest| {
            rest.split("</PARAMVALUE>").next().is_some_and(|it| it.contains("TRUE"))
        });
        if ended {
            ensure!(found == guests, "{found} guests were pulled instead of {guests}");
            return Ok(());
        }
        let Some(context) = context else { bail!("no context in {text}") };
        operation = Operation::PullInstancesWithPath { context, max_object_count: PULLED };
    }
}
