//! What servers that run as processes of a test have in common.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);

/// Stops the clock of a server: it takes connections and bytes but answers nothing.
pub(crate) fn pause(child: &Child) {
    signal(child, "-STOP");
    let status = format!("/proc/{}/stat", child.id());
    let stopped = || std::fs::read_to_string(&status).is_ok_and(|text| text.contains(") T "));
    assert!(poll(stopped), "{status}: it did not stop");
}

/// Ends a pause; what arrived meanwhile is executed.
pub(crate) fn resume(child: &Child) {
    signal(child, "-CONT");
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args([signal, &pid]).status().expect("run kill");
    assert!(status.success(), "kill {signal} {pid}: {status}");
}

/// Asks again and again, for a bounded time, until the answer is yes.
pub(crate) fn poll(mut answer: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if answer() {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}
