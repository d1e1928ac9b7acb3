//! Rules from a management server: what is said on the wire, and what comes into force.

mod faults;
mod protocol;
mod rules;
mod tls;

use std::sync::Arc;

use tidegate::app::Core;
use tidegate::clock::Clock;
use tidegate::health::{Facts, XdsFacts};
use tidegate::settings::Settings;
use tidegate::sources::xds::XdsSource;
use tidegate::store::memory::{MemoryConfig, MemoryStore};
use tidegate::telemetry::Page;
use tidegate::wire::json::Json;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::wire::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitUnit,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::support::process::PATIENCE;
use crate::support::xds::Management;

/// Everything between a management server and a decision.
struct Follower {
    core: Core<Arc<MemoryStore>>,
    reload_now: Arc<Notify>,
    _stop: DropGuard,
}

/// Follows the server at `target`, with further `NAME=value` settings.
fn follow(target: impl std::fmt::Display, words: &[&str]) -> Follower {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    words.extend([
        "CONFIG_TYPE=GRPC_XDS_SOTW".to_owned(),
        format!("CONFIG_GRPC_XDS_SERVER_URL={target}"),
        "CONFIG_GRPC_XDS_SERVER_CONNECT_RETRY_INTERVAL=20ms".to_owned(),
        "XDS_CLIENT_BACKOFF_INITIAL_INTERVAL=20ms".to_owned(),
        "XDS_CLIENT_BACKOFF_MAX_INTERVAL=100ms".to_owned(),
    ]);
    let lookup = |name: &str| {
        let value = |word: &String| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned());
        words.iter().find_map(value)
    };
    let settings = Settings::from_lookup(&lookup, &[]).unwrap();
    let store = Arc::new(MemoryStore::new(MemoryConfig { max_counters: 10_000 }));
    let core = Core::new(&settings, store, Clock::System);
    let options = settings.rules.xds.clone().unwrap();
    let source = XdsSource::new(options, Arc::clone(&core.health), Clock::System);
    let (reload_now, stop) = (Arc::new(Notify::new()), CancellationToken::new());
    let reloader = core.reloader.clone();
    let on_set = move |set| {
        let reloader = reloader.clone();
        let applied = tokio::task::spawn_blocking(move || reloader.apply(set));
        async { applied.await.unwrap() }
    };
    tokio::spawn(source.watch(Arc::clone(&reload_now), stop.clone(), on_set));
    Follower { core, reload_now, _stop: stop.drop_guard() }
}

/// A server and a follower of it.
async fn both(words: &[&str]) -> (Management, Follower) {
    let server = Management::start().await;
    let follower = follow(server.address(), words);
    (server, follower)
}

impl Follower {
    /// Waits until the facts are so.
    async fn until(&self, is_so: impl FnMut(&Facts) -> bool) -> Facts {
        let mut facts = self.core.health.watch();
        let waited = timeout(PATIENCE, facts.wait_for(is_so)).await;
        let Ok(found) = waited else { panic!("in vain: {:?}", self.core.health.facts().rules) };
        found.unwrap().clone()
    }

    fn xds(&self) -> XdsFacts {
        self.core.health.facts().rules.xds.unwrap()
    }

    /// Asks with one descriptor of these entries.
    async fn ask(&self, domain: &str, entries: &[(&str, &str)]) -> Code {
        let entries =
            entries.iter().map(|(key, value)| serde_json::json!({"key": key, "value": value}));
        let descriptors = serde_json::json!([{"entries": entries.collect::<Vec<_>>()}]);
        let request = serde_json::json!({"domain": domain, "descriptors": descriptors});
        let message = Json::new().unwrap().request(request.to_string().as_bytes()).unwrap();
        self.core.front.answer(&message).await.unwrap().overall_code()
    }

    /// The rules in force, as `path: limit`.
    fn limits(&self) -> Vec<String> {
        let snapshot = self.core.front.service.rules.load_full().expect("no rules are in force");
        let rules = snapshot.ruleset.rules().iter();
        let shown = rules.map(|rule| match rule.limits.first() {
            Some(named) => {
                let limit = named.limit;
                format!("{}: {}/{}", rule.path, limit.requests_per_unit, limit.unit)
            }
            None => format!("{}: unlimited", rule.path),
        });
        shown.collect()
    }

    /// How often rules were loaded, and how often they were refused.
    fn loads(&self) -> (f64, f64) {
        let mut page = Page::default();
        self.core.front.service.metrics.render(&mut page);
        let page = page.render();
        let count = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.map_or(0.0, |value| value.parse().unwrap())
        };
        (
            count("ratelimit_service_config_load_success"),
            count("ratelimit_service_config_load_error"),
        )
    }
}

/// A domain of that name.
fn config(domain: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitConfig {
    RateLimitConfig { name: domain.to_owned(), domain: domain.to_owned(), descriptors }
}

/// A descriptor without a limit.
fn node(key: &str, value: &str, descriptors: Vec<RateLimitDescriptor>) -> RateLimitDescriptor {
    RateLimitDescriptor {
        key: key.to_owned(),
        value: value.to_owned(),
        descriptors,
        ..RateLimitDescriptor::default()
    }
}

/// A descriptor with a limit per year, so that no test sees a window end.
fn leaf(key: &str, value: &str, requests_per_unit: u32) -> RateLimitDescriptor {
    let unit = RateLimitUnit::Year.into();
    let rate_limit = Some(RateLimitPolicy { unit, requests_per_unit, ..Default::default() });
    RateLimitDescriptor { rate_limit, ..node(key, value, vec![]) }
}

/// The smallest set: one key in one domain.
fn shop(requests_per_unit: u32) -> RateLimitConfig {
    config("shop", vec![leaf("user", "", requests_per_unit)])
}
