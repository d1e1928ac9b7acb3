//! Several ways to the same end, of which the first to get there counts.

use std::io;
use std::time::Duration;

use redis::RedisResult;
use tokio::task::{JoinError, JoinSet};

/// Waits no longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let ended = tokio::time::timeout(limit, attempt).await;
    ended.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}

/// The first success, or the last failure. An attempt begins once the one before it has
/// failed or has been under way for `head_start`; what lost is given up.
pub(super) async fn race<T, F>(
    attempts: impl IntoIterator<Item = F>,
    head_start: Duration,
) -> RedisResult<T>
where
    T: Send + 'static,
    F: Future<Output = RedisResult<T>> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::NotFound).into();
    let mut won = |ended: Result<RedisResult<T>, JoinError>| match ended {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            failure = error;
            None
        }
        Err(_) => None,
    };
    for attempt in attempts {
        running.spawn(attempt);
        tokio::select! {
            Some(ended) = running.join_next() => if let Some(value) = won(ended) {
                return Ok(value);
            },
            () = tokio::time::sleep(head_start) => {}
        }
    }
    while let Some(ended) = running.join_next().await {
        if let Some(value) = won(ended) {
            return Ok(value);
        }
    }
    Err(failure)
}
