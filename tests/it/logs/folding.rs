//! Messages that are repeated.

use crate::support::clients::{Client, post};
use crate::support::process::Tidegate;

use super::{RULES, events};

#[tokio::test]
async fn a_message_that_is_repeated_is_summed_up_and_none_is_forgotten() {
    const TIMES: usize = 200;
    let mut tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_DECISION_LOG", "refused").start();
    for _ in 0..TIMES {
        assert_eq!(post(tidegate.http(), "/json", b"garbage").unwrap().status, 400);
    }
    let client = Client::connect(tidegate.grpc()).await;
    for _ in 0..50 {
        client.hit("closed", "a").await.unwrap();
    }
    tidegate.signal("INT");
    tidegate.wait();
    let all = events(&tidegate.log());
    let of = |message: &str| all.iter().filter(|event| event["message"] == message).count();
    let told = of("/json request not decided");
    let sums = all.iter().filter(|e| e["message"] == "repeated: /json request not decided");
    let held: u64 = sums.clone().map(|event| event["times"].as_u64().unwrap()).sum();
    assert_eq!(told as u64 + held, TIMES as u64);
    assert!(told >= 10 && held > 0, "{told} told");
    for sum in sums {
        assert_eq!([&sum["level"], &sum["from"]], ["WARN", "tidegate::server::http"], "{sum}");
    }
    assert_eq!(of("decision"), 50, "they have a bound of their own");
}
