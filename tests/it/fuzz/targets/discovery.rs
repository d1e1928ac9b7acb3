//! Bytes as what a management server says.

use prost::Message as _;
use tidegate::rules::{Options, load_resources};
use tidegate::wire::discovery::resources;
use tidegate::wire::pb::envoy::service::discovery::v3::DiscoveryResponse;

use super::Outcome;
use super::words::{look_up, words};

/// Decodes an answer, compiles its resources and looks up what they say.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let Ok(response) = DiscoveryResponse::decode(bytes) else { return Outcome::Refused };
    let resources = match resources(&response) {
        Ok(resources) => resources,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Outcome::Refused;
        }
    };
    match load_resources(&resources, Options { merge_domains: bytes.len() % 2 == 1 }) {
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
