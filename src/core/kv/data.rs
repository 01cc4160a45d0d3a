//! The data: records by key, and the writes that change them.

use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::changes::Changes;
use super::command::WriteOp;
use super::digest::{self, Tally};
use super::held::Held;
use super::keyed::Keyed;
use super::record::{self as stored, KeyRecord, RawBytes};
use crate::types::Index;
use crate::wire::client::{ErrorCode, Expect, Failure, KeyValue, OpResult, Success};

/// What an entry is counted with beside its key and value: its numbers, its hash and its share
/// of the map.
const ENTRY_OVERHEAD_BYTES: u64 = 128;

/// A header may promise what never comes: room for no more keys is made before they are there.
const ROOM_AT_MOST: u64 = 1 << 20;

/// So much of a value is fetched before its record is made: of a longer one the processor itself
/// sees that all of it is read.
const FETCHED: usize = 1 << 10;

/// A line of the processor's caches.
const LINE: usize = 64;

/// The revision of an empty store.
const FIRST_REVISION: u64 = 1;

/// What the store knows of a key.
#[derive(Clone, Debug)]
pub(super) struct Record {
    value: Held,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    lease: u64,
    /// The hash of the entry, kept so that it can be taken out of the sum.
    hash: u64,
}

impl Record {
    /// A record of `key` at its creation.
    fn created(key: &[u8], value: Held, revision: u64) -> Self {
        let (create_revision, mod_revision, version, lease) = (revision, revision, 1, 0);
        Self { value, create_revision, mod_revision, version, lease, hash: 0 }.hashed(key)
    }

    /// The record that follows this one when `key` is written.
    fn rewritten(&self, key: &[u8], value: Held, revision: u64) -> Self {
        let (mod_revision, version) = (revision, self.version + 1);
        Self { value, mod_revision, version, lease: 0, hash: 0, ..*self }.hashed(key)
    }

    fn hashed(mut self, key: &[u8]) -> Self {
        let numbers = [self.create_revision, self.mod_revision, self.version, self.lease];
        self.hash = digest::entry(key, &self.value, numbers);
        self
    }

    pub(super) fn encode(&self) -> Bytes {
        let record = KeyRecord {
            value: RawBytes(&self.value),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        };
        stored::encode_with_room(&record, self.value.len())
    }

    fn tally(&self, key: &[u8]) -> Tally {
        let bytes = key.len() as u64 + self.value.len() as u64 + ENTRY_OVERHEAD_BYTES;
        Tally { hash: self.hash, bytes }
    }

    /// The entry, as replies bear it; long values are shared.
    pub(super) fn entry(&self, key: Bytes) -> KeyValue {
        KeyValue {
            key,
            value: self.value.bytes(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
        }
    }
}

/// All keys, and the store's revision.
#[derive(Clone, Debug)]
pub(super) struct Data {
    map: Keyed<Record>,
    revision: u64,
    tally: Tally,
}

impl Default for Data {
    fn default() -> Self {
        Self { map: Keyed::default(), revision: FIRST_REVISION, tally: Tally::default() }
    }
}

/// What a write did to a key: what was there, and the entry's new numbers.
struct Written {
    previous: Option<Record>,
    create_revision: u64,
    version: u64,
}

impl Data {
    pub(super) fn map(&self) -> &Keyed<Record> {
        &self.map
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The tally, counted anew from every entry.
    pub(super) fn recount(&self) -> Tally {
        let mut tally = Tally::default();
        for (key, record) in self.map.iter() {
            tally.add(record.clone().hashed(key).tally(key));
        }
        tally
    }

    /// The keys from there on, in order.
    pub(super) fn from<'a>(
        &'a self,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&'a Held, &'a Record)> + use<'a> {
        // Whoever asks may share a long value, and never look at it.
        self.map.from(from, |record| record.hash)
    }

    /// The records of the keys from there on, in order.
    pub(super) fn records<'a>(
        &'a self,
        from: Bound<&[u8]>,
    ) -> impl Iterator<Item = stored::Record> + use<'a> {
        let lines =
            |value: &Held| value.iter().take(FETCHED).step_by(LINE).fold(0, |sum, at| sum ^ at);
        let records = self.map.from(from, move |record| u64::from(lines(&record.value)));
        records.map(|(key, record)| stored::Record {
            name: stored::key_name(key),
            value: record.encode(),
        })
    }

    /// The value of a key's record, if the key is there.
    pub(super) fn record(&self, key: &[u8]) -> Option<Bytes> {
        self.map.get(key).map(Record::encode)
    }

    /// Puts a key in as its record says.
    pub(super) fn insert(&mut self, key: &[u8], record: KeyRecord<Bytes>) {
        let KeyRecord { value, create_revision, mod_revision, version, lease } = record;
        let value = Held::of(value);
        let record = Record { value, create_revision, mod_revision, version, lease, hash: 0 };
        let record = record.hashed(key);
        self.tally.add(record.tally(key));
        self.map.insert(key, record);
    }

    /// Makes room for so many keys, of a state that is put together.
    pub(super) fn reserve(&mut self, keys: u64) {
        self.map.reserve(usize::try_from(keys.min(ROOM_AT_MOST)).unwrap_or(0));
    }

    /// Sets the store's revision, of a state that is put together.
    pub(super) fn set_revision(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// Brings what is known of keys nearer, for those that will be written next.
    pub(super) fn fetch<'a>(&self, keys: impl Iterator<Item = &'a Bytes>) {
        self.map.fetch(keys.map(|key| &key[..]), |record| record.hash ^ record.mod_revision);
    }

    /// Executes one write.
    pub(super) fn execute(
        &mut self,
        op: WriteOp,
        value_bytes: u64,
        index: Index,
        changes: &mut Changes,
    ) -> OpResult {
        match op {
            WriteOp::Put { key, value, return_previous } => {
                Ok(self.put(&key, &value, return_previous, index, changes))
            }
            WriteOp::Append { key, value } => {
                self.append(&key, &value, value_bytes, index, changes)
            }
            WriteOp::Delete { key, return_previous } => {
                Ok(self.delete(&key, return_previous, index, changes))
            }
            WriteOp::CompareAndSwap { key, expect, value } => {
                Ok(self.compare_and_swap(key, &expect, value, index, changes))
            }
            WriteOp::Increment { key, by } => self.increment(&key, by, index, changes),
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        return_previous: bool,
        index: Index,
        changes: &mut Changes,
    ) -> Success {
        let held = Held::copied(value);
        let Ok(written) = self.write(key, changes, |_| Ok::<_, std::convert::Infallible>(held));
        // A copy: the session keeps the reply, and the key is a part of a batch.
        let asked = return_previous.then(|| Bytes::copy_from_slice(key));
        let previous = asked.map(|key| written.previous.map(|record| record.entry(key)));
        Success::Put { revision: self.revision, index: index.0, previous }
    }

    fn append(
        &mut self,
        key: &[u8],
        tail: &[u8],
        limit: u64,
        index: Index,
        changes: &mut Changes,
    ) -> OpResult {
        let mut length = 0;
        self.write(key, changes, |record| {
            let head = record.map_or(&[][..], |record| &record.value);
            length = head.len() as u64 + tail.len() as u64;
            if length > limit {
                return Err(too_large(length, limit));
            }
            if head.is_empty() {
                return Ok(Held::copied(tail));
            }
            let mut value = BytesMut::with_capacity(head.len() + tail.len());
            value.extend_from_slice(head);
            value.extend_from_slice(tail);
            Ok(Held::of(value.freeze()))
        })?;
        Ok(Success::Append { revision: self.revision, index: index.0, length })
    }

    fn delete(
        &mut self,
        key: &Bytes,
        return_previous: bool,
        index: Index,
        changes: &mut Changes,
    ) -> Success {
        let removed = self.remove(key, changes);
        let deleted = u64::from(removed.is_some());
        let previous = return_previous.then(|| removed.map(|record| record.entry(key.clone())));
        Success::Delete { revision: self.revision, index: index.0, deleted, previous }
    }

    fn compare_and_swap(
        &mut self,
        key: Bytes,
        expect: &Expect,
        value: Option<Bytes>,
        index: Index,
        changes: &mut Changes,
    ) -> Success {
        let (swapped, entry) = match value {
            Some(value) => match self.swap(key.clone(), expect, value, changes) {
                Ok(entry) => (true, Some(entry)),
                Err(found) => (false, found.map(|record| record.entry(key))),
            },
            None => match self.map.get(&key) {
                found if !is_expected(expect, found) => {
                    (false, found.map(|record| record.entry(key)))
                }
                _ => {
                    self.remove(&key, changes);
                    (true, None)
                }
            },
        };
        Success::CompareAndSwap { revision: self.revision, index: index.0, swapped, entry }
    }

    /// Writes `key` if it is as expected and gives its new entry; else gives what is there.
    fn swap(
        &mut self,
        key: Bytes,
        expect: &Expect,
        value: Bytes,
        changes: &mut Changes,
    ) -> Result<KeyValue, Option<Record>> {
        let held = Held::of(value.clone());
        let written = self.write(&key, changes, |record| {
            if is_expected(expect, record) || mutant!(FailedSwapWrites) {
                Ok(held)
            } else {
                Err(record.cloned())
            }
        })?;
        Ok(KeyValue {
            key,
            value,
            create_revision: written.create_revision,
            mod_revision: self.revision,
            version: written.version,
            lease: 0,
        })
    }

    fn increment(&mut self, key: &[u8], by: i64, index: Index, changes: &mut Changes) -> OpResult {
        let mut number = 0;
        self.write(key, changes, |record| {
            let found = record.map_or(Some(0), |record| parse_number(&record.value));
            let found = found.ok_or_else(not_a_number)?;
            number = found.checked_add(by).ok_or_else(|| overflow(found, by))?;
            Ok(Held::copied(number.to_string().as_bytes()))
        })?;
        Ok(Success::Increment { revision: self.revision, index: index.0, number })
    }

    /// Writes `key` with the value that `decide` makes of what is there, and raises the
    /// revision. Nothing changes where `decide` refuses. A key that exists is looked up once.
    fn write<E>(
        &mut self,
        key: &[u8],
        changes: &mut Changes,
        decide: impl FnOnce(Option<&Record>) -> Result<Held, E>,
    ) -> Result<Written, E> {
        let revision = self.revision + 1;
        let written = if let Some((slot, record)) = self.map.get_mut(key) {
            let next = record.rewritten(key, decide(Some(record))?, revision);
            changes.written(slot, record.mod_revision);
            self.tally.add(next.tally(key));
            self.tally.remove(record.tally(key));
            let (create_revision, version) = (next.create_revision, next.version);
            let previous = Some(std::mem::replace(record, next));
            Written { previous, create_revision, version }
        } else {
            let record = Record::created(key, decide(None)?, revision);
            self.tally.add(record.tally(key));
            changes.written(self.map.insert(key, record), 0);
            Written { previous: None, create_revision: revision, version: 1 }
        };
        self.revision = revision;
        Ok(written)
    }

    /// Removes `key`, and raises the revision if it was there.
    fn remove(&mut self, key: &Bytes, changes: &mut Changes) -> Option<Record> {
        if mutant!(DeleteOfNothingIsAWrite) && self.map.get(key).is_none() {
            self.revision += 1;
        }
        let record = self.map.remove(key)?;
        changes.removed(key, record.create_revision);
        if !mutant!(HashKeepsWhatIsDeleted) {
            self.tally.remove(record.tally(key));
        }
        self.revision += 1;
        Some(record)
    }
}

fn is_expected(expect: &Expect, found: Option<&Record>) -> bool {
    match expect {
        Expect::Absent | Expect::ModRevision(0) => found.is_none(),
        Expect::Value(value) => found.is_some_and(|record| *record.value == **value),
        Expect::ModRevision(revision) => {
            found.is_some_and(|record| record.mod_revision == *revision)
        }
    }
}

/// The number that a value spells: ASCII digits behind an optional `-`, within an `i64`, and
/// nothing else (no `+`, no spaces, not empty). Leading zeros and `-0` are accepted, since they
/// are decimal numbers; what an increment writes never has them.
fn parse_number(value: &[u8]) -> Option<i64> {
    if value.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn not_a_number() -> Failure {
    let message = "the value is not a decimal integer of 64 bits, so nothing can be added to \
                   it: put a number first";
    Failure::new(ErrorCode::BadRequest, message)
}

fn overflow(found: i64, by: i64) -> Failure {
    let message =
        format!("{found} and {by} overflow an integer of 64 bits: increment by less in `by`");
    Failure::new(ErrorCode::BadRequest, message)
}

fn too_large(size: u64, limit: u64) -> Failure {
    let message =
        format!("the value would be {size} bytes long, the limit is {limit}: append less");
    Failure::new(ErrorCode::TooLarge, message)
}
