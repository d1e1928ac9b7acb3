//! A thread that serves gRPC: a runtime, connections to the store, and connections of
//! clients, all of its own.
//!
//! Nothing that a request needs wakes another thread, and answers that become ready
//! together leave together: this is where a request's cost is decided. Which worker gets a
//! new client is up to `server::deal`.

use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::{Core, Counters, counters};
use crate::server::{Front, GrpcOptions, HealthApi, Host, serve_grpc};
use crate::settings::Settings;

/// A worker at work.
pub(super) struct Worker {
    /// Decides there.
    pub(super) front: Arc<Front<Counters>>,
    /// Its runtime.
    pub(super) runtime: Handle,
    /// Takes clients.
    pub(super) host: Host,
    /// How it ended: after the stop, or because it could not serve.
    pub(super) ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// Starts one.
///
/// # Errors
///
/// The system gives it no thread.
pub(super) async fn start(
    number: usize,
    settings: &Settings,
    core: &Core<Counters>,
    (health, options): (HealthApi, GrpcOptions),
) -> anyhow::Result<Worker> {
    let (host, arrivals) = Host::new();
    let (tell_front, front) = oneshot::channel();
    let (tell_end, ended) = oneshot::channel();
    let (model, settings) = (Arc::clone(&core.front), settings.clone());
    let work = move || -> anyhow::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let counters =
                counters::again(&model.service.store, &settings, &model.service.observer.tracer);
            let front = Arc::new(model.with_store(counters));
            let _ = tell_front.send((Arc::clone(&front), Handle::current()));
            serve_grpc(arrivals, (front, health), options).await
        })
    };
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        // Who does not listen any more has ended.
        let _ = tell_end.send(work());
    })?;
    let (front, runtime) = front.await.context("a worker could not start")?;
    Ok(Worker { front, runtime, host, ended })
}
