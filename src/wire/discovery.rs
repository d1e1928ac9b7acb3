//! What is said to a management server, and the rules in what it says.

use prost::Message as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use serde_json::{Map, Number, Value as Json};

use super::pb::envoy::config::core::v3::Node as PbNode;
use super::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use super::pb::google::rpc::Status;
use super::pb::ratelimit::config::ratelimit::v3 as config;
use super::pb::ratelimit::config::ratelimit::v3::RateLimitUnit;
use crate::rules::{Descriptor, RateLimit, Resource};

/// The resources that are asked for.
pub const TYPE_URL: &str = "type.googleapis.com/ratelimit.config.ratelimit.v3.RateLimitConfig";

/// The gRPC code INVALID_ARGUMENT.
const INVALID_ARGUMENT: i32 = 3;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// What the management server knows this service by.
    pub id: String,
    /// What it may choose rules by.
    pub metadata: Vec<(String, String)>,
}

/// One message to a management server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The version that was last accepted in this stream; empty for none.
    pub version: &'a str,
    /// The answer that this is about; empty for none.
    pub nonce: &'a str,
    /// Why that answer is refused, if it is.
    pub error: Option<&'a str>,
}

/// Why an answer cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It is about something else.
    #[error("{what} of type {found:?}; {TYPE_URL:?} was asked for")]
    Type {
        /// What has the wrong type.
        what: String,
        /// The type.
        found: String,
    },
    /// A resource is no message of that type.
    #[error("resource {index} cannot be decoded: {reason}")]
    Garbage {
        /// Which one, from 0.
        index: usize,
        /// Why.
        reason: String,
    },
    /// Decoding was broken off, because the process ends.
    #[error("decoding the resources was broken off")]
    Interrupted,
}

/// The message for `ask`, from `node`.
pub fn ask(node: &Node, ask: Ask<'_>) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: ask.version.to_owned(),
        node: Some(PbNode { id: node.id.clone(), metadata: metadata(node) }),
        resource_names: Vec::new(),
        type_url: TYPE_URL.to_owned(),
        response_nonce: ask.nonce.to_owned(),
        error_detail: ask
            .error
            .map(|error| Status { code: INVALID_ARGUMENT, message: error.to_owned() }),
    }
}

fn metadata(node: &Node) -> Option<Struct> {
    let field = |(key, value): &(String, String)| {
        (key.clone(), Value { kind: Some(Kind::StringValue(value.clone())) })
    };
    (!node.metadata.is_empty())
        .then(|| Struct { fields: node.metadata.iter().map(field).collect() })
}

/// The resources of an answer, in its order.
///
/// # Errors
///
/// The first of them that is not what was asked for.
pub fn resources(response: &DiscoveryResponse) -> Result<Vec<Resource>, DiscoveryError> {
    if response.type_url != TYPE_URL {
        let what = "the answer is".to_owned();
        return Err(DiscoveryError::Type { what, found: response.type_url.clone() });
    }
    let resources = response.resources.iter().enumerate().map(|(index, any)| {
        if any.type_url != TYPE_URL {
            let what = format!("resource {index} is");
            return Err(DiscoveryError::Type { what, found: any.type_url.clone() });
        }
        let config = config::RateLimitConfig::decode(&*any.value);
        config.map(resource).map_err(|error| {
            let reason = error.to_string();
            DiscoveryError::Garbage { index, reason }
        })
    });
    resources.collect()
}

fn resource(config: config::RateLimitConfig) -> Resource {
    let config::RateLimitConfig { name, domain, descriptors } = config;
    Resource { name, domain, descriptors: descriptors.into_iter().map(descriptor).collect() }
}

fn descriptor(descriptor: config::RateLimitDescriptor) -> Descriptor {
    Descriptor {
        key: descriptor.key,
        value: descriptor.value,
        rate_limit: descriptor.rate_limit.map(rate_limit),
        descriptors: descriptor.descriptors.into_iter().map(self::descriptor).collect(),
        shadow_mode: descriptor.shadow_mode,
        quota_mode: descriptor.quota_mode,
        detailed_metric: descriptor.detailed_metric,
        metadata: descriptor.metadata.map(object),
    }
}

fn rate_limit(policy: config::RateLimitPolicy) -> RateLimit {
    RateLimit {
        unit: match RateLimitUnit::try_from(policy.unit) {
            Ok(unit) => unit.as_str_name().to_owned(),
            Err(_) => policy.unit.to_string(),
        },
        requests_per_unit: policy.requests_per_unit,
        unlimited: policy.unlimited,
        name: policy.name,
        replaces: policy.replaces.into_iter().map(|replaced| replaced.name).collect(),
    }
}

fn object(fields: Struct) -> Map<String, Json> {
    fields.fields.into_iter().map(|(key, value)| (key, json(value))).collect()
}

fn json(value: Value) -> Json {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(value),
        Some(Kind::NumberValue(value)) => float(value),
        Some(Kind::StringValue(value)) => Json::String(value),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => Json::Object(object(fields)),
    }
}

/// JSON has no infinities; they become text, as in the JSON form of protobuf.
fn float(value: f64) -> Json {
    let text = match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    };
    Number::from_f64(value).map_or_else(|| Json::String(text.to_owned()), Json::Number)
}
