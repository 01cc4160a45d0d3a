//! An alarm for the open loop. The runtime's own timer goes in steps of a millisecond and is late by
//! up to one, which would be measured as the cluster's.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(super) use kernel::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use runtime::Alarm;

/// An alarm of the kernel's: some ten microseconds late.
#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::OwnedFd;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::unix::AsyncFd;

    use super::{Duration, io};

    /// One alarm.
    pub(in super::super) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        /// # Errors
        /// The kernel's.
        pub(in super::super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "its heir is unsafe, as `AsFd` may lie; OwnedFd's does not"
            )]
            let registered = AsyncFd::new(timer)?;
            Ok(Self(registered))
        }

        /// Sets it; what it was set to before is forgotten.
        pub(in super::super) fn set(&mut self, after: Duration) -> io::Result<()> {
            // Zero would mean never.
            let value = Timespec::try_from(after.max(Duration::from_nanos(1)));
            let it_value = value.map_err(io::Error::other)?;
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            let times = Itimerspec { it_interval, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &times)?;
            Ok(())
        }

        /// Waits until it rings. May be dropped, and it rings still.
        pub(in super::super) async fn rung(&mut self) -> io::Result<()> {
            loop {
                let mut guard = self.0.readable().await?;
                let mut count = [0; 8];
                let read = guard.try_io(|fd| Ok(rustix::io::read(fd, &mut count)?));
                match read {
                    Ok(read) => return read.map(drop),
                    // It was set again since.
                    Err(_) => continue,
                }
            }
        }
    }
}

/// The runtime's timer, where the kernel has no such alarm.
#[cfg(not(target_os = "linux"))]
mod runtime {
    use super::{Duration, io};

    pub(in super::super) struct Alarm(tokio::time::Instant);

    impl Alarm {
        pub(in super::super) fn new() -> io::Result<Self> {
            Ok(Self(tokio::time::Instant::now()))
        }

        pub(in super::super) fn set(&mut self, after: Duration) -> io::Result<()> {
            self.0 = tokio::time::Instant::now() + after;
            Ok(())
        }

        pub(in super::super) async fn rung(&mut self) -> io::Result<()> {
            tokio::time::sleep_until(self.0).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn it_rings_not_before_its_time_and_can_be_set_again() {
        let mut alarm = Alarm::new().unwrap();
        for after in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3)] {
            let set = Instant::now();
            alarm.set(after).unwrap();
            alarm.rung().await.unwrap();
            assert!(set.elapsed() >= after, "{:?} after {after:?}", set.elapsed());
        }
        alarm.set(Duration::from_secs(3_600)).unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(5), alarm.rung());
        assert!(waiting.await.is_err());
        alarm.set(Duration::from_micros(100)).unwrap();
        alarm.rung().await.unwrap();
    }
}
