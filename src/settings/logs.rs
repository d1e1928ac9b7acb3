//! The part of the table about the log, and about what is shown of requests.

use std::str::FromStr as _;

use tracing::Level;

use super::reader::Reader;
use super::transport::{TOKEN, is_token};
use super::value::Value;
use crate::store::secret::Secret;
use crate::telemetry::logs::Format;
use crate::telemetry::{Choice, DecisionOptions, Fields, Shown};

/// The log, and what is shown of requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// The least important level that is written.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// Which decisions are written, and what of them.
    pub decisions: DecisionOptions,
    /// How values of requests are shown, wherever they are.
    pub values: Shown,
    /// The key of their hashes; none: one that nobody else has.
    pub hash_key: Option<Secret>,
    /// How many of those that are refused most are remembered; 0: none.
    pub top_refused: usize,
}

/// Reads the group.
pub(super) fn read(r: &mut Reader<'_>) -> Log {
    r.group("Log");
    Log {
        level: r.read(
            "LOG_LEVEL",
            Level::INFO,
            "The least important level that is written. envoyproxy/ratelimit defaults to WARN; \
             reloads and refused rules should be seen, and requests are never logged above debug, \
             but for `/json` that fails and the decision log.",
        ),
        format: r.read("LOG_FORMAT", Format::Text, "How a line looks."),
        decisions: decisions(r),
        values: r.read(
            "TIDEGATE_LOG_VALUES",
            Shown::Hash,
            "How values of requests are shown in the decision log and at `/top`: as keyed hashes, \
             in the clear, or not at all.",
        ),
        hash_key: hash_key(r),
        top_refused: r.within(
            "TIDEGATE_TOP_REFUSED",
            1000,
            0..=10_000,
            "How many rules with values are counted to know which are refused most (`/top` of the \
             debug listener); 0: none. Each takes two kilobytes at most.",
        ),
    }
}

fn decisions(r: &mut Reader<'_>) -> DecisionOptions {
    DecisionOptions {
        choice: r.read(
            "TIDEGATE_DECISION_LOG",
            Choice::default(),
            "Which decisions are written to the log, a line each, whatever LOG_LEVEL is. Can be \
             changed while the process runs (see [logging.md](logging.md)).",
        ),
        max_per_second: r.within(
            "TIDEGATE_DECISION_LOG_MAX_PER_SECOND",
            100,
            1..=1_000_000,
            "So many of these lines are written in a second; the next one says how many were held \
             back.",
        ),
        fields: r.read(
            "TIDEGATE_DECISION_LOG_FIELDS",
            Fields::default(),
            "What such a line holds beside the outcome.",
        ),
    }
}

fn hash_key(r: &mut Reader<'_>) -> Option<Secret> {
    const NAME: &str = "TIDEGATE_LOG_HASH_KEY";
    let key = r.secret(
        NAME,
        "The key of these hashes, 16 visible ASCII characters or more, so that replicas and \
         restarts agree on them; unset, each process draws its own.",
    );
    // A key that is easy to guess would hide nothing.
    if key.as_ref().is_some_and(|key| !is_token(key.expose())) {
        r.refuse(NAME, "something else", TOKEN);
    }
    key
}

impl Value for Shown {
    const ALLOWED: &'static str = "hash, clear or none";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "hash" => Some(Self::Hash),
            "clear" => Some(Self::Clear),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Hash => "hash",
            Self::Clear => "clear",
            Self::None => "none",
        }
        .to_owned()
    }
}

impl Value for Choice {
    const ALLOWED: &'static str = Self::ALLOWED;

    fn parse(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for Fields {
    const ALLOWED: &'static str = Self::ALLOWED;

    fn parse(text: &str) -> Option<Self> {
        Self::from_str(text).ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}
