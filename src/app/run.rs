//! From start to exit: open, load, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use futures_util::FutureExt as _;

use super::sockets::Sockets;
use super::{Core, Counters, Fronts, counters, notify, otel, probe, series, stats, token, worker};
use crate::clock::Clock;
use crate::server::{
    Doors, Endpoint, GrpcOptions, HealthApi, Host, HttpState, Listener, Shutdown, Token, deal,
    debug_router, http_router, metrics_router, serve_http,
};
use crate::settings::{Prometheus, Settings};
use crate::sources::files::{FileSet, FileSource, SourceError};
use crate::sources::xds::XdsSource;
use crate::sources::{Outcome, Reloader, RuleSet};
use crate::store::{AnyStore, Store as _};
use crate::telemetry::logs::LogHandle;
use crate::telemetry::otel::Exporter;
use crate::telemetry::{ErrorsConfig, Page, Snapshot, Tracer};
use crate::tls::Acceptor;
use crate::wire::json::Json;

/// The rules that are served where none are configured.
const EXAMPLE: &str = include_str!("../../deploy/rules/example.yaml");

/// How long giving back what was leased may take at the end.
const LAST_GIVE_BACK: Duration = Duration::from_secs(1);

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
    /// What must be shown to look inside.
    pub token: Token,
}

/// What reaches a running service from outside.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// It shall end.
    pub shutdown: Shutdown,
    /// It shall read its rules again, changed or not.
    pub reload: Arc<Notify>,
    /// Where it writes its log.
    pub log: LogHandle,
}

/// Opens the sockets that `settings` name.
///
/// # Errors
///
/// An endpoint is taken or cannot be resolved, or there is no TLS or token where there shall be.
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
        token: token::read(settings.admin_token.as_ref())?,
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

/// Runs a service until it has drained; its telemetry goes to `exporter`, if there is one.
///
/// # Errors
///
/// The rules directory is missing at the start, or a listener failed.
pub async fn run(
    mut settings: Settings,
    listeners: Listeners,
    mut signals: Signals,
    exporter: Option<Exporter>,
) -> anyhow::Result<()> {
    // Each part of the store gives up before the fallback does, which has the same deadline.
    settings.limiter.patience = Some(settings.faults.decision_timeout);
    let clock = Clock::System;
    let tracer = Arc::<Tracer>::default();
    let mut sinks = otel::sinks(exporter.as_ref(), &settings.otel);
    sinks.extend(settings.errors.as_ref().and_then(ErrorsConfig::trace_sink));
    tracer.start(settings.otel.formats.clone(), sinks);
    let counters = counters::open(&settings, clock.clone(), &tracer);
    let core = Core::traced(&settings, counters, clock.clone(), tracer);
    let mut tasks = JoinSet::new();
    notify::start(&mut signals, &core.health, &mut tasks);
    load(&settings, &core, &signals, &mut tasks).await?;
    if let Some(tls) = &listeners.tls {
        tasks.spawn(Arc::clone(tls).watch());
    }
    let mut servers = JoinSet::new();
    let doors = (listeners, exporter.as_ref());
    let (sockets, fronts, runtimes) =
        serve(&settings, &core, doors, (&mut servers, &signals)).await?;
    tasks.spawn(notify::live(runtimes, signals.shutdown.drain.clone()));
    tasks.spawn(signals.log.clone().tend());
    keep_store(&fronts, (&core, clock.clone()), &mut tasks);
    let roll = counters::roll(&settings).map(Arc::new);
    if let Some(roll) = &roll {
        tasks.spawn(probe::keep_roll(Arc::clone(&fronts), Arc::clone(roll)));
    }
    let sinks = stats::start(&settings.metrics, fronts, sockets.tls);
    core.health.update(|facts| facts.listening = true);
    tokio::select! {
        // A stop that comes with the drain ends the servers too: that is no break.
        biased;
        () = signals.shutdown.drain.cancelled() => {}
        Some(ended) = servers.join_next() => return ended.context("a listener broke")?,
    }
    notify::stopping();
    drain(&settings, &core, &signals.shutdown, servers).await;
    let store = &core.front.service.store;
    tokio::join!(
        counters::leased(store).give_back_all(clock.now(), LAST_GIVE_BACK),
        probe::leave_roll(store, roll.as_deref(), LAST_GIVE_BACK),
    );
    sinks.finish().await;
    if let Some(exporter) = exporter {
        exporter.finish(otel::LAST_FLUSH).await;
    }
    Ok(())
}

/// Sees to it that rules come, from wherever they do.
async fn load(
    settings: &Settings,
    core: &Core<Counters>,
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
    core: &Core<Counters>,
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
    let replaced = reloader.replaced.clone();
    let applied = tokio::task::spawn_blocking(move || reloader.apply(set)).await;
    tokio::spawn(replaced.freed());
    applied.unwrap_or_else(|_| Outcome::Refused("loading the rules was broken off".to_owned()))
}

fn example() -> FileSet {
    let file = crate::rules::SourceFile {
        name: "example.yaml".to_owned(),
        bytes: EXAMPLE.as_bytes().to_vec(),
    };
    FileSet { files: vec![file], warnings: Vec::new() }
}

fn keep_store(fronts: &Fronts, (core, clock): (&Core<Counters>, Clock), tasks: &mut JoinSet<()>) {
    if let AnyStore::Memory(memory) = counters::innermost(&fronts[0].service.store) {
        tasks.spawn(probe::sweep(Arc::clone(memory), clock.clone()));
    }
    let reserve = fronts[0].service.store.reserve.counters();
    tasks.spawn(probe::sweep(Arc::clone(reserve), clock.clone()));
    tasks.spawn(probe::tend_leases(Arc::clone(fronts), clock));
    tasks.spawn(probe::feel_pulse(Arc::clone(fronts), Arc::clone(&core.pulse)));
    tasks.spawn(probe::watch_store(Arc::clone(fronts), Arc::clone(&core.health)));
}

/// Opens the doors: workers for gRPC, and HTTP beside them.
async fn serve(
    settings: &Settings,
    core: &Core<Counters>,
    (listeners, exporter): (Listeners, Option<&Exporter>),
    (servers, signals): (&mut JoinSet<anyhow::Result<()>>, &Signals),
) -> anyhow::Result<(Sockets, Fronts, Vec<Handle>)> {
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
    let stop = &signals.shutdown.stop;
    let doors = Arc::new(Doors::new(bounds.transport.clone(), bounds.max_message_bytes));
    let sockets = Sockets::new(bounds.max_connections, listeners.tls, doors);
    let (hosts, fronts, runtimes) = workers(settings, core, &sockets, (servers, stop)).await?;
    let (listener, places) = (listeners.grpc, sockets.grpc.clone());
    servers.spawn(deal(listener, places, hosts, stop.clone()).map(Ok));
    let state = http_state(core, &fronts, (&sockets, listeners.token, &signals.log))?;
    let state = match exporter {
        Some(exporter) => otel::metered(state, exporter),
        None => state,
    };
    let mut http = vec![
        (listeners.http, http_router(state.clone()), sockets.http.clone()),
        (listeners.debug, debug_router(state.clone()), sockets.debug.clone()),
    ];
    if let (Some(listener), Some(prometheus)) = (listeners.prometheus, &settings.prometheus) {
        http.push((listener, metrics_router(state, &prometheus.path), sockets.metrics.clone()));
    }
    for (listener, router, places) in http {
        let (gate, stop) = ((places, Arc::clone(&sockets.doors)), stop.clone());
        servers.spawn(serve_http(listener, router, gate, stop).map(Ok));
    }
    Ok((sockets, fronts, runtimes))
}

/// Starts the workers, which end after the stop.
async fn workers(
    settings: &Settings,
    core: &Core<Counters>,
    sockets: &Sockets,
    (servers, stop): (&mut JoinSet<anyhow::Result<()>>, &CancellationToken),
) -> anyhow::Result<(Vec<Host>, Fronts, Vec<Handle>)> {
    let health = HealthApi {
        health: Arc::clone(&core.health),
        metrics: Arc::clone(&core.front.service.metrics),
        stop: stop.clone(),
    };
    let options = GrpcOptions {
        doors: Arc::clone(&sockets.doors),
        tls: sockets.tls.clone(),
        max_connection_age: settings.grpc.max_connection_age,
        max_connection_age_grace: settings.grpc.max_connection_age_grace,
        reflection: settings.grpc.reflection,
    };
    let (mut hosts, mut runtimes) = (Vec::new(), Vec::new());
    let mut fronts = vec![Arc::clone(&core.front)];
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let count = Some(settings.workers).filter(|workers| *workers > 0).unwrap_or_else(cores);
    for number in 0..count {
        let worker =
            worker::start(number, settings, core, (health.clone(), options.clone())).await?;
        hosts.push(worker.host);
        runtimes.push(worker.runtime);
        fronts.push(worker.front);
        servers.spawn(async move { worker.ended.await.context("a worker broke")? });
    }
    Ok((hosts, fronts.into(), runtimes))
}

/// What HTTP answers from.
fn http_state(
    core: &Core<Counters>,
    fronts: &Fronts,
    (sockets, token, log): (&Sockets, Token, &LogHandle),
) -> anyhow::Result<HttpState<Counters>> {
    let (fronts, facts) = (Arc::clone(fronts), Arc::clone(&core.health));
    let (sockets, doors) = (sockets.clone(), Arc::clone(&sockets.doors));
    let activity = Arc::clone(&core.front.activity);
    let heard = log.clone();
    let collect = move |page: &mut Page| {
        let mut snapshot = Snapshot::default();
        series::read(&fronts, sockets.tls.as_deref(), &mut snapshot);
        page.take(&snapshot);
        series::collect(&facts.facts(), &fronts, page);
        sockets.collect(&activity, page);
        series::collect_log(&heard, &fronts, page);
    };
    Ok(HttpState {
        front: Arc::clone(&core.front),
        health: Arc::clone(&core.health),
        json: Json::new()?,
        collect: Arc::new(collect),
        pulse: Arc::clone(&core.pulse),
        pages: Arc::new(Semaphore::new(1)),
        token,
        doors,
        log: log.clone(),
    })
}

/// Fails health, waits for probes to see it, closes the listeners, finishes what is under
/// way.
async fn drain(
    settings: &Settings,
    core: &Core<Counters>,
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
    // What is asked for by now comes before the end.
    if let Some(leases) = &counters::leased(&core.front.service.store).table {
        leases.close();
    }
    let all_gone = async {
        while let Some(ended) = servers.join_next().await {
            if let Err(error) = ended.map_err(anyhow::Error::from).and_then(|ended| ended) {
                tracing::error!("a listener broke: {error:#}");
            }
        }
    };
    let how = tokio::select! {
        () = all_gone => "every connection has gone",
        () = Arc::clone(&core.front.activity).quiet() => "nothing is under way",
        () = tokio::time::sleep(times.grace) => "the grace period is over",
        () = shutdown.abort.cancelled() => "a second signal came",
    };
    tracing::info!(how, "stopped");
}
