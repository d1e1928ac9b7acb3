//! The pure core: [`plan`] says which counters a request touches, [`decide`] turns
//! counts into the answer.
//!
//! No I/O, no clock, no log. Arithmetic saturates. Finding rules belongs to `rules`,
//! holding counters to `store`.

pub mod fixed_window;
mod operation;
mod window;

pub use operation::{Action, Batch, COUNT_MAX, Count, Operation};
pub use window::Window;
