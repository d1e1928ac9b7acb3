//! Bytes as what a management server says.

use prost::Message as _;
use prost_types::Any;
use tidegate::rules::{Options, load_resources};
use tidegate::wire::discovery::{TYPE_URL, resources};
use tidegate::wire::pb::envoy::service::discovery::v3::DiscoveryResponse;

use super::Outcome;
use super::words::{look_up, words};

/// Decodes an answer, or one resource of it, compiles its resources and looks up what they say.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let response = DiscoveryResponse::decode(bytes).unwrap_or_default();
    let response = if response.type_url == TYPE_URL { response } else { with(bytes) };
    let resources = match resources(&response) {
        Ok(resources) => resources,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Outcome::Refused;
        }
    };
    match load_resources(
        &resources,
        Options { merge_domains: bytes.len() % 2 == 1, ..Options::default() },
    ) {
        Ok(loaded) => {
            look_up(&loaded.ruleset, &words(&String::from_utf8_lossy(bytes)));
            Outcome::Taken
        }
        Err(rejected) => {
            assert!(!rejected.errors.is_empty());
            for error in &rejected.errors {
                assert_eq!((error.line, error.column), (0, 0), "a resource has no lines");
            }
            Outcome::Refused
        }
    }
}

/// An answer of one resource, which is these bytes.
fn with(bytes: &[u8]) -> DiscoveryResponse {
    let any = Any { type_url: TYPE_URL.to_owned(), value: bytes.to_vec() };
    DiscoveryResponse {
        type_url: TYPE_URL.to_owned(),
        resources: vec![any],
        ..DiscoveryResponse::default()
    }
}
