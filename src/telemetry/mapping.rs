//! Names by a mapping file of statsd_exporter (`PROMETHEUS_MAPPER_YAML`).
//!
//! As there, globs go before expressions and otherwise the first match counts; `*` is one
//! part of the dotted name, an expression may match anywhere. What only concerns its memory
//! (`ttl`) or summaries is read past: timers are histograms here. Reading the text is in
//! `read`, the file is read by whoever starts the process.

mod read;

use regex::Regex;

pub use read::MappingError;

use super::prometheus::{Kind, metric_name};
use super::template::Template;

/// A mapping file as read.
#[derive(Debug, Default)]
pub struct Mapping {
    rules: Vec<Rule>,
    /// Buckets of histograms whose rule has none.
    buckets: Option<Vec<f64>>,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    /// The only kind that it applies to.
    kind: Option<Kind>,
    action: Action,
}

#[derive(Debug)]
enum Pattern {
    /// Parts, `*` among them.
    Glob(Vec<String>),
    Regex(Regex),
}

#[derive(Debug)]
enum Action {
    Drop,
    Name {
        family: Template,
        labels: Vec<(String, Template)>,
        buckets: Option<Vec<f64>>,
        scale: Option<f64>,
    },
}

/// What a mapping makes of a name.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome<'m> {
    /// It is left out.
    Dropped,
    /// No rule matches.
    Unknown,
    /// It has another name.
    Named {
        family: String,
        labels: Vec<(String, String)>,
        buckets: Option<&'m [f64]>,
        /// What a millisecond counts.
        scale: Option<f64>,
    },
}

impl Mapping {
    /// Reads the text of a mapping file.
    ///
    /// # Errors
    ///
    /// It is not YAML, or a rule cannot be used.
    pub fn parse(text: &str) -> Result<Self, MappingError> {
        read::mapping(text)
    }

    /// Looks a dotted name up.
    pub(super) fn find(&self, name: &str, kind: Kind) -> Outcome<'_> {
        let is_glob = |rule: &&Rule| matches!(rule.pattern, Pattern::Glob(_));
        let (globs, others): (Vec<&Rule>, Vec<&Rule>) = self
            .rules
            .iter()
            .filter(|rule| rule.kind.is_none_or(|only| only == kind))
            .partition(is_glob);
        let captured = |rule: &'_ Rule| rule.pattern.captures(name);
        let found = globs.into_iter().chain(others).find_map(|rule| Some((rule, captured(rule)?)));
        match found.map(|(rule, captures)| (&rule.action, captures)) {
            None => Outcome::Unknown,
            Some((Action::Drop, _)) => Outcome::Dropped,
            Some((Action::Name { family, labels, buckets, scale }, captures)) => Outcome::Named {
                family: metric_name(&family.fill(&captures)),
                labels: labels
                    .iter()
                    .map(|(label, value)| (label.clone(), value.fill(&captures)))
                    .collect(),
                buckets: buckets.as_deref().or(self.buckets.as_deref()),
                scale: *scale,
            },
        }
    }
}

impl Pattern {
    /// What `$0`, `$1` and so on stand for, if it matches.
    fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        match self {
            Self::Glob(parts) => {
                let mut captures = vec![name];
                let mut rest = name.split('.');
                for part in parts {
                    let found = rest.next()?;
                    match part.as_str() {
                        "*" => captures.push(found),
                        part if part != found => return None,
                        _ => {}
                    }
                }
                rest.next().is_none().then_some(captures)
            }
            Self::Regex(regex) => {
                let found = regex.captures(name)?;
                Some(found.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = r#"
defaults:
  timer_type: histogram
  buckets: [1, 2.5]
  ttl: 1h
mappings:
- match: "^a\\.(.*)\\.hits"
  match_type: regex
  name: deep_$1
- match: a.*.hits
  name: "hits"
  labels: {first: "$1", all: "${0}"}
- match: t.*.time
  match_metric_type: timer
  timer_type: histogram
  name: time
  scale: 0.001
  histogram_options: {buckets: [7]}
- match: u.*.time
  match_metric_type: observer
  name: other_time
- match: gone.*
  action: drop
- match: .
  match_type: regex
  action: drop
  name: dropped
"#;

    fn find(name: &str, kind: Kind) -> String {
        let mapping = Mapping::parse(FILE).unwrap();
        match mapping.find(name, kind) {
            Outcome::Dropped => "dropped".to_owned(),
            Outcome::Unknown => "unknown".to_owned(),
            Outcome::Named { family, labels, buckets, scale } => {
                format!("{family} {labels:?} {buckets:?} {scale:?}")
            }
        }
    }

    #[test]
    fn rules_are_tried_as_there() {
        let check = |name: &str, kind, expected: &str| assert_eq!(find(name, kind), expected);
        let labels = r#"[("first", "x"), ("all", "a.x.hits")]"#;
        check("a.x.hits", Kind::Counter, &format!("hits {labels} Some([1.0, 2.5]) None"));
        check("a.x.y.hits", Kind::Counter, "deep_x_y [] Some([1.0, 2.5]) None");
        check("a.x.hits_more", Kind::Counter, "deep_x [] Some([1.0, 2.5]) None");
        check("t.m.time", Kind::Histogram, "time [] Some([7.0]) Some(0.001)");
        check("u.m.time", Kind::Histogram, "other_time [] Some([1.0, 2.5]) None");
        check("t.m.time", Kind::Counter, "dropped");
        check("gone.x", Kind::Gauge, "dropped");
        let only = Mapping::parse("mappings: [{match: a.b, name: c}]").unwrap();
        assert_eq!(only.find("x.y", Kind::Counter), Outcome::Unknown);
        assert_eq!(Mapping::parse("").unwrap().find("x.y", Kind::Counter), Outcome::Unknown);
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_place() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Mapping::parse(text).unwrap_err().to_string(), expected, "{text}");
        };
        check("mappings: 3", "line 1, column 11: mappings is not a list");
        check("mappings: [x]", "line 1, column 12: a mapping is not a map");
        check("mappings: [{name: a}]", "line 1, column 12: a mapping has no match");
        check("mappings: [{match: a.b}]", "line 1, column 12: a mapping has no name");
        check(
            "mappings: [{match: '(', match_type: regex, name: a}]",
            "line 1, column 20: match is not a regular expression",
        );
        check(
            "mappings: [{match: a.b, name: a, labels: {a-b: x}}]",
            "line 1, column 43: \"a-b\" is not the name of a label",
        );
        check(
            "mappings: [{match: a.b, name: a, buckets: [one]}]",
            "line 1, column 44: \"one\" is not a number",
        );
        check(
            "mappings: [{match: a.b, name: a, match_metric_type: set}]",
            "line 1, column 53: \"set\" is not counter, gauge, observer or timer",
        );
        check(
            "mappings: [{match: a.b, name: a, match_type: like}]",
            "line 1, column 46: \"like\" is not glob or regex",
        );
        assert!(Mapping::parse("a: [").is_err());
    }
}
