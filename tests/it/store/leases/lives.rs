//! The lives of leases: how they begin, change and end.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A process that holds something, and what it has spent.
async fn holding(server: &Arc<Server>, meter: Meter) -> (Replica, u64) {
    let replica = Replica::fine(server, 1);
    let admitted = replica.hits(meter, 200).await;
    assert!(replica.stats().unspent > 10, "{:?}", replica.stats());
    (replica, admitted)
}

#[tokio::test(start_paused = true)]
async fn what_nobody_spends_is_given_back() {
    for meter in &meters(1000)[..2] {
        let server = Server::new(EPOCH, 0);
        let (replica, admitted) = holding(&server, *meter).await;
        assert_eq!(held(&server, *meter).await, admitted + replica.stats().unspent);
        tokio::time::sleep(SECOND).await;
        replica.tend().await;
        assert_eq!(held(&server, *meter).await, admitted, "{meter:?}");
        let stats = replica.stats();
        assert_eq!((stats.leases, stats.unspent, stats.lost), (0, 0, 0), "{stats:?}");
        assert_eq!(stats.taken, stats.spent + stats.given_back);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_the_demand_is_given_back() {
    let server = Server::new(EPOCH, 0);
    let meter = meters(10_000)[0];
    let (replica, mut admitted) = holding(&server, meter).await;
    for _ in 0..12 {
        tokio::time::sleep(SECOND / 4).await;
        admitted += u64::from(replica.hit(meter).await.admitted);
        replica.tend().await;
    }
    assert!(replica.stats().unspent <= 16, "{:?}", replica.stats());
    assert_eq!(held(&server, meter).await, admitted + replica.stats().unspent);
}

#[tokio::test(start_paused = true)]
async fn what_a_sliding_window_has_left_over_weighs_nothing_in_the_next() {
    let server = Server::new(EPOCH, 0);
    let sliding = meters(1000)[1];
    tokio::time::sleep(SECOND * 9 + SECOND / 2).await;
    let (replica, admitted) = holding(&server, sliding).await;
    tokio::time::sleep(SECOND).await;
    replica.tend().await;
    let weight = 20_000_000 - (server.now().as_micros() - EPOCH.as_micros());
    let expected = admitted * weight / 10_000_000;
    assert!(held(&server, sliding).await.abs_diff(expected) <= 1, "{expected}");
}

#[tokio::test(start_paused = true)]
async fn a_lowered_limit_ends_leases() {
    for meter in meters(1000) {
        let server = Server::new(EPOCH, 0);
        let (replica, admitted) = holding(&server, meter).await;
        let lower = Meter { rate: 150, ..meter };
        let lower = match meter.algorithm {
            Algorithm::TokenBucket { .. } => {
                Meter { algorithm: Algorithm::TokenBucket { burst: 150 }, ..lower }
            }
            _ => lower,
        };
        assert_eq!(admitted, 200);
        assert!(!replica.hit(lower).await.admitted, "{meter:?}");
        assert_eq!(replica.stats().unspent, 0, "{meter:?}");
        replica.tend().await;
        if !matches!(meter.algorithm, Algorithm::TokenBucket { .. }) {
            assert_eq!(held(&server, lower).await, 200, "{meter:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_all_is_given_back_and_nothing_more_is_taken() {
    let server = Server::new(EPOCH, 0);
    let meter = meters(1000)[0];
    let (replica, admitted) = holding(&server, meter).await;
    replica.leases.give_back_all(server.now(), SECOND).await;
    assert_eq!(held(&server, meter).await, admitted);
    let taken = replica.stats().taken;
    assert_eq!(replica.hits(meter, 100).await, 100);
    assert_eq!(replica.stats().taken, taken);
    assert_eq!(held(&server, meter).await, admitted + 100);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_not_given_back_but_come_back() {
    let server = Server::new(EPOCH, 0);
    let bucket = meters(1000)[2];
    let (replica, _) = holding(&server, bucket).await;
    let before = held(&server, bucket).await;
    replica.leases.give_back_all(server.now(), SECOND).await;
    assert_eq!((replica.stats().unspent, held(&server, bucket).await), (0, before));
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(held(&server, bucket).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_silent_at_the_end_holds_nobody_up() {
    let server = Server::new(EPOCH, 0);
    let weather = Weather { lost_requests: 100, ..Weather::FINE };
    let replica = Replica::new(&server, weather, LeaseConfig::default(), 0);
    let began = tokio::time::Instant::now();
    replica.leases.give_back_all(server.now(), SECOND).await;
    assert!(began.elapsed() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_full_table_counts_exactly() {
    let server = Server::new(EPOCH, 0);
    let config = LeaseConfig { max_leases: 0, ..LeaseConfig::default() };
    let replica = Replica::new(&server, Weather::FINE, config, 0);
    let meter = meters(100)[0];
    assert_eq!(replica.hits(meter, 300).await, 100);
    assert_eq!((replica.stats().taken, replica.leases.store.calls()), (0, 300));
    // Room comes back when a counter is idle.
    let config = LeaseConfig { max_leases: 1, ..LeaseConfig::default() };
    let replica = Replica::new(&server, Weather::FINE, config, 0);
    let other = Meter { window: tidegate::limiter::Window::from_secs(3600), ..meters(1000)[0] };
    replica.hit(meters(200)[0]).await;
    replica.hits(other, 50).await;
    assert_eq!(replica.stats().taken, 0);
    tokio::time::sleep(SECOND * 2).await;
    replica.tend().await;
    replica.hits(other, 50).await;
    assert!(replica.stats().taken > 0);
}

#[tokio::test(start_paused = true)]
async fn a_block_whose_answer_is_lost_is_not_spent() {
    for (lost_requests, lost_answers) in [(100, 0), (0, 100)] {
        let server = Server::new(EPOCH, 0);
        let meter = meters(1000)[0];
        // The requests themselves are answered: only what is asked for beside them is lost.
        let (replica, _) = holding(&server, meter).await;
        let weather = Weather { lost_requests, lost_answers, ..Weather::FINE };
        let lossy = Replica::new(&server, weather, LeaseConfig::default(), 0);
        let lossy = Leases::new(Arc::clone(&lossy.leases.store), Some(Arc::clone(&replica.table)));
        let (mut spent, before) = (0, replica.stats().unspent);
        for _ in 0..200 {
            let batch = leased(server.now(), &[&[("k", meter, Spend(1), LIMIT)]]);
            spent += u64::from(lossy.apply(&batch).await.remove(0).is_ok());
        }
        let stats = replica.stats();
        assert_eq!(spent, before, "what was held, and no more");
        assert!(stats.unknown >= 1 && stats.lost > 0, "{stats:?}");
        assert_eq!(stats.unspent, 0, "{stats:?}");
    }
}

#[test]
fn a_runtime_that_ends_takes_no_order_along() {
    let runtime = |f: &dyn Fn() -> Replica| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let replica = runtime.block_on(async {
            let replica = f();
            let meter = meters(1000)[0];
            for _ in 0..20 {
                replica.hit(meter).await;
            }
            replica
        });
        drop(runtime);
        replica
    };
    let slow = Weather { delay: Duration::from_millis(50), ..Weather::FINE };
    let replica =
        runtime(&|| Replica::new(&Server::new(EPOCH, 0), slow, LeaseConfig::default(), 0));
    let stats = replica.table.stats(EPOCH);
    // Whatever was under way when it ended is known as such.
    assert_eq!(stats.unknown, u64::from(stats.lost > 0), "{stats:?}");
    let inside = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    inside.block_on(async {
        let stats = replica.table.stats(EPOCH);
        assert!(stats.taken >= stats.spent + stats.unspent, "{stats:?}");
    });
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_ends_leases_sooner_not_later() {
    for meter in meters(1000) {
        let server = Server::new(EPOCH, 0);
        let (replica, _) = holding(&server, meter).await;
        // As after a sleep of the machine: the monotonic clock has stood still.
        let later = server.now().plus(SECOND * 10);
        let batch = leased(later, &[&[("k", meter, Spend(1), LIMIT)]]);
        let count = replica.leases.apply(&batch).await.remove(0).expect("a count");
        assert_eq!(count.source, Source::Store, "{meter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn giving_back_to_a_leased_bucket_only_looks() {
    let server = Server::new(EPOCH, 0);
    let bucket = meters(1000)[2];
    let (replica, _) = holding(&server, bucket).await;
    let before = held(&server, bucket).await;
    let count = replica.ask(bucket, GiveBack(50)).await.expect("an answer");
    assert_eq!((count.admitted, count.spent), (true, false));
    assert_eq!(held(&server, bucket).await, before);
    let fixed = meters(1000)[0];
    let (replica, _) = holding(&server, fixed).await;
    let before = held(&server, fixed).await;
    replica.ask(fixed, GiveBack(50)).await.expect("an answer");
    assert_eq!(held(&server, fixed).await, before - 50);
}

#[tokio::test(start_paused = true)]
async fn a_look_spends_nothing() {
    let server = Server::new(EPOCH, 0);
    let (replica, admitted) = holding(&server, meters(1000)[0]).await;
    let unspent = replica.stats().unspent;
    for _ in 0..3 {
        let look = replica.ask(meters(1000)[0], Spend(0)).await.expect("an answer");
        assert_eq!((look.source, look.admitted, look.after), (Source::Lease, true, admitted));
    }
    assert_eq!(replica.stats().unspent, unspent);
}

#[tokio::test(start_paused = true)]
async fn without_a_table_everything_is_asked() {
    let server = Server::new(EPOCH, 0);
    let leases = Leases::new(Network::new(&server, Weather::FINE, 0), None);
    for _ in 0..100 {
        let batch = leased(server.now(), &[&[("k", meters(1000)[0], Spend(1), LIMIT)]]);
        leases.apply(&batch).await;
    }
    assert_eq!(leases.store.calls(), 100);
}
