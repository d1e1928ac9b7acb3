//! Traces, metrics and logs reach a collector, and nothing that befalls it reaches a caller.

mod callers;
mod collector;
mod faults;
mod privacy;
mod round_trips;
mod secure;
mod signals;
mod sinks;
mod spans;

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::support::clients::Client;

const RULES: &str = "
domain: shop
descriptors:
- key: user
  rate_limit: {unit: year, requests_per_unit: 2}
- key: path
  value: /api
  rate_limit: {unit: year, requests_per_unit: 1000000}
";

/// The trace of callers, and their span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Asks with these headers.
async fn ask(
    client: &Client,
    request: RateLimitRequest,
    headers: &[(&'static str, &str)],
) -> Result<Code, Status> {
    let mut request = Request::new(request);
    let metadata: &mut MetadataMap = request.metadata_mut();
    for (name, value) in headers {
        metadata.insert(*name, value.parse().unwrap());
    }
    let mut client = RateLimitServiceClient::new(client.channel());
    Ok(client.should_rate_limit(request).await?.into_inner().overall_code())
}

/// A number as it is written in headers.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The attribute of that name as text.
fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let pair = attributes.iter().find(|pair| pair.key == name)?;
    Some(shown(pair.value.as_ref()?.value.as_ref()?))
}

fn shown(value: &Value) -> String {
    match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::BoolValue(is) => is.to_string(),
        Value::ArrayValue(array) => {
            let values = array.values.iter().filter_map(|value| value.value.as_ref());
            values.map(shown).collect::<Vec<_>>().join(",")
        }
        other => panic!("{other:?}"),
    }
}
