//! Whatever threads do at once, each hit that was granted is spent, held, on its way back or
//! lost, and none of them twice.

use super::super::cells::{self, thread};
use super::*;
use crate::limiter::{NewOperation, Refused, Source, Window};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const METER: Meter = Meter {
    algorithm: Algorithm::SlidingWindow,
    rate: 10_000,
    window: Window::from_secs(3600),
    refused: Refused::Spare,
};

/// A counter with a block, of which two can be held.
struct Scene {
    table: Arc<LeaseTable>,
    name: u128,
    batch: Batch,
}

impl Scene {
    /// A counter without a block.
    fn empty() -> Arc<Self> {
        let config = LeaseConfig { period: HOUR, max_leases: 1, replicas: 1 };
        let table = Arc::new(LeaseTable::keyed(config, HashKeys::fixed(1)));
        let mut batch = Batch::new(NOW);
        batch.push(NewOperation::alone(METER, Action::Spend(20), 0), |key| key.push(b'k'));
        let name = table.name(&batch, &batch.operations()[0]);
        Arc::new(Self { table, name, batch })
    }

    fn new() -> Arc<Self> {
        let scene = Self::empty();
        scene.ask();
        assert!(scene.table.stats(NOW).unspent > 0, "no block was granted");
        scene
    }

    fn count() -> Count {
        let wait = Some(HOUR);
        Count { after: 20, admitted: true, spent: true, wait, at: NOW, source: Source::Store }
    }

    /// The store has answered; who then asks for a block gets one.
    fn ask(&self) {
        let asked = (&self.batch, &self.batch.operations()[0]);
        let order = self.table.learn(self.name, asked, &Self::count());
        grant(order);
    }

    fn spend(&self) -> Option<Spent> {
        let asked = (&self.batch, &self.batch.operations()[0]);
        let (spent, order) = self.table.spend(self.name, asked);
        grant(order);
        spent
    }

    fn spend_twice(&self) {
        self.spend();
        self.spend();
    }

    fn spend_and_put_back(&self) {
        let spent = self.spend();
        spent.into_iter().for_each(|spent| self.table.put_back(self.name, &spent, (20, NOW)));
    }

    fn end(&self) {
        self.table.close();
        self.table.shards().for_each(|shard| self.table.empty(shard));
    }
}

fn grant(order: Option<Order>) {
    let granted = |mut order: Order| order.settle(Outcome::Granted(Scene::count()));
    order.into_iter().for_each(granted);
}

fn check(scene: &Arc<Scene>, acts: [fn(&Scene); 3]) {
    let threads = acts.map(|act| {
        let scene = Arc::clone(scene);
        thread::spawn(move || act(&scene))
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let stats = scene.table.stats(NOW);
    let returns: u64 = scene.table.returns.lock().iter().map(|one| one.hits).sum();
    let found = stats.spent + stats.unspent + returns + stats.lost;
    assert_eq!(stats.taken, found, "{returns} are on their way back, {stats:?}");
    let held = scene.table.shards.iter().map(|shard| shard.0.lock().entries.len()).sum::<usize>();
    assert_eq!(held, scene.table.entries.load(Relaxed));
    assert!(held <= 1);
}

#[test]
fn spenders_share_a_block() {
    cells::check(|| {
        let acts = [Scene::spend_twice, Scene::spend_twice, Scene::spend_and_put_back];
        check(&Scene::new(), acts);
    });
}

#[test]
fn what_is_put_back_while_the_end_comes_is_not_lost_twice() {
    cells::check(|| {
        check(&Scene::new(), [Scene::spend_and_put_back, Scene::ask, Scene::end]);
    });
}

#[test]
fn a_block_that_comes_after_the_end_goes_back() {
    cells::check(|| check(&Scene::empty(), [Scene::ask, Scene::ask, Scene::end]));
}

#[test]
fn sweeping_leaves_nothing_behind() {
    cells::check(|| {
        let sweep = |scene: &Scene| {
            let mut later = Moment::of(NOW);
            later.tick += HOUR * 3;
            scene.table.shards().for_each(|shard| scene.table.sweep(shard, &later));
        };
        check(&Scene::new(), [Scene::spend_and_put_back, Scene::ask, sweep]);
    });
}
