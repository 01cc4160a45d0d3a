//! A run of records in pieces: what one checkpoint writes, and nothing is ever changed in.
//!
//! ```text
//!   tree state-GENERATION.NUMBER.PART
//!     NUMBER PIECE   → checksum 8 │ the next piece of the run
//!   a run:  1 │ lengths 4, 4 │ name │ value      a record
//!           0 │ length 4 │ name                  one that is gone
//!           2 │ count 8                          the end
//! ```
//!
//! A part is a tree of eight pieces. sled writes all of a node again when it has been changed ten
//! times, and twice when it is split because it has more than sixteen entries: in one tree for all
//! of it a piece was written three times, and kept in memory as often for a while. The pieces grow
//! from part to part, so that there are few trees: the list of all of them is written for each
//! that comes or goes.
//!
//! Before, a generation was one tree, `state-GENERATION`, with the pieces of all its runs. It is
//! read, and the next checkpoint is a whole one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::kv::Record;
use xxhash_rust::xxh3::Xxh3;

use crate::store::sled_db::{PIECE, ROUNDED, SEGMENT_BYTES};

/// The pieces of a part.
const PART: u32 = 8;

/// The pieces of a part are twice as long as those before, so many times.
const DOUBLED: u32 = 2;

/// A part is a node of sled's, and half as long as what would be in a file that is never synced.
const _: () = assert!(piece_bytes(DOUBLED) * PART as usize <= SEGMENT_BYTES / 4 / 2);

/// The length of a part's pieces. Each is just short of a power of two, as [`PIECE`] is.
const fn piece_bytes(part: u32) -> usize {
    let doubled = if part < DOUBLED { part } else { DOUBLED };
    ((PIECE + ROUNDED) << doubled) - ROUNDED
}

/// After so many bytes sled's buffers are flushed: it would let them grow without a bound, as
/// long as it is given more than the disk takes.
const FLUSH_EVERY: usize = 2 << 20;

/// The longest rest after a flush.
const LONGEST_REST: Duration = Duration::from_millis(100);

const GONE: u8 = 0;
const RECORD: u8 = 1;
const END: u8 = 2;

/// Which run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) generation: u64,
    pub(super) number: u64,
}

/// A part of a run, which is a tree.
pub(super) struct Part {
    pub(super) run: Run,
    pub(super) number: u32,
}

impl Part {
    fn tree_name(&self) -> String {
        format!("state-{}.{}.{}", self.run.generation, self.run.number, self.number)
    }

    /// The part that a tree is; `None` for a tree of something else.
    pub(super) fn of_tree(name: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(name).ok()?.strip_prefix("state-")?.split('.');
        let generation = numbers.next()?.parse().ok()?;
        let run = Run { generation, number: numbers.next()?.parse().ok()? };
        Some(Self { run, number: numbers.next()?.parse().ok()? })
    }
}

/// Writes a run.
pub(super) struct Writer<'a> {
    db: &'a sled::Db,
    run: Run,
    /// The part that is being written.
    tree: Option<sled::Tree>,
    piece: u32,
    buffer: Vec<u8>,
    /// A piece with its checksum; here so that its memory is used again.
    stored: Vec<u8>,
    records: u64,
    bytes: u64,
    /// Since sled's buffers were flushed.
    unflushed: usize,
    /// The end of the last rest, where it rests: for as long as it worked.
    rested: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// A writer of a run. One that rests leaves the disk and the processor to others half of the time.
    pub(super) fn new(db: &'a sled::Db, run: Run, rests: bool) -> Self {
        Self {
            db,
            run,
            tree: None,
            piece: 0,
            buffer: Vec::new(),
            stored: Vec::new(),
            records: 0,
            bytes: 0,
            unflushed: 0,
            rested: rests.then(Instant::now),
        }
    }

    pub(super) fn put(&mut self, Record { name, value }: &Record) -> Result<(), sled::Error> {
        self.buffer.push(RECORD);
        self.buffer.extend_from_slice(&length(name).to_le_bytes());
        self.buffer.extend_from_slice(&length(value).to_le_bytes());
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(value);
        self.added()
    }

    pub(super) fn gone(&mut self, name: &[u8]) -> Result<(), sled::Error> {
        self.buffer.push(GONE);
        self.buffer.extend_from_slice(&length(name).to_le_bytes());
        self.buffer.extend_from_slice(name);
        self.added()
    }

    /// Ends the run; the bytes that were written.
    pub(super) fn finish(mut self) -> Result<u64, sled::Error> {
        self.buffer.push(END);
        self.buffer.extend_from_slice(&self.records.to_le_bytes());
        self.write_full()?;
        let rest = std::mem::take(&mut self.buffer);
        if !rest.is_empty() {
            self.write(&rest)?;
        }
        Ok(self.bytes)
    }

    fn added(&mut self) -> Result<(), sled::Error> {
        self.records += 1;
        self.write_full()
    }

    /// Writes the pieces that are full.
    fn write_full(&mut self) -> Result<(), sled::Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut written = 0;
        while let Some(piece) = buffer.get(written..written + piece_bytes(self.piece / PART)) {
            self.write(piece)?;
            written += piece.len();
        }
        buffer.drain(..written);
        self.buffer = buffer;
        Ok(())
    }

    /// A piece is an insertion of its own. sled keeps what a batch replaces in memory until the
    /// batch ends and longer: batches of many records grew a process by hundreds of megabytes.
    fn write(&mut self, piece: &[u8]) -> Result<(), sled::Error> {
        let key = key(self.run.number, self.piece);
        let mut stored = std::mem::take(&mut self.stored);
        stored.clear();
        stored.extend_from_slice(&checksum(&key, piece).to_le_bytes());
        stored.extend_from_slice(piece);
        self.tree()?.insert(key, stored.as_slice())?;
        self.stored = stored;
        self.piece += 1;
        self.bytes += 8 + piece.len() as u64;
        self.unflushed += piece.len();
        if self.unflushed >= FLUSH_EVERY {
            self.unflushed = 0;
            self.db.flush()?;
            if let Some(rested) = &mut self.rested {
                std::thread::sleep(rested.elapsed().min(LONGEST_REST));
                *rested = Instant::now();
            }
        }
        Ok(())
    }

    /// The tree that the next piece belongs to.
    fn tree(&mut self) -> Result<&sled::Tree, sled::Error> {
        if self.piece.is_multiple_of(PART) {
            self.tree = None;
        }
        match &mut self.tree {
            Some(tree) => Ok(tree),
            none => {
                let part = Part { run: self.run, number: self.piece / PART };
                Ok(none.insert(self.db.open_tree(part.tree_name())?))
            }
        }
    }
}

fn length(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    assert!(length as usize == bytes.len(), "a record of more than 4 GiB");
    length
}

fn key(number: u64, piece: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn checksum(key: &[u8], piece: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(key);
    hash.update(piece);
    hash.digest()
}

/// Why a run cannot be read.
pub(super) enum Unreadable {
    Sled(sled::Error),
    Damaged(String),
}

impl From<&str> for Unreadable {
    fn from(what: &str) -> Self {
        Unreadable::Damaged(what.to_owned())
    }
}

/// Reads a run back: names, with values or without.
pub(super) struct Reader {
    run: Run,
    /// The parts to come, and the rest of the one that is read.
    parts: std::vec::IntoIter<sled::Tree>,
    part: Option<sled::Iter>,
    piece: u32,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer.
    at: usize,
    records: u64,
    bytes: u64,
    done: bool,
}

impl Reader {
    /// Of a run that is in these parts, in order.
    pub(super) fn new(run: Run, parts: Vec<sled::Tree>) -> Self {
        let (parts, part, buffer) = (parts.into_iter(), None, vec![]);
        Self { run, parts, part, piece: 0, buffer, at: 0, records: 0, bytes: 0, done: false }
    }

    /// Of a run that is in one tree with the others of its generation.
    pub(super) fn of_one_tree(run: Run, tree: &sled::Tree) -> Self {
        let part = Some(tree.scan_prefix(run.number.to_be_bytes()));
        Self { part, ..Self::new(run, vec![]) }
    }

    /// The bytes that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next so many bytes.
    fn take(&mut self, count: usize) -> Result<&[u8], Unreadable> {
        while self.buffer.len() - self.at < count {
            let (found, stored) = self.next_piece()?.ok_or("a checkpoint is cut short")?;
            let (written, piece) = stored.split_at_checked(8).ok_or("a piece is cut short")?;
            let key = key(self.run.number, self.piece);
            if *found != key || checksum(&key, piece).to_le_bytes() != written {
                return Err("a piece is missing or its checksum is wrong".into());
            }
            self.buffer.drain(..std::mem::take(&mut self.at));
            self.buffer.extend_from_slice(piece);
            self.piece += 1;
            self.bytes += stored.len() as u64;
        }
        let start = self.at;
        self.at += count;
        self.buffer.get(start..self.at).ok_or("a checkpoint is cut short".into())
    }

    /// What follows in its part, or else in the next one.
    fn next_piece(&mut self) -> Result<Option<(sled::IVec, sled::IVec)>, Unreadable> {
        loop {
            if let Some(next) = self.part.as_mut().and_then(Iterator::next) {
                return next.map(Some).map_err(Unreadable::Sled);
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            self.part = Some(part.iter());
        }
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| "a checkpoint is cut short".into())
    }

    fn record(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, Unreadable> {
        let [kind] = self.number()?;
        match kind {
            END => {
                let count = u64::from_le_bytes(self.number()?);
                let over = self.at == self.buffer.len() && self.next_piece()?.is_none();
                if count != self.records || !over {
                    return Err("a checkpoint has another length than it should".into());
                }
                Ok(None)
            }
            GONE => {
                let name = u32::from_le_bytes(self.number()?) as usize;
                Ok(Some((Bytes::copy_from_slice(self.take(name)?), None)))
            }
            RECORD => {
                let name = u32::from_le_bytes(self.number()?) as usize;
                let value = u32::from_le_bytes(self.number()?) as usize;
                let name = Bytes::copy_from_slice(self.take(name)?);
                Ok(Some((name, Some(Bytes::copy_from_slice(self.take(value)?)))))
            }
            _ => Err("a record of an unknown kind".into()),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<(Bytes, Option<Bytes>), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let record = self.record();
        self.done = !matches!(record, Ok(Some(_)));
        self.records += 1;
        record.transpose()
    }
}
