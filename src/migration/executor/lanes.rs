//! The calls to destinations, bounded for each of them: one that hangs takes no thread from the others.
//!
//! A call that has begun can't be taken back, so one that hangs keeps its place until it returns,
//! whatever becomes of its job.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::sys::blocking::Slots;

/// How many calls to one destination may be under way. With all of them hanging, further questions are
/// late, and further deeds are not begun.
const CALLS: usize = 16;

/// The slots of each destination that somebody uses, by its URI.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<String, Slots>>);

impl Lanes {
    /// The slots of that destination.
    pub(super) fn of(&self, uri: &str) -> Slots {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, slots| slots.is_shared());
        lanes.entry(uri.to_owned()).or_insert_with(|| Slots::new(CALLS, usize::MAX)).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_hangs_keeps_its_place_and_what_is_over_leaves_nothing() {
        let lanes = Lanes::default();
        let busy = lanes.of("a").slot().await.expect("a free slot");
        drop(lanes.of("b"));
        assert!(lanes.of("c").is_shared());
        let known = |lanes: &Lanes| {
            let mut uris: Vec<_> = lanes.0.lock().expect("no panic").keys().cloned().collect();
            uris.sort();
            uris
        };
        assert_eq!(known(&lanes), ["a", "c"]);
        drop(busy);
        drop(lanes.of("d"));
        assert_eq!(known(&lanes), ["d"]);
    }
}
