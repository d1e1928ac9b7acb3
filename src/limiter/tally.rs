//! The statistics of one descriptor: its hits, sorted by where they fell.

use super::{Count, Source};

/// What a decision adds to the counters of its metric path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Hits asked for.
    pub total: u64,
    /// Hits beyond the limit.
    pub over: u64,
    /// Those of them that the refusal cache refused without asking the store.
    pub over_from_cache: u64,
    /// Hits between the near-limit threshold and the limit.
    pub near: u64,
    /// Hits of requests that were within the limit.
    pub within: u64,
    /// Hits beyond the limit that shadow mode let pass.
    pub shadow: u64,
    /// Hits given back.
    pub given_back: u64,
}

impl Tally {
    /// Sorts `hits` that had this `count`, against a limit that admits `size` at once.
    pub(super) fn of(size: u32, hits: u64, count: &Count, near_ratio: f32) -> Self {
        let tally = Self { total: hits, ..Self::default() };
        if count.source == Source::RefusalCache {
            return Self { over: hits, over_from_cache: hits, ..tally };
        }
        let after = count.after;
        let before = after.saturating_sub(hits);
        let threshold = near_threshold(size, near_ratio);
        let size = u64::from(size);
        if count.admitted {
            let near = after.saturating_sub(before.max(threshold));
            Self { within: hits, near, ..tally }
        } else if count.spent && after > size && before < size {
            Self { over: after - size, near: size - before.max(threshold).min(size), ..tally }
        } else {
            Self { over: hits, ..tally }
        }
    }

    /// The same in shadow mode: what is over was let pass.
    pub(super) fn shadowed(self) -> Self {
        Self { shadow: self.over, ..self }
    }
}

/// The count above which a limit is near. In single precision, so that the statistics
/// are those of envoyproxy/ratelimit to the digit.
fn near_threshold(limit: u32, ratio: f32) -> u64 {
    (limit as f32 * ratio).floor() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(after: u64, admitted: bool, spent: bool) -> Count {
        let at = crate::clock::Timestamp::default();
        Count { after, admitted, spent, wait: None, at, source: Source::Store }
    }

    fn check(hits: u64, count: &Count, over: u64, near: u64, within: u64) {
        let expected = Tally { total: hits, over, near, within, ..Tally::default() };
        assert_eq!(Tally::of(10, hits, count, 0.8), expected, "{hits} hits: {count:?}");
    }

    #[test]
    fn hits_are_sorted_by_where_they_fell() {
        let check = |hits, after, over, near, within| {
            check(hits, &count(after, after <= 10, true), over, near, within);
        };
        check(1, 1, 0, 0, 1);
        check(1, 8, 0, 0, 1);
        check(1, 9, 0, 1, 1);
        check(4, 10, 0, 2, 4);
        check(1, 11, 1, 0, 0);
        check(5, 12, 2, 2, 0);
        check(12, 12, 2, 2, 0);
        check(0, 10, 0, 0, 0);
        check(0, 11, 0, 0, 0);
    }

    #[test]
    fn hits_that_were_not_spent_count_whole() {
        check(5, &count(8, false, false), 5, 0, 0);
        check(2, &count(3, true, false), 0, 0, 2);
        check(2, &count(10, false, true), 2, 0, 0);
        check(2, &count(9, true, false), 0, 1, 2);
    }

    #[test]
    fn hits_that_no_store_was_asked_for_count_as_over_and_as_such() {
        let count = Count { source: Source::RefusalCache, ..count(12, false, false) };
        let expected = Tally { total: 3, over: 3, over_from_cache: 3, ..Tally::default() };
        assert_eq!(Tally::of(10, 3, &count, 0.8), expected);
    }

    #[test]
    fn the_threshold_is_computed_in_single_precision() {
        assert_eq!(near_threshold(16_777_217, 0.8), 13_421_773);
        assert_eq!(near_threshold(u32::MAX, 0.8), 3_435_973_888);
    }
}
