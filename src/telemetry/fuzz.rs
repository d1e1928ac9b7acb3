//! Names as mappings and mogrifiers make them, for those who feed them anything
//! (`tests/it/fuzz`).
//!
//! Pure. Nothing here is used by the process, and nothing here is promised to stay.

use super::mapping::Outcome;
use super::mogrify::mogrify;
use super::{Kind, Mapping, Mogrifier};

/// The family and labels that a mapping gives to a dotted name, if it gives any.
pub fn mapped(mapping: &Mapping, name: &str) -> Option<(String, Vec<(String, String)>)> {
    [Kind::Counter, Kind::Histogram].into_iter().find_map(|kind| match mapping.find(name, kind) {
        Outcome::Named { family, labels, .. } => Some((family, labels)),
        Outcome::Dropped | Outcome::Unknown => None,
    })
}

/// The name and tags that a mogrifier gives to a dotted name.
pub fn mogrified(mogrifier: &Mogrifier, name: &str) -> (String, Vec<(String, String)>) {
    mogrify(std::slice::from_ref(mogrifier), name)
}
