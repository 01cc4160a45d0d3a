//! Copies of the records that a checkpoint is to write.
//!
//! A point in time is not free while it lives: what it shares is copied when it is changed. With a
//! million keys that was more than a kilobyte for every put. So a checkpoint of changes takes them
//! out of it, which is a matter of milliseconds, lets it go, and then writes at leisure.

use bytes::Bytes;

use super::data::Record as KeyRecord;
use super::held::Held;
use super::keyed::Slot;
use super::record::{self, Record};
use super::state::StateMachine;
use crate::wire::client::OpResult;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is this now.
    Now(Record),
    /// The one of that name is gone.
    Gone(Bytes),
}

/// The records that changed, in no order, each once.
#[derive(Debug)]
pub struct Changed {
    /// As they are in the state: with short values that is one allocation for all of them, and
    /// long ones are shared.
    keys: Vec<(Held, KeyRecord)>,
    /// As they are in the state, too: the values in them may be long, and are shared.
    replies: Vec<(u64, u64, Option<OpResult>)>,
    others: Vec<Change>,
}

impl Changed {
    /// Of these slots, keys that were removed, sessions and replies.
    pub(super) fn of(
        state: &StateMachine,
        slots: &[Slot],
        removed: &[Bytes],
        sessions: &[u64],
        replies: &[(u64, u64)],
    ) -> Self {
        let mut keys = Vec::with_capacity(slots.len());
        let map = state.data.map();
        let there = slots.iter().filter_map(|slot| map.at(*slot));
        keys.extend(there.map(|(key, record)| (key.clone(), record.clone())));
        let header = std::iter::once(record::header_name());
        // One that is there again was written, so it is among the slots.
        let removed = removed.iter().filter(|key| map.get(key).is_none());
        let removed = removed.map(|key| record::key_name(key));
        let sessions = sessions.iter().map(|id| record::session_name(*id));
        let names = header.chain(removed).chain(sessions);
        let others = names.map(|name| match state.record(&name) {
            Some(record) => Change::Now(record),
            None => Change::Gone(name),
        });
        let others = others.collect();
        let reply = |(of, id): &(u64, u64)| (*of, *id, state.sessions.reply(*of, *id).cloned());
        Self { keys, replies: replies.iter().map(reply).collect(), others }
    }
}

impl IntoIterator for Changed {
    type Item = Change;
    type IntoIter = Box<dyn Iterator<Item = Change>>;

    fn into_iter(self) -> Self::IntoIter {
        let keys = self.keys.into_iter().map(|(key, record)| {
            let (name, value) = (record::key_name(&key), record.encode());
            Change::Now(Record { name, value })
        });
        let replies = self.replies.into_iter().map(|(of, id, reply)| {
            let name = record::reply_name(of, id);
            match reply {
                Some(reply) => Change::Now(Record { name, value: record::encode_reply(&reply) }),
                None => Change::Gone(name),
            }
        });
        Box::new(self.others.into_iter().chain(keys).chain(replies))
    }
}
