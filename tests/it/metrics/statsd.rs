//! Metrics on their way to statsd servers, which these tests play.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tidegate::app::Core;
use tidegate::store::memory::MemoryStore;
use tidegate::telemetry::{Dialect, Sink, SinkConfig, Tags, Target, sinks};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{core_with, hit, value};
use crate::support::clients::Client;
use crate::support::process::{PATIENCE, Tidegate};

const HITS: &str = "ratelimit.service.rate_limit.shop.user_u";

/// A line, split as a statsd server splits it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: String,
    value: u64,
    kind: String,
    tags: Vec<String>,
}

/// Splits lines; panics on anything that is none.
fn parse(text: &str) -> Vec<Line> {
    assert!(!text.contains("\n\n") && !text.starts_with('\n'), "{text:?}");
    let line = |line: &str| {
        let (name, rest) = line.split_once(':').unwrap_or_else(|| panic!("{line:?}"));
        let mut fields = rest.split('|');
        let value = fields.next().unwrap().parse().unwrap_or_else(|_| panic!("{line:?}"));
        let kind = fields.next().unwrap_or_else(|| panic!("{line:?}")).to_owned();
        assert!(["c", "g", "ms"].contains(&&*kind), "{line:?}");
        let tags = fields.next().map_or(vec![], |tags| {
            let tags = tags.strip_prefix('#').unwrap_or_else(|| panic!("{line:?}"));
            tags.split(',').map(str::to_owned).collect()
        });
        assert!(fields.next().is_none() && !name.is_empty(), "{line:?}");
        Line { name: name.to_owned(), value, kind, tags }
    };
    text.lines().map(line).collect()
}

/// `name:value|kind` of the lines about hits and calls.
fn told(lines: &[Line]) -> Vec<String> {
    let about = |line: &&Line| line.name.contains("rate_limit.") || line.name.contains("_server");
    let mut told: Vec<String> = lines
        .iter()
        .filter(about)
        .map(|line| format!("{}:{}|{}", line.name, line.value, line.kind))
        .collect();
    told.sort();
    told
}

fn sink(core: &Core<MemoryStore>, target: Target, dialect: Dialect, tags: Tags) -> Sink {
    let config = SinkConfig { target, dialect, tags };
    let metrics = &core.front.service.metrics;
    let collect: tidegate::telemetry::Collect = std::sync::Arc::new(|_| {});
    sinks(&[config], metrics, &collect).remove(0)
}

fn plain(core: &Core<MemoryStore>, target: Target) -> Sink {
    sink(core, target, Dialect::Statsd, Tags::default())
}

/// Reads what comes until `last` has come.
async fn read_until(stream: &mut TcpStream, last: &str) -> Vec<Line> {
    let mut text = String::new();
    let read = async {
        while !text.contains(last) || !text.ends_with('\n') {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "the stream ended: {text}");
            text.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, read).await;
    assert!(in_time.is_ok(), "{text}");
    parse(&text)
}

/// The last line of every flush.
const LAST: &str = "runtime.num_values:";

#[tokio::test]
async fn a_conversation_over_tcp() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let core = core_with(&[]);
    let mut sink = plain(&core, Target::Tcp("127.0.0.1".to_owned(), port));
    for _ in 0..7 {
        hit(&core, "shop", "u").await;
    }
    hit(&core, "elsewhere", "u").await;
    sink.flush().await;
    let (mut stream, _) = server.accept().await.unwrap();
    let first = read_until(&mut stream, LAST).await;
    assert_eq!(
        told(&first),
        [
            "ratelimit.service.rate_limit.elsewhere.domain_not_found:1|c".to_owned(),
            format!("{HITS}.near_limit:1|c"),
            format!("{HITS}.over_limit:2|c"),
            format!("{HITS}.total_hits:7|c"),
            format!("{HITS}.within_limit:5|c"),
        ]
    );
    let counted = |name: &str, lines: &[Line]| {
        lines.iter().find(|line| line.name == name).map(|line| (line.value, line.kind.clone()))
    };
    let loads = "ratelimit.service.config_load_success";
    assert_eq!(counted(loads, &first), Some((1, "c".to_owned())));
    // Only what grew, gauges and timers.
    drop(core.front.service.metrics.time_should_rate_limit());
    hit(&core, "shop", "u").await;
    sink.flush().await;
    let second = read_until(&mut stream, LAST).await;
    assert_eq!(
        told(&second),
        [
            format!("{HITS}.over_limit:1|c"),
            format!("{HITS}.total_hits:1|c"),
            "ratelimit_server.ShouldRateLimit.response_time:0|ms".to_owned(),
            "ratelimit_server.ShouldRateLimit.total_requests:1|c".to_owned(),
        ]
    );
    assert_eq!(counted(loads, &second), None);
    assert_eq!(counted("runtime.num_values", &second), Some((1, "g".to_owned())));
}

#[tokio::test]
async fn nothing_is_lost_while_nobody_listens() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let core = core_with(&[]);
    let mut sink = plain(&core, Target::Tcp("127.0.0.1".to_owned(), address.port()));
    hit(&core, "shop", "u").await;
    sink.flush().await;
    let (mut stream, _) = server.accept().await.unwrap();
    assert_eq!(told(&read_until(&mut stream, LAST).await)[0], format!("{HITS}.total_hits:1|c"));
    // The server goes, three hits and two flushes happen, it comes back.
    drop((server, stream));
    hit(&core, "shop", "u").await;
    // The end of the stream has to arrive first.
    while value(&core, "tidegate_statsd_failed_flushes_total") == 0.0 {
        sink.flush().await;
    }
    drop(core.front.service.metrics.time_health_check());
    hit(&core, "shop", "u").await;
    sink.flush().await;
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(8).unwrap();
    socket.set_nonblocking(true).unwrap();
    let server = TcpListener::from_std(socket.into()).unwrap();
    hit(&core, "shop", "u").await;
    sink.flush().await;
    let (mut stream, _) = server.accept().await.unwrap();
    let lines = told(&read_until(&mut stream, LAST).await);
    assert!(lines.contains(&format!("{HITS}.total_hits:3|c")), "{lines:?}");
    assert!(value(&core, "tidegate_statsd_failed_flushes_total") >= 2.0);
    // A timer is of no use to anyone later.
    assert_eq!(value(&core, "tidegate_statsd_dropped_timers_total"), 1.0);
}

/// The datagrams that have come.
fn datagrams(mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> Vec<String> {
    let mut datagrams = Vec::new();
    let mut bytes = [0; 65_536];
    loop {
        let n = receive(&mut bytes).unwrap();
        let text = std::str::from_utf8(&bytes[..n]).unwrap().to_owned();
        datagrams.push(text);
        if datagrams.last().unwrap().contains(LAST) {
            return datagrams;
        }
    }
}

#[tokio::test]
async fn datagrams_fit_a_frame() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = server.local_addr().unwrap().port();
    let core = core_with(&[("TIDEGATE_MAX_METRIC_PATHS", "100")]);
    let mut sink = plain(&core, Target::Udp("localhost".to_owned(), port));
    for i in 0..40 {
        hit(&core, "shop", &format!("{}{i}", "x".repeat(i * 3))).await;
    }
    sink.flush().await;
    let datagrams = datagrams(|bytes| server.recv(bytes));
    assert!(datagrams.len() > 5 && datagrams.iter().all(|text| text.len() <= 1432));
    // Filled as far as they go.
    assert!(datagrams[..datagrams.len() - 1].iter().all(|text| text.len() > 1000));
    let lines: Vec<Line> = datagrams.iter().flat_map(|text| parse(text)).collect();
    let hits = lines.iter().filter(|line| line.name.ends_with(".total_hits"));
    assert_eq!(hits.map(|line| line.value).sum::<u64>(), 40);
}

#[tokio::test]
async fn dogstatsd_over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dsd.socket");
    let core = core_with(&[]);
    let tags = Tags::new([("env".to_owned(), "test".to_owned())]);
    let target = Target::Unix(path.clone());
    let mut sink = sink(&core, target, Dialect::DogStatsd(Vec::new()), tags);
    hit(&core, "shop", "u").await;
    // Nobody is there yet.
    sink.flush().await;
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    hit(&core, "shop", "u").await;
    sink.flush().await;
    let datagrams = datagrams(|bytes| server.recv(bytes));
    let lines: Vec<Line> = datagrams.iter().flat_map(|text| parse(text)).collect();
    assert!(lines.iter().all(|line| line.tags == ["env:test"]), "{lines:?}");
    assert!(told(&lines).contains(&format!("{HITS}.total_hits:2|c")));
}

#[tokio::test]
async fn a_value_cannot_smuggle_a_line() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = server.local_addr().unwrap().port();
    let core = core_with(&[]);
    let mut sink = plain(&core, Target::Udp("127.0.0.1".to_owned(), port));
    hit(&core, "shop", "a\nforged:1|c\r\n#x 10.0.0.1").await;
    hit(&core, "no\nforged:1|c", "u").await;
    sink.flush().await;
    let datagrams = datagrams(|bytes| server.recv(bytes));
    let names: Vec<String> =
        datagrams.iter().flat_map(|text| parse(text)).map(|line| line.name).collect();
    let path = "ratelimit.service.rate_limit.shop.user_a_forged_1_c__#x 10_0_0_1.total_hits";
    let domain = "ratelimit.service.rate_limit.no_forged_1_c.domain_not_found";
    assert!(names.iter().any(|name| name == path), "{names:?}");
    assert!(names.iter().any(|name| name == domain), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("forged")));
}

/// Reads to the end of a stream.
fn read_all(server: std::net::TcpListener) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::read_to_string(&mut stream).unwrap()
    })
}

#[tokio::test]
async fn the_program_flushes_once_more_before_it_ends() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let text = read_all(server);
    let mut tidegate = Tidegate::with_rules(super::RULES)
        .env("STATSD_HOST", "127.0.0.1")
        .env("STATSD_PORT", port)
        .env("STATS_FLUSH_INTERVAL", "1h")
        .env("EXTRA_TAGS", "app:edge")
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    for _ in 0..3 {
        client.hit("user", "u").await.unwrap();
    }
    drop(client);
    tidegate.terminate();
    assert!(tidegate.wait().success());
    let lines = parse(&text.join().unwrap());
    let told = told(&lines);
    let method = "ratelimit_server.ShouldRateLimit";
    assert!(told.contains(&format!("{HITS}.total_hits.__app=edge:3|c")), "{told:?}");
    assert!(told.contains(&format!("{method}.total_requests.__app=edge:3|c")), "{told:?}");
    let timer = format!("{method}.response_time.__app=edge");
    let timers = lines.iter().filter(|line| line.name == timer && line.kind == "ms");
    assert_eq!(timers.count(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_once() {
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut tidegate = Tidegate::with_rules(super::RULES)
        .env("STATSD_HOST", "127.0.0.1")
        .env("STATSD_PORT", port)
        .env("STATS_FLUSH_INTERVAL", "10ms")
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .start();
    tidegate.wait_for_log(|line| line.contains("nobody takes metrics there"));
    while tidegate.metric("tidegate_statsd_failed_flushes_total") < 5.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tidegate.terminate();
    assert!(tidegate.wait().success());
    let told = tidegate.log().matches("nobody takes metrics there").count();
    assert_eq!(told, 1, "{}", tidegate.log());
}
