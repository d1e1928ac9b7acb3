//! Random rules and requests: both stores answer as a naive model that was written from
//! the description of the protocol, not from the code.

use std::collections::HashMap;
use std::fmt::Write as _;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::rules::SourceFile;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::Store;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{
    Entry, RateLimitOverride,
};
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use crate::support::redis::RedisServer;
use crate::support::stores;

/// A node of the rules, as written.
#[derive(Clone, Debug)]
struct Node {
    key: &'static str,
    value: &'static str,
    share: bool,
    rule: Option<Rule>,
    children: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// Requests and the wire number of the unit; `None` is unlimited.
    limit: Option<(u32, i32)>,
    name: &'static str,
    replaces: Vec<&'static str>,
    shadow: bool,
    quota: bool,
}

#[derive(Clone, Debug)]
struct Question {
    domain: &'static str,
    hits: u32,
    descriptors: Vec<Asked>,
    /// Seconds that pass before it.
    wait: u64,
}

#[derive(Clone, Debug)]
struct Asked {
    entries: Vec<(&'static str, &'static str)>,
    limit: Option<(u32, i32)>,
    hits: Option<u64>,
    give_back: bool,
}

/// Wire number, name and seconds.
const UNITS: [(i32, &str, u64); 7] = [
    (1, "second", 1),
    (2, "minute", 60),
    (3, "hour", 3_600),
    (4, "day", 86_400),
    (7, "week", 604_800),
    (5, "month", 2_592_000),
    (6, "year", 31_536_000),
];

fn seconds(unit: i32) -> u64 {
    UNITS.iter().find(|(number, ..)| *number == unit).unwrap().2
}

// --- what is tried ---

fn limit() -> impl Strategy<Value = (u32, i32)> {
    let number = prop_oneof![8 => 0..6u32, 1 => Just(u32::MAX)];
    (number, prop::sample::select(UNITS.map(|(number, ..)| number).to_vec()))
}

fn rule() -> impl Strategy<Value = Rule> {
    let name = prop::sample::select(vec!["", "", "n1", "n2"]);
    let replaces = prop::collection::btree_set(prop::sample::select(vec!["n1", "n2", "n3"]), 0..2);
    (
        prop::option::weighted(0.9, limit()),
        name,
        replaces,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(limit, name, replaces, shadow, quota)| Rule {
            limit,
            name,
            replaces: replaces.into_iter().filter(|other| *other != name).collect(),
            shadow,
            quota,
        })
}

fn node() -> impl Strategy<Value = Node> {
    let keys = vec!["a", "b", "a_b", "a_", "a*"];
    let values = vec!["", "", "x", "y", "x*", "*y", "*", "b_x"];
    let flat = (
        prop::sample::select(keys),
        prop::sample::select(values),
        any::<bool>(),
        prop::option::weighted(0.8, rule()),
    )
        .prop_map(|(key, value, share, rule)| Node {
            key,
            value,
            share: share && composite(key, value).contains('*'),
            rule,
            children: Vec::new(),
        });
    flat.prop_recursive(2, 12, 4, |inner| {
        (inner.clone(), vec(inner, 0..4))
            .prop_map(|(node, children)| Node { children: distinct(children), ..node })
    })
}

/// Composite keys are distinct on a level.
fn distinct(nodes: Vec<Node>) -> Vec<Node> {
    let mut seen = Vec::new();
    nodes
        .into_iter()
        .filter(|node| {
            let composite = composite(node.key, node.value);
            let is_new = !seen.contains(&composite);
            seen.push(composite);
            is_new
        })
        .collect()
}

fn question() -> impl Strategy<Value = Question> {
    let entry = (
        prop::sample::select(vec!["a", "b", "a_b"]),
        prop::sample::select(vec!["", "x", "y", "xy", "b_x", "x*"]),
    );
    let asked = (
        vec(entry, 0..3),
        prop::option::weighted(0.1, limit()),
        prop::option::weighted(0.3, 0..4u64),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(entries, limit, hits, give_back)| Asked {
            entries,
            limit,
            hits,
            give_back,
        });
    (prop::sample::select(vec!["d", "d", "d", "d", "e"]), 0..3u32, vec(asked, 1..4), 0..40u64)
        .prop_map(|(domain, hits, descriptors, wait)| Question { domain, hits, descriptors, wait })
}

// --- the model ---

fn composite(key: &str, value: &str) -> String {
    if value.is_empty() { key.to_owned() } else { format!("{key}_{value}") }
}

/// `*` is any run of bytes.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((b'*', rest)) => (0..=text.len()).any(|skip| fits(rest, &text[skip..])),
        Some((first, rest)) => {
            text.split_first().is_some_and(|(t, text)| t == first && fits(rest, text))
        }
    }
}

/// The rule of the entries, and the values that its counter is for.
fn find<'n>(
    nodes: &'n [Node],
    entries: &[(&str, &str)],
) -> Option<(&'n Rule, Vec<(String, String)>)> {
    let mut level = nodes;
    let mut found: Option<&Node> = None;
    let mut values = Vec::new();
    for (key, value) in entries {
        let joined = format!("{key}_{value}");
        let of = |text: &str| level.iter().find(|n| composite(n.key, n.value) == text);
        let wild = || {
            let matches = |n: &&Node| {
                let pattern = composite(n.key, n.value);
                pattern.contains('*') && fits(pattern.as_bytes(), joined.as_bytes())
            };
            level.iter().find(matches)
        };
        let exact = of(&joined);
        let (node, by_wildcard) = match exact {
            Some(node) => (node, false),
            None => match wild() {
                Some(node) => (node, true),
                None => (of(key)?, false),
            },
        };
        let counted = if by_wildcard && node.share {
            let pattern = composite(node.key, node.value);
            pattern.strip_prefix(&format!("{key}_")).unwrap_or(&pattern).to_owned()
        } else {
            (*value).to_owned()
        };
        values.push(((*key).to_owned(), counted));
        found = Some(node);
        level = &node.children;
    }
    Some((found?.rule.as_ref()?, values))
}

/// Counters by domain, values, unit and window start.
type Counters = HashMap<(String, Vec<(String, String)>, i32, u64), u64>;

/// Over or not, limit with name, remaining, reset.
type Line = (bool, Option<(u32, i32, String)>, u32, u64);

#[derive(Debug, PartialEq)]
struct Reply {
    over: bool,
    lines: Vec<Line>,
    headers: Option<(u32, u32, u64)>,
}

fn ask(nodes: &[Node], question: &Question, now: u64, counters: &mut Counters) -> Reply {
    let is_known = question.domain == "d";
    let matches: Vec<_> = question
        .descriptors
        .iter()
        .map(|asked| {
            let free = is_known && asked.limit.is_none();
            free.then(|| find(nodes, &asked.entries)).flatten()
        })
        .collect();
    let replaced: Vec<&str> =
        matches.iter().flatten().flat_map(|(r, _)| r.replaces.clone()).collect();
    let mut lines = Vec::new();
    let mut roles = Vec::new();
    for (asked, matched) in question.descriptors.iter().zip(matches) {
        let matched = matched.filter(|(rule, _)| {
            rule.limit.is_none() || rule.name.is_empty() || !replaced.contains(&rule.name)
        });
        let (rule, limit, values) = match (matched, asked.limit.filter(|_| is_known)) {
            (None, None) => {
                lines.push((false, None, 0, 0));
                roles.push('n');
                continue;
            }
            (Some((rule, values)), _) => (Some(rule), rule.limit, values),
            (None, Some(limit)) => {
                let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
                (None, Some(limit), asked.entries.iter().map(own).collect())
            }
        };
        let Some((requests, unit)) = limit else {
            lines.push((false, None, u32::MAX, 0));
            roles.push('-');
            continue;
        };
        let hits = asked.hits.unwrap_or(u64::from(question.hits.max(1)));
        let window = seconds(unit);
        let key = (question.domain.to_owned(), values, unit, now - now % window);
        let counter = counters.entry(key).or_default();
        *counter = if asked.give_back { counter.saturating_sub(hits) } else { *counter + hits };
        let exceeds = !asked.give_back && *counter > u64::from(requests);
        let over = exceeds && !rule.is_some_and(|rule| rule.shadow);
        let remaining = u64::from(requests).saturating_sub(*counter) as u32;
        let name = rule.map(|rule| rule.name.to_owned()).unwrap_or_default();
        lines.push((over, Some((requests, unit, name)), remaining, window - now % window));
        roles.push(if rule.is_some_and(|rule| rule.quota) { 'q' } else { 'n' });
    }
    Reply { over: is_over(&lines, &roles), headers: headers(&lines, &roles), lines }
}

fn is_over(lines: &[Line], roles: &[char]) -> bool {
    let over_of = |wanted| -> Vec<bool> {
        let with = lines.iter().zip(roles).filter(|(_, role)| **role == wanted);
        with.map(|(line, _)| line.0).collect()
    };
    let quota = over_of('q');
    over_of('n').contains(&true) || (!quota.is_empty() && !quota.contains(&false))
}

/// The last refusing line, else the first with the least left.
fn headers(lines: &[Line], roles: &[char]) -> Option<(u32, u32, u64)> {
    let refusing = |i: &usize| lines[*i].0 && roles[*i] == 'n';
    let last = (0..lines.len()).rev().find(refusing);
    let limited = (0..lines.len()).filter(|i| lines[*i].1.is_some() && lines[*i].2 < u32::MAX);
    let choice = last.or_else(|| limited.min_by_key(|i| lines[*i].2))?;
    let (_, limit, remaining, reset) = &lines[choice];
    Some((limit.as_ref()?.0, *remaining, *reset))
}

// --- the real thing ---

fn yaml(nodes: &[Node]) -> String {
    fn level(nodes: &[Node], indent: &str, out: &mut String) {
        if nodes.is_empty() {
            return;
        }
        let _ = writeln!(out, "{indent}descriptors:");
        for node in nodes {
            let _ = writeln!(out, "{indent}- key: '{}'", node.key);
            let _ = writeln!(out, "{indent}  value: '{}'", node.value);
            let _ = writeln!(out, "{indent}  share_threshold: {}", node.share);
            if let Some(rule) = &node.rule {
                let _ = writeln!(out, "{indent}  shadow_mode: {}", rule.shadow);
                let _ = writeln!(out, "{indent}  quota_mode: {}", rule.quota);
                let limit = match rule.limit {
                    None => "unlimited: true".to_owned(),
                    Some((requests, unit)) => {
                        let unit = UNITS.iter().find(|(number, ..)| *number == unit).unwrap().1;
                        format!("unit: {unit}, requests_per_unit: {requests}")
                    }
                };
                let replaces: Vec<_> =
                    rule.replaces.iter().map(|n| format!("{{name: {n}}}")).collect();
                let _ = writeln!(
                    out,
                    "{indent}  rate_limit: {{{limit}, name: '{}', replaces: [{}]}}",
                    rule.name,
                    replaces.join(", ")
                );
            }
            level(&node.children, &format!("{indent}  "), out);
        }
    }
    let mut out = String::from("domain: d\n");
    level(nodes, "", &mut out);
    out
}

fn message(question: &Question) -> RateLimitRequest {
    let descriptor = |asked: &Asked| RateLimitDescriptor {
        entries: asked
            .entries
            .iter()
            .map(|(key, value)| Entry { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect(),
        limit: asked
            .limit
            .map(|(requests_per_unit, unit)| RateLimitOverride { requests_per_unit, unit }),
        hits_addend: asked.hits,
        is_negative_hits: asked.give_back,
    };
    RateLimitRequest {
        domain: question.domain.to_owned(),
        descriptors: question.descriptors.iter().map(descriptor).collect(),
        hits_addend: question.hits,
    }
}

fn reply(response: &RateLimitResponse) -> Reply {
    let lines = response.statuses.iter().map(|status| {
        let limit = status.current_limit.as_ref();
        let limit = limit.map(|l| (l.requests_per_unit, l.unit, l.name.clone()));
        let reset = status.duration_until_reset.map_or(0, |d| d.seconds as u64);
        (status.code == 2, limit, status.limit_remaining, reset)
    });
    let header = |i: usize| response.response_headers_to_add[i].value.clone();
    Reply {
        over: response.overall_code == 2,
        lines: lines.collect(),
        headers: (!response.response_headers_to_add.is_empty()).then(|| {
            (header(0).parse().unwrap(), header(1).parse().unwrap(), header(2).parse().unwrap())
        }),
    }
}

async fn compare<S: Store>(nodes: &[Node], questions: &[Question], store: S) {
    let mut now = 1_700_000_123;
    let clock = ManualClock::at(Timestamp::from_secs(now));
    let env = HashMap::from([("LIMIT_RESPONSE_HEADERS_ENABLED", "true")]);
    let settings = Settings::from_lookup(&|name| Some((*env.get(name)?).to_owned()), &[]).unwrap();
    let core = Core::new(&settings, store, Clock::Manual(clock.clone()));
    let bytes = yaml(nodes).into_bytes();
    let file = SourceFile { name: "rules.yaml".to_owned(), bytes };
    core.reloader.apply(Ok(FileSet { files: vec![file], warnings: Vec::new() }));
    assert_eq!(core.health.facts().rules.last_error, None, "{}", yaml(nodes));
    let mut counters = Counters::new();
    for question in questions {
        now += question.wait;
        clock.set(Timestamp::from_secs(now));
        let expected = ask(nodes, question, now, &mut counters);
        let actual = core.front.answer(&message(question)).await.unwrap();
        assert_eq!(reply(&actual), expected, "{question:?}\n{}", yaml(nodes));
    }
}

fn histories() -> impl Strategy<Value = (Vec<Node>, Vec<Question>)> {
    (vec(node(), 0..8).prop_map(distinct), vec(question(), 1..40))
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_memory_store_answers_as_the_model() {
    let runtime = runtime();
    let check = |(nodes, questions): (Vec<Node>, Vec<Question>)| {
        runtime.block_on(compare(&nodes, &questions, stores::memory()));
        Ok(())
    };
    runner(400).run(&histories(), check).unwrap();
}

#[test]
fn the_redis_store_answers_as_the_model() {
    let runtime = runtime();
    let server = RedisServer::start();
    let check = |(nodes, questions): (Vec<Node>, Vec<Question>)| {
        let _: () = server.command(&["FLUSHALL"]);
        let store = runtime.block_on(stores::redis(&server));
        runtime.block_on(compare(&nodes, &questions, store));
        Ok(())
    };
    runner(60).run(&histories(), check).unwrap();
}
