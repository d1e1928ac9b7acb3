//! A limit: how many requests in which unit of time.

use std::fmt;

/// The unit of a limit, which is also the length of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// 1 s
    Second,
    /// 60 s
    Minute,
    /// 3600 s
    Hour,
    /// 86 400 s
    Day,
    /// 604 800 s, aligned to the epoch: begins on Thursdays, UTC
    Week,
    /// Always 30 days
    Month,
    /// Always 365 days
    Year,
}

impl Unit {
    /// All units, shortest first.
    pub const ALL: [Self; 7] =
        [Self::Second, Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];

    /// The unit of that name in any case, `None` if there is no such unit.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name().eq_ignore_ascii_case(name))
    }

    /// Length of the window in seconds.
    pub const fn as_secs(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 604_800,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        }
    }

    /// Length in seconds of a window of that many units.
    pub const fn window_secs(self, multiplier: u32) -> u64 {
        self.as_secs().saturating_mul(multiplier as u64)
    }

    /// The upper-case name, as on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
            Self::Year => "YEAR",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What a window admits, or what a bucket gains in it; 0 admits nothing.
    pub requests_per_unit: u32,
    /// The unit of the window.
    pub unit: Unit,
    /// How many units long the window is, at least 1.
    pub multiplier: u32,
    /// How hits are counted.
    pub algorithm: Algorithm,
    /// Whether a refused request spends.
    pub count_refused: bool,
    /// How exact the count is.
    pub accuracy: Accuracy,
    /// What to do when the store cannot say.
    pub on_store_error: OnStoreError,
}

impl Limit {
    /// A limit as envoyproxy/ratelimit knows it: a fixed window that counts every hit.
    pub const fn fixed(requests_per_unit: u32, unit: Unit) -> Self {
        Self {
            requests_per_unit,
            unit,
            multiplier: 1,
            algorithm: Algorithm::FixedWindow,
            count_refused: true,
            accuracy: Accuracy::Exact,
            on_store_error: OnStoreError::Error,
        }
    }

    /// The length of the window in seconds.
    pub const fn window_secs(&self) -> u64 {
        self.unit.window_secs(self.multiplier)
    }
}

/// How hits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// A count that starts anew with each window.
    FixedWindow,
    /// Two counts, the older one weighted by its overlap with the last window's length.
    SlidingWindow,
    /// Tokens that come back evenly.
    TokenBucket {
        /// What a full bucket holds, at least 1.
        burst: u32,
    },
}

impl Algorithm {
    /// Whether refused hits count where a limit does not say.
    pub const fn counts_refused(self) -> bool {
        matches!(self, Self::FixedWindow)
    }

    /// The name in rule files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed_window",
            Self::SlidingWindow => "sliding_window",
            Self::TokenBucket { .. } => "token_bucket",
        }
    }
}

/// How exact a count is. (Only exact counting is built.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accuracy {
    /// Every hit is asked of the store.
    #[default]
    Exact,
    /// Blocks of hits are taken from the store and spent here.
    Leased,
}

/// What to do when the store cannot say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// The caller gets an error and decides.
    #[default]
    Error,
    /// Pass.
    Allow,
    /// Refuse.
    Deny,
    /// Count here, with this replica's share.
    Local,
}

impl OnStoreError {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Error, Self::Allow, Self::Deny, Self::Local];

    /// How rules and settings write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Local => "local",
        }
    }
}
