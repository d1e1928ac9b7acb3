//! The composition root: settings in, a running service out.

mod core;
mod counters;
mod notify;
mod otel;
mod probe;
mod process;
mod redis;
mod run;
mod series;
mod sockets;
mod stats;
mod token;
mod worker;

pub use core::Core;
pub use otel::exporter;
pub use run::{Listeners, Signals, open, run};

use std::sync::Arc;

use crate::server::Front;
use crate::store::{AnyStore, Fallback, Leases, RefusalCache};

/// The counters of the program: what each hit passes, from the outside to the inside.
type Counters = Fallback<Leases<RefusalCache<AnyStore>>>;

/// Who decides: the first for HTTP, then the workers'.
type Fronts = Arc<[Arc<Front<Counters>>]>;
