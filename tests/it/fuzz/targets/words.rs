//! Words out of a text, to look up what the text defines.

use tidegate::clock::Timestamp;
use tidegate::limiter::{Count, Policy, Request, Terms, decide, plan};
use tidegate::rules::{Entry, Ruleset, Steps};
use tidegate::store::Store as _;
use tidegate::store::memory::{MemoryConfig, MemoryStore};

use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// How many words are used.
const MOST: usize = 24;

/// The first words of a text, and some that are in none.
pub(super) fn words(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || "._-/:*".contains(c);
    let words = text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).take(MOST);
    let words = words.flat_map(|word| [word, word.trim_end_matches(':')]);
    words.chain(["", "10.1.2.3", "::ffff:10.0.0.1", "_", "a_b", "\u{1f98a}"]).collect()
}

/// Looks words up in a ruleset and decides by it; every rule that is found is one of it.
pub(super) fn look_up(ruleset: &Ruleset, words: &[&str]) {
    let store = MemoryStore::new(MemoryConfig { max_counters: 1000 });
    let mut steps = Steps::new();
    for name in words {
        let Some(domain) = ruleset.domain(name) else { continue };
        for (at, key) in words.iter().enumerate() {
            for (distance, levels) in [(1, 1), (2, 1), (1, 2), (2, 3), (0, 1)] {
                let word = |number: usize| words[(at + number) % words.len()];
                let entries: Vec<Entry<'_>> = (0..levels)
                    .map(|level| Entry { key: word(2 * level), value: word(2 * level + distance) })
                    .collect();
                assert_eq!(entries[0].key, *key);
                let found = ruleset.find(domain, &entries, &mut steps);
                assert!(steps.len() <= entries.len());
                let Some(id) = found else { continue };
                assert!((id.0 as usize) < ruleset.rules().len());
                decide_by(ruleset, name, &entries, &store);
            }
        }
    }
}

fn decide_by(ruleset: &Ruleset, domain: &str, entries: &[Entry<'_>], store: &MemoryStore) {
    let (now, policy) = (Timestamp::from_micros(1_700_000_123_456_789), Policy::default());
    let mut request = Request::new(domain, 1);
    for hits in [None, Some(0), Some(u64::MAX)] {
        request.push(entries.iter().copied(), Terms { hits, ..Terms::default() });
    }
    let plan = plan(ruleset, &request, now, &policy);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(counts) = pin!(store.apply(&plan.batch)).poll(&mut context) else {
        panic!("the memory store waited");
    };
    assert_eq!(counts.len(), plan.batch.operations().len());
    let Ok(counts) = counts.into_iter().collect::<Result<Vec<Count>, _>>() else { return };
    let decision = decide(ruleset, plan, &counts, &policy);
    assert_eq!(decision.statuses.len(), 3);
}
