//! What is refused most: a bounded sketch.

use super::observer::Decided;

/// One of those that are refused most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Path of the rule.
    pub rule: String,
    /// The values of the request, or what stands for them.
    pub values: String,
    /// How often it was refused, at most; about.
    pub count: u64,
    /// By how much that may be too many.
    pub error: u64,
}

/// Remembers what is refused most.
#[derive(Debug, Default)]
pub struct TopRefused {}

impl TopRefused {
    /// Counts what a decision refused.
    pub(super) fn note(&self, _decided: &Decided<'_, '_>) {}

    /// Those refused most, most first.
    pub fn top(&self, _most: usize) -> Vec<Refused> {
        Vec::new()
    }
}
