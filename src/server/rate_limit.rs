//! `envoy.service.ratelimit.v3.RateLimitService`.

use std::sync::Arc;

use http::HeaderValue;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use super::Front;
use crate::store::Store;
use crate::telemetry::Call;
use crate::wire::DECIDED_BY;
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
        let headers = request.metadata().as_ref();
        let mut call = Call::begin(headers, &self.0.service.observer.tracer);
        let answered = self.0.answer_call(request.get_ref(), &mut call).await?;
        let mut response = Response::new(answered.message);
        let decided_by = answered.decided_by.as_ref().map(HeaderValue::as_bytes);
        if let Some(Ok(value)) = decided_by.map(MetadataValue::try_from) {
            response.metadata_mut().insert(DECIDED_BY, value);
        }
        Ok(response)
    }
}
