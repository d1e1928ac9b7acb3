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

/// The names under which probes ask for readiness; all tell the same.
const READINESS: [&str; 3] = ["", "ratelimit", "envoy.service.ratelimit.v3.RateLimitService"];

/// The name that serves as long as it answers: for probes that restart what fails them. A
/// restart brings back no store and mends no rules.
const LIVENESS: &str = "liveness";

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
        let status = status(service, &self.health.facts());
        status
            .map(|status| Response::new(answer(status)))
            .ok_or_else(|| Status::not_found(format!("unknown service {service:?}")))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let facts = self.health.facts();
        let statuses: HashMap<_, _> = READINESS
            .iter()
            .chain([&LIVENESS])
            .filter_map(|&name| Some((name.to_owned(), answer(status(name, &facts)?))))
            .collect();
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let stream = self.follow(move |facts| {
            let status = answer(status(&service, facts).unwrap_or(ServingStatus::ServiceUnknown));
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

/// How the service of that name is, if there is one.
fn status(service: &str, facts: &Facts) -> Option<ServingStatus> {
    match service {
        LIVENESS => Some(ServingStatus::Serving),
        name if !READINESS.contains(&name) => None,
        _ if facts.overall().is_serving() => Some(ServingStatus::Serving),
        _ => Some(ServingStatus::NotServing),
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
