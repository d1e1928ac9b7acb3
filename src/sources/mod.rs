//! Where rules come from.
//!
//! A source delivers whole sets of raw files, each a candidate: it knows nothing of what
//! they say. Compiling them is `rules`' work, keeping the last good ruleset the caller's.

pub mod files;
