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

#[cfg(test)]
mod tests {
    use redis::RedisError;
    use tokio::time::{Duration, Instant, sleep};

    use super::*;

    /// An attempt that ends after so many milliseconds, well or not.
    async fn attempt(millis: u64, end: Result<u8, &'static str>) -> RedisResult<u8> {
        sleep(Duration::from_millis(millis)).await;
        end.map_err(|text| RedisError::from(io::Error::other(text)))
    }

    async fn check<const N: usize>(
        attempts: [(u64, Result<u8, &'static str>); N],
        expected: Result<u8, &str>,
        millis: u64,
    ) {
        let start = Instant::now();
        let attempts = attempts.map(|(millis, end)| attempt(millis, end));
        let ended = race(attempts, Duration::from_millis(100)).await;
        assert_eq!(ended.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        assert_eq!(start.elapsed().as_millis(), u128::from(millis));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_counts() {
        check([(10, Ok(1)), (0, Ok(2))], Ok(1), 10).await;
        check([(10, Err("one")), (10, Ok(2))], Ok(2), 20).await;
        check([(9_000, Ok(1)), (10, Ok(2))], Ok(2), 110).await;
        check([(150, Ok(1)), (500, Ok(2))], Ok(1), 150).await;
        check([(9_000, Ok(1)), (10, Err("two")), (10, Ok(3))], Ok(3), 120).await;
        check([(10, Err("one")), (10, Err("two"))], Err("two"), 20).await;
        check([(300, Err("one")), (10, Err("two"))], Err("one"), 300).await;
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let start = Instant::now();
        let ended = within(Duration::from_secs(1), attempt(5_000, Ok(1))).await;
        assert!(ended.is_err_and(|error| error.is_timeout()));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }
}
