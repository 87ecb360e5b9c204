//! What is stored of a job, and how.

use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Options,
    hands::{self, OurMove},
};
use crate::{
    checks::Finding,
    migration::{Edits, Mode, Plan, Report, Settings, Target, job::Job},
    store::JobRow,
    sys::uptime::Moment,
};

/// What a client asks for, validated as far as that can be done without the hosts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Request {
    /// The guest's name.
    pub guest: String,
    /// The guest's UUID.
    pub guest_uuid: String,
    /// The URI of the connection it is on.
    pub hypervisor: String,
    /// Where it goes.
    pub target: Target,
    /// How.
    pub settings: Settings,
    /// What shall be different there.
    pub edits: Edits,
    /// What the check programs are told.
    pub check_parameters: Option<Vec<Option<String>>>,
    /// Findings that shall not stop it: a code, or `code:program` for one check program.
    pub overrides: Vec<String>,
    /// Who asks.
    pub owner: String,
    /// Whatever the caller wants to know again later.
    pub tag: String,
    /// The same, of how it was asked for; as long as the job is remembered.
    #[serde(default)]
    pub parameters: String,
}

/// When clients stop seeing a job that is over.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Removal {
    /// Whether they do.
    pub automatic: bool,
    /// So long after its end.
    pub after: Duration,
}

/// What a client may change of a job later.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Amendment {
    /// When clients stop seeing it.
    pub removal: Removal,
    /// How soon it goes on, as long as it waits: the lower, the sooner; 0 is the default.
    pub priority: u16,
}

/// What does not change while a job runs, or only in one direction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Record {
    pub(super) request: Request,
    pub(super) mode: Mode,
    pub(super) removal: Removal,
    /// The guest's name at the destination; known once it is planned.
    pub(super) destination_name: String,
    /// A restart's definitions, as long as they may be needed: they have secrets in them.
    pub(super) definitions: Option<Definitions>,
    /// Files that libvirt makes at the destination, and that are ours to remove if the guest stays.
    #[serde(default)]
    pub(super) copies: Vec<String>,
    /// When libvirt was asked to move the guest, or was about to be; milliseconds since 1970.
    #[serde(default)]
    pub(super) move_asked: Option<i64>,
    /// When the move began, as libvirt told.
    #[serde(default)]
    pub(super) move_began: Option<i64>,
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Definitions {
    pub(super) source: String,
    pub(super) destination: String,
}

impl Record {
    pub(super) fn new(request: Request, options: &Options) -> Self {
        Self {
            mode: options.mode,
            removal: Removal { automatic: true, after: options.keep },
            destination_name: request.guest.clone(),
            definitions: None,
            copies: Vec::new(),
            move_asked: None,
            move_began: None,
            request,
        }
    }

    /// What is known of the move that we asked for.
    pub(super) fn our_move(&self) -> OurMove {
        OurMove::new(self.move_asked, self.move_began)
    }

    /// What a client may change.
    pub(super) fn amendable(&self) -> Amendment {
        Amendment { removal: self.removal, priority: self.request.settings.priority }
    }

    /// Keeps what later steps need of the plan.
    pub(super) fn keep(&mut self, plan: &Plan) {
        self.destination_name.clone_from(&plan.destination_name);
        self.copies.clone_from(&plan.copies);
        self.move_asked = plan.order.as_ref().map(|_| hands::now());
        self.definitions = plan.order.is_none().then(|| Definitions {
            source: plan.source_definition.clone(),
            destination: plan.destination_definition.clone(),
        });
    }
}

/// What is told of a job beside its state.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Told {
    pub(super) report: Report,
    /// How long it took so far.
    pub(super) elapsed: Duration,
    /// How long it was over already.
    #[serde(default)]
    pub(super) over_for: Duration,
    /// When that was so; `None` where nobody could tell.
    #[serde(default)]
    pub(super) at: Option<Moment>,
}

/// A stored job can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the stored job {id} can't be read: its {part} is damaged")]
pub(super) struct RecordError {
    id: String,
    part: &'static str,
    #[source]
    source: serde_json::Error,
}

/// A job as the store gives it back.
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) job: Job,
    pub(super) told: Told,
}

pub(super) fn read(row: &JobRow) -> Result<Stored, RecordError> {
    fn part<T: DeserializeOwned>(
        row: &JobRow,
        part: &'static str,
        text: &str,
    ) -> Result<T, RecordError> {
        serde_json::from_str(text).map_err(|source| RecordError {
            id: row.id.clone(),
            part,
            source,
        })
    }
    Ok(Stored {
        record: part(row, "request", &row.request)?,
        job: part(row, "machine", &row.machine)?,
        told: part(row, "report", &row.report)?,
    })
}

/// Our own types always have a text form.
pub(super) fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps have strings for keys and numbers are finite")
}

/// The findings that can be read; one of a newer program may not.
pub(super) fn findings(bodies: &[String]) -> Vec<Finding> {
    bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect()
}
