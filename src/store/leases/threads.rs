//! The table once more, over modelled cells: its tests run for many orders of threads.

#![allow(dead_code, unreachable_pub, reason = "tests use a part of it")]
#![allow(clippy::duplicate_mod, reason = "it is the same file, with other cells")]

use std::sync::Arc;

use crate::cells::modelled as cells;

#[path = "block.rs"]
mod block;
#[path = "demand.rs"]
mod demand;
#[path = "entry.rs"]
mod entry;
#[path = "give_back.rs"]
mod give_back;
#[path = "stats.rs"]
mod stats;
#[path = "table.rs"]
mod table;
#[path = "top_up.rs"]
mod top_up;

use table::LeaseTable;

/// As it is, for who gives back.
struct Leases<S> {
    store: Arc<S>,
    table: Option<Arc<LeaseTable>>,
}
