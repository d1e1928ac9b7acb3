//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod algorithms;
mod allocations;
mod conformance;
mod decisions;
mod docs;
mod envoy;
mod fuzz;
mod house;
mod metrics;
mod model;
mod otel;
mod process;
mod rules;
mod settings;
mod simulation;
mod sources;
mod store;
mod support;
mod tls;
