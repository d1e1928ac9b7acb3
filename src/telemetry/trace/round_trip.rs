//! One round trip to a store that served calls, some of which are traced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Tracer;
use crate::clock::{Clock, Timestamp};
use crate::limiter::TraceRef;

/// How many calls a round trip names at most.
const MAX_CALLS: usize = 128;

/// A round trip that has ended.
#[derive(Clone, Debug)]
pub struct RoundTrip {
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// The traced calls that it served, in order of arrival; of very many the first.
    pub calls: Vec<TraceRef>,
    /// How many traced calls it served beyond these.
    pub unnamed: usize,
    /// How many requests it served, traced or not.
    pub requests: usize,
    /// How many operations on counters it carried.
    pub operations: usize,
    /// How many script calls they became.
    pub commands: usize,
    /// Where the server is.
    pub server: String,
    /// Why there is no answer, in a word.
    pub error: Option<&'static str>,
}

/// Who is told of round trips. Two are equal: it changes nothing for those who count.
#[derive(Clone, Debug, Default)]
pub struct RoundTrips(Option<Arc<Tracer>>);

/// A round trip under way.
#[derive(Debug)]
pub struct UnderWay<'t> {
    tracer: &'t Arc<Tracer>,
    started: Instant,
    trip: RoundTrip,
}

impl RoundTrips {
    /// Tells this tracer's sinks.
    pub fn of(tracer: Arc<Tracer>) -> Self {
        Self(Some(tracer))
    }

    /// A round trip begins that serves these requests; nothing, if none of them is traced.
    pub fn begin(
        &self,
        server: &str,
        requests: impl Iterator<Item = (Option<TraceRef>, usize)> + Clone,
    ) -> Option<UnderWay<'_>> {
        let tracer = self.0.as_ref()?;
        let mut traced = requests.clone().filter_map(|(call, _)| call);
        let calls: Vec<TraceRef> = traced.by_ref().take(MAX_CALLS).collect();
        if calls.is_empty() {
            return None;
        }
        let trip = RoundTrip {
            began: Clock::System.now(),
            took: Duration::ZERO,
            calls,
            unnamed: traced.count(),
            requests: requests.clone().count(),
            operations: requests.map(|(_, operations)| operations).sum(),
            commands: 0,
            server: server.to_owned(),
            error: None,
        };
        Some(UnderWay { tracer, started: Instant::now(), trip })
    }
}

impl UnderWay<'_> {
    /// It has ended: so many commands were sent, and this is why there is no answer.
    pub fn end(mut self, commands: usize, error: Option<&'static str>) {
        self.trip.took = self.started.elapsed();
        self.trip.commands = commands;
        self.trip.error = error;
        self.tracer.asked(&self.trip);
    }
}

impl PartialEq for RoundTrips {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for RoundTrips {}
