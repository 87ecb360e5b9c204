//! What waits for one destination. Pure: it is told what comes and says what is next.

use std::collections::VecDeque;

/// A bounded queue, and the numbers of what leaves it. If it is full the oldest is given up: who listens
/// again is served better by what is new. What was given up leaves a gap in the numbers, so that the
/// listener sees it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// Each with how many were given up between it and the one before.
    waiting: VecDeque<(i64, T)>,
    next: i64,
    /// The first that waits may have been sent under that number before.
    is_tried: bool,
    given_up: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new(None, Vec::new())
    }
}

impl<T> Queue<T> {
    /// What an earlier one was when it was taken apart; without a number if nothing was sent.
    pub(super) fn new(next: Option<i64>, waiting: Vec<(i64, T)>) -> Self {
        let is_tried = next.is_some() && !waiting.is_empty();
        Self { waiting: waiting.into(), next: next.unwrap_or(0), is_tried, given_up: 0 }
    }

    /// The next number, and what waits, each with how many before it were given up.
    pub(super) fn into_parts(self) -> (i64, Vec<(i64, T)>) {
        (self.next, self.waiting.into())
    }

    /// Takes one more, of at most `limit`; says how many were given up for it. What nobody wants any more
    /// is no loss.
    pub(super) fn push(&mut self, item: T, limit: usize, is_wanted: impl Fn(&T) -> bool) -> usize {
        self.waiting.push_back((0, item));
        let excess = self.waiting.len().saturating_sub(limit.max(1));
        let mut given_up = 0;
        let mut gap = 0;
        for (before, item) in self.waiting.drain(..excess) {
            let is_loss = is_wanted(&item);
            given_up += usize::from(is_loss);
            gap += before + i64::from(std::mem::take(&mut self.is_tried) || is_loss);
        }
        if let Some((before, _)) = self.waiting.front_mut() {
            *before += gap;
        }
        self.given_up += given_up as u64;
        given_up
    }

    /// The oldest that is still wanted.
    pub(super) fn take(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        while let Some((gap, item)) = self.waiting.pop_front() {
            self.next = after(self.next, gap);
            let was_tried = std::mem::take(&mut self.is_tried);
            if is_wanted(&item) {
                return Some(item);
            }
            if was_tried {
                // Another must not have its number.
                self.number();
            }
        }
        None
    }

    /// The number of what was taken last. Ask once it is sent: what nobody wants any more needs none.
    pub(super) fn number(&mut self) -> i64 {
        let number = self.next;
        self.next = after(number, 1);
        number
    }

    /// Begins to count anew: whoever is served now is somebody else.
    pub(super) fn renumber(&mut self) {
        self.next = 0;
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many were given up, since ever.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }
}

/// The number so many after another. After the last comes the first.
pub(super) fn after(number: i64, count: i64) -> i64 {
    number.checked_add(count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push<T>(queue: &mut Queue<T>, item: T, limit: usize) -> usize {
        queue.push(item, limit, |_| true)
    }

    /// The next that is wanted, with its number.
    fn next<T>(queue: &mut Queue<T>, is_wanted: impl Fn(&T) -> bool) -> Option<(i64, T)> {
        let item = queue.take(is_wanted)?;
        Some((queue.number(), item))
    }

    fn all<T>(queue: &mut Queue<T>) -> Vec<(i64, T)> {
        std::iter::from_fn(|| next(queue, |_| true)).collect()
    }

    #[test]
    fn numbers_begin_at_0_and_follow_each_other() {
        let mut queue = Queue::default();
        assert_eq!(queue.take(|_: &char| true), None);
        for item in ['a', 'b'] {
            assert_eq!(push(&mut queue, item, 10), 0);
        }
        assert_eq!(all(&mut queue), [(0, 'a'), (1, 'b')]);
        push(&mut queue, 'c', 10);
        assert_eq!(all(&mut queue), [(2, 'c')]);
        queue.renumber();
        push(&mut queue, 'd', 10);
        assert_eq!(all(&mut queue), [(0, 'd')]);
    }

    #[test]
    fn the_oldest_is_given_up_and_leaves_a_gap() {
        let mut queue = Queue::default();
        let lost: Vec<usize> = "abcd".chars().map(|item| push(&mut queue, item, 2)).collect();
        assert_eq!(lost, [0, 0, 1, 1]);
        assert_eq!((queue.len(), queue.given_up()), (2, 2));
        assert_eq!(all(&mut queue), [(2, 'c'), (3, 'd')]);
    }

    #[test]
    fn what_is_given_up_behind_the_one_under_way_leaves_its_gap_there() {
        let mut queue = Queue::default();
        push(&mut queue, 'a', 1);
        assert_eq!(queue.take(|_| true), Some('a'));
        for item in "bcd".chars() {
            push(&mut queue, item, 1);
        }
        assert_eq!(queue.number(), 0);
        assert_eq!(all(&mut queue), [(3, 'd')]);
    }

    #[test]
    fn a_limit_that_shrinks_is_kept_with_the_next() {
        let mut queue = Queue::default();
        for item in 0..5 {
            push(&mut queue, item, 5);
        }
        assert_eq!(push(&mut queue, 5, 2), 4);
        assert_eq!(all(&mut queue), [(4, 4), (5, 5)]);
    }

    #[test]
    fn what_nobody_wants_takes_no_number() {
        let mut queue = Queue::default();
        for item in 0..4 {
            push(&mut queue, item, 10);
        }
        assert_eq!(next(&mut queue, |item| item % 2 == 1), Some((0, 1)));
        // Taken, and not wanted any more before it was sent.
        assert_eq!(queue.take(|_| true), Some(2));
        assert_eq!(next(&mut queue, |_| true), Some((1, 3)));
        for item in 4..8 {
            assert_eq!(queue.push(item, 2, |item| item % 2 == 1), usize::from(item == 7));
        }
        assert_eq!(all(&mut queue), [(3, 6), (4, 7)]);
    }

    #[test]
    fn what_may_have_been_sent_before_keeps_its_number() {
        let waiting = || vec![(0, 'a'), (0, 'b')];
        for (number, is_wanted, expected) in [
            (Some(7), true, vec![(7, 'a'), (8, 'b')]),
            (Some(7), false, vec![(8, 'b')]),
            (None, false, vec![(0, 'b')]),
        ] {
            let mut queue = Queue::new(number, waiting());
            let is_wanted = |item: &char| is_wanted || *item == 'b';
            let found: Vec<_> = std::iter::from_fn(|| next(&mut queue, is_wanted)).collect();
            assert_eq!(found, expected);
        }
        let mut queue = Queue::new(Some(7), waiting());
        assert_eq!(queue.push('c', 2, |item| *item == 'c'), 0);
        assert_eq!(all(&mut queue), [(8, 'b'), (9, 'c')]);
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        let mut queue = Queue::new(Some(i64::MAX), Vec::new());
        for item in ['a', 'b'] {
            push(&mut queue, item, 10);
        }
        assert_eq!(all(&mut queue), [(i64::MAX, 'a'), (0, 'b')]);
    }

    proptest! {
        /// Whatever comes and goes, what is taken is in order, its number is its place among all that
        /// ever came, and what is missing was given up; also if it is taken apart and put together again.
        #[test]
        fn numbers_are_places(steps in proptest::collection::vec(0..3_u8, 0..80), limit in 1..5_usize) {
            let mut queue = Queue::default();
            let (mut came, mut given_up, mut taken) = (0_i64, 0, Vec::new());
            for step in steps {
                match step {
                    0 => {
                        given_up += push(&mut queue, came, limit);
                        came += 1;
                    }
                    1 => if let Some((number, item)) = next(&mut queue, |_| true) {
                        prop_assert_eq!(number, item);
                        taken.push(item);
                    }
                    _ => {
                        let (next, waiting) = queue.into_parts();
                        queue = Queue::new(Some(next), waiting);
                    }
                }
                prop_assert!(queue.len() <= limit);
            }
            prop_assert!(taken.is_sorted());
            prop_assert_eq!((taken.len() + given_up + queue.len()) as i64, came);
        }
    }
}
