//! Replays the transcripts of envoyproxy/ratelimit against every store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidegate::app::Core;
use tidegate::clock::{Clock, ManualClock, Timestamp};
use tidegate::rules::SourceFile;
use tidegate::settings::Settings;
use tidegate::sources::files::FileSet;
use tidegate::store::redis::RedisStore;
use tidegate::store::{RefusalCache, Refusals, Store};
use tidegate::telemetry::Page;
use tidegate::wire::json::Json;
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};

use crate::support::certs::Authority;
use crate::support::cluster::RedisCluster;
use crate::support::conversations::conversations;
use crate::support::memcached::MemcachedServer;
use crate::support::redis::RedisServer;
use crate::support::sentinels::Watched;
use crate::support::stores;

/// Error codes that differ on purpose: the reference says UNKNOWN for everything, here
/// the code tells what to do.
const CODES: [(&str, &str); 1] = [("UNKNOWN", "InvalidArgument")];

#[tokio::test]
async fn the_memory_store_answers_as_the_reference() {
    for (name, transcript) in conversations() {
        replay(&name, &transcript, stores::memory()).await;
    }
}

#[tokio::test]
async fn the_redis_store_answers_as_the_reference_and_leaves_the_same_keys() {
    let server = RedisServer::start();
    replay_all(&server, stores::redis(&server).await).await;
}

#[tokio::test]
async fn redis_over_tls_answers_as_the_reference_and_leaves_the_same_keys() {
    let authority = Authority::new();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let server = RedisServer::start_tls(&identity, &authority.ca(), &[]);
    replay_all(&server, stores::over_tls(&server, &authority).await).await;
}

#[tokio::test]
async fn the_primary_of_sentinels_answers_as_the_reference_and_leaves_the_same_keys() {
    let watched = Watched::start();
    replay_all(&watched.servers[0], stores::over_sentinel(&watched).await).await;
}

/// All conversations with one store, which counts in one server.
async fn replay_all(server: &RedisServer, store: RedisStore) {
    let store = Arc::new(store);
    for (name, transcript) in conversations() {
        let _: () = server.command(&["FLUSHALL"]);
        replay(&name, &transcript, Arc::clone(&store)).await;
        if let Some(expected) = transcript.get("redis") {
            let expected = expected.as_array().unwrap().clone();
            assert_eq!(sorted(keys(server)), sorted(expected), "{name}: keys in Redis");
        }
    }
}

#[tokio::test]
async fn the_memcached_store_answers_as_the_reference_and_uses_the_same_keys() {
    let server = MemcachedServer::start();
    let mut replayed = 0;
    for (name, transcript) in conversations() {
        // memcached has no step over several counters.
        if transcript["env"].get("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT").is_some() {
            continue;
        }
        assert_eq!(server.command("flush_all"), ["OK"]);
        replay(&name, &transcript, stores::memcached(&server).await).await;
        if let Some(expected) = transcript.get("redis") {
            // A look leaves nothing behind here, where Redis keeps a zero.
            let expected = expected.as_array().unwrap().iter().filter(|pair| pair[1] != 0);
            let pair = |(key, value): (String, u64)| {
                let (stem, _window) = key.rsplit_once('_').unwrap();
                json!([format!("{stem}_<window>"), value])
            };
            let found = server.counters().into_iter().filter(|(_, value)| *value != 0);
            let found = sorted(found.map(pair).collect());
            assert_eq!(found, sorted(expected.cloned().collect()), "{name}: keys in memcached");
        }
        replayed += 1;
    }
    assert_eq!(replayed, 158);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_answers_as_the_reference_and_leaves_the_same_keys() {
    let cluster = RedisCluster::start();
    for (name, transcript) in conversations() {
        cluster.flush();
        replay(&name, &transcript, stores::cluster(&cluster).await).await;
        if let Some(expected) = transcript.get("redis") {
            let expected = expected.as_array().unwrap().clone();
            let found = cluster.counters().into_iter().map(pair).collect();
            assert_eq!(sorted(found), sorted(expected), "{name}: keys in the cluster");
        }
    }
    assert_eq!(cluster.errors("CROSSSLOT"), 0);
}

#[tokio::test]
async fn a_pair_answers_as_the_reference_and_leaves_the_same_keys() {
    let (main, second) = (RedisServer::start(), RedisServer::start());
    for (name, transcript) in conversations() {
        [&main, &second].iter().for_each(|server| server.command(&["FLUSHALL"]));
        replay(&name, &transcript, stores::per_second(&main, &second).await).await;
        if let Some(expected) = transcript.get("redis") {
            let expected = expected.as_array().unwrap().clone();
            let found = [keys(&main), keys(&second)].concat();
            assert_eq!(sorted(found), sorted(expected), "{name}: keys in both");
        }
    }
}

/// One conversation with one server.
async fn replay<S: Store>(name: &str, transcript: &Value, store: S) {
    let clock = ManualClock::at(Timestamp::from_secs(1_700_000_123));
    let settings = settings(&transcript["env"]);
    let refusals = settings.refusal_cache_bytes.map(|bytes| Refusals::new(bytes, None));
    let store = RefusalCache::new(store, refusals);
    let core = Core::new(&settings, store, Clock::Manual(clock.clone()));
    let mut files: BTreeMap<String, Vec<u8>> = strings(&transcript["rules"]);
    load(&core, &files);
    for (i, step) in transcript["steps"].as_array().unwrap().iter().enumerate() {
        if let Some(request) = step.get("request") {
            let answer = core.front.answer(&message(request)).await;
            let place = format!("{name}, step {i}: {request}");
            match answer {
                Ok(response) => check(&step["expect"], &response, &place),
                Err(failure) => {
                    let expected = step["expect"]["error"].as_str();
                    let code = format!("{:?}", failure.code());
                    let known = CODES
                        .iter()
                        .any(|(theirs, ours)| expected == Some(theirs) && code == *ours);
                    assert!(known, "{place}: {failure} ({code}), expected {:?}", step["expect"]);
                }
            }
        } else if let Some(writes) = step.get("write") {
            for (file, text) in writes.as_object().unwrap() {
                match text.as_str() {
                    Some(text) => files.insert(file.clone(), text.as_bytes().to_vec()),
                    None => files.remove(file),
                };
            }
            load(&core, &files);
        } else {
            clock.advance(Duration::from_secs_f64(step["sleep"].as_f64().unwrap()));
        }
    }
    check_metrics(name, &transcript["metrics"], &core);
}

fn settings(env: &Value) -> Settings {
    let mut env = env.as_object().unwrap().clone();
    env.insert("TIDEGATE_KEY_FORMAT".to_owned(), json!("envoyproxy"));
    env.insert("EXPIRATION_JITTER_MAX_SECONDS".to_owned(), json!("0"));
    Settings::from_lookup(&|name| Some(env.get(name)?.as_str()?.to_owned()), &[]).unwrap()
}

fn strings(object: &Value) -> BTreeMap<String, Vec<u8>> {
    let entries = object.as_object().unwrap().iter();
    entries.map(|(name, text)| (name.clone(), text.as_str().unwrap().as_bytes().to_vec())).collect()
}

fn load<S: Store>(core: &Core<S>, files: &BTreeMap<String, Vec<u8>>) {
    let files =
        files.iter().map(|(name, bytes)| SourceFile { name: name.clone(), bytes: bytes.clone() });
    core.reloader.apply(Ok(FileSet { files: files.collect(), warnings: Vec::new() }));
}

/// The request in the transcripts' short form, through its JSON form.
fn message(request: &Value) -> RateLimitRequest {
    let descriptors = request["descriptors"].as_array().unwrap().iter().map(|descriptor| {
        let entries = descriptor["entries"].as_array().unwrap();
        let entries: Vec<_> =
            entries.iter().map(|pair| json!({"key": pair[0], "value": pair[1]})).collect();
        let mut message = Map::from_iter([("entries".to_owned(), json!(entries))]);
        if let Some(limit) = descriptor.get("limit") {
            let limit = json!({"requestsPerUnit": limit[0], "unit": limit[1]});
            message.insert("limit".to_owned(), limit);
        }
        if let Some(hits) = descriptor.get("hits") {
            message.insert("hitsAddend".to_owned(), hits.clone());
        }
        Value::Object(message)
    });
    let message = json!({
        "domain": request["domain"],
        "descriptors": descriptors.collect::<Vec<_>>(),
        "hitsAddend": request.get("hits").cloned().unwrap_or(json!(0)),
    });
    Json::new().unwrap().request(message.to_string().as_bytes()).unwrap()
}

fn check(expected: &Value, response: &RateLimitResponse, place: &str) {
    let code = |code: i32| if code == 1 { "OK" } else { "OVER_LIMIT" };
    let statuses = response.statuses.iter().map(|status| {
        let mut fields = json!({
            "code": code(status.code),
            "remaining": status.limit_remaining,
            "reset": status.duration_until_reset.is_some_and(|d| d.seconds > 0),
        });
        if let Some(limit) = &status.current_limit {
            fields["limit"] = match limit.name.as_str() {
                "" => json!([limit.requests_per_unit, limit.unit]),
                name => json!([limit.requests_per_unit, limit.unit, name]),
            };
        }
        fields
    });
    let mut actual = json!({
        "overall": code(response.overall_code),
        "statuses": statuses.collect::<Vec<_>>(),
    });
    if !response.response_headers_to_add.is_empty() {
        let headers = response.response_headers_to_add.iter().enumerate();
        let value = |i: usize, value: &str| if i == 2 { "*".to_owned() } else { value.to_owned() };
        actual["headers"] = headers.map(|(i, h)| json!([h.key, value(i, &h.value)])).collect();
    }
    if response.dynamic_metadata.is_some() {
        actual["metadata"] = json_form(response)["dynamicMetadata"].clone();
    }
    assert_eq!(&actual, expected, "{place}");
}

fn json_form(response: &RateLimitResponse) -> Value {
    let text = Json::new().unwrap().response(response).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn check_metrics<S: Store>(name: &str, expected: &Value, core: &Core<S>) {
    let mut page = Page::default();
    core.front.service.metrics.render(&mut page);
    let families = ["total_hits", "over_limit", "near_limit", "within_limit", "shadow_mode"]
        .map(|family| format!("ratelimit_service_rate_limit_{family}{{"));
    let text = page.render();
    let samples = text.lines().filter(|line| {
        families.iter().any(|family| line.starts_with(family))
            || line.starts_with("ratelimit_service_should_rate_limit_error{")
    });
    let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
    let actual: Map<String, Value> = samples
        .map(|(series, value)| (series.to_owned(), json!(value.parse::<f64>().unwrap())))
        .filter(|(_, value)| value.as_f64() != Some(0.0))
        .collect();
    assert_eq!(&Value::Object(actual), expected, "{name}: metrics");
}

/// Every key and its number, the window start replaced.
fn keys(server: &RedisServer) -> Vec<Value> {
    let value = |key: &Vec<u8>| server.command::<i64>(&[b"GET", key.as_slice()]);
    let text = |key: Vec<u8>| String::from_utf8(key).unwrap();
    let keys = server.keys().into_iter().map(|key| (value(&key), text(key)));
    keys.map(|(value, key)| pair((key, value))).collect()
}

/// A key without its window, and what it holds.
fn pair((key, value): (String, i64)) -> Value {
    let (stem, _window) = key.rsplit_once('_').unwrap();
    json!([format!("{stem}_<window>"), value])
}

fn sorted(mut pairs: Vec<Value>) -> Vec<Value> {
    pairs.sort_by_key(ToString::to_string);
    pairs
}
