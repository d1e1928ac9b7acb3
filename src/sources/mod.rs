//! Where rules come from.
//!
//! A source delivers whole sets of raw rules, each a candidate: it knows nothing of what
//! they say. Compiling them is `rules`' work, putting them into force that of [`Reloader`].

pub mod files;
mod reload;
mod replaced;
pub mod xds;

pub use reload::{Leasing, Outcome, Reloader, RuleSet};
pub use replaced::Replaced;
