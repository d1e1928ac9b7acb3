//! Errors and panics, and some calls, sent to Sentry; nothing without a DSN.
//!
//! What the log has as an error is an event: somebody should act. Refused requests, health
//! checks and a store that cannot say for one request are none; an outage is one. Every event
//! goes through [`Scrub`], which lets through what it knows to be harmless and nothing else,
//! and through [`Storm`], which lets the same event through once a minute.
//!
//! Events wait in a queue that drops what it cannot hold, for a thread of its own: whoever
//! has an error to tell waits for nobody.

mod scrub;
mod storm;
mod traces;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentry::integrations::backtrace::{AttachStacktraceIntegration, ProcessStacktraceIntegration};
use sentry::integrations::contexts::ContextIntegration;
use sentry::integrations::tracing::ErrorLayer;
use sentry::transports::DefaultTransportFactory;
use sentry::{Client, ClientOptions, Hub};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use scrub::Scrub;
use storm::Storm;
use traces::Transactions;

use super::trace::TraceSink;

/// How long sending what is left may take at the end.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Where events go. It holds a key, so that its text is not shown.
#[derive(Clone, PartialEq)]
pub struct Dsn(sentry::types::Dsn);

/// What is sent to Sentry, and as what.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorsConfig {
    /// Where to.
    pub dsn: Dsn,
    /// The deployment.
    pub environment: String,
    /// The version.
    pub release: String,
    /// The share of events that is sent, 0 to 1.
    pub sample_rate: f32,
    /// The share of calls that is sent as transactions, 0 to 1.
    pub traces_sample_rate: f32,
    /// How many of them a second at most.
    pub max_traces: u32,
}

impl ErrorsConfig {
    /// Gets the traces of calls, if any shall be sent.
    pub fn trace_sink(&self) -> Option<Arc<dyn TraceSink>> {
        let is_asked_for = self.traces_sample_rate > 0.0 && self.max_traces > 0;
        is_asked_for
            .then(|| Arc::new(Transactions::new(self.traces_sample_rate, self.max_traces)) as _)
    }
}

/// Whoever sends them.
pub struct Errors {
    client: Option<Arc<Client>>,
}

impl Errors {
    /// Nobody.
    pub fn off() -> Self {
        Self { client: None }
    }

    /// Begins to send what this thread and those that it starts have to tell.
    pub fn open(config: &ErrorsConfig) -> Self {
        // The transport takes the provider of the process, which may have been chosen before.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (scrub, storm) = (Scrub::new(), Storm::default());
        let mut options = ClientOptions::new()
            .environment(config.environment.clone())
            .release(config.release.clone())
            .sample_rate(config.sample_rate)
            // Which calls are sent is decided when they begin, and not once more here.
            .traces_sample_rate(1.0)
            .attach_stacktrace(true)
            .send_default_pii(false)
            .max_breadcrumbs(0)
            .default_integrations(false)
            .in_app_include(["tidegate"])
            .shutdown_timeout(LAST_FLUSH)
            .transport(DefaultTransportFactory)
            .add_integration(AttachStacktraceIntegration)
            .add_integration(ContextIntegration::new())
            .add_integration(ProcessStacktraceIntegration)
            .before_send(move |event| storm.pass(scrub.clean(event), Instant::now()));
        options.dsn = Some(config.dsn.0.clone());
        let client = Arc::new(Client::from(options));
        Hub::current().bind_client(Some(Arc::clone(&client)));
        Self { client: Some(client) }
    }

    /// What hands the log's errors on.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + Send + Sync + use<S>>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        let is_on = self.client.as_ref().is_some_and(|client| client.is_enabled());
        is_on.then(|| ErrorLayer::new().with_filter(filter_fn(is_event)))
    }

    /// Sends what is left, as far as that goes quickly.
    pub fn finish(self) {
        if let Some(client) = self.client {
            client.flush(Some(LAST_FLUSH));
            // Its end would wait for a server that may never answer.
            std::mem::forget(client);
        }
    }
}

/// Whether a line of the log is an event. One with `problem` explains another one, and
/// panics are told with their stack by whoever caught them.
fn is_event(line: &Metadata<'_>) -> bool {
    let has = |field| line.fields().field(field).is_some();
    *line.level() == Level::ERROR
        && line.target().starts_with("tidegate")
        && !has("problem")
        && !has("panic")
}

impl FromStr for Dsn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        text.parse().map(Self).map_err(drop)
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errors")
    }
}
