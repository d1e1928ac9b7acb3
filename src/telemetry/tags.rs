//! Tags that every measurement bears, from the settings.

use std::collections::BTreeMap;

use super::prometheus::metric_name;

/// Tags by key, none of them empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// These pairs, sorted; those with an empty key or value are left out, and of two with
    /// one key the last counts. Characters that separate things in statsd become `_`.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let full = |(key, value): &(String, String)| !key.is_empty() && !value.is_empty();
        let clean = |text: String| -> String {
            text.chars().map(|c| if separates(c) { '_' } else { c }).collect()
        };
        let pairs = pairs.into_iter().filter(full);
        let tags: BTreeMap<_, _> = pairs.map(|(key, value)| (clean(key), clean(value))).collect();
        Self(tags.into_iter().collect())
    }

    /// All of them and this one, by key.
    pub(super) fn with<'t>(&'t self, tag: Option<(&'t str, &'t str)>) -> Vec<(&'t str, &'t str)> {
        let own = self.0.iter().map(|(key, value)| (&**key, &**value));
        let mut all: Vec<_> = own.filter(|(key, _)| tag.is_none_or(|tag| tag.0 != *key)).collect();
        all.extend(tag);
        all.sort_unstable();
        all
    }

    /// As labels: a name that Prometheus does not allow is written with `_`, and `le`, which
    /// histograms need, is left out.
    pub(super) fn labels(&self) -> impl Iterator<Item = (String, &str)> {
        let label = |key: &str| metric_name(key).replace(':', "_");
        let labels = self.0.iter().map(move |(key, value)| (label(key), &**value));
        labels.filter(|(label, _)| label != "le")
    }
}

fn separates(c: char) -> bool {
    matches!(c, '.' | ':' | '|') || c.is_control()
}
