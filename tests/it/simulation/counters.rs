//! What one counter has admitted, and the most that it may.

use std::collections::BTreeMap;

use tidegate::clock::Timestamp;
use tidegate::limiter::{Count, Meter, Source};
use tidegate::rules::Algorithm;
use tokio::time::Instant;

use super::oracle::{Asked, Disturbance, lives};

/// A limit, as all replicas together have kept it.
#[derive(Default)]
pub(super) struct Counter {
    /// The largest rate that any rules have given it.
    pub(super) most: u64,
    /// What callers have tried to give back, by the start of the window.
    pub(super) given_back: BTreeMap<u64, u64>,
    windows: BTreeMap<u64, Window>,
    /// Sliding windows and buckets: every admission, by the clock that counts.
    admitted: Vec<(u64, u64)>,
    sum: u64,
    first: Option<Timestamp>,
}

struct Window {
    hits: u64,
    first: Instant,
}

impl Counter {
    /// Hits were admitted.
    ///
    /// A fixed window is that of the request. All other counters go by the server's clock:
    /// what the store has admitted is dated by it, and what a lease has by when it was asked.
    pub(super) fn admit(
        &mut self,
        meter: &Meter,
        (now, count, hits): (Timestamp, &Count, u64),
        asked: &Asked,
    ) {
        let at = match (meter.algorithm, count.source) {
            (Algorithm::FixedWindow, _) => now,
            (_, Source::Lease) => asked.began,
            _ => count.at,
        };
        let new = Window { hits: 0, first: asked.tick };
        let window = self.windows.entry(meter.window.start(at)).or_insert(new);
        window.hits += hits;
        window.first = window.first.min(asked.tick);
        if meter.algorithm != Algorithm::FixedWindow {
            self.admitted.push((at.as_micros(), hits));
        }
        self.sum += hits;
        self.first = Some(self.first.map_or(asked.smooth, |first| first.min(asked.smooth)));
    }

    /// What is wrong with it, if anything.
    pub(super) fn check(
        &mut self,
        meter: &Meter,
        disturbances: &[Disturbance],
        smooth: Timestamp,
    ) -> Option<String> {
        match meter.algorithm {
            Algorithm::TokenBucket { .. } if disturbances.is_empty() => self.check_bucket(meter),
            Algorithm::TokenBucket { .. } => self.check_lives(meter, disturbances, smooth),
            Algorithm::SlidingWindow if disturbances.is_empty() && self.given_back.is_empty() => {
                self.check_windows(meter, disturbances).or_else(|| self.check_weights(meter))
            }
            _ => self.check_windows(meter, disturbances),
        }
    }

    /// In each of its lives, an aligned window admits no more than the largest limit that
    /// anybody had, and what callers have given back in it.
    fn check_windows(&self, meter: &Meter, disturbances: &[Disturbance]) -> Option<String> {
        self.windows.iter().find_map(|(start, window)| {
            let lives = lives(meter, disturbances, window.first);
            let back = self.given_back.get(start).copied().unwrap_or_default();
            let most = self.most * lives + back;
            let hits = window.hits;
            (hits > most).then(|| format!("over: {hits} of {most} in window {start}, {meter:?}"))
        })
    }

    /// At each hit, a sliding window with the weighted one before it holds no more than the
    /// largest limit.
    fn check_weights(&mut self, meter: &Meter) -> Option<String> {
        let window = meter.window.as_micros();
        self.admitted.sort_unstable();
        let (mut index, mut this, mut before) = (0, 0, 0);
        self.admitted.iter().find_map(|&(at, hits)| {
            if at / window != index {
                before = if at / window == index + 1 { this } else { 0 };
                (index, this) = (at / window, 0);
            }
            this += hits;
            let weighted = before * (window - at % window - 1) / window;
            let most = self.most;
            (this + weighted > most)
                .then(|| format!("over: {this} + {weighted} of {most}, {meter:?}"))
        })
    }

    /// An ideal bucket of the largest rate is never overdrawn: so no span `t` admits more
    /// than `burst + rate * t`.
    fn check_bucket(&mut self, meter: &Meter) -> Option<String> {
        self.admitted.sort_unstable();
        let mut ideal = Bucket::new(u64::from(meter.size()));
        let window = meter.window.as_micros();
        let overdrawn =
            self.admitted.iter().find(|(at, hits)| !ideal.take((*at, *hits), (self.most, window)));
        overdrawn.map(|(at, hits)| format!("over: {hits} hits at {at} overdraw, {meter:?}"))
    }

    /// A bucket that was disturbed gives its burst once more for each time, and its rate.
    fn check_lives(
        &self,
        meter: &Meter,
        disturbances: &[Disturbance],
        smooth: Timestamp,
    ) -> Option<String> {
        let lives = 1 + disturbances.len() as u64;
        let passed = smooth.since(self.first?).as_micros() as u64;
        let gained = self.most * passed / meter.window.as_micros() + 1;
        let most = lives * u64::from(meter.size()) + gained;
        let sum = self.sum;
        (sum > most).then(|| format!("over: {sum} of {most}, {meter:?}"))
    }
}

/// An ideal bucket, in hits times microseconds.
#[derive(Default)]
struct Bucket {
    size: u128,
    level: Option<u128>,
    then: u64,
}

impl Bucket {
    fn new(size: u64) -> Self {
        Self { size: size.into(), ..Self::default() }
    }

    /// Takes hits at a moment, if they are there. A clock that goes back brings nothing.
    fn take(&mut self, (at, hits): (u64, u64), (rate, window): (u64, u64)) -> bool {
        let full = self.size * u128::from(window);
        let passed = u128::from(at.saturating_sub(self.then));
        let level = self.level.map_or(full, |level| full.min(level + u128::from(rate) * passed));
        let left = level.checked_sub(u128::from(hits) * u128::from(window));
        self.then = self.then.max(at);
        self.level = Some(left.unwrap_or(0));
        left.is_some()
    }
}

/// What one process has counted for itself of a limit.
#[derive(Default)]
pub(super) struct Share {
    windows: BTreeMap<u64, u64>,
    bucket: Bucket,
    /// The latest moment, and the time that has passed by whichever clock went further.
    last: Option<(Instant, u64)>,
    passed: u64,
}

impl Share {
    /// Hits were admitted: of `n` replicas, each admits no more than an `n`th of the limit,
    /// rounded down, in one window, or from a bucket of an `n`th of its burst and rate.
    pub(super) fn admit(
        &mut self,
        meter: &Meter,
        (count, hits): (&Count, u64),
        (replicas, most): (u64, u64),
    ) -> Option<String> {
        let rate = most / replicas;
        if let Algorithm::TokenBucket { burst } = meter.algorithm {
            self.bucket.size = u128::from(u64::from(burst) / replicas);
            let terms = (rate, meter.window.as_micros());
            let at = self.pass(count.at);
            let is_there = self.bucket.take((at, hits), terms);
            return (!is_there).then(|| format!("over its share: {hits} hits overdraw, {meter:?}"));
        }
        let sum = self.windows.entry(meter.window.start(count.at)).or_default();
        *sum += hits;
        (*sum > rate).then(|| format!("over its share: {sum} of {rate}, {meter:?}"))
    }

    /// Lets time pass until now. Where a clock was set back and the rate was raised, a bucket
    /// gains in the time that comes twice what it did not gain the first time.
    fn pass(&mut self, at: Timestamp) -> u64 {
        let (now, at) = (Instant::now(), at.as_micros());
        let (then, latest) = self.last.unwrap_or((now, at));
        let ticks = now.duration_since(then).as_micros() as u64;
        self.passed += ticks.max(at.saturating_sub(latest));
        self.last = Some((now, at.max(latest)));
        self.passed
    }
}
