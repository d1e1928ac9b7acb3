//! The token bucket: holds up to `burst` tokens, gains `rate` of them in each window's
//! length, evenly, and a hit takes one.
//!
//! Kept as one moment, the one in which the bucket is full again (GCRA); exact to a
//! fraction of a microsecond, so that nothing drifts. In any span of time `t` at most
//! `burst + rate x t` is admitted.

use std::time::Duration;

use super::meter::{Meter, Refused, State, Step};
use super::operation::Action;
use crate::clock::Timestamp;

/// A span of time: whole microseconds and a fraction in units of `1 / rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Whole microseconds.
    pub micros: u64,
    /// The fraction's numerator, less than the rate.
    pub fraction: u64,
}

impl Span {
    const ZERO: Self = Self { micros: 0, fraction: 0 };

    fn plus(self, other: Self, rate: u64) -> Self {
        let fraction = self.fraction + other.fraction;
        let carry = u64::from(fraction >= rate);
        Self {
            micros: self.micros.saturating_add(other.micros).saturating_add(carry),
            fraction: fraction - carry * rate,
        }
    }

    /// Zero if `other` is longer.
    fn minus(self, other: Self, rate: u64) -> Self {
        if self <= other {
            return Self::ZERO;
        }
        let borrow = u64::from(self.fraction < other.fraction);
        Self {
            micros: self.micros - other.micros - borrow,
            fraction: self.fraction + borrow * rate - other.fraction,
        }
    }

    /// Rounded up.
    fn ceil(self) -> u64 {
        self.micros.saturating_add(u64::from(self.fraction > 0))
    }
}

impl Meter {
    /// How long a bucket takes to gain `tokens`, at most as many as it holds.
    pub fn refill(&self, tokens: u64) -> Span {
        let tokens = tokens.min(self.size().into());
        let (micros, fraction) =
            muldiv(tokens, self.window.as_micros(), 0, self.rate.max(1).into());
        Span { micros, fraction }
    }

    /// The tokens gained in `span`, rounded down.
    fn gained(&self, span: Span) -> u64 {
        muldiv(span.micros, self.rate.into(), span.fraction, self.window.as_micros()).0
    }
}

/// One operation at `now`.
pub(super) fn step(meter: &Meter, state: State, action: Action, now: Timestamp) -> Step {
    let (rate, full) = (meter.rate.max(1).into(), meter.refill(meter.size().into()));
    if meter.size() == 0 {
        // No number of tokens can be told in times here: what was taken is kept as it was.
        let admitted = !matches!(action, Action::Spend(1..));
        let spent = admitted || meter.refused == Refused::Spend;
        return Step { state, admitted, spent };
    }
    let debt = debt(meter, state, now);
    let with = |debt: Span| State {
        at: now.as_micros().saturating_add(debt.micros),
        count: debt.fraction,
        previous: rate,
    };
    match action {
        Action::GiveBack(hits) => {
            let state = with(debt.minus(meter.refill(hits), rate));
            Step { state, admitted: true, spent: true }
        }
        Action::Undo { hits, since } => {
            // Other hits may have begun to come back only after these: as if they had not.
            let passed = now.as_micros().saturating_sub(since.as_micros());
            let left = meter.refill(hits).minus(Span { micros: passed, fraction: 0 }, rate);
            Step { state: with(debt.minus(left, rate)), admitted: true, spent: true }
        }
        Action::Spend(hits) => {
            let sum = debt.plus(meter.refill(hits), rate);
            let admitted = hits <= meter.size().into() && sum <= full;
            let spent = admitted || meter.refused == Refused::Spend;
            let state = match (admitted, spent) {
                (true, _) => with(sum),
                (false, true) => with(debt.max(full)),
                (false, false) => with(debt),
            };
            Step { state, admitted, spent }
        }
    }
}

/// The tokens that are not in the bucket, rounded up.
pub(super) fn used(meter: &Meter, state: State, now: Timestamp) -> u64 {
    let (size, rate) = (meter.size().into(), meter.rate.max(1).into());
    let left = meter.refill(size).minus(debt(meter, state, now), rate);
    size - meter.gained(left).min(size)
}

/// How long until `hits`, which the bucket could hold, are in it.
pub(super) fn until_fits(meter: &Meter, state: State, hits: u64, now: Timestamp) -> Duration {
    let rate = meter.rate.max(1).into();
    let sum = debt(meter, state, now).plus(meter.refill(hits), rate);
    let full = meter.refill(meter.size().into());
    Duration::from_micros(sum.minus(full, rate).ceil())
}

/// How long until the bucket is full again. That may be more than an empty one takes: after
/// the burst was lowered, or at a clock that went back. What was taken stays taken.
///
/// Tokens taken at another rate stay the same number of tokens, to the last fraction, but
/// no more than the bucket holds: a limit lowered from millions to ten refuses nobody for
/// years.
fn debt(meter: &Meter, state: State, now: Timestamp) -> Span {
    if state.at < now.as_micros() {
        return Span::ZERO;
    }
    let (rate, micros) = (u64::from(meter.rate.max(1)), state.at - now.as_micros());
    if state.previous == rate {
        // A state that came from elsewhere may hold anything.
        return Span { micros, fraction: state.count.min(rate - 1) };
    }
    let (micros, fraction) = muldiv(micros, state.previous, state.count, rate);
    let debt = Span { micros, fraction };
    debt.min(meter.refill(meter.size().into()))
}

/// `(factor x times + plus) / by`, rounded down and at most `u64::MAX`, and the remainder.
/// Most products fit 64 bits, where division is several times as fast.
fn muldiv(factor: u64, times: u64, plus: u64, by: u64) -> (u64, u64) {
    if let Some(product) = factor.checked_mul(times).and_then(|it| it.checked_add(plus)) {
        return (product / by, product % by);
    }
    let product = u128::from(factor) * u128::from(times) + u128::from(plus);
    let by = u128::from(by);
    (u64::try_from(product / by).unwrap_or(u64::MAX), (product % by) as u64)
}
