//! Sets of several operations, whatever shards their counters live in.
//!
//! The locks of all shards involved are held from the first step to the last write, and
//! always taken in ascending order, so that no two sets wait for each other.

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::shard::{Fingerprint, Shard};
use super::{MemoryStore, begins};
use crate::clock::Timestamp;
use crate::limiter::{
    Action, Batch, Count, Meter, Operation, RefusedSets, State, Step, is_refused,
};
use crate::store::StoreError;

/// An operation and its counter.
type Named<'o> = (&'o Operation, Fingerprint);

/// The answers to a set.
type SetCounts = SmallVec<[Count; 4]>;
type Steps = SmallVec<[Step; 4]>;
type Drafts = SmallVec<[Draft; 4]>;

/// The locked shards of a set, by their index.
struct Locked<'s>(SmallVec<[(usize, MutexGuard<'s, Shard>); 4]>);

/// A counter as it would become.
#[derive(Clone)]
struct Draft {
    fingerprint: Fingerprint,
    meter: Meter,
    state: State,
    /// There is something to hold: it was held before, or hits were spent.
    exists: bool,
}

impl MemoryStore {
    /// Applies a set of several operations.
    pub(super) fn apply_set(
        &self,
        batch: &Batch,
        set: &[Operation],
    ) -> Result<SetCounts, StoreError> {
        let named =
            |operation| (operation, self.fingerprint(batch.key(operation), &operation.meter));
        let set: SmallVec<[Named<'_>; 4]> = set.iter().map(named).collect();
        let mut locked = self.lock(&set);
        let now = locked.now(batch.now);

        let mut drafts = locked.drafts(&set);
        let steps = match batch.refused_sets {
            RefusedSets::SpendNothing => Draft::all_or_nothing(&mut drafts, &set, now),
            RefusedSets::SpendWhatIsOver => Draft::stop_when_over(&mut drafts, &set, now),
        };
        self.commit(&mut locked, &drafts, now)?;
        let count = |((op, _), step): (&Named<'_>, &Step)| op.meter.count(step, op.action, now);
        Ok(set.iter().zip(&steps).map(count).collect())
    }

    fn lock(&self, set: &[Named<'_>]) -> Locked<'_> {
        let mut shards: SmallVec<[usize; 4]> = set.iter().map(|(_, name)| name.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        Locked(shards.into_iter().map(|at| (at, self.shard(at).lock())).collect())
    }

    /// Writes the drafts down if there is room for all of them.
    fn commit(
        &self,
        locked: &mut Locked<'_>,
        drafts: &[Draft],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !self.take_room(locked.vacant(drafts)) {
            for (_, shard) in &mut locked.0 {
                if shard.is_worth_sweeping(now) {
                    self.sweep_shard(shard, now);
                }
            }
            // Asked again: the sweep may have dropped counters of this very set.
            if !self.take_room(locked.vacant(drafts)) {
                return Err(StoreError::Full(self.max_counters));
            }
        }
        for draft in drafts.iter().filter(|draft| draft.exists) {
            let shard = locked.shard(draft.fingerprint);
            match shard.find_mut(draft.fingerprint) {
                Some(counter) => counter.set(&draft.meter, draft.state),
                None => shard.insert(draft.fingerprint, &draft.meter, draft.state),
            }
        }
        Ok(())
    }
}

impl Locked<'_> {
    /// The moment of all these shards when it is `now` elsewhere.
    fn now(&self, now: Timestamp) -> Timestamp {
        self.0.iter().fold(now, |now, (_, shard)| shard.now(now))
    }

    /// The shard of a counter; every counter of the set has one.
    fn shard(&mut self, name: Fingerprint) -> &mut Shard {
        let at = self.0.partition_point(|(at, _)| *at < name.shard);
        &mut self.0[at].1
    }

    /// The counters as they are, each once.
    fn drafts(&mut self, set: &[Named<'_>]) -> Drafts {
        let mut drafts = Drafts::new();
        for &(operation, fingerprint) in set {
            if drafts.iter().all(|draft| draft.fingerprint != fingerprint) {
                let held = self.shard(fingerprint).find(fingerprint).map(|counter| counter.state);
                let (exists, state) = (held.is_some(), held.unwrap_or_default());
                drafts.push(Draft { fingerprint, meter: operation.meter, state, exists });
            }
        }
        drafts
    }

    /// How many of these counters are yet to be held.
    fn vacant(&mut self, drafts: &[Draft]) -> usize {
        let mut is_vacant = |draft: &&Draft| {
            draft.exists && self.shard(draft.fingerprint).find(draft.fingerprint).is_none()
        };
        drafts.iter().filter(|draft| is_vacant(draft)).count()
    }
}

impl Draft {
    /// Takes all steps, each on what those before it left; or, if they do not all fit, none.
    fn all_or_nothing(drafts: &mut Drafts, set: &[Named<'_>], now: Timestamp) -> Steps {
        let before = drafts.clone();
        let mut steps: Steps = set
            .iter()
            .map(|(op, name)| Self::apply(drafts, *name, (op.meter, op.action), now))
            .collect();
        if is_refused(set.iter().zip(&steps).map(|((op, _), step)| (op.part, step.admitted))) {
            *drafts = before;
            for ((operation, name), step) in set.iter().zip(&mut steps) {
                let look = (operation.meter, Action::Spend(0));
                let looked = Self::apply(drafts, *name, look, now);
                *step = Step { state: looked.state, admitted: step.admitted, spent: false };
            }
        }
        steps
    }

    /// Takes all steps; or, if any alone would not fit, only those that would not.
    fn stop_when_over(drafts: &mut Drafts, set: &[Named<'_>], now: Timestamp) -> Steps {
        let fits = |(op, name): &Named<'_>| {
            Self::apply(&mut drafts.clone(), *name, (op.meter, op.action), now).admitted
        };
        let fit: SmallVec<[bool; 4]> = set.iter().map(fits).collect();
        let is_stopped = fit.contains(&false);
        let step = |((op, name), fits): (&Named<'_>, &bool)| {
            if is_stopped && *fits && matches!(op.action, Action::Spend(_)) {
                let looked = Self::apply(drafts, *name, (op.meter, Action::Spend(0)), now);
                return Step { spent: false, ..looked };
            }
            Self::apply(drafts, *name, (op.meter, op.action), now)
        };
        set.iter().zip(&fit).map(step).collect()
    }

    /// Takes the step of one operation on its counter among `drafts`.
    fn apply(
        drafts: &mut [Self],
        name: Fingerprint,
        (meter, action): (Meter, Action),
        now: Timestamp,
    ) -> Step {
        let mut drafts = drafts.iter_mut();
        let Some(draft) = drafts.find(|draft| draft.fingerprint == name) else {
            // Not reached: every operation has a draft.
            return meter.step(State::default(), action, now);
        };
        let step = meter.step(draft.state, action, now);
        draft.state = step.state;
        draft.meter = meter;
        draft.exists |= begins(action, &step);
        step
    }
}
