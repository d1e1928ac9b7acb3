//! What of an event may leave: what is known to be harmless, and nothing else.
//!
//! Descriptor values, addresses, tokens and passwords never are. Texts of our own are fixed,
//! and what varies stands in fields; yet texts are looked through for whatever looks like an
//! address or a name of somebody, as an error from elsewhere may have come to stand in one.

use std::borrow::Cow;

use regex::Regex;
use sentry::protocol::{Context, Event, Exception, Map, Value, Values};

/// Fields of a line of the log that are kept, as tags by which events are found.
const TAGS: [&str; 3] = ["request_id", "domain", "rule"];
/// Fields that are kept as they are.
const FIELDS: [&str; 6] = ["store", "version", "domains", "limits", "server_state", "in_force"];
/// Contexts that are kept.
const CONTEXTS: [&str; 5] = ["os", "rust", "runtime", "trace", "Rust Tracing Location"];
/// Where the fields of a line are found.
const LINE: &str = "Rust Tracing Fields";
/// The longest tag that Sentry takes.
const MAX_TAG: usize = 200;

/// Cleans events.
#[derive(Debug)]
pub(super) struct Scrub {
    /// What looks like an address, a URL or a name of somebody.
    suspicious: Option<Regex>,
}

impl Scrub {
    pub(super) fn new() -> Self {
        let suspicious = [
            r"[a-zA-Z][a-zA-Z0-9+.-]*://\S+", // URLs, with whatever they hold
            r"[^\s@]+@[^\s@]+",               // mail addresses, logins
            r"\b\d{1,3}(?:\.\d{1,3}){3}\b(?::\d+)?", // IPv4
            r"\[?(?:\b[0-9a-fA-F]{1,4}:){3}[0-9a-fA-F:.\]]*", // IPv6, and with a gap
            r"\[?(?:\b[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{1,4})*)?::[0-9a-fA-F][0-9a-fA-F:.]*\b\]?(?::\d+)?",
            r"\b[0-9a-fA-F]{24,}\b", // keys and tokens
        ];
        Self { suspicious: Regex::new(&suspicious.join("|")).ok() }
    }

    /// What may leave of `event`.
    pub(super) fn clean(&self, event: Event<'static>) -> Event<'static> {
        let mut contexts = event.contexts;
        let fields = match contexts.remove(LINE) {
            Some(Context::Other(fields)) => fields,
            _ => Map::new(),
        };
        let mut tags = self.tags(event.tags.into_iter().map(|(k, v)| (k, Value::String(v))));
        tags.extend(self.tags(fields.clone()));
        contexts.retain(|name, _| CONTEXTS.contains(&name.as_str()));
        let kept: Map<String, Value> =
            fields.into_iter().filter(|(name, _)| FIELDS.contains(&name.as_str())).collect();
        if !kept.is_empty() {
            contexts.insert("line".to_owned(), Context::Other(kept));
        }
        let exceptions = event.exception.into_iter().map(|exception| self.exception(exception));
        Event {
            event_id: event.event_id,
            level: event.level,
            message: event.message.map(|text| self.text(&text)),
            logger: event.logger,
            platform: event.platform,
            timestamp: event.timestamp,
            server_name: event.server_name,
            release: event.release,
            environment: event.environment,
            exception: Values::from(exceptions.collect::<Vec<_>>()),
            stacktrace: event.stacktrace,
            sdk: event.sdk,
            threads: event.threads,
            tags,
            contexts,
            ..Event::default()
        }
    }

    fn tags(&self, fields: impl IntoIterator<Item = (String, Value)>) -> Map<String, String> {
        let known = fields.into_iter().filter(|(name, _)| TAGS.contains(&name.as_str()));
        known.filter_map(|(name, value)| Some((name, short(value.as_str()?)))).collect()
    }

    fn exception(&self, exception: Exception) -> Exception {
        let Exception { ty, value, module, stacktrace, mechanism, thread_id, .. } = exception;
        let value = value.map(|text| self.text(&text));
        Exception { ty, value, module, stacktrace, mechanism, thread_id, ..Default::default() }
    }

    fn text(&self, text: &str) -> String {
        let scrubbed = self.suspicious.as_ref().map(|s| s.replace_all(text, "[removed]"));
        scrubbed.unwrap_or(Cow::Borrowed("[removed]")).into_owned()
    }
}

fn short(text: &str) -> String {
    text.chars().take(MAX_TAG).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use sentry::protocol::{Breadcrumb, Request, User};

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Map<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
    }

    #[test]
    fn texts_lose_whatever_names_somebody() {
        let scrub = Scrub::new();
        let check = |text: &str, expected: &str| assert_eq!(scrub.text(text), expected, "{text}");
        check("rules not loaded", "rules not loaded");
        check("at src/a.rs:12:30", "at src/a.rs:12:30");
        check("in tidegate::store::redis", "in tidegate::store::redis");
        check("from ::1", "from [removed]");
        check("from 2001:db8:1:2:3:4:5:6", "from [removed]");
        check("no rule at line 12:30", "no rule at line 12:30");
        check("cannot reach 10.1.2.3:6379 now", "cannot reach [removed] now");
        check("cannot reach [fe80::1]:6379 now", "cannot reach [removed] now");
        check("at 2001:db8::ff00:42:8329", "at [removed]");
        check("redis://user:pass@host/0 is away", "[removed] is away");
        check("mail alice@example.com", "mail [removed]");
        check("token 0123456789abcdef0123456789abcdef", "token [removed]");
    }

    #[test]
    fn only_what_is_known_to_be_harmless_is_left() {
        let line = fields(&[
            ("request_id", "r-1"),
            ("domain", "shop"),
            ("rule", "shop.user"),
            ("reason", "SECRET"),
            ("store", "redis"),
        ]);
        let mut event = Event {
            message: Some("the store does not answer".to_owned()),
            user: Some(User { username: Some("SECRET".to_owned()), ..User::default() }),
            request: Some(Request { query_string: Some("SECRET".into()), ..Request::default() }),
            extra: fields(&[("any", "SECRET")]),
            culprit: Some("SECRET".to_owned()),
            transaction: Some("SECRET".to_owned()),
            breadcrumbs: vec![Breadcrumb { message: Some("SECRET".into()), ..Default::default() }]
                .into(),
            ..Event::default()
        };
        event.contexts.insert(LINE.to_owned(), Context::Other(line));
        event.contexts.insert("other".to_owned(), Context::Other(fields(&[("a", "SECRET")])));
        event.tags.insert("user".to_owned(), "SECRET".to_owned());
        let clean = Scrub::new().clean(event);
        let text = serde_json::to_string(&clean).unwrap();
        assert!(!text.contains("SECRET"), "{text}");
        assert_eq!(clean.tags["request_id"], "r-1");
        assert_eq!(clean.tags["domain"], "shop");
        assert_eq!(clean.tags["rule"], "shop.user");
        assert_eq!(clean.message.as_deref(), Some("the store does not answer"));
        assert!(text.contains(r#""store":"redis""#), "{text}");
    }
}
