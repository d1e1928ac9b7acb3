//! A real Envoy in front of a test's own upstream, with the ratelimit filter.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::clients::{HttpAnswer, get};
use super::process::eventually;

/// A running Envoy; it ends with this value, and shows its log if the test failed.
pub(crate) struct Envoy {
    child: Child,
    dir: TempDir,
    listener: String,
    _upstream: Option<Upstream>,
}

/// How many requests of a caller are a load.
const ENOUGH: usize = 600;

impl Envoy {
    /// Starts an Envoy that asks the Tidegates at `ports` and waits until it finds them
    /// healthy. `routes` are Envoy's; they can use the cluster `upstream`, which answers
    /// 200 to everything. A failed call to Tidegate is a 500.
    pub(crate) fn start(ports: &[u16], routes: Value) -> Self {
        Self::start_with(ports, routes, |_| ())
    }

    /// The same with changes to Envoy's cluster of Tidegates.
    pub(crate) fn start_with(
        ports: &[u16],
        routes: Value,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let upstream = Upstream::start();
        let mut bootstrap = bootstrap(ports, upstream.port, routes);
        change(&mut bootstrap["static_resources"]["clusters"][0]);
        let mut envoy = Self::with_bootstrap(&bootstrap.to_string());
        envoy._upstream = Some(upstream);
        envoy.wait_healthy(ports.len());
        envoy
    }

    /// Starts an Envoy with that bootstrap, which must leave the ports of its admin page
    /// and of its one listener free (0), and waits until it listens.
    pub(crate) fn with_bootstrap(bootstrap: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory for Envoy");
        let file = dir.path().join("envoy.yaml"); // JSON is YAML, too
        fs::write(&file, bootstrap).expect("write the bootstrap");
        let log = File::create(dir.path().join("log")).expect("the log of Envoy");
        let child = Command::new(binary())
            .arg("--config-path")
            .arg(file)
            .arg("--admin-address-path")
            .arg(dir.path().join("admin"))
            .args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start Envoy");
        let mut envoy = Self { child, dir, listener: String::new(), _upstream: None };
        envoy.listener = eventually("Envoy listens", || {
            let ended = envoy.child.try_wait().expect("ask for Envoy");
            assert!(ended.is_none(), "Envoy has ended: {ended:?}");
            let listeners = envoy.admin("/listeners?format=json")?;
            let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
            let port = address["port_value"].as_u64()?;
            Some(format!("127.0.0.1:{port}"))
        });
        envoy
    }

    /// Waits until `count` Tidegates are healthy in Envoy's eyes.
    pub(crate) fn wait_healthy(&self, count: usize) {
        eventually(format!("Envoy finds {count} Tidegates healthy"), || {
            (self.healthy()? == count).then_some(())
        });
    }

    /// GETs `path` through Envoy.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
        get(&self.listener, path, headers).expect("an answer of Envoy")
    }

    /// Sends requests, one after the other for each of `callers` (their headers), while
    /// `work` is done, and at least [`ENOUGH`] of them. Says for each caller how often it got
    /// which status.
    pub(crate) fn under_load(
        &self,
        callers: &[(&str, &str)],
        work: impl FnOnce(),
    ) -> Vec<BTreeMap<u16, usize>> {
        let done = AtomicBool::new(false);
        let call = |header: (&str, &str)| {
            let mut statuses = BTreeMap::new();
            let mut sent = 0;
            while sent < ENOUGH || !done.load(Ordering::Relaxed) {
                sent += 1;
                *statuses.entry(self.get("/", &[header]).status).or_default() += 1;
            }
            statuses
        };
        thread::scope(|scope| {
            let callers: Vec<_> = callers.iter().map(|h| scope.spawn(|| call(*h))).collect();
            let until_here = SetOnDrop(&done); // also when the work panics
            work();
            drop(until_here);
            callers.into_iter().map(|c| c.join().expect("a caller")).collect()
        })
    }

    /// How many connections to Tidegates Envoy has opened so far.
    pub(crate) fn connections(&self) -> u64 {
        let name = "cluster.ratelimit.upstream_cx_total";
        let stats = self.admin(&format!("/stats?format=json&filter=^{name}$"));
        stats.expect("Envoy's statistics")["stats"][0]["value"].as_u64().expect("a number")
    }

    /// How many hosts of the cluster `ratelimit` are healthy.
    fn healthy(&self) -> Option<usize> {
        let clusters = self.admin("/clusters?format=json")?;
        let clusters = clusters["cluster_statuses"].as_array()?;
        let ratelimit = clusters.iter().find(|cluster| cluster["name"] == "ratelimit")?;
        let hosts = ratelimit["host_statuses"].as_array()?;
        let healthy = hosts.iter().filter(|host| {
            let health = &host["health_status"];
            health["eds_health_status"] == "HEALTHY"
                && health["failed_active_health_check"] != true
                && health["pending_active_hc"] != true
        });
        Some(healthy.count())
    }

    fn admin(&self, path: &str) -> Option<Value> {
        let address = fs::read_to_string(self.dir.path().join("admin")).ok()?;
        serde_json::from_slice(&get(&address, path, &[]).ok()?.body).ok()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            print(&fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        }
    }
}

struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A route for every path to the upstream, with those rate limits.
pub(crate) fn route(rate_limits: Value) -> Value {
    json!([{
        "match": {"prefix": "/"},
        "route": {"cluster": "upstream", "rate_limits": rate_limits},
    }])
}

/// The rate limit whose descriptor is the value of a request header.
pub(crate) fn by_header(header: &str, key: &str) -> Value {
    json!({"actions": [{"request_headers": {"header_name": header, "descriptor_key": key}}]})
}

/// Where Envoy is: what ENVOY_BIN says, else the PATH, else what `tests/run.sh` installed.
pub(crate) fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("ENVOY_BIN").filter(|name| !name.is_empty()) {
        return named.into();
    }
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools").join("envoy");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|directory| directory.join("envoy"));
    candidates.chain([installed]).find(|candidate| candidate.is_file()).expect(
        "these tests need Envoy: tests/run.sh installs it, or let ENVOY_BIN name an envoy binary",
    )
}

fn bootstrap(tidegates: &[u16], upstream: u16, routes: Value) -> Value {
    json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{
                "name": "edge",
                "address": address(0),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "edge",
                        "route_config": {"virtual_hosts": [
                            {"name": "all", "domains": ["*"], "routes": routes},
                        ]},
                        "http_filters": [filter(), {
                            "name": "envoy.filters.http.router",
                            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                        }],
                    },
                }]}],
            }],
            "clusters": [ratelimit_cluster(tidegates), cluster("upstream", &[upstream])],
        },
    })
}

fn filter() -> Value {
    json!({
        "name": "envoy.filters.http.ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
            "domain": "shop",
            "timeout": "2s",
            "failure_mode_deny": true,
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "rate_limit_service": {
                "transport_api_version": "V3",
                "grpc_service": {"envoy_grpc": {"cluster_name": "ratelimit"}},
            },
        },
    })
}

fn ratelimit_cluster(ports: &[u16]) -> Value {
    let mut cluster = cluster("ratelimit", ports);
    cluster["typed_extension_protocol_options"] = json!({
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        },
    });
    cluster["health_checks"] = json!([{
        "timeout": "1s",
        "interval": "0.5s",
        "no_traffic_interval": "0.5s",
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {"service_name": "ratelimit"},
    }]);
    cluster
}

fn cluster(name: &str, ports: &[u16]) -> Value {
    let endpoints: Vec<_> =
        ports.iter().map(|port| json!({"endpoint": {"address": address(*port)}})).collect();
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    })
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

/// An HTTP server that answers 200 to everything.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    stopped: Arc<AtomicBool>,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for the upstream");
        let port = listener.local_addr().expect("its port").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                thread::spawn(move || connection.and_then(|stream| answer_all(&stream)));
            }
        });
        Self { port, stopped }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the listener
    }
}

/// Answers one request after the other; none has a body.
fn answer_all(mut stream: &TcpStream) -> io::Result<()> {
    let requests = BufReader::new(stream.try_clone()?).lines();
    for line in requests {
        if line?.is_empty() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nupstream\n")?;
        }
    }
    Ok(())
}

#[allow(clippy::print_stderr)]
fn print(log: &str) {
    eprintln!("the log of Envoy:\n{log}");
}
