//! Log set-up: one line per event on standard error, as text or JSON.

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the process's log to standard error. The crates underneath speak at `warn` and
/// above only, unless the level is `trace`. A second call has no effect.
pub fn init(level: Level, format: Format, errors: Option<impl Layer<Registry> + Send + Sync>) {
    let level = LevelFilter::from_level(level);
    let filter = if level == LevelFilter::TRACE {
        EnvFilter::new("trace")
    } else {
        let others = level.min(LevelFilter::WARN);
        EnvFilter::new(format!("{others},tidegate={level}"))
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match format {
        Format::Text => lines.with_ansi(false).with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let _ = tracing_subscriber::registry().with(errors).with(lines).try_init();
}
