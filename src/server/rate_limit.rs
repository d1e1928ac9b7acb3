//! `envoy.service.ratelimit.v3.RateLimitService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::Front;
use crate::store::Store;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use crate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

/// The service over gRPC.
#[derive(Debug)]
pub(super) struct RateLimit<S>(pub(super) Arc<Front<S>>);

#[tonic::async_trait]
impl<S: Store> RateLimitService for RateLimit<S> {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let _timer = self.0.service.metrics.time_should_rate_limit();
        let response = self.0.answer(request.get_ref()).await;
        response.map(Response::new).map_err(|failure| {
            tracing::debug!(code = ?failure.code(), reason = %failure, "request not decided");
            failure.into()
        })
    }
}
