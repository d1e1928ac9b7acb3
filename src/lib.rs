//! Tidegate decides whether a request may pass.
//!
//! It answers Envoy's `envoy.service.ratelimit.v3` from rules in YAML or over xDS,
//! counts in Redis, memcached or memory, and reloads its rules while running. *Settings*
//! configure the process, *rules* configure limits.
//!
//! # One request
//!
//! Two pure functions around one await:
//!
//! ```text
//! plan(ruleset, request, now, policy) -> Plan    which counters to touch, by how much
//! store.apply(&plan.batch).await                 the only await, under a deadline
//! decide(plan, counts, policy)        -> Decision  the answer and its statistics
//! ```
//!
//! What crosses the seam is data ([`limiter::Batch`] out, [`store::Counts`] in),
//! because only data can cross to Redis and into a test table. Everything else is
//! an adapter at the edge.
//!
//! A batch holds operations on counters in *sets*: one operation stands for itself,
//! several stand together. How a counter counts is its [`limiter::Meter`]; an
//! algorithm is one pure step of it, over a state of three numbers. The memory store
//! runs the step under a lock, the Redis store runs its twin in one script call, and
//! a property test holds the two equal. So a new algorithm is one file here and one
//! there, and a new store is one file and the contract suite.
//!
//! What stands before a store is a store, from the outside to the inside:
//! [`store::Fallback`] answers in time, and as the limits say when the store cannot;
//! [`store::Leases`] spends blocks of hits that were taken before;
//! [`store::RefusalCache`] remembers what is exhausted. What spreads a batch over several
//! shards, in a cluster or over two Redis, takes sets apart and puts answers together, in
//! `store/split.rs`.
//!
//! gRPC is served by worker threads, one per core, each with a runtime, connections to the
//! store and clients of its own; they share rules, metrics and whatever is counted in
//! memory. HTTP, the loading of rules and the probes run beside them.
//!
//! # Rooms
//!
//! In reading order, which is dependency order: a module uses only what stands
//! above it (`tests/it/house.rs` holds this).
//!
//! | room | purity | what it holds |
//! |---|---|---|
//! | [`cells`] | pure | locks and atomics, which tests may put in the hands of a scheduler |
//! | [`clock`] | reads the clock | the only reader of the wall clock; system or manual |
//! | [`rules`] | pure | YAML or data to [`rules::Ruleset`]; the look-up and its matchers; located problems, all at once |
//! | [`limiter`] | pure | [`limiter::plan`], [`limiter::decide`], counter keys, the algorithms |
//! | [`telemetry`] | sends to statsd, collectors | metrics, declared once each; the page, statsd, OpenTelemetry; traces; log set-up |
//! | [`health`] | pure | readiness facts and the report made of them |
//! | [`tls`] | I/O | certificates, keys and trust read from files, for clients and servers |
//! | [`store`] | I/O | the trait and its promises; memory, Redis, memcached; fallback, leases, the refusal cache |
//! | [`service`] | one await | the orchestration |
//! | [`wire`] | pure | generated types to ours and back, JSON, the one error table |
//! | [`sources`] | I/O | where rules come from: files, watched; a management server, over xDS |
//! | [`server`] | I/O | gRPC, HTTP, debug, drain |
//! | [`settings`] | pure | environment to [`settings::Settings`] |
//! | [`app`] | I/O | the composition root |
//!
//! # Laws
//!
//! 1. `rules` and `limiter` do no I/O, read no clock, log nothing.
//! 2. One clock read and one ruleset snapshot per request.
//! 3. One await per decision, always under a deadline.
//! 4. `statuses[i]` answers `descriptors[i]`.
//! 5. Generated types appear only in `wire`, in `server` and where `sources` holds the
//!    stream to a management server.
//! 6. A bad set of rules never replaces a good one, and shows in metrics, log and
//!    health report.
//! 7. Counter keys are injective, unless the envoyproxy key format is switched on.
//! 8. Label sets are fixed when rules compile; what values add is capped.
//! 9. Every queue, cache, message and connection count has a limit and a setting.
//! 10. Not ready until rules are loaded and the store has answered once; draining
//!     flips readiness before listeners close.
//! 11. Secrets are a type: none reaches `Debug`, a log or a span.
//! 12. No request can end the process: over limit is a value, never an error.
//! 13. No decision admits more than the limit, whatever fails, unless the limit asks for
//!     that (`on_store_error: allow`); the simulation looks for it.

pub mod cells;
pub mod clock;
pub mod rules;
pub mod limiter;
pub mod telemetry;
pub mod health;
pub mod tls;
pub mod store;
pub mod service;
pub mod wire;
pub mod sources;
pub mod server;
pub mod settings;
pub mod app;
