//! What the script answers, turned into counts.
//!
//! The script tells whether hits fit and what the counter holds; what that means for the
//! caller is [`Meter::count`](crate::limiter::Meter::count)'s business, for every store.

use redis::Value;

use super::group::{Call, Place};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, COUNT_MAX, Count, Operation, State, Step};
use crate::rules::Algorithm;
use crate::store::{Counts, StoreError};

/// The reply to one call.
pub(super) struct Reply<'c> {
    call: &'c Call,
    moment: Timestamp,
    /// The moment, and then what became of each key.
    elements: Vec<Value>,
}

impl<'c> Reply<'c> {
    /// What a call was answered, or why that is no answer.
    pub(super) fn read(call: &'c Call, reply: Value) -> Result<Self, StoreError> {
        let elements = match reply {
            Value::Array(elements) => elements,
            _ => return Err(garbled()),
        };
        if elements.len() != call.keys() + 1 {
            return Err(garbled());
        }
        let moment = elements.first().and_then(number).ok_or_else(garbled)?;
        Ok(Self { call, moment: Timestamp::from_micros(moment), elements })
    }

    /// The answers to a batch of the call, whose operations find theirs at these places.
    pub(super) fn counts(&self, batch: &Batch, places: &[Place]) -> Counts {
        let pairs = batch.operations().iter().zip(places);
        pairs.map(|(operation, &place)| self.count(batch, operation, place)).collect()
    }

    fn count(
        &self,
        batch: &Batch,
        operation: &Operation,
        place: Place,
    ) -> Result<Count, StoreError> {
        let element = self.elements.get(1 + self.call.at(place)).ok_or_else(garbled)?;
        if let Value::ServerError(error) = element {
            return Err(StoreError::Refused(error.to_string()));
        }
        let step = match place {
            Place::Sum { sum, until } => {
                let before = self.before(sum, element).ok_or_else(garbled)?;
                let count = (before + i128::from(until)).clamp(0, COUNT_MAX.into());
                summed(operation, batch, u64::try_from(count).unwrap_or(0))
            }
            Place::Back(_) => summed(operation, batch, number(element).ok_or_else(garbled)?),
            Place::Step(_) => stepped(operation, batch, element).ok_or_else(garbled)?,
        };
        let now = match operation.meter.algorithm {
            Algorithm::FixedWindow => batch.now,
            Algorithm::SlidingWindow | Algorithm::TokenBucket { .. } => self.moment,
        };
        Ok(operation.meter.count(&step, operation.action, now))
    }

    /// What a counter held before a sum: the script tells what it holds now or, where that
    /// is all it can hold, what it held.
    fn before(&self, sum: usize, element: &Value) -> Option<i128> {
        match element {
            Value::Array(before) => before.first().and_then(integer).map(i128::from),
            after => Some(i128::from(integer(after)?) - i128::from(self.call.hits(sum))),
        }
    }
}

/// An operation that needed no step, and the count after it.
fn summed(operation: &Operation, batch: &Batch, count: u64) -> Step {
    let admitted = match operation.action {
        Action::Spend(_) => count <= operation.meter.rate.into(),
        Action::GiveBack(_) | Action::Undo { .. } => true,
    };
    Step { state: fixed(operation, batch, count), admitted, spent: true }
}

/// An operation that took a step: the reply is what became of it, and the state.
fn stepped(operation: &Operation, batch: &Batch, reply: &Value) -> Option<Step> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.iter().map(number);
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
fn number(reply: &Value) -> Option<u64> {
    // Below zero stands what others have written there; nothing of it is spent.
    Some(u64::try_from(integer(reply)?).unwrap_or(0))
}

fn integer(reply: &Value) -> Option<i64> {
    match reply {
        Value::Int(number) => Some(*number),
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn garbled() -> StoreError {
    StoreError::Refused("a reply that is no list of counts".into())
}
