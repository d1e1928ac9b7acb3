//! `/stats`: the process and its counters as `name: value` lines, for people.

use std::fmt::Write as _;

use super::HttpState;
use crate::store::Store;

/// The lines: the process first, then every series of the metrics page but the buckets.
pub(super) fn page<S: Store>(state: &HttpState<S>) -> String {
    let uptime = state.front.service.clock.now().since(state.health.facts().started_at);
    let mut text =
        format!("version: {}\nuptime_seconds: {}\n", env!("CARGO_PKG_VERSION"), uptime.as_secs());
    if let Some(bytes) = resident_bytes() {
        let _ = writeln!(text, "memory_resident_bytes: {bytes}");
    }
    for line in state.page().render().lines() {
        let sample = line.rsplit_once(' ').filter(|_| !line.starts_with('#'));
        if let Some((name, value)) = sample.filter(|(name, _)| !name.contains("_bucket{")) {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    text
}

/// The memory that the process holds, as Linux counts it.
fn resident_bytes() -> Option<u64> {
    // This file is not on a disk: reading it does not wait.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
