//! `tidegate` alone: serve until a signal ends it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tidegate::app::{self, Signals};
use tidegate::settings::{SettingErrors, Settings};
use tidegate::telemetry::logs::{self, LogHandle};
use tidegate::telemetry::otel::Exporter;
use tidegate::telemetry::{Errors, panics};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::Layer;

/// Reads the environment and serves.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let settings = match settings() {
        Ok(settings) => settings,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let errors = settings.errors.as_ref().map_or_else(Errors::off, Errors::open);
    let exporter = app::exporter(&settings)?;
    let listeners = errors.layer().map(Layer::boxed).into_iter();
    let listeners =
        listeners.chain(exporter.as_ref().and_then(Exporter::log_layer).map(Layer::boxed));
    let log = logs::init((settings.log.level, settings.log.format), listeners.collect())?;
    let _last_lines = log.guard();
    panics::install();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let signals = listen_to_signals(log.clone()).context("cannot listen to signals")?;
        let listeners = app::open(&settings).await?;
        app::run(settings, listeners, signals, exporter).await
    });
    // What is still running by now is given up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    errors.finish();
    result.map(|()| ExitCode::SUCCESS)
}

/// What the environment says.
///
/// # Errors
///
/// Everything in it that cannot be used.
pub(crate) fn settings() -> Result<Settings, SettingErrors> {
    let names: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let lookup = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    Settings::from_lookup(&lookup, &names)
}

/// SIGTERM drains, SIGINT drains without the delay, the second of either ends at once;
/// SIGHUP reloads the rules.
fn listen_to_signals(log: LogHandle) -> anyhow::Result<Signals> {
    let signals = Signals { log, ..Signals::default() };
    let (mut terminate, mut interrupt, mut hangup) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    );
    let told = signals.clone();
    tokio::spawn(async move {
        loop {
            let shutdown = &told.shutdown;
            let is_second = shutdown.drain.is_cancelled();
            tokio::select! {
                _ = hangup.recv() => {
                    told.reload.notify_one();
                    continue;
                }
                _ = terminate.recv() => shutdown.drain.cancel(),
                _ = interrupt.recv() => {
                    shutdown.drain.cancel();
                    shutdown.stop.cancel();
                }
            }
            if is_second {
                shutdown.abort.cancel();
            }
        }
    });
    Ok(signals)
}
