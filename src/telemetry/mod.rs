//! What the process tells about itself: metrics and logs.
//!
//! Metrics are a function of the decision: the core counts nothing, [`Metrics::record`]
//! reads it off the answer. Every series is declared once, in [`Metrics::render`] or in
//! the collector that the composition root adds.

pub mod logs;
mod metric_path;
mod metrics;
mod prometheus;

pub use metrics::{Handles, Metrics, Timer};
pub use prometheus::{Kind, Page};
