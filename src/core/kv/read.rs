//! What is read from the state. How fresh a read must be is its caller's business: these
//! functions read what is applied.

use std::ops::Bound;

use bytes::Bytes;

use super::state::{MANY, StateMachine};
use crate::types::Index;
use crate::wire::client::{ErrorCode, Failure, Get, KeyValue, OpResult, Success};

/// How much of a list is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries.
    pub entries: usize,
    /// At most so many bytes of keys and values; one entry may have more.
    pub bytes: usize,
}

/// A page of the keys of a prefix, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The store's revision at the read.
    pub revision: u64,
    /// The applied index at the read.
    pub index: Index,
    /// The entries, ascending by key.
    pub entries: Vec<KeyValue>,
    /// Whether further keys of the prefix follow the last entry.
    pub more: bool,
}

/// The state in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The index of the last entry applied.
    pub applied: Index,
    /// The store's revision.
    pub revision: u64,
    /// How many keys there are.
    pub keys: u64,
    /// How many sessions there are.
    pub sessions: u64,
    /// About how many bytes of memory the state takes: keys, values, cached replies, and a
    /// fixed overhead for each item.
    pub state_bytes: u64,
    /// The hash of the state at `applied`.
    pub hash: u64,
    /// The cluster clock, in milliseconds since the log began.
    pub clock_ms: u64,
}

impl StateMachine {
    /// The index of the last entry applied; 0 before the first.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied.index
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.data.revision()
    }

    /// Whether a session is there: made, not ended, not expired.
    #[must_use]
    pub fn session_exists(&self, session: u64) -> bool {
        self.sessions.contains(session)
    }

    /// Looks for keys together that will be read next, in less time than one after the other.
    pub fn fetch<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        if self.data.map().len() >= MANY {
            self.data.fetch(keys);
        }
    }

    /// Reads one key as it is now.
    ///
    /// # Errors
    /// `unsupported` when a revision is asked for: no history is kept. `consistency`,
    /// `min_revision` and `max_age_ms` are not looked at.
    pub fn get(&self, get: &Get) -> OpResult {
        if get.revision != 0 {
            return Err(no_history());
        }
        let found = self.data.map().get(&get.key);
        let entry = found.map(|record| record.entry(get.key.clone()));
        Ok(Success::Get { revision: self.revision(), index: self.applied.index.0, entry })
    }

    /// Lists entries whose key starts with `prefix`, from the first key that is greater than
    /// `after` (or the first at all): as many as `page` allows.
    #[must_use]
    pub fn list(&self, prefix: &[u8], after: Option<&[u8]>, page: Page) -> Listing {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let found = self.data.from(start).take_while(|(key, _)| key.starts_with(prefix));
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
        for (key, record) in found {
            let entry = record.entry(key.bytes());
            bytes += entry.key.len() + entry.value.len();
            // The first one always fits: whoever pages must get on.
            if entries.len() == page.entries || bytes > page.bytes && !entries.is_empty() {
                more = true;
                break;
            }
            entries.push(entry);
        }
        Listing { revision: self.revision(), index: self.applied.index, entries, more }
    }

    /// The state in numbers; costs nothing that grows with the state.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            applied: self.applied.index,
            revision: self.revision(),
            keys: self.data.map().len() as u64,
            sessions: self.sessions.len(),
            state_bytes: self.tally().bytes,
            hash: self.hash(),
            clock_ms: self.sessions.clock_ms(),
        }
    }
}

fn no_history() -> Failure {
    let message = "this version keeps no history: leave `revision` out, or set it to 0, to read \
                   what is there now";
    Failure::new(ErrorCode::Unsupported, message)
}
