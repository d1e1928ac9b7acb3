//! What the gRPC listener offers beside decisions, and corners of the protocol.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::google::protobuf::UInt64Value;
use tidegate::wire::pb::grpc::health::v1::HealthListRequest;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::RULES;
use crate::support::clients::{Client, descriptor, request};
use crate::support::process::Tidegate;
use crate::support::redis::RedisServer;

/// The names that reflection lists.
async fn described(tidegate: &Tidegate) -> Result<Vec<String>, tonic::Status> {
    let client = Client::connect(tidegate.grpc()).await;
    let ask = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = ServerReflectionClient::new(client.channel())
        .server_reflection_info(tokio_stream::once(ask))
        .await?
        .into_inner();
    match answers.message().await?.expect("an answer").message_response {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_described_only_where_a_setting_says_so() {
    let silent = Tidegate::with_rules(RULES).start();
    let refusal = described(&silent).await.expect_err("no reflection");
    assert_eq!(refusal.code(), tonic::Code::Unimplemented);
    let open = Tidegate::with_rules(RULES).env("TIDEGATE_REFLECTION", "true").start();
    let names = described(&open).await.unwrap();
    for name in [
        "envoy.service.ratelimit.v3.RateLimitService",
        "grpc.health.v1.Health",
        "tidegate.health.v1.HealthService",
    ] {
        assert!(names.contains(&name.to_owned()), "{name} is missing: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_listed_under_every_name() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let client = Client::connect(tidegate.grpc()).await;
    let list = client.health_client().list(HealthListRequest {}).await.unwrap().into_inner();
    for name in ["", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService"] {
        assert_eq!(list.statuses[name].status(), ServingStatus::Serving, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_can_be_given_back_but_not_below_zero() {
    let redis = RedisServer::start();
    for setup in [Tidegate::with_rules(RULES), Tidegate::with_rules(RULES).redis(&redis)] {
        let tidegate = setup.start();
        let client = Client::connect(tidegate.grpc()).await;
        let give_back = async |hits| {
            let mut alice = descriptor(&[("user", "alice")]);
            alice.hits_addend = Some(UInt64Value { value: hits });
            alice.is_negative_hits = true;
            let answer = client.ask(request("shop", [alice])).await.expect("a decision");
            assert_eq!(answer.overall_code(), Code::Ok);
            answer.statuses[0].limit_remaining
        };
        let hit = async || client.hit("user", "alice").await.unwrap();
        assert_eq!(give_back(5).await, 2, "there is nothing to give back");
        assert_eq!([hit().await, hit().await, hit().await], [Code::Ok, Code::Ok, Code::OverLimit]);
        assert_eq!(give_back(2).await, 1, "three hits were counted");
        assert_eq!([hit().await, hit().await], [Code::Ok, Code::OverLimit]);
        assert_eq!(give_back(u64::MAX).await, 2);
        assert_eq!(hit().await, Code::Ok);
    }
}
