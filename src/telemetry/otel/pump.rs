//! What moves telemetry: a loop for each signal, all on the one thread that sends.

use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use super::queue::Queue;
use super::signal::{Metrics, Signal};
use super::{Pages, page};
use crate::clock::{Clock, Timestamp};

/// Sends what comes into the queue, portion by portion, until the stop; then what is left.
pub(super) async fn run<T: Send, S: Signal>(
    queue: Arc<Queue<T>>,
    mut client: Client<S>,
    make: impl Fn(Vec<T>) -> Vec<S::Item> + Send,
) {
    let stop = client.stop.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(queue.batching.delay) => {}
            () = queue.ready() => {}
            () = stop.cancelled() => {}
        }
        let is_last = stop.is_cancelled();
        loop {
            let batch = queue.take();
            if batch.is_empty() {
                break;
            }
            let count = batch.len() as u64;
            if !client.send(make(batch)).await {
                queue.dropped.add(count);
            }
        }
        if is_last {
            break;
        }
    }
}

/// Reports all metrics whenever they are due, and once more after the stop.
pub(super) async fn report(pages: Arc<Pages>, mut client: Client<Metrics>, interval: Duration) {
    let stop = client.stop.clone();
    let since = Clock::System.now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = stop.cancelled() => {}
        }
        let is_last = stop.is_cancelled();
        if let Some(metrics) = read(&pages, since).await
            && !client.send(metrics).await
        {
            pages.dropped.add(1);
        }
        if is_last {
            break;
        }
    }
}

async fn read(
    pages: &Pages,
    since: Timestamp,
) -> Option<Vec<opentelemetry_proto::tonic::metrics::v1::Metric>> {
    let source = Arc::clone(pages.source.get()?);
    let text = tokio::task::spawn_blocking(move || source()).await.ok()?;
    Some(page::metrics(&text, (since, Clock::System.now())))
}
