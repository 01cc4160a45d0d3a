//! What has changed since the last checkpoint, so that the next one writes no more than that.
//!
//! Noted is which records, not what became of them: whoever writes the checkpoint looks at a point
//! in time for what is there now ([`Changes::records`]). A key is noted as the number of its slot,
//! and by its name when it goes. Each is noted once, which costs a comparison for every further
//! change: a key's record tells by its revision whether it was written since the last checkpoint, a
//! session and a reply bear the number of the period between two checkpoints in which they last
//! changed. Replies are the most of what changes, and most of them come and go within one period. So
//! the new ones are not noted at all: they are those of this period that the noted sessions still
//! have.

use bytes::Bytes;

use super::changed::Changed;
use super::keyed::Slot;
use super::state::StateMachine;

/// Slots are sorted out once there are so many beyond twice the distinct ones: of keys that come
/// and go all the time.
const SLACK: usize = 1 << 16;

/// Which records were written, or are gone.
#[derive(Debug)]
pub struct Changes {
    /// The number of the time since the last checkpoint, from 1. What bears a lower one is in that
    /// checkpoint.
    period: u64,
    /// The store's revision at the last checkpoint.
    since_revision: u64,
    /// Where keys were written.
    slots: Vec<Slot>,
    distinct_slots: usize,
    /// Keys that the last checkpoint holds, and that were removed. They may be there again.
    removed: Vec<Bytes>,
    sessions: Vec<u64>,
    /// Replies that the last checkpoint holds, and that are gone.
    gone: Vec<(u64, u64)>,
    /// How many replies of this period there are.
    new_replies: u64,
}

impl Changes {
    /// Nothing yet, behind a checkpoint of a state of that revision.
    pub(super) fn since(revision: u64) -> Self {
        Self::of_period(1, revision)
    }

    fn of_period(period: u64, since_revision: u64) -> Self {
        Self {
            period,
            since_revision,
            slots: Vec::new(),
            distinct_slots: 0,
            removed: Vec::new(),
            sessions: Vec::new(),
            gone: Vec::new(),
            new_replies: 0,
        }
    }

    /// Those of a copy of the state, at that revision: what the original bears is not of them.
    pub(super) fn of_copy(&self, revision: u64) -> Self {
        Self::of_period(self.period + 1, revision)
    }

    /// What was noted, and nothing from now on, when the store is at that revision.
    pub(super) fn take(&mut self, revision: u64) -> Self {
        let next = self.of_copy(revision);
        std::mem::replace(self, next)
    }

    /// The key in that slot is written, whose record was last written at that revision; 0 for
    /// none.
    pub(super) fn written(&mut self, slot: Slot, last_written: u64) {
        if last_written > self.since_revision {
            return;
        }
        self.slots.push(slot);
        if self.slots.len() > 2 * self.distinct_slots + SLACK {
            self.slots.sort_unstable();
            self.slots.dedup();
            self.distinct_slots = self.slots.len();
        }
    }

    /// A key is removed that was created at that revision.
    pub(super) fn removed(&mut self, key: &Bytes, created: u64) {
        if created <= self.since_revision {
            // A copy: the key is a part of a batch.
            self.removed.push(Bytes::copy_from_slice(key));
        }
    }

    /// A session changes, or is gone, that bears the period of its last change; its new one.
    pub(super) fn session(&mut self, session: u64, period: u64) -> u64 {
        if period != self.period {
            self.sessions.push(session);
        }
        self.period
    }

    /// A reply is kept; the period that it is to bear.
    pub(super) fn reply(&mut self) -> u64 {
        self.new_replies += 1;
        self.period
    }

    /// A reply is forgotten that bears that period.
    pub(super) fn reply_gone(&mut self, session: u64, id: u64, period: u64) {
        if period == self.period {
            self.new_replies -= 1;
        } else {
            self.gone.push((session, id));
        }
    }

    /// How many records there are to look at; some of them may be the same.
    #[must_use]
    pub fn noted(&self) -> u64 {
        let keys = self.slots.len() + self.removed.len();
        (keys + self.sessions.len() + self.gone.len()) as u64 + self.new_replies
    }

    /// Copies of the records that changed, the header's among them. `state` is as it was when
    /// these changes were taken; it is of no more use to them afterwards.
    #[must_use]
    pub fn records(mut self, state: &StateMachine) -> Changed {
        self.slots.sort_unstable();
        self.slots.dedup();
        self.sessions.sort_unstable();
        self.sessions.dedup();
        let mut replies = self.gone;
        for session in &self.sessions {
            replies.extend(state.sessions.replies_of_period(*session, self.period));
        }
        replies.sort_unstable();
        replies.dedup();
        Changed::of(state, &self.slots, &self.removed, &self.sessions, &replies)
    }
}
