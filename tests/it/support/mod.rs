//! What tests lean on.

pub(crate) mod redis;
