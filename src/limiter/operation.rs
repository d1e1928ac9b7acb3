//! What is asked of a store, and what it answers: the seam between the pure core and
//! the counters.
//!
//! Operations come in sets. A set of one operation stands for itself; a set of several
//! stands together: what a refused one spends is said by [`Batch::refused_sets`].

use std::ops::Range;
use std::time::Duration;

use smallvec::SmallVec;

use super::Meter;
use crate::clock::Timestamp;
use crate::rules::{Accuracy, Limit, OnStoreError};

/// Operations on counters, applied in order, set by set.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The moment of the decision; windows and expiry follow from it.
    pub now: Timestamp,
    /// What sets of several operations spend when they are refused.
    pub refused_sets: RefusedSets,
    /// By when the answer is to be there, from the beginning of the decision on; none: nobody
    /// waits for it.
    pub patience: Option<Duration>,
    /// What the work for it is tied to, if the call is traced. It changes nothing.
    pub trace: Option<TraceRef>,
    keys: SmallVec<[u8; 256]>,
    operations: SmallVec<[Operation; 4]>,
}

/// The span that asks, in the numbers of W3C trace contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRef {
    /// The trace.
    pub trace: u128,
    /// The span in it.
    pub span: u64,
    /// Who wants to hear of it, a bit each.
    pub wanted: u8,
}

/// What a set of several operations spends when it is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefusedSets {
    /// Nothing: none of its counters changes. Its operations see what those before them in
    /// the set have spent, and [`is_refused`] says when it is refused.
    #[default]
    SpendNothing,
    /// Hits that do not fit are spent as their meters say, all others are not: they only
    /// look. (What is given back is given back.) It is refused when the hits of any operation alone would not fit. This is
    /// envoyproxy's `STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT`.
    SpendWhatIsOver,
}

/// One operation on one counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    key: Range<u32>,
    /// How the counter counts.
    pub meter: Meter,
    /// What to do with the counter.
    pub action: Action,
    /// Which set it belongs to, counted from 0 without gaps.
    pub set: u16,
    /// Its part in refusing the set.
    pub part: Part,
    /// What may be done short of asking the store.
    pub leeway: Leeway,
}

/// How a limit may be counted other than by asking the store for each hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway {
    /// Whether hits may be spent from blocks that were taken before.
    pub accuracy: Accuracy,
    /// What to answer when the store cannot say.
    pub on_store_error: OnStoreError,
}

impl Leeway {
    /// What a limit gives.
    pub fn of(limit: &Limit) -> Self {
        Self { accuracy: limit.accuracy, on_store_error: limit.on_store_error }
    }
}

/// The part of an operation in refusing its set.
///
/// Operations of one group (a descriptor) stand together: the group is over when any of
/// its hits does not fit. A set is refused when a limit group is over, or when it has
/// quota groups and all of them are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Names the group within the set.
    pub group: u16,
    /// Whether the group is in quota mode.
    pub quota: bool,
}

/// An operation without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewOperation {
    /// How the counter counts.
    pub meter: Meter,
    /// What to do with it.
    pub action: Action,
    /// The set; operations are added set by set.
    pub set: u16,
    /// The part in refusing the set.
    pub part: Part,
    /// What may be done short of asking the store.
    pub leeway: Leeway,
}

impl NewOperation {
    /// An operation that is a set of its own and gives no leeway.
    pub fn alone(meter: Meter, action: Action, set: u16) -> Self {
        let part = Part { group: 0, quota: false };
        Self { meter, action, set, part, leeway: Leeway::default() }
    }
}

impl Operation {
    /// The same operation for another batch.
    pub fn again(&self) -> NewOperation {
        let Self { meter, action, set, part, leeway, .. } = *self;
        NewOperation { meter, action, set, part, leeway }
    }
}

/// Whether a set is refused: `groups` are its operations' parts and whether their hits
/// fit.
pub fn is_refused(operations: impl Iterator<Item = (Part, bool)> + Clone) -> bool {
    let over = |quota: bool| operations.clone().filter(move |(p, fits)| p.quota == quota && !fits);
    if over(false).next().is_some() {
        return true;
    }
    let mut quota = operations.clone().filter(|(part, _)| part.quota).peekable();
    quota.peek().is_some()
        && quota.all(|(part, _)| over(true).any(|(other, _)| other.group == part.group))
}

/// What an operation does with the counter of the current window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Adds hits if they fit, or whatever they do, as the meter says; 0 looks without
    /// spending. Counts saturate: of fixed windows at [`COUNT_MAX`], of sliding ones at
    /// 2^53 - 1.
    Spend(u64),
    /// Takes hits back, never below zero.
    GiveBack(u64),
    /// Takes back what one operation has spent, as far as it still counts: hits of an
    /// older window stay there, and tokens that a bucket has gained since are not gained
    /// twice. So it never takes back what others have spent.
    Undo {
        /// How many.
        hits: u64,
        /// When they were spent: the [`Count::at`] of that operation.
        since: Timestamp,
    },
}

/// The largest count: what a Redis integer holds.
pub const COUNT_MAX: u64 = i64::MAX as u64;

/// The answer to one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What the counter holds after the operation: hits in a window, tokens out of a
    /// bucket.
    pub after: u64,
    /// Whether the hits fit; giving back always does.
    pub admitted: bool,
    /// Whether the counter has counted them. (Hits that fit are not counted when their
    /// set was refused.)
    pub spent: bool,
    /// Admitted: how long until the counter is as new. Refused: how long until the same
    /// hits fit, `None` if they never do.
    pub wait: Option<Duration>,
    /// When it was counted, by the clock of the counter.
    pub at: Timestamp,
    /// Who answered.
    pub source: Source,
}

/// Who answered for a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The store that holds it.
    #[default]
    Store,
    /// The memory of refusals: the counter was not asked, as it was known to be exhausted.
    RefusalCache,
    /// A block of hits that was taken before.
    Lease,
    /// Nobody who knows: the store could not say, and the limit says what to do then.
    Fallback,
    /// Nobody: the store could not say, and the limit leaves what to do to the caller. The
    /// rest of such a count means nothing.
    Nobody,
}

impl Count {
    /// The count of an operation that nobody could answer for.
    pub fn unknown(now: Timestamp) -> Self {
        let source = Source::Nobody;
        Self { after: 0, admitted: true, spent: false, wait: None, at: now, source }
    }
}

impl Batch {
    /// An empty batch of that moment.
    pub fn new(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    /// An empty batch for a part of what `whole` asks for.
    pub fn part_of(whole: &Self) -> Self {
        let Self { now, refused_sets, patience, trace, .. } = *whole;
        Self { now, refused_sets, patience, trace, ..Self::default() }
    }

    /// Adds an operation whose key `write` appends to the buffer.
    pub fn push(&mut self, new: NewOperation, write: impl FnOnce(&mut SmallVec<[u8; 256]>)) {
        let NewOperation { meter, action, set, part, leeway } = new;
        let start = self.keys.len() as u32;
        write(&mut self.keys);
        let key = start..self.keys.len() as u32;
        self.operations.push(Operation { key, meter, action, set, part, leeway });
    }

    /// The operations, set by set.
    pub fn sets(&self) -> impl Iterator<Item = &[Operation]> {
        self.operations.chunk_by(|one, next| one.set == next.set)
    }

    /// The operations, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The counter key of one of this batch's operations, without its window.
    pub fn key(&self, operation: &Operation) -> &[u8] {
        &self.keys[operation.key.start as usize..operation.key.end as usize]
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}
