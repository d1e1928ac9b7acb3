//! The cells that threads share: locks and atomics.
//!
//! They are those of parking_lot and the standard library. A unit test may compile a file
//! once more beside [`modelled`](self) ones, in which shuttle decides at each step which
//! thread goes on: a file that says `super::cells` takes those that stand above it. Its tests
//! say `check`, and run once or for each of many orders.
//!
//! What is awaited is not modelled: tasks of one thread take turns at awaits alone, which is
//! what the simulation in `tests/it` is about.

pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
#[cfg(test)]
pub(crate) use std::thread;

pub use parking_lot::{Mutex, MutexGuard};

/// Runs a test with threads as they come.
#[cfg(test)]
pub(crate) fn check(test: fn()) {
    test();
}

/// Runs a test that has one thread.
#[cfg(test)]
pub(crate) fn check_alone(test: fn()) {
    test();
}

#[cfg(test)]
pub(crate) mod modelled {
    //! The same cells, in the hands of shuttle.

    use std::sync::PoisonError;

    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};

    pub(crate) use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    pub(crate) use shuttle::thread;

    const SEED: u64 = 7;
    /// Orders by chance, and those in which few changes of thread matter most.
    const RANDOM: usize = 1000;
    const PCT: usize = 1000;
    /// So many changes of thread, as most bugs need no more.
    const CHANGES: usize = 3;

    /// Like that of parking_lot: who panics poisons nothing.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Runs a test for each of many orders of its threads, the same ones each time. An order
    /// that fails is printed; `SHUTTLE_ORDER=...` runs that one.
    pub(crate) fn check(test: fn()) {
        if let Ok(order) = std::env::var("SHUTTLE_ORDER") {
            return shuttle::replay(test, &order);
        }
        let random = RandomScheduler::new_from_seed(SEED, RANDOM);
        Runner::new(random, Config::default()).run(test);
        let pct = PctScheduler::new_from_seed(SEED, CHANGES, PCT);
        Runner::new(pct, Config::default()).run(test);
    }
    /// Runs a test that has one thread.
    pub(crate) fn check_alone(test: fn()) {
        Runner::new(RandomScheduler::new_from_seed(SEED, 1), Config::default()).run(test);
    }
}
