//! Where Redis is and how to talk to it, checked before anything connects.

use std::time::Duration;

use super::address::{Address, Place, RedisConfigError, SocketType};
use super::breaker::Breaking;
use super::login::{Credentials, Login};
use super::wiring::Wiring;
use crate::store::secret::Secret;
use crate::telemetry::RoundTrips;
use crate::tls::ClientTls;

/// How to reach Redis and how to count there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where its servers are.
    pub topology: Topology,
    /// How a connection to one of them is opened.
    pub dialing: Dialing,
    /// How long one batch or probe may take. 500 ms.
    pub timeout: Duration,
    /// Counters live up to that many seconds longer, exclusive, drawn for each. 0.
    pub expiration_jitter_max_secs: u64,
    /// Counters live that many seconds longer, so that a replica whose clock is behind by
    /// less still finds them. 0, which is envoyproxy's behaviour.
    pub key_slack_secs: u64,
    /// Which clock sliding windows and buckets go by. The server's.
    pub clock: ScriptClock,
    /// How many batches may wait for one server; one more is answered with an error at
    /// once. 16 384.
    pub max_waiting: usize,
    /// How many operations of several batches are sent together. Redis does nothing else
    /// meanwhile, which is about a millisecond for 1000, which it is. (One batch may have
    /// more.)
    pub max_operations_per_call: usize,
    /// Who is told of round trips that served traced calls. Nobody.
    pub round_trips: RoundTrips,
}

/// Which servers make up a Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One, always at this address.
    Single(Address),
    /// The primary of a name, which sentinels know.
    Sentinel {
        /// What the sentinels call the primary.
        name: String,
        /// Where sentinels are.
        sentinels: Vec<Address>,
        /// Who we say we are to them.
        login: Credentials,
    },
    /// A cluster, found through any of these.
    Cluster(Vec<Address>),
}

/// How a connection to a server is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialing {
    /// Who we say we are.
    pub login: Credentials,
    /// The database to count in.
    pub db: i64,
    /// Whether and how the connection is encrypted.
    pub tls: Option<ClientTls>,
    /// How long one attempt may take, name resolution and greeting included; none of its
    /// other steps gets more than a second of it. One second.
    pub connect_timeout: Duration,
    /// When the server is not asked any more. Nothing is slow.
    pub breaking: Breaking,
    /// What carries its bytes. Sockets.
    pub wiring: Wiring,
}

/// The clock of sliding windows and buckets. (Fixed windows go by the batch's, as
/// envoyproxy's do.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScriptClock {
    /// That of Redis: replicas agree, however their own clocks differ.
    #[default]
    Server,
    /// The moment of the batch, for tests that move the clock by hand.
    Batch,
}

impl RedisConfig {
    /// One server: `host:port`, `redis://[user[:password]@]host:port[/db]`, the same with
    /// `rediss://` for TLS, `redis+unix:///path[?db=..]`, or the path of a unix socket
    /// (which starts with `/`, unless the socket type says `unix`). Port 6379 may be left
    /// out.
    ///
    /// `auth` is read by [`Login::parse`] and wins over credentials in the address; empty,
    /// it says nothing.
    ///
    /// # Errors
    ///
    /// When the address has another form.
    pub fn new(
        address: &str,
        socket_type: SocketType,
        auth: Option<&Secret>,
    ) -> Result<Self, RedisConfigError> {
        let mut place = Place::parse(address, socket_type)?;
        if let Some(auth) = auth.filter(|auth| !auth.expose().is_empty()) {
            place.login = Login::parse(auth);
        }
        let topology = Topology::Single(place.address.clone());
        Ok(Self::with(topology, place))
    }

    /// The primary that sentinels know: `name,host:port[,host:port...]`. Port 26379 must
    /// be named. A login in an address is the one for the sentinels.
    ///
    /// # Errors
    ///
    /// When there are fewer than two items, or one of them is no address.
    pub fn sentinel(text: &str) -> Result<Self, RedisConfigError> {
        let (name, addresses) = text.split_once(',').ok_or(RedisConfigError::Sentinels)?;
        let name = name.trim();
        if name.is_empty() || name.contains("://") {
            return Err(RedisConfigError::Sentinels);
        }
        let (sentinels, mut place) = Place::parse_all(addresses.split(','))?;
        let login = Credentials::Given(std::mem::take(&mut place.login));
        Ok(Self::with(Topology::Sentinel { name: name.to_owned(), sentinels, login }, place))
    }

    /// A cluster, by the addresses of some of its nodes: `host:port[,host:port...]`.
    ///
    /// # Errors
    ///
    /// When one of them is no address.
    pub fn cluster(text: &str) -> Result<Self, RedisConfigError> {
        let (seeds, place) = Place::parse_all(text.split(','))?;
        Ok(Self::with(Topology::Cluster(seeds), place))
    }

    /// The address without credentials, for logs.
    pub fn describe(&self) -> String {
        let db = match self.dialing.db {
            0 => String::new(),
            db => format!("/{db}"),
        };
        match &self.topology {
            Topology::Single(address) => format!("{address}{db}"),
            Topology::Sentinel { name, .. } => format!("sentinel {name}{db}"),
            Topology::Cluster(_) => "cluster".to_owned(),
        }
    }

    fn with(topology: Topology, place: Place) -> Self {
        Self {
            topology,
            dialing: Dialing {
                login: Credentials::Given(place.login),
                db: place.db,
                tls: place.is_encrypted.then(ClientTls::default),
                connect_timeout: Duration::from_secs(1),
                breaking: Breaking::default(),
                wiring: Wiring::default(),
            },
            timeout: Duration::from_millis(500),
            expiration_jitter_max_secs: 0,
            key_slack_secs: 0,
            clock: ScriptClock::default(),
            max_waiting: 16 * 1024,
            max_operations_per_call: 1000,
            round_trips: RoundTrips::default(),
        }
    }
}
