//! Each algorithm against an exact log of what it admitted: the worst case that its
//! documentation states, and that who keeps to the rate is never refused.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Meter, Refused, State, Step, Window};
use tidegate::rules::Algorithm;

const START: u64 = 1_700_000_000_000_000;

fn meter(algorithm: Algorithm, rate: u32, window_secs: u64) -> Meter {
    Meter { algorithm, rate, window: Window::from_secs(window_secs), refused: Refused::Spare }
}

/// A counter and what it has admitted: moments in microseconds, and hits.
struct Log {
    meter: Meter,
    state: State,
    admitted: Vec<(u64, u64)>,
}

impl Log {
    fn new(meter: Meter) -> Self {
        Self { meter, state: State::default(), admitted: Vec::new() }
    }

    fn hit(&mut self, now: u64, hits: u64) -> Step {
        let step = self.meter.step(self.state, Action::Spend(hits), Timestamp::from_micros(now));
        self.state = step.state;
        if step.admitted {
            self.admitted.push((now, hits));
        }
        step
    }

    /// Checks `allowed(first, last, hits)` for every run of admitted hits.
    fn check(&self, allowed: impl Fn(u64, u64, u64) -> bool) -> Result<(), TestCaseError> {
        for (i, (first, _)) in self.admitted.iter().enumerate() {
            let mut sum = 0;
            for (last, hits) in &self.admitted[i..] {
                sum += hits;
                prop_assert!(
                    allowed(*first, *last, sum),
                    "{first} to {last}: {sum} {:?}",
                    self.meter
                );
            }
        }
        Ok(())
    }
}

/// Pauses in microseconds and hits: bursts, the pace of the limit, long waits.
fn demand() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![
        4 => Just(0u64),
        4 => 0..200_000u64,
        2 => 0..3_000_000u64,
        1 => 0..30_000_000u64,
        1 => prop::sample::select(vec![1_000_000u64, 10_000_000, 999_999, 1_000_001]),
    ];
    vec((pause, 0..4u64), 1..300)
}

fn moments(demand: &[(u64, u64)]) -> impl Iterator<Item = (u64, u64)> {
    demand.iter().scan(START, |now, (pause, hits)| {
        *now += pause;
        Some((*now, *hits))
    })
}

proptest! {
    #![proptest_config(Config { cases: 400, failure_persistence: None, ..Config::default() })]

    #[test]
    fn a_bucket_admits_no_more_than_burst_and_rate_in_any_span(
        rate in 1..50u32, burst in 1..60u32, window in 1..20u64, demand in demand(),
    ) {
        let mut log = Log::new(meter(Algorithm::TokenBucket { burst }, rate, window));
        for (now, hits) in moments(&demand) {
            log.hit(now, hits);
        }
        let window = u128::from(window) * 1_000_000;
        log.check(|first, last, hits| {
            let gained = u128::from(rate) * u128::from(last - first);
            u128::from(hits) * window <= u128::from(burst) * window + gained
        })?;
    }

    #[test]
    fn a_sliding_window_admits_the_limit_in_a_window_and_twice_in_any_span(
        rate in 0..20u32, window in 1..10u64, demand in demand(),
    ) {
        let mut log = Log::new(meter(Algorithm::SlidingWindow, rate, window));
        for (now, hits) in moments(&demand) {
            log.hit(now, hits);
        }
        let window = window * 1_000_000;
        log.check(|first, last, hits| {
            let in_one_window = first / window == last / window;
            let in_one_span = last - first < window;
            (!in_one_window || hits <= rate.into())
                && (!in_one_span || hits <= 2 * u64::from(rate))
        })?;
    }

    #[test]
    fn a_fixed_window_admits_the_limit_in_a_window(
        rate in 0..20u32, window in 1..10u64, demand in demand(),
    ) {
        let mut log = Log::new(meter(Algorithm::FixedWindow, rate, window));
        for (now, hits) in moments(&demand) {
            log.hit(now, hits);
        }
        let window = window * 1_000_000;
        log.check(|first, last, hits| first / window != last / window || hits <= rate.into())?;
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused(
        rate in 1..2000u32, window in 1..100u64, burst in 1..5u32, offset in 0..10_000_000u64,
    ) {
        for algorithm in [
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
            Algorithm::TokenBucket { burst },
        ] {
            let mut log = Log::new(meter(algorithm, rate, window));
            let pause = (window * 1_000_000).div_ceil(rate.into());
            for k in 0..3 * u64::from(rate) + 10 {
                let now = START + offset + k * pause;
                prop_assert!(log.hit(now, 1).admitted, "{algorithm:?}: hit {k}");
            }
        }
    }

    #[test]
    fn a_refused_caller_who_waits_as_told_is_admitted(
        rate in 1..20u32, burst in 1..30u32, window in 1..10u64, demand in demand(),
    ) {
        for algorithm in [
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
            Algorithm::TokenBucket { burst },
        ] {
            let mut log = Log::new(meter(algorithm, rate, window));
            for (now, hits) in moments(&demand) {
                let step = log.hit(now, hits);
                let told = log.meter.count(&step, Action::Spend(hits), Timestamp::from_micros(now));
                let (Some(wait), false) = (told.wait, step.admitted) else { continue };
                let after = |wait: u64| {
                    let then = Timestamp::from_micros(now + wait);
                    log.meter.step(log.state, Action::Spend(hits), then).admitted
                };
                let wait = wait.as_micros() as u64;
                prop_assert!(after(wait), "{algorithm:?}: not after {wait} us");
                prop_assert!(!after(wait - 1), "{algorithm:?}: {wait} us is too long");
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_gives_nothing_away(
        burst in 1..5u32, jumps in vec(0..40_000_000u64, 1..60),
    ) {
        for algorithm in [
            Algorithm::FixedWindow,
            Algorithm::SlidingWindow,
            Algorithm::TokenBucket { burst },
        ] {
            let mut log = Log::new(meter(algorithm, 5, 10));
            let mut latest = 0;
            for jump in &jumps {
                log.hit(START + jump, 1);
                latest = latest.max(*jump);
            }
            // As much as a clock that only went forward would have given at most.
            let windows = latest / 10_000_000 + 2;
            let most = match algorithm {
                Algorithm::TokenBucket { .. } => u64::from(burst) + latest / 2_000_000 + 1,
                _ => 5 * windows,
            };
            let sum: u64 = log.admitted.iter().map(|(_, hits)| hits).sum();
            prop_assert!(sum <= most, "{algorithm:?}: {sum} of {most}");
        }
    }
}

#[test]
fn a_bucket_does_not_drift() {
    // Three a second are a third of a second each, which is no whole microsecond.
    let mut log = Log::new(meter(Algorithm::TokenBucket { burst: 2 }, 3, 1));
    for k in 0..1_000_000u64 {
        let now = START + (k * 1_000_000).div_ceil(3);
        assert!(log.hit(now, 1).admitted, "hit {k}");
    }
    let mut log = Log::new(meter(Algorithm::TokenBucket { burst: 2 }, 3, 1));
    for millis in 0..=1_000_000 {
        log.hit(START + millis * 1000, 1);
    }
    assert_eq!(log.admitted.len(), 2 + 3 * 1000);
}

/// A state out of Redis holds whatever somebody wrote there.
#[test]
fn a_bucket_in_an_impossible_state_is_a_bucket() {
    let meter = meter(Algorithm::TokenBucket { burst: 10 }, 10, 60);
    let now = Timestamp::from_micros(START);
    for count in [9, 10, 11, u64::MAX] {
        for at in [START, START + 6_000_000, START + 59_999_999, u64::MAX] {
            let state = State { at, count, previous: 10 };
            for action in [Action::Spend(1), Action::Spend(0), Action::GiveBack(1)] {
                let step = meter.step(state, action, now);
                let counted = meter.count(&step, action, now);
                assert!(counted.after <= 10, "{state:?}: {counted:?}");
                let same = State { count: count.min(9), ..state };
                assert_eq!(meter.step(same, action, now).admitted, step.admitted, "{state:?}");
            }
        }
    }
}

#[test]
fn tokens_taken_stay_taken_when_the_rate_changes() {
    let bucket = |rate, burst| meter(Algorithm::TokenBucket { burst }, rate, 60);
    let now = Timestamp::from_micros(START);
    let spent = bucket(10, 10).step(State::default(), Action::Spend(10), now);
    assert!(spent.admitted);
    let used = |meter: Meter| {
        let look = meter.step(spent.state, Action::Spend(0), now);
        meter.count(&look, Action::Spend(0), now).after
    };
    assert_eq!(used(bucket(10, 10)), 10);
    // Raised: ten of twenty are left.
    assert_eq!(used(bucket(20, 20)), 10);
    assert!(bucket(20, 20).step(spent.state, Action::Spend(10), now).admitted);
    // Lowered: nothing is left.
    assert_eq!(used(bucket(5, 5)), 5);
    assert!(!bucket(5, 5).step(spent.state, Action::Spend(1), now).admitted);
}
