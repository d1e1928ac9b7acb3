//! Input made to break things: refused with a reason, and the process goes on.

mod crowds;
mod slow;
mod streams;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::google::protobuf::UInt64Value;
use prost::Message as _;
use tonic::codec::CompressionEncoding;

use super::RULES;
use crate::support::clients::{Client, HttpAnswer, descriptor, post, request};
use crate::support::process::{PATIENCE, Tidegate};
use crate::support::redis::RedisServer;

struct Victim {
    tidegate: Tidegate,
    client: Client,
}

impl Victim {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One with those settings.
    async fn start_with(settings: &[(&str, &str)]) -> Self {
        let setup = Tidegate::with_rules(RULES);
        let setup = settings.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let tidegate = setup.start();
        let client = Client::connect(tidegate.grpc()).await;
        Self { tidegate, client }
    }

    /// The rate limit service, for requests with headers of their own.
    fn rls(&self) -> RateLimitServiceClient<tonic::transport::Channel> {
        RateLimitServiceClient::new(self.client.channel())
    }

    /// How many were turned away for that reason.
    fn turned_away(&self, reason: &str) -> f64 {
        self.tidegate.metric(&format!("tidegate_turned_away_total{{reason={reason:?}}}"))
    }

    /// It holds little more memory than it did before.
    fn grew_by_less_than(&self, bytes: u64, before: u64) {
        let now = self.tidegate.resident_bytes();
        assert!(now < before + bytes, "{before} bytes before, {now} now");
    }

    /// The request is an invalid argument, and the reason says why.
    async fn refuses(&self, request: RateLimitRequest, reason: &str) {
        self.refuses_bytes(request.encode_to_vec(), reason).await;
    }

    async fn refuses_bytes(&self, message: Vec<u8>, reason: &str) {
        let status = self.client.send_bytes(message).await.expect_err(reason);
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(reason), "{reason}: {status:?}");
    }

    /// Old and new connections are answered, and nothing in the process has panicked.
    async fn still_answers(mut self) {
        assert!(self.tidegate.is_running());
        self.client.hit("user", "an old connection").await.expect("a decision");
        let new = Client::connect(self.tidegate.grpc()).await;
        assert_eq!(new.hit("user", "a new connection").await.unwrap(), Code::Ok);
        assert_eq!(self.tidegate.get("/healthcheck").status, 200);
        assert!(!self.tidegate.log().contains("panicked"), "a task panicked");
    }
}

fn alice() -> RateLimitRequest {
    request("shop", [descriptor(&[("user", "alice")])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_do_not_decode_are_invalid_arguments() {
    let victim = Victim::start().await;
    let whole = alice().encode_to_vec();
    for length in 0..whole.len() {
        // Cut between two fields, what is left is a message.
        let answer = victim.client.send_bytes(whole[..length].to_vec()).await;
        let code = answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
        assert!(matches!(code, tonic::Code::Ok | tonic::Code::InvalidArgument), "{length}: {code}");
    }
    victim.refuses_bytes(whole[..whole.len() - 1].to_vec(), "").await;
    victim.refuses_bytes(vec![0x0a, 2, 0xff, 0xfe], "UTF-8").await; // the domain
    victim.refuses_bytes(vec![0x0b; 10_000], "").await; // groups in groups
    victim.refuses_bytes(vec![0xff; 1000], "").await;
    victim.refuses_bytes(Vec::new(), "domain").await;
    victim.refuses(request("shop", []), "descriptors").await;
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_gets_an_answer() {
    let victim = Victim::start().await;
    let mut random = fastrand::Rng::with_seed(7);
    let whole = alice().encode_to_vec();
    for round in 0..500 {
        let mut noise = whole.clone();
        for _ in 0..random.usize(1..6) {
            let place = random.usize(..noise.len());
            noise[place] = random.u8(..);
        }
        let answer = victim.client.send_bytes(noise.clone()).await;
        let code = answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
        let is_fine = matches!(code, tonic::Code::Ok | tonic::Code::InvalidArgument);
        assert!(is_fine, "round {round}: {code}: {noise:?}");
    }
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_bound_allows_is_refused_by_its_name() {
    let victim = Victim::start().await;
    let long = "x".repeat(16_385);
    let one = descriptor(&[("user", "alice")]);
    victim.refuses(request("shop", vec![one.clone(); 10_000]), "TIDEGATE_MAX_DESCRIPTORS").await;
    victim.refuses(request("shop", [descriptor(&[("a", "b"); 101])]), "TIDEGATE_MAX_ENTRIES").await;
    for request in [
        request(&long, [one]),
        request("shop", [descriptor(&[(&long, "a")])]),
        request("shop", [descriptor(&[("user", &long)])]),
    ] {
        victim.refuses(request, "TIDEGATE_MAX_STRING_BYTES").await;
    }
    let within_bounds = vec![descriptor(&[("user", &long[1..])]); 100];
    let answer = victim.client.ask(request("shop", within_bounds)).await.expect("a decision");
    assert_eq!(answer.statuses.len(), 100);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_10_mb_is_refused_plain_and_packed() {
    let victim = Victim::start().await;
    let large = request("shop", [descriptor(&[("user", &"x".repeat(10 << 20))])]);
    victim.refuses(large.clone(), "TIDEGATE_MAX_MESSAGE_BYTES").await;
    // Ten kilobytes on the wire.
    let mut packing = RateLimitServiceClient::new(victim.client.channel())
        .send_compressed(CompressionEncoding::Gzip);
    packing.should_rate_limit(alice()).await.expect("gzip is accepted");
    let status = packing.should_rate_limit(large).await.expect_err("too large");
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("TIDEGATE_MAX_MESSAGE_BYTES"), "{status:?}");
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_beyond_counting_saturate() {
    let redis = RedisServer::start();
    for setup in [Tidegate::with_rules(RULES), Tidegate::with_rules(RULES).redis(&redis)] {
        let tidegate = setup.start();
        let client = Client::connect(tidegate.grpc()).await;
        let mut all = descriptor(&[("user", "alice")]);
        all.hits_addend = Some(UInt64Value { value: u64::MAX });
        // Twice in one request and again in the next: sums would wrap.
        for descriptors in [vec![all.clone(), all.clone()], vec![all.clone()]] {
            let answer = client.ask(request("shop", descriptors)).await.expect("a decision");
            assert_eq!(answer.overall_code(), Code::OverLimit);
            assert!(answer.statuses.iter().all(|status| status.limit_remaining == 0));
        }
        assert_eq!(client.hit("user", "alice").await.unwrap(), Code::OverLimit, "it was counted");
        assert_eq!(client.hit("user", "bob").await.unwrap(), Code::Ok);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_without_a_window_is_refused_by_its_field() {
    let victim = Victim::start().await;
    for unit in [0, 99, -1, i32::MAX] {
        let mut own = descriptor(&[("user", "alice")]);
        own.limit = Some(RateLimitOverride { requests_per_unit: 1, unit });
        let good = descriptor(&[("user", "bob")]);
        victim.refuses(request("shop", [good, own]), "descriptors[1].limit.unit").await;
    }
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_that_is_no_request_is_a_bad_request() {
    let victim = Victim::start().await;
    let http = victim.tidegate.http();
    let ask = |body: &[u8]| post(http, "/json", body).expect("an answer");
    let good = r#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"a"}]}]}"#;
    assert_eq!(ask(good.as_bytes()).status, 200);
    let deep = format!("{}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let cases: [&[u8]; 12] = [
        b"",
        b"null",
        b"[]",
        b"{",
        b"garbage",
        b"\xff\xfe",
        &[good.as_bytes(), b"x"].concat(),
        &[good.as_bytes(), good.as_bytes()].concat(),
        br#"{"domain":"shop","unknown":1,"descriptors":[]}"#,
        br#"{"domain":7}"#,
        br#"{"domain":"shop","descriptors":[{"entries":[{"key":"user","value":"a"}],"limit":{"requestsPerUnit":1,"unit":"EON"}}]}"#,
        deep.as_bytes(),
    ];
    for body in cases {
        let HttpAnswer { status, body: reason, .. } = ask(body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]);
        assert_eq!(status, 400, "{shown}: {}", String::from_utf8_lossy(&reason));
        assert!(reason.starts_with(b"Bad Request\n"), "{shown}");
    }
    assert_eq!(ask(&vec![b' '; 10 << 20]).status, 413);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_protocol_end_their_connection_only() {
    let victim = Victim::start().await;
    let noise = vec![0xa5; 1 << 16];
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let preface_only = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    let listeners = [&victim.tidegate].map(|t| [t.grpc(), t.http(), t.debug()]).concat();
    for address in listeners {
        for bytes in [noise.as_slice(), tls, preface_only] {
            let mut connection = TcpStream::connect(address).expect("a connection");
            connection.set_read_timeout(Some(PATIENCE)).expect("a deadline");
            // The other side may close before it has read all.
            let _ = connection.write_all(bytes);
            let _ = connection.shutdown(Shutdown::Write);
            let end = connection.read_to_end(&mut Vec::new());
            let timed_out = end.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!timed_out, "{address} keeps a broken connection");
        }
    }
    victim.still_answers().await;
}
