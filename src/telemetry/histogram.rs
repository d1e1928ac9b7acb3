//! Observations in buckets, in two forms at once: classic buckets with chosen bounds, and the
//! native buckets of Prometheus, eight for each doubling.
//!
//! There is one cell between any two neighbouring bounds of either form, so an observation
//! costs one search in a small table and two additions, allocates nothing, and both forms are
//! exact. Observations are whole amounts (nanoseconds, requests); what they are on the page
//! is a matter of the [`Scale`].
//!
//! Reading does not stop whoever counts. What is read adds up: the sum of all cells is the
//! count, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::counter::Counter;

/// The schema of native buckets: 2^3 for each doubling, so a bucket is 9 % wide.
pub const SCHEMA: i32 = 3;
/// Native buckets of a doubling.
const STEPS: i32 = 1 << SCHEMA;

/// A nanosecond in seconds.
const NANOSECOND: f64 = 1e-9;
/// What durations are told apart by native buckets: from a microsecond to a minute.
const DURATIONS: [f64; 2] = [1e3 * NANOSECOND, 60.0];

/// The largest power of two that a bound may have, up or down.
const OCTAVES_MAX: f64 = 64.0;

/// The classic bounds of durations in seconds: fine where decisions are.
const FINE: [f64; 18] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01,
    0.015, 0.025, 0.05, 0.1, 0.25, 1.0,
];
/// The classic bounds of how many are together.
const POWERS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Where the bounds of buckets are.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// The upper bounds of the classic buckets, as on the page.
    bounds: Vec<f64>,
    /// What an amount of one is on the page.
    unit: f64,
    /// The powers of two between which native buckets tell apart.
    octaves: [i32; 2],
    /// The largest amount of each cell but the last, which has none.
    edges: Vec<u64>,
}

impl Scale {
    /// Durations, counted in nanoseconds, with a nanosecond being that on the page, and these
    /// bounds.
    pub(super) fn of_durations(bounds: &[f64], nanosecond: f64) -> Self {
        let [least, most] = DURATIONS.map(|seconds| seconds / NANOSECOND * nanosecond);
        // A mapping file may give any number.
        let power = |power: f64| power.clamp(-OCTAVES_MAX, OCTAVES_MAX) as i32;
        let octaves = [power(least.log2().floor()), power(most.log2().ceil())];
        Self::new(bounds, nanosecond, octaves)
    }

    /// Durations in seconds, with bounds as fine as decisions are quick.
    pub fn seconds() -> Self {
        Self::of_durations(&FINE, NANOSECOND)
    }

    /// How many of something, up to some thousands.
    pub fn sizes() -> Self {
        Self::new(&POWERS, 1.0, [-1, 14])
    }

    fn new(bounds: &[f64], unit: f64, octaves: [i32; 2]) -> Self {
        let mut scale = Self { bounds: bounds.to_vec(), unit, octaves, edges: Vec::new() };
        let native = scale.indices().map(upper_bound);
        let mut edges: Vec<u64> =
            native.chain(bounds.iter().copied()).map(|bound| scale.amount(bound)).collect();
        edges.sort_unstable();
        edges.dedup();
        scale.edges = edges;
        scale
    }

    /// The indices of native buckets, that of everything smaller first.
    fn indices(&self) -> std::ops::RangeInclusive<i32> {
        let [least, most] = self.octaves;
        least * STEPS..=most * STEPS
    }

    /// The largest amount that is not above `bound`, rounding errors aside.
    fn amount(&self, bound: f64) -> u64 {
        let exact = bound / self.unit;
        (exact * (1.0 + 1e-12) + 1e-9).floor() as u64
    }
}

/// The upper bound of a native bucket.
fn upper_bound(index: i32) -> f64 {
    (f64::from(index) / f64::from(STEPS)).exp2()
}

/// Counts observations.
#[derive(Debug)]
pub struct Histogram {
    scale: Arc<Scale>,
    cells: Box<[AtomicU64]>,
    sum: Counter,
}

impl Histogram {
    /// Nothing observed yet.
    pub fn new(scale: Scale) -> Self {
        let cells = (0..=scale.edges.len()).map(|_| AtomicU64::default()).collect();
        Self { scale: Arc::new(scale), cells, sum: Counter::default() }
    }

    /// Counts an amount.
    pub fn observe(&self, amount: u64) {
        let cell = self.scale.edges.partition_point(|edge| *edge < amount);
        self.cells[cell].fetch_add(1, Relaxed);
        self.sum.add(amount);
    }

    /// Counts a duration, on a scale of durations.
    pub fn time(&self, elapsed: Duration) {
        self.observe(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many observations there were.
    pub(super) fn count(&self) -> u64 {
        self.cells.iter().map(|cell| cell.load(Relaxed)).sum()
    }

    /// What was observed so far.
    pub fn read(&self) -> Observed {
        let cells = self.cells.iter().map(|cell| cell.load(Relaxed)).collect();
        Observed { scale: Arc::clone(&self.scale), cells, sum: self.sum.get() }
    }
}

/// What was observed, as of some moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    scale: Arc<Scale>,
    cells: Vec<u64>,
    sum: u64,
}

/// Native buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Native {
    /// What is not above this is in none of the buckets.
    pub zero_threshold: f64,
    /// How much that was.
    pub zero_count: u64,
    /// Index and count of the buckets that are not empty, by index. Bucket i of [`SCHEMA`] 3
    /// ends with 2^(i/8). What is beyond all bounds is in the last one.
    pub buckets: Vec<(i32, u64)>,
}

impl Observed {
    /// Adds what was observed elsewhere on the same scale.
    pub fn add(&mut self, other: &Self) {
        for (cell, more) in self.cells.iter_mut().zip(&other.cells) {
            *cell = cell.saturating_add(*more);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// The sum of several, if there are any.
    pub fn total(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut sum, other| {
            sum.add(&other);
            sum
        })
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// The sum of all of them, as on the page.
    pub fn sum(&self) -> f64 {
        self.sum as f64 * self.scale.unit
    }

    /// The classic bounds, each with how many observations were not above it.
    pub fn classic(&self) -> impl Iterator<Item = (f64, u64)> {
        self.scale.bounds.iter().map(|bound| (*bound, self.up_to(self.scale.amount(*bound))))
    }

    /// The native buckets.
    pub fn native(&self) -> Native {
        let scale = &self.scale;
        let [least, most] = scale.octaves;
        let below = |index: i32| self.up_to(scale.amount(upper_bound(index)));
        let zero_count = below(least * STEPS);
        let mut seen = zero_count;
        let mut buckets = Vec::new();
        let beyond = (most * STEPS + 1, self.count());
        let inside = scale.indices().skip(1).map(|index| (index, below(index)));
        for (index, below) in inside.chain([beyond]) {
            if below > seen {
                buckets.push((index, below - seen));
            }
            seen = below;
        }
        Native { zero_threshold: f64::from(least).exp2(), zero_count, buckets }
    }

    /// How many observations were not above an edge.
    fn up_to(&self, edge: u64) -> u64 {
        let cells = self.scale.edges.partition_point(|other| *other <= edge);
        self.cells[..cells].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_is_in_the_first_bucket_that_is_not_below_it() {
        let check = |nanosecond, expected: &[(f64, u64)], sum: f64| {
            let histogram = Histogram::new(Scale::of_durations(&[0.5, 1.0, 2.5], nanosecond));
            for micros in [400, 500, 1000, 2501, 700_000] {
                histogram.time(Duration::from_micros(micros));
            }
            let observed = histogram.read();
            assert_eq!(observed.classic().collect::<Vec<_>>(), expected);
            assert!((observed.sum() - sum).abs() < 1e-9, "{}", observed.sum());
            assert_eq!((observed.count(), histogram.count()), (5, 5));
        };
        check(1e-9, &[(0.5, 4), (1.0, 5), (2.5, 5)], 0.704_401);
        check(1e-6, &[(0.5, 2), (1.0, 3), (2.5, 3)], 704.401);
    }

    #[test]
    fn classic_bounds_are_exact() {
        for bound in FINE {
            let histogram = Histogram::new(Scale::seconds());
            let nanos = (bound * 1e9).round() as u64;
            [nanos - 1, nanos, nanos + 1].iter().for_each(|amount| histogram.observe(*amount));
            let below = histogram.read().classic().find(|(other, _)| *other == bound);
            assert_eq!(below, Some((bound, 2)));
        }
    }

    /// The bucket that a value belongs to by the definition: the least i whose 2^(i/8) is not
    /// below it.
    fn index(value: f64) -> i32 {
        (value.log2() * 8.0).ceil() as i32
    }

    #[test]
    fn native_buckets_are_where_prometheus_has_them() {
        for nanos in [1_500, 12_345, 50_000, 99_999, 1_234_567, 10_000_000_000, 59_000_000_000] {
            let histogram = Histogram::new(Scale::seconds());
            histogram.observe(nanos);
            let native = histogram.read().native();
            assert_eq!(native.buckets, [(index(nanos as f64 * 1e-9), 1)], "{nanos}");
            assert_eq!(native.zero_count, 0);
        }
        for size in 1..5000 {
            let histogram = Histogram::new(Scale::sizes());
            histogram.observe(size);
            let native = histogram.read().native();
            assert_eq!(native.buckets, [(index(size as f64), 1)], "{size}");
        }
    }

    #[test]
    fn what_is_beyond_the_bounds_is_counted_and_several_add_up() {
        let (one, other) = (Histogram::new(Scale::seconds()), Histogram::new(Scale::seconds()));
        one.observe(0);
        one.observe(900);
        other.observe(50_000);
        other.observe(u64::MAX);
        let mut total = one.read();
        total.add(&other.read());
        assert_eq!(Observed::total([one.read(), other.read()]).as_ref(), Some(&total));
        let native = total.native();
        assert_eq!(native.zero_threshold, 2_f64.powi(-20));
        assert_eq!(native.zero_count, 2);
        assert_eq!(native.buckets, [(index(50e-6), 1), (6 * 8 + 1, 1)]);
        assert_eq!(total.count(), 4);
        assert_eq!(total.classic().last(), Some((1.0, 3)));
        assert_eq!(Observed::total([]), None);
    }
}
