//! What has changed since the last checkpoint, so that the next one writes no more than that.
//!
//! Noted are the names of records, not what became of them: whoever writes the checkpoint looks
//! at a point in time for what is there now ([`StateMachine::record`](super::StateMachine)).

use bytes::Bytes;

use xxhash_rust::xxh3::xxh3_64;

use super::record;

/// Names are sorted out in so many parts, one at a time: sorting all of a million at once would
/// hold up applying for a quarter of a second.
const PARTS: usize = 64;
/// A part has room for this many names beyond twice the distinct ones.
const SLACK: usize = 1 << 10;

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
    parts: Vec<Part<T>>,
}

#[derive(Debug)]
struct Part<T> {
    noted: Vec<T>,
    distinct: usize,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { parts: Vec::new() }
    }
}

impl<T: Ord> Names<T> {
    /// Notes a name; `spread` is the same number for the same name.
    fn note(&mut self, name: T, spread: u64) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, || Part { noted: Vec::new(), distinct: 0 });
        }
        let place = usize::try_from(spread % PARTS as u64).unwrap_or(0);
        let Some(part) = self.parts.get_mut(place) else { return };
        part.noted.push(name);
        // Sorted out now and then, so that they never outgrow twice what changed.
        if part.noted.len() > 2 * part.distinct + SLACK {
            part.noted.sort_unstable();
            part.noted.dedup();
            part.distinct = part.noted.len();
        }
    }

    fn noted(&self) -> usize {
        self.parts.iter().map(|part| part.noted.len()).sum()
    }

    /// All of them, in order, each once.
    fn sorted(self) -> Vec<T> {
        let mut all: Vec<T> = self.parts.into_iter().flat_map(|part| part.noted).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Changes {
    pub(super) fn key(&mut self, key: Bytes) {
        let spread = xxh3_64(&key);
        self.keys.note(key, spread);
    }

    pub(super) fn session(&mut self, session: u64) {
        self.sessions.note(session, session);
    }

    pub(super) fn reply(&mut self, session: u64, id: u64) {
        self.replies.note((session, id), session.wrapping_add(id));
    }

    /// How many names were noted; some of them may be the same.
    #[must_use]
    pub fn noted(&self) -> u64 {
        (self.keys.noted() + self.sessions.noted() + self.replies.noted()) as u64
    }

    /// The names of the records to look at, in order, each once; the header's is among them.
    #[must_use]
    pub fn names(self) -> Vec<Bytes> {
        let (keys, sessions) = (self.keys.sorted(), self.sessions.sorted());
        let replies = self.replies.sorted();
        let keys = keys.iter().map(|key| record::key_name(key));
        let sessions = sessions.iter().map(|id| record::session_name(*id));
        let replies = replies.iter().map(|(of, id)| record::reply_name(*of, *id));
        std::iter::once(record::header_name()).chain(keys).chain(sessions).chain(replies).collect()
    }
}
