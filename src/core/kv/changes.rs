//! What has changed since the last checkpoint, so that the next one writes no more than that.
//!
//! Noted are the names of records, not what became of them: whoever writes the checkpoint looks
//! at a point in time for what is there now ([`StateMachine::record`](super::StateMachine)).

use bytes::Bytes;

use super::record;

/// Room for this many names beyond twice the distinct ones before they are sorted out.
const SLACK: usize = 1 << 16;

/// The names of records that were written, or are gone.
#[derive(Debug, Default)]
pub struct Changes {
    keys: Names<Bytes>,
    sessions: Names<u64>,
    replies: Names<(u64, u64)>,
}

/// Names, some of them more than once; a name more costs a push.
#[derive(Debug)]
struct Names<T> {
    noted: Vec<T>,
    distinct: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { noted: Vec::new(), distinct: 0 }
    }
}

impl<T: Ord> Names<T> {
    fn note(&mut self, name: T) {
        self.noted.push(name);
        // Sorted out now and then, so that they never outgrow twice what changed.
        if self.noted.len() > 2 * self.distinct + SLACK {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.noted.sort_unstable();
        self.noted.dedup();
        self.distinct = self.noted.len();
    }
}

impl Changes {
    pub(super) fn key(&mut self, key: Bytes) {
        self.keys.note(key);
    }

    pub(super) fn session(&mut self, session: u64) {
        self.sessions.note(session);
    }

    pub(super) fn reply(&mut self, session: u64, id: u64) {
        self.replies.note((session, id));
    }

    /// The names of the records to look at, in order, each once; the header's is among them.
    #[must_use]
    pub fn names(mut self) -> Vec<Bytes> {
        self.keys.sort();
        self.sessions.sort();
        self.replies.sort();
        let keys = self.keys.noted.iter().map(|key| record::key_name(key));
        let sessions = self.sessions.noted.iter().map(|id| record::session_name(*id));
        let replies = self.replies.noted.iter().map(|(of, id)| record::reply_name(*of, *id));
        std::iter::once(record::header_name()).chain(keys).chain(sessions).chain(replies).collect()
    }
}
