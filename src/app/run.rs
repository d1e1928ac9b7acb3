//! From start to exit: open, load, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::sockets::Sockets;
use super::{Core, probe, series, stats};
use crate::clock::Clock;
use crate::limiter::KeyFormat;
use crate::server::{
    Endpoint, GrpcOptions, HealthApi, HttpState, Listener, Shutdown, debug_router, http_router,
    metrics_router, serve_grpc, serve_http,
};
use crate::settings::{self, Prometheus, Settings};
use crate::sources::files::{FileSet, FileSource, SourceError};
use crate::sources::xds::XdsSource;
use crate::sources::{Outcome, Reloader, RuleSet};
use crate::store::memcached::MemcachedStore;
use crate::store::memory::{MemoryConfig, MemoryStore};
use crate::store::redis::{PerSecondStore, RedisConfig, RedisStore};
use crate::store::{AnyStore, RefusalCache, Refusals, Store as _};
use crate::telemetry::Snapshot;
use crate::tls::Acceptor;
use crate::wire::json::Json;

/// The rules that are served where none are configured.
const EXAMPLE: &str = include_str!("../../deploy/rules/example.yaml");

/// How far the clocks of replicas may be apart before a slow one misses a counter that a
/// fast one began. With the envoyproxy key format counters live as long as they do there.
const CLOCK_SLACK_SECS: u64 = 10;

/// The sockets of a service.
#[derive(Debug)]
pub struct Listeners {
    /// The gRPC protocol.
    pub grpc: Listener,
    /// `/json`, `/healthcheck`, `/health`, `/metrics`.
    pub http: Listener,
    /// What is in force.
    pub debug: Listener,
    /// `/metrics` by another port, for deployments made for it.
    pub prometheus: Option<Listener>,
    /// Shakes hands with connections of the gRPC protocol.
    pub tls: Option<Arc<Acceptor>>,
}

/// What reaches a running service from outside.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// It shall end.
    pub shutdown: Shutdown,
    /// It shall read its rules again, changed or not.
    pub reload: Arc<Notify>,
}

/// Opens the sockets that `settings` name.
///
/// # Errors
///
/// An endpoint is taken or cannot be resolved, or there is no TLS where there shall be.
pub async fn open(settings: &Settings) -> anyhow::Result<Listeners> {
    // A listener that cannot serve TLS must not come up.
    let tls = match settings.grpc.tls.clone() {
        Some(tls) => {
            let opened = Acceptor::open(tls).await;
            Some(Arc::new(opened.context("cannot serve TLS on the gRPC listener")?))
        }
        None => None,
    };
    Ok(Listeners {
        tls,
        grpc: listener("gRPC", settings.grpc.listen.clone()).await?,
        http: listener("HTTP", Endpoint::Tcp(settings.http.clone())).await?,
        debug: listener("debug", Endpoint::Tcp(settings.debug.clone())).await?,
        prometheus: match &settings.prometheus {
            Some(Prometheus { address, .. }) => {
                Some(listener("metrics", Endpoint::Tcp(address.clone())).await?)
            }
            None => None,
        },
    })
}

async fn listener(name: &str, endpoint: Endpoint) -> anyhow::Result<Listener> {
    let opened = Listener::open(&endpoint).await;
    opened.with_context(|| format!("cannot open the {name} listener on {endpoint}"))
}

/// Runs a service until it has drained.
///
/// # Errors
///
/// The rules directory is missing at the start, or a listener failed.
pub async fn run(settings: Settings, listeners: Listeners, signals: Signals) -> anyhow::Result<()> {
    let clock = Clock::System;
    let refusals = refusals(&settings).map(Arc::new);
    let store = RefusalCache { store: store(&settings, refusals.clone()), refusals };
    let core = Core::new(&settings, store, clock.clone());
    let mut tasks = JoinSet::new();
    load(&settings, &core, &signals, &mut tasks).await?;
    keep_store(&core, clock, &mut tasks);
    if let Some(tls) = &listeners.tls {
        tasks.spawn(Arc::clone(tls).watch());
    }
    let sinks = stats::start(&settings.metrics, &core, listeners.tls.clone());
    let mut servers = serve(&settings, &core, listeners, &signals.shutdown.stop)?;
    core.health.update(|facts| facts.listening = true);
    tokio::select! {
        // A stop that comes with the drain ends the servers too: that is no break.
        biased;
        () = signals.shutdown.drain.cancelled() => {}
        Some(ended) = servers.join_next() => return ended.context("a listener broke")?,
    }
    drain(&settings, &core, &signals.shutdown, servers).await;
    sinks.finish().await;
    Ok(())
}

/// What is refused from memory. Redis tells what other processes give back, though messages
/// may be lost between the nodes of a cluster; memcached does not.
fn refusals(settings: &Settings) -> Option<Refusals> {
    let max_age = match &settings.store {
        settings::Store::Memory { .. } => None,
        settings::Store::Redis { .. } => Some(Duration::from_secs(10)),
        settings::Store::Memcached(_) => Some(Duration::from_secs(1)),
    };
    settings.refusal_cache_bytes.map(|bytes| Refusals::new(bytes, max_age))
}

fn store(settings: &Settings, refusals: Option<Arc<Refusals>>) -> AnyStore {
    match &settings.store {
        settings::Store::Memory { max_counters } => {
            tracing::info!(max_counters, "counting in memory: counters end with this process");
            let max_counters = *max_counters;
            AnyStore::Memory(Arc::new(MemoryStore::new(MemoryConfig { max_counters })))
        }
        settings::Store::Redis { main, per_second, .. } => {
            let with_slack = |config: &RedisConfig| {
                let key_slack_secs = key_slack_secs(settings);
                RedisConfig { key_slack_secs, ..config.clone() }
            };
            tracing::info!(address = main.describe(), "counting in Redis");
            let Some(per_second) = per_second else {
                return AnyStore::Redis(RedisStore::connect_for(with_slack(main), refusals));
            };
            tracing::info!(address = per_second.describe(), "and limits per second in another");
            let both =
                PerSecondStore::connect_for(with_slack(main), with_slack(per_second), refusals);
            AnyStore::PerSecond(both)
        }
        settings::Store::Memcached(config) => {
            tracing::info!(servers = config.describe(), "counting in memcached");
            let mut config = config.clone();
            config.key_slack_secs = key_slack_secs(settings);
            AnyStore::Memcached(MemcachedStore::connect(config))
        }
    }
}

fn key_slack_secs(settings: &Settings) -> u64 {
    match settings.limiter.keys.format {
        KeyFormat::Tidegate => CLOCK_SLACK_SECS,
        KeyFormat::Envoyproxy => 0,
    }
}

/// Sees to it that rules come, from wherever they do.
async fn load(
    settings: &Settings,
    core: &Core<RefusalCache<AnyStore>>,
    signals: &Signals,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    match &settings.rules.xds {
        None => load_files(settings, core, signals, tasks).await,
        Some(options) => {
            tracing::info!(server = %options.target, "rules come from a management server");
            let health = Arc::clone(&core.health);
            let source = XdsSource::new(options.clone(), health, core.reloader.clock.clone());
            let reload = Arc::clone(&signals.reload);
            let stop = signals.shutdown.stop.clone();
            let reloader = core.reloader.clone();
            tasks.spawn(source.watch(reload, stop, move |set| apply(reloader.clone(), set)));
            Ok(())
        }
    }
}

/// Loads the rule files for the first time and watches them from then on.
async fn load_files(
    settings: &Settings,
    core: &Core<RefusalCache<AnyStore>>,
    signals: &Signals,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let mut source = FileSource::new(settings.rules.files.clone());
    let (source, set) = tokio::task::spawn_blocking(move || {
        let set = source.read();
        (source, set)
    })
    .await?;
    match set {
        Err(SourceError::Missing(directory)) if settings.rules.is_default => {
            tracing::warn!(
                directory = %directory.display(),
                "no rules are configured: serving the example rules; set RUNTIME_ROOT to yours"
            );
            tracing::info!("try: tidegate hit --domain shop user=alice,path=/checkout");
            core.reloader.apply(Ok(example()));
            return Ok(());
        }
        Err(error @ SourceError::Missing(_)) => {
            return Err(error).context("set RUNTIME_ROOT, RUNTIME_SUBDIRECTORY and RUNTIME_APPDIRECTORY to where the rules are");
        }
        set => drop(core.reloader.apply(set)),
    }
    let reloader = core.reloader.clone();
    let on_set = move |set| {
        let applied = apply(reloader.clone(), set);
        async move { drop(applied.await) }
    };
    let reload = Arc::clone(&signals.reload);
    let stop = signals.shutdown.stop.clone();
    tasks.spawn(source.watch(reload, stop, on_set));
    Ok(())
}

/// Compiling many rules takes a while, and must not hold up requests.
async fn apply<S>(reloader: Reloader, set: Result<S, S::Error>) -> Outcome
where
    S: RuleSet<Error: Send> + Send + 'static,
{
    let applied = tokio::task::spawn_blocking(move || reloader.apply(set)).await;
    applied.unwrap_or_else(|_| Outcome::Refused("loading the rules was broken off".to_owned()))
}

fn example() -> FileSet {
    let file = crate::rules::SourceFile {
        name: "example.yaml".to_owned(),
        bytes: EXAMPLE.as_bytes().to_vec(),
    };
    FileSet { files: vec![file], warnings: Vec::new() }
}

fn keep_store(core: &Core<RefusalCache<AnyStore>>, clock: Clock, tasks: &mut JoinSet<()>) {
    let (front, health) = (Arc::clone(&core.front), Arc::clone(&core.health));
    if let AnyStore::Memory(memory) = &front.service.store.store {
        tasks.spawn(probe::sweep(Arc::clone(memory), clock));
    }
    tasks.spawn(async move { probe::watch_store(&front.service.store.store, health).await });
}

fn serve(
    settings: &Settings,
    core: &Core<RefusalCache<AnyStore>>,
    listeners: Listeners,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    tracing::info!(
        grpc = listeners.grpc.address(),
        http = listeners.http.address(),
        debug = listeners.debug.address(),
        metrics = listeners.prometheus.as_ref().map(Listener::address),
        store = core.front.service.store.name(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let bounds = &settings.bounds;
    let sockets = Sockets::new(bounds.max_connections, listeners.tls);
    let mut servers = JoinSet::new();
    let health = HealthApi {
        health: Arc::clone(&core.health),
        metrics: Arc::clone(&core.front.service.metrics),
        stop: stop.clone(),
    };
    let options = GrpcOptions {
        max_message_bytes: bounds.max_message_bytes,
        places: sockets.grpc.clone(),
        tls: sockets.tls.clone(),
        max_connection_age: settings.grpc.max_connection_age,
        max_connection_age_grace: settings.grpc.max_connection_age_grace,
        reflection: settings.grpc.reflection,
    };
    let services = (Arc::clone(&core.front), health);
    servers.spawn(serve_grpc(listeners.grpc, services, options, stop.clone()));
    let state = HttpState {
        front: Arc::clone(&core.front),
        health: Arc::clone(&core.health),
        json: Json::new()?,
        collect: {
            let (front, health) = (Arc::clone(&core.front), Arc::clone(&core.health));
            let sockets = sockets.clone();
            Arc::new(move |page| {
                let store = &front.service.store;
                let mut snapshot = Snapshot::default();
                series::read(store, sockets.tls.as_deref(), &mut snapshot);
                page.take(&snapshot);
                series::collect(&health.facts(), store, page);
                sockets.collect(page);
            })
        },
    };
    let mut http = vec![
        (listeners.http, http_router(state.clone(), bounds.max_message_bytes), sockets.http),
        (listeners.debug, debug_router(state.clone()), sockets.debug),
    ];
    if let (Some(listener), Some(prometheus)) = (listeners.prometheus, &settings.prometheus) {
        http.push((listener, metrics_router(state, &prometheus.path), sockets.metrics));
    }
    for (listener, router, places) in http {
        let stop = stop.clone();
        servers.spawn(async move {
            serve_http(listener, router, places, stop).await;
            Ok(())
        });
    }
    Ok(servers)
}

/// Fails health, waits for probes to see it, closes the listeners, finishes what is under
/// way.
async fn drain(
    settings: &Settings,
    core: &Core<RefusalCache<AnyStore>>,
    shutdown: &Shutdown,
    mut servers: JoinSet<anyhow::Result<()>>,
) {
    let times = &settings.shutdown;
    tracing::info!(delay = ?times.drain_delay, "draining: health is NOT_SERVING, requests are still answered");
    core.health.update(|facts| facts.draining = true);
    tokio::select! {
        () = tokio::time::sleep(times.drain_delay) => {}
        () = shutdown.stop.cancelled() => {}
        () = shutdown.abort.cancelled() => {}
    }
    shutdown.stop.cancel();
    let all_gone = async { while servers.join_next().await.is_some() {} };
    let how = tokio::select! {
        () = all_gone => "every connection has gone",
        () = Arc::clone(&core.front.activity).quiet() => "nothing is under way",
        () = tokio::time::sleep(times.grace) => "the grace period is over",
        () = shutdown.abort.cancelled() => "a second signal came",
    };
    tracing::info!(how, "stopped");
}
