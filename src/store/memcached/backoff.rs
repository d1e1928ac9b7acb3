//! Waits between attempts: doubling, each shortened at random by up to a half so that
//! replicas do not come back in step.

use std::time::Duration;

const MIN: Duration = Duration::from_millis(50);
/// The longest wait.
pub(super) const MAX: Duration = Duration::from_secs(1);

/// How long the next wait is.
pub(super) struct Backoff(Duration);

impl Backoff {
    /// Waits that begin with the shortest.
    pub(super) fn new() -> Self {
        Self(MIN)
    }

    /// Begins with the shortest again.
    pub(super) fn reset(&mut self) {
        self.0 = MIN;
    }

    /// Waits, longer each time.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.0.mul_f64(1.0 - fastrand::f64() / 2.0)).await;
        self.0 = (self.0 * 2).min(MAX);
    }
}
