//! Log set-up: one line per event on standard error, as text or JSON.

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

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
pub fn init(level: Level, format: Format) {
    let level = LevelFilter::from_level(level);
    let filter = if level == LevelFilter::TRACE {
        EnvFilter::new("trace")
    } else {
        let others = level.min(LevelFilter::WARN);
        EnvFilter::new(format!("{others},tidegate={level}"))
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        Format::Text => lines.with_ansi(false).with_target(false).try_init(),
        Format::Json => lines.json().flatten_event(true).with_target(false).try_init(),
    };
}
