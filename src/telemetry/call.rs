//! One call as telemetry sees it: who asked, since when, and whether it is traced.
//!
//! Nothing is made here for a call of which nobody will be told: the id is made when a line
//! of the log needs it, and what is not sampled has no trace.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use http::HeaderMap;

use super::trace::{Ending, Protocol, Stage, Trace, Tracer};
use crate::limiter::{Source, TraceRef};

/// The header with the caller's name for its request.
pub const REQUEST_ID: &str = "x-request-id";

/// The longest id that is taken from a caller, in bytes; of a longer one the beginning is.
const MAX_ID: usize = 128;

/// A call under way.
#[derive(Debug)]
pub struct Call<'h> {
    headers: Option<&'h HeaderMap>,
    started: Instant,
    id: OnceCell<Box<str>>,
    trace: Option<Box<Trace>>,
}

impl<'h> Call<'h> {
    /// A call that begins now, traced if `tracer` says so.
    pub fn begin(headers: &'h HeaderMap, tracer: &Tracer) -> Self {
        let (trace, started) = (tracer.begin(headers), Instant::now());
        Self { headers: Some(headers), started, id: OnceCell::new(), trace }
    }

    /// One of which nothing is known, begun now.
    pub fn unheard() -> Self {
        Self { headers: None, started: Instant::now(), id: OnceCell::new(), trace: None }
    }

    /// The same as a `POST` to `/json`.
    pub fn over_http(mut self) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.protocol = Protocol::Http;
        }
        self
    }

    /// A header of the caller's.
    pub fn header(&self, name: &str) -> Option<&'h [u8]> {
        Some(self.headers?.get(name)?.as_bytes())
    }

    /// The caller's name for it (`x-request-id`), of which only printable ASCII is taken; one
    /// of our own, if it has none.
    pub fn id(&self) -> &str {
        self.id.get_or_init(|| {
            let given = self.header(REQUEST_ID).unwrap_or_default();
            let taken = given.iter().copied().filter(u8::is_ascii_graphic).take(MAX_ID);
            let text: String = taken.map(char::from).collect();
            match text.is_empty() {
                false => text.into(),
                true => format!("{:032x}", fastrand::u128(..)).into(),
            }
        })
    }

    /// How long it has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The same in milliseconds, to the microsecond, as lines of the log tell it.
    pub fn milliseconds(&self) -> f64 {
        (self.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }

    /// What the store shall tie its own work to, if the call is traced.
    pub fn trace_ref(&self) -> Option<TraceRef> {
        self.trace.as_ref().map(|trace| trace.reference())
    }

    /// Notes that a stage begins, if the call is traced.
    pub fn enter(&mut self, stage: Stage) {
        if let Some(trace) = &mut self.trace {
            trace.enter(stage);
        }
    }

    /// Notes who answered for its counters, if the call is traced.
    pub fn heard(&mut self, sources: impl Iterator<Item = Source>) {
        if let Some(trace) = &mut self.trace {
            sources.for_each(|source| trace.heard(source));
        }
    }

    /// Notes what became of it, if it is traced.
    pub(super) fn note(&self, outcome: impl FnOnce() -> Ending) {
        if let Some(trace) = &self.trace {
            trace.outcome.get_or_init(outcome);
        }
    }
}

/// However it ends: a caller that goes away breaks it off.
impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(trace) = self.trace.take() {
            trace.end();
        }
    }
}
