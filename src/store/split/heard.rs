//! What is known so far of a batch, for a caller that does not wait for the rest.

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Set;
use super::calls::Answers;
use crate::limiter::Count;
use crate::store::{Counts, StoreError};

/// The answers that stand already.
pub(super) struct Heard {
    answers: Mutex<Answers>,
    /// The operations of dissolved sets, whose answers stand once all parts have said.
    spanning: SmallVec<[bool; 8]>,
}

impl Heard {
    /// Nothing yet of a batch of these sets.
    pub(super) fn new(sets: &[Set<'_>]) -> Self {
        let spanning: SmallVec<[bool; 8]> = sets
            .iter()
            .flat_map(|set| set.operations.iter().map(|_| set.spanning.is_some()))
            .collect();
        Self { answers: Mutex::new(Answers::from_elem(None, spanning.len())), spanning }
    }

    /// A shard has answered.
    pub(super) fn tell(&self, places: &[usize], counts: &Counts) {
        let mut answers = self.answers.lock();
        for (place, count) in places.iter().zip(counts) {
            if self.spanning.get(*place) == Some(&false) {
                answers[*place] = Some(count.clone());
            }
        }
    }

    /// A dissolved set has come to its end.
    pub(super) fn conclude(&self, set: &Set<'_>, concluded: &Answers) {
        let mut answers = self.answers.lock();
        for place in set.first..set.first + set.operations.len() {
            answers[place].clone_from(&concluded[place]);
        }
    }

    /// What there is, and an error for the rest.
    pub(super) fn so_far(&self, error: &StoreError) -> Counts {
        let known = |answer: &Option<Result<Count, StoreError>>| {
            answer.clone().unwrap_or_else(|| Err(error.clone()))
        };
        self.answers.lock().iter().map(known).collect()
    }
}
