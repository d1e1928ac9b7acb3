//! The part of the table that says where Redis is and how to talk to it.
//!
//! There may be two, the second for limits per second: the same variables under another
//! prefix. Addresses are never quoted, as they may hold credentials.

use std::iter;
use std::time::Duration;

use super::Store;
use super::reader::Reader;
use super::value::Jitter;
use crate::health::StoreNeeded;
use crate::store::redis::{
    Credentials, Login, RedisConfig, RedisConfigError, SocketType, Topology,
};
use crate::store::secret::Secret;
use crate::tls::ClientTls;

mod names;
mod replaced;
mod tls;
mod values;

use names::{MAIN, Names, PER_SECOND};
use tls::Tls;
use values::Kind;

const MS: Duration = Duration::from_millis(1);
const MILLION: usize = 1_000_000;

/// What the variables say, before it is known whether Redis is used.
pub(super) struct Given {
    main: Server,
    /// The second one, if it is switched on.
    per_second: Option<Server>,
    tls: Tls,
    jitter: Jitter,
    needed: StoreNeeded,
    max_waiting: usize,
    max_operations_per_call: usize,
}

/// What the variables of one Redis say.
struct Server {
    names: &'static Names,
    url: Option<Secret>,
    kind: Kind,
    socket: SocketType,
    login: Option<Credentials>,
    sentinel_login: Option<Credentials>,
    is_encrypted: bool,
    connect_timeout: Duration,
}

/// Reads everything about Redis.
pub(super) fn read(r: &mut Reader<'_>) -> Given {
    r.group("Redis");
    let main = Server::read(&MAIN, r);
    let tls = Tls::read(r);
    let jitter = r.read(
        "EXPIRATION_JITTER_MAX_SECONDS",
        Jitter(300),
        "Up to this many seconds are added at random to the time counters live on in Redis or memcached.",
    );
    let needed = r.read(
        "REDIS_HEALTH_CHECK_ACTIVE_CONNECTION",
        StoreNeeded::Answered,
        "Be ready only while there is a connection to Redis. Otherwise a loss after the first \
         answer leaves readiness as it is.",
    );
    let max_waiting = r.within(
        "TIDEGATE_REDIS_MAX_WAITING",
        16 * 1024,
        1..=MILLION,
        "How many requests of a worker may wait for a call to one Redis server. One more is \
         answered with an error at once.",
    );
    let max_operations_per_call = r.within(
        "TIDEGATE_REDIS_MAX_OPERATIONS_PER_CALL",
        1000,
        1..=MILLION,
        "How many counters those who wait may ask for together. Redis does nothing else \
         meanwhile: about a millisecond for 1000. What is beyond goes next.",
    );
    r.group("A second Redis, for limits per second");
    let is_split = r.read(
        "REDIS_PERSECOND",
        false,
        "Count limits per second in a Redis of their own. The files of TLS are those of the \
         first.",
    );
    let per_second = Server::read(&PER_SECOND, r);
    if !is_split && per_second.url.is_some() {
        r.warn("REDIS_PERSECOND_URL is set but not used, as REDIS_PERSECOND is not true");
    }
    replaced::note_all(r);
    let per_second = is_split.then_some(per_second);
    Given { main, per_second, tls, jitter, needed, max_waiting, max_operations_per_call }
}

impl Given {
    /// Whether anything says where Redis is.
    pub(super) fn is_asked_for(&self) -> bool {
        self.main.url.is_some() || self.per_second.is_some()
    }

    /// Seconds that are added at random, at most, to the time counters live on.
    pub(super) fn jitter_max_secs(&self) -> u64 {
        self.jitter.0
    }

    /// Notes that it is not used, as `kind` is.
    pub(super) fn leave(&self, kind: &str, r: &mut Reader<'_>) {
        if self.main.url.is_some() {
            r.warn(format!("REDIS_URL is set but not used, as BACKEND_TYPE is {kind}"));
        }
        if self.per_second.is_some() {
            r.warn(format!("REDIS_PERSECOND is set but not used, as BACKEND_TYPE is {kind}"));
        }
    }

    /// The store, if it can be made of what is given.
    pub(super) fn store(self, timeout: Duration, r: &mut Reader<'_>) -> Option<Store> {
        let tls = self.tls.client(r);
        let complete = |mut config: RedisConfig| {
            config.timeout = timeout;
            config.expiration_jitter_max_secs = self.jitter.0;
            config.max_waiting = self.max_waiting;
            config.max_operations_per_call = self.max_operations_per_call;
            // An address alone may ask for TLS.
            config.dialing.tls = config.dialing.tls.map(|_| tls.clone());
            config
        };
        let why = match self.per_second {
            Some(_) => "an address, as REDIS_PERSECOND is true",
            None => "an address, as BACKEND_TYPE is redis",
        };
        let main = self.main.config(why, r).map(complete);
        let per_second = match self.per_second {
            Some(server) => Some(server.config(why, r).map(complete)?),
            None => None,
        };
        let main = main?;
        let mut all = iter::once(&main).chain(&per_second);
        if self.tls.is_given() && all.all(|config| config.dialing.tls.is_none()) {
            r.warn(
                "files or names for TLS to Redis are set but not used, as REDIS_TLS is not true",
            );
        }
        Some(Store::Redis { main, per_second, needed: self.needed })
    }
}

impl Server {
    fn read(names: &'static Names, r: &mut Reader<'_>) -> Self {
        let url = r.secret(
            names.url,
            "Where Redis is: `host:port`, a path, `redis://user:password@host:port/database` or \
             `redis+unix:///path?db=database`; with `rediss://` over TLS. For sentinels \
             `name,host:port,host:port`, with the primary's name; for a cluster the addresses \
             of some nodes, with commas between them.",
        );
        if url.as_ref().is_some_and(|url| url.expose().is_empty()) {
            r.warn(format!("{} is set but empty: it counts as unset", names.url));
        }
        let url = url.filter(|url| !url.expose().is_empty());
        let socket = r.read(
            names.socket_type,
            SocketType::Tcp,
            "The kind of socket to a single Redis. An address that is a path is a unix socket \
             anyway.",
        );
        let kind = r.read(
            names.kind,
            Kind::Single,
            "What the address leads to: one server, the sentinels of a primary, or a cluster.",
        );
        let login = login(&names.auth, r);
        let sentinel_login = login_of_sentinels(names, r);
        let is_encrypted = r.read(
            names.tls,
            false,
            "Talk TLS to Redis and its sentinels. The files below are read for each connection.",
        );
        let connect_timeout = r.within(
            names.timeout,
            10_000 * MS,
            MS..=3_600_000 * MS,
            "How long one attempt to connect may take at most. Only the resolution of names \
             gets that long; each other step gets a second, as a server that needs more could \
             answer nothing in time. The next attempt follows within half a second.",
        );
        Self { names, url, kind, socket, login, sentinel_login, is_encrypted, connect_timeout }
    }

    /// How to reach it; `why` is what an address is needed for.
    fn config(self, why: &str, r: &mut Reader<'_>) -> Option<RedisConfig> {
        let Some(url) = &self.url else {
            r.refuse(self.names.url, "nothing", why);
            return None;
        };
        match self.located(url.expose()) {
            Ok(config) => Some(config),
            Err(error) => {
                let found = "something else (not shown: it may hold a password)";
                r.refuse(self.names.url, found, &error.to_string());
                None
            }
        }
    }

    fn located(&self, url: &str) -> Result<RedisConfig, RedisConfigError> {
        let mut config = match self.kind {
            Kind::Single => RedisConfig::new(url, self.socket, None)?,
            Kind::Sentinel => RedisConfig::sentinel(url)?,
            Kind::Cluster => RedisConfig::cluster(url)?,
        };
        if let Some(given) = &self.login {
            config.dialing.login = given.clone();
        }
        if let (Topology::Sentinel { login, .. }, Some(given)) =
            (&mut config.topology, &self.sentinel_login)
        {
            *login = given.clone();
        }
        if self.is_encrypted {
            config.dialing.tls = Some(ClientTls::default());
        }
        config.dialing.connect_timeout = self.connect_timeout;
        Ok(config)
    }
}

fn login(names: &names::Auth, r: &mut Reader<'_>) -> Option<Credentials> {
    let given = r.secret(
        names.given,
        "`password` or `user:password`; a password with a colon is written `:pass:word`. Goes \
         before the credentials of the address.",
    );
    let file = r.optional(
        names.file,
        "A file that holds the same. It is read for each connection, so a password can be \
         replaced without a restart.",
    );
    credentials(names, given, file, r)
}

fn login_of_sentinels(names: &Names, r: &mut Reader<'_>) -> Option<Credentials> {
    let names = &names.sentinel_auth;
    let given = r.secret(names.given, "The same for the sentinels.");
    let file = r.optional(names.file, "The same for the sentinels.");
    credentials(names, given, file, r)
}

fn credentials(
    names: &names::Auth,
    given: Option<Secret>,
    file: Option<String>,
    r: &mut Reader<'_>,
) -> Option<Credentials> {
    let given = given.filter(|given| !given.expose().is_empty());
    let file = file.filter(|path| !path.is_empty());
    if given.is_some() && file.is_some() {
        let found = format!("a file, beside {}", names.given);
        r.refuse(names.file, &found, "one of the two");
    }
    let given = given.map(|given| Credentials::Given(Login::parse(&given)));
    given.or_else(|| file.map(|path| Credentials::File(path.into())))
}
