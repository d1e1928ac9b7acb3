//! Environment to [`Settings`]: what configures the process.
//!
//! Pure: variables come in through a function, every mistake is found at once. Each
//! variable is declared once, in `table.rs`; [`Settings::reference`] and
//! `docs/settings.md` are made of the same declarations. What the settings do belongs to
//! the rooms that get them.

pub mod duration;
mod faults;
mod leases;
mod listeners;
mod logs;
mod memcached;
mod metrics;
mod names;
mod otel;
mod reader;
mod redis;
mod sentry;
mod store;
mod table;
mod tls;
mod transport;
mod value;
mod xds;

use std::time::Duration;

pub use faults::{Faults, Replicas, Sharers};
pub use leases::Leases;
pub use logs::Log;
pub use metrics::Metrics;
pub use otel::{Collector, Otel};
pub use reader::{Declared, SettingError, SettingErrors};
pub use transport::AdminToken;
pub(crate) use transport::{TOKEN, is_token};

use crate::health::{RulesNeeded, StoreNeeded};
use crate::limiter::Policy;
use crate::server::{Address, Endpoint, Reflection, Transport};
use crate::sources;
use crate::store::memcached::MemcachedConfig;
use crate::store::redis::RedisConfig;
use crate::telemetry::ErrorsConfig;
use crate::tls::ServerTls;
use crate::wire::{self, Layout};

/// Everything that configures the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What this deployment calls itself in telemetry (`production`); may be empty.
    pub environment: String,
    /// The HTTP listener: `/json`, `/healthcheck`.
    pub http: Address,
    /// The debug listener.
    pub debug: Address,
    /// What must be shown to look inside; none: nothing.
    pub admin_token: Option<AdminToken>,
    /// The gRPC listener.
    pub grpc: Grpc,
    /// The metrics listener, if there is one.
    pub prometheus: Option<Prometheus>,
    /// How metrics are named, and who gets them.
    pub metrics: Metrics,
    /// What goes to OpenTelemetry collectors.
    pub otel: Otel,
    /// The log.
    pub log: Log,
    /// What is sent to Sentry; none: nothing.
    pub errors: Option<ErrorsConfig>,
    /// Where rules come from, and what holds without them.
    pub rules: Rules,
    /// Where counters live.
    pub store: Store,
    /// How many bytes of refusals are remembered, if any are.
    pub refusal_cache_bytes: Option<usize>,
    /// How many processes share the store.
    pub replicas: Replicas,
    /// What is answered when the store cannot say.
    pub faults: Faults,
    /// How blocks of hits are taken.
    pub leases: Leases,
    /// How many threads serve gRPC; 0: as many as there are cores.
    pub workers: usize,
    /// How requests are decided.
    pub limiter: Policy,
    /// What answers hold beside their verdicts.
    pub answer: Layout,
    /// How much is accepted.
    pub bounds: Bounds,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What is odd about the environment, one line each; for the log, without secrets.
    pub warnings: Vec<String>,
}

/// The gRPC listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grpc {
    /// Where it listens.
    pub listen: Endpoint,
    /// A connection of this age is asked to go; none: never.
    pub max_connection_age: Option<Duration>,
    /// That long after it was asked it is closed; none: never.
    pub max_connection_age_grace: Option<Duration>,
    /// Whether it describes its services to clients.
    pub reflection: Reflection,
    /// How it speaks TLS; none: it is plain.
    pub tls: Option<ServerTls>,
}

/// The metrics listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where it listens.
    pub address: Address,
    /// The path of the metrics page; begins with `/` and is to be taken literally.
    pub path: String,
}

/// Where rules come from, and what holds without them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The rule files.
    pub files: sources::files::Options,
    /// The management server that rules come from instead.
    pub xds: Option<sources::xds::Options>,
    /// Files of one domain add up instead of excluding each other.
    pub merge_domains: bool,
    /// Nothing says where they are: the example rules are served if there are none.
    pub is_default: bool,
    /// What rules there must be to be ready.
    pub needed: RulesNeeded,
}

/// Where counters live.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum Store {
    /// This process.
    Memory {
        /// How many counters it holds at most.
        max_counters: usize,
    },
    /// Redis.
    Redis {
        /// The one for all limits, or for those that the other is not for.
        main: RedisConfig,
        /// The one for limits per second, if they have one of their own.
        per_second: Option<RedisConfig>,
        /// What of it there must be to be ready.
        needed: StoreNeeded,
    },
    /// One memcached server or several.
    Memcached(MemcachedConfig),
}

impl Store {
    /// What of the store there must be to be ready.
    pub fn needed(&self) -> StoreNeeded {
        match self {
            Self::Memory { .. } | Self::Memcached(_) => StoreNeeded::Answered,
            Self::Redis { needed, .. } => *needed,
        }
    }
}

/// How much is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request message.
    pub max_message_bytes: usize,
    /// What a request may hold.
    pub request: wire::Bounds,
    /// Connections of a listener at a time.
    pub max_connections: usize,
    /// Requests that are decided at a time.
    pub max_decisions: usize,
    /// What connections may hold and how long they may take.
    pub transport: Transport,
    /// Different paths that metrics are kept for.
    pub max_metric_paths: usize,
    /// Rules whose decisions have series of their own.
    pub max_metric_rules: usize,
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// How long it keeps accepting requests once it reports not to be ready.
    pub drain_delay: Duration,
    /// How long running requests get after that.
    pub grace: Duration,
}

impl Settings {
    /// Reads the settings: `lookup` gives the value of a variable, `names` are all that
    /// are set, to find misspelt ones of ours.
    ///
    /// # Errors
    ///
    /// Everything that cannot be used, at once.
    pub fn from_lookup(
        lookup: &dyn Fn(&str) -> Option<String>,
        names: &[String],
    ) -> Result<Self, SettingErrors> {
        let mut reader = reader::Reader::new(lookup);
        let mut settings = table::read(&mut reader);
        names::check(&mut reader, names);
        settings.warnings = reader.warnings;
        if reader.errors.is_empty() { Ok(settings) } else { Err(SettingErrors(reader.errors)) }
    }

    /// Every variable there is, group by group.
    pub fn reference() -> Vec<Declared> {
        let mut reader = reader::Reader::new(&|_| None);
        table::read(&mut reader);
        reader.declared
    }
}
