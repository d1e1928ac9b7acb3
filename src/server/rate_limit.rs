//! `envoy.service.ratelimit.v3.RateLimitService`.

use std::sync::Arc;

use http::HeaderValue;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::Front;
use crate::store::Store;
use crate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_server::RateLimitService;
use crate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::wire::{DECIDED_BY, GRPC_TIMEOUT};

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
        let timeout = request.metadata().get(GRPC_TIMEOUT).map(|value| value.as_encoded_bytes());
        let answered = self.0.answer_in_time(request.get_ref(), timeout).await;
        let answered = answered.map_err(|failure| {
            tracing::debug!(code = ?failure.code(), reason = %failure, "request not decided");
            Status::from(failure)
        })?;
        let mut response = Response::new(answered.message);
        let decided_by = answered.decided_by.as_ref().map(HeaderValue::as_bytes);
        if let Some(Ok(value)) = decided_by.map(MetadataValue::try_from) {
            response.metadata_mut().insert(DECIDED_BY, value);
        }
        Ok(response)
    }
}
