//! What is known and held of one counter, and what to do about it.
//!
//! Pure but for the moments it is given. A block that cannot be spent here any more leaves
//! as [`Block`]; whether it is given back is the table's business.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::block::{Block, Moment, gained};
use super::demand::{Demand, scaled};
use crate::limiter::{Count, Meter, Refused, Source};
use crate::rules::Algorithm;

/// Below this demand of a period it is not worth while.
const DEMAND_MIN: u64 = 8;
/// A block that is spent by fewer requests than that saves nothing.
const USES_MIN: u64 = 2;

/// What holds for all counters.
#[derive(Debug)]
pub(super) struct Terms {
    /// For how long a block should last.
    pub(super) period: Duration,
    /// How many processes share a limit, or a few more.
    pub(super) sharers: AtomicU64,
}

/// Blocks that leave.
pub(super) type Leaving = SmallVec<[Block; 2]>;

/// A counter.
#[derive(Debug)]
pub(super) struct Entry {
    /// Stands for its key, algorithm and window.
    pub(super) name: u128,
    /// The key, once a block was asked for.
    pub(super) key: Option<Box<[u8]>>,
    /// What its blocks were taken for.
    pub(super) meter: Meter,
    /// Whether a block is being asked for.
    pub(super) asking: bool,
    /// When it was last asked for.
    pub(super) used: Instant,
    /// The older one first.
    blocks: Leaving,
    known: Option<Known>,
    demand: Demand,
    /// Until then nothing is asked for.
    rests_until: Instant,
}

/// What the store last said of the counter.
#[derive(Clone, Copy, Debug)]
struct Known {
    after: u64,
    moment: Moment,
}

/// Hits that were spent from a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    /// The block.
    pub(super) block: u64,
    /// How many there were.
    pub(super) usable: u64,
    /// The answer.
    pub(super) count: Count,
}

/// A meter as blocks are taken with it: what does not fit is not spent. Requests of one limit
/// may differ in that, and share blocks.
pub(super) fn sparing(meter: &Meter) -> Meter {
    Meter { refused: Refused::Spare, ..*meter }
}

impl Entry {
    /// A counter of which nothing is known. The meter spares what it refuses.
    pub(super) fn new(name: u128, meter: Meter, moment: &Moment) -> Self {
        Self {
            name,
            key: None,
            meter,
            asking: false,
            used: moment.tick,
            blocks: Leaving::new(),
            known: None,
            demand: Demand::new(moment.tick),
            rests_until: moment.tick,
        }
    }

    /// Goes over to another meter of the same counter. What was taken for the old one leaves:
    /// after a limit was lowered it may be too much, and buckets are repaid at another rate.
    pub(super) fn adopt(&mut self, meter: Meter) -> Leaving {
        if self.meter == meter {
            return Leaving::new();
        }
        (self.meter, self.known) = (meter, None);
        std::mem::take(&mut self.blocks)
    }

    /// Spends from a block that covers all the hits; 0 asks for one that could be spent.
    pub(super) fn spend(&mut self, hits: u64, moment: &Moment, terms: &Terms) -> Option<Spent> {
        self.used = moment.tick;
        let meter = self.meter;
        let usable = self.blocks.iter().map(|block| block.usable(&meter, moment));
        let (at, usable) = usable.enumerate().find(|(_, usable)| *usable >= hits.max(1))?;
        let block = &mut self.blocks[at];
        block.spend((hits, usable), moment);
        let block = *block;
        self.demand.note(hits, moment.tick, terms.period);
        Some(Spent { block: block.id, usable, count: self.count(&block, moment) })
    }

    /// Takes back hits that were spent from a block, if that can be; tells whether.
    pub(super) fn put_back(&mut self, spent: &Spent, hits: u64, moment: &Moment) -> bool {
        let meter = self.meter;
        let block = self.blocks.iter_mut().find(|block| block.id == spent.block);
        block.is_some_and(|block| block.put_back((hits, spent.usable), &meter, moment))
    }

    /// The store has answered.
    pub(super) fn learn(&mut self, hits: u64, count: &Count, moment: &Moment, terms: &Terms) {
        self.used = moment.tick;
        if count.admitted {
            self.demand.note(hits, moment.tick, terms.period);
        }
        if count.source == Source::Store {
            self.known = Some(Known { after: count.after, moment: *moment });
        }
    }

    /// Takes a block in. There is room for two; the oldest leaves.
    pub(super) fn add(&mut self, block: Block) -> Leaving {
        self.blocks.push(block);
        let surplus = self.blocks.len().saturating_sub(2);
        self.blocks.drain(..surplus).collect()
    }

    /// Asks for nothing for a while.
    pub(super) fn rest(&mut self, until: Instant) {
        self.rests_until = until;
    }

    /// How large a block to ask for, if it is time to.
    pub(super) fn wants(&self, moment: &Moment, terms: &Terms) -> Option<u64> {
        let size = u64::from(self.meter.size());
        let left = size.saturating_sub(self.after(moment)?);
        let sharers = terms.sharers.load(Relaxed);
        let is_near = left < sharers.max(size / 20);
        if self.asking || is_near || moment.tick < self.rests_until {
            return None;
        }
        let demand = self.demand.per_period(moment.tick, terms.period);
        let soon = |span: Duration| scaled(demand, span.min(terms.period), terms.period);
        let wanted = match self.meter.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => {
                soon(self.meter.window.left(moment.now))
            }
            // What is not spent of it comes back to the bucket as fast.
            Algorithm::TokenBucket { .. } => demand.max(gained(&self.meter, terms.period)),
        };
        let (held, target) = (self.usable(moment), wanted.min(left / (2 * sharers)));
        let block = target.saturating_sub(held);
        let spent = match self.meter.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => block,
            Algorithm::TokenBucket { .. } => {
                let debt = (size - left).saturating_add(block);
                soon(Duration::from_micros(self.meter.refill(debt).micros)).min(block)
            }
        };
        let is_worth_it = demand >= DEMAND_MIN && spent >= USES_MIN * self.demand.largest();
        (is_worth_it && held < target.div_ceil(4)).then_some(block)
    }

    /// What may be spent here.
    pub(super) fn usable(&self, moment: &Moment) -> u64 {
        self.blocks.iter().map(|block| block.usable(&self.meter, moment)).sum()
    }

    /// Parts with what is not needed: blocks that are over or that nobody spends from, and
    /// what exceeds the demand. Of buckets only what is over: their tokens come back.
    pub(super) fn let_go(&mut self, moment: &Moment, terms: &Terms) -> Leaving {
        let meter = self.meter;
        let is_bucket = matches!(meter.algorithm, Algorithm::TokenBucket { .. });
        let is_idle = |block: &Block| {
            !is_bucket && moment.tick.saturating_duration_since(block.used) >= terms.period
        };
        let leaves = |block: &Block| block.is_over(&meter, moment) || is_idle(block);
        let mut leaving: Leaving =
            self.blocks.iter().filter(|block| leaves(block)).copied().collect();
        self.blocks.retain(|block| !leaves(block));
        let demand = self.demand.per_period(moment.tick, terms.period);
        let mut surplus = match is_bucket {
            true => 0,
            false => self.usable(moment).saturating_sub(demand.saturating_mul(2)),
        };
        for block in &mut self.blocks {
            let part = block.part(surplus);
            surplus -= part.unspent;
            leaving.push(part);
        }
        self.forget(leaving.iter().map(|block| block.usable(&meter, moment)).sum());
        leaving
    }

    /// Parts with everything.
    pub(super) fn let_go_all(&mut self) -> Leaving {
        self.known = None;
        std::mem::take(&mut self.blocks)
    }

    /// Whether there is nothing to remember: no block, and no request for two periods.
    pub(super) fn is_idle(&self, moment: &Moment, terms: &Terms) -> bool {
        let unused = moment.tick.saturating_duration_since(self.used);
        self.blocks.is_empty() && !self.asking && unused >= terms.period.saturating_mul(2)
    }

    /// What is given back is not counted any more.
    fn forget(&mut self, hits: u64) {
        if let Some(known) = &mut self.known {
            known.after = known.after.saturating_sub(hits);
        }
    }

    /// What the store holds, as far as is known.
    fn after(&self, moment: &Moment) -> Option<u64> {
        let Known { after, moment: then } = self.known?;
        let window = self.meter.window;
        match self.meter.algorithm {
            Algorithm::FixedWindow if window.start(then.now) != window.start(moment.now) => None,
            Algorithm::FixedWindow | Algorithm::SlidingWindow => Some(after),
            Algorithm::TokenBucket { .. } => {
                Some(after.saturating_sub(gained(&self.meter, moment.since(&then))))
            }
        }
    }

    /// The answer to hits that were spent from that block, or could be.
    fn count(&self, block: &Block, moment: &Moment) -> Count {
        let size = u64::from(self.meter.size());
        let after = self.after(moment).unwrap_or(size);
        let after = after.saturating_sub(self.usable(moment)).min(size);
        let passed = moment.since(&block.sent);
        let (wait, at) = match self.meter.algorithm {
            Algorithm::FixedWindow => (self.meter.window.left(moment.now), moment.now),
            Algorithm::SlidingWindow => (block.left(moment), block.at.plus(passed)),
            Algorithm::TokenBucket { .. } => {
                let wait = Duration::from_micros(self.meter.refill(after).micros);
                (wait, block.at.plus(passed))
            }
        };
        let (wait, source) = (Some(wait), Source::Lease);
        Count { after, admitted: true, spent: true, wait, at, source }
    }
}
