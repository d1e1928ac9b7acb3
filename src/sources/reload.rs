//! From a set of files to the rules in force: compile, swap, tell; or keep the old ones.

use std::fmt;
use std::sync::Arc;

use super::files::{FileSet, SourceError};
use crate::clock::Clock;
use crate::health::Health;
use crate::rules::{self, Accuracy, Loaded, OnStoreError, Options, Rejected, Ruleset};
use crate::service::{Rules, Snapshot};
use crate::store::Abilities;
use crate::telemetry::Metrics;

/// Puts rules into force.
#[derive(Clone, Debug)]
pub struct Reloader {
    /// Where the rules in force stand.
    pub rules: Arc<Rules>,
    /// How files become rules.
    pub options: Options,
    /// What can be counted; rules that go beyond are refused.
    pub abilities: Abilities,
    /// Counts loads and finds the rules' counters.
    pub metrics: Arc<Metrics>,
    /// Learns of success and failure.
    pub health: Arc<Health>,
    /// Dates them.
    pub clock: Clock,
}

impl Reloader {
    /// Takes a set of files, or why there is none. Rules that are good as a whole replace
    /// those in force at once; anything else leaves them as they are, and is told.
    pub fn apply(&self, set: Result<FileSet, SourceError>) {
        let set = match set {
            Ok(set) => set,
            Err(error) => return self.refuse(&error.to_string()),
        };
        for warning in &set.warnings {
            tracing::warn!("{warning}");
        }
        match rules::load(&set.files, self.options) {
            Ok(loaded) => match self.abilities.refused(&loaded.ruleset) {
                refused if refused.is_empty() => {
                    // Half of it is plenty to tell versions apart.
                    self.swap(loaded, format!("{:016x}", set.digest() as u64));
                }
                refused => self.tell_and_refuse(&refused),
            },
            Err(Rejected { errors, warnings }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.tell_and_refuse(&errors);
            }
        }
    }

    fn swap(&self, loaded: Loaded, version: String) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let ruleset = loaded.ruleset;
        tell_what_is_not_built(&ruleset);
        let (domains, limits) = (ruleset.domain_count(), ruleset.rules().len());
        let handles = self.metrics.handles(&ruleset);
        let snapshot = Snapshot::new(ruleset, handles, version.clone());
        self.rules.store(Some(Arc::new(snapshot)));
        self.metrics.record_load();
        let now = self.clock.now();
        self.health.update(|facts| {
            facts.rules.version.clone_from(&version);
            facts.rules.loaded_at = Some(now);
            facts.rules.last_error = None;
            facts.rules.domains = domains;
            facts.rules.limits = limits;
        });
        tracing::info!(version, domains, limits, "rules loaded");
    }

    fn tell_and_refuse(&self, errors: &[impl fmt::Display]) {
        for error in errors.iter().take(MAX_LOGGED) {
            tracing::error!("rules refused: {error}");
        }
        self.refuse(&summary(errors));
    }

    fn refuse(&self, reason: &str) {
        let now = self.clock.now();
        let in_force = match self.rules.load().is_some() {
            true => "the old rules stay in force",
            false => "no rules are in force",
        };
        self.metrics.record_failed_load();
        self.health.update(|facts| facts.rules.last_error = Some((reason.to_owned(), now)));
        tracing::error!(reason, "rules not loaded: {in_force}");
    }
}

/// Rules may say already what is not built yet; whoever relies on it should know.
fn tell_what_is_not_built(ruleset: &Ruleset) {
    let limits = || ruleset.rules().iter().flat_map(|rule| &rule.limits).map(|l| l.limit);
    if limits().any(|limit| limit.accuracy != Accuracy::Exact) {
        tracing::warn!("accuracy: leased is not built yet; such limits count exactly");
    }
    if limits().any(|limit| limit.on_store_error != OnStoreError::Error) {
        tracing::warn!("on_store_error is not built yet; callers get an error");
    }
}

/// How many errors of one load are logged.
const MAX_LOGGED: usize = 50;

/// The first errors, and how many more there are.
fn summary(errors: &[impl fmt::Display]) -> String {
    const SHOWN: usize = 3;
    let mut lines: Vec<String> = errors.iter().take(SHOWN).map(ToString::to_string).collect();
    if errors.len() > SHOWN {
        lines.push(format!("and {} more", errors.len() - SHOWN));
    }
    lines.join("; ")
}
