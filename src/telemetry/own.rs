//! The families of metrics that are Tidegate's own, each declared once: name, kind, labels,
//! meaning.
//!
//! The page takes no sample without a declaration, and `docs/metrics.md` is made from these.
//! What envoyproxy/ratelimit has too stands in `families`. Values are not known here.

use super::prometheus::Kind;

/// A family.
#[derive(Debug, PartialEq, Eq)]
pub struct Own {
    /// What it is called.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence or two.
    pub help: &'static str,
}

/// Families that belong together.
#[derive(Debug)]
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// They.
    pub families: &'static [&'static Own],
}

/// Declares the families of a group: `NAME = Kind "name" ["label"] "Help.";`.
macro_rules! families {
    ($title:literal $($id:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        use crate::telemetry::own::{Group, Own};
        use crate::telemetry::prometheus::Kind;

        $(
            #[doc = $help]
            pub static $id: Own =
                Own { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )*

        /// All of them.
        pub(super) static GROUP: Group = Group { title: $title, families: &[$(&$id),*] };
    };
}

mod connections;
mod decisions;
mod process;
mod redis;
mod rules;
mod store;

pub use connections::*;
pub use decisions::*;
pub use process::*;
pub use redis::*;
pub use rules::*;
pub use store::*;

/// All of them, in the order of `docs/metrics.md`.
pub static ALL: [&Group; 6] = [
    &decisions::GROUP,
    &store::GROUP,
    &redis::GROUP,
    &rules::GROUP,
    &connections::GROUP,
    &process::GROUP,
];
