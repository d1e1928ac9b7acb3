//! One gRPC call by hand: the client of tonic keeps deadlines itself, and would hide whether
//! the server does.

use bytes::{BufMut as _, BytesMut};
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use prost::Message as _;
use tokio::net::TcpStream;

use crate::support::clients::{descriptor, request};

/// What came back.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) overall: Option<Code>,
    pub(super) decided_by: Option<String>,
    pub(super) status: Option<tonic::Code>,
}

/// Asks for one hit, on a connection of its own, with that `grpc-timeout`.
pub(super) async fn ask(address: &str, key: &str, timeout: Option<&str>) -> Called {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let message = request("shop", [descriptor(&[(key, "alice")])]).encode_to_vec();
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.put_slice(&message);
    let path = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
    let mut call = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    if let Some(timeout) = timeout {
        call = call.header("grpc-timeout", timeout);
    }
    let call = call.body(()).expect("a request");
    sender = sender.ready().await.expect("a free stream");
    let (response, mut stream) = sender.send_request(call, false).expect("a stream");
    stream.send_data(body.freeze(), true).expect("room for the request");
    let (head, mut body) = response.await.expect("a response").into_parts();
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        bytes.extend_from_slice(&data.expect("the body"));
    }
    let trailers = body.trailers().await.expect("the end").unwrap_or_default();
    let text = |name: &str| {
        let value = head.headers.get(name).or_else(|| trailers.get(name));
        value.map(|value| value.to_str().expect("text").to_owned())
    };
    let (status, decided_by) = (text("grpc-status"), text("x-tidegate-decided-by"));
    let message = bytes.get(5..).map(|bytes| RateLimitResponse::decode(bytes).expect("a message"));
    Called {
        overall: message.map(|message| message.overall_code()),
        decided_by,
        status: status.map(|status| tonic::Code::from_bytes(status.as_bytes())),
    }
}
