//! The composition root: settings in, a running service out.

mod core;
mod probe;
mod run;
mod series;
mod sockets;

pub use core::Core;
pub use run::{Listeners, Signals, open, run};
