//! What leases cost: how much is refused too early, against the formula.

use tidegate::store::memory::MemoryStore;

use super::*;
use crate::store::count;
use crate::support::stores;

const LIMIT_OF_ALL: u32 = 3000;

/// What became of steady demand above the limit.
#[derive(Debug)]
struct Outcome {
    admitted: u64,
    /// Hits that could still be spent, elsewhere, when the first one was refused.
    stranded: u64,
    /// The most that one process could hold at that moment.
    block: u64,
}

/// Twice as many hits as a window admits, one each millisecond, spread over so many processes.
async fn overload(replicas: u32) -> Outcome {
    let server = Server::new(EPOCH, 0);
    let all: Vec<Replica> = (0..replicas).map(|_| Replica::fine(&server, replicas)).collect();
    let meter = meters(LIMIT_OF_ALL)[0];
    let (mut admitted, mut first) = (0, None);
    for turn in 0..2 * LIMIT_OF_ALL {
        let replica = &all[(turn % replicas) as usize];
        match replica.hit(meter).await.admitted {
            true => admitted += 1,
            false => {
                first.get_or_insert_with(|| {
                    let unspent: u64 = all.iter().map(|one| one.stats().unspent).sum();
                    assert_eq!(unspent, u64::from(LIMIT_OF_ALL) - admitted, "nothing is lost");
                    unspent
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // No process holds more than the demand of a period, nor than its part of what was left.
    let demand = 1000 / u64::from(replicas);
    let block = demand.min(u64::from(LIMIT_OF_ALL) / (2 * u64::from(replicas.max(4)))) + 1;
    Outcome { admitted, stranded: first.expect("a refusal"), block }
}

#[tokio::test(start_paused = true)]
async fn steady_demand_gets_the_limit_exactly_and_few_are_refused_too_early() {
    for replicas in [1, 2, 5, 10] {
        let outcome = overload(replicas).await;
        println!("{replicas} processes: {outcome:?}");
        let Outcome { admitted, stranded, block } = outcome;
        assert_eq!(admitted, u64::from(LIMIT_OF_ALL), "{replicas}");
        assert!(stranded <= u64::from(replicas) * block, "{replicas}: {stranded}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_demand_ends_others_get_what_was_held() {
    let server = Server::new(EPOCH, 0);
    let (one, other) = (Replica::fine(&server, 2), Replica::fine(&server, 2));
    let meter = meters(1000)[0];
    let mut admitted = one.hits(meter, 300).await;
    let held = one.stats().unspent;
    assert!(held > 0 && held <= 125, "{held}");
    admitted += other.hits(meter, 1500).await;
    assert_eq!(admitted + one.stats().unspent, 1000, "the rest is held");
    one.tend().await;
    admitted += other.hits(meter, 1500).await;
    assert_eq!(admitted, 1000);
}

/// The same hits, asked of one process that leases and of a store that does not.
async fn agree(meter: Meter, secs: u64) {
    let server = Server::new(EPOCH, 0);
    let (replica, exact): (_, MemoryStore) = (Replica::fine(&server, 1), stores::memory());
    for turn in 0..secs * 200 {
        let now = server.now().as_micros();
        let leased = replica.hit(meter).await;
        let count = count(&exact, now, ("k", meter), Spend(1)).await;
        assert_eq!((leased.admitted, leased.spent), (count.admitted, count.spent), "{turn}");
        assert_eq!(leased.after, count.after, "{turn}: {meter:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(replica.stats().spent > u64::from(meter.rate) / 2, "{:?}", replica.stats());
}

#[tokio::test(start_paused = true)]
async fn one_process_admits_what_exact_counting_admits() {
    let [fixed, sliding, _] = meters(1000);
    agree(fixed, 30).await;
    agree(sliding, 9).await;
}

#[tokio::test(start_paused = true)]
async fn a_bucket_gives_all_that_it_gains_when_it_is_in_demand() {
    let server = Server::new(EPOCH, 0);
    let replica = Replica::fine(&server, 1);
    // 100 a second, 1000 at once.
    let bucket = meters(1000)[2];
    let admitted = replica.hits(bucket, 20_000).await;
    let (most, stats) = (1000 + 20 * 100, replica.stats());
    println!("a bucket of {most}: {admitted}, {stats:?}");
    assert!(admitted <= most && admitted >= most * 9 / 10, "{admitted}");
    assert!(stats.spent > 500, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_below_its_rate_never_refuses() {
    let server = Server::new(EPOCH, 0);
    let replica = Replica::fine(&server, 1);
    let bucket = meters(20_000)[2];
    assert_eq!(replica.hits(bucket, 5000).await, 5000);
    let (calls, stats) = (replica.leases.store.calls(), replica.stats());
    println!("a bucket below its rate: {calls} calls, {stats:?}");
    assert!(calls < 250, "{calls}: {stats:?}");
}
