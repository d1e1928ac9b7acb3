//! What gRPC and HTTP share: a request message in, a response message out.

use std::pin::pin;
use std::sync::Arc;

use http::HeaderValue;

use super::Activity;
use crate::service::Service;
use crate::store::Store;
use crate::telemetry::{Call, Failed, Outcome, Stage, panics};
use crate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use crate::wire::{Bounds, Failure, GRPC_TIMEOUT, Layout, decided_by, patience, request, response};

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

/// A message, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The answer.
    pub message: RateLimitResponse,
    /// Who decided, where it was not the store alone.
    pub decided_by: Option<HeaderValue>,
}

impl<S: Store> Front<S> {
    /// The same for another worker, with a store of its own.
    pub fn with_store(&self, store: S) -> Self {
        let Service { rules, clock, policy, metrics, observer, .. } = &self.service;
        let service = Service {
            store,
            rules: Arc::clone(rules),
            clock: clock.clone(),
            policy: policy.clone(),
            metrics: Arc::clone(metrics),
            meters: metrics.meters(),
            observer: Arc::clone(observer),
        };
        let activity = Arc::clone(&self.activity);
        Self { service, bounds: self.bounds, layout: self.layout.clone(), activity }
    }

    /// Decides `message`, for a caller of whom nothing is known.
    ///
    /// # Errors
    ///
    /// [`Failure`], when there is no decision.
    pub async fn answer(&self, message: &RateLimitRequest) -> Result<RateLimitResponse, Failure> {
        Ok(self.answer_call(message, &mut Call::unheard()).await?.message)
    }

    /// Decides `message`, which came by `call`, in the time that its headers leave.
    ///
    /// # Errors
    ///
    /// [`Failure`], when there is no decision.
    pub async fn answer_call(
        &self,
        message: &RateLimitRequest,
        call: &mut Call<'_>,
    ) -> Result<Answered, Failure> {
        let watched = panics::watched(pin!(self.decide(message, call))).await;
        let decided = watched.unwrap_or_else(|panicked| {
            panicked.tell(call.id(), &message.domain);
            Err(Failure::Panicked)
        });
        let outcome = decided.as_ref().map_or_else(Failure::outcome, |(_, outcome)| *outcome);
        self.service.meters.record(outcome, call.elapsed());
        let answered = decided.inspect_err(|failure| {
            let (domain, is_store) = (&*message.domain, failure.is_of_store());
            let (code, http) = (failure.code(), failure.http_status());
            self.service
                .observer
                .failed(call, Failed { domain, is_store, code, http, reason: failure });
        });
        answered.map(|(answered, _)| answered)
    }

    async fn decide(
        &self,
        message: &RateLimitRequest,
        call: &mut Call<'_>,
    ) -> Result<(Answered, Outcome), Failure> {
        call.enter(Stage::Decode);
        let _under_way = self.activity.begin().map_err(Failure::Crowded).inspect_err(|_| {
            self.service.metrics.record_service_error();
        })?;
        let mut request = request(message, &self.bounds)
            .inspect_err(|_| self.service.metrics.record_service_error())?;
        request.patience = call.header(GRPC_TIMEOUT).and_then(patience);
        let answer = self.service.check(&request, call).await?;
        let decided_by = decided_by(&answer.stood_in);
        let answered = Answered {
            message: response(&answer, &request, &self.layout),
            decided_by: decided_by.and_then(|text| HeaderValue::try_from(text).ok()),
        };
        Ok((answered, Outcome::of(&answer.decision)))
    }
}
