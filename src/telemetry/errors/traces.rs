//! Some calls as transactions of Sentry: how long their stages took, and what became of them.
//!
//! Each transaction is a request of its own to Sentry, so that so many a second go at most.
//! It has the domain and the paths of rules, and no value of a descriptor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sentry::protocol::{SpanId, SpanStatus, TraceId};
use sentry::{Transaction, TransactionContext, start_transaction_with_timestamp};
use tonic::Code;

use super::super::trace::{Caller, Ending, Protocol, Status, Trace, TraceSink};
use crate::clock::Clock;

/// Sends some calls as transactions.
#[derive(Debug)]
pub(super) struct Transactions {
    /// The share of calls that is sent, in parts of 2^64.
    share: u64,
    /// How many a second at most.
    most: u64,
    /// The second, and how many there were in it: 40 bits and 24.
    pace: AtomicU64,
}

const COUNT_BITS: u32 = 24;

impl Transactions {
    /// Sends that share, and so many a second at most.
    pub(super) fn new(rate: f32, most: u32) -> Self {
        // A float as large as 2^64 saturates.
        let share = (f64::from(rate) * u64::MAX as f64) as u64;
        Self { share, most: most.into(), pace: AtomicU64::new(0) }
    }

    /// Whether there is room for one more in this second.
    fn has_room(&self, second: u64) -> bool {
        let room = self.pace.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pace| {
            let count = match pace >> COUNT_BITS == second {
                true => pace & ((1 << COUNT_BITS) - 1),
                false => 0,
            };
            (count < self.most).then_some(second << COUNT_BITS | (count + 1))
        });
        room.is_ok()
    }
}

impl TraceSink for Transactions {
    fn wants(&self, caller: Option<&Caller>, _: u128) -> bool {
        caller.and_then(|caller| caller.sampled) != Some(false)
            && self.share > 0
            && fastrand::u64(..) <= self.share
            && self.has_room(Clock::System.now().as_micros() / 1_000_000)
    }

    fn ended(&self, trace: &Arc<Trace>) {
        let began = trace.began.to_system();
        let (name, operation) = match trace.protocol {
            Protocol::Grpc => ("ShouldRateLimit", "rpc.server"),
            Protocol::Http => ("POST /json", "http.server"),
        };
        let mut context = TransactionContext::new_with_details(
            name,
            operation,
            TraceId::from(trace.id.to_be_bytes()),
            Some(SpanId::from(trace.span.to_be_bytes())),
            trace.caller.as_ref().map(|caller| SpanId::from(caller.span.to_be_bytes())),
        );
        context.set_sampled(true);
        let transaction = start_transaction_with_timestamp(context, began);
        let ends = trace.stages.iter().skip(1).map(|(_, at)| *at).chain([trace.took]);
        for ((stage, from), to) in trace.stages.iter().zip(ends) {
            let span = transaction.start_child_with_details(
                stage.name(),
                stage.name(),
                SpanId::default(),
                began + *from,
            );
            span.finish_with_timestamp(began + to);
        }
        if let Some(ending) = trace.outcome.get() {
            describe(&transaction, ending);
        }
        transaction.finish_with_timestamp(began + trace.took);
    }
}

fn describe(transaction: &Transaction, ending: &Ending) {
    let (status, outcome) = match ending.status {
        Status::Ok => (SpanStatus::Ok, "ok"),
        Status::OverLimit => (SpanStatus::Ok, "over_limit"),
        Status::Shadowed => (SpanStatus::Ok, "shadowed"),
        Status::Failed { code, .. } => (failed(code), "failed"),
    };
    transaction.set_status(status);
    transaction.set_data("outcome", outcome.into());
    transaction.set_data("request_id", (*ending.request_id).into());
    transaction.set_data("domain", (*ending.domain).into());
    transaction.set_data("descriptors", ending.descriptors.into());
    let rules: Vec<&str> = ending.rules.iter().map(|rule| &**rule).collect();
    transaction.set_data("rules", rules.into());
}

fn failed(code: Code) -> SpanStatus {
    match code {
        Code::InvalidArgument => SpanStatus::InvalidArgument,
        Code::DeadlineExceeded => SpanStatus::DeadlineExceeded,
        Code::ResourceExhausted => SpanStatus::ResourceExhausted,
        Code::Unavailable => SpanStatus::Unavailable,
        _ => SpanStatus::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_no_more() {
        let transactions = Transactions::new(1.0, 3);
        let passed = |second| (0..10).filter(|_| transactions.has_room(second)).count();
        assert_eq!(passed(100), 3);
        assert_eq!(passed(100), 0);
        assert_eq!(passed(101), 3);
        assert!(!Transactions::new(1.0, 0).has_room(7));
    }

    #[test]
    fn the_rate_and_the_caller_decide() {
        let check = |rate, expected: std::ops::RangeInclusive<usize>| {
            let transactions = Transactions::new(rate, u32::MAX);
            let wanted = (0..2000).filter(|_| transactions.wants(None, 1)).count();
            assert!(expected.contains(&wanted), "{rate}: {wanted}");
        };
        check(0.0, 0..=0);
        check(0.1, 100..=320);
        check(1.0, 2000..=2000);
    }
}
