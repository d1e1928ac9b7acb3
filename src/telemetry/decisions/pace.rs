//! So many lines in a second and no more. Time comes in; nobody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counts lines by the second.
#[derive(Debug)]
pub(super) struct Pace {
    most: u32,
    start: Instant,
    /// The second, counted from the start, in the upper half; its lines in the lower.
    now: AtomicU64,
    held: AtomicU64,
    /// Those of them that a line has told of.
    told: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Pace {
    /// `most` lines in a second.
    pub(super) fn new(most: u32) -> Self {
        let (now, held, told) = Default::default();
        Self { most, start: Instant::now(), now, held, told }
    }

    /// Whether another line may be written; if so, how many were held back since the last one.
    pub(super) fn take(&self, now: Instant) -> Option<u64> {
        let second = now.saturating_duration_since(self.start).as_secs() << 32;
        let next = |state: u64| {
            let (of, count) = (state & !u64::from(u32::MAX), state & u64::from(u32::MAX));
            match second > of {
                true => (self.most > 0).then_some(second | 1),
                false => (count < u64::from(self.most)).then_some(state + 1),
            }
        };
        if self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_err() {
            self.held.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let held = self.held.load(Ordering::Relaxed);
        Some(held.saturating_sub(self.told.fetch_max(held, Ordering::Relaxed)))
    }

    /// How many were held back.
    pub(super) fn held_back(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_has_so_many_lines_and_the_next_one_tells_of_the_others() {
        let pace = Pace::new(3);
        let at = |millis| pace.start + Duration::from_millis(millis);
        let taken: Vec<_> = (0..10).map(|i| pace.take(at(i * 90))).collect();
        assert_eq!(taken[..3], [Some(0); 3]);
        assert_eq!(taken[3..], [None; 7]);
        assert_eq!([pace.take(at(1000)), pace.take(at(1001))], [Some(7), Some(0)]);
        // A clock that seems to go back gives nothing away.
        assert_eq!([pace.take(at(0)), pace.take(at(0))], [Some(0), None]);
        assert_eq!(pace.held_back(), 8);
        assert_eq!(Pace::new(0).take(at(5000)), None);
    }
}
