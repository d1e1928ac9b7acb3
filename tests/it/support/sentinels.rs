//! A primary, two replicas, and three sentinels that watch them.

use tidegate::store::redis::{Credentials, Login, RedisConfig, Topology};
use tidegate::store::secret::Secret;

use super::certs::Authority;
use super::process::eventually;
use super::redis::{RedisServer, tls_options};

/// What the sentinels call the primary.
pub(crate) const NAME: &str = "shop";
/// What they want to hear from who asks.
pub(crate) const PASSWORD: &str = "sesame";

/// Servers and their sentinels; quick to judge, and all on this machine.
pub(crate) struct Watched {
    /// The first is the primary at the start.
    pub(crate) servers: Vec<RedisServer>,
    /// All three know of each other.
    pub(crate) sentinels: Vec<RedisServer>,
}

impl Watched {
    /// Starts them all and waits until every sentinel knows everybody.
    pub(crate) fn start() -> Self {
        Self::started(&|more| RedisServer::start_with(more), "")
    }

    /// The same, where all talk TLS and nothing else, with certificates for 127.0.0.1.
    pub(crate) fn start_tls(authority: &Authority) -> Self {
        let (own, ca) = (authority.issue("server", &["127.0.0.1"]), authority.ca());
        let options = tls_options(&own, &ca);
        let lines: String =
            options.iter().map(|(name, value)| format!("{name} {value}\n")).collect();
        Self::started(&|more| RedisServer::start_tls(&own, &ca, more), &lines)
    }

    fn started(start: &dyn Fn(&[&str]) -> RedisServer, tls: &str) -> Self {
        let primary = start(&[]);
        let port = primary.port().to_string();
        let replica = |_| start(&["--replicaof", "127.0.0.1", &port]);
        let servers: Vec<_> = std::iter::once(primary).chain((0..2).map(replica)).collect();
        let lines = format!(
            "{tls}\
             sentinel monitor {NAME} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 2000\n\
             sentinel parallel-syncs {NAME} 2\n"
        );
        let sentinel = |_| RedisServer::start_sentinel(PASSWORD, &lines);
        let watched = Self { servers, sentinels: (0..3).map(sentinel).collect() };
        for sentinel in &watched.sentinels {
            eventually("a sentinel knows everybody", || {
                let sentinels = watched.ask(sentinel, "SENTINELS").len();
                let linked = |replica: &String| replica.contains("master-link-status ok");
                let replicas = watched.ask(sentinel, "REPLICAS");
                let ready = sentinels == 2 && replicas.iter().filter(|r| linked(r)).count() == 2;
                ready.then_some(())
            });
        }
        watched
    }

    /// How the servers are reached through the sentinels.
    pub(crate) fn config(&self) -> RedisConfig {
        self.config_through(&self.sentinels)
    }

    /// The same through some of them.
    pub(crate) fn config_through(&self, sentinels: &[RedisServer]) -> RedisConfig {
        let addresses: Vec<String> = sentinels.iter().map(RedisServer::url).collect();
        let mut config = RedisConfig::sentinel(&format!("{NAME},{}", addresses.join(","))).unwrap();
        let Topology::Sentinel { login, .. } = &mut config.topology else { unreachable!() };
        *login = Credentials::Given(Login::parse(&Secret::new(PASSWORD)));
        config
    }

    /// Which of the servers the sentinels take for the primary.
    pub(crate) fn primary(&self) -> usize {
        let address: (String, u16) =
            self.sentinels[2].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME]);
        let is_it = |server: &RedisServer| server.port() == address.1;
        self.servers.iter().position(is_it).expect("one of the servers")
    }

    /// Whether a sentinel takes a replica, or who was primary before, for gone.
    pub(crate) fn is_down(&self, server: usize) -> bool {
        let port = format!("port {} ", self.servers[server].port());
        let replicas = self.ask(&self.sentinels[2], "REPLICAS");
        replicas.iter().any(|one| one.contains(&port) && one.contains("s_down"))
    }

    /// What a sentinel says of each of its kind or of each replica.
    fn ask(&self, sentinel: &RedisServer, whom: &str) -> Vec<String> {
        let all: Vec<Vec<String>> = sentinel.command(&["SENTINEL", whom, NAME]);
        all.into_iter().map(|words| words.join(" ")).collect()
    }
}
