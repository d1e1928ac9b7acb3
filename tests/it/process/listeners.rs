//! Sockets: files of sockets, the age of connections, two processes on one port.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use socket2::SockRef;
use tidegate::wire::pb::grpc::health::v1::HealthCheckRequest;

use super::RULES;
use crate::support::clients::{Client, within};
use crate::support::port::Port;
use crate::support::process::{Setup, Tidegate, eventually, program};

/// How a start on that socket file ends; it must.
fn start_at(socket: &Path) -> Output {
    program()
        .envs(["HOST", "DEBUG_HOST"].map(|name| (name, "127.0.0.1")))
        .envs([("PORT", "0"), ("DEBUG_PORT", "0")])
        .env("GRPC_UDS", socket)
        .output()
        .expect("run tidegate")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_somebody_listens_on_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rls.sock");
    let _tidegate = Tidegate::with_rules(RULES).env("GRPC_UDS", socket.display()).start();
    let second = start_at(&socket);
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let log = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(log.contains("rls.sock") && log.contains("in use"), "{log}");
    let client = Client::connect_unix(&socket).await.expect("the first still listens");
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_nobody_listens_on_is_replaced_and_a_file_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("rls.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let tidegate = Tidegate::with_rules(RULES).env("GRPC_UDS", socket.display()).start();
    let client = Client::connect_unix(&socket).await.expect("a connection");
    assert_eq!(client.hit("user", "alice").await.unwrap(), Code::Ok);
    drop(tidegate);

    let file = directory.path().join("notes.txt");
    fs::write(&file, "mine").unwrap();
    assert_eq!(start_at(&file).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_go_is_cut_after_the_grace() {
    let tidegate = Tidegate::with_rules(RULES)
        .env("GRPC_MAX_CONNECTION_AGE", "200ms")
        .env("GRPC_MAX_CONNECTION_AGE_GRACE", "200ms")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    let everything = HealthCheckRequest::default();
    let mut watch = client.health_client().watch(everything).await.unwrap().into_inner();
    watch.message().await.expect("the stream has begun");
    within(watch.message()).await.expect_err("the stream is cut");
    let another = Client::connect(tidegate.grpc()).await;
    assert_eq!(another.hit("user", "alice").await.unwrap(), Code::Ok);
}

#[test]
fn two_processes_on_one_port_make_a_restart_that_nobody_is_refused_in() {
    let reserved = Port::free();
    let port = reserved.number();
    let start = || -> Setup {
        Tidegate::with_rules(RULES).env("GRPC_PORT", port).env("TIDEGATE_DRAIN_DELAY", "0")
    };
    let mut tidegate = start().start();
    let address = reserved.address();
    let (done, connected) = (AtomicBool::new(false), AtomicU64::new(0));
    let reset = AtomicU64::new(0);
    let connect = || {
        while !done.load(Ordering::Relaxed) {
            let stream = match TcpStream::connect(address) {
                Ok(stream) => stream,
                // The one that the kernel is just making when its listener closes.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    reset.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(error) => panic!("nobody listens: {error}"),
            };
            connected.fetch_add(1, Ordering::Relaxed);
            // Closed in a way that gives the port back at once.
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
    };
    thread::scope(|scope| {
        let caller = scope.spawn(connect);
        for _ in 0..3 {
            let next = start().start();
            tidegate.terminate();
            assert_eq!(tidegate.wait().code(), Some(0));
            tidegate = next;
            let before = connected.load(Ordering::Relaxed);
            eventually("connections go on", || {
                (connected.load(Ordering::Relaxed) > before + 50 || caller.is_finished())
                    .then_some(())
            });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(reset.load(Ordering::Relaxed) <= 3, "one for each restart: {reset:?}");
}
