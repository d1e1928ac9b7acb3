//! Sets of several operations: what is covered is held while the others are asked for.

use tidegate::limiter::RefusedSets;

use super::*;

const OTHER: Part = Part { group: 1, quota: false };
const QUOTA: Part = Part { group: 1, quota: true };

async fn holding(server: &Arc<Server>) -> (Replica, u64) {
    let replica = Replica::fine(server, 1);
    assert_eq!(replica.hits(meters(1000)[0], 200).await, 200);
    let unspent = replica.stats().unspent;
    assert!(unspent > 10);
    (replica, unspent)
}

/// Asks for a hit on the leased counter and on another one.
async fn both(replica: &Replica, other: (&str, Meter, Part)) -> [Count; 2] {
    let (key, meter, part) = other;
    let set: &[_] = &[("k", meters(1000)[0], Spend(1), LIMIT), (key, meter, Spend(1), part)];
    let counts = replica.leases.apply(&leased(replica.server.now(), &[set])).await;
    [0, 1].map(|at| counts[at].clone().expect("a count"))
}

#[tokio::test(start_paused = true)]
async fn an_admitted_set_spends_what_was_held() {
    let server = Server::new(EPOCH, 0);
    let (replica, unspent) = holding(&server).await;
    let [first, second] = both(&replica, ("exact", meters(5)[0], OTHER)).await;
    assert_eq!((first.source, first.spent, first.after), (Source::Lease, true, 201));
    assert_eq!((second.source, second.spent, second.after), (Source::Store, true, 1));
    assert_eq!(replica.stats().unspent, unspent - 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_set_puts_back_what_was_held() {
    for meter in meters(5) {
        // Refused hits of that one would count, if it stood for itself.
        let meter = Meter { refused: tidegate::limiter::Refused::Spend, ..meter };
        let server = Server::new(EPOCH, 0);
        let (replica, unspent) = holding(&server).await;
        for _ in 0..5 {
            both(&replica, ("exact", meter, OTHER)).await;
        }
        for _ in 0..5 {
            let [first, second] = both(&replica, ("exact", meter, OTHER)).await;
            assert_eq!((first.admitted, first.spent, first.after), (true, false, 205));
            assert_eq!((second.admitted, second.spent, second.after), (false, false, 5));
        }
        let stats = replica.stats();
        assert_eq!((stats.unspent, stats.lost), (unspent - 5, 0), "{meter:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_fails_fails_as_a_whole_and_puts_back_what_was_held() {
    let server = Server::new(EPOCH, 0);
    let (replica, unspent) = holding(&server).await;
    let silent = Weather { lost_requests: 100, ..Weather::FINE };
    let lossy = Replica::new(&server, silent, LeaseConfig::default(), 0);
    let lossy = Leases::new(Arc::clone(&lossy.leases.store), Some(Arc::clone(&replica.table)));
    let other = ("exact", meters(5)[0], Spend(1), OTHER);
    let set: &[_] = &[("k", meters(1000)[0], Spend(1), LIMIT), other];
    let counts = lossy.apply(&leased(server.now(), &[set])).await;
    assert!(counts.iter().all(Result::is_err), "{counts:?}");
    assert_eq!(replica.stats().unspent, unspent);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_has_spent_what_was_held() {
    let server = Server::new(EPOCH, 0);
    let (replica, unspent) = holding(&server).await;
    let slow = Weather { delay: Duration::from_millis(100), ..Weather::FINE };
    let other = Replica::new(&server, slow, LeaseConfig::default(), 0);
    let other = Leases::new(Arc::clone(&other.leases.store), Some(Arc::clone(&replica.table)));
    let set: &[_] =
        &[("k", meters(1000)[0], Spend(3), LIMIT), ("exact", meters(5)[0], Spend(1), OTHER)];
    let batch = leased(server.now(), &[set]);
    let answer = tokio::time::timeout(Duration::from_millis(1), other.apply(&batch)).await;
    assert!(answer.is_err());
    assert_eq!(replica.stats().unspent, unspent - 3);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_covered_asks_nobody_and_what_is_left_stays_in_order() {
    let server = Server::new(EPOCH, 0);
    let (replica, _) = holding(&server).await;
    let before = replica.leases.store.calls();
    let k = ("k", meters(1000)[0], Spend(1), LIMIT);
    let set: &[_] = &[k, (k.0, k.1, k.2, OTHER)];
    let counts = replica.leases.apply(&leased(server.now(), &[set, &[k]])).await;
    let afters: Vec<u64> = counts.iter().map(|count| count.as_ref().unwrap().after).collect();
    assert_eq!((afters, replica.leases.store.calls()), (vec![201, 202, 203], before));
    let exact = |key, hits| (key, meters(50)[0], Spend(hits), OTHER);
    let (one, two, three) = (exact("exact1", 1), exact("exact2", 2), exact("exact3", 3));
    let sets: [&[Entry<'_>]; 4] = [&[one], &[k, two], &[k], &[three, k]];
    let counts = replica.leases.apply(&leased(server.now(), &sets)).await;
    let afters: Vec<u64> = counts.iter().map(|count| count.as_ref().unwrap().after).collect();
    assert_eq!(afters, [1, 204, 2, 205, 3, 206]);
}

#[tokio::test(start_paused = true)]
async fn quotas_and_sets_that_stop_are_asked_as_they_are() {
    let server = Server::new(EPOCH, 0);
    let (replica, unspent) = holding(&server).await;
    let leased_quota = ("k", meters(1000)[0], Spend(1), QUOTA);
    let set: &[_] = &[("exact", meters(5)[0], Spend(1), LIMIT), leased_quota];
    let mut batch = leased(server.now(), &[set]);
    let counts = replica.leases.apply(&batch).await;
    assert!(counts.iter().all(|count| count.as_ref().unwrap().source == Source::Store));
    batch.refused_sets = RefusedSets::SpendWhatIsOver;
    let counts = replica.leases.apply(&batch).await;
    assert!(counts.iter().all(|count| count.as_ref().unwrap().source == Source::Store));
    assert_eq!(replica.stats().unspent, unspent);
}

#[tokio::test(start_paused = true)]
async fn beside_a_quota_that_is_over_a_limit_may_be_held() {
    let server = Server::new(EPOCH, 0);
    let (replica, unspent) = holding(&server).await;
    // Its only quota is over: the set is refused.
    let [first, second] = both(&replica, ("exact", meters(0)[0], QUOTA)).await;
    assert_eq!((first.spent, second.admitted), (false, false));
    assert_eq!(replica.stats().unspent, unspent);
}
