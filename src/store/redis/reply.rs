//! What the script answers, turned into counts.
//!
//! The script tells whether hits fit and what the counter holds; what that means for the
//! caller is [`Meter::count`](crate::limiter::Meter::count)'s business, for every store.

use redis::Value;

use super::script::needs_no_step;
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Operation, State, Step};
use crate::rules::Algorithm;
use crate::store::{Counts, StoreError};

/// The answers to a batch, or why the reply holds none.
pub(super) fn counts(batch: &Batch, reply: Value) -> Result<Counts, StoreError> {
    let replies = match reply {
        Value::Array(replies) => replies,
        Value::ServerError(error) => return Err(StoreError::Refused(error.to_string())),
        _ => return Err(garbled()),
    };
    let mut replies = replies.into_iter();
    let moment = replies.next().and_then(number).ok_or_else(garbled)?;
    if replies.len() != batch.operations().len() {
        return Err(garbled());
    }
    let moment = Timestamp::from_micros(moment);
    let sets = batch.sets().flat_map(|set| {
        let needs_step = !needs_no_step(set);
        set.iter().map(move |operation| (operation, needs_step))
    });
    let count = |((operation, needs_step), reply): ((&Operation, bool), Value)| {
        if let Value::ServerError(error) = reply {
            return Err(StoreError::Refused(error.to_string()));
        }
        let step = match needs_step {
            true => stepped(operation, batch, reply),
            false => summed(operation, batch, reply),
        };
        let now = match operation.meter.algorithm {
            Algorithm::FixedWindow => batch.now,
            Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => moment,
        };
        let step = step.ok_or_else(garbled)?;
        Ok(operation.meter.count(&step, operation.action, now))
    };
    Ok(sets.zip(replies).map(count).collect())
}

/// An operation that needed no step: the reply is the value after.
fn summed(operation: &Operation, batch: &Batch, reply: Value) -> Option<Step> {
    let state = fixed(operation, batch, number(reply)?);
    let admitted = match operation.action {
        Action::Spend(_) => state.count <= operation.meter.rate.into(),
        Action::GiveBack(_) | Action::Undo { .. } => true,
    };
    Some(Step { state, admitted, spent: true })
}

/// An operation that took a step: the reply is what became of it, and the state.
fn stepped(operation: &Operation, batch: &Batch, reply: Value) -> Option<Step> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter().map(number);
    let mut next = || parts.next().flatten();
    let flags = next()?;
    let state = match operation.meter.algorithm {
        Algorithm::FixedWindow => fixed(operation, batch, next()?),
        Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => {
            State { at: next()?, count: next()?, previous: next()? }
        }
    };
    Some(Step { state, admitted: flags & 1 != 0, spent: flags & 2 != 0 })
}

fn fixed(operation: &Operation, batch: &Batch, count: u64) -> State {
    State { at: operation.meter.window.start(batch.now), count, previous: 0 }
}

/// A number that came as such or, where it may be too large for the script, as text.
fn number(reply: Value) -> Option<u64> {
    let number: i64 = match reply {
        Value::Int(number) => number,
        Value::BulkString(text) => std::str::from_utf8(&text).ok()?.parse().ok()?,
        _ => return None,
    };
    // Below zero stands what others have written there; nothing of it is spent.
    Some(u64::try_from(number).unwrap_or(0))
}

fn garbled() -> StoreError {
    StoreError::Refused("a reply that is no list of counts".into())
}
