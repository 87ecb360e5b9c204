//! How a job is shown: one line that renews itself on a terminal, plain lines elsewhere, or JSON.

use std::{io::Write, time::Duration};

use serde_json::json;

use super::model::{number, text};
use crate::{
    cim::{CimName, DateTime, Instance, Scalar, Value},
    cli::table::printable,
};

/// A migration job as its instance tells it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct JobView {
    pub(super) id: String,
    /// CIM_ConcreteJob.JobState.
    pub(super) state: i128,
    pub(super) status: String,
    pub(super) job_status: String,
    pub(super) error_code: i128,
    pub(super) error: String,
    pub(super) percent: Option<i128>,
    pub(super) total: Option<i128>,
    pub(super) processed: Option<i128>,
    pub(super) remaining: Option<i128>,
    /// Bytes per second.
    pub(super) rate: Option<i128>,
    pub(super) eta: Option<i128>,
    pub(super) downtime_ms: Option<i128>,
    pub(super) elapsed: Option<Duration>,
    failed: bool,
}

impl JobView {
    pub(super) fn from_instance(job: &Instance) -> Self {
        let statuses = job
            .value(&CimName::literal("OperationalStatus"))
            .and_then(Value::array)
            .unwrap_or_default();
        // CIM_ManagedSystemElement.OperationalStatus: 6 Error, 17 Completed.
        let failed = statuses.iter().flatten().any(|status| status.as_integer() == Some(6));
        Self {
            id: text(job, "InstanceID").to_owned(),
            state: number(job, "JobState").unwrap_or(0),
            status: text(job, "Status").to_owned(),
            job_status: text(job, "JobStatus").to_owned(),
            error_code: number(job, "ErrorCode").unwrap_or(0),
            error: text(job, "ErrorDescription").to_owned(),
            percent: number(job, "PercentComplete"),
            total: number(job, "DataTotal"),
            processed: number(job, "DataProcessed"),
            remaining: number(job, "DataRemaining"),
            rate: number(job, "TransferRate"),
            eta: interval(job, "EstimatedTimeLeft").map(|left| left.as_secs().into()),
            downtime_ms: number(job, "Downtime"),
            elapsed: interval(job, "ElapsedTime"),
            failed,
        }
    }

    /// Whether the job has ended, however.
    pub(super) fn is_over(&self) -> bool {
        // 7 Completed, 8 Terminated, 9 Killed, 10 Exception.
        (7..=10).contains(&self.state)
    }

    /// Whether it ended well. libvirt-cim tells failure only by ErrorCode and Status.
    pub(super) fn succeeded(&self) -> bool {
        self.state == 7 && !self.failed && self.error_code == 0
    }

    /// The phase in a word or two.
    pub(super) fn phase(&self) -> &str {
        match self.state {
            7 if self.succeeded() => "completed",
            7 | 10 => "failed",
            8 | 9 => "cancelled",
            _ if !self.job_status.is_empty() => &self.job_status,
            _ if !self.status.is_empty() => &self.status,
            _ => "running",
        }
    }

    /// Why it failed, if it did.
    pub(super) fn reason(&self) -> &str {
        if self.error.is_empty() { &self.status } else { &self.error }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let number = |n: Option<i128>| n.and_then(|n| i64::try_from(n).ok());
        json!({
            "job": self.id,
            "state": number(Some(self.state)),
            "phase": self.phase(),
            "over": self.is_over(),
            "succeeded": self.is_over() && self.succeeded(),
            "status": self.status,
            "percent": number(self.percent),
            "bytes_total": number(self.total),
            "bytes_processed": number(self.processed),
            "bytes_remaining": number(self.remaining),
            "bytes_per_second": number(self.rate),
            "seconds_left": number(self.eta),
            "downtime_ms": number(self.downtime_ms),
            "elapsed_seconds": self.elapsed.map(|elapsed| elapsed.as_secs_f64()),
            "error_code": number(Some(self.error_code)),
            "error": self.error,
        })
    }
}

fn interval(job: &Instance, property: &'static str) -> Option<Duration> {
    match job.value(&CimName::literal(property))? {
        Value::Scalar(Scalar::DateTime(interval)) if interval.is_interval() => {
            microseconds(interval)
        }
        _ => None,
    }
}

fn microseconds(interval: &DateTime) -> Option<Duration> {
    interval.microseconds().and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros)
}

/// Where and how progress goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Style {
    /// A bar that renews itself, on a terminal this many columns wide.
    Bar(usize),
    /// A line for each change.
    Lines,
    /// A JSON document for each change.
    Json,
}

/// Writes what changes of one job.
pub(super) struct Progress<'a> {
    out: &'a mut (dyn Write + Send),
    style: Style,
    shown: Option<JobView>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), style: Style) -> Self {
        Self { out, style, shown: None }
    }

    /// Shows the job if it differs from what was shown last.
    pub(super) fn show(&mut self, job: &JobView) -> std::io::Result<()> {
        if self.shown.as_ref() == Some(job) {
            return Ok(());
        }
        match self.style {
            Style::Bar(columns) => write!(self.out, "\r\x1b[K{}", bar(job, columns))?,
            Style::Lines if self.shown.as_ref().is_some_and(|shown| line(shown) == line(job)) => {}
            Style::Lines => writeln!(self.out, "{}", line(job))?,
            Style::Json => writeln!(self.out, "{}", job.json())?,
        }
        if job.is_over() {
            self.finish(job)?;
        }
        self.out.flush()?;
        self.shown = Some(job.clone());
        Ok(())
    }

    /// Ends a renewed line, so that other text may follow.
    pub(super) fn pause(&mut self) -> std::io::Result<()> {
        if matches!(self.style, Style::Bar(_)) {
            writeln!(self.out)?;
        }
        self.out.flush()
    }

    fn finish(&mut self, job: &JobView) -> std::io::Result<()> {
        if matches!(self.style, Style::Bar(_)) {
            writeln!(self.out)?;
        }
        if self.style == Style::Json {
            return Ok(());
        }
        let time = job
            .elapsed
            .map(|elapsed| format!(" after {:.1} s", elapsed.as_secs_f64()))
            .unwrap_or_default();
        if job.succeeded() {
            let downtime =
                job.downtime_ms.map(|ms| format!(", guest paused for {ms} ms")).unwrap_or_default();
            writeln!(self.out, "Migration completed{time}{downtime}.")
        } else {
            writeln!(self.out, "Migration {}{time}: {}", job.phase(), printable(job.reason()))
        }
    }
}

fn line(job: &JobView) -> String {
    let percent = job.percent.map(|percent| format!("{percent:>3} %  ")).unwrap_or_default();
    format!("{percent}{}", printable(job.phase()))
}

fn bar(job: &JobView, columns: usize) -> String {
    const WIDTH: usize = 24;
    let percent = job.percent.unwrap_or(0).clamp(0, 100);
    let filled = WIDTH * usize::try_from(percent).unwrap_or(0) / 100;
    let mut text = format!(
        "[{}{}] {percent:>3} %  {}",
        "#".repeat(filled),
        "-".repeat(WIDTH - filled),
        printable(job.phase())
    );
    if let (Some(processed), Some(total)) = (job.processed, job.total.filter(|total| *total > 0)) {
        text.push_str(&format!("  {} of {}", bytes(processed), bytes(total)));
    }
    if let Some(rate) = job.rate.filter(|rate| *rate > 0) {
        text.push_str(&format!("  {}/s", bytes(rate)));
    }
    if let Some(eta) = job.eta.filter(|_| !job.is_over()) {
        text.push_str(&format!("  {} left", duration(eta)));
    }
    text.chars().take(columns.max(WIDTH).saturating_sub(1)).collect()
}

fn bytes(n: i128) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn duration(seconds: i128) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: u16, status: &str) -> Instance {
        Instance::new(CimName::literal("KVM_MigrationJob"))
            .with(CimName::literal("InstanceID"), "j1")
            .with(CimName::literal("JobState"), state)
            .with(CimName::literal("Status"), status)
            .with(CimName::literal("ErrorCode"), 0_u16)
    }

    fn shown(style: Style, jobs: &[Instance]) -> String {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, style);
        for job in jobs {
            progress.show(&JobView::from_instance(job)).expect("writes to memory");
        }
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn lines_tell_each_change_once_and_the_end() {
        let running = job(4, "Running").with(CimName::literal("PercentComplete"), 10_u16);
        let done = job(7, "Completed")
            .with(CimName::literal("PercentComplete"), 100_u16)
            .with(CimName::literal("Downtime"), 8_u64);
        let text = shown(Style::Lines, &[running.clone(), running, done]);
        assert_eq!(
            text,
            " 10 %  Running\n100 %  completed\nMigration completed, guest paused for 8 ms.\n"
        );
    }

    #[test]
    fn a_job_of_libvirt_cim_that_failed_is_told_by_its_error_code() {
        let failed =
            job(7, "Migration Failed: no\x1b[2J").with(CimName::literal("ErrorCode"), 1_u16);
        let text = shown(Style::Lines, &[failed]);
        assert_eq!(text, "failed\nMigration failed: Migration Failed: no\\u{1b}[2J\n");
    }

    #[test]
    fn the_bar_fits_the_terminal() {
        let running = job(4, "Running")
            .with(CimName::literal("JobStatus"), "copying")
            .with(CimName::literal("PercentComplete"), 50_u16)
            .with(CimName::literal("DataTotal"), 2048_u64)
            .with(CimName::literal("DataProcessed"), 1024_u64)
            .with(
                CimName::literal("EstimatedTimeLeft"),
                DateTime::interval(Duration::from_secs(61)).expect("short"),
            );
        assert_eq!(
            shown(Style::Bar(100), std::slice::from_ref(&running)),
            "\r\x1b[K[############------------]  50 %  copying  1.0 KiB of 2.0 KiB  1 min 01 s left"
        );
        assert_eq!(shown(Style::Bar(30), &[running]).chars().count(), 4 + 29);
    }

    #[test]
    fn json_has_a_document_for_each_change() {
        let text = shown(Style::Json, &[job(4, "Running"), job(7, "Completed")]);
        let last: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!((text.lines().count(), &last["succeeded"]), (2, &serde_json::Value::Bool(true)));
    }
}
