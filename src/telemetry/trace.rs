//! What is traced of a call: when its stages began.
//!
//! Whether a call is traced is decided once, when it begins; all others cost a look at one
//! number. A trace is written down while the call goes on, and handed over when it has ended.

use std::time::SystemTime;

use http::HeaderMap;
use smallvec::SmallVec;

use crate::limiter::TraceRef;

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The message becomes a request.
    Decode,
    /// The rules say which counters it touches.
    Plan,
    /// The store counts.
    Store,
    /// The counts become an answer.
    Decide,
}

/// A call that is traced.
#[derive(Debug)]
pub struct Trace {
    reference: TraceRef,
    stages: SmallVec<[(Stage, SystemTime); 4]>,
}

impl Trace {
    /// What others tie their work to.
    pub(super) fn reference(&self) -> TraceRef {
        self.reference
    }

    /// A stage begins, and the one before it ends.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stages.push((stage, SystemTime::now()));
    }
}

/// Decides what is traced.
#[derive(Debug, Default)]
pub struct Tracer {}

impl Tracer {
    /// The trace of a call that begins, if it is to be traced.
    pub fn begin(&self, _headers: &HeaderMap) -> Option<Box<Trace>> {
        None
    }
}
