//! The door that everything said in the process passes: the level, and the folding of what
//! is repeated. What it holds back reaches no sink: not standard error, nor any other layer.

use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher, RandomState};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::filter::{DECISIONS, Filter, FilterError};
use super::folding::{Folded, Folding, Said};

/// The target of what sums up.
const REPEATED: &str = "tidegate::repeated";

/// How much of a message is repeated when it is summed up, in characters.
const MAX_TEXT: usize = 200;

/// Says what passes.
#[derive(Debug)]
pub(super) struct Door {
    filter: ArcSwap<Filter>,
    folding: Mutex<Folding>,
    hash: RandomState,
}

impl Door {
    /// A door for what `level` admits.
    pub(super) fn new(level: Level) -> Self {
        let filter = ArcSwap::from_pointee(Filter::of(level));
        Self { filter, folding: Mutex::default(), hash: RandomState::new() }
    }

    /// What is asked for.
    pub(super) fn filter(&self) -> String {
        self.filter.load().text.clone()
    }

    /// Asks for something else, from now on.
    pub(super) fn set_filter(&self, text: &str) -> Result<(), FilterError> {
        self.filter.store(Arc::new(Filter::from_str(text)?));
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// Sums up what was held back in times that are over.
    pub(super) fn tell_repeated(&self) {
        let due = self.folding.lock().due(Instant::now());
        due.into_iter().for_each(tell);
    }

    /// Sums up all that was held back.
    pub(super) fn tell_rest(&self) {
        let rest = self.folding.lock().rest();
        rest.into_iter().for_each(tell);
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        // Who asks for debug wants each line; the queue bounds them.
        let is_folded = *metadata.level() <= Level::INFO;
        if !is_folded || [DECISIONS, REPEATED].contains(&metadata.target()) {
            return true;
        }
        let mut hasher = self.hash.build_hasher();
        metadata.callsite().hash(&mut hasher);
        let place = hasher.finish();
        event.record(&mut Message(Hashed(&mut hasher)));
        let (message, level, target) = (hasher.finish(), *metadata.level(), metadata.target());
        let text = || {
            let mut text = String::new();
            event.record(&mut Message(&mut text));
            if text.is_empty() {
                text.push_str(metadata.name());
            }
            text.chars().take(MAX_TEXT).collect()
        };
        let said = Said { place, message, level, target };
        self.folding.lock().admit(&said, Instant::now(), text)
    }
}

/// The door as a layer. It stands outermost.
pub(super) struct AtDoor(pub(super) Arc<Door>);

impl<S: Subscriber> Layer<S> for AtDoor {
    /// Never "always": what is held back must not leave the marks behind that other layers'
    /// filters make before, and they make them anew only if they are asked anew.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.0.filter.load().admits(metadata) {
            true => Interest::sometimes(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.filter.load().admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.filter.load().most())
    }

    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(event)
    }
}

fn tell(Folded { level, target, text, times }: Folded) {
    macro_rules! tell {
        ($say:ident) => {
            tracing::$say!(target: REPEATED, times, from = target, "repeated: {text}")
        };
    }
    match level {
        Level::ERROR => tell!(error),
        Level::WARN => tell!(warn),
        _ => tell!(info),
    }
}

/// Writes the message of an event somewhere, without its fields.
struct Message<W>(W);

impl<W: fmt::Write> Visit for Message<W> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// A hash that text can be written to.
struct Hashed<'h, H>(&'h mut H);

impl<H: Hasher> fmt::Write for Hashed<'_, H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
