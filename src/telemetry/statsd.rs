//! From snapshots to lines of statsd: counters by how much they grew, gauges as they are.
//!
//! Pure. A counter's growth is forgotten only once its line was sent, so that a failed
//! flush adds to the next.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::metric::{Metric, Reading, Snapshot};
use super::mogrify::{Mogrifier, mogrify};
use super::prometheus::Kind;
use super::tags::Tags;

/// How a line looks.
#[derive(Clone, Debug, PartialEq)]
pub enum Dialect {
    /// Tags are part of the name: `name.__key=value:1|c`.
    Statsd,
    /// Tags stand behind: `name:1|c|#key:value`. The first mogrifier that matches renames.
    DogStatsd(Vec<Mogrifier>),
}

/// A line, and what is known to be sent once it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    sent: Option<(String, u64)>,
}

impl Line {
    /// A line that nothing has to remember.
    pub(super) fn of_now(text: String) -> Self {
        Self { text, sent: None }
    }
}

/// What was sent of each counter.
#[derive(Debug)]
pub(super) struct Lines {
    dialect: Dialect,
    tags: Tags,
    sent: HashMap<String, u64>,
}

impl Lines {
    pub(super) fn new(dialect: Dialect, tags: Tags) -> Self {
        Self { dialect, tags, sent: HashMap::new() }
    }

    /// The lines of a flush.
    pub(super) fn flush(&self, snapshot: &Snapshot) -> Vec<Line> {
        snapshot.readings.iter().filter_map(|reading| self.line(reading)).collect()
    }

    /// The line of a timer.
    pub(super) fn timer(&self, metric: &Metric, part: &str, millis: u64) -> Line {
        Line::of_now(self.text((metric, part), millis, "ms"))
    }

    /// Remembers that a line was sent.
    pub(super) fn sent(&mut self, line: Line) {
        if let Some((name, total)) = line.sent {
            self.sent.insert(name, total);
        }
    }

    /// Forgets the counters that are not held any more.
    pub(super) fn forget(&mut self, snapshot: &Snapshot) {
        let held: std::collections::HashSet<String> = snapshot.readings.iter().map(key).collect();
        self.sent.retain(|name, _| held.contains(name));
    }

    fn line(&self, reading: &Reading) -> Option<Line> {
        let Reading { metric, part, value } = reading;
        let name = (*metric, &**part);
        if metric.kind == Kind::Gauge {
            return Some(Line::of_now(self.text(name, *value, "g")));
        }
        let key = key(reading);
        let sent = self.sent.get(&key).copied().unwrap_or(0);
        // A counter that is smaller than it was has left and come back.
        let delta = value.checked_sub(sent).unwrap_or(*value);
        let text = || self.text(name, delta, "c");
        (delta > 0).then(|| Line { text: text(), sent: Some((key, *value)) })
    }

    fn text(&self, (metric, part): (&Metric, &str), value: u64, kind: &str) -> String {
        let tags = self.tags.with(metric.tag(part));
        let mut name = one_line(&metric.dotted(part));
        let mut line = String::new();
        match &self.dialect {
            Dialect::Statsd => {
                for (key, tag) in tags {
                    let _ = write!(name, ".__{key}={tag}");
                }
                let _ = write!(line, "{name}:{value}|{kind}");
            }
            Dialect::DogStatsd(mogrifiers) => {
                let (name, more) = mogrify(mogrifiers, &name);
                let _ = write!(line, "{name}:{value}|{kind}");
                let more = more.iter().map(|(key, value)| (&**key, &**value));
                for (i, (key, tag)) in tags.into_iter().chain(more).enumerate() {
                    let separator = if i == 0 { "|#" } else { "," };
                    let _ = write!(line, "{separator}{}:{}", tag_text(key), tag_text(tag));
                }
            }
        }
        line
    }
}

/// What tells counters apart, the constant tags left out.
fn key(reading: &Reading) -> String {
    format!("{}\n{}", reading.metric.statsd, reading.part)
}

/// The name of one line: what separates things in the protocol becomes `_`.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() || matches!(c, ':' | '|') { '_' } else { c }).collect()
}

fn tag_text(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, ',' | '|') { '_' } else { c }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use regex::Regex;

    use super::super::families::{ERRORS, MEMCACHE_ADDS, POOL_ACTIVE, RESPONSE_TIME, TOTAL_HITS};
    use super::*;

    fn snapshot(hits: u64, errors: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add_part(&TOTAL_HITS, Arc::from("shop.user_a\nb"), hits);
        snapshot.add_part(&ERRORS, Arc::from("redis_error"), errors);
        snapshot.add_part(&POOL_ACTIVE, Arc::from("redis_pool"), 1);
        snapshot.add_part(&MEMCACHE_ADDS, Arc::from("success"), hits);
        snapshot
    }

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        Tags::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
    }

    /// A flush that succeeds.
    fn flush(lines: &mut Lines, snapshot: &Snapshot) -> Vec<String> {
        let sent = lines.flush(snapshot);
        sent.clone().into_iter().for_each(|line| lines.sent(line));
        lines.forget(snapshot);
        sent.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn counters_are_sent_by_how_much_they_grew() {
        let mut lines = Lines::new(Dialect::Statsd, Tags::default());
        let hits = "ratelimit.service.rate_limit.shop.user_a_b.total_hits";
        let gauge = "ratelimit.redis_pool.cx_active:1|g";
        let adds = "ratelimit.memcache.add.__code=success";
        assert_eq!(
            flush(&mut lines, &snapshot(5, 0)),
            [format!("{hits}:5|c"), gauge.to_owned(), format!("{adds}:5|c")]
        );
        assert_eq!(flush(&mut lines, &snapshot(5, 0)), [gauge]);
        // A flush that fails is made up for.
        assert_eq!(lines.flush(&snapshot(7, 1)).len(), 4);
        assert_eq!(
            flush(&mut lines, &snapshot(9, 1)),
            [
                format!("{hits}:4|c"),
                "ratelimit.service.call.should_rate_limit.redis_error:1|c".to_owned(),
                gauge.to_owned(),
                format!("{adds}:4|c")
            ]
        );
        // Counters that left and came back start anew.
        flush(&mut lines, &Snapshot::default());
        assert_eq!(flush(&mut lines, &snapshot(3, 1))[0], format!("{hits}:3|c"));
        assert_eq!(flush(&mut lines, &snapshot(2, 1))[0], format!("{hits}:2|c"));
    }

    #[test]
    fn tags_are_part_of_the_name() {
        let tags = tags(&[("zone", "eu.1"), ("app", "a:b"), ("", "x"), ("y", "")]);
        let lines = Lines::new(Dialect::Statsd, tags);
        let texts: Vec<_> = lines.flush(&snapshot(1, 0)).into_iter().map(|l| l.text).collect();
        assert_eq!(
            texts,
            [
                "ratelimit.service.rate_limit.shop.user_a_b.total_hits.__app=a_b.__zone=eu_1:1|c",
                "ratelimit.redis_pool.cx_active.__app=a_b.__zone=eu_1:1|g",
                "ratelimit.memcache.add.__app=a_b.__code=success.__zone=eu_1:1|c",
            ]
        );
        let timer = lines.timer(&RESPONSE_TIME, "Check", 12).text;
        assert_eq!(timer, "ratelimit_server.Check.response_time.__app=a_b.__zone=eu_1:12|ms");
    }

    #[test]
    fn dogstatsd_has_tags_behind_and_mogrifiers() {
        let pattern = Regex::new(r"^ratelimit\.service\.rate_limit\.([^.]*)\.(.*)\.([^.]*)$");
        let named = [("domain".to_owned(), "$1".to_owned()), ("path".to_owned(), "$2".to_owned())];
        let mogrifier = Mogrifier::new(pattern.unwrap(), "rate_limit.$3", &named);
        let lines = Lines::new(Dialect::DogStatsd(vec![mogrifier]), tags(&[("env", "a,b")]));
        let texts: Vec<_> = lines.flush(&snapshot(1, 0)).into_iter().map(|l| l.text).collect();
        assert_eq!(
            texts,
            [
                "rate_limit.total_hits:1|c|#env:a_b,domain:shop,path:user_a_b",
                "ratelimit.redis_pool.cx_active:1|g|#env:a_b",
                "ratelimit.memcache.add:1|c|#code:success,env:a_b",
            ]
        );
        let plain = Lines::new(Dialect::DogStatsd(vec![]), Tags::default());
        let timer = plain.timer(&RESPONSE_TIME, "Check", 0).text;
        assert_eq!(timer, "ratelimit_server.Check.response_time:0|ms");
    }
}
