//! What waits for one destination. Pure: it is told what comes and says what is next.

use std::collections::VecDeque;

/// A bounded queue that numbers what leaves it. If it is full the oldest is given up: who listens again
/// is served better by what is new. What was given up has its number all the same, so that the listener
/// sees the gap.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: VecDeque<T>,
    next: i64,
    given_up: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), next: 0, given_up: 0 }
    }
}

impl<T> Queue<T> {
    /// Takes one more, of at most `limit`; says how many were given up for it.
    pub(super) fn push(&mut self, item: T, limit: usize) -> usize {
        self.waiting.push_back(item);
        let excess = self.waiting.len().saturating_sub(limit.max(1));
        for _ in 0..excess {
            self.waiting.pop_front();
            self.number();
        }
        self.given_up += excess as u64;
        excess
    }

    /// The oldest that is still wanted, with its number. What nobody wants any more gets none.
    pub(super) fn take(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<(i64, T)> {
        while let Some(item) = self.waiting.pop_front() {
            if is_wanted(&item) {
                return Some((self.number(), item));
            }
        }
        None
    }

    /// Begins to count anew and returns the first number: whoever is served now is somebody else.
    pub(super) fn renumber(&mut self) -> i64 {
        self.next = 0;
        self.number()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How many were given up, since ever.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    fn number(&mut self) -> i64 {
        let number = self.next;
        self.next = number.checked_add(1).unwrap_or(0);
        number
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all<T>(queue: &mut Queue<T>) -> Vec<(i64, T)> {
        std::iter::from_fn(|| queue.take(|_| true)).collect()
    }

    #[test]
    fn numbers_begin_at_0_and_follow_each_other() {
        let mut queue = Queue::default();
        assert_eq!(queue.take(|_: &char| true), None);
        for item in ['a', 'b'] {
            assert_eq!(queue.push(item, 10), 0);
        }
        assert_eq!(all(&mut queue), [(0, 'a'), (1, 'b')]);
        queue.push('c', 10);
        assert_eq!(all(&mut queue), [(2, 'c')]);
        assert_eq!(queue.renumber(), 0);
        queue.push('d', 10);
        assert_eq!(all(&mut queue), [(1, 'd')]);
    }

    #[test]
    fn the_oldest_is_given_up_and_leaves_a_gap() {
        let mut queue = Queue::default();
        let lost: Vec<usize> = "abcd".chars().map(|item| queue.push(item, 2)).collect();
        assert_eq!(lost, [0, 0, 1, 1]);
        assert_eq!((queue.len(), queue.given_up()), (2, 2));
        assert_eq!(all(&mut queue), [(2, 'c'), (3, 'd')]);
    }

    #[test]
    fn a_limit_that_shrinks_is_kept_with_the_next() {
        let mut queue = Queue::default();
        for item in 0..5 {
            queue.push(item, 5);
        }
        assert_eq!(queue.push(5, 2), 4);
        assert_eq!(all(&mut queue), [(4, 4), (5, 5)]);
    }

    #[test]
    fn what_nobody_wants_takes_no_number() {
        let mut queue = Queue::default();
        for item in 0..4 {
            queue.push(item, 10);
        }
        assert_eq!(queue.take(|item| item % 2 == 1), Some((0, 1)));
        assert_eq!(queue.take(|item| item % 2 == 1), Some((1, 3)));
    }

    #[test]
    fn after_the_last_number_comes_the_first() {
        let mut queue = Queue { next: i64::MAX, ..Queue::default() };
        for item in ['a', 'b'] {
            queue.push(item, 10);
        }
        assert_eq!(all(&mut queue), [(i64::MAX, 'a'), (0, 'b')]);
    }

    proptest! {
        /// Whatever comes and goes, what is taken is in order, its number is its place among all that
        /// ever came, and what is missing was given up.
        #[test]
        fn numbers_are_places(steps in proptest::collection::vec(any::<bool>(), 0..80), limit in 1..5_usize) {
            let mut queue = Queue::default();
            let (mut came, mut taken) = (0_i64, Vec::new());
            for push in steps {
                if push {
                    queue.push(came, limit);
                    came += 1;
                } else if let Some((number, item)) = queue.take(|_| true) {
                    prop_assert_eq!(number, item);
                    taken.push(item);
                }
                prop_assert!(queue.len() <= limit);
            }
            prop_assert!(taken.is_sorted());
            let gone = taken.len() as u64 + queue.given_up() + queue.len() as u64;
            prop_assert_eq!(gone, came as u64);
        }
    }
}
