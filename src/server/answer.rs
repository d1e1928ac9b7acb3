//! What gRPC and HTTP share: a request message in, a response message out.

use std::sync::Arc;

use super::Activity;
use crate::service::Service;
use crate::store::Store;
use crate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::wire::{Bounds, Failure, Layout, request, response};

/// Answers request messages.
#[derive(Debug)]
pub struct Front<S> {
    /// Who decides.
    pub service: Service<S>,
    /// How much a request may hold.
    pub bounds: Bounds,
    /// What an answer holds.
    pub layout: Layout,
    /// Counts what is under way.
    pub activity: Arc<Activity>,
}

impl<S: Store> Front<S> {
    /// The same with another store.
    pub fn with_store(&self, store: S) -> Self {
        let Service { rules, clock, policy, metrics, .. } = &self.service;
        let service = Service {
            store,
            rules: Arc::clone(rules),
            clock: clock.clone(),
            policy: policy.clone(),
            metrics: Arc::clone(metrics),
        };
        let activity = Arc::clone(&self.activity);
        Self { service, bounds: self.bounds, layout: self.layout.clone(), activity }
    }

    /// Decides `message`.
    ///
    /// # Errors
    ///
    /// [`Failure`], when there is no decision.
    pub async fn answer(&self, message: &RateLimitRequest) -> Result<RateLimitResponse, Failure> {
        let _under_way = self.activity.begin().map_err(Failure::Crowded).inspect_err(|_| {
            self.service.metrics.record_service_error();
        })?;
        let request = request(message, &self.bounds)
            .inspect_err(|_| self.service.metrics.record_service_error())?;
        let answer = self.service.check(&request).await?;
        Ok(response(&answer, &request, &self.layout))
    }
}
