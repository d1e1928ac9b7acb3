//! The floor: a stock tonic server that answers every rate-limit request with a constant.
//!
//! It reads no rules, counts nothing and keeps tonic's defaults, so that what it costs is
//! what the protocol costs. `benches/compare.sh` divides by it.
//!
//! ```text
//! floor ADDRESS [STATUSES [multi|current]]
//! ```

#![allow(clippy::print_stderr)]

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let address: SocketAddr = argument(0).context("an address is missing")?.parse()?;
    let statuses: usize = argument(1).unwrap_or("1").parse()?;
    let constant = Constant(answer(statuses));
    let server = Server::builder().add_service(RateLimitServiceServer::new(constant));
    Ok(runtime(argument(2).unwrap_or("multi"))?.block_on(server.serve(address))?)
}

/// One worker: the floor is the cost of one core.
fn runtime(name: &str) -> anyhow::Result<Runtime> {
    let mut builder = match name {
        "multi" => Builder::new_multi_thread(),
        "current" => Builder::new_current_thread(),
        other => bail!("{other:?} is no runtime; multi and current are"),
    };
    Ok(builder.worker_threads(1).enable_all().build()?)
}

/// As large as the answers of the servers compared with it: HTTP/2 writes messages of more
/// than 256 bytes, such as those of ten descriptors, in another way.
fn answer(statuses: usize) -> RateLimitResponse {
    let limit = RateLimit {
        requests_per_unit: 4_000_000_000,
        unit: Unit::Hour.into(),
        ..Default::default()
    };
    let status = DescriptorStatus {
        code: Code::Ok.into(),
        current_limit: Some(limit),
        limit_remaining: 3_999_999_999,
        duration_until_reset: Some(prost_types::Duration { seconds: 1_800, nanos: 0 }),
    };
    RateLimitResponse {
        overall_code: Code::Ok.into(),
        statuses: vec![status; statuses],
        ..Default::default()
    }
}

struct Constant(RateLimitResponse);

#[tonic::async_trait]
impl RateLimitService for Constant {
    async fn should_rate_limit(
        &self,
        _: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}
