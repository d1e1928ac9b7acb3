//! Waking up on time.
//!
//! A runtime's timers are as coarse as a millisecond. A timer of the kernel's own wakes
//! within microseconds, without spinning on a core that may be the store's.

use std::time::{Duration, Instant};

/// The shortest sleep: what is due sooner is sent in one go.
const QUANTUM: Duration = Duration::from_micros(25);

pub(super) use timer::Pacer;

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Instant, QUANTUM};

    /// A timer.
    #[derive(Debug)]
    pub(in super::super) struct Pacer(AsyncFd<OwnedFd>);

    impl Pacer {
        /// Within a runtime.
        pub(in super::super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[allow(deprecated, reason = "sound for a descriptor that is owned and never replaced")]
            let timer = AsyncFd::new(timer)?;
            Ok(Self(timer))
        }

        /// Sleeps until `at`, always giving way to others.
        pub(in super::super) async fn sleep_until(&self, at: Instant) -> io::Result<()> {
            let sleep = at.saturating_duration_since(Instant::now()).max(QUANTUM);
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: sleep.as_secs() as i64,
                    tv_nsec: i64::from(sleep.subsec_nanos()),
                },
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            // Setting the timer anew makes it unready, so nothing need be read.
            self.0.readable().await?.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::io;

    use super::{Instant, QUANTUM};

    /// The runtime's timer, late by up to a millisecond.
    #[derive(Debug)]
    pub(in super::super) struct Pacer;

    impl Pacer {
        /// Within a runtime.
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Sleeps until `at`, always giving way to others.
        pub(in super::super) async fn sleep_until(&self, at: Instant) -> io::Result<()> {
            tokio::time::sleep(at.saturating_duration_since(Instant::now()).max(QUANTUM)).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_never_wakes_early_and_wakes_again_and_again() {
        let pacer = Pacer::new().expect("a timer");
        let start = Instant::now();
        for step in 1..=50 {
            let at = start + Duration::from_micros(300) * step;
            pacer.sleep_until(at).await.expect("a sleep");
            assert!(Instant::now() >= at, "step {step}");
        }
        // What has passed is slept for only an instant.
        pacer.sleep_until(start).await.expect("a sleep");
    }
}
