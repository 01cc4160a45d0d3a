//! Which nodes of a search have been visited.

use std::collections::BTreeMap;

use super::model::State;

/// A node: some words, and the key's state there.
type Node = (Box<[u64]>, State);

/// Nodes: some words (a set of operations, a place) and the key's state there. Equality is
/// full: a hash only finds the bucket, since a collision would hide a part of the search.
#[derive(Debug, Default)]
pub(super) struct Memo {
    buckets: BTreeMap<u64, Vec<Node>>,
}

impl Memo {
    /// Adds a node; `false` if it was there.
    pub(super) fn insert(&mut self, words: &[u64], state: &State) -> bool {
        let bucket = self.buckets.entry(hash(words, state)).or_default();
        let is_new = !bucket.iter().any(|(known, held)| **known == *words && held == state);
        if is_new {
            bucket.push((words.into(), state.clone()));
        }
        is_new
    }
}

fn hash(words: &[u64], state: &State) -> u64 {
    let of_words = words.iter().fold(1, |hash, word| mixed(hash, *word));
    let Some(entry) = state else { return of_words };
    let (chunks, rest) = entry.value.as_chunks::<8>();
    let of_value = chunks.iter().fold(mixed(of_words, entry.version), |hash, chunk| {
        mixed(hash, u64::from_le_bytes(*chunk))
    });
    rest.iter().fold(of_value, |hash, byte| mixed(hash, u64::from(*byte)))
}

fn mixed(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
