//! What `deploy/` holds is well formed and works.

mod compose;
mod docker;
mod files;
mod health;
mod helm;
mod kubernetes;
mod systemd;
mod tour;
