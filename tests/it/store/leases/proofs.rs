//! The steps of the proofs, one by one.

use tidegate::limiter::{RefusedSets, Window};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn slow(server: &Arc<Server>, delay: Duration, seed: u64) -> Replica {
    let weather = Weather { delay, ..Weather::FINE };
    Replica::new(server, weather, LeaseConfig::default(), seed)
}

/// A hit that waits for nobody's answer.
fn hit_aside(replica: &Arc<Replica>, meter: Meter) {
    let replica = Arc::clone(replica);
    tokio::spawn(async move { replica.ask(meter, Spend(1)).await });
}

#[tokio::test(start_paused = true)]
async fn what_is_held_of_a_bucket_is_part_of_its_debt() {
    // 400 a second, 1000 at once.
    let bucket = Meter { rate: 4000, ..meters(1000)[2] };
    let server = Server::new(EPOCH, 500);
    let all: Vec<_> = (0..3).map(|seed| Arc::new(slow(&server, MS * 60, seed))).collect();
    let mut most = 0;
    for step in 0_usize..4000 {
        // Each is busy for a while and then idle.
        for (at, one) in all.iter().enumerate() {
            if (step / 300) % 4 == at {
                hit_aside(one, bucket);
            }
        }
        if step.is_multiple_of(100) {
            for one in &all {
                one.tend().await;
            }
        }
        tokio::time::sleep(MS).await;
        let unspent: u64 = all.iter().map(|one| one.stats().unspent).sum();
        let debt = held(&server, bucket).await;
        assert!(unspent <= debt, "{step}: {unspent} of {debt}");
        most = most.max(unspent);
    }
    assert!(most > 100, "{most}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_sliding_window_ends_before_the_window_does() {
    let server = Server::new(EPOCH, 500);
    let sliding = Meter { window: Window::from_secs(2), ..meters(100_000)[1] };
    let replica = Arc::new(slow(&server, MS * 90, 7));
    let mut leased = 0;
    for _ in 0..25_000 {
        let began = server.now();
        // A pause before each border leaves something over.
        if sliding.window.left(began) < MS * 600 {
            tokio::time::sleep(MS).await;
            continue;
        }
        let window = |at| sliding.window.start(at);
        let asked = replica.ask(sliding, Spend(1));
        if let Ok(Ok(count)) = tokio::time::timeout(Duration::ZERO, asked).await
            && count.source == Source::Lease
        {
            assert_eq!(window(began), window(count.at), "{count:?}");
            leased += 1;
        }
        hit_aside(&replica, sliding);
        tokio::time::sleep(MS).await;
    }
    assert!(leased > 1000, "{leased}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_runs_ahead_ends_leases_in_time() {
    let server = Server::new(EPOCH, 900);
    let sliding = Meter { window: Window::from_secs(1000), ..meters(10_000)[1] };
    let end = Timestamp::from_secs(sliding.window.end(EPOCH));
    let replica = Replica::fine(&server, 1);
    replica.hits(sliding, 200).await;
    assert!(replica.stats().unspent > 0);
    let now = EPOCH.plus(Duration::from_secs(900));
    assert!(now < end);
    // By our clock there is time left, by that of the server there is not.
    let left = end.since(server.now());
    tokio::time::sleep(left - left / 2000).await;
    let ours = EPOCH.plus(server_time(&server));
    assert!(server.now() >= end, "{:?} {end:?} {ours:?}", server.now());
    let batch = leased_at(ours, sliding);
    let count = replica.leases.apply(&batch).await.remove(0).expect("a count");
    assert_eq!(count.source, Source::Store);
}

/// The time since the server began, by our clock.
fn server_time(server: &Server) -> Duration {
    let passed = server.now().since(EPOCH).as_secs_f64() / 1.0009;
    Duration::from_secs_f64(passed)
}

fn leased_at(now: Timestamp, meter: Meter) -> Batch {
    leased(now, &[&[("k", meter, Spend(1), LIMIT)]])
}

#[tokio::test(start_paused = true)]
async fn a_block_that_comes_after_a_reload_is_given_back() {
    let server = Server::new(EPOCH, 0);
    let fixed = meters(1000)[0];
    let replica = Replica::fine(&server, 1);
    replica.hits(fixed, 3).await;
    let far = slow(&server, MS * 90, 3);
    let far = Leases::new(Arc::clone(&far.leases.store), Some(Arc::clone(&replica.table)));
    far.apply(&leased_at(server.now(), fixed)).await;
    // A block is under way now, and new rules come.
    assert!(replica.hit(Meter { rate: 5, ..fixed }).await.admitted);
    assert_eq!(replica.stats().taken, 0);
    tokio::time::sleep(MS * 200).await;
    let stats = replica.stats();
    assert!(stats.taken > 0 && stats.unspent == 0, "{stats:?}");
    replica.tend().await;
    assert_eq!(replica.stats().given_back, stats.taken);
    assert_eq!(held(&server, fixed).await, 5);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_of_a_slice_that_has_leaked_is_lost() {
    let server = Server::new(EPOCH, 0);
    let bucket = meters(1000)[2];
    let replica = Replica::fine(&server, 1);
    replica.hits(bucket, 12).await;
    // Until the slice leaks.
    while replica.stats().unspent + 5 > replica.stats().taken - replica.stats().spent {
        tokio::time::sleep(MS).await;
    }
    let unspent = replica.stats().unspent;
    assert!(unspent > 40, "{unspent}");
    let other = slow(&server, MS * 90, 1);
    let other = Leases::new(Arc::clone(&other.leases.store), Some(Arc::clone(&replica.table)));
    let never = ("exact", meters(0)[0], Spend(1), Part { group: 1, quota: false });
    let set: &[_] = &[("k", bucket, Spend(unspent - 5), LIMIT), never];
    let mut batch = leased(server.now(), &[set]);
    batch.refused_sets = RefusedSets::SpendNothing;
    let lost = replica.stats().lost;
    assert!(!other.apply(&batch).await[1].as_ref().expect("a count").admitted);
    assert_eq!(replica.stats().lost - lost, unspent - 5);
}
