//! The decision log: some decisions, a line each.
//!
//! A line says alone why a request was answered as it was. Which decisions are written can
//! be changed while the process runs. A decision that is not written costs a look at one
//! number; no more lines are written in a second than is said, whatever comes.

mod choice;
mod fields;
mod line;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Instant;

pub use choice::{Choice, ChoiceError};
pub use fields::{FieldError, Fields};

use super::call::Call;
use super::hashing::Values;
use super::logs::DECISIONS;
use super::observer::{Decided, Failed};
use crate::limiter::{Status, Verdict};
use choice::Kind;
use fields::Field;
use line::{Line, cut};
use pace::Pace;

/// What the decision log writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecisionOptions {
    /// Which decisions.
    pub choice: Choice,
    /// What of them.
    pub fields: Fields,
    /// How many lines in a second.
    pub max_per_second: u32,
}

/// Writes decisions to the log.
#[derive(Debug, Default)]
pub struct DecisionLog {
    /// The kinds of which any are written, a bit each.
    chosen: AtomicU8,
    /// How many of each kind, as the bits of a number from 0 to 1.
    parts: [AtomicU64; Kind::ALL.len()],
    fields: Fields,
    pace: Pace,
    values: Arc<Values>,
}

impl DecisionLog {
    /// A log as `options` say, with values shown by `values`.
    pub fn new(options: &DecisionOptions, values: Arc<Values>) -> Self {
        let pace = Pace::new(options.max_per_second);
        let log = Self { fields: options.fields, pace, values, ..Self::default() };
        log.choose(&options.choice);
        log
    }

    /// Writes others from now on.
    pub fn choose(&self, choice: &Choice) {
        let mut chosen = 0;
        for kind in Kind::ALL {
            let part = choice.part(kind);
            self.parts[kind as usize].store(part.to_bits(), Ordering::Relaxed);
            chosen |= if part > 0.0 { kind.bit() } else { 0 };
        }
        self.chosen.store(chosen, Ordering::Relaxed);
    }

    /// What is written.
    pub fn choice(&self) -> Choice {
        let part = |kind: Kind| self.parts[kind as usize].load(Ordering::Relaxed);
        Choice::of(|kind| f64::from_bits(part(kind)))
    }

    /// How many lines were chosen and not written, as there were too many.
    pub fn held_back(&self) -> u64 {
        self.pace.held_back()
    }

    /// A call was decided.
    pub(super) fn decided(&self, call: &Call<'_>, decided: &Decided<'_, '_>) {
        let chosen = self.chosen.load(Ordering::Relaxed);
        if chosen != 0 {
            self.consider(chosen, call, decided);
        }
    }

    /// A call was not decided.
    pub(super) fn failed(&self, call: &Call<'_>, failed: &Failed<'_>) {
        let of = Kind::Error.bit() & self.chosen.load(Ordering::Relaxed);
        let Some(before) = self.draws(of).then(|| self.pace.take(Instant::now())).flatten() else {
            tracing::debug!(
                request_id = call.id(),
                duration_ms = call.milliseconds(),
                reason = %failed.reason,
                "request not decided"
            );
            return;
        };
        let has = |field| self.fields.has(field);
        let domain = has(Field::Domain).then(|| cut(failed.domain));
        tracing::info!(
            target: DECISIONS,
            outcome = "error",
            domain,
            reason = %failed.reason,
            duration_ms = has(Field::Duration).then(|| call.milliseconds()),
            request_id = has(Field::RequestId).then(|| call.id()),
            held_back = Some(before).filter(|before| *before > 0),
            "decision"
        );
    }

    #[inline(never)]
    fn consider(&self, chosen: u8, call: &Call<'_>, decided: &Decided<'_, '_>) {
        let outcome = outcome(decided);
        let mut of = outcome.bit();
        if !decided.stood_in.is_empty() {
            of |= Kind::Fallback.bit();
        }
        if self.draws(of & chosen)
            && let Some(before) = self.pace.take(Instant::now())
        {
            let (fields, values) = (self.fields, &*self.values);
            line::write(call, decided, Line { fields, values, outcome, before });
        }
    }

    /// Whether one of these kinds is drawn.
    fn draws(&self, kinds: u8) -> bool {
        let of = Kind::ALL.into_iter().filter(|kind| kinds & kind.bit() != 0);
        let mut parts = of.map(|kind| self.parts[kind as usize].load(Ordering::Relaxed));
        parts.any(|part| fastrand::f64() < f64::from_bits(part))
    }
}

fn outcome(decided: &Decided<'_, '_>) -> Kind {
    let decision = decided.decision;
    let is_shadow = |status: &Status| status.applied.as_ref().is_some_and(|a| a.tally.shadow > 0);
    match decision.overall {
        Verdict::OverLimit => Kind::Refused,
        _ if decision.shadowed || decision.statuses.iter().any(is_shadow) => Kind::Shadow,
        _ => Kind::Passed,
    }
}
