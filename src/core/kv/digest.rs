//! The hash of the state, and its bytes, kept as the state changes.
//!
//! Each item of the state (an entry, a session, a cached reply) has a 64-bit hash, and the
//! state's is their wrapping sum: it does not depend on the order in which items came, and an
//! item leaves by subtraction. Every item keeps its hash beside it, so that leaving does not
//! read its value again.
//!
//! An item is hashed as a row of 64-bit words that starts with its kind; byte strings enter it
//! as their length and their own hash. Rows of one kind have one length, so no two different
//! items are written alike. This guards against faults, not against an adversary.

use xxhash_rust::xxh3::xxh3_64;

use crate::types::Membership;
use crate::wire::client::{Failure, KeyValue, OpResult, Success};

/// First words of rows. They are part of the hash: never reuse or renumber one.
mod kind {
    pub(super) const ENTRY: u64 = 1;
    pub(super) const SESSION: u64 = 2;
    pub(super) const REPLY: u64 = 3;
    pub(super) const STATE: u64 = 4;
    pub(super) const EMPTY: u64 = 16;
    pub(super) const PUT: u64 = 17;
    pub(super) const APPEND: u64 = 18;
    pub(super) const DELETE: u64 = 19;
    pub(super) const COMPARE_AND_SWAP: u64 = 20;
    pub(super) const INCREMENT: u64 = 21;
    pub(super) const FAILURE: u64 = 22;
}

/// The sum of the hashes, and of the bytes, of a set of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// The wrapping sum of the items' hashes.
    pub(super) hash: u64,
    /// The sum of the bytes that the items are counted with.
    pub(super) bytes: u64,
}

impl Tally {
    /// Counts items in.
    pub(super) fn add(&mut self, items: Tally) {
        self.hash = self.hash.wrapping_add(items.hash);
        self.bytes += items.bytes;
    }

    /// Counts items out that were counted in before.
    pub(super) fn remove(&mut self, items: Tally) {
        assert!(items.bytes <= self.bytes, "an item leaves the tally that never entered it");
        self.hash = self.hash.wrapping_sub(items.hash);
        self.bytes -= items.bytes;
    }
}

/// The hash of a row of words.
fn row<const N: usize>(words: [u64; N]) -> u64 {
    xxh3_64(words.map(u64::to_le_bytes).as_flattened())
}

/// The numbers of an entry: `create_revision`, `mod_revision`, `version`, `lease`.
pub(super) type EntryNumbers = [u64; 4];

/// The hash of an entry.
pub(super) fn entry(key: &[u8], value: &[u8], numbers: EntryNumbers) -> u64 {
    let [create, modified, version, lease] = numbers;
    let (key_length, value_length) = (key.len() as u64, value.len() as u64);
    let (key, value) = (xxh3_64(key), xxh3_64(value));
    row([kind::ENTRY, key_length, key, value_length, value, create, modified, version, lease])
}

/// The hash of a session: its id, time to live, window, deadline and mark of forgotten ids.
pub(super) fn session(numbers: [u64; 5]) -> u64 {
    let [id, ttl_ms, window, deadline_ms, forgotten] = numbers;
    row([kind::SESSION, id, ttl_ms, window, deadline_ms, forgotten])
}

/// The hash of a cached reply.
pub(super) fn reply(session: u64, id: u64, reply: &OpResult) -> u64 {
    let digest = match reply {
        Ok(success) => success_digest(success),
        Err(failure) => failure_digest(failure),
    };
    row([kind::REPLY, session, id, digest])
}

/// The hash of a whole state: its items, and what belongs to no item: the applied index and its
/// term, the hash of the membership, the revision, the cluster clock.
pub(super) fn state(words: [u64; 6]) -> u64 {
    let [items, index, term, members, revision, clock_ms] = words;
    row([kind::STATE, items, index, term, members, revision, clock_ms])
}

/// The hash of a membership; 0 for none.
pub(super) fn membership(membership: Option<&Membership>) -> u64 {
    let encoded = membership
        .map(|membership| rmp_serde::to_vec(membership).expect("writes into memory cannot fail"));
    encoded.map_or(0, |bytes| xxh3_64(&bytes).max(1))
}

fn success_digest(success: &Success) -> u64 {
    match success {
        Success::Empty => row([kind::EMPTY]),
        Success::Put { revision, index, previous } => {
            let [tag, digest] = previous_words(previous.as_ref());
            row([kind::PUT, *revision, *index, tag, digest])
        }
        Success::Append { revision, index, length } => {
            row([kind::APPEND, *revision, *index, *length])
        }
        Success::Delete { revision, index, deleted, previous } => {
            let [tag, digest] = previous_words(previous.as_ref());
            row([kind::DELETE, *revision, *index, *deleted, tag, digest])
        }
        Success::CompareAndSwap { revision, index, swapped, entry } => {
            let [tag, digest] = entry_words(entry.as_ref());
            row([kind::COMPARE_AND_SWAP, *revision, *index, u64::from(*swapped), tag, digest])
        }
        Success::Increment { revision, index, number } => {
            row([kind::INCREMENT, *revision, *index, number.cast_unsigned()])
        }
        Success::Hello(_) | Success::Get { .. } | Success::Status(_) | Success::Members(_) => {
            unreachable!("no write ends with {success:?}")
        }
    }
}

/// A failure's message is for people and left out, so that its wording may change between
/// versions that run side by side.
fn failure_digest(failure: &Failure) -> u64 {
    row([kind::FAILURE, xxh3_64(failure.code.as_str().as_bytes())])
}

/// Whether a previous entry was asked for, whether there was one, and its hash.
fn previous_words(previous: Option<&Option<KeyValue>>) -> [u64; 2] {
    match previous {
        None => [0, 0],
        Some(None) => [1, 0],
        Some(Some(previous)) => [2, key_value(previous)],
    }
}

/// Whether there is an entry, and its hash.
fn entry_words(entry: Option<&KeyValue>) -> [u64; 2] {
    entry.map_or([0, 0], |entry| [1, key_value(entry)])
}

fn key_value(from: &KeyValue) -> u64 {
    let numbers = [from.create_revision, from.mod_revision, from.version, from.lease];
    entry(&from.key, &from.value, numbers)
}
