//! `tidegate` alone: serve until a signal ends it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tidegate::app::{self, Signals};
use tidegate::settings::Settings;
use tidegate::telemetry::logs;
use tokio::signal::unix::{SignalKind, signal};

/// Reads the environment and serves.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let names: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    let settings = match Settings::from_lookup(
        &|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
        &names,
    ) {
        Ok(settings) => settings,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let exporter = app::exporter(&settings)?;
    logs::init(settings.log.level, settings.log.format);
    log_panics();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let signals = listen_to_signals().context("cannot listen to signals")?;
        let listeners = app::open(&settings).await?;
        app::run(settings, listeners, signals, exporter).await
    });
    // What is still running by now is given up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result.map(|()| ExitCode::SUCCESS)
}

/// SIGTERM drains, SIGINT drains without the delay, the second of either ends at once;
/// SIGHUP reloads the rules.
fn listen_to_signals() -> anyhow::Result<Signals> {
    let signals = Signals::default();
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

/// A panic ends the task it happens in, not the process; it is logged like any error.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "a task panicked");
    }));
}
