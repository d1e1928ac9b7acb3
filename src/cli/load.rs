//! `tidegate load`: many calls to a server of `envoy.service.ratelimit.v3`, and what came
//! of them.
//!
//! In a closed loop every call waits for the one before it, which finds the peak. In an
//! open loop calls are planned at a rate whatever the server does, and latency counts from
//! the planned time, so that a stall shows in every call it delays.

mod connection;
mod cpu;
mod keys;
mod messages;
mod pacer;
mod report;
mod schedule;
mod slots;
mod tally;
mod template;
mod worker;
mod zipf;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::sync::{mpsc, watch};

use connection::Target;
use keys::Distribution;
use messages::{Messages, Shape};
use report::Report;
use tally::Tally;
use template::Template;
use worker::{Job, Live, News, Span};

/// What to send, where and how fast.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Descriptors, each `key=value,key=value`. %k is replaced by the key of the call, %i by
    /// the number of the descriptor in its request, %% by %.
    #[arg(required = true, value_name = "KEY=VALUE,..")]
    templates: Vec<Template>,
    /// The domain of the rules.
    #[arg(long)]
    domain: String,
    /// The server's gRPC address: host:port, or the path of a unix socket.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    server: Target,
    /// Connections.
    #[arg(long, default_value_t = 8, value_parser = number(1, 1_000))]
    connections: usize,
    /// The most calls in flight on each connection.
    #[arg(long, default_value_t = 16, value_parser = number(1, 1_000))]
    in_flight: usize,
    /// Plans this many calls a second (an open loop), instead of calling anew when an answer
    /// has come (a closed loop).
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long to call before that.
    #[arg(long, default_value = "1s", value_parser = duration)]
    warm_up: Duration,
    /// How long a call waits for its answer; the server is told.
    #[arg(long, default_value = "1s", value_parser = timeout)]
    timeout: Duration,
    /// Descriptors of a request, from the templates in turn. By default one of each.
    #[arg(long, value_parser = number(1, 1_000))]
    descriptors: Option<usize>,
    /// How many keys there are.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// How calls draw their key: one, uniform, zipf or zipf:EXPONENT.
    #[arg(long, default_value_t = Distribution::Uniform)]
    distribution: Distribution,
    /// Hits of each descriptor; 0 looks without counting.
    #[arg(long, default_value_t = 1)]
    hits: u64,
    /// The same seed draws the same keys.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads that call.
    #[arg(long, default_value_t = 1, value_parser = number(1, 64))]
    threads: usize,
    /// Prints one JSON object, described in docs/load.md.
    #[arg(long)]
    json: bool,
}

/// The most calls in flight on all connections.
const MAX_IN_FLIGHT: usize = 100_000;
/// The longest run.
const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);

/// Calls and prints. It fails when no call got a decision.
pub(crate) fn run(load: Load) -> anyhow::Result<ExitCode> {
    if load.threads > load.connections {
        bail!("{} threads cannot share {} connections", load.threads, load.connections);
    }
    if load.connections * load.in_flight > MAX_IN_FLIGHT {
        bail!("more than {MAX_IN_FLIGHT} calls in flight: fewer --connections or --in-flight");
    }
    if load.duration.is_zero() {
        bail!("a --duration of 0 measures nothing");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&load))?;
    match load.json {
        true => println!("{}", report.json()?),
        false => print!("{}", report.text()?),
    }
    let decided = report.tally.allowed.len() + report.tally.refused.len();
    Ok(if decided > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(load: &Load) -> anyhow::Result<Report> {
    let job = Arc::new(job(load));
    let (news, mut told) = mpsc::unbounded_channel();
    let (begin, span) = watch::channel(None);
    for index in 0..job.threads {
        let (job, news, span) = (Arc::clone(&job), news.clone(), span.clone());
        std::thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || worker::run(&job, index, news, span))?;
    }
    drop(news);
    for _ in 0..job.threads {
        match told.recv().await.context("a thread has ended")? {
            News::Ready => {}
            News::Done(result) => bail!(result.err().context("a thread has ended")?),
        }
    }
    let start = Instant::now();
    let measured = start + load.warm_up;
    let span = Span { start, measured, end: measured + load.duration };
    begin.send_replace(Some(span));
    let watched = watch_over(&job, span).await?;
    let mut sum: Option<Tally> = None;
    for _ in 0..job.threads {
        let News::Done(tally) = told.recv().await.context("a thread has ended")? else { continue };
        match &mut sum {
            None => sum = Some(*tally?),
            Some(sum) => sum.add(&*tally?)?,
        }
    }
    Ok(Report {
        server: load.server.to_string(),
        connections: (load.connections, load.in_flight),
        rate: load.rate,
        threads: load.threads,
        keys: (load.keys, load.distribution),
        descriptors: load.descriptors.unwrap_or(load.templates.len()),
        span: watched.span,
        cpu: watched.cpu,
        interrupted: watched.interrupted,
        tally: sum.context("no thread has run")?,
    })
}

fn job(load: &Load) -> Job {
    let shape = Shape {
        domain: load.domain.clone(),
        templates: load.templates.clone(),
        descriptors: load.descriptors.unwrap_or(load.templates.len()),
        hits: load.hits,
    };
    let keys = if load.distribution == Distribution::One { 1 } else { load.keys };
    Job {
        target: load.server.clone(),
        connections: load.connections,
        in_flight: load.in_flight,
        rate: load.rate,
        threads: load.threads,
        timeout: load.timeout,
        messages: Messages::new(shape, keys),
        keys: (load.distribution, keys, load.seed),
        live: Live::default(),
    }
}

/// What the main thread saw of the span.
struct Watched {
    span: Duration,
    cpu: Option<Duration>,
    interrupted: bool,
}

/// Waits for the end of the span or Ctrl-C, and shows on a terminal how it goes.
async fn watch_over(job: &Job, span: Span) -> anyhow::Result<Watched> {
    let mut second = tokio::time::interval_at(
        tokio::time::Instant::from_std(span.start) + Duration::from_secs(1),
        Duration::from_secs(1),
    );
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut warm = std::pin::pin!(tokio::time::sleep_until(span.measured.into()));
    let mut end = std::pin::pin!(tokio::time::sleep_until(span.end.into()));
    let is_shown = std::io::stderr().is_terminal();
    let mut is_warm = false;
    let mut at_begin = None;
    let mut before = 0;
    let interrupted = loop {
        tokio::select! {
            () = &mut warm, if !is_warm => (is_warm, at_begin) = (true, cpu::used()),
            () = &mut end => break false,
            result = &mut interrupt => break result.is_ok(),
            _ = second.tick(), if is_shown => before = show(&job.live, before),
        }
    };
    job.live.stop.store(interrupted, Ordering::Relaxed);
    if is_shown {
        eprintln!();
    }
    Ok(Watched {
        span: span.end.min(Instant::now()).saturating_duration_since(span.measured),
        cpu: cpu::used().zip(at_begin).map(|(end, begin)| end.saturating_sub(begin)),
        interrupted,
    })
}

/// Overwrites the line of the second before, and returns the calls until now.
fn show(live: &Live, before: u64) -> u64 {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (failed, missed) = (of(&live.failed), of(&live.missed));
    let calls = of(&live.answered) + failed;
    eprint!("\r{}/s, {calls} calls, {failed} failed, {missed} missed   ", calls - before);
    calls
}

fn number(least: u64, most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=most)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e7).contains(&rate) => Ok(rate),
        _ => Err("calls per second are between 0.01 and 10000000".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= MAX_DURATION => Ok(duration),
        Ok(_) => Err("is more than a day".to_owned()),
        Err(error) => Err(format!("{error}; write 10s or 500ms")),
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        timeout if (1..=60_000).contains(&timeout.as_millis()) => Ok(timeout),
        _ => Err("is not between 1ms and 60s".to_owned()),
    }
}
