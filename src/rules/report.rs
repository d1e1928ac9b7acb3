//! Collects what is wrong with a set of files, one entry for each mistake.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::problem::Problem;
use super::scalar::{Value, resolve};
use super::yaml::{Kind, Node, Place};

/// How much of a text a problem quotes, in characters.
const QUOTED: usize = 60;

/// How much of a path a problem shows, in characters.
const LONGEST_PATH: usize = 500;

/// How many typing errors a name may have to be recognised.
const MAX_DISTANCE: usize = 2;

/// Stands for a value that is wrong and has been reported, so that what depends on it
/// keeps quiet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reported;

/// Where a problem is: place and path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) at: Place,
    pub(super) path: &'a str,
}

/// The problems of all files so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    file: String,
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// What was reported in this file. An alias leads to the same text again, whose
    /// mistakes are still one each.
    seen: HashSet<(Place, String)>,
}

impl Report {
    /// What follows is about this file.
    pub(super) fn begin(&mut self, file: &str) {
        file.clone_into(&mut self.file);
        self.seen.clear();
    }

    /// Notes an error.
    pub(super) fn error(
        &mut self,
        spot: Spot<'_>,
        found: String,
        allowed: impl Into<String>,
    ) -> Reported {
        let problem = self.problem(spot, found, allowed.into());
        self.errors.extend(problem);
        Reported
    }

    /// Notes what is odd but accepted.
    pub(super) fn warn(&mut self, spot: Spot<'_>, found: String, allowed: impl Into<String>) {
        let problem = self.problem(spot, found, allowed.into());
        self.warnings.extend(problem);
    }

    /// A problem in the current file that is not noted yet; `None` if it is known.
    pub(super) fn problem(
        &mut self,
        spot: Spot<'_>,
        found: String,
        allowed: String,
    ) -> Option<Problem> {
        self.seen.insert((spot.at, found.clone())).then(|| Problem {
            file: self.file.clone(),
            line: spot.at.line as usize,
            column: if spot.at.line == 0 { 0 } else { spot.at.column as usize },
            path: cut(spot.path, LONGEST_PATH),
            found,
            allowed,
        })
    }

    /// Sorts by file and line.
    pub(super) fn sort(&mut self) {
        fn order(a: &Problem, b: &Problem) -> Ordering {
            (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column))
        }
        self.errors.sort_by(order);
        self.warnings.sort_by(order);
    }
}

/// Names what `node` is, quoting it as written.
pub(super) fn describe(node: &Node<'_>) -> String {
    let scalar = match node.kind() {
        Kind::Scalar(scalar) => scalar,
        Kind::Sequence(_) => return "a list".to_owned(),
        Kind::Mapping(_) => return "a map".to_owned(),
    };
    let text = clip(&scalar.text);
    match resolve(scalar) {
        Ok(Value::Null) => "empty (null)".to_owned(),
        Ok(Value::Bool(_)) => format!("the boolean {text}"),
        Ok(Value::Int(_) | Value::Large(_)) => format!("the number {text}"),
        Ok(Value::Float(_)) => format!("the float {text}"),
        Ok(Value::Text(_)) => format!("the string {text:?}"),
        Ok(Value::Binary(_)) => "binary data".to_owned(),
        Err(tag) => format!("{text:?}, which is no {}", tag.0),
    }
}

/// Cuts a long text.
pub(super) fn clip(text: &str) -> String {
    cut(text, QUOTED)
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// The one of `names` that was probably meant by `text`.
pub(super) fn nearest<'n>(text: &str, names: &[&'n str]) -> Option<&'n str> {
    let text: Vec<char> = text.to_lowercase().replace('-', "_").chars().take(QUOTED).collect();
    let similar = names.iter().filter(|name| name.len().abs_diff(text.len()) <= MAX_DISTANCE);
    let distances = similar.map(|name| (distance(&text, name), *name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= MAX_DISTANCE && distance * 2 < name.len()).then_some(name)
}

/// How many characters must be added, removed, changed or swapped with their neighbour
/// to turn `text` into `name`.
fn distance(text: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=text.len()).collect();
    for (y, wanted) in name.iter().enumerate() {
        let mut next = vec![y + 1];
        for (x, (found, pair)) in text.iter().zip(row.windows(2)).enumerate() {
            let &[diagonal, above] = pair else { continue };
            let changed = diagonal + usize::from(found != wanted);
            let left = next.last().copied().unwrap_or_default();
            let mut best = changed.min(above + 1).min(left + 1);
            if x > 0 && y > 0 && text.get(x - 1) == Some(wanted) && name.get(y - 1) == Some(found) {
                best = before.get(x - 1).map_or(best, |swapped| best.min(swapped + 1));
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    fn check(text: &str, expected: Option<&str>) {
        let names = ["key", "value", "rate_limit", "requests_per_unit"];
        assert_eq!(nearest(text, &names), expected, "{text}");
    }

    #[test]
    fn a_typing_error_is_near() {
        check("rate_limt", Some("rate_limit"));
        check("rateLimit", Some("rate_limit"));
        check("rate-limit", Some("rate_limit"));
        check("requestsPerUnit", Some("requests_per_unit"));
        check("values", Some("value"));
        check("keys", Some("key"));
        check("", None);
        check("window", None);
        check("kye", Some("key"));
        check("valeu", Some("value"));
        check("limit", None);
    }
}
