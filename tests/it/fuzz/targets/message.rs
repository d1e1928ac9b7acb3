//! Bytes as a gRPC message: decoded, bounded, planned, counted, decided, answered.

use prost::Message as _;
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use super::Outcome;
use super::front::{Fresh, Ledger, check_failure};

/// Asks the same twice of a service that has counted nothing before.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let Ok(message) = RateLimitRequest::decode(bytes) else { return Outcome::Refused };
    let (front, mut ledger) = (Fresh::new(), Ledger::default());
    for _ in 0..2 {
        match front.ask(&message) {
            Ok(answer) => {
                ledger.check(&message, &answer);
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
