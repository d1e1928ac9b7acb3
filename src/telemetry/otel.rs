//! OpenTelemetry: traces, metrics and logs to a collector, over OTLP.
//!
//! One thread with a runtime of its own sends everything. What leaves a decision is put into
//! a bounded queue, which never waits; what finds no place there, or cannot be sent, is
//! counted and gone. So a collector that is slow, silent or absent is nothing that a decision
//! notices.
//!
//! The environment is not read here, and connections are opened by whoever makes the
//! configuration.

mod attributes;
mod client;
mod grpc;
mod http;
mod log_layer;
mod page;
mod pump;
mod queue;
mod sampler;
mod signal;
mod spans;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ::http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use attributes::Limits;
pub use log_layer::LogLayer;
pub use sampler::{Root, Sampler};

use super::TraceSink;
use attributes::Resource;
use client::Client;
use queue::Queue;
use signal::{Logs, Metrics, Traces};
use spans::{Recorded, SpanSink};

/// Bytes in both directions.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection, soon.
pub type Dialled = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens connections to a collector, with TLS where there shall be.
pub type Dial = Arc<dyn Fn() -> Dialled + Send + Sync>;

/// The page of metrics as text.
pub type PageSource = Arc<dyn Fn() -> String + Send + Sync>;

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// gRPC.
    Grpc,
    /// Protobuf in HTTP/1.1.
    Http,
}

/// How messages are made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// They are not.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// Where one signal goes.
#[derive(Clone)]
pub struct Collector {
    /// How it is spoken to.
    pub wire: Wire,
    /// Where it is; over HTTP with the path of the signal.
    pub endpoint: Uri,
    /// What is sent with each message; those with secrets are marked as sensitive.
    pub headers: HeaderMap,
    /// How long a message may take, all attempts together.
    pub timeout: Duration,
    /// How it is made smaller.
    pub compression: Compression,
    /// Opens connections to it.
    pub dial: Dial,
}

/// How much is kept, and when it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How many items wait at most; what comes then is dropped.
    pub max_queue: usize,
    /// How many go in one message; so many waiting are sent at once.
    pub max_batch: usize,
    /// How long an item waits for others at most.
    pub delay: Duration,
}

/// What is sent, and where to. Nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Who sends it.
    pub resource: Vec<(String, String)>,
    /// Traces: where to, in what portions, which of them.
    pub traces: Option<(Collector, Batching, Sampler)>,
    /// Metrics: where to, and how often.
    pub metrics: Option<(Collector, Duration)>,
    /// Lines of the log: where to, and in what portions.
    pub logs: Option<(Collector, Batching)>,
    /// How much attributes may hold: of spans, of lines.
    pub limits: (Limits, Limits),
}

/// A call has that many spans, about; portions are counted in spans.
const SPANS_PER_CALL: usize = 5;

/// Sends, until it is told to finish.
pub struct Exporter {
    traces: Option<(Arc<Queue<Recorded>>, Sampler)>,
    logs: Option<(Arc<Queue<LogRecord>>, Limits)>,
    metrics: Option<Arc<Pages>>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
    /// What is not finished ends as well.
    _stop_at_last: DropGuard,
}

/// Where metrics are read, once that is known, and what became of them.
#[derive(Default)]
struct Pages {
    source: OnceLock<PageSource>,
    known: Notify,
    dropped: super::counter::Counter,
}

impl Exporter {
    /// Starts the thread that sends; nothing, if nothing is to be sent.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no runtime.
    pub fn start(config: Config) -> io::Result<Option<Self>> {
        let Config { resource, traces, metrics, logs, limits } = config;
        if traces.is_none() && metrics.is_none() && logs.is_none() {
            return Ok(None);
        }
        let resource = Arc::new(Resource::new(&resource));
        let stop = CancellationToken::new();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (tell_end, ended) = oneshot::channel();
        let mut exporter = Self {
            traces: None,
            logs: None,
            metrics: None,
            _stop_at_last: stop.clone().drop_guard(),
            stop,
            ended,
        };
        let mut pumps: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        if let Some((collector, batching, sampler)) = traces {
            let queue = Arc::new(Queue::new(calls(batching)));
            let make = move |batch: Vec<Recorded>| spans::message(&batch, limits.0);
            let client = Client::<Traces>::new(collector, Arc::clone(&resource), &exporter.stop);
            pumps.push(Box::pin(pump::run(Arc::clone(&queue), client, make)));
            exporter.traces = Some((queue, sampler));
        }
        if let Some((collector, batching)) = logs {
            let queue = Arc::new(Queue::new(batching));
            let client = Client::<Logs>::new(collector, Arc::clone(&resource), &exporter.stop);
            pumps.push(Box::pin(pump::run(Arc::clone(&queue), client, |batch| batch)));
            exporter.logs = Some((queue, limits.1));
        }
        if let Some((collector, interval)) = metrics {
            let pages = Arc::new(Pages::default());
            let client = Client::<Metrics>::new(collector, resource, &exporter.stop);
            pumps.push(Box::pin(pump::report(Arc::clone(&pages), client, interval)));
            exporter.metrics = Some(pages);
        }
        thread::Builder::new().name("otel-export".to_owned()).spawn(move || {
            runtime.block_on(futures_util::future::join_all(pumps));
            // A page that is being made is not waited for.
            runtime.shutdown_background();
            let _ = tell_end.send(());
        })?;
        Ok(Some(exporter))
    }

    /// Takes traces, if they are sent.
    pub fn trace_sink(&self) -> Option<Arc<dyn TraceSink>> {
        let (queue, sampler) = self.traces.as_ref()?;
        Some(Arc::new(SpanSink { queue: Arc::clone(queue), sampler: *sampler }))
    }

    /// Takes lines of the log, if they are sent. It takes whatever it is given but the lines
    /// of the crates that sending itself needs: what is important enough, whoever adds it to
    /// a subscriber says.
    pub fn log_layer(&self) -> Option<LogLayer> {
        let (queue, limits) = self.logs.as_ref()?;
        Some(LogLayer::new(Arc::clone(queue), *limits))
    }

    /// Sends what this page says from now on, if metrics are sent. Only the first call counts.
    pub fn read_metrics(&self, source: PageSource) {
        if let Some(pages) = &self.metrics {
            let _ = pages.source.set(source);
            pages.known.notify_one();
        }
    }

    /// Counts what is dropped, for as long as it is asked.
    pub fn losses(&self) -> Losses {
        Losses {
            traces: self.traces.as_ref().map(|(queue, _)| Arc::clone(queue)),
            logs: self.logs.as_ref().map(|(queue, _)| Arc::clone(queue)),
            metrics: self.metrics.clone(),
        }
    }

    /// Sends what is left, as far as that goes in this time.
    pub async fn finish(self, patience: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(patience, self.ended).await.is_err() {
            tracing::warn!(?patience, "telemetry that was not sent in time is dropped");
        }
    }
}

/// What found no place in a queue, or could not be sent.
#[derive(Clone)]
pub struct Losses {
    traces: Option<Arc<Queue<Recorded>>>,
    logs: Option<Arc<Queue<LogRecord>>>,
    metrics: Option<Arc<Pages>>,
}

impl Losses {
    /// How much of each signal that is sent: spans of calls and of round trips, lines,
    /// reports of all metrics.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let traces = self.traces.as_ref().map(|queue| ("traces", queue.dropped.get()));
        let metrics = self.metrics.as_ref().map(|pages| ("metrics", pages.dropped.get()));
        let logs = self.logs.as_ref().map(|queue| ("logs", queue.dropped.get()));
        [traces, metrics, logs].into_iter().flatten()
    }
}

/// Portions of spans as portions of calls.
fn calls(batching: Batching) -> Batching {
    let calls = |spans: usize| (spans / SPANS_PER_CALL).max(1);
    let Batching { max_queue, max_batch, delay } = batching;
    Batching { max_queue: calls(max_queue), max_batch: calls(max_batch), delay }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl fmt::Debug for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.read()).finish()
    }
}

/// The endpoint may hold a password, headers mostly do.
impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.endpoint.host();
        f.debug_struct("Collector").field("host", &host).finish_non_exhaustive()
    }
}
