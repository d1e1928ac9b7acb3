//! One call for several batches, each of which may have been asked for by somebody else.
//!
//! Operations that only add to a counter are asked for once, as a sum: who came when says
//! what the counter held after each of them, as if they had been counted one after the
//! other. A sum ends where another operation on its counter comes between. All others stand
//! in the call as they are, in order. What is elsewhere in the call does not matter to a
//! counter, so an operation may move forward to the first one of its sum.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable};
use redis::{Cmd, RedisWrite, Script};

use super::super::script::{needs_no_step, ttl, write_key, write_set, write_sum};
use super::super::{RedisConfig, ScriptClock};
use crate::limiter::{Action, Batch, COUNT_MAX, Operation};

/// Where the reply to a call answers what.
pub(in super::super) struct Call {
    /// Where the operations of all batches find their answers, one after the other.
    pub(in super::super) places: Vec<Place>,
    keys: usize,
    sums: Vec<Sum>,
}

/// Where an operation finds its answer.
#[derive(Clone, Copy)]
pub(in super::super) enum Place {
    /// With a sum: the hits of it up to and with this operation.
    Sum { sum: usize, until: u64 },
    /// At that key, as hits that were given back.
    Back(usize),
    /// At that key, as the outcome of a step.
    Step(usize),
}

struct Sum {
    key: usize,
    hits: u64,
    /// The longest that any of them asked for.
    ttl: u64,
}

impl Call {
    /// The command that applies these batches one after the other, and how its reply is
    /// read. They are of the same moment, if the script goes by theirs.
    pub(in super::super) fn new<'b>(
        script: &Script,
        batches: impl Iterator<Item = &'b Batch>,
        config: &RedisConfig,
    ) -> (Cmd, Self) {
        let mut gathered = Gathered::default();
        let mut now = None;
        for batch in batches {
            now.get_or_insert(batch.now);
            batch.sets().for_each(|set| gathered.add((batch, set), config));
        }
        let mut command = Cmd::with_capacity(
            4 + 4 * gathered.keys.len(),
            64 + 64 * gathered.keys.len() + gathered.bytes.len(),
        );
        command.arg("EVALSHA").arg(script.get_hash()).arg(gathered.keys.len());
        for key in &gathered.keys {
            command.write_arg(&gathered.bytes[key.clone()]);
        }
        match (config.clock, now) {
            (ScriptClock::Batch, Some(now)) => command.write_arg_fmt(now.as_micros()),
            _ => command.write_arg(b""),
        }
        for item in &gathered.items {
            match *item {
                Item::Sum(sum) => {
                    let Sum { hits, ttl, .. } = gathered.sums[sum];
                    write_sum(&mut command, hits, ttl);
                }
                Item::Back(hits, ttl) => {
                    write_sum(&mut command, format_args!("-{}", hits.min(COUNT_MAX)), ttl);
                }
                Item::Set(batch, set) => {
                    write_set(&mut command, set, batch.refused_sets, config);
                }
            }
        }
        let Gathered { keys, sums, places, .. } = gathered;
        (command, Self { places, keys: keys.len(), sums })
    }

    /// How many keys it asks for.
    pub(in super::super) fn keys(&self) -> usize {
        self.keys
    }

    /// The key that a place is at.
    pub(in super::super) fn at(&self, place: Place) -> usize {
        match place {
            Place::Sum { sum, .. } => self.sums[sum].key,
            Place::Back(key) | Place::Step(key) => key,
        }
    }

    /// The hits of a sum.
    pub(in super::super) fn hits(&self, sum: usize) -> u64 {
        self.sums[sum].hits
    }
}

/// What there is to be sent so far.
#[derive(Default)]
struct Gathered<'b> {
    /// The bytes of the keys, and where each stands.
    bytes: Vec<u8>,
    keys: Vec<Range<usize>>,
    items: Vec<Item<'b>>,
    sums: Vec<Sum>,
    places: Vec<Place>,
    /// The sums that may grow, by their keys.
    open: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

enum Item<'b> {
    Sum(usize),
    Back(u64, u64),
    Set(&'b Batch, &'b [Operation]),
}

impl<'b> Gathered<'b> {
    fn add(&mut self, (batch, set): (&'b Batch, &'b [Operation]), config: &RedisConfig) {
        match set {
            [operation] if needs_no_step(set) => match operation.action {
                Action::Spend(hits) => {
                    let ttl = ttl(operation, config);
                    self.spend((batch, operation), hits, ttl);
                }
                Action::GiveBack(hits) | Action::Undo { hits, .. } => {
                    let key = self.interrupt(batch, operation);
                    self.places.push(Place::Back(key));
                    self.items.push(Item::Back(hits, ttl(operation, config)));
                }
            },
            _ => {
                for operation in set {
                    let key = self.interrupt(batch, operation);
                    self.places.push(Place::Step(key));
                }
                self.items.push(Item::Set(batch, set));
            }
        }
    }

    /// Adds hits to the sum of their counter.
    fn spend(&mut self, (batch, operation): (&Batch, &Operation), hits: u64, ttl: u64) {
        let key = self.write(batch, operation);
        let Self { bytes, keys, sums, open, hasher, .. } = self;
        let hash = |key: &Range<usize>| hasher.hash_one(&bytes[key.clone()]);
        let is_same = |&sum: &usize| bytes[keys[sums[sum].key].clone()] == bytes[key.clone()];
        let own = hash(&key);
        let sum = match open.find(own, is_same) {
            Some(&sum) => {
                self.bytes.truncate(key.start);
                sum
            }
            None => {
                let sum = sums.len();
                sums.push(Sum { key: keys.len(), hits: 0, ttl: 0 });
                keys.push(key);
                open.insert_unique(own, sum, |&sum| hash(&keys[sums[sum].key]));
                self.items.push(Item::Sum(sum));
                sum
            }
        };
        let total = &mut self.sums[sum];
        total.hits = total.hits.saturating_add(hits).min(COUNT_MAX);
        total.ttl = total.ttl.max(ttl);
        self.places.push(Place::Sum { sum, until: total.hits });
    }

    /// The key of an operation that is sent as it is, and that ends the sum of its counter.
    fn interrupt(&mut self, batch: &Batch, operation: &Operation) -> usize {
        let key = self.write(batch, operation);
        let Self { bytes, keys, sums, open, hasher, .. } = self;
        if !open.is_empty() {
            let own = hasher.hash_one(&bytes[key.clone()]);
            let is_same = |&sum: &usize| bytes[keys[sums[sum].key].clone()] == bytes[key.clone()];
            if let Ok(sum) = open.find_entry(own, is_same) {
                sum.remove();
            }
        }
        keys.push(key);
        keys.len() - 1
    }

    fn write(&mut self, batch: &Batch, operation: &Operation) -> Range<usize> {
        let start = self.bytes.len();
        // What writes to memory cannot fail.
        let _ = write_key(&mut self.bytes, batch, operation);
        start..self.bytes.len()
    }
}
