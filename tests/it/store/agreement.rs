//! The two stores answer alike: random histories, asked of both.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tidegate::limiter::Action;
use tidegate::limiter::Action::{GiveBack, Spend};
use tidegate::store::memory::{MemoryConfig, MemoryStore};

use super::{RedisServer, config, connect, values};

const WINDOWS: [u64; 4] = [1, 7, 60, 3600];

/// Seconds since the step before, and operations: key, window, action.
type Step = (u64, Vec<(u8, usize, Action)>);

fn hits() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0_u64..6,
        1 => (1_u64 << 53) - 3..(1 << 53) + 3,
        1 => any::<u64>(),
    ]
}

fn history() -> impl Strategy<Value = Vec<Step>> {
    let action = prop_oneof![3 => hits().prop_map(Spend), 1 => hits().prop_map(GiveBack)];
    let operations = prop::collection::vec((0_u8..3, 0..WINDOWS.len(), action), 0..6);
    prop::collection::vec((prop_oneof![3 => 0_u64..2, 1 => 0_u64..90], operations), 1..25)
}

#[test]
fn memory_and_redis_agree() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = RedisServer::start();
    let mut config = config(&server);
    // Times in histories are made up, those to live are not: let none end within the test.
    config.key_slack_secs = 3600;
    let redis = runtime.block_on(connect(config));

    let settings = ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() };
    let checked = TestRunner::new(settings).run(&history(), |history| {
        server.command::<()>(&["FLUSHALL"]);
        let memory = MemoryStore::new(MemoryConfig::default());
        let mut secs = 1_700_000_000;
        for (passed, operations) in history {
            secs += passed;
            let keys: Vec<String> =
                operations.iter().map(|(key, window, _)| format!("{key}_{window}_")).collect();
            let lines: Vec<_> = operations
                .iter()
                .zip(&keys)
                .map(|((_, window, action), key)| (key.as_str(), WINDOWS[*window], *action))
                .collect();
            let here = runtime.block_on(values(&memory, secs, &lines));
            let there = runtime.block_on(values(&redis, secs, &lines));
            prop_assert_eq!(here, there, "at {} {:?}", secs, lines);
        }
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}
