//! How long gRPC calls took: a histogram for the page, samples for statsd.
//!
//! A sample goes through a queue that never blocks and holds a bounded number; what finds
//! no place is counted.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::mpsc;

use super::counter::Counter;
use super::histogram::Histogram;

/// The buckets of the histogram, where no mapping file says otherwise.
pub(super) const BUCKETS: [f64; 11] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

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
    pub(super) durations: &'m Histogram,
    pub(super) queues: &'m [std::sync::Arc<Queue>],
    pub(super) dropped: &'m Counter,
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        self.durations.time(elapsed);
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
