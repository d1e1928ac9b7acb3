//! The status page: what an operator wants to see at one look, for browsers.
//!
//! It is made anew for each look, needs no script, and shows nothing that `/health`,
//! `/rlconfig` and `/top` do not: no value of a request unless the settings allow it.

mod page;
mod pulse;

use std::collections::HashSet;
use std::time::Duration;

pub use pulse::{BEAT, Pulse, Rate};

use super::HttpState;
use crate::clock::Timestamp;
use crate::health::{Component, Facts, Overall};
use crate::rules::{Rule, RuleId};
use crate::service::Snapshot;
use crate::store::Store;
use crate::telemetry::Refused;

/// How the page looks.
pub(super) const STYLE: &str = include_str!("status/style.css");

/// How many of those that are refused most are shown.
const MOST_REFUSED: usize = 20;
/// How many domains are shown, and how many rules of each: the busiest.
const MOST_DOMAINS: usize = 100;
const MOST_RULES: usize = 50;

/// What the page shows.
#[derive(Debug)]
struct View {
    environment: String,
    version: &'static str,
    now: Timestamp,
    uptime: Duration,
    overall: Overall,
    components: [Component; 3],
    rules: RulesView,
    /// All hits, beat by beat, the newest last.
    history: Vec<Rate>,
    domains: Vec<DomainView>,
    hidden_domains: usize,
    refused: Vec<Refused>,
}

/// The rules in force, and what became of the last attempt to load others.
#[derive(Debug)]
struct RulesView {
    version: String,
    limits: usize,
    domains: usize,
    /// How long ago they were loaded.
    age: Option<Duration>,
    /// Why the last load was refused, and how long ago.
    error: Option<(String, Duration)>,
}

/// One domain and its busiest rules.
#[derive(Debug)]
struct DomainView {
    name: String,
    rate: Rate,
    rules: Vec<RuleView>,
    hidden_rules: usize,
}

/// One rule.
#[derive(Debug)]
struct RuleView {
    path: String,
    limits: String,
    rate: Rate,
}

/// The page as it is now.
pub(super) fn page<S: Store>(state: &HttpState<S>) -> String {
    page::render(&view(state))
}

fn view<S: Store>(state: &HttpState<S>) -> View {
    let service = &state.front.service;
    let (facts, now) = (state.health.facts(), service.clock.now());
    let rules = service.rules.load();
    let mut domains = rules.as_ref().map(|rules| domains(rules, &state.pulse)).unwrap_or_default();
    domains.sort_by(|a, b| b.rate.total().total_cmp(&a.rate.total()).then(a.name.cmp(&b.name)));
    let hidden_domains = domains.len().saturating_sub(MOST_DOMAINS);
    domains.truncate(MOST_DOMAINS);
    View {
        environment: facts.environment.clone(),
        version: env!("CARGO_PKG_VERSION"),
        now,
        uptime: now.since(facts.started_at),
        overall: facts.overall(),
        components: facts.components(),
        rules: rules_view(&facts, now),
        history: state.pulse.history(),
        domains,
        hidden_domains,
        refused: service.observer.refused.top(MOST_REFUSED),
    }
}

fn rules_view(facts: &Facts, now: Timestamp) -> RulesView {
    let facts = &facts.rules;
    RulesView {
        version: facts.version.clone(),
        limits: facts.limits,
        domains: facts.domains,
        age: facts.loaded_at.map(|at| now.since(at)),
        error: facts.last_error.clone().map(|(error, at)| (error, now.since(at))),
    }
}

/// Every domain with its busiest rules.
fn domains(snapshot: &Snapshot, pulse: &Pulse) -> Vec<DomainView> {
    let names: HashSet<&str> = snapshot.ruleset.domains().map(|(name, _)| name).collect();
    let rates = pulse.rates(&snapshot.version);
    let mut of_rules: Vec<(&str, &Rule, Rate)> = Vec::new();
    for (index, rule) in snapshot.ruleset.rules().iter().enumerate() {
        let rate = rates.get(index).copied().unwrap_or_default();
        of_rules.push((domain_of(&rule.path, &names), rule, rate));
    }
    of_rules.sort_by(|a, b| a.0.cmp(b.0).then(b.2.total().total_cmp(&a.2.total())));
    let mut domains: Vec<DomainView> = of_rules.chunk_by(|a, b| a.0 == b.0).map(domain).collect();
    let shown: HashSet<String> = domains.iter().map(|domain| domain.name.clone()).collect();
    let empty = names.into_iter().filter(|name| !shown.contains(*name));
    domains.extend(empty.map(domain_without_rules));
    domains
}

fn domain(rules: &[(&str, &Rule, Rate)]) -> DomainView {
    let view = |(_, rule, rate): &(&str, &Rule, Rate)| RuleView {
        path: rule.path.to_string(),
        limits: limits(rule),
        rate: *rate,
    };
    DomainView {
        name: rules.first().map(|(name, ..)| (*name).to_owned()).unwrap_or_default(),
        rate: rules.iter().map(|(.., rate)| *rate).sum(),
        rules: rules.iter().take(MOST_RULES).map(view).collect(),
        hidden_rules: rules.len().saturating_sub(MOST_RULES),
    }
}

fn domain_without_rules(name: &str) -> DomainView {
    DomainView { name: name.to_owned(), rate: Rate::default(), rules: vec![], hidden_rules: 0 }
}

/// The domain that a path begins with: the longest name before a dot.
fn domain_of<'p>(path: &'p str, names: &HashSet<&str>) -> &'p str {
    let ends = path.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| at);
    let mut prefixes = ends.map(|end| &path[..end]).collect::<Vec<_>>();
    prefixes.push(path);
    prefixes.into_iter().rev().find(|prefix| names.contains(prefix)).unwrap_or_default()
}

/// What a rule allows, in words.
fn limits(rule: &Rule) -> String {
    let one = |limit: &crate::rules::Limit| {
        let unit = limit.unit.name().to_lowercase();
        let window = match limit.multiplier {
            1 => unit,
            many => format!("{many} {unit}s"),
        };
        format!("{} per {window}", limit.requests_per_unit)
    };
    let limits: Vec<String> = rule.limits.iter().map(|named| one(&named.limit)).collect();
    let mut text = if limits.is_empty() { "unlimited".to_owned() } else { limits.join(", ") };
    for (is_set, mode) in [(rule.shadow_mode, "shadow"), (rule.quota_mode, "quota")] {
        if is_set {
            text += " (";
            text += mode;
            text.push(')');
        }
    }
    text
}

/// What every rule has counted so far, for the pulse.
pub fn totals(snapshot: &Snapshot) -> Vec<[u64; 2]> {
    let rules = 0..snapshot.ruleset.rules().len();
    rules.map(|index| snapshot.handles.hits(RuleId(index as u32))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_its_domain() {
        let names = HashSet::from(["a", "a.b", "shop"]);
        let check = |path, expected| assert_eq!(domain_of(path, &names), expected, "{path}");
        check("shop.user", "shop");
        check("a.user", "a");
        check("a.b.user", "a.b");
        check("a.b", "a.b");
        check("other.user", "");
    }
}
