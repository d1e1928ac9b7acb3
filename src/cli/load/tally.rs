//! What one thread has counted, and the sum over threads.
//!
//! Bounded memory: counts and histograms, never single calls.

use std::time::Duration;

use hdrhistogram::Histogram;
use tonic::Code;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// OK.
    Allowed,
    /// OVER_LIMIT.
    Refused,
    /// No decision.
    Failed(Code),
}

/// Codes of gRPC are 0 to 16.
const CODES: usize = 17;

/// Counts of the measured span.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Calls before the span.
    pub(super) warm_up: u64,
    /// Planned calls that found all calls in flight taken.
    pub(super) missed: u64,
    /// From the planned time to the answer, in nanoseconds.
    pub(super) allowed: Histogram<u64>,
    /// The same of what was refused.
    pub(super) refused: Histogram<u64>,
    /// The same of what failed.
    pub(super) failed: Histogram<u64>,
    /// From the planned time to the send, in nanoseconds; empty in a closed loop.
    pub(super) late: Histogram<u64>,
    errors: [u64; CODES],
}

impl Tally {
    /// Nothing yet. Times beyond `longest` count as that.
    pub(super) fn new(longest: Duration) -> anyhow::Result<Self> {
        // Three digits of a microsecond and above.
        let histogram = Histogram::new_with_bounds(1_000, nanoseconds(longest).max(2_000), 3)?;
        Ok(Self {
            warm_up: 0,
            missed: 0,
            allowed: histogram.clone(),
            refused: histogram.clone(),
            failed: histogram.clone(),
            late: histogram,
            errors: [0; CODES],
        })
    }

    /// A call of the span has ended.
    pub(super) fn record(&mut self, outcome: Outcome, latency: Duration) {
        let histogram = match outcome {
            Outcome::Allowed => &mut self.allowed,
            Outcome::Refused => &mut self.refused,
            Outcome::Failed(code) => {
                self.errors[code as usize] += 1;
                &mut self.failed
            }
        };
        histogram.saturating_record(nanoseconds(latency));
    }

    /// A planned call of the span was sent so much after its time.
    pub(super) fn record_late(&mut self, late: Duration) {
        self.late.saturating_record(nanoseconds(late));
    }

    /// Adds what another thread has counted with the same longest time.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.warm_up += other.warm_up;
        self.missed += other.missed;
        self.allowed.add(&other.allowed)?;
        self.refused.add(&other.refused)?;
        self.failed.add(&other.failed)?;
        self.late.add(&other.late)?;
        for (sum, count) in self.errors.iter_mut().zip(other.errors) {
            *sum += count;
        }
        Ok(())
    }

    /// Calls of the span that ended, in whatever way.
    pub(super) fn calls(&self) -> u64 {
        self.allowed.len() + self.refused.len() + self.failed.len()
    }

    /// The latencies of all calls.
    pub(super) fn all(&self) -> anyhow::Result<Histogram<u64>> {
        let mut all = self.allowed.clone();
        all.add(&self.refused)?;
        all.add(&self.failed)?;
        Ok(all)
    }

    /// How often each code was the reason for no decision, without those that never were.
    pub(super) fn errors(&self) -> impl Iterator<Item = (Code, u64)> {
        let code = |(code, &count): (usize, &u64)| (Code::from_i32(code as i32), count);
        self.errors.iter().enumerate().map(code).filter(|(_, count)| *count > 0)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_up() {
        let mut sum = Tally::new(Duration::from_secs(2)).expect("a tally");
        let mut one = sum.clone();
        one.record(Outcome::Allowed, Duration::from_micros(100));
        one.record(Outcome::Refused, Duration::from_micros(300));
        one.record(Outcome::Failed(Code::Unavailable), Duration::from_secs(9));
        one.missed = 4;
        for _ in 0..2 {
            sum.add(&one).expect("the same bounds");
        }
        assert_eq!((sum.calls(), sum.missed), (6, 8));
        assert_eq!(sum.errors().collect::<Vec<_>>(), [(Code::Unavailable, 2)]);
        let all = sum.all().expect("the same bounds");
        let near = |quantile, expected: f64| {
            let value = all.value_at_quantile(quantile) as f64;
            assert!((value / expected - 1.0).abs() < 0.01, "{quantile}: {value}");
        };
        near(0.33, 1e5);
        near(0.6, 3e5);
        near(1.0, 2e9); // longer than the longest
    }
}
