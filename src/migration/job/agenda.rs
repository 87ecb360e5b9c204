//! What is to be done next, and what must not be done before the job is stored.
//!
//! A deed that has waited for the store is not carried out: it was decided by what was seen then. Once
//! the job is stored a new look decides, as after a crash.

use std::collections::VecDeque;

use super::Effect;

/// The effects that are still to be carried out, in their order.
#[derive(Debug, Default)]
pub struct Agenda {
    effects: VecDeque<Effect>,
    /// Something on it has waited for the store.
    late: bool,
}

impl Agenda {
    /// Adds what the machine decided.
    pub fn extend(&mut self, effects: &[Effect]) {
        self.effects.extend(effects);
    }

    /// Adds an effect, unless it is there already.
    pub fn add(&mut self, effect: Effect) {
        if !self.effects.contains(&effect) {
            self.effects.push_back(effect);
        }
    }

    /// Nothing of it is of use any more.
    pub fn clear(&mut self) {
        self.effects.clear();
        self.late = false;
    }

    /// What to do next. While the job is not stored, that is what leaves the guest where it is: it does
    /// not queue behind deeds that have to wait.
    pub fn next(&mut self, is_stored: bool) -> Option<Effect> {
        if is_stored {
            return self.effects.pop_front();
        }
        let at = self.effects.iter().position(|effect| leaves_guest_alone(*effect));
        self.late |= self.effects.len() > usize::from(at.is_some());
        self.effects.remove(at?)
    }

    /// The job is stored, or there is nothing to store; whether deeds have waited for that.
    pub fn take_late(&mut self) -> bool {
        std::mem::take(&mut self.late) && self.effects.iter().any(|it| !leaves_guest_alone(*it))
    }
}

/// Whether a crash after it leaves no more to find out than a crash before it. Cancelling a move belongs
/// here: the guest stays, which is what an end of the move by itself would mean as well.
fn leaves_guest_alone(effect: Effect) -> bool {
    match effect {
        Effect::StopGate | Effect::Inspect | Effect::InspectLater | Effect::AbortMove => true,
        Effect::RunGate
        | Effect::Prepare
        | Effect::ShutDownGuest
        | Effect::StartMove
        | Effect::Watch
        | Effect::SuspendSource
        | Effect::PausePostCopy
        | Effect::RecoverPostCopy
        | Effect::Do(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Deed, *};

    #[test]
    fn what_leaves_the_guest_alone_overtakes_what_must_wait() {
        let mut agenda = Agenda::default();
        agenda.extend(&[Effect::SuspendSource]);
        agenda.add(Effect::AbortMove);
        agenda.add(Effect::AbortMove);
        assert_eq!(agenda.next(false), Some(Effect::AbortMove));
        assert_eq!(agenda.next(false), None);
        assert!(agenda.take_late());
        assert!(!agenda.take_late(), "once");
        assert_eq!(agenda.next(true), Some(Effect::SuspendSource));
        assert_eq!(agenda.next(true), None);
    }

    #[test]
    fn what_never_waited_is_not_late() {
        let mut agenda = Agenda::default();
        agenda.extend(&[Effect::Inspect, Effect::InspectLater]);
        assert_eq!(agenda.next(false), Some(Effect::Inspect));
        assert_eq!(agenda.next(false), Some(Effect::InspectLater));
        assert!(!agenda.take_late());
        agenda.extend(&[Effect::Do(Deed::StartDestination)]);
        assert_eq!(agenda.next(true), Some(Effect::Do(Deed::StartDestination)));
        assert!(!agenda.take_late());
    }
}
