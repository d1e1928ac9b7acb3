//! Bytes as a gRPC message: decoded, bounded, planned, counted, decided, answered.

use prost::Message as _;
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use super::Outcome;
use super::front::{Fresh, Ledger, check_failure};
use super::request::made_up;

/// Asks the message that the bytes are, else one that they choose.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    match RateLimitRequest::decode(bytes) {
        Ok(message) => ask(&message, bytes),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            ask(&made_up(bytes), bytes)
        }
    }
}

/// Asks the same twice of a service that has counted nothing before.
fn ask(message: &RateLimitRequest, bytes: &[u8]) -> Outcome {
    let (front, mut ledger) = (Fresh::new(), Ledger::default());
    for _ in 0..2 {
        match front.ask(message) {
            Ok(answer) => {
                ledger.check(message, &answer);
                let again = RateLimitResponse::decode(&*answer.encode_to_vec());
                assert_eq!(again, Ok(answer), "an answer reads as it was written");
            }
            Err(failure) => {
                check_failure(&failure, bytes);
                return Outcome::Refused;
            }
        }
    }
    Outcome::Taken
}
