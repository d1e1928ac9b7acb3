//! A Redis of a test's own: a `redis-server` process on an address nobody else uses.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue, Value};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// A running Redis without persistence; it ends with this value.
pub(crate) struct RedisServer {
    dir: TempDir,
    port: Option<u16>,
    child: Child,
}

impl RedisServer {
    /// Starts a server on a unix socket.
    pub(crate) fn start() -> Self {
        Self::started(None).unwrap_or_else(|log| panic!("redis-server did not start:\n{log}"))
    }

    /// Starts a server on a free TCP port.
    pub(crate) fn start_tcp() -> Self {
        // Between finding a free port and its use somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::started(Some(free_port())) {
                Ok(server) => return server,
                Err(failure) => log = failure,
            }
        }
        panic!("redis-server did not start:\n{log}");
    }

    /// The address, as settings would give it.
    pub(crate) fn url(&self) -> String {
        match self.port {
            Some(port) => format!("127.0.0.1:{port}"),
            None => self.socket().display().to_string(),
        }
    }

    /// Ends the server and forgets its data.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill redis-server");
        self.child.wait().expect("the end of redis-server");
    }

    /// Starts the server again where it was, empty.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, self.port);
        assert!(self.is_up(), "redis-server did not restart:\n{}", self.log());
    }

    /// Stops the server's clock: it takes connections and bytes but answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        let status = format!("/proc/{}/stat", self.child.id());
        let stopped = || std::fs::read_to_string(&status).is_ok_and(|text| text.contains(") T "));
        assert!(poll(stopped), "redis-server did not stop");
    }

    /// Ends a pause; what arrived meanwhile is executed.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Runs one command on a connection of its own.
    pub(crate) fn command<T: FromRedisValue>(&self, parts: &[impl AsRef<[u8]>]) -> T {
        let mut command = redis::Cmd::new();
        for part in parts {
            command.arg(part.as_ref());
        }
        let mut connection = self.connect().expect("a connection to Redis");
        command.query(&mut connection).expect("an answer of Redis")
    }

    /// All keys, sorted.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = self.command(&["KEYS", "*"]);
        keys.sort();
        keys
    }

    /// The milliseconds a key has to live.
    pub(crate) fn pttl(&self, key: &[u8]) -> i64 {
        self.command(&[b"PTTL", key])
    }

    fn started(port: Option<u16>) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a directory for Redis");
        let child = spawn(&dir, port);
        let mut server = Self { dir, port, child };
        if server.is_up() { Ok(server) } else { Err(server.log()) }
    }

    /// Waits until the server answers or has ended.
    fn is_up(&mut self) -> bool {
        let mut up = false;
        poll(|| {
            up = self.connect().is_ok_and(|mut connection| {
                redis::cmd("PING").query::<Value>(&mut connection).is_ok()
            });
            up || !matches!(self.child.try_wait(), Ok(None))
        });
        // Another server may have the port: ours has ended then.
        up && matches!(self.child.try_wait(), Ok(None))
    }

    fn connect(&self) -> redis::RedisResult<Connection> {
        let url = match self.port {
            Some(port) => format!("redis://127.0.0.1:{port}"),
            None => format!("redis+unix://{}", self.socket().display()),
        };
        redis::Client::open(url)?.get_connection_with_timeout(PATIENCE)
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().expect("run kill");
        assert!(status.success(), "kill {signal} {pid}: {status}");
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_else(|e| e.to_string())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

fn spawn(dir: &TempDir, port: Option<u16>) -> Child {
    let socket = dir.path().join("redis.sock").display().to_string();
    let port = port.map(|port| port.to_string());
    let mut command = Command::new("redis-server");
    match &port {
        Some(port) => command.args(["--port", port, "--bind", "127.0.0.1"]),
        None => command.args(["--port", "0", "--unixsocket", &socket]),
    };
    command
        .args(["--save", "", "--appendonly", "no"])
        .arg("--dir")
        .arg(dir.path())
        .arg("--logfile")
        .arg(dir.path().join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("these tests need `redis-server` (7.0 or newer) in PATH: {e}"))
}

/// Asks again and again, for a bounded time, until the answer is yes.
fn poll(mut answer: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if answer() {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}
