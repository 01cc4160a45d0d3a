//! What has changed since the last checkpoint, so that the next one writes no more than that.
//!
//! Noted are the names of records, not what became of them: whoever writes the checkpoint looks
//! at a point in time for what is there now ([`StateMachine::record`]). And each name is noted
//! once, which costs a comparison for every further change: a key's record tells by its revision
//! whether it was written since the last checkpoint, a session and a reply bear the number of the
//! period between two checkpoints in which they last changed. Replies are the most of what
//! changes, and most of them come and go within one period. So the new ones are not noted at all:
//! they are those of this period that the noted sessions still have.

use bytes::Bytes;

use super::held::Held;
use super::record;
use super::state::StateMachine;

/// Names are sorted out once there are so many beyond twice the distinct ones: of keys that come
/// and go all the time.
const SLACK: usize = 1 << 16;

/// The names of records that were written, or are gone.
#[derive(Debug)]
pub struct Changes {
    /// The number of the time since the last checkpoint, from 1. What bears a lower one is in that
    /// checkpoint.
    period: u64,
    /// The store's revision at the last checkpoint.
    since_revision: u64,
    keys: Vec<Held>,
    distinct_keys: usize,
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
            keys: Vec::new(),
            distinct_keys: 0,
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

    /// A key is written or removed whose record was last written at that revision; 0 for none.
    pub(super) fn key(&mut self, key: &[u8], last_written: u64) {
        if last_written > self.since_revision {
            return;
        }
        self.keys.push(Held::copied(key));
        if self.keys.len() > 2 * self.distinct_keys + SLACK {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.distinct_keys = self.keys.len();
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

    /// How many names there are; some of them may be the same.
    #[must_use]
    pub fn noted(&self) -> u64 {
        (self.keys.len() + self.sessions.len() + self.gone.len()) as u64 + self.new_replies
    }

    /// The names of the records to look at, in order, each once; the header's is among them.
    /// `state` is as it was when these changes were taken.
    #[must_use]
    pub fn names(mut self, state: &StateMachine) -> Vec<Bytes> {
        self.keys.sort_unstable();
        self.keys.dedup();
        self.sessions.sort_unstable();
        self.sessions.dedup();
        let mut replies = self.gone;
        for session in &self.sessions {
            replies.extend(state.sessions.replies_of_period(*session, self.period));
        }
        replies.sort_unstable();
        replies.dedup();
        let keys = self.keys.iter().map(|key| record::key_name(key));
        let sessions = self.sessions.iter().map(|id| record::session_name(*id));
        let replies = replies.iter().map(|(of, id)| record::reply_name(*of, *id));
        std::iter::once(record::header_name()).chain(keys).chain(sessions).chain(replies).collect()
    }
}
