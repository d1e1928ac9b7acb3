//! The real program in a process of its own, with its own rules, ports and log.
//!
//! Waiting means waiting for an event: a log line, the end of the process. What only an
//! outside state can tell goes through [`eventually`].

use std::fmt::Display;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::clients::{HttpAnswer, get};
use super::redis::RedisServer;

/// How long anything that must happen may take; passing tests wait for none of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer, for states of other processes that
/// nobody announces.
pub(crate) fn eventually<T>(what: impl Display, mut ask: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(10);
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "in vain waited for: {what}");
        thread::sleep(PAUSE);
    }
}

/// What a [`Tidegate`] is started with.
pub(crate) struct Setup {
    rules: Vec<(String, String)>,
    layout: Layout,
    env: Vec<(String, String)>,
}

/// How the rules directory is filled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    Plain,
    ConfigMap,
}

impl Setup {
    /// Counts in Redis.
    pub(crate) fn redis(self, redis: &RedisServer) -> Self {
        self.env("REDIS_URL", redis.url())
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl Display) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// Lays the rules out as Kubernetes mounts a ConfigMap.
    pub(crate) fn config_map(mut self) -> Self {
        self.layout = Layout::ConfigMap;
        self
    }

    /// Starts the program and waits until it is ready.
    pub(crate) fn start(self) -> Tidegate {
        let tidegate = self.start_unready();
        tidegate.wait_ready();
        tidegate
    }

    /// Starts the program and waits until it listens.
    pub(crate) fn start_unready(self) -> Tidegate {
        Tidegate::start(self)
    }
}

/// A running Tidegate; it ends with this value, and shows its log if the test failed.
pub(crate) struct Tidegate {
    child: Child,
    log: Arc<Log>,
    rules: RulesDirectory,
    grpc: String,
    http: String,
    debug: String,
}

impl Tidegate {
    /// The setup for a program with `rules` in one file, counting in memory.
    pub(crate) fn with_rules(rules: &str) -> Setup {
        Setup {
            rules: vec![("rules.yaml".to_owned(), rules.to_owned())],
            layout: Layout::Plain,
            env: Vec::new(),
        }
    }

    fn start(setup: Setup) -> Self {
        let mut rules = RulesDirectory::new();
        match setup.layout {
            Layout::Plain => setup.rules.iter().for_each(|(n, text)| rules.write(n, text)),
            Layout::ConfigMap => {
                let files = setup.rules.iter().map(|(n, text)| (n.as_str(), text.as_str()));
                rules.swap(&files.collect::<Vec<_>>());
            }
        }
        let mut child = program()
            .env("RUNTIME_ROOT", rules.root.path())
            .env("RUNTIME_SUBDIRECTORY", "ratelimit")
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("RUNTIME_IGNOREDOTFILES", "true")
            .envs(["HOST", "GRPC_HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1")))
            .envs(["PORT", "GRPC_PORT", "DEBUG_PORT"].map(|name| (name, "0")))
            .envs([("LOG_LEVEL", "info"), ("LOG_FORMAT", "json")])
            // The machine may be busy: who tests deadlines sets one.
            .env("TIDEGATE_DECISION_TIMEOUT", "20s")
            .envs(setup.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start tidegate");
        let log = Log::follow(child.stderr.take().expect("the log of tidegate"));
        let mut tidegate = Self {
            child,
            log,
            rules,
            grpc: String::new(),
            http: String::new(),
            debug: String::new(),
        };
        let listening = tidegate.wait_for_event("listening");
        let address = |name: &str| listening[name].as_str().expect("an address").to_owned();
        tidegate.grpc = address("grpc");
        tidegate.http = address("http");
        tidegate.debug = address("debug");
        tidegate
    }

    /// `host:port` of the gRPC listener.
    pub(crate) fn grpc(&self) -> &str {
        &self.grpc
    }

    /// The port of the gRPC listener.
    pub(crate) fn grpc_port(&self) -> u16 {
        let (_, port) = self.grpc.rsplit_once(':').expect("a TCP address");
        port.parse().expect("a port")
    }

    /// `host:port` of the HTTP listener.
    pub(crate) fn http(&self) -> &str {
        &self.http
    }

    /// `host:port` of the debug listener.
    pub(crate) fn debug(&self) -> &str {
        &self.debug
    }

    /// Asks the HTTP listener for `path`.
    pub(crate) fn get(&self, path: &str) -> HttpAnswer {
        get(&self.http, path, &[]).expect("an answer over HTTP")
    }

    /// The value of the series `name` on the metrics page; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.get("/metrics").text();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The detailed health report.
    pub(crate) fn health(&self) -> Value {
        serde_json::from_slice(&self.get("/health").body).expect("a report in JSON")
    }

    /// Where the rule files are.
    pub(crate) fn rules_directory(&self) -> PathBuf {
        self.rules.path()
    }

    /// Puts a rule file in place in one step, under its name.
    pub(crate) fn write_rules(&self, name: &str, text: &str) {
        self.rules.write(name, text);
    }

    /// Replaces all rule files in one step, as Kubernetes updates a ConfigMap.
    pub(crate) fn swap_config_map(&mut self, files: &[(&str, &str)]) {
        self.rules.swap(files);
    }

    /// Asks the program to end.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("run kill").success(), "kill -s {name} {pid}");
    }

    /// Waits until the program has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        // Its log ends when it ends.
        self.log.wait(|_, ended| ended.then_some(())).expect("tidegate does not end");
        self.child.wait().expect("the end of tidegate")
    }

    /// The memory that the program holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        const PAGE: u64 = 4096;
        let path = format!("/proc/{}/statm", self.child.id());
        let text = fs::read_to_string(path).expect("the memory of tidegate");
        let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        pages.expect("a number of pages") * PAGE
    }

    /// Whether the program is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ask for tidegate").is_none()
    }

    /// Waits until probes are told to send traffic.
    pub(crate) fn wait_ready(&self) {
        eventually("tidegate is ready", || {
            let answer = get(&self.http, "/healthcheck", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// Waits for a line of the log, from the start of the process on.
    pub(crate) fn wait_for_log(&self, mut is_it: impl FnMut(&str) -> bool) -> String {
        let found = |lines: &[String], ended| match lines.iter().find(|line| is_it(line)) {
            Some(line) => Some(Some(line.clone())),
            None if ended => Some(None),
            None => None,
        };
        let line = self.log.wait(found).flatten();
        line.unwrap_or_else(|| panic!("the log lacks a line:\n{}", self.log.text()))
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Waits for the event with that message.
    pub(crate) fn wait_for_event(&self, message: &str) -> Value {
        let event = |line: &str| serde_json::from_str(line).unwrap_or(Value::Null);
        event(&self.wait_for_log(|line| event(line)["message"] == message))
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            print(&self.log.text());
        }
    }
}

/// The program with nothing in its environment but a PATH.
pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    program.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        program.env("PATH", path);
    }
    program
}

/// A directory of rules as the runtime settings describe it: root/ratelimit/config.
struct RulesDirectory {
    root: TempDir,
    version: u32,
}

impl RulesDirectory {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory for rules");
        let rules = Self { root, version: 0 };
        fs::create_dir_all(rules.path()).expect("the rules directory");
        rules
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("ratelimit/config")
    }

    fn write(&self, name: &str, text: &str) {
        let draft = self.root.path().join(name);
        fs::write(&draft, text).expect("write rules");
        fs::rename(draft, self.path().join(name)).expect("put rules in place");
    }

    /// A new version beside the old one, then the flip of one link, then the old one goes.
    fn swap(&mut self, files: &[(&str, &str)]) {
        let path = self.path();
        let old = path.join(format!("..v{}", self.version));
        self.version += 1;
        let new = format!("..v{}", self.version);
        fs::create_dir(path.join(&new)).expect("a new version");
        for (name, text) in files {
            fs::write(path.join(&new).join(name), text).expect("write rules");
        }
        symlink(&new, path.join("..data_tmp")).expect("a link to the new version");
        fs::rename(path.join("..data_tmp"), path.join("..data")).expect("flip the link");
        for (name, _) in files {
            link_once(&Path::new("..data").join(name), &path.join(name));
        }
        if old.exists() {
            fs::remove_dir_all(old).expect("remove the old version");
        }
    }
}

fn link_once(target: &Path, link: &Path) {
    if link.symlink_metadata().is_err() {
        symlink(target, link).expect("link a rule file");
    }
}

/// What a process has written, and whether it has ended.
#[derive(Default)]
struct Log {
    state: Mutex<(Vec<String>, bool)>,
    news: Condvar,
}

impl Log {
    fn follow(source: impl std::io::Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                writer.state.lock().expect("the log").0.push(line);
                writer.news.notify_all();
            }
            writer.state.lock().expect("the log").1 = true;
            writer.news.notify_all();
        });
        log
    }

    /// Waits until `judge`, given the lines and whether they are all, says something.
    fn wait<T>(&self, mut judge: impl FnMut(&[String], bool) -> Option<T>) -> Option<T> {
        let start = Instant::now();
        let mut state = self.state.lock().expect("the log");
        loop {
            if let Some(verdict) = judge(&state.0, state.1) {
                return Some(verdict);
            }
            let left = PATIENCE.checked_sub(start.elapsed())?;
            state = self.news.wait_timeout(state, left).expect("the log").0;
        }
    }

    fn text(&self) -> String {
        self.state.lock().expect("the log").0.join("\n")
    }
}

#[allow(clippy::print_stderr)]
fn print(log: &str) {
    eprintln!("the log of tidegate:\n{log}");
}
