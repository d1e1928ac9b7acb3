//! The decision log: some decisions, a line each.

use super::call::Call;
use super::observer::{Decided, Failed};

/// Writes decisions to the log.
#[derive(Debug, Default)]
pub struct DecisionLog {}

impl DecisionLog {
    /// A call was decided.
    pub(super) fn decided(&self, _call: &Call<'_>, _decided: &Decided<'_, '_>) {}

    /// A call was not decided.
    pub(super) fn failed(&self, call: &Call<'_>, failed: &Failed<'_>) {
        tracing::debug!(request_id = call.id(), reason = %failed.reason, "request not decided");
    }
}
