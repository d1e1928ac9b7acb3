//! Peers that misuse HTTP/2: resets, floods, headers without end.

use std::thread;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tonic::metadata::MetadataValue;

use super::{Victim, alice};
use crate::support::clients::Client;
use crate::support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, Peer, RST_STREAM, SETTINGS, call,
    frame,
};

/// ENHANCE_YOUR_CALM.
const CALM: [u8; 4] = [0, 0, 0, 11];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_calls_that_are_taken_back_at_once() {
    const CALLS: u32 = 100_000;
    let victim = Victim::start().await;
    let before = victim.tidegate.resident_bytes();
    let address = victim.tidegate.grpc().to_owned();
    let attack = thread::spawn(move || {
        let (mut sent, mut peer) = (0, None);
        while sent < CALLS {
            let (stream, connection) = peer.get_or_insert_with(|| (1, Peer::connect(&address)));
            let mut burst = Vec::new();
            for _ in 0..500 {
                burst.extend(frame(HEADERS, END_HEADERS | END_STREAM, *stream, &call(&[])));
                burst.extend(frame(RST_STREAM, 0, *stream, &[0, 0, 0, 8]));
                *stream += 2;
            }
            sent += 500;
            if connection.send(&burst).is_err() {
                peer = None; // it was thrown out
            }
        }
    });
    let mut answered = 0;
    while !attack.is_finished() || answered < 10 {
        victim.client.hit("user", "a well-behaved client").await.expect("a decision");
        answered += 1;
    }
    attack.join().expect("the attack");
    assert!(victim.tidegate.metric(r#"tidegate_turned_away_total{reason="unruly"}"#) >= 1.0);
    victim.grew_by_less_than(64 << 20, before);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_resets_too_much_is_told_to_calm_down() {
    let victim = Victim::start().await;
    let mut peer = Peer::connect(victim.tidegate.grpc());
    let burst: Vec<u8> = (0..200)
        .flat_map(|i| {
            let open = frame(HEADERS, END_HEADERS, 2 * i + 1, &call(&[]));
            [open, frame(RST_STREAM, 0, 2 * i + 1, &[0, 0, 0, 8])].concat()
        })
        .collect();
    peer.send(&burst).expect("one write");
    let goaway = peer.wait_for(GOAWAY);
    assert_eq!(goaway.payload[4..8], CALM);
    peer.until_closed();
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_whose_answers_nobody_reads_end_their_connection() {
    let victim = Victim::start_with(&[("TIDEGATE_WRITE_TIMEOUT", "300ms")]).await;
    let before = victim.tidegate.resident_bytes();
    for unit in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut peer = Peer::connect(victim.tidegate.grpc());
        let burst = unit.repeat(1 << 16);
        // What it writes waits for its answers to be read, until the server has had enough.
        let end = std::iter::repeat_with(|| peer.send(&burst)).find_map(Result::err);
        let end = end.expect("the flood ends").kind();
        assert_ne!(end, std::io::ErrorKind::WouldBlock, "the connection stays open");
    }
    assert!(victim.tidegate.metric(r#"tidegate_turned_away_total{reason="stalled"}"#) >= 1.0);
    victim.grew_by_less_than(64 << 20, before);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_not_kept() {
    let victim = Victim::start().await;
    let before = victim.tidegate.resident_bytes();
    let mut peer = Peer::connect(victim.tidegate.grpc());
    let _ = peer.send(&frame(HEADERS, END_STREAM, 1, &call(&[])));
    let field = [&[0, 1, b'x', 127, 0x80, 0x7f][..], &[b'y'; 16_383]].concat();
    let more = frame(CONTINUATION, 0, 1, &field[..16_384]).repeat(64);
    let end = (0..1000).find_map(|_| peer.send(&more).err());
    assert!(end.is_some(), "a gigabyte of headers was taken");
    victim.grew_by_less_than(64 << 20, before);
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_beyond_the_bound_are_refused() {
    let victim = Victim::start_with(&[("TIDEGATE_MAX_HEADER_BYTES", "8192")]).await;
    let with = |bytes: usize| {
        let mut request = tonic::Request::new(alice());
        let value = MetadataValue::try_from("x".repeat(bytes)).expect("a header");
        request.metadata_mut().insert("x-long", value);
        request
    };
    let mut client = victim.rls();
    client.should_rate_limit(with(7000)).await.expect("within the bound");
    client.should_rate_limit(with(9000)).await.expect_err("beyond the bound");
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_has_no_more_calls_open_than_it_was_told() {
    let victim = Victim::start_with(&[("TIDEGATE_MAX_STREAMS", "3")]).await;
    let mut peer = Peer::connect(victim.tidegate.grpc());
    let settings = peer.wait_for(SETTINGS);
    let told = settings.payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
    assert_eq!(told.map(|pair| &pair[2..]), Some(&[0, 0, 0, 3][..]));
    for stream in [1, 3, 5, 7] {
        peer.send(&frame(HEADERS, END_HEADERS, stream, &call(&[]))).expect("headers");
    }
    let reset = peer.wait_for(RST_STREAM);
    // REFUSED_STREAM: nothing was done, it may be tried again.
    assert_eq!((reset.stream, reset.payload), (7, vec![0, 0, 0, 7]));
    victim.still_answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_calls_is_told_to_go_and_one_with_a_call_is_not() {
    let victim = Victim::start_with(&[("TIDEGATE_IDLE_TIMEOUT", "300ms")]).await;
    let mut health = victim.client.health_client();
    let mut watch = health
        .watch(tidegate::wire::pb::grpc::health::v1::HealthCheckRequest::default())
        .await
        .expect("a stream")
        .into_inner();
    watch.message().await.expect("the first state");
    let mut idle = Peer::connect(victim.tidegate.grpc());
    let goaway = idle.wait_for(GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4], "NO_ERROR");
    // What is asked in spite of it is answered before the end.
    assert!(victim.tidegate.metric(r#"tidegate_turned_away_total{reason="idle"}"#) >= 1.0);
    let next = tokio::time::timeout(Duration::from_secs(1), watch.message()).await;
    assert!(next.is_err(), "a stream is a call: {next:?}");
    let again = Client::connect(victim.tidegate.grpc()).await;
    assert_eq!(again.hit("user", "late").await.unwrap(), Code::Ok);
}
