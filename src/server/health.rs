//! The health services: `grpc.health.v1.Health` for probes, `tidegate.health.v1` for
//! people and dashboards.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::health::{Facts, Health};
use crate::telemetry::Metrics;
use crate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;
use crate::wire::pb::grpc::health::v1::health_server::Health as GrpcHealth;
use crate::wire::pb::grpc::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::wire::pb::tidegate::health::v1::health_service_server::HealthService;
use crate::wire::pb::tidegate::health::v1::{
    GetHealthRequest, GetHealthResponse, WatchHealthRequest, WatchHealthResponse,
};
use crate::wire::report;

/// The names under which probes ask; all tell the same.
const SERVICES: [&str; 3] = ["", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService"];

/// Both services.
#[derive(Clone, Debug)]
pub struct HealthApi {
    /// The facts they tell.
    pub health: Arc<Health>,
    /// Where probes are counted.
    pub metrics: Arc<Metrics>,
    /// Ends the streams.
    pub stop: CancellationToken,
}

#[tonic::async_trait]
impl GrpcHealth for HealthApi {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let _timer = self.metrics.time_health_check();
        let service = &request.get_ref().service;
        if !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!("unknown service {service:?}")));
        }
        Ok(Response::new(serving(&self.health.facts())))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let status = serving(&self.health.facts());
        let statuses: HashMap<_, _> =
            SERVICES.iter().map(|name| ((*name).to_owned(), status)).collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let is_known = SERVICES.contains(&request.get_ref().service.as_str());
        let stream = self.follow(move |facts| {
            let status = if is_known {
                serving(facts)
            } else {
                HealthCheckResponse { status: ServingStatus::ServiceUnknown.into() }
            };
            (status, status)
        });
        Ok(Response::new(stream))
    }
}

#[tonic::async_trait]
impl HealthService for HealthApi {
    async fn get_health(
        &self,
        _: Request<GetHealthRequest>,
    ) -> Result<Response<GetHealthResponse>, Status> {
        let report = Some(report(&self.health.facts()));
        Ok(Response::new(GetHealthResponse { report }))
    }

    type WatchHealthStream = ReceiverStream<Result<WatchHealthResponse, Status>>;

    async fn watch_health(
        &self,
        _: Request<WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let stream = self.follow(|facts| {
            let report = report(facts);
            let mut without_latency = report.clone();
            without_latency.components.iter_mut().for_each(|c| c.latency = None);
            (without_latency, WatchHealthResponse { report: Some(report) })
        });
        Ok(Response::new(stream))
    }
}

impl HealthApi {
    /// Sends what `tell` makes of the facts, now and whenever its first part changes. The
    /// stream ends at the stop, after the last change was sent.
    fn follow<K, T>(
        &self,
        tell: impl Fn(&Facts) -> (K, T) + Send + 'static,
    ) -> ReceiverStream<Result<T, Status>>
    where
        K: PartialEq + Send + 'static,
        T: Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(4);
        let mut facts = self.health.watch();
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let mut last = None;
            loop {
                let (key, message) = tell(&facts.borrow_and_update());
                if last.as_ref() != Some(&key) {
                    last = Some(key);
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    biased;
                    changed = facts.changed() => if changed.is_err() { return },
                    () = stop.cancelled() => return,
                    () = sender.closed() => return,
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

fn serving(facts: &Facts) -> HealthCheckResponse {
    let status = match facts.overall().is_serving() {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    HealthCheckResponse { status: status.into() }
}
