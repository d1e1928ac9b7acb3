//! What the algorithms leave in Redis: keys, texts, times to live; and what they do with
//! keys that hold something else.

use tidegate::limiter::Action::{self, GiveBack, Spend};
use tidegate::limiter::{Meter, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::{Store, StoreError};

use crate::store::{Entry, LIMIT, RedisServer, batch_of_sets, count, counts, five_in_ten, meter};
use crate::support::stores;

const START: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;
/// What the stores of these tests add to every life.
const SLACK: i64 = 3600;

fn alone(key: &str, meter: Meter, action: Action) -> [Entry<'_>; 1] {
    [(key, meter, action, LIMIT)]
}

fn text(server: &RedisServer, key: &str) -> Option<String> {
    server.command(&["GET", key])
}

#[tokio::test]
async fn a_state_is_three_numbers_under_one_key() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let [fixed, sliding, bucket] = five_in_ten();
    for (at, hits) in [(0, 2), (5 * SECOND, 1), (10 * SECOND, 1)] {
        for (key, meter) in [("f_", fixed), ("s_", sliding), ("b_", bucket)] {
            count(&store, START + at, (key, meter), Spend(hits)).await;
        }
    }
    let keys = ["b_", "f_1700000000", "f_1700000010", "s_"];
    assert_eq!(server.keys(), keys.map(|key| key.as_bytes().to_vec()));
    let texts = keys.map(|key| text(&server, key).unwrap());
    // Five hits in ten seconds are two seconds each: full again two seconds after the last.
    assert_eq!(texts, ["1700000012000000 0 5", "3", "1", "1700000010 1 3"]);
}

#[tokio::test]
async fn what_spends_nothing_leaves_nothing() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let both = |action: Action| {
        five_in_ten().map(|meter| {
            let key = format!("{:?}", meter.algorithm);
            (key, meter, action)
        })
    };
    for (key, meter, action) in [both(Spend(0)), both(Spend(6)), both(GiveBack(2))].concat() {
        count(&store, START, (&key, meter), action).await;
        let other = ("other", meter, Spend(9), LIMIT);
        let set: &[Entry<'_>] = &[(&key, meter, action, LIMIT), other];
        counts(&store, START, &[set]).await;
    }
    assert!(server.keys().is_empty(), "{:?}", server.keys());
}

#[tokio::test]
async fn every_counter_lives_as_long_as_it_matters() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let [fixed, sliding, bucket] = five_in_ten();
    let lives = |key: &str, secs: i64| {
        let (ttl, most) = (server.pttl(key.as_bytes()), (secs + SLACK) * 1000);
        assert!((most - 60_000..=most).contains(&ttl), "{key} lives {ttl} of {most} ms");
    };
    let set = |hits| -> [Entry<'_>; 3] {
        [
            ("f_", fixed, Spend(hits), LIMIT),
            ("s_", sliding, Spend(hits), LIMIT),
            ("b_", meter(Algorithm::TokenBucket { burst: 5 }, 5, 10_000), Spend(hits), LIMIT),
        ]
    };
    for round in 1..=2 {
        counts(&store, START, &[&set(2)]).await;
        lives("f_1700000000", 10);
        lives("s_", 20);
        lives("b_", 1 + round * 4000);
    }
    counts(&store, START, &[&alone("e_", Meter { refused: Refused::Spend, ..bucket }, Spend(9))])
        .await;
    lives("e_", 11);
}

#[tokio::test]
async fn a_sliding_count_saturates_where_it_would_round() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let meter = Meter { refused: Refused::Spend, ..five_in_ten()[1] };
    for hits in [(1 << 53) - 3, 1, 1, 1, u64::MAX] {
        count(&store, START, ("s_", meter), Spend(hits)).await;
    }
    assert_eq!(text(&server, "s_").unwrap(), "1700000000 9007199254740991 0");
    assert_eq!(count(&store, START, ("s_", meter), GiveBack(1)).await.after, (1 << 53) - 2);
}

#[tokio::test]
async fn a_counter_is_the_same_whatever_becomes_of_refused_hits() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let spare = five_in_ten()[0];
    let spend = Meter { refused: Refused::Spend, ..spare };
    server.command::<()>(&["SET", "f_1700000000", "9223372036854775806"]);
    for (meter, action, after) in [
        (spare, Spend(1), i64::MAX as u64 - 1),
        (spend, Spend(5), i64::MAX as u64),
        (spare, Spend(0), i64::MAX as u64),
        (spare, GiveBack(i64::MAX as u64 - 2), 2),
        (spare, Spend(2), 4),
        (spend, Spend(2), 6),
        (spare, Spend(1), 6),
    ] {
        let count = count(&store, START, ("f_", meter), action).await;
        assert_eq!(count.after, after, "{meter:?} {action:?}");
        assert_eq!(text(&server, "f_1700000000").unwrap(), after.to_string());
    }
}

#[tokio::test]
async fn a_key_that_holds_something_else_fails_its_set_and_no_other() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    for key in ["list_", "list_1700000000"] {
        server.command::<()>(&["LPUSH", key, "x"]);
    }
    let strange = ["x", "", "1 2", "1 2 3 4", "-1 2 3", "1 2 9007199254740992", "9.5 1 1"];
    for (i, text) in strange.iter().enumerate() {
        server.command::<()>(&["SET", &format!("text{i}_"), text]);
        server.command::<()>(&["SET", &format!("text{i}_1700000000"), text]);
    }
    let texts = (0..strange.len()).map(|i| format!("text{i}_"));
    for key in texts.chain(["list_".to_owned()]) {
        for meter in five_in_ten() {
            let (good, after) = (format!("good_{key}{meter:?}"), format!("after_{key}{meter:?}"));
            let torn: &[Entry<'_>] = &[
                (&good, meter, Spend(1), LIMIT),
                (&key, meter, Spend(1), LIMIT),
                (&good, meter, Spend(1), LIMIT),
            ];
            let sets: [&[Entry<'_>]; 3] =
                [torn, &alone(&key, meter, Spend(1)), &alone(&after, meter, Spend(2))];
            let counts = store.apply(&batch_of_sets(START, &sets)).await;
            for count in &counts[..4] {
                assert!(matches!(count, Err(StoreError::Refused(_))), "{key} {meter:?} {count:?}");
            }
            assert_eq!(counts[4].as_ref().map(|count| count.after), Ok(2), "{key} {meter:?}");
            let look = count(&store, START, (&good, meter), Spend(0)).await;
            assert_eq!(look.after, 0, "{key} {meter:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_all_kinds_is_one_call() {
    let server = RedisServer::start();
    let store = stores::redis(&server).await;
    let [fixed, sliding, bucket] = five_in_ten();
    let together: &[Entry<'_>] = &[
        ("a_", fixed, Spend(1), LIMIT),
        ("b_", sliding, Spend(1), LIMIT),
        ("c_", bucket, Spend(1), LIMIT),
    ];
    let plain = alone("d_", Meter { refused: Refused::Spend, ..fixed }, Spend(1));
    let sets: &[&[Entry<'_>]] =
        &[together, &plain, &alone("b_", sliding, Spend(1)), &alone("c_", bucket, GiveBack(1))];
    let counts = counts(&store, START, sets).await;
    let after: Vec<u64> = counts.iter().map(|count| count.after).collect();
    assert_eq!(after, [1, 1, 1, 1, 2, 0]);
    let stats: String = server.command(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_evalsha:calls=1,"), "{stats}");
}
