//! How much passes and how much is refused, now and within the last minutes.
//!
//! Counters only grow; somebody looks at them at every beat, and what they grew by since is
//! the rate. Requests do not come by here.

use std::collections::VecDeque;
use std::iter::Sum;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The time between two looks.
pub const BEAT: Duration = Duration::from_secs(5);

/// How many beats are remembered: five minutes.
const HISTORY: usize = 60;

/// Hits a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Within the limit.
    pub allowed: f64,
    /// Over the limit, those that shadow mode let pass included.
    pub refused: f64,
}

impl Rate {
    /// Both.
    pub(super) fn total(self) -> f64 {
        self.allowed + self.refused
    }
}

impl Sum for Rate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |sum, rate| Self {
            allowed: sum.allowed + rate.allowed,
            refused: sum.refused + rate.refused,
        })
    }
}

/// The rates of all rules.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Look>,
    rates: Vec<Rate>,
    history: VecDeque<Rate>,
}

/// What the counters of a version of the rules were.
#[derive(Debug)]
struct Look {
    at: Instant,
    version: String,
    totals: Vec<[u64; 2]>,
}

impl Pulse {
    /// Takes what the rules of `version` have let pass and refused so far, rule by rule.
    pub fn beat(&self, at: Instant, version: &str, totals: Vec<[u64; 2]>) {
        let mut state = self.0.lock();
        let look = Look { at, version: version.to_owned(), totals };
        let before = state.last.replace(look);
        let Some(look) = &state.last else { return };
        let rates = before.filter(|before| before.version == version).map(|before| {
            let seconds = at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
            let grown = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            let pairs = look.totals.iter().zip(&before.totals);
            let rates = pairs.map(|(now, then)| Rate {
                allowed: grown(now[0], then[0]),
                refused: grown(now[1], then[1]),
            });
            rates.collect::<Vec<_>>()
        });
        // Of new rules nothing is known before the next beat.
        state.rates = rates.unwrap_or_default();
        let sum = state.rates.iter().copied().sum();
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(sum);
    }

    /// The rates of the rules of `version`; empty if they are not known.
    pub(super) fn rates(&self, version: &str) -> Vec<Rate> {
        let state = self.0.lock();
        let is_known = state.last.as_ref().is_some_and(|last| last.version == version);
        if is_known { state.rates.clone() } else { Vec::new() }
    }

    /// All rules together, beat by beat, the newest last.
    pub(super) fn history(&self) -> Vec<Rate> {
        self.0.lock().history.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_counters_grew_by() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        let beat = |seconds, version, totals| {
            pulse.beat(start + Duration::from_secs(seconds), version, totals);
        };
        let rate = |allowed, refused| Rate { allowed, refused };
        beat(0, "a", vec![[10, 0], [5, 5]]);
        assert_eq!(pulse.rates("a"), []);
        beat(5, "a", vec![[20, 1], [5, 10]]);
        assert_eq!(pulse.rates("a"), [rate(2.0, 0.2), rate(0.0, 1.0)]);
        assert_eq!(pulse.rates("b"), []);
        // Other rules, and other counters.
        beat(10, "b", vec![[1, 1]]);
        assert_eq!(pulse.rates("b"), []);
        beat(15, "b", vec![[6, 1]]);
        assert_eq!(pulse.rates("b"), [rate(1.0, 0.0)]);
        let history = [rate(0.0, 0.0), rate(2.0, 1.2), rate(0.0, 0.0), rate(1.0, 0.0)];
        assert_eq!(pulse.history(), history);
    }

    #[test]
    fn history_is_bounded() {
        let (pulse, start) = (Pulse::default(), Instant::now());
        for i in 0..3 * HISTORY as u64 {
            pulse.beat(start + BEAT * i as u32, "a", vec![[i, 0]]);
        }
        assert_eq!(pulse.history().len(), HISTORY);
    }
}
