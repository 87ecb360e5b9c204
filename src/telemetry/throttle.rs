//! A limit on log lines that strangers cause.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Admits so many events at once and then one per interval; counts those it does not admit.
#[derive(Debug)]
pub struct Throttle {
    burst: u32,
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the bucket was last full or refilled; `None` before the first event.
    since: Option<Instant>,
    left: u32,
    suppressed: u64,
}

impl Throttle {
    /// A throttle for a `static` beside the log line.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            state: Mutex::new(State { since: None, left: burst, suppressed: 0 }),
        }
    }

    /// Whether an event may be logged now; if so, how many were not since the last one.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let since = *state.since.get_or_insert(now);
        let refills = now.saturating_duration_since(since).as_nanos() / self.interval.as_nanos();
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        if refills > 0 {
            state.left = state.left.saturating_add(refills).min(self.burst);
            state.since = Some(now);
        }
        match state.left.checked_sub(1) {
            Some(left) => {
                state.left = left;
                Some(std::mem::take(&mut state.suppressed))
            }
            None => {
                state.suppressed += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_per_interval_and_the_rest_is_counted() {
        let second = Duration::from_secs(1);
        let throttle = Throttle::new(2, second);
        let start = Instant::now();
        assert_eq!(throttle.admit_at(start), Some(0));
        assert_eq!(throttle.admit_at(start), Some(0));
        assert_eq!(throttle.admit_at(start), None);
        assert_eq!(throttle.admit_at(start + second / 2), None);
        assert_eq!(throttle.admit_at(start + second), Some(2));
        assert_eq!(throttle.admit_at(start + second), None);
        assert_eq!(throttle.admit_at(start + 100 * second), Some(1));
        assert_eq!(throttle.admit_at(start + 100 * second), Some(0));
        assert_eq!(throttle.admit_at(start + 100 * second), None);
    }
}
