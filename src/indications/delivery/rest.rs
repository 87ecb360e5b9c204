//! What is left when the daemon ends: how it is kept, and found again. Pure.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    parcel::{Content, Parcel},
    queue::after,
};
use crate::{
    indications::Identity,
    repository::Repository,
    store::{Outboxes, ParcelRow, SequenceRow},
};

/// What waits for a destination, each with how many before it were given up.
pub(super) type Waiting = Vec<(i64, Arc<Parcel>)>;

/// What a sender did not send.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) destination: Identity,
    /// How far it is numbered; `None` if nothing was ever sent.
    pub(super) sequence: Option<SequenceRow>,
    pub(super) waiting: Waiting,
}

/// What of it is kept if all texts together may have so many bytes, and how many are given up: the oldest
/// of those who have most. They leave gaps.
pub(super) fn write(mut rests: Vec<Rest>, schema: &Repository, limit: usize) -> (Outboxes, usize) {
    let (mut kept, mut left) = (Outboxes::default(), limit);
    for rest in &mut rests {
        rest.waiting = places(std::mem::take(&mut rest.waiting));
    }
    // The newest of each in turn, for as long as there is room.
    let mut is_full = false;
    while !is_full && rests.iter().any(|rest| !rest.waiting.is_empty()) {
        for Rest { destination, waiting, .. } in &mut rests {
            let Some((place, parcel)) = waiting.last() else { continue };
            let body = parcel.text(schema);
            let Some(less) = left.checked_sub(body.len()) else {
                is_full = true;
                break;
            };
            left = less;
            kept.parcels.push(ParcelRow {
                destination: destination.0.clone(),
                place: *place,
                subscription: parcel.subscription.0.clone(),
                made: parcel.made.to_string(),
                body,
            });
            waiting.pop();
        }
    }
    let mut given_up = 0;
    for Rest { destination, sequence, waiting: lost } in rests {
        given_up += lost.len();
        let Some(mut sequence) = sequence else { continue };
        if let Some((last, _)) = lost.last()
            && !kept.parcels.iter().any(|row| row.destination == destination.0)
        {
            sequence.next = after(sequence.next, last + 1);
        }
        kept.sequences.push(sequence);
    }
    (kept, given_up)
}

/// The queues that were kept.
pub(super) fn read(rows: Vec<ParcelRow>) -> BTreeMap<Identity, Waiting> {
    let mut queues: BTreeMap<Identity, Waiting> = BTreeMap::new();
    let mut next: (String, i64) = Default::default();
    for row in rows {
        let first = if next.0 == row.destination { next.1 } else { 0 };
        next = (row.destination.clone(), row.place + 1);
        let (subscription, made) = (Identity(row.subscription), row.made.into());
        let parcel = Parcel { subscription, made, content: Content::Kept(row.body) };
        let queue = queues.entry(Identity(row.destination)).or_default();
        queue.push((row.place - first, Arc::new(parcel)));
    }
    queues
}

/// Each with its place instead of the gap before it.
fn places(waiting: Waiting) -> Vec<(i64, Arc<Parcel>)> {
    let place = |next: &mut i64, (gap, parcel)| {
        let place = *next + gap;
        *next = place + 1;
        Some((place, parcel))
    };
    waiting.into_iter().scan(0, place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = 10;

    fn waiting(places: &[i64]) -> Waiting {
        let mut next = 0;
        let parcel = |place: &i64| {
            let gap = place - next;
            next = place + 1;
            let content = Content::Kept("x".repeat(BODY));
            let parcel =
                Parcel { subscription: Identity("s".to_owned()), made: "m".into(), content };
            (gap, Arc::new(parcel))
        };
        places.iter().map(parcel).collect()
    }

    fn sequence(destination: &str, next: i64) -> SequenceRow {
        let (url, context) = ("u".to_owned(), "c".to_owned());
        SequenceRow { destination: destination.to_owned(), url, context, next }
    }

    /// What comes back of destinations whose parcels have these places: those of each, and its next number.
    #[track_caller]
    fn check(given: &[&[i64]], limit: usize, expected: &[(&[i64], i64)], lost: usize) {
        let rest = |(index, places): (usize, &&[i64])| {
            let destination = index.to_string();
            let sequence = Some(sequence(&destination, 7));
            Rest { destination: Identity(destination), sequence, waiting: waiting(places) }
        };
        let rests = given.iter().enumerate().map(rest).collect();
        let (mut kept, given_up) = write(rests, &Repository::builtin(), limit);
        kept.parcels.sort_by_key(|row| (row.destination.clone(), row.place));
        let queues = read(kept.parcels);
        let found = kept.sequences.into_iter().map(|row| {
            let queue = queues.get(&Identity(row.destination)).cloned().unwrap_or_default();
            (places(queue).into_iter().map(|(place, _)| place).collect::<Vec<_>>(), row.next)
        });
        let found: Vec<_> = found.collect();
        let expected: Vec<_> =
            expected.iter().map(|(places, next)| (places.to_vec(), *next)).collect();
        assert_eq!((found, given_up), (expected, lost), "{given:?} in {limit}");
    }

    #[test]
    fn what_is_kept_comes_back_in_its_place() {
        check(&[], 100, &[], 0);
        check(&[&[]], 100, &[(&[], 7)], 0);
        check(&[&[0, 1, 2], &[0]], 100, &[(&[0, 1, 2], 7), (&[0], 7)], 0);
        // Some were given up before, and behind the first.
        check(&[&[0, 4, 5], &[3]], 100, &[(&[0, 4, 5], 7), (&[3], 7)], 0);
    }

    #[test]
    fn the_oldest_of_the_longest_are_given_up_and_leave_gaps() {
        check(&[&[0, 1, 2, 3], &[0, 1]], 4 * BODY, &[(&[2, 3], 7), (&[0, 1], 7)], 2);
        check(&[&[0, 1, 2, 3], &[0, 1]], 5 * BODY + 9, &[(&[1, 2, 3], 7), (&[0, 1], 7)], 1);
        check(&[&[0, 4, 5]], 2 * BODY, &[(&[4, 5], 7)], 1);
        // Where nothing is left the numbers alone tell.
        check(&[&[0, 1], &[2]], BODY, &[(&[1], 7), (&[], 10)], 2);
        check(&[&[0, 1]], BODY - 1, &[(&[], 9)], 2);
    }
}
