//! The integration tests, one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod algorithms;
mod allocations;
mod conformance;
mod dashboards;
mod decisions;
mod deploy;
mod docs;
mod envoy;
mod errors;
mod fuzz;
mod house;
mod logs;
mod metrics;
mod model;
mod operations;
mod otel;
mod process;
mod release;
mod rules;
mod settings;
mod simulation;
mod sources;
mod store;
mod support;
mod tls;
