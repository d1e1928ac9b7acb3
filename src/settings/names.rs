//! Finds misspelt names of our own: everything else in an environment is not ours to judge.

use super::reader::Reader;

const OURS: &str = "TIDEGATE_";

/// Refuses every name that begins like ours and is none, with the nearest one that is.
pub(super) fn check(reader: &mut Reader<'_>, names: &[String]) {
    let known: Vec<&str> =
        reader.declared.iter().map(|d| d.name).filter(|name| name.starts_with(OURS)).collect();
    let mut unknown: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with(OURS) && !known.contains(&name.as_str()))
        .filter(|name| !is_service_link(name))
        .collect();
    unknown.sort();
    for name in unknown {
        let nearest = known.iter().min_by_key(|other| distance(name, other));
        let allowed = nearest.map(|nearest| format!("a known name; the nearest is {nearest}"));
        reader.refuse(name, "a name that is not known", &allowed.unwrap_or_default());
    }
}

/// Whether Kubernetes made the name: for a service called `tidegate` every pod of the
/// namespace gets `TIDEGATE_SERVICE_HOST`, `TIDEGATE_PORT_8081_TCP_ADDR` and the like.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_PORT")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// How many letters must be added, removed or changed to make one name the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
