//! The same event once a minute: whatever goes wrong for each of many requests is one thing
//! to act on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sentry::protocol::{Context, Event, Map};

/// How long the same event is held back.
const QUIET: Duration = Duration::from_secs(60);
/// How many different events are told apart.
const MAX_KINDS: usize = 256;

/// Holds back what was told already.
#[derive(Debug, Default)]
pub(super) struct Storm {
    told: Mutex<HashMap<Kind, Told>>,
}

/// What makes events the same.
type Kind = (Option<String>, Option<String>, Option<String>);

#[derive(Debug)]
struct Told {
    at: Instant,
    held_back: u64,
}

impl Storm {
    /// The event, unless it was told within the last minute; with how often it was held back
    /// since. Beyond so many kinds a minute nothing new is told.
    pub(super) fn pass(&self, mut event: Event<'static>, now: Instant) -> Option<Event<'static>> {
        let kind = kind(&event);
        let mut told = self.told.lock();
        if let Some(before) = told.get_mut(&kind) {
            if now.saturating_duration_since(before.at) < QUIET {
                before.held_back += 1;
                return None;
            }
            let count = Map::from([("held_back".to_owned(), before.held_back.into())]);
            event.contexts.insert("repeated".to_owned(), Context::Other(count));
        } else if told.len() >= MAX_KINDS {
            told.retain(|_, before| now.saturating_duration_since(before.at) < QUIET);
        }
        if told.len() >= MAX_KINDS && !told.contains_key(&kind) {
            return None;
        }
        told.insert(kind, Told { at: now, held_back: 0 });
        Some(event)
    }
}

/// Its logger and text, and of a panic the place.
fn kind(event: &Event<'static>) -> Kind {
    let panic = event.exception.first().map(|panic| format!("{}{:?}", panic.ty, panic.value));
    let place = event.tags.get("place").cloned();
    (event.logger.clone(), event.message.clone().or(panic), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event<'static> {
        Event { message: Some(text.to_owned()), ..Event::default() }
    }

    #[test]
    fn the_same_event_passes_once_a_minute_and_says_how_often_it_did_not() {
        let (storm, start) = (Storm::default(), Instant::now());
        let pass = |text, seconds| storm.pass(event(text), start + Duration::from_secs(seconds));
        assert!(pass("a", 0).is_some());
        assert!(pass("a", 1).is_none());
        assert!(pass("b", 2).is_some());
        assert!(pass("a", 59).is_none());
        let again = pass("a", 60).unwrap_or_default();
        let Some(Context::Other(repeated)) = again.contexts.get("repeated") else {
            unreachable!("it was held back twice")
        };
        assert_eq!(repeated["held_back"], 2);
        assert!(pass("a", 61).is_none());
    }

    #[test]
    fn kinds_are_bounded() {
        let (storm, now) = (Storm::default(), Instant::now());
        let passed = (0..2 * MAX_KINDS)
            .filter(|i| storm.pass(event(&format!("event {i}")), now).is_some())
            .count();
        assert_eq!(passed, MAX_KINDS);
        assert!(storm.pass(event("later"), now + QUIET).is_some());
    }
}
