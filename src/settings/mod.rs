//! Environment to [`Settings`]: what configures the process.
//!
//! Pure: variables come in through a function, every mistake is found at once. Each
//! variable is declared once, in `table.rs`; [`Settings::reference`] and
//! `docs/settings.md` are made of the same declarations. What the settings do belongs to
//! the rooms that get them.

pub mod duration;
mod listeners;
mod names;
mod reader;
mod redis;
mod secret;
mod store;
mod table;
mod unsupported;
mod value;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use reader::{Declared, SettingError, SettingErrors};
pub use secret::Secret;

use crate::sources::files;

/// Everything that configures the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What this deployment calls itself in telemetry (`production`); may be empty.
    pub environment: String,
    /// The HTTP listener: `/json`, `/healthcheck`.
    pub http: Address,
    /// The debug listener.
    pub debug: Address,
    /// The gRPC listener.
    pub grpc: Grpc,
    /// The metrics listener, if there is one.
    pub prometheus: Option<Prometheus>,
    /// The log.
    pub log: Log,
    /// Where rules come from, and what holds without them.
    pub rules: Rules,
    /// Where counters live.
    pub store: Store,
    /// How requests are decided.
    pub limiter: Limiter,
    /// What is added to answers.
    pub answer: Answer,
    /// How much is accepted.
    pub bounds: Bounds,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What is odd about the environment, one line each; for the log, without secrets.
    pub warnings: Vec<String>,
}

/// A TCP address, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address without brackets; empty means every address of the machine,
    /// of both families.
    pub host: String,
    /// The port; a listener on 0 takes a free one.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(Address),
    /// The path of a unix socket.
    Unix(PathBuf),
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
    pub reflection: bool,
}

/// The metrics listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// Where it listens.
    pub address: Address,
    /// The path of the metrics page; begins with `/` and is to be taken literally.
    pub path: String,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is written.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where rules come from, and what holds without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The rule files.
    pub files: files::Options,
    /// Files of one domain add up instead of excluding each other.
    pub merge_domains: bool,
    /// Serve before the first rules are loaded.
    pub start_without_rules: bool,
    /// Report healthy only once rules have been loaded.
    pub healthy_needs_rules: bool,
}

/// Where counters live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// How long one decision waits for its counters.
    pub timeout: Duration,
    /// What holds them.
    pub backend: Backend,
}

/// What holds the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// This process.
    Memory {
        /// How many counters it holds at most.
        max_counters: usize,
    },
    /// A Redis server.
    Redis(Redis),
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Where it is; a TCP host is never empty.
    pub endpoint: Endpoint,
    /// The user to log in as, if not the default one.
    pub user: Option<String>,
    /// The password to log in with, if any.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u32,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Up to this is added at random to the time counters live on; whole seconds.
    pub expiration_jitter: Duration,
}

/// How requests are decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Limiter {
    /// A count above this part of the limit is near it; finite, 0 or more.
    pub near_limit_ratio: f32,
    /// Let every request pass that is over limit.
    pub shadow_mode: bool,
    /// Let every request pass, and report what is over limit as metadata.
    pub quota_mode: bool,
    /// How counters are named.
    pub key_format: KeyFormat,
    /// What every counter key begins with; may be empty.
    pub key_prefix: String,
}

/// How counters are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// So that no two counters share a key.
    Tidegate,
    /// As envoyproxy/ratelimit does, to share one Redis with it.
    Envoyproxy,
}

/// What is added to answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The names of the response headers, if they are sent.
    pub headers: Option<HeaderNames>,
    /// Whether the request's descriptors are sent back as dynamic metadata.
    pub dynamic_metadata: bool,
}

/// The names of the response headers: valid HTTP header names, spelled as set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderNames {
    /// Tells the limit.
    pub limit: String,
    /// Tells what is left of it.
    pub remaining: String,
    /// Tells the seconds until the window ends.
    pub reset: String,
}

/// How much is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request message.
    pub max_message_bytes: usize,
    /// Descriptors of a request.
    pub max_descriptors: usize,
    /// Entries of a descriptor.
    pub max_entries: usize,
    /// Bytes of a domain, a key or a value.
    pub max_string_bytes: usize,
    /// Connections of a listener at a time.
    pub max_connections: usize,
    /// Different paths that metrics are kept for.
    pub max_metric_paths: usize,
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
        unsupported::check(&mut reader);
        names::check(&mut reader, names);
        settings.warnings = reader.warnings;
        if reader.errors.is_empty() {
            Ok(settings)
        } else {
            Err(SettingErrors(reader.errors))
        }
    }

    /// Every variable there is, group by group.
    pub fn reference() -> Vec<Declared> {
        let mut reader = reader::Reader::new(&|_| None);
        table::read(&mut reader);
        unsupported::check(&mut reader);
        reader.declared
    }
}
