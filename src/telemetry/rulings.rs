//! What rules came to, descriptor by descriptor.

use super::counter::Counter;
use crate::limiter::{Decision, Status, Verdict};

/// What a rule came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// Within the limit.
    Ok,
    /// Over it.
    OverLimit,
    /// Over it, and let pass in shadow mode.
    Shadow,
    /// No limit applied.
    Unlimited,
    /// Hits were given back.
    GivenBack,
    /// The store could not say.
    Unknown,
}

impl Ruling {
    const ALL: [(Self, &str); 6] = [
        (Self::Ok, "ok"),
        (Self::OverLimit, "over_limit"),
        (Self::Shadow, "shadow"),
        (Self::Unlimited, "unlimited"),
        (Self::GivenBack, "given_back"),
        (Self::Unknown, "unknown"),
    ];

    /// That of a descriptor of a decision.
    pub(super) fn of(status: &Status, decision: &Decision) -> Self {
        match (status.verdict, &status.applied) {
            (Verdict::Unknown, _) => Self::Unknown,
            (Verdict::OverLimit, _) if decision.shadowed => Self::Shadow,
            (Verdict::OverLimit, _) => Self::OverLimit,
            (Verdict::Ok, None) => Self::Unlimited,
            (Verdict::Ok, Some(applied)) if applied.tally.shadow > 0 => Self::Shadow,
            (Verdict::Ok, Some(applied)) if applied.tally.given_back > 0 => Self::GivenBack,
            (Verdict::Ok, Some(_)) => Self::Ok,
        }
    }
}

/// How often a rule came to what.
#[derive(Debug, Default)]
pub(super) struct Rulings([Counter; Ruling::ALL.len()]);

impl Rulings {
    pub(super) fn add(&self, ruling: Ruling) {
        self.0[ruling as usize].add(1);
    }

    /// What is not zero, by name.
    pub(super) fn readings(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = Ruling::ALL.iter().map(|(ruling, name)| (*name, self.0[*ruling as usize].get()));
        all.filter(|(_, value)| *value > 0)
    }

    /// Adds what another one has.
    pub(super) fn add_all(&self, other: &Self) {
        self.0.iter().zip(&other.0).for_each(|(sum, more)| sum.add(more.get()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rulings_stand_at_their_place() {
        for (place, (ruling, _)) in Ruling::ALL.into_iter().enumerate() {
            assert_eq!(ruling as usize, place);
        }
    }
}
