//! What a job is told, and what it wants done.

use serde::{Deserialize, Serialize};

use super::{Facts, Failure, Phase, Sights};

/// What happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The queue lets the job go.
    Admitted,
    /// The gate lets the guest go.
    GatePassed,
    /// Both hosts were asked and the plan can be carried out.
    Prepared(Facts),
    /// What was being done is done.
    Did,
    /// What was being done failed.
    Broke(Failure),
    /// The report on what was being done was lost; it may still happen.
    Lost(Failure),
    /// What was to be done was not: the other host did not show what it must show, right before.
    Withheld,
    /// The guest asked to shut down is off, by its own doing.
    GuestOff,
    /// The guest stands still for the last pages, or post-copy began.
    Switched {
        /// The guest runs at the destination already.
        post_copy: bool,
    },
    /// The guest shall stand still at the source so that the copying can end.
    Hold,
    /// The move does not get on and shall be given up.
    GiveUp(Failure),
    /// The move is over.
    MoveEnded(Ending),
    /// Both hosts were looked at, the source first.
    Seen(Sights),
    /// Doubt has lasted as long as we are willing to wait.
    PatienceOver,
    /// What is being done, or the end of a move that was cancelled, takes longer than that.
    Overdue,
    /// Somebody wants the guest to stay.
    Abort,
    /// Somebody wants the job to end whatever that leaves behind.
    Kill,
    /// The daemon started and found the job unfinished.
    Adopted,
    /// The daemon can't go on with the job, by a defect of its own.
    Abandoned(Failure),
}

/// What is said of the end of a move. Neither the first nor the second is proof.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// libvirt reported success.
    Arrived,
    /// libvirt reported a failure.
    Failed(Failure),
    /// The report was lost; the move may even go on.
    Unclear(Failure),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// Run the gate, for [`Event::GatePassed`] or [`Event::Broke`].
    RunGate,
    /// Stop the gate.
    StopGate,
    /// Ask both hosts, for [`Event::Prepared`] or [`Event::Broke`].
    Prepare,
    /// Ask the guest to shut down and wait, for [`Event::GuestOff`] or [`Event::Broke`].
    ShutDownGuest,
    /// Let libvirt move the guest, for [`Event::MoveEnded`].
    StartMove,
    /// Follow a move that goes on, for [`Event::MoveEnded`].
    Watch,
    /// Cancel the move; it is it that ends then.
    AbortMove,
    /// Let the guest stand still at the source. Whether that works shows by itself.
    SuspendSource,
    /// Break off a post-copy that stands still, which ends the move: it can be taken up again.
    PausePostCopy,
    /// Bring a broken post-copy together again, for [`Event::MoveEnded`].
    RecoverPostCopy,
    /// Look at both hosts now, the source first, for [`Event::Seen`].
    Inspect,
    /// Look at both hosts after a while, for [`Event::Seen`].
    InspectLater,
    /// Change something, for [`Event::Did`], [`Event::Broke`], [`Event::Lost`] or [`Event::Withheld`].
    Do(Deed),
}

/// A change of one host.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Deed {
    /// Define the guest at the destination.
    DefineDestination,
    /// Start the guest at the destination.
    StartDestination,
    /// Let the guest, paused by the migration or for its sake, go on at the source.
    ResumeSource,
    /// Let the guest, paused for the sake of the migration, go on at the destination.
    ResumeDestination,
    /// Start the guest at the source, as it was.
    StartSource,
    /// End the paused remains of the guest at the source.
    DestroySource,
    /// End a half-arrived guest at the destination.
    DestroyIncoming,
    /// Give the running guest a definition at the destination.
    PersistDestination,
    /// Remove the guest's definition at the destination.
    UndefineDestination,
    /// Remove the files that were made at the destination for copies of the guest's disks.
    RemoveCopies,
    /// Remove the guest's definition at the source.
    UndefineSource,
    /// Let the guest start with the destination host.
    AutostartDestination,
    /// Don't let the guest start with the source host.
    HoldSource,
    /// Let the guest start with the source host again.
    AutostartSource,
}

/// The event does not fit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The job can't be stopped any more.
    #[error("the job can't be stopped any more: it is {0}")]
    TooLate(Phase),
    /// The job is over.
    #[error("the job is over: it is {0}")]
    Over(Phase),
    /// Nobody should have told this now.
    #[error("{event} while the job is {phase}")]
    Unexpected {
        /// The phase.
        phase: Phase,
        /// The event.
        event: String,
    },
}
