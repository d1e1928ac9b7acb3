//! A Redis of a test's own: a `redis-server` process on an address nobody else uses.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::{Connection, FromRedisValue, Value};
use tempfile::TempDir;
use tidegate::tls::Identity;

use super::child::{self, PATIENCE, poll};

/// A running Redis without persistence; it ends with this value. Tests command it over a
/// unix socket, wherever else it listens.
pub(crate) struct RedisServer {
    dir: TempDir,
    port: Option<u16>,
    options: Vec<String>,
    password: Option<&'static str>,
    child: Child,
}

impl RedisServer {
    /// Starts a server on a unix socket.
    pub(crate) fn start() -> Self {
        let started = Self::started(tempdir(), None, Vec::new(), None);
        started.unwrap_or_else(|log| panic!("redis-server did not start:\n{log}"))
    }

    /// Starts a server on a free TCP port.
    pub(crate) fn start_tcp() -> Self {
        Self::start_with(&[])
    }

    /// The same with more options (`--name`, `value`).
    pub(crate) fn start_with(more: &[&str]) -> Self {
        Self::on_a_port(None, |_, port| {
            let listen = ["--port", port, "--bind", "127.0.0.1"];
            listen.iter().chain(more).map(|&word| word.to_owned()).collect()
        })
    }

    /// Starts a server on a free TCP port that asks for a password.
    pub(crate) fn start_guarded(password: &'static str) -> Self {
        Self::on_a_port(Some(password), |_, port| {
            let options = ["--port", port, "--bind", "127.0.0.1", "--requirepass", password];
            options.map(str::to_owned).to_vec()
        })
    }

    /// Starts a server that speaks nothing but TLS with clients that show a certificate.
    pub(crate) fn start_tls(server: &Identity, ca: &Path, more: &[&str]) -> Self {
        let tls = tls_options(server, ca);
        Self::on_a_port(None, |_, port| {
            let listen = ["--port", "0", "--tls-port", port, "--bind", "127.0.0.1"];
            let all = listen.iter().chain(more).map(|&word| word.to_owned());
            all.chain(tls.iter().flat_map(|(name, value)| [format!("--{name}"), value.clone()]))
                .collect()
        })
    }

    /// Starts a sentinel with that password and those lines in its file.
    pub(crate) fn start_sentinel(password: &'static str, lines: &str) -> Self {
        Self::on_a_port(Some(password), |dir, port| {
            let file = dir.join("sentinel.conf");
            let listen = match lines.contains("tls-ca-cert-file") {
                true => format!("port 0\ntls-port {port}\n"),
                false => format!("port {port}\n"),
            };
            let login = format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
            let text = format!("bind 127.0.0.1\n{listen}{lines}\n{login}");
            std::fs::write(&file, text).expect("write sentinel.conf");
            vec![file.display().to_string(), "--sentinel".to_owned()]
        })
    }

    /// Starts a server with the options made for a directory and a free port.
    fn on_a_port(
        password: Option<&'static str>,
        options: impl Fn(&Path, &str) -> Vec<String>,
    ) -> Self {
        // Between finding a free port and its use somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            let (dir, port) = (tempdir(), free_port());
            let options = options(dir.path(), &port.to_string());
            match Self::started(dir, Some(port), options, password) {
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

    /// The port of a server that has one.
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("a port")
    }

    /// Ends the server and forgets its data.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill redis-server");
        self.child.wait().expect("the end of redis-server");
    }

    /// Starts the server again where it was, empty.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.dir, &self.options);
        assert!(self.is_up(), "redis-server did not restart:\n{}", self.log());
    }

    /// Stops the server's clock: it takes connections and bytes but answers nothing.
    pub(crate) fn pause(&self) {
        child::pause(&self.child);
    }

    /// Ends a pause; what arrived meanwhile is executed.
    pub(crate) fn resume(&self) {
        child::resume(&self.child);
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

    fn started(
        dir: TempDir,
        port: Option<u16>,
        options: Vec<String>,
        password: Option<&'static str>,
    ) -> Result<Self, String> {
        let child = spawn(&dir, &options);
        let mut server = Self { dir, port, options, password, child };
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
        let login = self.password.map(|password| format!("?pass={password}")).unwrap_or_default();
        let url = format!("redis+unix://{}{login}", self.socket().display());
        redis::Client::open(url)?.get_connection_with_timeout(PATIENCE)
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

fn tempdir() -> TempDir {
    tempfile::tempdir().expect("a directory for Redis")
}

/// The options of a server's TLS, by name.
pub(crate) fn tls_options(server: &Identity, ca: &Path) -> [(&'static str, String); 4] {
    let text = |path: &Path| path.display().to_string();
    [
        ("tls-cert-file", text(&server.certificate)),
        ("tls-key-file", text(&server.key)),
        ("tls-ca-cert-file", text(ca)),
        ("tls-replication", "yes".to_owned()),
    ]
}

fn spawn(dir: &TempDir, options: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    match options {
        [] => command.args(["--port", "0"]),
        options => command.args(options),
    };
    command
        .args(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"])
        .arg("--unixsocket")
        .arg(dir.path().join("redis.sock"))
        .arg("--dir")
        .arg(dir.path())
        .arg("--logfile")
        .arg(dir.path().join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("these tests need `redis-server` (7.0 or newer) in PATH: {e}"))
}
