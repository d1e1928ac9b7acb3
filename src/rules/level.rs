//! Which keys a rule file knows, and at which level each means something.

/// Which kind of map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Defaults,
    Descriptor,
    Match,
    RateLimit,
    /// An element of `rate_limits`.
    RateLimits,
    Replaces,
    /// Below a key that means nothing where it stands.
    Ignored,
}

impl Level {
    /// The keys that mean something here, those of envoyproxy/ratelimit first.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["domain", "descriptors", "all_or_nothing", "defaults"],
            Self::Defaults => &["count_refused", "accuracy", "on_store_error"],
            Self::Descriptor => &[
                "key",
                "value",
                "rate_limit",
                "descriptors",
                "shadow_mode",
                "quota_mode",
                "detailed_metric",
                "value_to_metric",
                "share_threshold",
                "metadata",
                "match",
                "rate_limits",
            ],
            Self::Match => &["any_of", "cidr", "regex"],
            Self::RateLimit | Self::RateLimits => &[
                "unit",
                "requests_per_unit",
                "unlimited",
                "name",
                "replaces",
                "unit_multiplier",
                "algorithm",
                "burst",
                "count_refused",
                "accuracy",
                "on_store_error",
            ],
            Self::Replaces => &["name"],
            Self::Ignored => KNOWN.split_at(REFERENCE).0,
        }
    }

    /// How a problem calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Root => "at the root",
            Self::Defaults => "in defaults",
            Self::Descriptor => "in a descriptor",
            Self::Match => "in match",
            Self::RateLimit => "in rate_limit",
            Self::RateLimits => "in rate_limits",
            Self::Replaces => "in replaces",
            Self::Ignored => "in a rule file",
        }
    }

    /// Whether envoyproxy/ratelimit has no such level, so that whatever stands wrongly
    /// here is an error.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Defaults | Self::Match | Self::RateLimits)
    }
}

/// Where a key that envoyproxy/ratelimit does not have belongs; `None` for its own keys.
pub(super) fn home(name: &str) -> Option<&'static str> {
    Some(match name {
        "all_or_nothing" | "defaults" => "at the root",
        "match" | "rate_limits" => "in a descriptor",
        "any_of" | "cidr" | "regex" => "in match",
        "unit_multiplier" | "algorithm" | "burst" => "in rate_limit",
        "count_refused" | "accuracy" | "on_store_error" => "in rate_limit or defaults",
        _ => return None,
    })
}

/// How many of the known keys envoyproxy/ratelimit has: they stand first.
const REFERENCE: usize = 16;

/// Every key of every level. Those of envoyproxy/ratelimit are accepted anywhere.
pub(super) const KNOWN: [&str; 29] = [
    "domain",
    "key",
    "value",
    "descriptors",
    "rate_limit",
    "unit",
    "requests_per_unit",
    "unlimited",
    "shadow_mode",
    "quota_mode",
    "name",
    "replaces",
    "detailed_metric",
    "value_to_metric",
    "share_threshold",
    "metadata",
    "all_or_nothing",
    "defaults",
    "match",
    "any_of",
    "cidr",
    "regex",
    "rate_limits",
    "unit_multiplier",
    "algorithm",
    "burst",
    "count_refused",
    "accuracy",
    "on_store_error",
];
