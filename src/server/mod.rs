//! The listeners: gRPC, HTTP, debug; accepting, answering, draining.

mod accept;
mod answer;
mod connection;
mod debug;
mod direct;
mod doors;
mod drain;
mod grpc;
mod health;
mod http;
mod listen;
mod log_level;
mod question;
mod rate_limit;
mod security;
mod session;
mod socket;
mod stats;
pub mod status;
#[cfg(test)]
mod threads;
mod top;

use crate::cells;

pub use accept::{Arrivals, Host, Places, deal};
pub use answer::{Answered, Front};
pub use debug::router as debug_router;
pub use doors::{Doors, Transport, Turned};
pub use drain::{Activity, Shutdown};
pub use grpc::{GrpcOptions, Reflection, serve as serve_grpc};
pub use health::HealthApi;
pub use http::{HttpState, metrics_router, router as http_router, serve as serve_http};
pub use listen::{Address, Endpoint, Listener};
pub use security::Token;
