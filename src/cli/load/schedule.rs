//! When calls are planned in an open loop: call i at start + i / rate.
//!
//! Pure. The plan does not depend on how fast answers come, so that a stall of the server
//! delays no plan: the calls planned during it are late or missed, and counted as such.

use std::time::{Duration, Instant};

/// The planned times of one of several threads, which take calls in turn.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    start: Instant,
    end: Instant,
    /// Calls per second of all threads.
    rate: f64,
    next: u64,
    step: u64,
}

impl Schedule {
    /// Calls `first`, `first + step`, ... of those from `start` until `end`.
    pub(super) fn new((start, end): (Instant, Instant), rate: f64, first: u64, step: u64) -> Self {
        Self { start, end, rate, next: first, step }
    }

    /// The planned time of the next call; none after the end.
    pub(super) fn next(&self) -> Option<Instant> {
        let at = self.start + Duration::from_secs_f64(self.next as f64 / self.rate);
        (at < self.end).then_some(at)
    }

    /// The time between two calls of this thread.
    pub(super) fn period(&self) -> Duration {
        Duration::from_secs_f64(self.step as f64 / self.rate)
    }

    /// Takes the next call if it is due at `now`.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let at = self.next().filter(|at| *at <= now)?;
        self.next += self.step;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn threads_share_the_calls_and_none_is_lost_by_a_pause() {
        let start = Instant::now();
        let mut planned = Vec::new();
        for thread in 0..3 {
            let mut schedule = Schedule::new((start, start + SECOND), 1000.0, thread, 3);
            // A look after 300 ms, and then after the end: all are still handed out.
            assert_eq!(schedule.period(), SECOND * 3 / 1000);
            for look in [SECOND * 3 / 10, SECOND * 2] {
                planned.extend(std::iter::from_fn(|| schedule.due(start + look)));
            }
            assert_eq!(schedule.next(), None);
        }
        planned.sort();
        assert_eq!(planned.len(), 1000);
        let gaps = planned.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap.as_micros().abs_diff(1000) <= 1));
        assert_eq!(planned[0], start);
    }

    #[test]
    fn nothing_is_due_early() {
        let start = Instant::now();
        let mut schedule = Schedule::new((start, start + SECOND), 2.0, 1, 1);
        assert_eq!(schedule.due(start + SECOND / 4), None);
        assert_eq!(schedule.due(start + SECOND / 2), Some(start + SECOND / 2));
        assert_eq!(schedule.due(start + SECOND), None, "the end is not part of the span");
    }

    #[test]
    fn long_runs_do_not_drift() {
        let start = Instant::now();
        let hour = SECOND * 3600;
        let schedule = Schedule::new((start, start + hour * 2), 30_000.0, 30_000 * 3600, 1);
        assert_eq!(schedule.next(), Some(start + hour));
    }
}
