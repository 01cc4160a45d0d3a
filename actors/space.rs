//! The gauge of the disk: how much space the data directory has left, and whether that is
//! enough to take writes.
//!
//! A disk that is full ends a node, because nothing may be promised that cannot be stored. So a
//! leader refuses writes before that, while there is still room for what was accepted, for a
//! vote, and for a checkpoint; reads, replication and elections go on. A follower stores what its
//! leader took: it is the leader's own gauge that refuses.
//!
//! A thread of its own looks, because a file system that is far away may hang. Between two looks
//! the growth of the log counts as used, so that no burst slips through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use quorate_core::wire::client::{ErrorCode, Failure};

use crate::view::View;

/// Tells how much space is left for a node's data.
pub trait FreeSpace: fmt::Debug + Send + Sync {
    /// The bytes that can still be written.
    ///
    /// # Errors
    /// The operating system's.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Sets something aside for a start on a disk that is full, once: as long as nothing is, and
    /// if no more than `spare` bytes are needed for it.
    fn keep_reserve(&self, _spare: u64) {}

    /// Where, in words for a person.
    fn place(&self) -> String;
}

/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The word in `status` for a node that refuses writes.
pub const LOW_SPACE: &str = "low_space";

/// What is known of the disk's space.
#[derive(Debug)]
pub struct Space {
    disk: Box<dyn FreeSpace>,
    /// Below it writes are refused; 0: never.
    least: u64,
    /// As of the last look; nothing before the first one.
    free: AtomicU64,
    /// Bytes of the log right before it.
    log_bytes: AtomicU64,
    low: AtomicBool,
    /// It was said that the disk cannot be looked at.
    told: AtomicBool,
}

impl Space {
    /// A gauge that alarms below `least` bytes.
    #[must_use]
    pub fn new(disk: Box<dyn FreeSpace>, least: u64) -> Self {
        let (free, log_bytes) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let (low, told) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { disk, least, free, log_bytes, low, told }
    }

    /// Looks at the disk, which may block. `log_bytes` was read before: what the log grows
    /// meanwhile counts twice rather than not at all. An error is no alarm: it is said once, and
    /// the last look counts on.
    pub(crate) fn look(&self, log_bytes: u64) {
        match self.disk.free_bytes() {
            Ok(free) => {
                self.found(free, log_bytes);
                if !self.judge(free) && self.least > 0 {
                    self.disk.keep_reserve(free.saturating_sub(self.enough()));
                }
            }
            Err(error) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let place = self.disk.place();
                    log::warn!("disk: it cannot be told how much space {place} has left: {error}");
                }
            }
        }
    }

    /// The bytes left, less what the log has grown since the last look.
    pub fn free_bytes(&self, log_bytes: u64) -> u64 {
        let grown = log_bytes.saturating_sub(self.log_bytes.load(Ordering::Relaxed));
        self.free.load(Ordering::Relaxed).saturating_sub(grown)
    }

    /// Whether writes are refused.
    pub fn is_low(&self, log_bytes: u64) -> bool {
        self.judge(self.free_bytes(log_bytes))
    }

    /// A look's result.
    fn found(&self, free: u64, log_bytes: u64) {
        self.log_bytes.store(log_bytes, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
        if self.low.load(Ordering::Relaxed) && free >= self.enough() {
            self.low.store(false, Ordering::Relaxed);
            log::info!("disk: {} free again: writes are taken", mib(free));
        }
    }

    /// What ends an alarm: an eighth more than what begins it, so that it does not flicker.
    fn enough(&self) -> u64 {
        self.least.saturating_add(self.least / 8)
    }

    /// Only a look ends an alarm; whoever asks may begin one.
    fn judge(&self, free: u64) -> bool {
        if free < self.least && !self.low.swap(true, Ordering::Relaxed) {
            log::warn!(
                "disk: {} free, storage.min_free_bytes is {}: while this node leads it refuses writes. Free some \
                 space, or hand leadership to a node that has some: quorate leader transfer",
                mib(free),
                mib(self.least)
            );
        }
        self.low.load(Ordering::Relaxed)
    }

    /// Whether something of so many bytes may be written beside the log, as of the last look. It
    /// may take half of what is kept free.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        let free = self.free.load(Ordering::Relaxed);
        self.least == 0 || free >= bytes.saturating_add(self.least / 2)
    }

    /// Whether so many bytes more would not even begin an alarm, as of the last look.
    pub(crate) fn has_plenty_for(&self, bytes: u64) -> bool {
        self.free.load(Ordering::Relaxed) >= bytes.saturating_add(self.least)
    }
}

/// Why a leader takes no write now.
pub(crate) fn refusal(view: &View) -> Option<Failure> {
    let log_bytes = view.log_bytes.load(Ordering::Relaxed);
    if !view.space.is_low(log_bytes) || !view.leads() {
        return None;
    }
    let (own, free) = (view.node(), view.space.free_bytes(log_bytes));
    let text = format!(
        "node {own} has {} of disk left and keeps {} free (storage.min_free_bytes): nothing was done. Free some \
         space there, or hand leadership over: quorate leader transfer",
        mib(free),
        mib(view.space.least)
    );
    Some(Failure::new(ErrorCode::Overloaded, text))
}

/// Looks once, before the node serves anyone, and then again and again on a thread of its own.
pub(crate) fn start(view: &Arc<View>) {
    view.look_at_disk();
    let weak = Arc::downgrade(view);
    let looking = move || {
        while let Some(view) = weak.upgrade() {
            view.look_at_disk();
            drop(view);
            std::thread::sleep(LOOK_EVERY);
        }
    };
    let thread = std::thread::Builder::new().name("space".into()).spawn(looking);
    thread.unwrap_or_else(|error| {
        crate::fatal::fatal(
            70,
            format_args!("cannot start the thread of the disk's gauge: {error}"),
        )
    });
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    impl FreeSpace for Nowhere {
        fn free_bytes(&self) -> io::Result<u64> {
            Err(io::ErrorKind::NotFound.into())
        }
        fn place(&self) -> String {
            "nowhere".into()
        }
    }

    fn gauge(least: u64) -> Space {
        Space::new(Box::new(Nowhere), least)
    }

    #[test]
    fn a_disk_that_cannot_be_looked_at_is_no_alarm() {
        let space = gauge(800);
        space.look(0);
        assert!(!space.is_low(0) && space.has_room_for(1 << 40));
        space.found(700, 0);
        space.judge(700);
        space.look(0);
        assert!(space.is_low(0), "the last look counts on");
    }

    #[test]
    fn an_alarm_begins_below_the_bound_and_ends_an_eighth_above_it() {
        let space = gauge(800);
        assert!(!space.is_low(0), "nothing is known yet");
        for (free, low) in [(800, false), (799, true), (850, true), (900, false), (850, false)] {
            space.found(free, 0);
            assert_eq!(space.is_low(0), low, "{free}");
        }
    }

    #[test]
    fn what_the_log_grows_between_two_looks_counts_as_used() {
        let space = gauge(800);
        space.found(1_000, 50);
        assert!(!space.is_low(250));
        assert!(space.is_low(251), "the log grew by 201");
        space.found(899, 251);
        assert!(space.is_low(0));
        space.found(900, 251);
        assert!(!space.is_low(0), "a log that was trimmed leaves more, not less");
    }

    #[test]
    fn no_bound_is_no_alarm() {
        let space = gauge(0);
        space.found(0, 0);
        assert!(!space.is_low(1 << 40));
        assert!(space.has_room_for(1 << 40));
    }

    #[test]
    fn a_checkpoint_may_take_half_of_what_is_kept_free() {
        let space = gauge(800);
        space.found(700, 0);
        assert!(space.has_room_for(300));
        assert!(!space.has_room_for(301));
    }
}
