//! What is told of jobs, and when.

use std::time::Instant;

use super::{
    super::events::jobs::{BETWEEN, Progress, Step},
    migrate::{id, world},
    *,
};
use crate::migration::{JobChange, JobView, job::Phase};

/// A job that could be any.
async fn some_job() -> JobView {
    let world = world().await;
    let job = world.migrate(Vec::new()).await;
    let view = world.jobs.job(&id(&job)).expect("a job");
    world.close().await;
    JobView::clone(&view)
}

/// Follows one job.
struct Story {
    progress: Progress,
    now: Instant,
    job: Arc<JobView>,
}

impl Story {
    /// Changes the job after that time, and gives what is told of it: what each names, before and after.
    fn after(&mut self, wait: Duration, change: impl FnOnce(&mut JobView)) -> Vec<String> {
        self.now += wait;
        let previous = Arc::clone(&self.job);
        change(Arc::make_mut(&mut self.job));
        let current = Arc::clone(&self.job);
        self.tell(JobChange::Modified { previous, current })
    }

    fn tell(&mut self, change: JobChange) -> Vec<String> {
        let at = |view: &JobView| format!("{} {}", view.phase, view.report.percent);
        let text = |step| match step {
            Step::Created(view) => format!("created: {}", at(&view)),
            Step::Modified { previous, current } => {
                format!("{} -> {}", at(&previous), at(&current))
            }
            Step::Deleted(view) => format!("deleted: {}", at(&view)),
        };
        self.progress.on(change, self.now).into_iter().map(text).collect()
    }
}

#[tokio::test]
async fn turns_are_told_at_once_and_progress_now_and_then() {
    let mut job = some_job().await;
    job.phase = Phase::Queued;
    job.report.percent = 0;
    let mut story =
        Story { progress: Progress::default(), now: Instant::now(), job: Arc::new(job) };
    let created = JobChange::Created(Arc::clone(&story.job));
    assert_eq!(story.tell(created), ["created: queued 0"]);
    let soon = BETWEEN / 5;
    assert_eq!(story.after(soon, |job| job.phase = Phase::Copying), ["queued 0 -> copying 0"]);
    for percent in [1, 2] {
        assert_eq!(story.after(soon, |job| job.report.percent = percent), [""; 0]);
    }
    // What was not told is told with the next, and nothing twice.
    assert_eq!(story.after(BETWEEN, |job| job.report.percent = 3), ["copying 0 -> copying 3"]);
    assert_eq!(story.after(soon, |job| job.report.percent = 4), [""; 0]);
    assert_eq!(story.after(soon, |job| job.abort_wanted = true), ["copying 3 -> copying 4"]);
    assert_eq!(
        story.after(soon, |job| job.phase = Phase::Cancelled),
        ["copying 4 -> cancelled 4", "deleted: cancelled 4"]
    );
    // It is over for those who follow it, whatever is changed on it and when it goes.
    assert_eq!(story.after(BETWEEN, |job| job.removal.automatic = false), [""; 0]);
    let gone = JobChange::Deleted(Arc::clone(&story.job));
    assert_eq!(story.tell(gone), [""; 0]);
}

/// A follower that is too slow may lose any of them.
#[tokio::test]
async fn a_job_whose_end_was_lost_is_told_to_be_deleted_when_it_goes() {
    let job = Arc::new(some_job().await);
    let mut story =
        Story { progress: Progress::default(), now: Instant::now(), job: Arc::clone(&job) };
    story.tell(JobChange::Created(job));
    Arc::make_mut(&mut story.job).phase = Phase::Cancelled;
    let gone = JobChange::Deleted(Arc::clone(&story.job));
    assert_eq!(story.tell(gone.clone()).len(), 1);
    assert_eq!(story.tell(gone), [""; 0]);
}

#[tokio::test]
async fn a_job_that_an_earlier_daemon_began_is_followed_from_where_it_is() {
    let mut job = some_job().await;
    job.phase = Phase::Copying;
    job.report.percent = 50;
    let mut story =
        Story { progress: Progress::default(), now: Instant::now(), job: Arc::new(job) };
    let told = story.after(Duration::ZERO, |job| job.report.percent = 51);
    assert_eq!(told, ["copying 50 -> copying 51"]);
}
