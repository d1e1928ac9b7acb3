//! What tests lean on.

pub(crate) mod redis;
pub(crate) mod stores;
