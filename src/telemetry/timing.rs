//! How long gRPC calls took: a histogram for the page, samples for statsd.
//!
//! A sample goes through a queue that never blocks and holds a bounded number; what finds
//! no place is counted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::counter::Counter;

/// The buckets of the histogram, where no mapping file says otherwise.
pub(super) const BUCKETS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// What a millisecond is on the page: 1/1000 of a second.
pub(super) const SECONDS: f64 = 0.001;

/// Samples that wait for their sink.
const QUEUE: usize = 16 * 1024;

/// A gRPC method that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `ShouldRateLimit` of the rate limit service.
    ShouldRateLimit,
    /// `Check` of the health service.
    Check,
}

impl Method {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::ShouldRateLimit, Self::Check];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ShouldRateLimit => "ShouldRateLimit",
            Self::Check => "Check",
        }
    }
}

/// The bounds of buckets, and what a millisecond counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) bounds: Vec<f64>,
    pub(super) millisecond: f64,
}

/// Observed durations of one method.
#[derive(Debug)]
pub(super) struct Durations {
    pub(super) requests: Counter,
    scale: Scale,
    buckets: Vec<Counter>,
    sum_micros: Counter,
}

impl Durations {
    pub(super) fn new(scale: Scale) -> Self {
        let buckets = scale.bounds.iter().map(|_| Counter::default()).collect();
        Self { requests: Counter::default(), scale, buckets, sum_micros: Counter::default() }
    }

    fn observe(&self, elapsed: Duration) {
        self.requests.add(1);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.add(micros);
        let value = self.scaled(micros);
        if let Some(bucket) = self.scale.bounds.iter().position(|le| value <= *le) {
            self.buckets[bucket].add(1);
        }
    }

    /// The upper bounds with how much is at or below each, and the sum of everything.
    pub(super) fn histogram(&self) -> (Vec<(f64, u64)>, f64) {
        let counts = self.buckets.iter().scan(0_u64, |below, bucket| {
            *below = below.saturating_add(bucket.get());
            Some(*below)
        });
        let buckets = self.scale.bounds.iter().copied().zip(counts).collect();
        (buckets, self.scaled(self.sum_micros.get()))
    }

    fn scaled(&self, micros: u64) -> f64 {
        micros as f64 / 1000.0 * self.scale.millisecond
    }
}

/// One observed duration, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) method: Method,
    pub(super) millis: u64,
}

/// Where samples wait for one sink.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Sample>,
    /// Closed while it is known that nobody listens.
    pub(super) open: AtomicBool,
}

impl Queue {
    pub(super) fn new() -> (Self, mpsc::Receiver<Sample>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender, open: AtomicBool::new(true) }, receiver)
    }

    /// Whether it took the sample.
    fn push(&self, sample: Sample) -> bool {
        self.open.load(Relaxed) && self.sender.try_send(sample).is_ok()
    }
}

/// A method call under way; observed when it is dropped.
#[derive(Debug)]
pub struct Timer<'m> {
    pub(super) method: Method,
    pub(super) started: Instant,
    pub(super) durations: &'m Durations,
    pub(super) queues: &'m [std::sync::Arc<Queue>],
    pub(super) dropped: &'m Counter,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.durations.observe(elapsed);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let sample = Sample { method: self.method, millis };
        let lost = self.queues.iter().filter(|queue| !queue.push(sample)).count();
        self.dropped.add(lost as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_buckets_of_their_scale() {
        let check = |millisecond, expected: &[(f64, u64)], sum: f64| {
            let durations = Durations::new(Scale { bounds: vec![0.5, 1.0, 2.5], millisecond });
            for micros in [400, 500, 1000, 2501, 700_000] {
                durations.observe(Duration::from_micros(micros));
            }
            let (buckets, total) = durations.histogram();
            assert_eq!(buckets, expected);
            assert!((total - sum).abs() < 1e-9, "{total}");
            assert_eq!(durations.requests.get(), 5);
        };
        check(SECONDS, &[(0.5, 4), (1.0, 5), (2.5, 5)], 0.704_401);
        check(1.0, &[(0.5, 2), (1.0, 3), (2.5, 3)], 704.401);
    }

    #[test]
    fn a_full_or_closed_queue_takes_nothing() {
        let (queue, mut receiver) = Queue::new();
        let sample = Sample { method: Method::Check, millis: 3 };
        for _ in 0..QUEUE {
            assert!(queue.push(sample));
        }
        assert!(!queue.push(sample));
        assert_eq!(receiver.try_recv(), Ok(sample));
        queue.open.store(false, Relaxed);
        assert!(!queue.push(sample));
    }
}
