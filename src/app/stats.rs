//! Metrics that leave the process: the mapping file that names them, the statsd sinks.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Fronts, series};
use crate::settings;
use crate::telemetry::{Collect, Mapping, Naming, sinks};
use crate::tls::Acceptor;

/// How long the last flush may take.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// The largest mapping file that is read.
const MAX_MAPPING_BYTES: u64 = 1024 * 1024;

/// The names of series. A mapping file that cannot be used is told, and the names built in
/// hold.
pub(super) fn naming(settings: &settings::Metrics) -> Naming {
    let mapping = settings.mapping.as_deref().and_then(|path| match mapping(path) {
        Ok(mapping) => {
            tracing::info!(path = %path.display(), "the mapping file names the metrics");
            Some(mapping)
        }
        Err(error) => {
            let path = path.display();
            tracing::error!(%path, "PROMETHEUS_MAPPER_YAML is not used, the names built in hold: {error:#}");
            None
        }
    });
    Naming::new(mapping, settings.tags.clone(), settings.millisecond)
}

fn mapping(path: &Path) -> anyhow::Result<Mapping> {
    let size = fs::metadata(path)?.len();
    anyhow::ensure!(size <= MAX_MAPPING_BYTES, "it is larger than {MAX_MAPPING_BYTES} bytes");
    let text = fs::read_to_string(path)?;
    Mapping::parse(&text).context("it is no mapping file")
}

/// The statsd sinks of a process, at work.
#[derive(Debug)]
pub(super) struct Sinks {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// Starts them.
pub(super) fn start(
    settings: &settings::Metrics,
    fronts: Fronts,
    tls: Option<Arc<Acceptor>>,
) -> Sinks {
    let metrics = Arc::clone(&fronts[0].service.metrics);
    let collect: Collect =
        Arc::new(move |snapshot| series::read(&fronts, tls.as_deref(), snapshot));
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    for sink in sinks(&settings.sinks, &metrics, &collect) {
        tasks.spawn(sink.run(settings.flush_interval, stop.clone()));
    }
    Sinks { tasks, stop }
}

impl Sinks {
    /// Lets them send what is left, as far as that goes quickly.
    pub(super) async fn finish(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_FLUSH, all).await;
    }
}
