//! How long to wait before a management server is asked again.
//!
//! Pure. A server that cannot be reached costs nothing to try, so it is tried at an even
//! pace. A stream that ends is opened again soon the first time, for most often the server
//! was replaced; if that does not last either, waits double up to a maximum. A stream that
//! lasted makes all forgotten. Every wait is spread at random, so that the replicas of a
//! deployment do not come back together.

use std::time::Duration;

/// The longest first wait after a stream has ended.
const SOON: Duration = Duration::from_secs(1);

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Between two tries to reach the server.
    pub reach: Duration,
    /// Before a stream is opened that failed twice; also how long a stream must last to
    /// count as a success.
    pub initial: Duration,
    /// The most that doubling makes of it.
    pub max: Duration,
    /// The part of a wait, from 0 to 1, that chance takes off or adds.
    pub spread: f64,
}

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// The server was not reached.
    Unreached,
    /// It was, and the stream lasted so long.
    Lasted(Duration),
}

/// The waits of a client so far.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Streams in a row that did not last.
    failures: u32,
}

impl Waits {
    /// How long to wait after a try; `chance` is from 0 to 1.
    pub(super) fn after(&mut self, tried: Try, backoff: &Backoff, chance: f64) -> Duration {
        let wait = match tried {
            Try::Unreached => backoff.reach,
            Try::Lasted(time) => {
                if time >= backoff.initial {
                    self.failures = 0;
                }
                let failures = self.failures;
                self.failures = failures.saturating_add(1);
                match failures.checked_sub(1) {
                    None => backoff.reach.min(SOON),
                    Some(doublings) => {
                        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                        backoff.initial.saturating_mul(factor).min(backoff.max)
                    }
                }
            }
        };
        let spread = backoff.spread.clamp(0.0, 1.0);
        wait.mul_f64(1.0 + spread * (2.0 * chance.clamp(0.0, 1.0) - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        reach: Duration::from_secs(3),
        initial: Duration::from_secs(10),
        max: Duration::from_secs(60),
        spread: 0.0,
    };

    fn check(tries: &[Try], expected: &[u64]) {
        let mut waits = Waits::default();
        let found: Vec<u64> =
            tries.iter().map(|tried| waits.after(*tried, &BACKOFF, 0.9).as_secs()).collect();
        assert_eq!(found, expected, "{tries:?}");
    }

    #[test]
    fn a_server_that_is_not_there_is_tried_at_an_even_pace() {
        check(&[Try::Unreached; 5], &[3; 5]);
    }

    #[test]
    fn streams_that_do_not_last_are_opened_less_and_less_often() {
        check(&[Try::Lasted(Duration::ZERO); 7], &[1, 10, 20, 40, 60, 60, 60]);
        check(&[Try::Lasted(Duration::ZERO); 40][..40], &{
            let mut expected = [60; 40];
            expected[..4].copy_from_slice(&[1, 10, 20, 40]);
            expected
        });
    }

    #[test]
    fn a_stream_that_lasted_makes_all_forgotten() {
        let (short, long) =
            (Try::Lasted(Duration::from_secs(9)), Try::Lasted(Duration::from_secs(10)));
        check(&[short, short, short, long, short], &[1, 10, 20, 1, 10]);
        check(&[short, Try::Unreached, short], &[1, 3, 10]);
    }

    #[test]
    fn chance_spreads_waits_on_both_sides() {
        let spread = |spread, chance| {
            let backoff = Backoff { spread, ..BACKOFF };
            Waits::default().after(Try::Unreached, &backoff, chance).as_millis()
        };
        assert_eq!([spread(0.5, 0.0), spread(0.5, 0.5), spread(0.5, 1.0)], [1500, 3000, 4500]);
        assert_eq!([spread(7.0, 0.0), spread(7.0, 1.0)], [0, 6000]);
    }
}
