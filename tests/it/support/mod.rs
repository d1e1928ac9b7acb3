//! What tests lean on.

pub(crate) mod certs;
pub(crate) mod child;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod conversations;
pub(crate) mod envoy;
pub(crate) mod forward;
pub(crate) mod frames;
pub(crate) mod memcached;
pub(crate) mod network;
pub(crate) mod port;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod sentinels;
pub(crate) mod sentry;
pub(crate) mod stores;
pub(crate) mod xds;
