//! What the operating system tells about this process, under the names that every
//! Prometheus client has for it. A system without `/proc` has none of it.

use std::fs;

use crate::telemetry::{Kind, Page};

/// Ticks of a second in `/proc`; the same on every Linux that is in use.
const TICKS: f64 = 100.0;

/// Adds it to `page`.
pub(super) fn collect(page: &mut Page) {
    let mut add = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            page.sample((name, kind, help), &[], value);
        }
    };
    add(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Resident memory size in bytes.",
        resident_bytes(),
    );
    add(
        "process_cpu_seconds_total",
        Kind::Counter,
        "Total user and system CPU time spent in seconds.",
        stat(&[14, 15]).map(|ticks| ticks / TICKS),
    );
    add("process_open_fds", Kind::Gauge, "Number of open file descriptors.", open_files());
    add(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start time of the process since unix epoch in seconds.",
        booted().zip(stat(&[22])).map(|(booted, ticks)| booted + ticks / TICKS),
    );
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kibibytes.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0)
}

/// The sum of fields of `/proc/self/stat`, counted from 1. The second, the name of the
/// program in brackets, may hold spaces; what is asked for stands after it.
fn stat(fields: &[usize]) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let after: Vec<&str> = rest.split_whitespace().collect();
    fields.iter().map(|field| after.get(field - 3)?.parse::<f64>().ok()).sum()
}

fn open_files() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64)
}

/// When the system started, in seconds.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()
}
