//! The breaker of a server: whether decisions may ask it.
//!
//! A server that is paused, or that packets no longer reach, keeps its connection: each
//! question would wait for nothing. So the first call that stays without an answer for the
//! store's time-out opens the circuit, and so do several in a row that were slower than a
//! decision may be. While it is open decisions are answered for at once; the link asks for a
//! sign of life in the background, and the first one in time closes the circuit. So does a
//! new connection.
//!
//! Calls run beside each other, and one stall makes all of them slow: one that began before
//! the last slow one had ended says nothing new.
//!
//! Pure but for a lock; moments come from outside.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::cells::{AtomicBool, AtomicU64, Mutex};

/// When a server is not asked any more, beside those that do not answer at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaking {
    /// A call that takes longer is slow.
    pub slow_after: Duration,
    /// So many slow calls in a row open the circuit; 0: no number does, and nothing is slow.
    pub slow_calls: u32,
}

/// A change of the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

/// Whether a server may be asked.
pub(super) struct Breaker {
    terms: Breaking,
    is_open: AtomicBool,
    /// Whether `slow` is not empty, for who answers quickly.
    was_slow: AtomicBool,
    slow: Mutex<Slow>,
    opened: AtomicU64,
}

/// Slow calls in a row.
#[derive(Default)]
struct Slow {
    calls: u32,
    last: Option<Instant>,
}

impl Breaker {
    /// A closed circuit.
    pub(super) fn new(terms: Breaking) -> Self {
        Self {
            terms,
            is_open: AtomicBool::new(false),
            was_slow: AtomicBool::new(false),
            slow: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Whether the server is not to be asked.
    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// How often the circuit was opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// A call that began at `start` is answered `now`.
    pub(super) fn answered(&self, start: Instant, now: Instant) -> Option<Change> {
        let Breaking { slow_after, slow_calls } = self.terms;
        if slow_calls == 0 || now.saturating_duration_since(start) <= slow_after {
            return self.close();
        }
        let mut slow = self.slow.lock();
        if slow.last.is_some_and(|last| start < last) {
            return None;
        }
        *slow = Slow { calls: slow.calls.saturating_add(1), last: Some(now) };
        self.was_slow.store(true, Ordering::Relaxed);
        if slow.calls >= slow_calls { self.open() } else { None }
    }

    /// A call was given up without an answer.
    pub(super) fn lost(&self) -> Option<Change> {
        self.open()
    }

    /// There is a new connection, or the server is quick.
    pub(super) fn close(&self) -> Option<Change> {
        if self.was_slow.load(Ordering::Relaxed) {
            self.was_slow.store(false, Ordering::Relaxed);
            *self.slow.lock() = Slow::default();
        }
        let was_open = self.is_open() && self.is_open.swap(false, Ordering::Relaxed);
        was_open.then_some(Change::Closed)
    }

    fn open(&self) -> Option<Change> {
        if self.is_open.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.opened.fetch_add(1, Ordering::Relaxed);
        Some(Change::Opened)
    }
}

impl Default for Breaking {
    /// Nothing is slow.
    fn default() -> Self {
        Self { slow_after: Duration::ZERO, slow_calls: 0 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::cells::{self, thread};
    use super::*;

    const TERMS: Breaking = Breaking { slow_after: Duration::from_millis(10), slow_calls: 3 };

    /// What becomes of the circuit with calls that began and ended at these milliseconds;
    /// slow are those over ten, and three open it.
    fn check(calls: &[(u64, u64)], expected: &[Option<Change>]) {
        let (breaker, zero) = (Breaker::new(TERMS), Instant::now());
        let at = |millis| zero + Duration::from_millis(millis);
        let changes: Vec<_> =
            calls.iter().map(|&(start, end)| breaker.answered(at(start), at(end))).collect();
        assert_eq!(changes, expected, "{calls:?}");
    }

    #[test]
    fn several_slow_calls_in_a_row_open_it_and_a_quick_one_closes_it() {
        cells::check_alone(|| {
            use Change::{Closed, Opened};
            check(&[(0, 20), (20, 40), (40, 60)], &[None, None, Some(Opened)]);
            check(&[(0, 20), (20, 40), (40, 41), (50, 70), (70, 90)], &[None; 5]);
            check(&[(0, 20), (5, 21), (6, 22), (7, 23), (8, 24)], &[None; 5]);
            let opened = [None, None, Some(Opened), None, Some(Closed), None];
            check(&[(0, 20), (20, 40), (40, 60), (60, 90), (90, 99), (99, 120)], &opened);
        });
    }

    #[test]
    fn a_lost_call_opens_it_once() {
        cells::check_alone(|| {
            let breaker = Breaker::new(Breaking::default());
            assert_eq!((breaker.lost(), breaker.lost()), (Some(Change::Opened), None));
            assert!(breaker.is_open());
            assert_eq!((breaker.close(), breaker.close()), (Some(Change::Closed), None));
            assert_eq!((breaker.is_open(), breaker.opened()), (false, 1));
            let now = Instant::now();
            breaker.lost();
            let later = now + Duration::from_secs(9);
            assert_eq!(breaker.answered(now, later), Some(Change::Closed));
        });
    }

    #[test]
    fn threads_tell_each_change_once_and_leave_nothing_behind() {
        cells::check(|| {
            let (breaker, zero) = (Arc::new(Breaker::new(TERMS)), Instant::now());
            let at = move |millis| zero + Duration::from_millis(millis);
            let slow = |breaker: Arc<Breaker>| {
                move || {
                    let calls = [(0, 20), (20, 40), (40, 60)];
                    calls.map(|(start, end)| breaker.answered(at(start), at(end))).to_vec()
                }
            };
            let quick = |breaker: Arc<Breaker>| {
                move || vec![breaker.lost(), breaker.answered(at(0), at(1)), breaker.close()]
            };
            let threads = [
                thread::spawn(slow(Arc::clone(&breaker))),
                thread::spawn(quick(Arc::clone(&breaker))),
                thread::spawn(quick(Arc::clone(&breaker))),
            ];
            let changes = threads.into_iter().flat_map(|thread| thread.join().unwrap());
            let changes: Vec<Change> = changes.flatten().collect();
            let count = |one| changes.iter().filter(|change| **change == one).count();
            let (opened, closed) = (count(Change::Opened), count(Change::Closed));
            assert_eq!(opened as u64, breaker.opened());
            assert_eq!(opened, closed + usize::from(breaker.is_open()), "{changes:?}");
            breaker.close();
            assert!(!breaker.is_open());
            assert_eq!(breaker.slow.lock().calls, 0, "slow calls of before are held against it");
        });
    }
}
