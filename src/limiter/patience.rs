//! How long a decision waits for its counters, so that its answer is there in time.
//!
//! A decision has a deadline: its process' or its caller's, whichever is sooner. The stores
//! that several others share are given less than that ([`Batch::wait`]): who gives up a silent
//! one then can still tell what the others have said.

use std::time::Duration;

use super::Batch;

/// What a caller is kept back of its patience, so that the answer arrives in time. Of small
/// patience a quarter.
const MARGIN: Duration = Duration::from_millis(1);
/// What a wait is shorter than a deadline: timers end up to a millisecond late, and what was
/// heard has a way to go. Of short deadlines a half.
const KEPT: Duration = Duration::from_millis(2);

/// The deadline of a decision, from its beginning on; none: nobody waits.
pub(super) fn of_decision(process: Option<Duration>, caller: Option<Duration>) -> Option<Duration> {
    let caller = caller.map(|patience| patience - MARGIN.min(patience / 4));
    match (process, caller) {
        (Some(process), Some(caller)) => Some(process.min(caller)),
        (one, other) => one.or(other),
    }
}

impl Batch {
    /// How long a store that may take `most` is waited for.
    pub fn wait(&self, most: Duration) -> Duration {
        self.patience.map_or(most, |deadline| most.min(deadline - KEPT.min(deadline / 2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn the_sooner_deadline_holds_and_some_of_it_is_kept_back() {
        let micros = |time: Option<u64>| time.map(Duration::from_micros);
        let check = |process, caller, expected: Option<u64>, wait: u64| {
            let deadline = of_decision(micros(process), micros(caller));
            assert_eq!(deadline, micros(expected), "{process:?} {caller:?}");
            let mut batch = Batch::new(Timestamp::default());
            batch.patience = deadline;
            let wait = Duration::from_micros(wait);
            assert_eq!(batch.wait(Duration::from_millis(200)), wait, "{process:?} {caller:?}");
        };
        check(None, None, None, 200_000);
        check(Some(10_000), None, Some(10_000), 8_000);
        check(Some(10_000), Some(20_000), Some(10_000), 8_000);
        check(Some(10_000), Some(5_000), Some(4_000), 2_000);
        check(Some(10_000), Some(1_000), Some(750), 375);
        check(Some(10_000), Some(0), Some(0), 0);
        check(Some(300_000), Some(400_000), Some(300_000), 200_000);
        check(None, Some(20_000), Some(19_000), 17_000);
    }
}
