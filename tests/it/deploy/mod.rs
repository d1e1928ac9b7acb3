//! What `deploy/` holds is well formed and works.

mod helm;
mod kubernetes;
