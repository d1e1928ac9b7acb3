//! Peers that take their time: they are given up, and hold nobody up.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use prost::Message as _;

use super::{Victim, alice};
use crate::support::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, Peer, SETTINGS, call, frame, message,
};
use crate::support::process::{PATIENCE, eventually};

const TIMES: [(&str, &str); 4] = [
    ("TIDEGATE_HANDSHAKE_TIMEOUT", "300ms"),
    ("TIDEGATE_REQUEST_TIMEOUT", "300ms"),
    ("TIDEGATE_KEEPALIVE_INTERVAL", "300ms"),
    ("TIDEGATE_KEEPALIVE_TIMEOUT", "300ms"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_words_that_do_not_come_or_come_letter_by_letter() {
    let victim = Victim::start_with(&TIMES).await;
    let before = victim.turned_away("silent");
    for address in [victim.tidegate.grpc(), victim.tidegate.http(), victim.tidegate.debug()] {
        Peer::silent(address).until_closed();
    }
    let mut slow = Peer::silent(victim.tidegate.grpc());
    assert!(slow.drip(PREFACE[..23].iter().copied().chain(std::iter::repeat_n(0, 1000))));
    assert!(victim.turned_away("silent") >= before + 4.0);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_come_letter_by_letter() {
    let victim = Victim::start_with(&TIMES).await;
    let mut grpc = Peer::connect(victim.tidegate.grpc());
    let headers = frame(HEADERS, END_HEADERS, 1, &[0; 16_000]);
    assert!(grpc.drip(headers), "a frame that does not end holds the connection");
    for address in [victim.tidegate.http(), victim.tidegate.debug()] {
        let head = b"GET /metrics HTTP/1.1\r\nx-slow: ";
        let mut http = Peer::silent(address);
        assert!(http.drip(head.iter().copied().chain(std::iter::repeat_n(b'a', 16_000))));
    }
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_come_letter_by_letter() {
    let victim = Victim::start_with(&TIMES).await;
    let mut grpc = Peer::connect(victim.tidegate.grpc());
    grpc.send(&frame(HEADERS, END_HEADERS, 1, &call(&[]))).expect("headers");
    let whole = message(&alice().encode_to_vec(), 0);
    // All but the last byte, in frames of one byte.
    for byte in &whole[..whole.len() - 1] {
        grpc.send(&frame(DATA, 0, 1, &[*byte])).expect("a byte");
    }
    let answer = grpc.wait_for(HEADERS);
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert_eq!((answer.stream, answer.flags & END_STREAM), (1, END_STREAM), "{text}");
    assert_eq!(victim.turned_away("slow"), 1.0);

    let mut http = TcpStream::connect(victim.tidegate.http()).expect("a connection");
    http.write_all(b"POST /json HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{").unwrap();
    let mut answer = String::new();
    let _ = http.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(victim.tidegate.metric("tidegate_unfinished_request_bytes"), 0.0);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unfinished_is_bounded_over_all_connections() {
    let bounds = [("TIDEGATE_MAX_UNFINISHED_BYTES", "1048576"), ("TIDEGATE_REQUEST_TIMEOUT", "1h")];
    let victim = Victim::start_with(&bounds).await;
    let before = victim.tidegate.resident_bytes();
    // Each announces four megabytes and sends a little, within the first window in all.
    let announced = [&[0][..], &(4_u32 << 20).to_be_bytes(), &[0x0a; 100]].concat();
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::connect(victim.tidegate.grpc())).collect();
    for peer in &mut peers {
        for stream in (0..500).map(|i| 2 * i + 1) {
            peer.send(&frame(HEADERS, END_HEADERS, stream, &call(&[]))).expect("headers");
            peer.send(&frame(DATA, 0, stream, &announced)).expect("a part");
        }
    }
    let held = || victim.tidegate.metric("tidegate_unfinished_request_bytes");
    eventually("some are refused", || (victim.turned_away("crowded") > 1000.0).then_some(()));
    assert!(held() <= 1_048_576.0, "{}", held());
    // Requests that come in one piece are none of them.
    victim.client.hit("user", "a well-behaved client").await.expect("a decision");
    let mut http = TcpStream::connect(victim.tidegate.http()).expect("a connection");
    http.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let part = " ".repeat(500);
    let part = format!("POST /json HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{part}");
    http.write_all(part.as_bytes()).expect("half a request");
    let mut status = [0; 12];
    http.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 503");
    victim.grew_by_less_than(64 << 20, before);
    drop((peers, http));
    eventually("it is given back", || (held() == 0.0).then_some(()));
    victim.still_answers().await;
}

/// `bytes`, packed by gzip.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-9c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start gzip");
    let mut stdin = gzip.stdin.take().expect("its input");
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = gzip.wait_with_output().expect("run gzip");
    writer.join().expect("the writer").expect("write to gzip");
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_messages_that_unpack_to_large_ones_are_not_unpacked_before_they_end() {
    let victim = Victim::start().await;
    let before = victim.tidegate.resident_bytes();
    // Two million empty descriptors: each of the messages would take hundreds of megabytes.
    let bomb = message(&packed(&[0x12, 0].repeat(2_000_000)), 1);
    assert!(bomb.len() < 16_384, "{}", bomb.len());
    // No more on each connection than its first window takes.
    let streams = 60_000 / bomb.len();
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(victim.tidegate.grpc())).collect();
    for peer in &mut peers {
        for stream in (0..streams as u32).map(|i| 2 * i + 1) {
            let headers = call(&[("grpc-encoding", "gzip")]);
            peer.send(&frame(HEADERS, END_HEADERS, stream, &headers)).expect("headers");
            peer.send(&frame(DATA, 0, stream, &bomb)).expect("a message without an end");
        }
    }
    let sent = (20 * streams * bomb.len()) as f64;
    eventually("they wait", || {
        let held = victim.tidegate.metric("tidegate_unfinished_request_bytes");
        (held >= sent).then_some(())
    });
    victim.grew_by_less_than(64 << 20, before);
    // One that ends is unpacked, found too large, and forgotten.
    let peer = &mut peers[0];
    peer.send(&frame(DATA, END_STREAM, 1, &[])).expect("an end");
    peer.wait_for(HEADERS);
    peer.send(&frame(SETTINGS, 0, 0, &[])).expect("it still listens");
    victim.still_answers().await;
}
