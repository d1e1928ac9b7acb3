//! Follows the rule files over time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::scan::{Scan, scan};
use super::{FileSet, FileSource, Options, SourceError, read_consistent, read_scan};

/// Files that did not change for this long are taken to be complete.
const SETTLE: Duration = Duration::from_millis(50);

/// A directory that does not settle is read after this long, come what may. Together with
/// the default poll interval this stays within a second.
const PATIENCE: Duration = Duration::from_millis(550);

impl FileSource {
    /// Calls `on_set` for every new set of files and for every new error, until `cancel`,
    /// and waits for what it returns before it looks again.
    ///
    /// What was delivered by the last [`FileSource::read`] is not new. A notice on
    /// `reload_now` delivers the files at once, new or not. A set with errors of its own is
    /// the caller's to refuse; this only reads.
    pub async fn watch<F: Future<Output = ()>>(
        self,
        reload_now: Arc<Notify>,
        cancel: CancellationToken,
        on_set: impl FnMut(Result<FileSet, SourceError>) -> F,
    ) {
        cancel.run_until_cancelled_owned(self.run(reload_now, on_set)).await;
    }

    async fn run<F: Future<Output = ()>>(
        mut self,
        reload_now: Arc<Notify>,
        mut on_set: impl FnMut(Result<FileSet, SourceError>) -> F,
    ) {
        loop {
            let set = tokio::select! {
                biased;
                () = reload_now.notified() => Some(self.read_now().await),
                () = sleep(self.options.poll_interval) => self.poll().await,
            };
            if let Some(set) = set {
                on_set(set).await;
            }
        }
    }

    /// [`FileSource::read`] without blocking the runtime.
    async fn read_now(&mut self) -> Result<FileSet, SourceError> {
        let set = self.blocking(read_consistent).await;
        self.deliver_unsettled(set)
    }

    /// Looks for changes; gives what is new.
    async fn poll(&mut self) -> Option<Result<FileSet, SourceError>> {
        let mut before = self.scan().await;
        if self.seen.as_ref() == Some(&before) {
            return None;
        }
        let deadline = Instant::now() + PATIENCE;
        let set = loop {
            sleep(SETTLE).await;
            let scan = self.scan().await;
            let late = Instant::now() >= deadline;
            let settled = scan == before;
            if !settled && !late {
                before = scan;
                continue;
            }
            let wanted = scan.clone();
            let set = self.blocking(move |options| read_scan(options, &wanted)).await;
            before = self.scan().await;
            let settled = settled && scan == before;
            if settled || late {
                self.seen = settled.then_some(scan);
                break set;
            }
        };
        let set = self.judge(set);
        self.remember(&set).then_some(set)
    }

    async fn scan(&self) -> Result<Scan, SourceError> {
        self.blocking(scan).await
    }

    /// Does file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Options) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let options = Arc::clone(&self.options);
        let done = tokio::task::spawn_blocking(move || work(&options)).await;
        done.unwrap_or(Err(SourceError::Interrupted))
    }
}
