//! From a set of rules to the rules in force: compile, swap, tell; or keep the old ones.

use std::fmt;
use std::sync::Arc;

use super::Replaced;
use crate::clock::Clock;
use crate::health::Health;
use crate::rules::{Accuracy, Loaded, Options, Rejected, Ruleset};
use crate::service::{Rules, Snapshot};
use crate::store::Abilities;
use crate::telemetry::Metrics;

/// A candidate for the rules in force.
pub trait RuleSet {
    /// Why there may be none.
    type Error: fmt::Display;

    /// Names what the set holds: equal sets have equal digests.
    fn digest(&self) -> u128;

    /// How many files or resources it is made of.
    fn size(&self) -> usize;

    /// Compiles it.
    ///
    /// # Errors
    ///
    /// [`Rejected`] lists every error of the set.
    fn load(&self, options: Options) -> Result<Loaded, Rejected>;

    /// What was odd on the way here, one line each.
    fn warnings(&self) -> &[String] {
        &[]
    }
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    InForce,
    /// It is not; this is what is wrong with it, one line each.
    Refused(String),
}

/// What becomes of limits that may be leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leasing {
    /// Blocks of hits are taken.
    Blocks,
    /// They count exactly, as all others do.
    Exact,
}

/// Puts rules into force.
#[derive(Clone, Debug)]
pub struct Reloader {
    /// Where the rules in force stand.
    pub rules: Arc<Rules>,
    /// What stood there before; whoever applies a set sees to it that they are freed.
    pub replaced: Replaced,
    /// How sets become rules.
    pub options: Options,
    /// What can be counted; rules that go beyond are refused.
    pub abilities: Abilities,
    /// What becomes of limits that may be leased.
    pub leasing: Leasing,
    /// Counts loads and finds the rules' counters.
    pub metrics: Arc<Metrics>,
    /// Learns of success and failure.
    pub health: Arc<Health>,
    /// Dates them.
    pub clock: Clock,
}

impl Reloader {
    /// Takes a set of rules, or why there is none. Rules that are good as a whole replace
    /// those in force at once; anything else leaves them as they are, and is told.
    pub fn apply<S: RuleSet>(&self, set: Result<S, S::Error>) -> Outcome {
        let set = match set {
            Ok(set) => set,
            Err(error) => {
                self.metrics.rule_files.failed();
                let reason = error.to_string();
                self.refuse(&reason);
                return Outcome::Refused(reason);
            }
        };
        self.metrics.rule_files.succeeded(set.size());
        for warning in set.warnings() {
            tracing::warn!("{warning}");
        }
        match set.load(self.options) {
            Ok(loaded) => match self.abilities.refused(&loaded.ruleset) {
                refused if refused.is_empty() => {
                    // Half of it is plenty to tell versions apart.
                    self.swap(loaded, format!("{:016x}", set.digest() as u64));
                    Outcome::InForce
                }
                refused => self.tell_and_refuse(&refused),
            },
            Err(rejected) => {
                for warning in &rejected.warnings {
                    tracing::warn!("{warning}");
                }
                self.tell_and_refuse(&rejected.errors)
            }
        }
    }

    fn swap(&self, loaded: Loaded, version: String) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let ruleset = loaded.ruleset;
        self.tell_what_is_not_leased(&ruleset);
        let (domains, limits) = (ruleset.domain_count(), ruleset.rules().len());
        let handles = self.metrics.handles(&ruleset);
        let snapshot = Snapshot::new(ruleset, handles, version.clone());
        // However fast sets come, those that nobody needs do not pile up.
        self.replaced.free();
        if let Some(replaced) = self.rules.swap(Some(Arc::new(snapshot))) {
            self.replaced.hold(replaced);
        }
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

    /// Where nothing is gained by leases, whoever asks for them should know.
    fn tell_what_is_not_leased(&self, ruleset: &Ruleset) {
        let mut limits = ruleset.rules().iter().flat_map(|rule| &rule.limits);
        let is_asked_for = limits.any(|named| named.limit.accuracy == Accuracy::Leased);
        if is_asked_for && self.leasing == Leasing::Exact {
            tracing::warn!(
                "accuracy: leased has no effect with this store: blocks are taken from Redis \
                 only, and such limits count exactly"
            );
        }
    }

    fn tell_and_refuse(&self, errors: &[impl fmt::Display]) -> Outcome {
        for error in errors.iter().take(MAX_LOGGED) {
            tracing::error!(problem = %error, "rules refused");
        }
        self.refuse(&summary(errors));
        let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
        Outcome::Refused(lines.join("\n"))
    }

    fn refuse(&self, reason: &str) {
        let now = self.clock.now();
        let in_force = match self.rules.load().is_some() {
            true => "the old rules stay in force",
            false => "no rules are in force",
        };
        self.metrics.record_failed_load(now);
        self.health.update(|facts| facts.rules.last_error = Some((reason.to_owned(), now)));
        tracing::error!(reason, in_force, "rules not loaded");
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
