//! The CPU time that this process has used.

use std::time::Duration;

/// The kernel tells times to programs in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// User and system time so far; none where the kernel has no `/proc`.
pub(super) fn used() -> Option<Duration> {
    parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// Fields 14 and 15, counted from behind the name, which may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(|field| field.parse::<u32>().ok());
    let ticks = fields.next()??.checked_add(fields.next()??)?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 95 0 0 0 12 30 0 0 20 0 1 0 100 2 1";
        assert_eq!(parse(stat), Some(Duration::from_millis(420)));
        assert_eq!(parse("7 (a) S 1"), None);
    }
}
