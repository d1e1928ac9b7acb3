//! What the operating system tells about this process, under the names that every
//! Prometheus client has for it. A system without `/proc` has none of it.

use std::fs;

use crate::telemetry::{Page, own};

/// Ticks of a second in `/proc`; the same on every Linux that is in use.
const TICKS: f64 = 100.0;

/// Adds it to `page`.
pub(super) fn collect(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let kibibytes = |name| number(&status, name).map(|kibibytes| kibibytes * 1024.0);
    let started = booted().zip(stat(&[22])).map(|(booted, ticks)| booted + ticks / TICKS);
    for (family, value) in [
        (&own::PROCESS_CPU, stat(&[14, 15]).map(|ticks| ticks / TICKS)),
        (&own::PROCESS_MEMORY, kibibytes("VmRSS:")),
        (&own::PROCESS_VIRTUAL, kibibytes("VmSize:")),
        (&own::PROCESS_THREADS, number(&status, "Threads:")),
        (&own::PROCESS_FILES, open_files()),
        (&own::PROCESS_MAX_FILES, number(&limits, "Max open files")),
        (&own::PROCESS_START, started),
    ] {
        if let Some(value) = value {
            page.sample(family, &[], value);
        }
    }
}

/// What follows `name` at the beginning of a line, if it is a number.
fn number(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
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
    number(&stat, "btime ")
}
