//! What is remembered is true once all is quiet, whichever thread was where when a counter was
//! given back.

use super::super::cells::{self, thread};
use super::*;
use crate::limiter::{NewOperation, Window};

const RATE: u32 = 10;
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const METER: Meter = Meter {
    algorithm: Algorithm::FixedWindow,
    rate: RATE,
    window: Window::from_secs(60),
    refused: Refused::Spare,
};

/// A counter that is exhausted, and what is remembered of it.
struct Scene {
    refusals: Arc<Refusals>,
    listener: Mutex<Listener>,
    held: Mutex<u64>,
    batch: Batch,
}

impl Scene {
    fn new() -> Arc<Self> {
        let refusals = Arc::new(Refusals::with(1, None, HashKeys::fixed(1)));
        let mut listener = refusals.listener();
        listener.set(true);
        let mut batch = Batch::new(NOW);
        batch.push(NewOperation::alone(METER, Action::Spend(1), 0), |key| key.push(b'k'));
        let (listener, held) = (Mutex::new(listener), Mutex::new(RATE.into()));
        Arc::new(Self { refusals, listener, held, batch })
    }

    /// Asks as the cache does; tells whether that was refused from memory.
    fn ask(&self) -> bool {
        let operation = &self.batch.operations()[0];
        if !self.refusals.is_active() {
            return false;
        }
        let ticket = self.refusals.ticket(&self.batch, operation);
        if self.refusals.recall(operation, &ticket, NOW).is_some() {
            return true;
        }
        let after = *self.held.lock();
        let admitted = after < RATE.into();
        let (wait, source) = (None, Source::Store);
        let count = Count { after, admitted, spent: false, wait, at: NOW, source };
        self.refusals.learn(operation, &ticket, (&count, NOW));
        false
    }

    /// Gives back, and tells.
    fn give_back(&self) {
        *self.held.lock() -= 5;
        let start = METER.window.start(NOW);
        self.refusals.forget(format!("k{start}").as_bytes());
    }

    /// Somebody gives back while nobody hears it.
    fn give_back_unheard(&self) {
        self.listener.lock().set(false);
        *self.held.lock() -= 5;
        self.listener.lock().set(true);
    }
}

fn check(give_back: fn(&Scene)) {
    let scene = Scene::new();
    let asking = |_| {
        let scene = Arc::clone(&scene);
        thread::spawn(move || [scene.ask(), scene.ask()])
    };
    let askers = [0, 1].map(asking);
    let giver = {
        let scene = Arc::clone(&scene);
        thread::spawn(move || give_back(&scene))
    };
    askers.into_iter().for_each(|asker| drop(asker.join()));
    giver.join().unwrap();
    assert!(scene.refusals.is_active());
    assert!(!scene.ask(), "refused from memory what fits");
}

#[test]
fn what_was_asked_for_before_a_give_back_is_not_kept() {
    cells::check(|| check(Scene::give_back));
}

#[test]
fn what_was_asked_for_before_silence_is_not_kept() {
    cells::check(|| check(Scene::give_back_unheard));
}
