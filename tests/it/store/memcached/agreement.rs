//! Memcached and memory answer alike: random histories of fixed windows, asked of both.

use fastrand::Rng;
use tidegate::clock::Timestamp;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::limiter::{Action, Batch, Meter, NewOperation, Refused};
use tidegate::rules::Algorithm;
use tidegate::store::Store;

use super::meter;
use crate::support::memcached::MemcachedServer;
use crate::support::stores;

const HISTORIES: u64 = 300;
const WINDOWS: [u64; 5] = [1, 60, 3600, 30 * 86_400, 365 * 86_400];
const RATES: [u32; 6] = [0, 1, 3, 10, 1000, u32::MAX];

fn hits(random: &mut Rng) -> u64 {
    match random.u8(0..20) {
        0 => random.u64(0..1 << 33),
        1 => random.u64(0..1 << 54),
        2 => u64::MAX,
        _ => random.u64(0..6),
    }
}

fn action(random: &mut Rng) -> Action {
    if random.u8(0..4) == 0 { GiveBack(hits(random)) } else { Spend(hits(random)) }
}

fn batch(random: &mut Rng, now: u64, history: u64) -> Batch {
    let mut batch = Batch::new(Timestamp::from_micros(now));
    for set in 0..random.u16(0..6) {
        let (window, rate) = (random.choice(WINDOWS).unwrap(), random.choice(RATES).unwrap());
        let meter =
            Meter { refused: Refused::Spend, ..meter(Algorithm::FixedWindow, rate, window) };
        let odd = random.choice(["", " ", "\n"]).unwrap();
        let key = format!("{history}:{window}{odd}{}:", random.u8(0..2));
        batch.push(NewOperation::alone(meter, action(random), set), |out| {
            out.extend_from_slice(key.as_bytes());
        });
    }
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_memcached_agree() {
    let server = MemcachedServer::start();
    let memcached = stores::memcached(&server).await;
    let mut asked = 0;
    for history in 0..HISTORIES {
        let random = &mut Rng::with_seed(history);
        let memory = stores::memory();
        let mut now = 1_700_000_000_000_000;
        for _ in 0..random.u32(1..30) {
            now += random.choice([0, 1, 400_000, 20_000_000, 3_000_000_000]).unwrap();
            let batch = batch(random, now, history);
            let (here, there) = (memory.apply(&batch).await, memcached.apply(&batch).await);
            assert_eq!(here, there, "history {history} at {now}: {batch:#?}");
            asked += batch.operations().len();
        }
    }
    assert!(asked > 5_000, "{asked}");
}
