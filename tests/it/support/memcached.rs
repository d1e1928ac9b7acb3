//! A memcached of a test's own, on an address nobody else uses.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tidegate::store::memcached::{MemcachedConfig, Servers};
use tidegate::tls::Identity;

use super::child::{self, PATIENCE, poll};

/// A running memcached; it ends with this value.
pub(crate) struct MemcachedServer {
    dir: TempDir,
    port: Option<u16>,
    tls: Vec<String>,
    child: Child,
}

impl MemcachedServer {
    /// Starts a server on a unix socket.
    pub(crate) fn start() -> Self {
        Self::started(None, Vec::new()).unwrap_or_else(|log| panic!("no memcached:\n{log}"))
    }

    /// Starts a server on a free TCP port.
    pub(crate) fn start_tcp() -> Self {
        Self::start_with(Vec::new())
    }

    /// Starts a server that speaks TLS on a free TCP port and, given an authority, wants a
    /// certificate of it.
    pub(crate) fn start_tls(identity: &Identity, clients: Option<&PathBuf>) -> Self {
        let mut options = format!(
            "ssl_chain_cert={},ssl_key={}",
            identity.certificate.display(),
            identity.key.display()
        );
        if let Some(ca) = clients {
            options += &format!(",ssl_verify_mode=2,ssl_ca_cert={}", ca.display());
        }
        Self::start_with(vec!["--enable-ssl".to_owned(), "-o".to_owned(), options])
    }

    /// The address, as settings would give it.
    pub(crate) fn address(&self) -> String {
        match self.port {
            Some(port) => format!("127.0.0.1:{port}"),
            None => self.socket().display().to_string(),
        }
    }

    /// A configuration with this server alone, to be changed as a test needs it.
    pub(crate) fn config(&self) -> MemcachedConfig {
        MemcachedConfig::new(Servers::listed(&self.address()).expect("a good address"))
    }

    /// Its port, where it has one.
    pub(crate) fn port(&self) -> u16 {
        self.port.expect("a TCP port")
    }

    /// Ends the server and forgets its data.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill memcached");
        self.child.wait().expect("the end of memcached");
    }

    /// Starts the server again where it was, empty.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        self.child = spawn(&self.dir, self.port, &self.tls);
        assert!(self.is_up(), "memcached did not restart:\n{}", self.log());
    }

    /// Stops the server's clock: it takes connections and bytes but answers nothing.
    pub(crate) fn pause(&self) {
        child::pause(&self.child);
    }

    /// Ends a pause; what arrived meanwhile is executed.
    pub(crate) fn resume(&self) {
        child::resume(&self.child);
    }

    /// Runs one command on a connection of its own and gives the lines of its answer, up
    /// to the one that ends it.
    pub(crate) fn command(&self, command: &str) -> Vec<String> {
        let stream = self.connect().expect("a connection to memcached");
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).expect("a command sent");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).expect("an answer of memcached");
            lines.push(line.trim_end().to_owned());
            let (word, more) = ["VALUE", "STAT", "key=", "END"]
                .iter()
                .find_map(|word| line.starts_with(word).then_some((*word, *word != "END")))
                .unwrap_or(("", lines[0].starts_with("VALUE")));
            if word == "END" || !more {
                return lines;
            }
        }
    }

    /// What is stored under a key.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let lines = self.command(&format!("get {key}"));
        (lines.len() == 3).then(|| lines[1].trim_end().to_owned())
    }

    /// All counters, by key.
    pub(crate) fn counters(&self) -> Vec<(String, u64)> {
        let mut lines = Vec::new();
        // The crawler has rounds of its own, and says that it is busy then.
        let dumped = || {
            lines = self.command("lru_crawler metadump all");
            lines.last().is_some_and(|line| line == "END")
        };
        assert!(poll(dumped), "no dump: {lines:?}");
        let keys = lines.iter().filter_map(|line| line.strip_prefix("key=")?.split(' ').next());
        let counter = |key: &str| {
            let key = decoded(key);
            let value = self.get(&key).expect("a value");
            (key, value.parse().expect("a number"))
        };
        let mut counters: Vec<_> = keys.map(counter).collect();
        counters.sort();
        counters
    }

    /// The seconds that a key has to live, -1 if that is for ever.
    pub(crate) fn ttl(&self, key: &str) -> i64 {
        let meta = self.command(&format!("mg {key} t")).remove(0);
        let ttl = meta.strip_prefix("HD t").unwrap_or_else(|| panic!("{key}: {meta}"));
        ttl.parse().expect("a number of seconds")
    }

    /// A statistic of the server.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let stats = self.command("stats");
        let stat = stats.iter().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        stat.expect("a statistic").parse().expect("a number")
    }

    fn start_with(tls: Vec<String>) -> Self {
        // Between finding a free port and its use somebody else may take it.
        let mut log = String::new();
        for _ in 0..5 {
            match Self::started(Some(free_port()), tls.clone()) {
                Ok(server) => return server,
                Err(failure) => log = failure,
            }
        }
        panic!("no memcached:\n{log}");
    }

    fn started(port: Option<u16>, tls: Vec<String>) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a directory for memcached");
        let child = spawn(&dir, port, &tls);
        let mut server = Self { dir, port, tls, child };
        if server.is_up() { Ok(server) } else { Err(server.log()) }
    }

    /// Waits until the server listens or has ended.
    fn is_up(&mut self) -> bool {
        let mut up = false;
        poll(|| {
            up = self.connect().is_ok();
            up || !matches!(self.child.try_wait(), Ok(None))
        });
        // Another server may have the port: ours has ended then.
        up && matches!(self.child.try_wait(), Ok(None))
    }

    fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match self.port {
            Some(port) => {
                let stream = TcpStream::connect(("127.0.0.1", port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            None => {
                let stream = UnixStream::connect(self.socket())?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("memcached.sock")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_else(|e| e.to_string())
    }
}

impl Drop for MemcachedServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Text in which `%` and two digits stand for a byte.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).expect("text")
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// A TCP port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("its address").port()
}

fn spawn(dir: &TempDir, port: Option<u16>, tls: &[String]) -> Child {
    let log = std::fs::File::create(dir.path().join("log")).expect("a log file");
    let mut command = Command::new("memcached");
    match port {
        Some(port) => command.args(["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0"]),
        None => command.arg("-s").arg(dir.path().join("memcached.sock")),
    };
    command
        // The user counts only where root starts it.
        .args(["-u", "root", "-m", "16", "-t", "1"])
        .args(tls)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("these tests need `memcached` (1.6 or newer) in PATH: {e}"))
}
