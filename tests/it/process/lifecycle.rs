//! Ready, draining, gone: what probes and callers see, and what signals do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::google::protobuf::UInt64Value;
use tidegate::wire::pb::grpc::health::v1::HealthCheckRequest;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;
use tidegate::wire::pb::tidegate::health::v1::health_service_client::HealthServiceClient;
use tidegate::wire::pb::tidegate::health::v1::{
    ComponentStatus, GetHealthRequest, OverallStatus, WatchHealthRequest,
};
use tokio::task::JoinSet;

use super::RULES;
use crate::support::clients::{Client, descriptor, get, request, within};
use crate::support::frames::{GOAWAY, Peer, SETTINGS};
use crate::support::process::{PATIENCE, Tidegate, eventually};
use crate::support::redis::RedisServer;

const SERVICES: [&str; 2] = ["", "ratelimit"];

/// Sends a hit that a paused Redis holds up, and runs `meanwhile` once it is under way.
async fn while_a_hit_is_under_way(
    client: &Client,
    meanwhile: impl Future<Output = ()>,
) -> Result<Code, tonic::Status> {
    let (hit, ()) = tokio::join!(biased; client.hit("user", "alice"), async {
        // The same connection, later: once this is answered the hit has arrived.
        let nothing_to_count = request("no rules", [descriptor(&[("a", "b")])]);
        client.ask(nothing_to_count).await.expect("a decision without Redis");
        meanwhile.await;
    });
    hit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ready_process_serves_under_every_name() {
    let tidegate = Tidegate::with_rules(RULES).start();
    let client = Client::connect(tidegate.grpc()).await;
    for service in SERVICES {
        assert_eq!(client.health(service).await.unwrap(), ServingStatus::Serving, "{service:?}");
    }
    let unknown = client.health("unknown").await.expect_err("no such service");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    assert_eq!(tidegate.get("/healthcheck").text(), "OK");
    assert_eq!(tidegate.health()["status"], "ready");
    let rules = get(tidegate.debug(), "/rlconfig", &[]).unwrap().text();
    assert!(rules.starts_with("shop.user: unit=YEAR requests_per_unit=2"), "{rules}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_health_report_tells_what_runs_and_how_its_parts_are() {
    let tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_ENVIRONMENT", "staging").start();
    let client = Client::connect(tidegate.grpc()).await;
    let mut reports = HealthServiceClient::new(client.channel());
    let report = reports.get_health(GetHealthRequest {}).await.unwrap().into_inner().report;
    let report = report.expect("a report");
    assert_eq!(report.status(), OverallStatus::Ready);
    assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(report.environment, "staging");
    assert!(report.start_time.is_some());
    let parts: Vec<_> = report.components.iter().map(|c| (c.name.as_str(), c.status())).collect();
    assert_eq!(parts, ["rules", "store", "listeners"].map(|name| (name, ComponentStatus::Up)));
    let rules = report.rules.expect("the rules");
    assert_eq!((rules.domains, rules.limits), (1, 1));
    assert!(rules.load_time.is_some() && !rules.version.is_empty() && rules.last_error.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_with_bad_rules_waits_for_good_ones() {
    let tidegate = Tidegate::with_rules("domain: [").start_unready();
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.health("").await.unwrap(), ServingStatus::NotServing);
    let status = client.hit("user", "alice").await.expect_err("no rules");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    tidegate.write_rules("rules.yaml", RULES);
    tidegate.wait_ready();
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
}

#[test]
fn a_process_that_was_never_ready_ends_as_well() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut tidegate =
        Tidegate::with_rules(RULES).redis(&redis).env("TIDEGATE_DRAIN_DELAY", "0").start_unready();
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_is_removed_at_the_end_and_replaced_if_it_is_left() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("grpc.sock");
    let setup = || {
        Tidegate::with_rules(RULES)
            .env("GRPC_UDS", socket.display())
            .env("TIDEGATE_DRAIN_DELAY", "0")
    };
    drop(setup().start()); // killed: leaves its socket
    assert!(socket.exists());
    let mut tidegate = setup().start();
    let client = Client::connect_unix(&socket).await.expect("a connection");
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn connections_beyond_the_maximum_are_closed_and_make_no_harm() {
    let tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_MAX_CONNECTIONS", 3).start();
    let connect = || {
        let stream = TcpStream::connect(tidegate.http()).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream
    };
    // A connection that was answered is closed a little later on the other side.
    let held = eventually("three places are free", || {
        let held = [(); 3].map(|()| {
            let mut stream = connect();
            let request = b"GET /healthcheck HTTP/1.1\r\nhost: a\r\n\r\n";
            let is_served = stream.write_all(request).is_ok()
                && stream.read(&mut [0; 1024]).is_ok_and(|length| length > 0);
            is_served.then_some(stream)
        });
        held.iter().all(Option::is_some).then_some(held)
    });
    for _ in 0..5 {
        let closed = connect().read(&mut [0; 1]);
        let reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(closed.as_ref().map_or_else(reset, |n| *n == 0), "{closed:?}");
    }
    drop(held);
    tidegate.wait_ready();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_fails_health_at_once_and_requests_are_answered_until_the_delay_is_over() {
    let mut tidegate = Tidegate::with_rules(RULES).start(); // drains for 3 s by default
    let client = Client::connect(tidegate.grpc()).await;
    let mut probes = Vec::new();
    for service in SERVICES {
        let service = service.to_owned();
        let watch = client.health_client().watch(HealthCheckRequest { service }).await;
        probes.push(watch.unwrap().into_inner());
    }
    let mut reports = HealthServiceClient::new(client.channel())
        .watch_health(WatchHealthRequest {})
        .await
        .unwrap()
        .into_inner();
    for probe in &mut probes {
        let first = within(probe.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
    }
    let first = within(reports.message()).await.unwrap().unwrap().report.unwrap();
    assert_eq!(first.status(), OverallStatus::Ready);

    tidegate.terminate();
    for probe in &mut probes {
        let told = within(probe.message()).await.unwrap().unwrap();
        assert_eq!(told.status(), ServingStatus::NotServing);
    }
    let told = within(reports.message()).await.unwrap().unwrap().report.unwrap();
    assert_eq!(told.status(), OverallStatus::Draining);
    let late = Client::connect(tidegate.grpc()).await;
    for service in SERVICES {
        assert_eq!(late.health(service).await.unwrap(), ServingStatus::NotServing, "{service:?}");
    }
    assert_eq!(late.hit("user", "alice").await.unwrap(), Code::Ok);
    assert_eq!(tidegate.get("/healthcheck").status, 500);
    assert_eq!(tidegate.get("/health").status, 503);
    assert_eq!(tidegate.health()["status"], "draining");

    for probe in &mut probes {
        assert!(within(probe.message()).await.unwrap().is_none(), "the stream ends");
    }
    assert!(within(reports.message()).await.unwrap().is_none(), "the stream ends");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_lived_connections_are_told_to_go_once_the_delay_is_over() {
    let mut tidegate = Tidegate::with_rules(RULES).start(); // drains for 3 s by default
    let mut peer = Peer::connect(tidegate.grpc());
    peer.wait_for(SETTINGS);
    tidegate.terminate();
    eventually("health has turned", || (tidegate.get("/healthcheck").status == 500).then_some(()));
    // Meanwhile nobody is sent away: who looks at health has time to see it.
    let client = Client::connect(tidegate.grpc()).await;
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    let goaway = peer.wait_for(GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4], "NO_ERROR");
    peer.until_closed();
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_is_answered_before_the_end() {
    let redis = RedisServer::start();
    let mut tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("TIDEGATE_STORE_TIMEOUT", "60s")
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .start();
    let address = tidegate.grpc().to_owned();
    let client = Client::connect(&address).await;
    redis.pause();
    let hit = while_a_hit_is_under_way(&client, async {
        tidegate.terminate();
        eventually("the listener is closed", || TcpStream::connect(&address).err());
        redis.resume();
    });
    assert_eq!(within(hit).await.unwrap(), Code::Ok);
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_the_grace_is_over_is_cut() {
    let redis = RedisServer::start();
    let mut tidegate = Tidegate::with_rules(RULES)
        .redis(&redis)
        .env("TIDEGATE_STORE_TIMEOUT", "60s")
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .env("TIDEGATE_SHUTDOWN_GRACE", "300ms")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    redis.pause();
    let hit = while_a_hit_is_under_way(&client, async {
        tidegate.terminate();
        assert_eq!(tidegate.wait().code(), Some(0));
    });
    within(hit).await.expect_err("the call is cut");
    assert!(tidegate.log().contains("the grace period is over"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hit_that_was_counted_before_the_end_was_answered() {
    const LIMIT: u64 = 1_000_000;
    let redis = RedisServer::start();
    let rules = RULES.replace("requests_per_unit: 2", &format!("requests_per_unit: {LIMIT}"));
    let setup = || {
        Tidegate::with_rules(&rules)
            .redis(&redis)
            .env("TIDEGATE_STORE_TIMEOUT", "20s")
            .env("TIDEGATE_DRAIN_DELAY", "0")
    };
    let mut tidegate = setup().start();
    let client = Client::connect(tidegate.grpc()).await;
    let answered = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, answered) = (client.clone(), Arc::clone(&answered));
        callers.spawn(async move {
            while client.hit("user", "alice").await.is_ok() {
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    eventually("calls flow", || (answered.load(Ordering::Relaxed) > 500).then_some(()));
    tidegate.terminate();
    within(callers.join_all()).await;
    assert_eq!(tidegate.wait().code(), Some(0));

    let next = setup().start();
    let mut look = descriptor(&[("user", "alice")]);
    look.hits_addend = Some(UInt64Value { value: 0 });
    let look = Client::connect(next.grpc()).await.ask(request("shop", [look])).await.unwrap();
    let counted = LIMIT - u64::from(look.statuses[0].limit_remaining);
    assert_eq!(counted, answered.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_and_silent_connections_do_not_hold_the_process() {
    let mut tidegate = Tidegate::with_rules(RULES)
        .env("TIDEGATE_DRAIN_DELAY", "0")
        .env("TIDEGATE_SHUTDOWN_GRACE", "1h")
        .start();
    let idle = Client::connect(tidegate.grpc()).await;
    idle.hit("user", "alice").await.expect("a decision");
    let listeners = [tidegate.grpc(), tidegate.http(), tidegate.debug()];
    let silent = listeners.map(|address| TcpStream::connect(address).expect("a connection"));
    let mut half = TcpStream::connect(tidegate.http()).expect("a connection");
    half.write_all(b"GET /healthcheck HTTP/1.1\r\n").expect("half a request");
    let mut upload = TcpStream::connect(tidegate.http()).expect("a connection");
    upload
        .write_all(b"POST /json HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{")
        .expect("half a body");
    tidegate.terminate();
    assert_eq!(tidegate.wait().code(), Some(0));
    drop((idle, silent, half, upload));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_the_process_at_once() {
    let check = async |delay: &str, first: &str, second: &str| {
        let redis = RedisServer::start();
        let mut tidegate = Tidegate::with_rules(RULES)
            .redis(&redis)
            .env("TIDEGATE_STORE_TIMEOUT", "60s")
            .env("TIDEGATE_DRAIN_DELAY", delay)
            .env("TIDEGATE_SHUTDOWN_GRACE", "1h")
            .start();
        let http = tidegate.http().to_owned();
        let client = Client::connect(tidegate.grpc()).await;
        redis.pause();
        let hit = while_a_hit_is_under_way(&client, async {
            tidegate.signal(first);
            match delay {
                "0" => {
                    drop(eventually("the listener is closed", || TcpStream::connect(&http).err()))
                }
                _ => eventually("it drains", || {
                    (get(&http, "/healthcheck", &[]).ok()?.status == 500).then_some(())
                }),
            }
            assert!(tidegate.is_running(), "{first} alone does not cut the call");
            tidegate.signal(second);
            tidegate.wait();
        });
        assert!(within(hit).await.is_err(), "{delay} {first} {second}: the call is cut");
    };
    check("0", "TERM", "TERM").await;
    check("1h", "TERM", "INT").await;
    check("0", "INT", "TERM").await;
}

#[test]
fn sigint_does_not_wait_for_the_drain_delay() {
    let mut tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_DRAIN_DELAY", "1h").start();
    tidegate.signal("INT");
    assert_eq!(tidegate.wait().code(), Some(0));
}

#[test]
fn sighup_reads_the_rules_at_once() {
    let tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_RULES_POLL_INTERVAL", "10s").start();
    let before = tidegate.metric("ratelimit_service_config_load_success");
    tidegate.signal("HUP"); // even if they are the same
    eventually("the rules are read again", || {
        (tidegate.metric("ratelimit_service_config_load_success") > before).then_some(())
    });
}

#[test]
fn sighup_does_not_cut_a_drain_short() {
    let mut tidegate = Tidegate::with_rules(RULES).env("TIDEGATE_DRAIN_DELAY", "1h").start();
    tidegate.terminate();
    eventually("it drains", || (tidegate.get("/healthcheck").status == 500).then_some(()));
    let before = tidegate.metric("ratelimit_service_config_load_success");
    tidegate.signal("HUP");
    eventually("the rules are read again", || {
        (tidegate.metric("ratelimit_service_config_load_success") > before).then_some(())
    });
    assert!(tidegate.is_running());
}
