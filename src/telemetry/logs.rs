//! Log set-up: one line per event on standard error, as text or JSON.
//!
//! Everything said in the process goes through one door, which holds back what is below the
//! level and what is repeated; then to the lines and to whatever other layers are given.
//! Nobody who speaks ever waits for a reader. What is said belongs to the other rooms.

mod door;
mod filter;
mod folding;
mod queue;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{Level, Subscriber};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use door::{AtDoor, Door};
pub(super) use filter::DECISIONS;
pub use filter::FilterError;
use queue::{Lines, Queue};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A layer beside the lines. It hears what passes the door, and may filter further.
pub type Extra = Box<dyn Layer<Registry> + Send + Sync>;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Lines need a thread.
    #[error("there is no thread for the log: {0}")]
    Thread(#[from] io::Error),
    /// The process has one already.
    #[error("the process has a log already")]
    Taken,
}

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Sends the process's log to standard error, from `level` on, and to `extra` layers. The
/// crates underneath speak at `warn` and above only, unless the level is `trace`.
///
/// # Errors
///
/// [`LogError`], if there is a log already, or no thread to write it.
pub fn init((level, format): (Level, Format), extra: Vec<Extra>) -> Result<LogHandle, LogError> {
    let queue = Queue::start(io::stderr())?;
    let lines = fmt::layer().with_writer(Lines(Arc::clone(&queue))).with_target(false);
    let lines: Extra = match format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    let layers: Vec<Extra> = std::iter::once(lines).chain(extra).collect();
    let door = Arc::new(Door::new(level));
    subscriber(&door, layers).try_init().map_err(|_| LogError::Taken)?;
    Ok(LogHandle(Some((door, queue))))
}

/// The door before all layers.
fn subscriber(door: &Arc<Door>, layers: Vec<Extra>) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(layers).with(AtDoor(Arc::clone(door)))
}

/// The log while the process runs. The default one belongs to no log: nothing changes by it.
#[derive(Clone, Debug, Default)]
pub struct LogHandle(Option<(Arc<Door>, Arc<Queue>)>);

impl LogHandle {
    /// What is written: a level, and those of parts of the program that have their own.
    pub fn filter(&self) -> String {
        self.0.as_ref().map_or_else(|| "off".to_owned(), |(door, _)| door.filter())
    }

    /// Writes something else from now on: `debug`, or `warn,tidegate::store=debug`.
    ///
    /// # Errors
    ///
    /// [`FilterError`]: the text is no filter; nothing changes.
    pub fn set_filter(&self, text: &str) -> Result<(), FilterError> {
        self.0.as_ref().map_or(Ok(()), |(door, _)| door.set_filter(text))
    }

    /// How many lines were lost, as nobody read them in time or standard error was closed.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |(_, queue)| queue.dropped())
    }

    /// Sums up what is repeated, for ever.
    pub async fn tend(self) {
        let mut turns = tokio::time::interval(Duration::from_secs(1));
        while let Some((door, _)) = &self.0 {
            turns.tick().await;
            door.tell_repeated();
        }
    }

    /// Writes the last lines when it is dropped, for as long as somebody reads them.
    #[must_use]
    pub fn guard(&self) -> LogGuard {
        LogGuard(self.clone())
    }
}

/// Writes the last lines when it is dropped.
#[derive(Debug)]
pub struct LogGuard(LogHandle);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some((door, queue)) = &self.0.0 {
            door.tell_rest();
            queue.flush(LAST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::Event;
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::Context;

    use super::*;

    /// Counts what it hears.
    struct Heard(Arc<AtomicUsize>);

    impl Layer<Registry> for Heard {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, Registry>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What a layer for errors and one for everything have heard.
    fn heard(door: &Arc<Door>, say: impl FnOnce()) -> [usize; 2] {
        let counts = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let levels = [LevelFilter::ERROR, LevelFilter::TRACE];
        let layer = |(count, level): (&Arc<AtomicUsize>, LevelFilter)| -> Extra {
            Heard(Arc::clone(count)).with_filter(level).boxed()
        };
        let layers = counts.iter().zip(levels).map(layer).collect();
        tracing::subscriber::with_default(subscriber(door, layers), say);
        counts.map(|count| count.load(Ordering::Relaxed))
    }

    #[test]
    fn what_is_held_back_does_not_deafen_a_layer_to_what_follows() {
        let door = Arc::new(Door::new(Level::INFO));
        let say = || {
            for _ in 0..100 {
                tracing::warn!("the same again");
                tracing::error!(turn = fastrand::u32(..), "an error");
            }
            tracing::error!("another error");
        };
        assert_eq!(heard(&door, say), [11, 21]);
        // One sums up the warnings, one the errors.
        assert_eq!(heard(&door, || door.tell_rest()), [1, 2]);
    }

    #[test]
    fn details_are_not_folded_and_the_level_holds_for_every_layer() {
        let door = Arc::new(Door::new(Level::INFO));
        let say = || {
            for _ in 0..100 {
                tracing::debug!("a detail");
                tracing::info!(target: DECISIONS, "decision");
            }
        };
        assert_eq!(heard(&door, say), [0, 100]);
        assert_eq!(door.set_filter("debug"), Ok(()));
        assert_eq!(heard(&door, say), [0, 200]);
        assert_eq!(door.set_filter("error"), Ok(()));
        assert_eq!(heard(&door, say), [0, 100], "decisions have a switch of their own");
    }
}
