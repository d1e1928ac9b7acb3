//! Messages that are repeated: the first few are told, the others counted.
//!
//! A message is known by where it is in the code and by its text. Pure: time comes in, and
//! what is remembered is bounded whatever is said.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::Level;

/// For how long repetitions are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// How often a message is told in that time.
const OFTEN: u64 = 10;

/// How many messages are known at a time; of those beyond, all of one place in the code count
/// as one.
const MOST: usize = 1024;

/// Something that is about to be said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    /// Names the place in the code.
    pub(super) place: u64,
    /// Names the place and the text.
    pub(super) message: u64,
    /// How important it is.
    pub(super) level: Level,
    /// Which part of the program says it.
    pub(super) target: &'static str,
}

/// A message that was held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Folded {
    /// How important it is.
    pub(super) level: Level,
    /// Which part of the program said it.
    pub(super) target: &'static str,
    /// Its text.
    pub(super) text: String,
    /// How often it was held back.
    pub(super) times: u64,
}

/// The messages of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Folding {
    known: HashMap<u64, Known>,
    /// Those whose time is over and that somebody is yet to be told of.
    over: Vec<Folded>,
    cleaned: Option<Instant>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    told: u64,
    held: Option<Folded>,
}

impl Folding {
    /// Whether it may be told; else it is counted, and `text` asked for once.
    pub(super) fn admit(
        &mut self,
        said: &Said,
        now: Instant,
        text: impl FnOnce() -> String,
    ) -> bool {
        let key = self.key(said, now);
        let known =
            self.known.entry(key).or_insert_with(|| Known { since: now, told: 0, held: None });
        // Somebody must hear of what was held back before it is forgotten.
        if now.saturating_duration_since(known.since) >= WINDOW && self.over.len() < MOST {
            self.over.extend(known.held.take());
            (known.since, known.told) = (now, 0);
        }
        if known.told < OFTEN {
            known.told += 1;
            return true;
        }
        let Said { level, target, .. } = *said;
        let new = || Folded { level, target, text: text(), times: 0 };
        known.held.get_or_insert_with(new).times += 1;
        false
    }

    /// What was held back in times that are over.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Folded> {
        let over = &mut self.over;
        self.known.retain(|_, known| {
            let is_young = now.saturating_duration_since(known.since) < WINDOW;
            if !is_young {
                over.extend(known.held.take());
            }
            is_young
        });
        std::mem::take(over)
    }

    /// All that was held back, at the end.
    pub(super) fn rest(&mut self) -> Vec<Folded> {
        let known = std::mem::take(&mut self.known).into_values();
        self.over.extend(known.filter_map(|known| known.held));
        std::mem::take(&mut self.over)
    }

    fn key(&mut self, said: &Said, now: Instant) -> u64 {
        if self.known.contains_key(&said.message) || self.known.len() < MOST {
            return said.message;
        }
        // At most once a second, so that a flood of new messages pays for it once.
        let is_due = |at: Instant| now.saturating_duration_since(at) >= Duration::from_secs(1);
        if self.cleaned.is_none_or(is_due) {
            self.cleaned = Some(now);
            self.known.retain(|_, known| {
                known.held.is_some() || now.saturating_duration_since(known.since) < WINDOW
            });
        }
        if self.known.len() < MOST { said.message } else { said.place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn said(message: u64) -> Said {
        Said { place: u64::MAX, message, level: Level::WARN, target: "tidegate::store" }
    }

    /// Says something `times` times; how often it was told.
    fn say(folding: &mut Folding, message: u64, times: usize, now: Instant) -> usize {
        let text = || format!("message {message}");
        (0..times).filter(|_| folding.admit(&said(message), now, text)).count()
    }

    fn told(folded: &[Folded]) -> Vec<(&str, u64)> {
        folded.iter().map(|folded| (folded.text.as_str(), folded.times)).collect()
    }

    #[test]
    fn the_first_are_told_and_the_others_summed_up_when_their_time_is_over() {
        let (mut folding, start) = (Folding::default(), Instant::now());
        assert_eq!(say(&mut folding, 1, 1000, start), 10);
        assert_eq!(say(&mut folding, 2, 3, start), 3, "another message is not concerned");
        assert_eq!(folding.due(start + 9 * SECOND), []);
        assert_eq!(told(&folding.due(start + 10 * SECOND)), [("message 1", 990)]);
        assert_eq!(folding.due(start + 11 * SECOND), []);
        assert_eq!(say(&mut folding, 1, 1000, start + 11 * SECOND), 10, "a new time");
        assert_eq!(told(&folding.rest()), [("message 1", 990)]);
    }

    #[test]
    fn nothing_is_lost_where_nobody_asks_what_is_due() {
        let (mut folding, start) = (Folding::default(), Instant::now());
        for i in 0..5 {
            assert_eq!(say(&mut folding, 1, 100, start + i * 10 * SECOND), 10);
        }
        let sum: u64 = folding.rest().iter().map(|folded| folded.times).sum();
        assert_eq!(sum, 5 * 90);
    }

    #[test]
    fn memory_is_bounded_whatever_is_said() {
        let (mut folding, start) = (Folding::default(), Instant::now());
        let flood = |folding: &mut Folding, now| {
            (0..100_000).filter(|i| say(folding, *i, 1, now) == 1).count()
        };
        assert_eq!(flood(&mut folding, start), MOST + OFTEN as usize);
        assert_eq!(folding.known.len(), MOST + 1, "and the place");
        assert_eq!(told(&folding.due(start + 10 * SECOND)).len(), 1);
        assert!(folding.known.is_empty());
        for i in 2..6 {
            flood(&mut folding, start + i * 10 * SECOND);
        }
        assert!(folding.known.len() + folding.over.len() <= 2 * MOST + 2);
    }
}
