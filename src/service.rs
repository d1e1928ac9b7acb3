//! One request from question to answer: a clock read, a snapshot of the rules, one await.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::clock::Clock;
use crate::limiter::{Count, Decision, Plan, Policy, Request, decide, plan};
use crate::rules::Ruleset;
use crate::store::{Counts, Store, StoreError};
use crate::telemetry::{Handles, Metrics};

/// One version of the rules, ready to decide with.
#[derive(Debug)]
pub struct Snapshot {
    /// The rules.
    pub ruleset: Ruleset,
    /// Where their statistics go.
    pub handles: Handles,
    /// Digest of the files they came from.
    pub version: String,
}

/// The snapshot in force, empty before the first load.
pub type Rules = ArcSwapOption<Snapshot>;

/// A decision and the rules it was made with.
#[derive(Debug)]
pub struct Answer {
    /// What was decided.
    pub decision: Decision,
    /// The rules that its ids name.
    pub snapshot: Arc<Snapshot>,
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// The request names no domain.
    #[error("the domain must not be empty")]
    EmptyDomain,
    /// The request asks nothing.
    #[error("the list of descriptors must not be empty")]
    NoDescriptors,
    /// Nothing was loaded yet.
    #[error("no rules are loaded yet")]
    NoRules,
    /// The store cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decides.
#[derive(Debug)]
pub struct Service<S> {
    /// The rules, swapped by whoever loads them.
    pub rules: Arc<Rules>,
    /// The counters.
    pub store: S,
    /// The time.
    pub clock: Clock,
    /// What holds for every decision.
    pub policy: Policy,
    /// Where decisions are counted.
    pub metrics: Arc<Metrics>,
}

impl<S: Store> Service<S> {
    /// Decides `request` and counts the decision.
    ///
    /// # Errors
    ///
    /// [`CheckError`], when there is no decision: a request without domain or
    /// descriptors, no rules, or a store that cannot say for any of the counters.
    pub async fn check(&self, request: &Request<'_>) -> Result<Answer, CheckError> {
        let snapshot = self.admit(request).inspect_err(|_| self.metrics.record_service_error())?;
        let plan = plan(&snapshot.ruleset, request, self.clock.now(), &self.policy);
        let counts = self.count(&plan).await.inspect_err(|_| {
            self.metrics.record_store_error(&plan, &snapshot.handles);
        })?;
        let decision = decide(&snapshot.ruleset, plan, &counts, &self.policy);
        self.metrics.record(&decision, &snapshot.handles, request.domain);
        Ok(Answer { decision, snapshot })
    }

    fn admit(&self, request: &Request<'_>) -> Result<Arc<Snapshot>, CheckError> {
        if request.domain.is_empty() {
            return Err(CheckError::EmptyDomain);
        }
        if request.descriptors().is_empty() {
            return Err(CheckError::NoDescriptors);
        }
        self.rules.load_full().ok_or(CheckError::NoRules)
    }

    async fn count(&self, plan: &Plan) -> Result<SmallVec<[Count; 4]>, StoreError> {
        if plan.batch.is_empty() {
            return Ok(SmallVec::new());
        }
        let counts: Counts = self.store.apply(&plan.batch).await;
        counts.into_iter().collect()
    }
}
