//! The lives of migration jobs.
//!
//! As in libvirt-cim a job is told to be deleted when it is over, although it can be asked about for some
//! time: its clients wait for that. What changes on it afterwards is not told.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{Happening, Host, Migrations, Subject, next};
use crate::{
    indications::Delivery,
    migration::{JobChange, JobView},
    providers::job::{job_class, migration_job},
};

/// How long no more is told of a job than that it has got on.
pub(in crate::providers) const BETWEEN: Duration = Duration::from_millis(500);

/// A job as it was told last.
struct Told {
    view: Arc<JobView>,
    at: Instant,
}

/// What to tell of a change.
#[derive(Clone, Debug)]
pub(in crate::providers) enum Step {
    Created(Arc<JobView>),
    Modified { previous: Arc<JobView>, current: Arc<JobView> },
    Deleted(Arc<JobView>),
}

/// What was told of jobs that are not over. Pure.
#[derive(Default)]
pub(in crate::providers) struct Progress {
    told: HashMap<String, Told>,
}

impl Progress {
    /// What to tell now: each turn a job takes at once, how far it is at most every [`BETWEEN`].
    pub(in crate::providers) fn on(&mut self, change: JobChange, at: Instant) -> Vec<Step> {
        match change {
            JobChange::Created(view) => {
                self.told.insert(view.id.clone(), Told { view: Arc::clone(&view), at });
                vec![Step::Created(view)]
            }
            JobChange::Modified { previous, .. } if previous.is_over() => Vec::new(),
            JobChange::Modified { previous, current } => {
                let told = self.told.get(&current.id);
                let recent = told.is_some_and(|told| at - told.at < BETWEEN);
                let previous = told.map_or(previous, |told| Arc::clone(&told.view));
                if recent && only_got_on(&previous, &current) {
                    return Vec::new();
                }
                let over = current.is_over();
                let modified = Step::Modified { previous, current: Arc::clone(&current) };
                if over {
                    self.told.remove(&current.id);
                    return vec![modified, Step::Deleted(current)];
                }
                self.told.insert(current.id.clone(), Told { view: current, at });
                vec![modified]
            }
            // It was told when the job was over, unless that was lost on the way.
            JobChange::Deleted(view) => match self.told.remove(&view.id) {
                Some(_) => vec![Step::Deleted(view)],
                None => Vec::new(),
            },
        }
    }
}

/// Whether nothing but the numbers of the transfer is different.
fn only_got_on(previous: &JobView, current: &JobView) -> bool {
    previous.phase == current.phase
        && previous.waiting == current.waiting
        && previous.doubt == current.doubt
        && previous.unstored == current.unstored
        && previous.abort_wanted == current.abort_wanted
        && previous.failure == current.failure
        && previous.removal == current.removal
        && previous.request == current.request
}

/// Follows all jobs.
pub(super) struct Follower {
    hosts: Vec<Host>,
    migrations: Migrations,
    delivery: Delivery,
    progress: Progress,
    /// The names of hosts, which are not to be had while they are away.
    names: HashMap<String, String>,
}

impl Follower {
    pub(super) fn new(hosts: &[Host], migrations: &Migrations, delivery: &Delivery) -> Self {
        Self {
            hosts: hosts.to_vec(),
            migrations: migrations.clone(),
            delivery: delivery.clone(),
            progress: Progress::default(),
            names: HashMap::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut changes: broadcast::Receiver<JobChange>,
        stop: CancellationToken,
    ) {
        while let Some(change) = next(&mut changes, &stop, "jobs").await {
            for step in self.progress.on(change, Instant::now()) {
                if self.delivery.is_wanted() {
                    self.tell(step).await;
                }
            }
        }
    }

    async fn tell(&mut self, step: Step) {
        let (Step::Created(view) | Step::Modified { current: view, .. } | Step::Deleted(view)) =
            &step;
        let view = Arc::clone(view);
        let Some(host) = self.hosts.iter().find(|host| host.is_source_of(&view)) else { return };
        let Some(class) = job_class(host.prefix) else { return };
        let failed = self.migrations.terms().failed_job_state;
        let show = |view: &JobView| migration_job(class.clone(), view, failed);
        let happening = match step {
            Step::Created(view) => Happening::Created(show(&view)),
            Step::Modified { previous, current } => {
                Happening::Modified { previous: show(&previous), current: show(&current) }
            }
            Step::Deleted(view) => Happening::Deleted(show(&view)),
        };
        if let Ok(info) = host.info().await {
            self.names.insert(host.connection.uri().to_owned(), info.hostname);
        }
        let name = self.names.get(host.connection.uri()).map_or("", String::as_str);
        let about = (view.request.guest_uuid.as_str(), name);
        let event = happening.indication(Subject::Job, host.prefix, &["InstanceID"], about);
        self.delivery.tell(event).await;
    }
}
