//! Which keys a rule file knows, and at which level each means something.

/// Which kind of map it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Descriptor,
    RateLimit,
    Replaces,
    /// Below a key that means nothing where it stands.
    Ignored,
}

impl Level {
    /// The keys that mean something here.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["domain", "descriptors"],
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
            ],
            Self::RateLimit => &["unit", "requests_per_unit", "unlimited", "name", "replaces"],
            Self::Replaces => &["name"],
            Self::Ignored => &KNOWN,
        }
    }

    /// How a problem calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Root => "at the root",
            Self::Descriptor => "in a descriptor",
            Self::RateLimit => "in rate_limit",
            Self::Replaces => "in replaces",
            Self::Ignored => "in a rule file",
        }
    }
}

/// Every key of every level: these are accepted anywhere.
pub(super) const KNOWN: [&str; 16] = [
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
];
