//! Bytes as the body of a request to `/json`.

use serde_json::Value;
use tidegate::wire::Failure;
use tidegate::wire::json::Json;

use super::Outcome;
use super::front::{Fresh, Ledger, check_failure};

thread_local! {
    static JSON: Json = Json::new().expect("descriptors");
}

/// Reads a request, decides it, and writes the answer.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    JSON.with(|json| {
        let message = match json.request(bytes) {
            Ok(message) => message,
            Err(error) => {
                check_failure(&Failure::from(error), bytes);
                return Outcome::Refused;
            }
        };
        match Fresh::new().ask(&message) {
            Ok(answer) => {
                Ledger::default().check(&message, &answer);
                let text = json.response(&answer).expect("every answer can be written");
                let value: Value = serde_json::from_slice(&text).expect("it is JSON");
                let statuses = value["statuses"].as_array().map_or(0, Vec::len);
                assert_eq!(statuses, message.descriptors.len());
                Outcome::Taken
            }
            Err(failure) => {
                check_failure(&failure, bytes);
                Outcome::Refused
            }
        }
    })
}
