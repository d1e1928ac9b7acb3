//! What is traced of a call: when its stages began, and what became of it.
//!
//! Whether a call is traced is decided once, when it begins: a look at one number if nobody
//! wants traces, a look at the caller's headers otherwise. What is not traced allocates
//! nothing. A trace is written down while the call goes on, and handed to whoever wanted it
//! when the call has ended, however it did. It holds no value of a descriptor.
//!
//! Who wants traces and where they go from there is for a [`TraceSink`] to know.

mod caller;
mod ending;
mod round_trip;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use smallvec::SmallVec;

pub use caller::{Caller, Format, Formats};
pub use ending::{Ending, Status};
pub use round_trip::{RoundTrip, RoundTrips};

use crate::clock::{Clock, Timestamp};
use crate::limiter::{Source, TraceRef};

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

impl Stage {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Plan => "plan",
            Self::Store => "store",
            Self::Decide => "decide",
        }
    }
}

/// How a call came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// As a call of the rate limit service.
    #[default]
    Grpc,
    /// As a `POST` to `/json`.
    Http,
}

/// Gets traces.
pub trait TraceSink: Send + Sync + std::fmt::Debug {
    /// Whether it wants the trace of a call that begins: what the caller says of its own, if
    /// anything, and the number that the trace will have. Called for each call, so it must be
    /// quick and allocate nothing.
    fn wants(&self, caller: Option<&Caller>, trace: u128) -> bool;

    /// A call that it wanted has ended. It must not wait for anything.
    fn ended(&self, trace: &Arc<Trace>);

    /// A store was asked for calls, at least one of which it wanted. It must not wait.
    fn asked(&self, trip: RoundTrip) {
        drop(trip);
    }
}

/// The sinks of a tracer; which of them want a trace are bits of a number.
type Sinks = Arc<[Arc<dyn TraceSink>]>;

/// A call that is traced.
#[derive(Debug)]
pub struct Trace {
    /// The number of the trace.
    pub id: u128,
    /// The number of the call's span.
    pub span: u64,
    /// The number of the span of the stage [`Stage::Store`], which the store's own work is
    /// tied to.
    pub store_span: u64,
    /// What the caller said of its own.
    pub caller: Option<Caller>,
    /// How it came.
    pub protocol: Protocol,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The stages that it reached, each with how long after its begin.
    pub stages: SmallVec<[(Stage, Duration); 4]>,
    /// What became of it; nothing, if it was broken off.
    pub outcome: OnceLock<Ending>,
    sources: u8,
    started: Instant,
    wanted: u8,
    sinks: Sinks,
}

impl Trace {
    /// What others tie their work to.
    pub(super) fn reference(&self) -> TraceRef {
        TraceRef { trace: self.id, span: self.store_span, wanted: self.wanted }
    }

    /// A stage begins, and the one before it ends.
    pub(super) fn enter(&mut self, stage: Stage) {
        self.stages.push((stage, self.started.elapsed()));
    }

    /// Somebody answered for a counter.
    pub(super) fn heard(&mut self, source: Source) {
        self.sources |= 1 << source as u8;
    }

    /// Who answered for its counters, each once.
    pub fn sources(&self) -> impl Iterator<Item = Source> {
        let all =
            [Source::Store, Source::RefusalCache, Source::Lease, Source::Fallback, Source::Nobody];
        all.into_iter().filter(|source| self.sources & (1 << *source as u8) != 0)
    }

    /// The call has ended.
    pub(super) fn end(mut self: Box<Self>) {
        self.took = self.started.elapsed();
        let sinks = Arc::clone(&self.sinks);
        let wanted = self.wanted;
        let trace = Arc::new(*self);
        of_wanted(&sinks, wanted).for_each(|sink| sink.ended(&trace));
    }
}

/// Decides what is traced. Nobody wants anything until [`Tracer::start`].
#[derive(Debug, Default)]
pub struct Tracer {
    active: OnceLock<Active>,
}

#[derive(Debug)]
struct Active {
    formats: Formats,
    sinks: Sinks,
}

impl Tracer {
    /// From now on these get traces; only the first call counts, and of more than eight sinks
    /// the first eight. What callers say of their own traces is read in these formats.
    pub fn start(&self, formats: Formats, mut sinks: Vec<Arc<dyn TraceSink>>) {
        sinks.truncate(u8::BITS as usize);
        if !sinks.is_empty() {
            let _ = self.active.set(Active { formats, sinks: sinks.into() });
        }
    }

    /// The trace of a call that begins, if it is to be traced.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Box<Trace>> {
        let Active { formats, sinks } = self.active.get()?;
        let caller = formats.read(headers);
        let own = || fastrand::u128(1..);
        let id = caller.as_ref().filter(|caller| caller.is_known()).map_or_else(own, |c| c.trace);
        let wanted = sinks.iter().enumerate().fold(0_u8, |wanted, (i, sink)| {
            wanted | u8::from(sink.wants(caller.as_ref(), id)) << i
        });
        if wanted == 0 {
            return None;
        }
        Some(Box::new(Trace {
            id,
            span: fastrand::u64(1..),
            store_span: fastrand::u64(1..),
            caller: caller.map(|caller| caller.with_state(headers)),
            protocol: Protocol::default(),
            began: Clock::System.now(),
            took: Duration::ZERO,
            stages: SmallVec::new(),
            outcome: OnceLock::new(),
            sources: 0,
            started: Instant::now(),
            wanted,
            sinks: Arc::clone(sinks),
        }))
    }

    /// Hands out what became of a store's round trip, to each sink with the calls that it
    /// wanted.
    pub(super) fn asked(&self, trip: &RoundTrip) {
        let Some(Active { sinks, .. }) = self.active.get() else { return };
        for (i, sink) in sinks.iter().enumerate() {
            let calls = trip.calls.iter().filter(|call| call.wanted & (1 << i) != 0);
            let calls: Vec<TraceRef> = calls.copied().collect();
            if !calls.is_empty() {
                sink.asked(RoundTrip { calls, ..trip.clone() });
            }
        }
    }
}

fn of_wanted(sinks: &Sinks, wanted: u8) -> impl Iterator<Item = &Arc<dyn TraceSink>> {
    sinks.iter().enumerate().filter(move |(i, _)| wanted & (1 << i) != 0).map(|(_, sink)| sink)
}
