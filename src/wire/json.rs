//! The JSON form of requests and answers, as protobuf defines it.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};

use super::pb;
use super::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

/// A text that is no request. Displayed, it says where; why is for the caller alone, as it may
/// hold a piece of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a RateLimitRequest in JSON: {place}")]
pub struct JsonError {
    place: String,
    why: String,
}

impl JsonError {
    /// What the caller is told.
    pub fn told(&self) -> String {
        format!("the body is not a RateLimitRequest in JSON: {}", self.why)
    }
}

/// Translates between JSON and messages.
#[derive(Clone, Debug)]
pub struct Json {
    request: MessageDescriptor,
    response: MessageDescriptor,
}

impl Json {
    /// The translator for this program's messages.
    ///
    /// # Errors
    ///
    /// None in a program that was built right: the descriptors are compiled in.
    pub fn new() -> Result<Self, JsonError> {
        let pool = DescriptorPool::decode(pb::DESCRIPTORS).map_err(error)?;
        let message = |name: &str| {
            pool.get_message_by_name(&format!("envoy.service.ratelimit.v3.{name}"))
                .ok_or_else(|| error(format!("{name} is missing from the descriptors")))
        };
        Ok(Self { request: message("RateLimitRequest")?, response: message("RateLimitResponse")? })
    }

    /// Reads a request; names in camel or snake case, unknown ones are errors.
    ///
    /// # Errors
    ///
    /// [`JsonError`] says where the text stops being a request.
    pub fn request(&self, text: &[u8]) -> Result<RateLimitRequest, JsonError> {
        let mut json = serde_json::Deserializer::from_slice(text);
        let message =
            DynamicMessage::deserialize(self.request.clone(), &mut json).map_err(misread)?;
        json.end().map_err(misread)?;
        RateLimitRequest::decode(message.encode_to_vec().as_slice()).map_err(error)
    }

    /// Writes an answer; fields at their default are left out.
    ///
    /// # Errors
    ///
    /// [`JsonError`] if the message cannot be written, which valid answers always can.
    pub fn response(&self, response: &RateLimitResponse) -> Result<Vec<u8>, JsonError> {
        let bytes = response.encode_to_vec();
        let message =
            DynamicMessage::decode(self.response.clone(), bytes.as_slice()).map_err(error)?;
        let mut out = Vec::new();
        message
            .serialize_with_options(
                &mut serde_json::Serializer::new(&mut out),
                &SerializeOptions::new(),
            )
            .map_err(error)?;
        Ok(out)
    }
}

fn misread(error: serde_json::Error) -> JsonError {
    let place = format!("line {} column {}", error.line(), error.column());
    JsonError { place, why: error.to_string() }
}

fn error(error: impl std::fmt::Display) -> JsonError {
    JsonError { place: "not as the descriptors have it".to_owned(), why: error.to_string() }
}
