//! What is refused most: a bounded sketch of rules and values.
//!
//! Only refused requests touch it. Counts are halved every minute, so that what was is not
//! taken for what is. Nobody waits: whoever finds a part of it in use counts as missed.

mod sketch;

use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::hashing::{Values, word};
use super::observer::Decided;
use crate::limiter::Verdict;
use sketch::{Held, Sketch};

/// How long until counts are halved.
pub const HALVED_EVERY: Duration = Duration::from_secs(60);

/// How many parts of the sketch there are at most, so that threads rarely meet.
const PARTS: usize = 16;

/// The least room of a part.
const LEAST_ROOM: usize = 64;

/// One of those that are refused most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Path of the rule; the domain, where the caller brought its own limit.
    pub rule: String,
    /// The values of the request, or what stands for them.
    pub values: String,
    /// How often it was refused, at most; about.
    pub count: u64,
    /// By how much that may be too many.
    pub error: u64,
}

/// Remembers what is refused most.
#[derive(Debug)]
pub struct TopRefused {
    parts: Box<[Mutex<Sketch>]>,
    values: Arc<Values>,
    hash: RandomState,
    start: Instant,
    missed: AtomicU64,
}

impl Default for TopRefused {
    /// Remembers nothing.
    fn default() -> Self {
        Self::new(0, Arc::default())
    }
}

impl TopRefused {
    /// Remembers `capacity` of them, nothing if it is 0; values are shown by `values`.
    pub fn new(capacity: usize, values: Arc<Values>) -> Self {
        let count = (capacity / LEAST_ROOM).clamp(capacity.min(1), PARTS);
        let parts = (0..count).map(|_| Mutex::new(Sketch::new(capacity / count)));
        Self {
            parts: parts.collect(),
            values,
            hash: RandomState::new(),
            start: Instant::now(),
            missed: AtomicU64::new(0),
        }
    }

    /// Whether anything is remembered.
    pub fn is_on(&self) -> bool {
        !self.parts.is_empty()
    }

    /// How many refusals were not counted since the start.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Those refused most, most first.
    pub fn top(&self, most: usize) -> Vec<Refused> {
        let turn = self.turn();
        let parts = self.parts.iter();
        let mut all: Vec<Refused> = parts
            .flat_map(|part| part.lock().held(turn).iter().map(shown).collect::<Vec<_>>())
            .collect();
        all.sort_by(|one, other| {
            let order = other.count.cmp(&one.count).then(one.error.cmp(&other.error));
            order.then_with(|| (&one.rule, &one.values).cmp(&(&other.rule, &other.values)))
        });
        all.truncate(most);
        all
    }

    /// Counts what a decision refused.
    pub(super) fn note(&self, decided: &Decided<'_, '_>) {
        if decided.decision.overall == Verdict::OverLimit && self.is_on() {
            self.count(decided);
        }
    }

    #[inline(never)]
    fn count(&self, decided: &Decided<'_, '_>) {
        let Decided { request, ruleset, decision, .. } = decided;
        let turn = self.turn();
        for (status, descriptor) in decision.statuses.iter().zip(request.descriptors()) {
            if status.verdict != Verdict::OverLimit {
                continue;
            }
            let rule = status.rule.map_or(request.domain, |id| &ruleset.rule(id).path);
            let entries = request.entries(descriptor);
            let mut hasher = self.hash.build_hasher();
            rule.hash(&mut hasher);
            entries.iter().for_each(|entry| (entry.key, entry.value).hash(&mut hasher));
            let key = hasher.finish();
            let part = &self.parts[(key % self.parts.len() as u64) as usize];
            match part.try_lock() {
                None => _ = self.missed.fetch_add(1, Ordering::Relaxed),
                Some(mut sketch) => sketch.note(key, turn, |what| {
                    word(rule, &mut what.rule);
                    self.values.describe(entries, &mut what.values);
                }),
            }
        }
    }

    fn turn(&self) -> u64 {
        self.start.elapsed().as_secs() / HALVED_EVERY.as_secs()
    }
}

fn shown(held: &Held) -> Refused {
    let count = held.most.ceil();
    Refused {
        rule: held.what.rule.clone(),
        values: held.what.values.clone(),
        count: count as u64,
        error: (count - held.least.floor()) as u64,
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::limiter::{Decision, Request, Status, Terms};
    use crate::rules::{Entry, Ruleset};

    fn refuse(top: &TopRefused, value: &str) {
        let mut request = Request::new("shop", 1);
        request.push([Entry { key: "user", value }], Terms::default());
        let (verdict, rule) = (Verdict::OverLimit, None);
        let decision = Decision {
            overall: verdict,
            statuses: smallvec![Status { verdict, applied: None, remaining: 0, rule }],
            headline: None,
            shadowed: false,
            domain_unknown: false,
        };
        let (request, ruleset, decision) = (&request, &Ruleset::default(), &decision);
        top.note(&Decided { request, ruleset, decision, stood_in: &[] });
    }

    #[test]
    fn memory_is_bounded_whatever_is_refused() {
        for capacity in [1, 63, 64, 100, 1000, 10_000] {
            let top = TopRefused::new(capacity, Arc::default());
            let long = "x".repeat(10_000);
            (0..2 * capacity.min(1000)).for_each(|i| refuse(&top, &format!("{i}{long}")));
            let held: Vec<_> = top.parts.iter().map(|p| p.lock().held(0).to_vec()).collect();
            assert!(held.iter().map(Vec::len).sum::<usize>() <= capacity);
            for what in held.iter().flatten().map(|held| &held.what) {
                assert!(what.values.capacity() + what.rule.capacity() <= 2048);
            }
        }
    }

    #[test]
    fn whoever_is_refused_most_is_found_among_many() {
        let top = TopRefused::new(1000, Arc::default());
        for i in 0..50_000 {
            refuse(&top, if i % 10 == 0 { "somebody" } else { "others" });
            refuse(&top, &i.to_string());
        }
        let first = top.top(3);
        for (refused, expected) in first.iter().zip([45_000, 5000]) {
            let least = refused.count - refused.error;
            assert!((least..=refused.count).contains(&expected), "{refused:?}");
            assert_eq!(refused.rule, "shop");
        }
        assert_eq!(top.missed(), 0);
        assert!(!format!("{first:?}").contains("somebody"), "{first:?}");
    }

    #[test]
    fn nothing_is_remembered_where_it_is_off() {
        let top = TopRefused::default();
        refuse(&top, "alice");
        assert_eq!((top.is_on(), top.top(10)), (false, vec![]));
    }
}
