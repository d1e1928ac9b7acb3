//! What goes to OpenTelemetry collectors: settings become an exporter, and the exporter gets
//! what there is to send.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, io, process};

use anyhow::Context as _;
use http::{HeaderMap, HeaderValue};
use tokio::net::TcpStream;

use super::Counters;
use crate::server::HttpState;
use crate::settings::{self, Settings};
use crate::telemetry::otel::{Collector, Config, Dial, Exporter, Io, Wire};
use crate::telemetry::{Page, TraceSink, own};
use crate::tls::ClientTls;

/// How long sending what is left may take at the end.
pub(super) const LAST_FLUSH: Duration = Duration::from_secs(2);

/// Starts what sends telemetry to collectors; nothing, if none is to be sent. Its layer
/// belongs into the log before that begins.
///
/// # Errors
///
/// The system gives no thread, or a header cannot be sent.
pub fn exporter(settings: &Settings) -> anyhow::Result<Option<Exporter>> {
    let settings::Otel { traces, metrics, logs, limits, .. } = settings.otel.clone();
    let traces = traces.map(|(to, batching, sampler)| Ok((collector(to)?, batching, sampler)));
    let metrics = metrics.map(|(to, interval)| Ok((collector(to)?, interval)));
    let logs = logs.map(|(to, batching)| Ok((collector(to)?, batching)));
    let (traces, metrics, logs): (anyhow::Result<_>, anyhow::Result<_>, anyhow::Result<_>) =
        (traces.transpose(), metrics.transpose(), logs.transpose());
    let resource = resource(settings);
    let config = Config { resource, traces: traces?, metrics: metrics?, logs: logs?, limits };
    Exporter::start(config).context("cannot start what sends telemetry")
}

/// Who wants traces, if they are sent; what goes to collectors is told.
pub(super) fn sinks(
    exporter: Option<&Exporter>,
    settings: &settings::Otel,
) -> Vec<Arc<dyn TraceSink>> {
    for (signal, to) in [
        ("traces", settings.traces.as_ref().map(|(to, ..)| to)),
        ("metrics", settings.metrics.as_ref().map(|(to, _)| to)),
        ("logs", settings.logs.as_ref().map(|(to, _)| to)),
    ] {
        if let Some(to) = to {
            tracing::info!(signal, collector = %to.endpoint, "telemetry goes to a collector");
        }
    }
    exporter.and_then(Exporter::trace_sink).into_iter().collect()
}

/// Sends the metrics of `state` from now on, and adds to them what is dropped.
pub(super) fn metered(state: HttpState<Counters>, exporter: &Exporter) -> HttpState<Counters> {
    let (losses, others) = (exporter.losses(), Arc::clone(&state.collect));
    let collect = move |page: &mut Page| {
        others(page);
        for (signal, dropped) in losses.read() {
            page.sample(&own::TELEMETRY_DROPPED, &[signal], dropped as f64);
        }
    };
    let state = HttpState { collect: Arc::new(collect), ..state };
    let source = state.clone();
    exporter.read_metrics(Arc::new(move || source.page().render()));
    state
}

/// Who sends: what the settings say, and what this process knows of itself.
fn resource(settings: &Settings) -> Vec<(String, String)> {
    let mut pairs = settings.otel.resource.clone();
    let mut add = |key: &str, value: String| {
        if !value.is_empty() && pairs.iter().all(|(other, _)| other != key) {
            pairs.push((key.to_owned(), value));
        }
    };
    add("service.name", env!("CARGO_PKG_NAME").to_owned());
    add("service.version", env!("CARGO_PKG_VERSION").to_owned());
    add("service.instance.id", uuid());
    add("deployment.environment.name", settings.environment.clone());
    add(
        "host.name",
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
    );
    add("process.pid", process::id().to_string());
    pairs
}

/// A random UUID, version 4.
fn uuid() -> String {
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{random:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn collector(settings: settings::Collector) -> anyhow::Result<Collector> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let mut value = HeaderValue::from_str(value.expose())
            .ok()
            .with_context(|| format!("the value of the header {name} cannot be sent"))?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    let dial = dial(&settings);
    let settings::Collector { wire, endpoint, timeout, compression, .. } = settings;
    Ok(Collector { wire, endpoint, headers, timeout, compression, dial })
}

/// Opens connections to it. The files are read for each, so that a rotated certificate is
/// used.
fn dial(settings: &settings::Collector) -> Dial {
    let settings::Collector { endpoint, tls, wire, .. } = settings.clone();
    let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = endpoint.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let alpn: &[u8] = match wire {
        Wire::Grpc => b"h2",
        Wire::Http => b"http/1.1",
    };
    Arc::new(move || Box::pin(open(host.clone(), port, tls.clone(), alpn)))
}

async fn open(
    host: String,
    port: u16,
    tls: Option<ClientTls>,
    alpn: &[u8],
) -> io::Result<Box<dyn Io>> {
    let socket = TcpStream::connect((host.as_str(), port)).await?;
    socket.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(socket)) };
    let connector = tls.connector(&[alpn]).await.map_err(io::Error::other)?;
    Ok(Box::new(connector.connect(&host, socket).await?))
}
