//! The fixed window: a count that starts anew when a window begins.
//!
//! At most the limit in each window; at most twice that in a span of a window's length,
//! around the border of two.

use super::meter::{Meter, Refused, State, Step};
use super::operation::{Action, COUNT_MAX};
use crate::clock::Timestamp;

/// One operation at `now`.
pub(super) fn step(meter: &Meter, state: State, action: Action, now: Timestamp) -> Step {
    let start = meter.window.start(now);
    let state = if start > state.at { State { at: start, ..State::default() } } else { state };
    let with = |count| State { count, ..state };
    match action {
        Action::GiveBack(hits) => {
            let state = with(state.count.saturating_sub(hits));
            Step { state, admitted: true, spent: true }
        }
        Action::Undo { hits, since } => {
            let hits = if meter.window.start(since) == state.at { hits } else { 0 };
            let state = with(state.count.saturating_sub(hits));
            Step { state, admitted: true, spent: true }
        }
        Action::Spend(hits) => {
            let sum = state.count.saturating_add(hits).min(COUNT_MAX);
            let admitted = sum <= meter.rate.into();
            let spent = admitted || meter.refused == Refused::Spend;
            Step { state: if spent { with(sum) } else { state }, admitted, spent }
        }
    }
}
