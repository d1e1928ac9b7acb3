//! Redis is killed, paused, cut off or robbed of its replies under load: every answer comes
//! soon, says what the limits say, and never admits too much; and it mends itself.

mod call;
mod replicas;

use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tokio::task::JoinSet;

use crate::support::clients::{Client, descriptor, post, request};
use crate::support::forward::Forwarder;
use crate::support::process::{Setup, Tidegate, eventually};
use crate::support::redis::RedisServer;

const RULES: &str = "
domain: shop
descriptors:
- {key: user, rate_limit: {unit: year, requests_per_unit: 1000000}}
- {key: few, rate_limit: {unit: year, requests_per_unit: 50}}
- {key: allow, rate_limit: {unit: year, requests_per_unit: 20, on_store_error: allow}}
- {key: deny, rate_limit: {unit: year, requests_per_unit: 20, on_store_error: deny}}
- {key: local, rate_limit: {unit: year, requests_per_unit: 20, on_store_error: local}}
";

/// How long a decision may take.
const DEADLINE: Duration = Duration::from_millis(10);
/// Far more than any answer takes on a busy machine.
const SOON: Duration = Duration::from_secs(1);
/// The same, for the way back.
const MENDED: Duration = Duration::from_secs(10);

/// What happens to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Paused,
    BlackHole,
    LostReplies,
}

/// Redis, what leads there, and who counts in it.
struct World {
    redis: RedisServer,
    way: Forwarder,
    tidegate: Tidegate,
}

impl World {
    async fn new(change: impl FnOnce(Setup) -> Setup) -> Self {
        let redis = RedisServer::start_tcp();
        let way = Forwarder::to(redis.port()).await;
        let setup = Tidegate::with_rules(RULES)
            .env("REDIS_URL", format!("127.0.0.1:{}", way.port()))
            .env("TIDEGATE_DECISION_TIMEOUT", "10ms")
            .env("TIDEGATE_WORKERS", "1");
        let tidegate = change(setup).start();
        Self { redis, way, tidegate }
    }

    fn breaks(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.redis.kill(),
            Fault::Paused => self.redis.pause(),
            Fault::BlackHole => self.way.let_replies_through(false),
            Fault::LostReplies => self.redis.command(&["CLIENT", "KILL", "SKIPME", "yes"]),
        }
    }

    fn mends(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.redis.restart(),
            Fault::Paused => self.redis.resume(),
            Fault::BlackHole => self.way.let_replies_through(true),
            Fault::LostReplies => {}
        }
    }

    /// Waits until no connection is trusted any more: the worker's and that of HTTP.
    fn wait_for_open_circuits(&self) {
        let name = format!("tidegate_circuits_open{{server=\"127.0.0.1:{}\"}}", self.way.port());
        eventually("the circuits are open", || (self.tidegate.metric(&name) == 2.0).then_some(()));
    }
}

/// The machine may be busy while Redis is well; when it is silent, the store gives up first.
fn patient(setup: Setup) -> Setup {
    setup.env("TIDEGATE_DECISION_TIMEOUT", "20s")
}

/// An answer under load.
struct Answer {
    sent: Instant,
    took: Duration,
    key: &'static str,
    code: Result<Code, tonic::Code>,
}

async fn hit(client: Client, key: &'static str) -> Answer {
    let sent = Instant::now();
    let code = client.hit(key, "alice").await.map_err(|status| status.code());
    Answer { sent, took: sent.elapsed(), key, code }
}

/// Two hundred requests a second: one part before the fault, two with it, two after.
async fn under_load(world: &mut World, fault: Fault) -> (Vec<Answer>, Instant) {
    const PART: u32 = 100;
    let client = Client::connect(world.tidegate.grpc()).await;
    let (mut answers, start) = (JoinSet::new(), Instant::now());
    let mut mended = start;
    for number in 0..5 * PART {
        let at = start + number * Duration::from_millis(5);
        tokio::time::sleep_until(at.into()).await;
        answers.spawn(hit(client.clone(), if number % 2 == 0 { "user" } else { "few" }));
        let is_robbed = fault == Fault::LostReplies && (PART..3 * PART).contains(&number);
        if number == PART || (is_robbed && number % 10 == 0) {
            world.breaks(fault);
        }
        if number == 3 * PART {
            world.mends(fault);
            mended = Instant::now();
        }
    }
    let mut all = answers.join_all().await;
    // Whoever is slow to mend is given time.
    while !all.iter().any(|answer| answer.sent > mended && answer.code.is_ok()) {
        assert!(mended.elapsed() < MENDED, "{fault:?}: it does not mend");
        all.push(hit(client.clone(), "user").await);
    }
    (all, mended)
}

async fn withstands(fault: Fault) {
    let mut world = World::new(|setup| setup).await;
    let (answers, mended) = under_load(&mut world, fault).await;
    assert!(world.tidegate.is_running());
    assert!(answers.len() >= 500, "{fault:?}: each call has its answer");
    let admitted = |key| {
        let passed = |answer: &&Answer| answer.key == key && answer.code == Ok(Code::Ok);
        answers.iter().filter(passed).count()
    };
    // A Redis that comes back empty has forgotten.
    let lives = if fault == Fault::Killed { 2 } else { 1 };
    assert!((1..=50 * lives).contains(&admitted("few")), "{fault:?}: {}", admitted("few"));
    if fault != Fault::Killed {
        let keys = world.redis.keys();
        let key = keys.iter().find(|key| String::from_utf8_lossy(key).contains("user")).unwrap();
        let counted: usize = world.redis.command(&[b"GET", key.as_slice()]);
        let passed = admitted("user");
        let unknown = answers.iter().filter(|a| a.key == "user" && a.code.is_err()).count();
        // What passed was counted, and nothing twice: at most what nobody knows of beside it.
        let expected = passed..=passed + unknown;
        assert!(expected.contains(&counted), "{fault:?}: {counted}, not {expected:?}");
    }
    for answer in &answers {
        let expected = [tonic::Code::Unavailable, tonic::Code::DeadlineExceeded];
        let is_one = answer.code.as_ref().err().is_none_or(|code| expected.contains(code));
        assert!(is_one && answer.took < SOON, "{fault:?}: {:?} {:?}", answer.code, answer.took);
    }
    let back = answers.iter().filter(|answer| answer.sent > mended && answer.code.is_ok());
    let back = back.map(|answer| answer.sent + answer.took - mended).min().unwrap();
    assert!(back < MENDED, "{fault:?}: {back:?}");
    report(fault, &answers, back);
}

#[allow(clippy::print_stdout)]
fn report(fault: Fault, answers: &[Answer], back: Duration) {
    let mut took: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    took.sort_unstable();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let failed = answers.iter().filter(|answer| answer.code.is_err()).count();
    let (all, max) = (answers.len(), took[took.len() - 1]);
    let late = took.iter().filter(|took| **took > DEADLINE).count();
    println!(
        "{fault:?}: {all} answers, {failed} errors; p50 {median:?}, p99 {p99:?}, max {max:?}, \
         {late} after more than {DEADLINE:?}; counting again after {back:?}"
    );
    assert!(median < SOON / 10, "{fault:?}: {median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_under_load() {
    withstands(Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_redis_under_load() {
    withstands(Fault::Paused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_under_load() {
    withstands(Fault::BlackHole).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_under_load() {
    withstands(Fault::LostReplies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_circuit_answers_without_redis_and_health_says_so() {
    let mut world = World::new(patient).await;
    let client = Client::connect(world.tidegate.grpc()).await;
    assert!(client.hit("user", "alice").await.is_ok());
    world.breaks(Fault::BlackHole);
    let before = world.way.calls();
    assert!(client.hit("user", "alice").await.is_err());
    world.wait_for_open_circuits();
    let asked = world.way.calls();
    assert!(asked > before, "it was asked until then");
    let start = Instant::now();
    for _ in 0..200 {
        let status = client.hit("user", "alice").await.expect_err("nobody counts");
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.message(), "the store is unavailable");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(world.way.calls(), asked, "and not any more");
    assert!(world.tidegate.log().contains("it is not asked for now"));
    let told = |status: &str, reason: &str| {
        let health = world.tidegate.health();
        let store = health["components"].as_array()?.iter().find(|c| c["name"] == "store")?;
        let is_told = store["reason"].as_str()?.contains(reason);
        (health["status"] == status && is_told).then_some(())
    };
    eventually("health tells of it", || told("degraded", "2 open circuits"));
    world.way.let_replies_through(true);
    eventually("all is well again", || told("ready", ""));
    assert!(client.hit("user", "alice").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_is_answered_and_told() {
    let world = World::new(|setup| patient(setup).env("TIDEGATE_REPLICAS", 2)).await;
    let client = Client::connect(world.tidegate.grpc()).await;
    let ask = async |key: &str| call::ask(world.tidegate.grpc(), key, None).await;
    for key in ["allow", "deny", "local"] {
        let answer = ask(key).await;
        assert_eq!((answer.overall, answer.decided_by), (Some(Code::Ok), None), "{key}");
    }
    world.redis.pause();
    assert!(client.hit("user", "alice").await.is_err());
    world.wait_for_open_circuits();
    let check = async |key: &str, overall: Option<Code>, policy: Option<&str>| {
        let answer = ask(key).await;
        let by = policy.map(|policy| format!("fallback; policy={policy}"));
        assert_eq!((answer.overall, answer.decided_by), (overall, by), "{key}");
    };
    check("user", None, None).await;
    check("allow", Some(Code::Ok), Some("allow")).await;
    check("deny", Some(Code::OverLimit), Some("deny")).await;
    // Of twenty, ten are ours, and half of what was counted is ours too.
    for _ in 0..9 {
        check("local", Some(Code::Ok), Some("local")).await;
    }
    check("local", Some(Code::OverLimit), Some("local")).await;
    // So they are over HTTP.
    let hit = br#"{"domain":"shop","descriptors":[{"entries":[{"key":"deny","value":"eve"}]}]}"#;
    let answer = post(world.tidegate.http(), "/json", hit).expect("an answer");
    assert_eq!(answer.header("x-tidegate-decided-by"), Some("fallback; policy=deny"));
    assert_eq!(answer.status, 429);
    for (policy, decisions) in [("allow", 1.0), ("deny", 2.0), ("local", 10.0)] {
        let name = format!("tidegate_fallback_decisions_total{{policy=\"{policy}\"}}");
        assert_eq!(world.tidegate.metric(&name), decisions, "{policy}");
    }
    let log = world.tidegate.log();
    assert_eq!(log.matches("limits are answered as their on_store_error says").count(), 1, "{log}");

    world.redis.resume();
    let repaid = || world.tidegate.metric("tidegate_local_hits_repaid_total") == 9.0;
    eventually("Redis was told", || repaid().then_some(()));
    let keys = world.redis.keys();
    let key = keys.iter().find(|key| String::from_utf8_lossy(key).contains("local")).unwrap();
    assert_eq!(world.redis.command::<u64>(&[b"GET", key.as_slice()]), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_deadline_is_kept() {
    let world = World::new(|setup| {
        setup.env("TIDEGATE_DECISION_TIMEOUT", "20s").env("TIDEGATE_STORE_TIMEOUT", "20s")
    });
    let world = world.await;
    world.redis.pause();
    for timeout in ["5m", "100m", "1S"] {
        let start = Instant::now();
        let answer = call::ask(world.tidegate.grpc(), "user", Some(timeout)).await;
        assert!(start.elapsed() < Duration::from_secs(10), "{timeout}: {:?}", start.elapsed());
        assert_eq!(answer.overall, None, "{timeout}");
        assert_eq!(answer.status, Some(tonic::Code::DeadlineExceeded), "{timeout}");
        let answer = call::ask(world.tidegate.grpc(), "allow", Some(timeout)).await;
        assert_eq!(answer.overall, Some(Code::Ok), "{timeout}: in time for an answer");
    }
    world.redis.resume();
    let client = Client::connect(world.tidegate.grpc()).await;
    let both = request("shop", [descriptor(&[("user", "a")]), descriptor(&[("few", "a")])]);
    assert_eq!(client.ask(both).await.expect("a decision").overall_code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_one_redis_knows_does_not_wait_for_the_other() {
    const RULES: &str = "
domain: shop
descriptors:
- {key: never, rate_limit: {unit: second, requests_per_unit: 0}}
- {key: user, rate_limit: {unit: year, requests_per_unit: 1000}}
";
    let (main, second) = (RedisServer::start_tcp(), RedisServer::start_tcp());
    let tidegate = Tidegate::with_rules(RULES)
        .redis(&main)
        .env("REDIS_PERSECOND", "true")
        .env("REDIS_PERSECOND_SOCKET_TYPE", "tcp")
        .env("REDIS_PERSECOND_URL", second.url())
        .env("TIDEGATE_DECISION_TIMEOUT", "1s")
        .env("TIDEGATE_STORE_TIMEOUT", "1m")
        .start();
    let client = Client::connect(tidegate.grpc()).await;
    main.pause();
    let both = || request("shop", [descriptor(&[("user", "a")]), descriptor(&[("never", "a")])]);
    let answer = client.ask(both()).await.expect("a decision");
    let codes: Vec<Code> = answer.statuses.iter().map(|status| status.code()).collect();
    assert_eq!(
        (answer.overall_code(), codes),
        (Code::OverLimit, vec![Code::Unknown, Code::OverLimit])
    );
    assert_eq!(tidegate.metric("tidegate_decisions_late_total"), 1.0);
    let alone = client.hit("user", "a").await.expect_err("nobody can say");
    assert_eq!(alone.code(), tonic::Code::DeadlineExceeded);
    main.resume();
}
