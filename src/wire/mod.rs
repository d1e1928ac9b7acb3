//! Between generated types and ours. Nothing behind this room sees protobuf.
//!
//! Pure. Requests are borrowed, not copied; every bound is checked here, and every error
//! becomes a gRPC code or an HTTP status in [`Failure`].

pub mod discovery;
mod edge;
mod exposition;
mod failure;
mod health;
pub mod json;
mod metadata;
mod request;
mod response;

pub use edge::{DECIDED_BY, GRPC_TIMEOUT, decided_by, patience};
pub use exposition::Exposition;
pub use failure::Failure;
pub use health::{report, report_json};
pub use request::{Bounds, RequestError, request};
pub use response::{HeaderNames, Layout, response};

/// The generated types.
pub mod pb {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::clone_on_ref_ptr)]
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));

    /// All `.proto` files, as reflection and the JSON form need them.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}
