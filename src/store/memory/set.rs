//! Sets of several operations: all or nothing, whatever shards their counters live in.
//!
//! The locks of all shards involved are held from the first step to the last write, and
//! always taken in ascending order, so that no two sets wait for each other.

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use super::shard::{Fingerprint, Shard};
use super::{MemoryStore, SHARDS, begins};
use crate::clock::Timestamp;
use crate::limiter::{Action, Batch, Count, Meter, Operation, State, Step, is_refused};
use crate::store::StoreError;

/// The answers to a set.
type SetCounts = SmallVec<[Count; 4]>;

/// The locked shards of a set, by their index.
struct Locked<'s>(SmallVec<[(usize, MutexGuard<'s, Shard>); 4]>);

/// A counter as it would become.
struct Draft {
    fingerprint: Fingerprint,
    meter: Meter,
    state: State,
    /// There is something to hold: it was held before, or hits were spent.
    exists: bool,
}

impl MemoryStore {
    /// Applies a set of several operations, or none of them.
    pub(super) fn apply_set(
        &self,
        batch: &Batch,
        set: &[Operation],
    ) -> Result<SetCounts, StoreError> {
        let fingerprint = |operation: &Operation| {
            Fingerprint::of(batch.key(operation), &operation.meter, self.hash_keys)
        };
        let names: SmallVec<[Fingerprint; 4]> = set.iter().map(fingerprint).collect();
        let mut locked = self.lock(&names);
        let now = locked.now(batch.now);
        let operations = || set.iter().zip(names.iter().copied());

        let mut drafts = locked.drafts(operations());
        let mut steps: SmallVec<[Step; 4]> = operations()
            .map(|(op, name)| Draft::apply(&mut drafts, name, (op.meter, op.action), now))
            .collect();
        if is_refused(set.iter().zip(&steps).map(|(op, step)| (op.part, step.admitted))) {
            drafts = locked.drafts(operations());
            for ((operation, name), step) in operations().zip(&mut steps) {
                let look = (operation.meter, Action::Spend(0));
                let looked = Draft::apply(&mut drafts, name, look, now);
                *step = Step { state: looked.state, admitted: step.admitted, spent: false };
            }
        }
        self.commit(&mut locked, &drafts, now)?;
        let count = |(op, step): (&Operation, &Step)| op.meter.count(step, op.action, now);
        Ok(set.iter().zip(&steps).map(count).collect())
    }

    fn lock(&self, names: &[Fingerprint]) -> Locked<'_> {
        let mut shards: SmallVec<[usize; 4]> = names.iter().map(|name| index(*name)).collect();
        shards.sort_unstable();
        shards.dedup();
        Locked(shards.into_iter().map(|at| (at, self.shards[at].0.lock())).collect())
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

fn index(name: Fingerprint) -> usize {
    name.shard as usize % SHARDS
}

impl Locked<'_> {
    /// The moment of all these shards when it is `now` elsewhere.
    fn now(&self, now: Timestamp) -> Timestamp {
        self.0.iter().fold(now, |now, (_, shard)| shard.now(now))
    }

    /// The shard of a counter; every counter of the set has one.
    fn shard(&mut self, name: Fingerprint) -> &mut Shard {
        let at = self.0.partition_point(|(at, _)| *at < index(name));
        &mut self.0[at].1
    }

    /// The counters as they are, each once.
    fn drafts<'o>(
        &mut self,
        operations: impl Iterator<Item = (&'o Operation, Fingerprint)>,
    ) -> SmallVec<[Draft; 4]> {
        let mut drafts: SmallVec<[Draft; 4]> = SmallVec::new();
        for (operation, fingerprint) in operations {
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
