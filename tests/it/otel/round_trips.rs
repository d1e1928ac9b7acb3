//! A merged round trip names all the calls that it served, and only those that are traced.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Action, Batch, Meter, NewOperation, TraceRef};
use tidegate::rules::{Limit, Unit};
use tidegate::store::Store as _;
use tidegate::store::redis::{PerSecondStore, RedisConfig, RedisStore, SocketType};
use tidegate::telemetry::{Caller, Formats, RoundTrip, RoundTrips, Trace, TraceSink, Tracer};

use crate::support::redis::RedisServer;

/// Keeps what it hears.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<RoundTrip>>);

impl TraceSink for Ear {
    fn wants(&self, _: Option<&Caller>, _: u128) -> bool {
        false
    }

    fn ended(&self, _: &Arc<Trace>) {}

    fn asked(&self, trip: RoundTrip) {
        self.0.lock().unwrap().push(trip);
    }
}

/// A store that tells `tracer` of its round trips.
fn config(server: &RedisServer, tracer: &Arc<Tracer>) -> RedisConfig {
    let mut config = RedisConfig::new(&server.url(), SocketType::Tcp, None).unwrap();
    config.timeout = std::time::Duration::from_secs(60);
    config.round_trips = RoundTrips::of(Arc::clone(tracer));
    config
}

/// A request for as many counters of its own, traced by those who want it.
fn batch(number: u64, counters: u16, wanted: u8) -> Batch {
    let mut batch = Batch::new(Timestamp::from_secs(1_700_000_000));
    let meter = Meter::of(&Limit::fixed(1000, Unit::Hour));
    for set in 0..counters {
        let operation = NewOperation::alone(meter, Action::Spend(1), set);
        batch.push(operation, |key| key.extend_from_slice(format!("{number}_{set}_").as_bytes()));
    }
    batch.trace = (wanted != 0).then_some(TraceRef { trace: number.into(), span: number, wanted });
    batch
}

#[tokio::test]
async fn calls_that_share_a_round_trip_are_linked_from_it() {
    let server = RedisServer::start_tcp();
    let (one, other) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
    let tracer = Arc::new(Tracer::default());
    tracer.start(Formats::default(), vec![Arc::clone(&one) as _, Arc::clone(&other) as _]);
    let store = RedisStore::connect(config(&server, &tracer));
    store.connected().wait_for(|is_up| *is_up).await.unwrap();
    // On this one thread all of them ask before any is sent.
    let batches = [batch(1, 1, 0b01), batch(2, 2, 0), batch(3, 3, 0b11), batch(4, 1, 0b10)];
    let answers = join_all(batches.iter().map(|batch| store.apply(batch))).await;
    assert!(answers.iter().flatten().all(Result::is_ok));
    // Of these nobody wants to hear.
    store.apply(&batch(5, 1, 0)).await;
    let check = |ear: &Ear, numbers: &[u64]| {
        let trips = ear.0.lock().unwrap();
        assert_eq!(trips.len(), 1, "{trips:?}");
        let named: Vec<u64> = trips[0].calls.iter().map(|call| call.span).collect();
        assert_eq!(named, numbers);
        assert_eq!((trips[0].requests, trips[0].operations, trips[0].commands), (4, 7, 1));
        assert_eq!((trips[0].error, trips[0].unnamed), (None, 0));
        assert_eq!(trips[0].server, format!("127.0.0.1:{}", server.port()));
    };
    check(&one, &[1, 3]);
    check(&other, &[3, 4]);
}

#[tokio::test]
async fn a_call_that_is_taken_apart_is_named_by_each_of_its_round_trips() {
    let (main, per_second) = (RedisServer::start_tcp(), RedisServer::start_tcp());
    let ear = Arc::new(Ear::default());
    let tracer = Arc::new(Tracer::default());
    tracer.start(Formats::default(), vec![Arc::clone(&ear) as _]);
    let store =
        PerSecondStore::connect_for(config(&main, &tracer), config(&per_second, &tracer), None);
    store.connected().wait_for(|is_up| *is_up).await.unwrap();
    let mut batch = batch(7, 1, 1);
    let second = Meter::of(&Limit::fixed(1000, Unit::Second));
    batch.push(NewOperation::alone(second, Action::Spend(1), 1), |key| {
        key.extend_from_slice(b"second_");
    });
    assert!(store.apply(&batch).await.iter().all(Result::is_ok));
    let trips = ear.0.lock().unwrap();
    let mut servers: Vec<&str> = trips.iter().map(|trip| &*trip.server).collect();
    servers.sort_unstable();
    let mut expected = [main.port(), per_second.port()].map(|port| format!("127.0.0.1:{port}"));
    expected.sort_unstable();
    assert_eq!(servers, expected);
    assert!(trips.iter().all(|trip| trip.calls.len() == 1 && trip.calls[0].span == 7));
}
