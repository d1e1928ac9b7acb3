//! The sliding window: two counts, the older one weighted by how much of its window
//! still lies within the last window's length.
//!
//! The estimate takes the older hits as spread evenly over their window, and rounds
//! down: a hit is admitted while less than the limit is estimated to lie in the span
//! `(now - window, now]`. So a lone caller at a steady permitted rate is never refused.
//! In any span of a window's length at most twice the limit is admitted (each window
//! admits at most the limit); that takes a burst at the end of one and a whole window of
//! steady demand after it.

use std::time::Duration;

use super::meter::{Meter, Refused, State, Step};
use super::operation::Action;
use crate::clock::Timestamp;

/// Where counts and hits saturate: the script's numbers are exact up to here.
const SUM_MAX: u64 = (1 << 53) - 1;
/// Older hits beyond the largest limit do not matter, and the script counts on that.
const PREVIOUS_MAX: u64 = u32::MAX as u64;

/// One operation at `now`.
pub(super) fn step(meter: &Meter, state: State, action: Action, now: Timestamp) -> Step {
    let state = advance(meter, state, now);
    match action {
        Action::GiveBack(hits) => {
            let hits = hits.min(SUM_MAX);
            let beyond = hits.saturating_sub(state.count);
            let state = State {
                count: state.count.saturating_sub(hits),
                previous: state.previous.saturating_sub(beyond),
                ..state
            };
            Step { state, admitted: true, spent: true }
        }
        Action::Undo { hits, since } => {
            let (hits, start) = (hits.min(SUM_MAX), meter.window.start(since));
            let (mut count, mut previous) = (state.count, state.previous);
            if start == state.at {
                count = count.saturating_sub(hits);
            } else if start.saturating_add(meter.window.as_secs()) == state.at {
                previous = previous.saturating_sub(hits);
            }
            Step { state: State { count, previous, ..state }, admitted: true, spent: true }
        }
        Action::Spend(hits) => {
            let sum = state.count.saturating_add(hits).min(SUM_MAX);
            let admitted = sum.saturating_add(weighted(meter, state, now)) <= meter.rate.into();
            let spent = admitted || meter.refused == Refused::Spend;
            let count = if spent { sum } else { state.count };
            Step { state: State { count, ..state }, admitted, spent }
        }
    }
}

/// The hits that are taken to lie in the last window's length.
pub(super) fn estimate(meter: &Meter, state: State, now: Timestamp) -> u64 {
    state.count.saturating_add(weighted(meter, state, now))
}

/// How long until `hits`, which the limit could hold, fit.
pub(super) fn until_fits(meter: &Meter, state: State, hits: u64, now: Timestamp) -> Duration {
    let room = |count: u64| u64::from(meter.rate).checked_sub(count.saturating_add(hits));
    let (window, elapsed) = (meter.window.as_micros(), elapsed(meter, state, now));
    let wait = match room(state.count) {
        Some(room) => fading(window, state.previous, room).saturating_sub(elapsed),
        // Only when this window's hits are the older ones can there be room again.
        None => {
            let room = room(0).unwrap_or_default();
            (window - elapsed).saturating_add(fading(window, state.count, room))
        }
    };
    Duration::from_micros(wait)
}

/// Microseconds into a window until at most `room` of the `previous` hits are left.
fn fading(window: u64, previous: u64, room: u64) -> u64 {
    let previous = previous.min(PREVIOUS_MAX);
    if previous <= room {
        return 0;
    }
    let span = u128::from(window) * (u128::from(room) + 1) - 1;
    let left = u64::try_from(span / u128::from(previous)).unwrap_or(u64::MAX);
    (window - 1).saturating_sub(left)
}

/// Moves the counts into the window around `now`.
fn advance(meter: &Meter, state: State, now: Timestamp) -> State {
    let start = meter.window.start(now);
    if start <= state.at {
        return state;
    }
    let follows = start - state.at == meter.window.as_secs();
    State { at: start, count: 0, previous: if follows { state.count } else { 0 } }
}

/// Microseconds since the current window began.
fn elapsed(meter: &Meter, state: State, now: Timestamp) -> u64 {
    let elapsed = now.since(Timestamp::from_secs(state.at)).as_micros();
    u64::try_from(elapsed).unwrap_or(u64::MAX).min(meter.window.as_micros() - 1)
}

/// The part of the older hits that still counts, rounded down. A hit exactly one window
/// ago does not: hence the one microsecond.
fn weighted(meter: &Meter, state: State, now: Timestamp) -> u64 {
    let window = meter.window.as_micros();
    let overlap = window - elapsed(meter, state, now) - 1;
    let weighted =
        u128::from(state.previous.min(PREVIOUS_MAX)) * u128::from(overlap) / u128::from(window);
    u64::try_from(weighted).unwrap_or(u64::MAX)
}
