//! The composition root: settings in, a running service out.

mod core;
mod probe;
mod process;
mod run;
mod series;
mod sockets;
mod stats;

pub use core::Core;
pub use run::{Listeners, Signals, open, run};
