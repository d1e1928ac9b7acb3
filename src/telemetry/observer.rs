//! Whoever is told what became of a call, beside the metrics: the decision log, the traces,
//! the sketch of what is refused most.

use std::sync::Arc;

use http::StatusCode;
use tonic::Code;

use super::call::Call;
use super::decisions::DecisionLog;
use super::refused::TopRefused;
use super::trace::{Ending, Tracer};
use crate::limiter::{Decision, Request};
use crate::rules::{OnStoreError, Ruleset};

/// Is told of every call.
#[derive(Debug, Default)]
pub struct Observer {
    /// Writes some decisions down.
    pub decisions: DecisionLog,
    /// Remembers what is refused most.
    pub refused: TopRefused,
    /// Traces some calls.
    pub tracer: Arc<Tracer>,
}

/// A request and what was decided.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'d, 'r> {
    /// The question.
    pub request: &'d Request<'r>,
    /// The rules that the decision's ids name.
    pub ruleset: &'d Ruleset,
    /// The answer.
    pub decision: &'d Decision,
    /// The policies that stood in for the store, each once.
    pub stood_in: &'d [OnStoreError],
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug)]
pub struct Failed<'f> {
    /// The request's domain, as far as it is known.
    pub domain: &'f str,
    /// Whether the store could not say, or what was asked makes no sense.
    pub is_store: bool,
    /// What a caller by gRPC is told.
    pub code: Code,
    /// What a caller by HTTP is told.
    pub http: StatusCode,
    /// Why; without values of the request.
    pub reason: &'f dyn std::error::Error,
}

impl Observer {
    /// A call was decided.
    pub fn decided(&self, call: &Call<'_>, decided: Decided<'_, '_>) {
        call.note(|| Ending::decided(call.id(), &decided));
        self.refused.note(&decided);
        self.decisions.decided(call, &decided);
    }

    /// A call was not decided.
    pub fn failed(&self, call: &Call<'_>, failed: Failed<'_>) {
        call.note(|| Ending::failed(call.id(), &failed));
        self.decisions.failed(call, &failed);
    }
}
