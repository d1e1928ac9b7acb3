//! What is written at all: a level, and other levels for parts of the program.

use std::str::FromStr;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The target of decisions. Whether they are written is said elsewhere, so the level does
/// not keep them out.
pub(crate) const DECISIONS: &str = "tidegate::decision";

/// The level of what has none of its own.
const USUAL: LevelFilter = LevelFilter::INFO;

/// The most that the crates underneath say, whatever is asked for: below it TLS tells what it
/// sends and receives, clients' certificates and session tickets among it.
const MOST_OF_OTHERS: LevelFilter = LevelFilter::DEBUG;

/// Levels by target.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// As it was asked for.
    pub(super) text: String,
    targets: Targets,
}

/// A text that is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "found {0:?}; allowed: off, error, warn, info, debug or trace, and after it, behind commas, \
     levels of targets such as tidegate::store=debug"
)]
pub struct FilterError(String);

impl Filter {
    /// The crates underneath speak at `warn` and above only, unless the level is `trace`.
    pub(super) fn of(level: Level) -> Self {
        let level = LevelFilter::from_level(level);
        Self { text: level.to_string(), targets: base(level) }
    }

    /// Whether something is written.
    pub(super) fn admits(&self, metadata: &Metadata<'_>) -> bool {
        self.targets.would_enable(metadata.target(), metadata.level())
    }

    /// The least important level that anything is written at.
    pub(super) fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| level).max().unwrap_or(LevelFilter::OFF)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    /// `debug`, `tidegate::store=debug` or `warn,tidegate::store=trace,h2=debug`.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let wrong = || FilterError(text.chars().take(100).collect());
        let (mut level, mut others) = (None, Vec::new());
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                Some((target, of)) if !target.is_empty() => others.push((target, of)),
                None if level.is_none() => level = Some(part),
                _ => return Err(wrong()),
            }
        }
        let parse = |word: &str| match word.to_ascii_lowercase().as_str() {
            "off" | "error" | "warn" | "info" | "debug" | "trace" => {
                word.parse::<LevelFilter>().map_err(|_| wrong())
            }
            "warning" => Ok(LevelFilter::WARN),
            _ => Err(wrong()),
        };
        let mut targets = base(level.map_or(Ok(USUAL), parse)?);
        for (target, level) in others {
            let is_own = target == "tidegate" || target.starts_with("tidegate::");
            let most = if is_own { LevelFilter::TRACE } else { MOST_OF_OTHERS };
            targets = targets.with_target(target, parse(level)?.min(most));
        }
        Ok(Self { text: text.trim().to_owned(), targets })
    }
}

fn base(level: LevelFilter) -> Targets {
    let others = match level {
        LevelFilter::TRACE => MOST_OF_OTHERS,
        level => level.min(LevelFilter::WARN),
    };
    Targets::new()
        .with_default(others)
        .with_target("tidegate", level)
        .with_target(DECISIONS, LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_goes_for_the_program_and_others_for_its_parts() {
        let check = |text: &str, target: &str, expected: LevelFilter| {
            let filter = Filter::from_str(text).map_err(|error| error.to_string());
            let admitted = filter.map(|filter| {
                let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
                let least = levels.into_iter().find(|l| filter.targets.would_enable(target, l));
                least.map_or(LevelFilter::OFF, LevelFilter::from_level)
            });
            assert_eq!(admitted, Ok(expected), "{text} {target}");
        };
        check("info", "tidegate::store", LevelFilter::INFO);
        check("INFO", "h2::codec", LevelFilter::WARN);
        check("error", "h2::codec", LevelFilter::ERROR);
        check("error", DECISIONS, LevelFilter::INFO);
        check("off", "tidegate", LevelFilter::OFF);
        check("trace", "tidegate", LevelFilter::TRACE);
        check("trace", "h2::codec", LevelFilter::DEBUG);
        check("tidegate::store=debug", "tidegate::store::redis", LevelFilter::DEBUG);
        check("tidegate::store=debug", "tidegate::server", LevelFilter::INFO);
        check("warning, tidegate::store=trace", "tidegate::server", LevelFilter::WARN);
        check("warn,h2=trace", "h2::codec", LevelFilter::DEBUG);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "loud", "info,debug", "=debug", "h2=", "h2=loud", "info,,", "5"] {
            assert!(Filter::from_str(text).is_err(), "{text:?}");
        }
    }
}
