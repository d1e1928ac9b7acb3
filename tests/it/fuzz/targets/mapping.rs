//! Bytes as a mapping file of statsd_exporter, and as a mogrifier: an expression, a name and
//! tags, one a line.

use regex::Regex;
use tidegate::telemetry::{Mapping, Mogrifier, fuzz};

use super::Outcome;

const NAMES: [&str; 4] = [
    "",
    "ratelimit.service.rate_limit.shop.user_a.total_hits",
    "ratelimit_server.ShouldRateLimit.response_time",
    "a.b\u{e9}.$1.${2}",
];

/// Reads both and names things by them.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused };
    mogrify(text);
    match Mapping::parse(text) {
        Ok(mapping) => {
            for name in NAMES {
                let Some((family, _)) = fuzz::mapped(&mapping, name) else { continue };
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
                assert!(family.chars().all(is_name), "{family:?}");
            }
            Outcome::Taken
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.starts_with("line ") && !error.starts_with("line 0"), "{error}");
            Outcome::Refused
        }
    }
}

fn mogrify(text: &str) {
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let Ok(pattern) = Regex::new(line()) else { return };
    let (name, tags) = (line(), [("tag".to_owned(), line().to_owned())]);
    let mogrifier = Mogrifier::new(pattern, name, &tags);
    for metric in NAMES {
        let (found, tags) = fuzz::mogrified(&mogrifier, metric);
        let most = name.len() + tags.iter().map(|(_, value)| value.len()).sum::<usize>();
        assert!(found.len() <= (most + 1) * (metric.len() + 1) && tags.len() <= 1);
    }
}
