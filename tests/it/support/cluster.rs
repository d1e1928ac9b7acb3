//! A Redis Cluster of a test's own: `redis-server` processes that know each other.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, FromRedisValue};
use tempfile::TempDir;
use tidegate::store::redis::{Address, RedisConfig, SocketType, Topology};

use super::child;

const PATIENCE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(5);
const SLOTS: usize = 16384;

/// A running cluster without persistence; it ends with this value.
pub(crate) struct RedisCluster {
    /// The nodes; the first three begin as the primaries of a third of the slots each.
    pub(crate) nodes: Vec<ClusterNode>,
}

/// One node of it.
pub(crate) struct ClusterNode {
    dir: TempDir,
    port: u16,
    child: Child,
}

impl RedisCluster {
    /// Three primaries that serve their slots even when others are gone.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Three primaries that clients reach at other ports, such as those of forwarders.
    pub(crate) fn announced(ports: [u16; 3], announced: [u16; 3]) -> Self {
        let node = |(port, announced): (u16, u16)| {
            let announce = ["--cluster-announce-port".to_owned(), announced.to_string()];
            ClusterNode::at(port, &announce).unwrap_or_else(|log| panic!("{log}"))
        };
        Self::of(ports.into_iter().zip(announced).map(node).collect())
    }

    /// Three primaries with more settings.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::of((0..3).map(|_| ClusterNode::start(&settings)).collect())
    }

    /// Joins three nodes.
    fn of(nodes: Vec<ClusterNode>) -> Self {
        let cluster = Self { nodes };
        let share = SLOTS.div_ceil(3);
        for (i, node) in cluster.nodes.iter().enumerate() {
            let (first, last) = (i * share, ((i + 1) * share - 1).min(SLOTS - 1));
            let (first, last) = (first.to_string(), last.to_string());
            node.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
            node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]);
            if i > 0 {
                cluster.nodes[0].meet(node);
            }
        }
        cluster.settles(3);
        cluster
    }

    /// Adds a replica of one of the nodes and waits until it has caught up.
    pub(crate) fn add_replica(&mut self, of: usize) {
        let node = ClusterNode::start(&[]);
        self.nodes[of].meet(&node);
        self.nodes.push(node);
        self.settles(self.nodes.len());
        let (primary, replica) = (&self.nodes[of], &self.nodes[self.nodes.len() - 1]);
        replica.command::<()>(&["CLUSTER", "REPLICATE", &primary.id()]);
        let role = || replica.command::<Vec<redis::Value>>(&["ROLE"]);
        let connected = redis::Value::BulkString(b"connected".to_vec());
        poll("the replica catches up", || role().get(3) == Some(&connected));
        // Others promote it only if they have heard of it.
        let id = replica.id();
        for node in &self.nodes {
            poll("all know the replica", || {
                let nodes: String = node.command(&["CLUSTER", "NODES"]);
                nodes.lines().any(|line| line.starts_with(&id) && line.contains("slave"))
            });
        }
    }

    /// The settings of a client that knows one of the nodes.
    pub(crate) fn config(&self) -> RedisConfig {
        config(self.nodes[0].port)
    }

    /// Forgets all counters.
    pub(crate) fn flush(&self) {
        for node in &self.nodes {
            node.command::<()>(&["FLUSHALL"]);
        }
    }

    /// Waits until all nodes know each other and all slots.
    pub(crate) fn settles(&self, nodes: usize) {
        let known = format!("cluster_known_nodes:{nodes}\r");
        for node in &self.nodes {
            poll("the cluster comes up", || {
                let info: String = node.command(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok\r")
                    && info.contains("cluster_slots_assigned:16384\r")
                    && info.contains(&known)
            });
        }
    }

    /// What all of `nodes` hold under a key, which is wherever its slot is.
    pub(crate) fn held(&self, key: &str) -> Vec<u64> {
        let holds = |node: &ClusterNode| {
            let keys: Vec<String> = node.command(&["KEYS", key]);
            (!keys.is_empty()).then(|| {
                node.raw(redis::cmd("GET").arg(key)).unwrap_or_else(|e| panic!("{key}: {e}"))
            })
        };
        self.nodes.iter().filter(|node| node.is_primary()).filter_map(holds).collect()
    }

    /// All counters and what they hold.
    pub(crate) fn counters(&self) -> Vec<(String, i64)> {
        let of = |node: &ClusterNode| {
            let keys: Vec<String> = node.command(&["KEYS", "*"]);
            let values = keys.iter().map(|key| node.command(&["GET", key])).collect::<Vec<_>>();
            keys.into_iter().zip(values).collect::<Vec<_>>()
        };
        self.nodes.iter().flat_map(of).collect()
    }

    /// How often nodes have answered with an error of that name.
    pub(crate) fn errors(&self, name: &str) -> u64 {
        let of = |node: &ClusterNode| {
            let stats: String = node.command(&["INFO", "errorstats"]);
            let prefix = format!("errorstat_{name}:count=");
            let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
            line.map_or(0, |count| count.trim().parse::<u64>().expect("a number"))
        };
        self.nodes.iter().map(of).sum()
    }

    /// How many calls of the script the nodes have executed.
    pub(crate) fn calls(&self) -> u64 {
        let of = |node: &ClusterNode| {
            let stats: String = node.command(&["INFO", "commandstats"]);
            let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
            line.map_or(0, |rest| rest[..rest.find(',').unwrap()].parse::<u64>().unwrap())
        };
        self.nodes.iter().map(of).sum()
    }

    /// Moves a slot with all its counters from one node to another.
    pub(crate) fn migrate(&self, slot: u16, from: usize, to: usize) {
        let (from, to, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        let set = |node: &ClusterNode, state: &str, id: &str| {
            node.command::<()>(&["CLUSTER", "SETSLOT", &slot, state, id]);
        };
        set(to, "IMPORTING", &from.id());
        set(from, "MIGRATING", &to.id());
        loop {
            // Few at a time, so that callers find the slot half moved.
            let keys: Vec<String> = from.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "3"]);
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(to.port).arg("").arg(0).arg(5000).arg("KEYS").arg(keys);
            from.raw::<()>(&migrate).expect("MIGRATE");
        }
        let id = to.id();
        set(to, "NODE", &id);
        set(from, "NODE", &id);
        // Nodes that have not heard of one move may dispute the next one.
        let epoch = |node: &ClusterNode| {
            let info: String = node.command(&["CLUSTER", "INFO"]);
            let line = info.lines().find(|line| line.starts_with("cluster_current_epoch:"));
            line.expect("an epoch").to_owned()
        };
        let first = slot.parse::<u16>().expect("a slot");
        let owner = |node: &ClusterNode| {
            let slots: Vec<(u16, u16, Vec<redis::Value>)> = node.command(&["CLUSTER", "SLOTS"]);
            let range = slots.into_iter().find(|(from, to, _)| (*from..=*to).contains(&first));
            range.and_then(|(_, _, primary)| primary.get(1).cloned())
        };
        let here = Some(redis::Value::Int(to.port.into()));
        poll("all have heard of the move", || {
            let epoch_of_to = epoch(to);
            self.nodes.iter().all(|node| epoch(node) == epoch_of_to && owner(node) == here)
        });
    }
}

impl ClusterNode {
    /// Starts a node of no cluster yet.
    pub(crate) fn start(more: &[String]) -> Self {
        // Between finding a free port and its use somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::at(free_port(), more) {
                Ok(node) => return node,
                Err(failure) => log = failure,
            }
        }
        panic!("redis-server did not start:\n{log}");
    }

    fn at(port: u16, more: &[String]) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a directory for Redis");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"])
            .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"])
            .args(["--cluster-require-full-coverage", "no"])
            .args(["--cluster-replica-validity-factor", "0"])
            .args(more)
            .arg("--dir")
            .arg(dir.path())
            .arg("--logfile")
            .arg(dir.path().join("log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("these tests need `redis-server` (7.0 or newer): {e}"));
        let mut node = Self { dir, port, child };
        let start = Instant::now();
        while start.elapsed() < PATIENCE && matches!(node.child.try_wait(), Ok(None)) {
            if node.raw::<String>(&redis::cmd("PING")).is_ok() {
                return Ok(node);
            }
            std::thread::sleep(POLL);
        }
        Err(std::fs::read_to_string(node.dir.path().join("log")).unwrap_or_default())
    }

    /// Where clients that know its true address reach it.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the cluster calls it.
    pub(crate) fn id(&self) -> String {
        self.command(&["CLUSTER", "MYID"])
    }

    /// Introduces two nodes to each other.
    pub(crate) fn meet(&self, other: &Self) {
        self.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &other.port.to_string()]);
    }

    /// Ends the node and forgets its data.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill redis-server");
        self.child.wait().expect("the end of redis-server");
    }

    /// Stops the node's clock: it takes connections and bytes but answers nothing.
    pub(crate) fn pause(&self) {
        child::pause(&self.child);
    }

    /// Ends a pause; what arrived meanwhile is executed.
    pub(crate) fn resume(&self) {
        child::resume(&self.child);
    }

    /// Whether it is a primary.
    pub(crate) fn is_primary(&self) -> bool {
        self.command::<Vec<redis::Value>>(&["ROLE"])[0]
            == redis::Value::BulkString(b"master".to_vec())
    }

    /// Runs one command on a connection of its own.
    pub(crate) fn command<T: FromRedisValue>(&self, parts: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(parts);
        self.raw(&command).unwrap_or_else(|e| panic!("{parts:?}: {e}"))
    }

    /// Runs one command on a connection of its own.
    pub(crate) fn raw<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        command.query(&mut self.connection()?)
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        client.get_connection_with_timeout(PATIENCE)
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The settings of a client that knows a node at that port.
pub(crate) fn config(port: u16) -> RedisConfig {
    let address = format!("127.0.0.1:{port}");
    let mut config = RedisConfig::new(&address, SocketType::Tcp, None).expect("a good address");
    config.topology = Topology::Cluster(vec![Address::Tcp("127.0.0.1".into(), port)]);
    config
}

/// A port that is free, as is the one of its cluster bus.
pub(crate) fn free_port() -> u16 {
    loop {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("its address").port();
        if port < 55536 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

/// Asks again and again, for a bounded time, until the answer is yes.
pub(crate) fn poll(what: &str, mut answer: impl FnMut() -> bool) {
    let start = Instant::now();
    while !answer() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(POLL);
    }
}
