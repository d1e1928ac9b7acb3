//! What `deploy/` holds is well formed and works.

mod compose;
mod docker;
mod files;
mod health;
mod systemd;
mod tour;
