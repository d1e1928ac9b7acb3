//! One request from question to answer: a clock read, a snapshot of the rules, one await.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::clock::Clock;
use crate::limiter::{Count, Decision, Plan, Policy, Request, Source, Verdict, decide, plan};
use crate::rules::{OnStoreError, Ruleset};
use crate::store::{Counts, Store, StoreError};
use crate::telemetry::{Call, Decided, Handles, Meters, Metrics, Observer, Page, Stage};

/// One version of the rules, ready to decide with.
#[derive(Debug)]
pub struct Snapshot {
    /// The rules.
    pub ruleset: Ruleset,
    /// Where their statistics go.
    pub handles: Handles,
    /// Digest of the files they came from.
    pub version: String,
    /// The rules of which was told that hits larger than their limit never pass.
    told: Box<[AtomicBool]>,
}

impl Snapshot {
    /// The rules of one version of the files.
    pub fn new(ruleset: Ruleset, handles: Handles, version: String) -> Self {
        let told = ruleset.rules().iter().map(|_| AtomicBool::default()).collect();
        Self { ruleset, handles, version, told }
    }

    /// Tells the log, once per rule, of hits that are more than a limit ever admits:
    /// whoever waits for them to pass waits for ever.
    fn tell_what_never_fits(&self, decision: &Decision, call: &Call<'_>) {
        let refused = decision.statuses.iter().filter_map(|s| s.applied.as_ref().zip(s.rule));
        for (applied, id) in refused.filter(|(applied, _)| applied.never_fits) {
            let told = self.told.get(id.0 as usize);
            if told.is_some_and(|told| !told.swap(true, Ordering::Relaxed)) {
                let hits = applied.tally.total;
                let rule = &*self.ruleset.rule(id).path;
                let request_id = call.id();
                tracing::warn!(
                    request_id,
                    rule,
                    hits,
                    "a request has more hits than its limit ever admits"
                );
            }
        }
    }
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
    /// What limits said that the store could not answer for, each once; mostly nothing.
    pub stood_in: StoodIn,
}

impl Answer {
    fn told<'a, 'r>(&'a self, request: &'a Request<'r>) -> Decided<'a, 'r> {
        let Self { decision, snapshot, stood_in } = self;
        Decided { request, ruleset: &snapshot.ruleset, decision, stood_in }
    }
}

/// Policies that took part in a decision.
pub type StoodIn = SmallVec<[OnStoreError; 4]>;

/// What the store said.
struct Said {
    counts: SmallVec<[Count; 4]>,
    /// Why it could not say everything.
    failure: Option<StoreError>,
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
    /// Where a worker counts what no other does.
    pub meters: Arc<Meters>,
    /// Who is told of calls.
    pub observer: Arc<Observer>,
}

impl<S: Store> Service<S> {
    /// Decides `request`, which came by `call`, and counts the decision.
    ///
    /// # Errors
    ///
    /// [`CheckError`], when there is no decision: a request without domain or
    /// descriptors, no rules, or a store that cannot say for any of the counters while the
    /// others do not refuse the request.
    pub async fn check(
        &self,
        request: &Request<'_>,
        call: &mut Call<'_>,
    ) -> Result<Answer, CheckError> {
        let snapshot = self.admit(request).inspect_err(|_| self.metrics.record_service_error())?;
        call.enter(Stage::Plan);
        let mut plan = plan(&snapshot.ruleset, request, self.clock.now(), &self.policy);
        plan.batch.trace = call.trace_ref();
        call.enter(Stage::Store);
        let Said { counts, failure } = self.count(&plan).await;
        call.heard(counts.iter().map(|count| count.source));
        call.enter(Stage::Decide);
        let stood_in = stood_in(&plan, &counts);
        let asked = failure.is_some().then(|| plan.clone());
        let decision = decide(&snapshot.ruleset, plan, &counts, &self.policy);
        if let (Some(failure), Some(asked)) = (failure, asked) {
            if decision.overall != Verdict::OverLimit {
                self.metrics.record_store_error(&asked, &snapshot.handles);
                return Err(failure.into());
            }
            // What was heard refuses already, whatever the rest would have been.
            self.metrics.record_partial_failure();
        }
        snapshot.tell_what_never_fits(&decision, call);
        self.metrics.record(&decision, &snapshot.handles, request.domain);
        self.metrics.record_stood_in(&stood_in);
        let answer = Answer { decision, snapshot, stood_in };
        self.observer.decided(call, answer.told(request));
        Ok(answer)
    }

    /// Adds what was counted to `page`.
    pub fn render(&self, page: &mut Page) {
        self.metrics.render(page);
        if let Some(snapshot) = &*self.rules.load() {
            self.metrics.render_rules((&snapshot.ruleset, &snapshot.handles), page);
        }
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

    async fn count(&self, plan: &Plan) -> Said {
        let mut said = Said { counts: SmallVec::new(), failure: None };
        if plan.batch.is_empty() {
            return said;
        }
        let counts: Counts = self.store.apply(&plan.batch).await;
        for count in counts {
            let count = count.unwrap_or_else(|error| {
                said.failure.get_or_insert(error);
                Count::unknown(plan.batch.now)
            });
            said.counts.push(count);
        }
        self.meters.record_counts(&said.counts);
        said
    }
}

fn stood_in(plan: &Plan, counts: &[Count]) -> StoodIn {
    let operations = plan.batch.operations().iter().zip(counts);
    let answered = operations.filter(|(_, count)| count.source == Source::Fallback);
    let mut policies = StoodIn::new();
    for (operation, _) in answered {
        let policy = operation.leeway.on_store_error;
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    policies
}
