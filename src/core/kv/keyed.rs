//! Values by key, in order, with points in time for little, and found without a search.
//!
//! A tree of keys answers a look-up with a dozen comparisons, each in another place of memory:
//! that was a fifth of all that a put costs. So the values are in numbered [`Slots`]. Of those who
//! know a key's slot,
//!
//! * the *order*, a persistent tree, is asked where order matters, and in points in time. It
//!   changes only when a key comes or goes;
//! * the *index*, a hash table, is asked for the rest. Points in time have none. It is in
//!   [`SHARDS`] parts, because a table that grows moves all that it holds at once: with ten million
//!   keys in one, applying would pause for a second.
//!
//! The index hashes with the process's own random keys, so that nobody can choose keys that meet
//! in it. Nothing of that shows: what is in order comes from the tree.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::ops::Bound;

use hashbrown::HashTable;
use imbl::OrdMap;

use super::held::Held;
use super::slots::Slots;

/// The parts of the index.
const SHARDS: usize = 256;

/// So many values are fetched at once where all are wanted.
const AHEAD: usize = 32;

/// A slot's number.
pub(super) type Slot = u32;

/// Values by key.
#[derive(Debug)]
pub(super) struct Keyed<V: Clone> {
    order: OrdMap<Held, Slot>,
    /// An empty one is nobody's, to be used again.
    slots: Slots<(Held, V)>,
    /// What only the original has, and a copy that is changed makes anew.
    own: Option<Own>,
}

/// The index, and which slots are nobody's.
#[derive(Debug)]
struct Own {
    hasher: RandomState,
    shards: Vec<HashTable<Slot>>,
    free: Vec<Slot>,
}

impl<V: Clone> Clone for Keyed<V> {
    /// A point in time.
    fn clone(&self) -> Self {
        Self { order: self.order.clone(), slots: self.slots.clone(), own: None }
    }
}

impl<V: Clone> Default for Keyed<V> {
    fn default() -> Self {
        Self { order: OrdMap::new(), slots: Slots::default(), own: None }
    }
}

impl<V: Clone> Keyed<V> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&V> {
        let slot = match &self.own {
            Some(own) => own.find(key, &self.slots)?,
            None => *self.order.get(key)?,
        };
        self.at(slot).map(|(_, value)| value)
    }

    /// Looks for keys together, and reads a part of what is there, to no other end than to have it
    /// in the processor's caches. The steps to one key wait for memory one after the other; those of
    /// many keys are taken at once.
    pub(super) fn fetch<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, read: impl Fn(&V) -> u64) {
        let Some(own) = &self.own else { return };
        let slots: Vec<Slot> = keys.filter_map(|key| own.likely(key)).collect();
        self.read(&slots, read);
    }

    fn read(&self, slots: &[Slot], read: impl Fn(&V) -> u64) {
        let there = slots.iter().filter_map(|slot| self.at(*slot));
        black_box(there.fold(0, |sum, (key, value)| sum ^ read(value) ^ key.len() as u64));
    }

    pub(super) fn get_mut(&mut self, key: &[u8]) -> Option<(Slot, &mut V)> {
        self.own();
        let slot = self.own.as_ref()?.find(key, &self.slots)?;
        let (_, value) = self.slots.get_mut(place(slot))?;
        Some((slot, value))
    }

    /// Makes room in the index for so many keys, so that it is not made anew as it grows.
    pub(super) fn reserve(&mut self, keys: usize) {
        self.own().reserve(keys);
    }

    /// Puts a key in that is not there; its slot.
    pub(super) fn insert(&mut self, key: &[u8], value: V) -> Slot {
        let key = Held::copied(key);
        let next = self.slots.len();
        let free = self.own().free.pop();
        let slot = free.or_else(|| Slot::try_from(next).ok());
        let slot = slot.expect("memory ends before 2^32 keys");
        self.order.insert(key.clone(), slot);
        if let Some(own) = &mut self.own {
            own.insert(&key, slot, &self.slots);
        }
        self.slots.set(place(slot), Some((key, value)));
        slot
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.own();
        let own = self.own.as_mut()?;
        let slot = own.remove(key, &self.slots)?;
        self.order.remove(key);
        let (_, value) = self.slots.set(place(slot), None)?;
        Some(value)
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Held, &V)> {
        self.order.iter().filter_map(|(_, slot)| self.at(*slot))
    }

    /// Those behind a key, or from it on, in order. Those that come next are [fetched](Self::fetch)
    /// meanwhile: in the order of keys each is in another place of memory. `read` reads a part of a
    /// value for that.
    pub(super) fn from<'a, R: Fn(&V) -> u64 + 'a>(
        &'a self,
        start: Bound<&[u8]>,
        read: R,
    ) -> impl Iterator<Item = (&'a Held, &'a V)> + use<'a, V, R> {
        let range = self.order.range::<_, [u8]>((start, Bound::Unbounded));
        let mut slots = range.map(|(_, slot)| *slot);
        // Few at first: most who ask want few.
        let (mut next, mut at, mut ahead) = (Vec::new(), 0, 1);
        let ahead_of = move || {
            if at == next.len() {
                next.clear();
                next.extend(slots.by_ref().take(ahead));
                (at, ahead) = (0, (ahead * 2).min(AHEAD));
                self.read(&next, &read);
            }
            let slot = *next.get(at)?;
            at += 1;
            Some(slot)
        };
        std::iter::from_fn(ahead_of).filter_map(|slot| self.at(slot))
    }

    /// The key that is in a slot, and its value.
    pub(super) fn at(&self, slot: Slot) -> Option<(&Held, &V)> {
        self.slots.get(place(slot)).map(|(key, value)| (key, value))
    }

    fn own(&mut self) -> &mut Own {
        let Self { slots, own, .. } = self;
        own.get_or_insert_with(|| Own::of(slots))
    }
}

fn place(slot: Slot) -> usize {
    slot as usize
}

impl Own {
    fn of<V: Clone>(slots: &Slots<(Held, V)>) -> Self {
        let shards = (0..SHARDS).map(|_| HashTable::new()).collect();
        let mut own = Self { hasher: RandomState::new(), shards, free: Vec::new() };
        own.reserve(slots.len());
        for (slot, there) in (0..).zip(slots.iter()) {
            match there {
                Some((key, _)) => own.insert(key, slot, slots),
                None => own.free.push(slot),
            }
        }
        own
    }

    fn reserve(&mut self, keys: usize) {
        // No part has exactly its share.
        let share = keys / SHARDS * 9 / 8;
        for shard in &mut self.shards {
            // Where it is empty there is nothing to hash again.
            if shard.is_empty() {
                shard.reserve(share, |_| 0);
            }
        }
    }

    /// A key's hash, and the part of the index that it belongs to.
    fn hash(&self, key: &[u8]) -> (u64, usize) {
        let hash = self.hasher.hash_one(key);
        // A table itself looks at the highest and the lowest bits.
        (hash, usize::try_from((hash >> 32) % SHARDS as u64).unwrap_or(0))
    }

    fn find<V: Clone>(&self, key: &[u8], slots: &Slots<(Held, V)>) -> Option<Slot> {
        let (hash, shard) = self.hash(key);
        self.shards.get(shard)?.find(hash, |slot| is_at(key, *slot, slots)).copied()
    }

    /// Where a key most likely is, by its hash alone.
    fn likely(&self, key: &[u8]) -> Option<Slot> {
        let (hash, shard) = self.hash(key);
        self.shards.get(shard)?.iter_hash(hash).next().copied()
    }

    fn insert<V: Clone>(&mut self, key: &[u8], slot: Slot, slots: &Slots<(Held, V)>) {
        let (hash, shard) = self.hash(key);
        let Self { hasher, shards, .. } = self;
        let again = |slot: &Slot| match slots.get(place(*slot)) {
            Some((key, _)) => hasher.hash_one(&key[..]),
            None => 0,
        };
        if let Some(shard) = shards.get_mut(shard) {
            shard.insert_unique(hash, slot, again);
        }
    }

    /// Takes a key out; its slot is free.
    fn remove<V: Clone>(&mut self, key: &[u8], slots: &Slots<(Held, V)>) -> Option<Slot> {
        let (hash, shard) = self.hash(key);
        let shard = self.shards.get_mut(shard)?;
        let found = shard.find_entry(hash, |slot| is_at(key, *slot, slots)).ok()?;
        let (slot, _) = found.remove();
        self.free.push(slot);
        Some(slot)
    }
}

fn is_at<V: Clone>(key: &[u8], slot: Slot, slots: &Slots<(Held, V)>) -> bool {
    matches!(slots.get(place(slot)), Some((there, _)) if **there == *key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<Bytes, u64>;

    fn check(keyed: &Keyed<u64>, model: &Model, from: &Bytes) {
        assert_eq!(keyed.len(), model.len());
        let bytes = |(key, value): (&Held, &u64)| (key.bytes(), *value);
        let model_bytes = |(key, value): (&Bytes, &u64)| (key.clone(), *value);
        assert!(keyed.iter().map(bytes).eq(model.iter().map(model_bytes)));
        let behind = model.range((Bound::Excluded(from.clone()), Bound::Unbounded));
        let found = keyed.from(Bound::Excluded(from), |value| *value);
        assert!(found.map(bytes).eq(behind.map(model_bytes)));
        assert_eq!(keyed.get(from), model.get(from));
    }

    #[test]
    fn who_takes_few_has_few_fetched() {
        let mut keyed = Keyed::default();
        for key in 0..1_000_u64 {
            keyed.insert(&key.to_be_bytes(), key);
        }
        for taken in [0, 1, 2, 3, 10, 100, 1_000] {
            let fetched = std::cell::Cell::new(0);
            let read = |value: &u64| {
                fetched.set(fetched.get() + 1);
                *value
            };
            assert_eq!(keyed.from(Bound::Unbounded, read).take(taken).count(), taken);
            assert!(fetched.get() <= (2 * taken).min(taken + AHEAD), "{taken}: {}", fetched.get());
        }
    }

    proptest! {
        #[test]
        fn behaves_as_a_map_and_so_do_its_points_in_time(
            ops in prop::collection::vec((0..4u8, 0..40u64), 0..300),
        ) {
            let (mut keyed, mut model) = (Keyed::default(), Model::new());
            let mut before = (keyed.clone(), model.clone());
            for (step, (what, number)) in ops.into_iter().enumerate() {
                // Short ones and long ones, of the longest short length, too.
                let length = usize::try_from(36 + number % 5).unwrap();
                let key = Bytes::from(format!("{number:0length$}"));
                let value = step as u64;
                match (what, model.contains_key(&key)) {
                    (0, _) => {
                        prop_assert_eq!(keyed.remove(&key), model.remove(&key));
                    }
                    (1, _) => before = (keyed.clone(), model.clone()),
                    (_, true) => {
                        *keyed.get_mut(&key).unwrap().1 = value;
                        model.insert(key.clone(), value);
                    }
                    (_, false) => {
                        prop_assert!(keyed.get_mut(&key).is_none());
                        keyed.insert(&key, value);
                        model.insert(key.clone(), value);
                    }
                }
                check(&keyed, &model, &key);
                check(&before.0, &before.1, &key);
                // A copy goes on by itself.
                if what == 3 && number == 0 {
                    keyed = keyed.clone();
                }
            }
        }
    }

    #[test]
    fn a_slot_is_used_again() {
        let mut keyed = Keyed::default();
        for round in 0..10u64 {
            for key in ["a", "b", "c"] {
                keyed.insert(format!("{key}{round}").as_bytes(), round);
            }
            for key in ["c", "a", "b"] {
                assert_eq!(keyed.remove(format!("{key}{round}").as_bytes()), Some(round));
            }
        }
        assert_eq!((keyed.len(), keyed.slots.len()), (0, 3));
    }
}
