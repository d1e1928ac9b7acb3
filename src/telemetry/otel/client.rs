//! Sends the messages of one signal, again if that may help, and tells the log when that
//! begins to fail and when it goes well again.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ::http::StatusCode;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use super::attributes::Resource;
use super::grpc::Grpc;
use super::http::Http;
use super::signal::Signal;
use super::{Collector, Wire};

/// How long to wait before the second attempt; then twice that, and so on.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest that a collector may ask to wait.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Sends.
pub(super) struct Client<S> {
    way: Way,
    timeout: Duration,
    resource: Arc<Resource>,
    /// Set when there is no time left for another attempt.
    pub(super) stop: CancellationToken,
    is_failing: bool,
    signal: PhantomData<fn() -> S>,
}

enum Way {
    Grpc(Grpc),
    Http(Http),
}

/// Why a message was not taken. What a collector says beside its code stays out: it may
/// repeat what was sent, a token among it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The collector answered so, over gRPC.
    #[error("the collector answers {0:?}")]
    Code(Code),
    /// The collector answered so, over HTTP, and when to come again.
    #[error("the collector answers {0}")]
    Status(StatusCode, Option<Duration>),
    /// There was no answer that could be read.
    #[error("{0}")]
    Unreached(String),
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
}

impl Refusal {
    /// Whether the same message may be taken later, and when, if that was said.
    fn retry(&self) -> Option<Option<Duration>> {
        match self {
            Self::Code(
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss,
            )
            | Self::Unreached(_) => Some(None),
            Self::Status(status, after) => {
                matches!(status.as_u16(), 429 | 502 | 503 | 504).then_some(*after)
            }
            Self::Code(_) | Self::Late(_) => None,
        }
    }
}

impl<S: Signal> Client<S> {
    pub(super) fn new(
        collector: Collector,
        resource: Arc<Resource>,
        stop: &CancellationToken,
    ) -> Self {
        let timeout = collector.timeout;
        let way = match collector.wire {
            Wire::Grpc => Way::Grpc(Grpc::new(collector)),
            Wire::Http => Way::Http(Http::new(collector)),
        };
        let (signal, is_failing) = (PhantomData, false);
        Self { way, timeout, resource, stop: stop.clone(), is_failing, signal }
    }

    /// Whether the collector took the items.
    pub(super) async fn send(&mut self, items: Vec<S::Item>) -> bool {
        let request = S::request(items, &self.resource);
        let patience = self.timeout;
        let sent = tokio::time::timeout(patience, self.attempts(&request)).await;
        let sent = sent.unwrap_or(Err(Refusal::Late(patience)));
        match &sent {
            Ok(0) if self.is_failing => {
                tracing::info!(signal = S::NAME, "the collector takes telemetry again");
            }
            Ok(0) => {}
            Ok(rejected) if !self.is_failing => {
                tracing::warn!(
                    signal = S::NAME,
                    rejected,
                    "the collector does not take everything"
                );
            }
            Err(reason) if !self.is_failing => {
                tracing::warn!(signal = S::NAME, %reason, "telemetry is lost");
            }
            Ok(_) | Err(_) => {}
        }
        self.is_failing = !matches!(sent, Ok(0));
        sent.is_ok()
    }

    /// How many items were rejected, in the end.
    async fn attempts(&mut self, request: &S::Request) -> Result<i64, Refusal> {
        let mut pause = PAUSE;
        loop {
            let answer = match &mut self.way {
                Way::Grpc(grpc) => grpc.send::<S>(request.clone()).await,
                Way::Http(http) => http.send::<S>(request).await,
            };
            let refusal = match answer {
                Ok(response) => return Ok(S::rejected(&response)),
                Err(refusal) => refusal,
            };
            let Some(after) = refusal.retry() else { return Err(refusal) };
            tokio::select! {
                () = tokio::time::sleep(after.unwrap_or(pause).min(MAX_PAUSE)) => pause *= 2,
                () = self.stop.cancelled() => return Err(refusal),
            }
        }
    }
}
