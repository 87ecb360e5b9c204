//! `virtcimctl migrate`, `watch`, `jobs` and `abort`.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    CheckArguments, JobsArguments, MigrateArguments, Outcome, Shared, Usage, WatchArguments,
    check::{Finding, print_findings, setting_data},
    model::{Model, key_text},
    progress::{JobView, Progress},
};
use crate::{
    cim::{CimName, Instance, InstancePath, ObjectPath, Scalar, Value},
    cli::table::{Table, printable},
    client::{ClientError, embedded_instances},
    telemetry::Chain,
};

const INSTANCE_ID: CimName = CimName::literal("InstanceID");
/// CIM_ConcreteJob.RequestStateChange: "Terminate".
const TERMINATE: u16 = 4;
/// Between two looks at a job. A look is one small GetInstance.
const LOOK: Duration = Duration::from_millis(500);
/// How long a server may be away while its job is followed: it may be restarted, and finds its jobs again.
const PATIENCE: Duration = Duration::from_secs(60);

/// `virtcimctl migrate`: starts a job and, unless detached, follows it.
pub(super) async fn migrate(
    model: &Model,
    arguments: &MigrateArguments,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let guest = model.guest(&arguments.what.guest, shared.prefix.as_deref()).await?;
    let service = model.migration_service(&guest).await?;
    let destination = arguments.what.destination()?;
    let parameters = [
        (CimName::literal("ComputerSystem"), Value::from(ObjectPath::from(guest.clone()))),
        (CimName::literal("DestinationHost"), Value::from(destination)),
        (
            CimName::literal("MigrationSettingData"),
            Value::from(migration_settings(&guest, &arguments.what, arguments)?),
        ),
    ];
    let returned =
        model.call(service, CimName::literal("MigrateVirtualSystemToHost"), parameters).await?;
    // 4096: Method Parameters Checked - Job Started.
    if returned.code != 4096 {
        bail!("the server returned {} and started no job", returned.code);
    }
    let job = returned
        .out(&CimName::literal("Job"))
        .and_then(Value::as_reference)
        .and_then(ObjectPath::instance);
    let job = job.context("the server started a job but did not say which")?.clone();
    if !shared.json {
        writeln!(
            out,
            "{} migrates to {}: job {}",
            printable(&arguments.what.guest),
            printable(destination),
            printable(&id_of(&job))
        )?;
    }
    if arguments.detach {
        if shared.json {
            writeln!(out, "{}", json!({ "job": id_of(&job) }))?;
        }
        return Ok(Outcome::Done);
    }
    follow(model, &job, shared, out).await
}

/// The setting data with everything the user said.
fn migration_settings(
    guest: &InstancePath,
    what: &CheckArguments,
    arguments: &MigrateArguments,
) -> anyhow::Result<Instance> {
    let mut settings = setting_data(guest, what)?;
    for (name, value) in arguments.properties() {
        settings.set(name, value);
    }
    Ok(settings)
}

fn id_of(job: &InstancePath) -> String {
    key_text(job, &INSTANCE_ID)
}

/// `virtcimctl watch`.
pub(super) async fn watch(
    model: &Model,
    arguments: &WatchArguments,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let job = find(model, &arguments.job).await?;
    follow(model, &job, shared, out).await
}

/// The path of the job with that id, or whose id alone begins so.
async fn find(model: &Model, id: &str) -> anyhow::Result<InstancePath> {
    let jobs = all_jobs(model).await?;
    if let Some(job) = jobs.iter().find(|job| id_of(job).eq_ignore_ascii_case(id)) {
        return Ok(job.clone());
    }
    let mut found = jobs.into_iter().filter(|job| !id.is_empty() && id_of(job).starts_with(id));
    match (found.next(), found.next()) {
        (Some(job), None) => Ok(job),
        (Some(_), Some(_)) => Err(Usage(format!("several jobs begin with `{id}`")).into()),
        (None, _) => bail!("there is no job `{id}`"),
    }
}

async fn all_jobs(model: &Model) -> anyhow::Result<Vec<InstancePath>> {
    model.names(&CimName::literal("CIM_ConcreteJob")).await
}

/// Shows a job until it is over. Ctrl-C on a terminal asks whether to abort or to leave it alone;
/// elsewhere it leaves it alone.
async fn follow(
    model: &Model,
    job: &InstancePath,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new(out, shared.style());
    // It keeps an interrupt that comes at any point of the loop.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut wait = Duration::ZERO;
    let mut away: Option<Instant> = None;
    loop {
        let look = async {
            tokio::time::sleep(wait).await;
            model.instance(job).await
        };
        let looked = tokio::select! {
            looked = look => Some(looked),
            _ = interrupts.recv() => None,
        };
        let Some(looked) = looked else {
            progress.pause()?;
            if !ask_abort(&mut interrupts).await? {
                leave(job);
                return Ok(Outcome::Refused);
            }
            // It may be too late for that; what has become of the job is seen with the next look.
            if let Err(refused) = terminate(model, job).await {
                tell(&printable(&Chain(refused.as_ref()).to_string()));
            }
            wait = Duration::ZERO;
            continue;
        };
        wait = LOOK;
        let instance = match looked {
            Ok(instance) => instance,
            Err(error) if is_away(&error) => {
                if away.is_none() {
                    progress.pause()?;
                    tell(&printable(&format!("{}; trying again", Chain(error.as_ref()))));
                }
                if away.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                    continue;
                }
                leave(job);
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        away = None;
        let view = JobView::from_instance(&instance);
        progress.show(&view)?;
        if view.is_over() {
            if view.succeeded() {
                return Ok(Outcome::Done);
            }
            if !shared.json {
                print_findings(out, &findings(model, job).await)?;
            }
            return Ok(Outcome::Refused);
        }
    }
}

/// Whether the server may be back soon.
fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ClientError>().is_some_and(ClientError::is_away)
}

#[expect(clippy::print_stderr, reason = "what happens meanwhile is no result")]
fn tell(text: &str) {
    eprintln!("virtcimctl: {text}");
}

/// Asks on the terminal; `true` is abort, `false` is leave the job alone, as another Ctrl-C is.
#[expect(clippy::print_stderr, reason = "a question to the person at the terminal")]
async fn ask_abort(interrupts: &mut Signal) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("Abort the migration (a), or leave it running and stop watching (Enter)? ");
    let mut answer = String::new();
    let mut stdin = BufReader::new(tokio::io::stdin());
    tokio::select! {
        read = stdin.read_line(&mut answer) => { read?; }
        _ = interrupts.recv() => eprintln!(),
    }
    Ok(answer.trim().eq_ignore_ascii_case("a") || answer.trim().eq_ignore_ascii_case("abort"))
}

#[expect(clippy::print_stderr, reason = "a word to the person who stops watching")]
fn leave(job: &InstancePath) {
    let id = id_of(job);
    eprintln!("The migration goes on; `virtcimctl watch {}` shows it again.", printable(&id));
}

async fn terminate(model: &Model, job: &InstancePath) -> anyhow::Result<()> {
    let parameters = [(CimName::literal("RequestedState"), Value::from(TERMINATE))];
    let returned =
        model.call(job.clone(), CimName::literal("RequestStateChange"), parameters).await?;
    // 0 and 4096: done, or under way.
    anyhow::ensure!(
        matches!(returned.code, 0 | 4096),
        "the server does not abort the job: it returned {}",
        returned.code
    );
    Ok(())
}

/// `virtcimctl abort`.
pub(super) async fn abort(
    model: &Model,
    arguments: &WatchArguments,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let job = find(model, &arguments.job).await?;
    terminate(model, &job).await?;
    let mut progress = Progress::new(out, shared.style());
    loop {
        let view = JobView::from_instance(&model.instance(&job).await?);
        progress.show(&view)?;
        if view.is_over() {
            // What was asked for is that it does not migrate; a job that won the race has.
            return Ok(if view.succeeded() { Outcome::Refused } else { Outcome::Done });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `virtcimctl jobs`.
pub(super) async fn list(
    model: &Model,
    arguments: &JobsArguments,
    shared: &Shared,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<Outcome> {
    let class = if arguments.all { "Virtcimd_MigrationJobRecord" } else { "CIM_ConcreteJob" };
    let mut jobs: Vec<(JobView, String)> = Vec::new();
    for job in model.instances(&CimName::parse(class)?).await? {
        jobs.push((
            JobView::from_instance(&job),
            super::model::text(&job, "Description").to_owned(),
        ));
    }
    if shared.json {
        let documents: Vec<_> = jobs.iter().map(|(job, _)| job.json()).collect();
        writeln!(out, "{}", serde_json::Value::Array(documents))?;
        return Ok(Outcome::Done);
    }
    if jobs.is_empty() {
        writeln!(out, "No migration jobs.")?;
        return Ok(Outcome::Done);
    }
    let mut table = Table::new(["JOB", "STATE", "DONE", "WHAT", "WHY"]);
    for (job, what) in &jobs {
        let percent = job.percent.map(|percent| format!("{percent} %")).unwrap_or_default();
        let why = if job.is_over() && !job.succeeded() { job.reason() } else { "" };
        table.row([&job.id, job.phase(), &percent, what, why]);
    }
    write!(out, "{table}")?;
    Ok(Outcome::Done)
}

/// Why a job failed, in detail; empty where the server does not tell (libvirt-cim has no GetErrors).
async fn findings(model: &Model, job: &InstancePath) -> Vec<Finding> {
    let Ok(returned) = model.call(job.clone(), CimName::literal("GetErrors"), []).await else {
        return Vec::new();
    };
    let errors =
        returned.out(&CimName::literal("Errors")).map(embedded_instances).unwrap_or_default();
    errors.iter().map(Finding::from_error).collect()
}

/// Strings as a CIM array.
pub(super) fn strings(entries: &[String]) -> Value {
    Value::Array(entries.iter().map(|entry| Some(Scalar::String(entry.clone()))).collect())
}
