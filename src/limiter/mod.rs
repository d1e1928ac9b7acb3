//! The pure core: [`plan()`] says which counters a request touches, [`decide()`] turns
//! counts into the answer.
//!
//! No I/O, no clock, no log. Arithmetic saturates. Finding rules belongs to `rules`,
//! holding counters to `store`.

mod decide;
mod fixed_window;
mod keys;
mod meter;
mod metric_path;
mod operation;
mod patience;
mod plan;
mod request;
mod sliding_window;
mod tally;
mod token_bucket;
mod window;

pub use decide::{Applied, Decision, Status, Verdict, decide};
pub use keys::{KeyFormat, Keys};
pub use meter::{Meter, Refused, State, Step};
pub use operation::{
    Action, Batch, COUNT_MAX, Count, Leeway, NewOperation, Operation, Part, RefusedSets, Source,
    TraceRef, is_refused,
};
pub use plan::{Plan, plan};
pub use request::{Descriptor, Direction, Request, Terms};
pub use tally::Tally;
pub use token_bucket::Span;
pub use window::Window;

use std::time::Duration;

use crate::rules::OnStoreError;

/// What holds for every decision of a process.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// How counters are named.
    pub keys: Keys,
    /// The part of a limit above which hits count as near it.
    pub near_limit_ratio: f32,
    /// Nothing is refused; what would be is counted.
    pub shadow_mode: bool,
    /// Every descriptor is in quota mode.
    pub quota_mode: bool,
    /// A request of which any limit is exceeded spends from no other one.
    pub stop_when_over: bool,
    /// What limits that requests bring do when the store cannot say.
    pub on_store_error: OnStoreError,
    /// How long a decision may take; none: as long as its caller waits.
    pub patience: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            keys: Keys::default(),
            near_limit_ratio: 0.8,
            shadow_mode: false,
            quota_mode: false,
            stop_when_over: false,
            on_store_error: OnStoreError::Error,
            patience: None,
        }
    }
}
