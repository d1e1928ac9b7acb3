//! Storms, by seed: callers come and go while connections are cut and replies held back.
//! Never do too many pass, and nothing is counted twice.

use std::collections::HashSet;

use fastrand::Rng;
use tidegate::clock::Timestamp;
use tidegate::limiter::{Meter, NewOperation, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::redis::SocketType;

use super::*;
use crate::store::{becomes, count, meter};
use crate::support::forward::Forwarder;

/// How many each counter admits.
const LIMIT: u32 = 30;
const NOW: u64 = 1_700_000_000_000_000;

/// What was asked of a counter, and what was answered.
#[derive(Default)]
struct Tally {
    asked: u64,
    admitted: u64,
    afters: Vec<u64>,
}

/// A meter that counts whatever there is.
fn always() -> Meter {
    Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, LIMIT, 3600) }
}

/// Counters of every kind, some of each.
fn counters() -> Vec<(String, Meter)> {
    let spare = |algorithm| meter(algorithm, LIMIT, 3600);
    let kinds = [
        always(),
        spare(Algorithm::FixedWindow),
        spare(Algorithm::SlidingWindow),
        spare(Algorithm::TokenBucket { burst: LIMIT }),
    ];
    let named = |key: usize| (format!("k{key}_"), kinds[key % kinds.len()]);
    (0..12).map(named).collect()
}

/// A storm over servers behind forwarders, which `store` reaches through them only; how many
/// passed.
pub(in super::super) async fn storm(
    seed: u64,
    (store, witness): (Arc<RedisStore>, &RedisStore),
    forwarders: &[Forwarder],
) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let counters = counters();
    let mut tallies: Vec<Tally> = counters.iter().map(|_| Tally::default()).collect();
    let mut callers: Vec<(usize, JoinHandle<Counts>)> = Vec::new();
    // Each caller also has a counter of its own, which shows whether it was counted twice.
    let mut all = 0_u64..;
    for _ in 0..60 {
        let forwarder = &forwarders[rng.usize(..forwarders.len())];
        match rng.u8(..12) {
            0..6 => {
                for _ in 0..rng.usize(1..20) {
                    let at = rng.usize(..counters.len());
                    tallies[at].asked += 1;
                    let own = format!("own{}_", all.next().unwrap_or(0));
                    let (store, (key, meter)) = (Arc::clone(&store), counters[at].clone());
                    callers.push((
                        at,
                        tokio::spawn(async move {
                            let mut batch = Batch::new(Timestamp::from_micros(NOW));
                            let new = NewOperation::alone(meter, Spend(1), 0);
                            batch.push(new, |out| out.extend_from_slice(key.as_bytes()));
                            let new = NewOperation::alone(always(), Spend(1), 1);
                            batch.push(new, |out| out.extend_from_slice(own.as_bytes()));
                            store.apply(&batch).await
                        }),
                    ));
                }
            }
            6 => forwarder.cut(),
            7 => forwarder.let_replies_through(false),
            8 => forwarder.let_replies_through(true),
            9 => callers.iter().filter(|_| rng.u8(..4) == 0).for_each(|(_, one)| one.abort()),
            _ => calm((&store, forwarders), &mut callers, &mut tallies).await,
        }
        tokio::task::yield_now().await;
    }
    calm((&store, forwarders), &mut callers, &mut tallies).await;
    becomes(witness, true).await;
    for own in 0..all.start {
        let held = count(witness, NOW, (&format!("own{own}_"), always()), Spend(0)).await.after;
        assert!(held <= 1, "seed {seed}: caller {own} was counted {held} times");
    }
    let passed = tallies.iter().map(|tally| tally.admitted).sum();
    for ((key, meter), tally) in counters.iter().zip(tallies) {
        let held = count(witness, NOW, (key, *meter), Spend(0)).await.after;
        let Tally { asked, admitted, afters } = tally;
        let facts =
            format!("seed {seed}, {meter:?}: {asked} asked, {admitted} passed, {held} held");
        assert!(admitted <= LIMIT.into() && admitted <= held && held <= asked, "{facts}");
        if meter.refused == Refused::Spend {
            let seen: HashSet<&u64> = afters.iter().collect();
            assert_eq!(seen.len(), afters.len(), "{facts}: two saw the same count");
        }
    }
    passed
}

/// Waits for all answers, and for the connection.
async fn calm(
    (store, forwarders): (&RedisStore, &[Forwarder]),
    callers: &mut Vec<(usize, JoinHandle<Counts>)>,
    tallies: &mut [Tally],
) {
    forwarders.iter().for_each(|forwarder| forwarder.let_replies_through(true));
    for (at, caller) in callers.drain(..) {
        match caller.await {
            Ok(counts) => {
                if let Ok(count) = &counts[0] {
                    tallies[at].admitted += u64::from(count.admitted);
                    tallies[at].afters.push(count.after);
                }
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    becomes(store, true).await;
}

/// Late soon.
pub(in super::super) fn hasty(config: RedisConfig) -> RedisConfig {
    let mut config = with_time(config);
    config.timeout = Duration::from_millis(40);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_counts_twice_in_a_storm() {
    let mut passed = 0;
    for seed in 0..12 {
        let server = RedisServer::start_tcp();
        let forwarders = [Forwarder::to(server.port()).await];
        let address = format!("127.0.0.1:{}", forwarders[0].port());
        let behind = RedisConfig::new(&address, SocketType::Tcp, None).expect("an address");
        let store = Arc::new(connect(hasty(behind)).await);
        let witness = connect(patient(&server)).await;
        passed += storm(seed, (store, &witness), &forwarders).await;
    }
    assert!(passed > 0);
}
