//! What the process tells about itself: metrics, logs, traces, errors, what is refused most.
//!
//! Metrics are a function of the decision: the core counts nothing, [`Metrics::record`]
//! reads it off the answer. What envoyproxy/ratelimit has too is declared once in
//! [`families`], and its names for statsd and Prometheus follow; what is Tidegate's own
//! (`tidegate_*`) is on the page only and declared in [`own`].
//!
//! Values are read when somebody asks: the page ([`Page`]) or a statsd server ([`Sink`]).
//! Traces are written down beside a call and handed out when it has ended ([`Tracer`]).
//! Sending is the only I/O here, beside the log: to statsd, and to collectors ([`otel`]).

mod call;
mod capped;
mod cause;
mod counter;
mod decisions;
mod errors;
mod facts;
pub mod families;
#[doc(hidden)]
pub mod fuzz;
mod hashing;
mod histogram;
pub mod logs;
mod mapping;
mod meters;
mod metric;
mod metric_path;
mod metrics;
mod mogrify;
mod naming;
mod observer;
pub mod otel;
pub mod own;
pub mod panics;
mod paths;
mod prometheus;
mod refused;
mod render;
mod rulings;
mod sink;
mod statsd;
mod tags;
mod template;
mod timing;
mod trace;

pub use call::{Call, REQUEST_ID};
pub(crate) use cause::explain;
pub use decisions::{Choice, ChoiceError, DecisionLog, DecisionOptions, FieldError, Fields};
pub use errors::{Dsn, Errors, ErrorsConfig};
pub use facts::{CacheStats, LeaseStats, LoadStats, MemcacheStats, PoolStats};
pub use hashing::{Shown, Values};
pub use histogram::{Histogram, Native, Observed, SCHEMA, Scale};
pub use mapping::{Mapping, MappingError};
pub use meters::{Meters, Outcome};
pub use metric::{Metric, Reading, Snapshot};
pub use metrics::{Caps, Handles, Loads, Metrics};
pub use mogrify::Mogrifier;
pub use naming::{Millisecond, Naming};
pub use observer::{Decided, Failed, Observer};
pub use prometheus::{Family, Kind, Labels, Page, Series, Value};
pub use refused::{HALVED_EVERY, Refused, TopRefused};
pub use sink::{Collect, Sink, SinkConfig, Target, sinks};
pub use statsd::Dialect;
pub use tags::Tags;
pub use timing::{Method, Timer};
pub use trace::{
    Caller, Ending, Format, Formats, Protocol, RoundTrip, RoundTrips, Stage, Status, Trace,
    TraceSink, Tracer,
};
