//! Lines on their way to standard error.
//!
//! Whoever speaks copies its line and goes on; one thread writes. What waits is bounded in
//! bytes: a reader that stalls costs lines, which are counted, and never time.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// The bytes that wait at most; as many again may be under way.
const CAPACITY: usize = 1 << 20;

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There are lines.
    news: Condvar,
    /// There are none, and none are under way.
    done: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
}

impl Queue {
    /// A queue whose lines a thread of its own writes to `output`, as long as the process lives.
    ///
    /// # Errors
    ///
    /// There is no thread to be had.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let writer = Arc::clone(&queue);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write(output))?;
        Ok(queue)
    }

    /// Takes a line, or drops and counts it.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.waiting.len() + line.len() > CAPACITY {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.news.notify_one();
    }

    /// How many lines nobody will read.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until every line taken so far is written, for `patience` at most.
    pub(super) fn flush(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut state = self.state.lock();
        while state.is_writing || !state.waiting.is_empty() {
            if self.done.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }

    fn write(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        loop {
            let mut state = self.state.lock();
            state.is_writing = false;
            while state.waiting.is_empty() {
                self.done.notify_all();
                self.news.wait(&mut state);
            }
            std::mem::swap(&mut state.waiting, &mut lines);
            state.is_writing = true;
            drop(state);
            if output.write_all(&lines).and_then(|()| output.flush()).is_err() {
                let lost = lines.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            }
            lines.clear();
        }
    }
}

/// The queue as the form of lines wants it: each line is handed over in one piece.
#[derive(Clone, Debug)]
pub(super) struct Lines(pub(super) Arc<Queue>);

/// Where one line goes.
pub(super) struct Line<'q>(&'q Queue);

impl<'q> MakeWriter<'q> for Lines {
    type Writer = Line<'q>;

    fn make_writer(&'q self) -> Line<'q> {
        Line(&self.0)
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Tells what is written to it, and waits until somebody listens.
    struct Told(SyncSender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_vec());
            sent.map(|()| bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Arc<Queue>, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(0);
        (Queue::start(Told(sender)).unwrap_or_default(), receiver)
    }

    #[test]
    fn what_a_stalled_reader_has_no_room_for_is_counted_and_holds_nobody_up() {
        let (queue, reader) = queue();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..4096 {
            queue.push(&line);
        }
        let dropped = queue.dropped();
        assert!((2048..=3072).contains(&dropped), "{dropped}");
        // What had room is read to the last line once somebody reads.
        let mut read = 0;
        while read < (4096 - dropped as usize) * 1024 {
            read += reader.recv().map_or(0, |bytes| bytes.len());
        }
        queue.flush(Duration::from_secs(20));
        queue.push(b"after it\n");
        assert_eq!(reader.recv().ok().as_deref(), Some(&b"after it\n"[..]));
    }

    #[test]
    fn a_reader_that_has_gone_costs_lines_only() {
        let (queue, reader) = queue();
        drop(reader);
        queue.push(b"one\ntwo\n");
        queue.flush(Duration::from_secs(20));
        assert_eq!(queue.dropped(), 2);
    }

    #[test]
    fn nobody_waits_longer_than_patience_for_a_stalled_reader() {
        let (queue, _reader) = queue();
        queue.push(b"one\n");
        queue.flush(Duration::from_millis(1));
        assert_eq!(queue.dropped(), 0);
    }
}
