//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod envoy;
mod process;
mod rules;
mod store;
mod support;
