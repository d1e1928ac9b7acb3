//! One stream to a management server: asks, hands sets out, says what became of them.
//!
//! An answer that is accepted is acknowledged with its version and nonce. One that is
//! refused gets its nonce, the version accepted before it in this stream, and the reason.
//! A stream begins with neither, so that the first message of a new one never looks as if
//! what was refused in the last one had been accepted.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{Fault, Options, ResourceSet, XdsSource};
use crate::sources::{Outcome, RuleSet as _};
use crate::telemetry::explain;
use crate::wire::discovery::{Ask, DiscoveryError, ask, resources};
use crate::wire::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::wire::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

/// The snapshot cache of go-control-plane answers a refusal with what was refused. This is how long a refusal of the
/// same content waits, so that the two do not keep each other busy.
const REFUSED_AGAIN: Duration = Duration::from_secs(1);

/// How much of a reason goes to the server, in characters.
const LONGEST_REASON: usize = 4096;

/// The sets of one stream, from first to last.
pub(super) struct Session {
    responses: tonic::Streaming<DiscoveryResponse>,
    asks: mpsc::Sender<DiscoveryRequest>,
    /// The version that was last accepted.
    accepted: String,
}

impl Session {
    /// Asks the server at the other end of `channel`. It may answer nothing at all until it
    /// has a set, so this may take for ever.
    pub(super) async fn open(channel: Channel, options: &Options) -> Result<Self, Fault> {
        let mut client = AggregatedDiscoveryServiceClient::new(channel)
            .max_decoding_message_size(options.max_message_bytes);
        let (asks, outgoing) = mpsc::channel(1);
        let first = ask(&options.node, Ask::default());
        asks.send(first).await.map_err(|_| Fault::Ended("the stream was not opened".to_owned()))?;
        let mut request = Request::new(ReceiverStream::new(outgoing));
        *request.metadata_mut() = headers(options);
        let responses = client.stream_aggregated_resources(request).await.map_err(ended)?;
        Ok(Self { responses: responses.into_inner(), asks, accepted: String::new() })
    }

    /// The next answer.
    pub(super) async fn next(&mut self) -> Result<DiscoveryResponse, Fault> {
        let response = self.responses.message().await.map_err(ended)?;
        response.ok_or_else(|| Fault::Ended("the server ended the stream".to_owned()))
    }

    /// Has an answer judged by `on_set` and tells the server. What was judged last is not
    /// judged again.
    pub(super) async fn answer<F: Future<Output = Outcome>>(
        &mut self,
        response: DiscoveryResponse,
        source: &mut XdsSource,
        on_set: &mut impl FnMut(Result<ResourceSet, DiscoveryError>) -> F,
    ) -> Result<(), Fault> {
        let (version, nonce) = (response.version_info.clone(), response.nonce.clone());
        let set = decode(response).await;
        let digest = set.as_ref().map(ResourceSet::digest).map_err(Clone::clone);
        let outcome = match source.judged.take() {
            Some((judged, outcome)) if judged == digest => {
                if matches!(outcome, Outcome::Refused(_)) {
                    sleep(REFUSED_AGAIN).await;
                }
                outcome
            }
            _ => on_set(set).await,
        };
        source.tell_judged(&version, &outcome);
        let reply = match &outcome {
            Outcome::InForce => {
                self.accepted = version;
                Ask { version: &self.accepted, nonce: &nonce, error: None }
            }
            Outcome::Refused(reason) => {
                Ask { version: &self.accepted, nonce: &nonce, error: Some(clip(reason)) }
            }
        };
        let reply = ask(&source.options.node, reply);
        source.judged = Some((digest, outcome));
        self.asks.send(reply).await.map_err(|_| Fault::Ended("the stream has ended".to_owned()))
    }
}

/// Many resources take a while to decode.
async fn decode(response: DiscoveryResponse) -> Result<ResourceSet, DiscoveryError> {
    let decoded =
        tokio::task::spawn_blocking(move || resources(&response).map(ResourceSet::new)).await;
    decoded.unwrap_or(Err(DiscoveryError::Interrupted))
}

fn headers(options: &Options) -> MetadataMap {
    let mut headers = MetadataMap::new();
    for (name, value) in &options.headers {
        // Both were looked at when the settings were read.
        let name = MetadataKey::<Ascii>::from_bytes(name.as_bytes());
        let value = MetadataValue::<Ascii>::try_from(value.expose());
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            headers.append(name, value);
        }
    }
    headers
}

fn ended(status: Status) -> Fault {
    let cause = std::error::Error::source(&status).map(|cause| format!(": {}", explain(cause)));
    let (code, message) = (status.code(), status.message());
    Fault::Ended(format!("{code:?}, {message}{}", cause.unwrap_or_default()))
}

fn clip(reason: &str) -> &str {
    let end = reason.char_indices().nth(LONGEST_REASON).map_or(reason.len(), |(end, _)| end);
    reason.get(..end).unwrap_or_default()
}
