//! A set that spans shards: reserve, then see, then undo or complete.
//!
//! Pure: it says what to ask of which counter, and what the answers mean together.
//!
//! - Hits are reserved if they fit. What gives back only looks at first, as hits that were
//!   given back too early could be spent by others.
//! - Refused, or failed in any part: what was reserved is undone. Admitted: what gives back
//!   does so now, and so do refused hits of quotas that are to be spent.
//! - A part that failed is not undone: nobody knows whether it was spent.

use smallvec::SmallVec;

use super::calls::{Answers, Asked, Calls};
use crate::limiter::{
    Action, Batch, Count, NewOperation, Operation, Refused, RefusedSets, is_refused,
};
use crate::rules::{Accuracy, Algorithm};
use crate::store::StoreError;

/// A set of several operations in several shards.
pub(super) struct Spanning<'b> {
    batch: &'b Batch,
    first: usize,
    operations: &'b [Operation],
}

/// What became of a set.
enum Outcome {
    Admitted,
    Refused,
    Failed(StoreError),
}

impl<'b> Spanning<'b> {
    /// The operations of a set, the first of which stands at that place of the batch.
    pub(super) fn new(batch: &'b Batch, first: usize, operations: &'b [Operation]) -> Self {
        Self { batch, first, operations }
    }

    /// Reserves.
    ///
    /// In each shard, the operations that refuse the set when they alone are over are a set
    /// too, so that a part that is over reserves nothing. Quotas stand for themselves: that
    /// all of one shard are over says nothing of the others.
    pub(super) fn reserve<T: Copy + PartialEq>(&self, homes: &[T], calls: &mut Calls<'b, T>) {
        let stops = self.stops();
        let refuses_alone = |new: &NewOperation| stops || !new.part.quota;
        let asked = |operation: &Operation| {
            let mut new = operation.again();
            if self.waits(operation) {
                new.action = Action::Spend(0);
            }
            if !stops {
                new.meter.refused = Refused::Spare;
            }
            new
        };
        let all: SmallVec<[Asked; 8]> =
            (self.first..).zip(self.operations.iter().map(asked)).collect();
        for (at, (place, _)) in all.iter().enumerate() {
            let home = homes[*place];
            if all[..at].iter().any(|(earlier, _)| homes[*earlier] == home) {
                continue;
            }
            let here = all[at..].iter().filter(|(place, _)| homes[*place] == home).copied();
            calls.add(home, here.clone().filter(|(_, new)| refuses_alone(new)));
            for alone in here.filter(|(_, new)| !refuses_alone(new)) {
                calls.add(home, [alone].into_iter());
            }
        }
    }

    /// What is left to do now that the reservations are answered.
    pub(super) fn settle<T: Copy + PartialEq>(
        &self,
        answers: &Answers,
        homes: &[T],
        calls: &mut Calls<'b, T>,
    ) {
        let keep = matches!(self.outcome(answers), Outcome::Admitted);
        let asked = |(place, operation): (usize, &Operation)| {
            let Some(Ok(count)) = &answers[place] else { return None };
            let action = match keep {
                true if self.waits(operation) => Some(operation.action),
                true => completing(operation, count),
                false => self.undoing(operation, count),
            };
            Some((place, NewOperation { action: action?, ..operation.again() }))
        };
        let asked: SmallVec<[Asked; 8]> = self.placed().filter_map(asked).collect();
        // Looks last: they see what the others have left.
        let (looks, others): (Vec<&Asked>, Vec<&Asked>) =
            asked.iter().partition(|(_, new)| matches!(new.action, Action::Undo { hits: 0, .. }));
        for asked in others.into_iter().chain(looks) {
            calls.add(homes[asked.0], [*asked].into_iter());
        }
    }

    /// The answers to the set as a whole.
    pub(super) fn conclude(&self, settled: &Answers, answers: &mut Answers) {
        match self.outcome(answers) {
            Outcome::Admitted => {
                for (place, _) in self.placed().filter(|(place, _)| settled[*place].is_some()) {
                    answers[place].clone_from(&settled[place]);
                }
                // A give-back that failed.
                if let Some(error) = self.error(answers) {
                    self.fail(error, answers);
                }
            }
            Outcome::Refused => {
                for (place, operation) in self.placed() {
                    if let Some(Ok(count)) = &mut answers[place] {
                        self.look_again((place, operation), count, settled);
                    }
                }
            }
            Outcome::Failed(error) => self.fail(error, answers),
        }
    }

    /// What an operation of a refused set says: the counter as the last undo has left it.
    /// Hits whose undo failed stay spent, and are told as such.
    fn look_again(
        &self,
        (place, operation): (usize, &Operation),
        count: &mut Count,
        settled: &Answers,
    ) {
        if let Some(Ok(_)) = &settled[place] {
            count.spent = false;
        }
        let undone = self.placed().filter(|(_, other)| self.same(operation, other));
        let last = undone.filter_map(|(place, _)| settled[place].as_ref()?.as_ref().ok());
        if let Some(last) = last.min_by_key(|count| count.after) {
            count.after = last.after;
            if count.admitted {
                count.wait = last.wait;
            }
        }
    }

    fn outcome(&self, answers: &Answers) -> Outcome {
        if let Some(error) = self.error(answers) {
            return Outcome::Failed(error);
        }
        let facts = self.placed().filter_map(|(place, operation)| {
            let count = answers[place].as_ref()?.as_ref().ok()?;
            Some((operation, count))
        });
        // Hits may also not fit because of hits of this set that stand before them: then
        // these were not held back, and do not stop the set.
        let follows = |one: &Operation| {
            let spends = |(other, count): (&Operation, &Count)| {
                count.admitted && count.spent && !asks_for_nothing(other) && self.same(one, other)
            };
            facts.clone().any(spends)
        };
        let refused = match self.batch.refused_sets {
            RefusedSets::SpendNothing => {
                is_refused(facts.clone().map(|(operation, count)| (operation.part, count.admitted)))
            }
            RefusedSets::SpendWhatIsOver => {
                facts.clone().any(|(operation, count)| !count.admitted && !follows(operation))
            }
        };
        if refused { Outcome::Refused } else { Outcome::Admitted }
    }

    fn error(&self, answers: &Answers) -> Option<StoreError> {
        let missing = || StoreError::Broken("a counter of the set has no answer".into());
        self.placed().find_map(|(place, _)| match &answers[place] {
            Some(Ok(_)) => None,
            Some(Err(error)) => Some(error.clone()),
            None => Some(missing()),
        })
    }

    /// One part could not be asked: others were, and nobody knows what is left of that.
    fn fail(&self, error: StoreError, answers: &mut Answers) {
        let error = match error {
            StoreError::Unavailable(reason) => StoreError::Broken(reason),
            error => error,
        };
        for (place, _) in self.placed() {
            answers[place] = Some(Err(error.clone()));
        }
    }

    /// What undoes an operation, if it has to be; of one that waits, a look.
    fn undoing(&self, operation: &Operation, count: &Count) -> Option<Action> {
        let hits = match operation.action {
            Action::Spend(hits) => hits,
            _ if self.waits(operation) => 0,
            Action::GiveBack(_) | Action::Undo { .. } => return None,
        };
        // What others hold of a bucket lies above these hits and must not move: they come back
        // by themselves.
        let is_bucket = matches!(operation.meter.algorithm, Algorithm::TokenBucket { .. });
        let stays = is_bucket && operation.leeway.accuracy == Accuracy::Leased;
        let is_due = count.admitted && count.spent && !stays;
        is_due.then_some(Action::Undo { hits, since: count.at })
    }

    /// Whether hits that do not fit stop the set and are spent.
    fn stops(&self) -> bool {
        self.batch.refused_sets == RefusedSets::SpendWhatIsOver
    }

    /// Whether it gives back, and only if the set is admitted.
    fn waits(&self, operation: &Operation) -> bool {
        !self.stops() && gives_back(operation.action)
    }

    /// Whether two operations count with one counter.
    fn same(&self, one: &Operation, other: &Operation) -> bool {
        self.batch.key(one) == self.batch.key(other)
            && one.meter.window == other.meter.window
            && one.meter.algorithm == other.meter.algorithm
    }

    /// The operations with their places in the batch.
    fn placed(&self) -> impl Iterator<Item = (usize, &'b Operation)> + Clone {
        (self.first..).zip(self.operations)
    }
}

/// Refused hits of an admitted set that are yet to be spent.
fn completing(operation: &Operation, count: &Count) -> Option<Action> {
    let is_due = !count.admitted && !count.spent && operation.meter.refused == Refused::Spend;
    is_due.then_some(operation.action)
}

fn gives_back(action: Action) -> bool {
    matches!(action, Action::GiveBack(_) | Action::Undo { .. })
}

fn asks_for_nothing(operation: &Operation) -> bool {
    !matches!(operation.action, Action::Spend(1..))
}
