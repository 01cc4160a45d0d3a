//! The one clock of a node, which measures how long ago things were and nothing else.

use std::time::{Duration, Instant};

use quorate_core::types::Moment;

/// A node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock whose origin is now. Moments start at an hour, so that "a while ago" exists.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(3_600_000_000) + self.0.elapsed()
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
