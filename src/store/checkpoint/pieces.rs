//! A run of records in pieces of not quite 32 KiB: what one checkpoint writes, and nothing is ever changed in.
//!
//! ```text
//!   NUMBER PIECE   → checksum 8 │ the next piece of the run
//!   a run:  1 │ lengths 4, 4 │ name │ value      a record
//!           0 │ length 4 │ name                  one that is gone
//!           2 │ count 8                          the end
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::kv::Record;
use xxhash_rust::xxh3::Xxh3;

use crate::store::sled_db::PIECE;

/// After so many pieces sled's buffers are flushed: it would let them grow without a bound, as
/// long as it is given more than the disk takes.
const FLUSH_EVERY: u32 = 64;

/// The longest rest after a flush.
const LONGEST_REST: Duration = Duration::from_millis(100);

const GONE: u8 = 0;
const RECORD: u8 = 1;
const END: u8 = 2;

/// Writes a run.
pub(super) struct Writer<'a> {
    tree: &'a sled::Tree,
    number: u64,
    piece: u32,
    buffer: Vec<u8>,
    records: u64,
    bytes: u64,
    /// The end of the last rest, where it rests: for as long as it worked.
    rested: Option<Instant>,
}

impl<'a> Writer<'a> {
    /// A writer of a run. One that rests leaves the disk and the processor to others half of the time.
    pub(super) fn new(tree: &'a sled::Tree, number: u64, rests: bool) -> Self {
        let (buffer, rested) = (Vec::with_capacity(2 * PIECE), rests.then(Instant::now));
        Self { tree, number, piece: 0, buffer, records: 0, bytes: 0, rested }
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
        let rest = std::mem::take(&mut self.buffer);
        rest.chunks(PIECE).try_for_each(|piece| self.write(piece))?;
        Ok(self.bytes)
    }

    fn added(&mut self) -> Result<(), sled::Error> {
        self.records += 1;
        let whole = self.buffer.len() - self.buffer.len() % PIECE;
        if whole > 0 {
            let rest = self.buffer.split_off(whole);
            let full = std::mem::replace(&mut self.buffer, rest);
            full.chunks(PIECE).try_for_each(|piece| self.write(piece))?;
        }
        Ok(())
    }

    /// A piece is an insertion of its own. sled keeps what a batch replaces in memory until the
    /// batch ends and longer: batches of many records grew a process by hundreds of megabytes.
    fn write(&mut self, piece: &[u8]) -> Result<(), sled::Error> {
        let key = key(self.number, self.piece);
        let mut stored = Vec::with_capacity(8 + piece.len());
        stored.extend_from_slice(&checksum(&key, piece).to_le_bytes());
        stored.extend_from_slice(piece);
        self.tree.insert(key, stored)?;
        self.piece += 1;
        self.bytes += 8 + piece.len() as u64;
        if self.piece.is_multiple_of(FLUSH_EVERY) {
            self.tree.flush()?;
            if let Some(rested) = &mut self.rested {
                std::thread::sleep(rested.elapsed().min(LONGEST_REST));
                *rested = Instant::now();
            }
        }
        Ok(())
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
    pieces: sled::Iter,
    number: u64,
    piece: u32,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer.
    at: usize,
    records: u64,
    bytes: u64,
    done: bool,
}

impl Reader {
    pub(super) fn new(tree: &sled::Tree, number: u64) -> Self {
        let pieces = tree.scan_prefix(number.to_be_bytes());
        Self { pieces, number, piece: 0, buffer: vec![], at: 0, records: 0, bytes: 0, done: false }
    }

    /// The bytes that were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next so many bytes.
    fn take(&mut self, count: usize) -> Result<&[u8], Unreadable> {
        while self.buffer.len() - self.at < count {
            let next = self.pieces.next().ok_or("a checkpoint is cut short")?;
            let (found, stored) = next.map_err(Unreadable::Sled)?;
            let (written, piece) = stored.split_at_checked(8).ok_or("a piece is cut short")?;
            let key = key(self.number, self.piece);
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

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| "a checkpoint is cut short".into())
    }

    fn record(&mut self) -> Result<Option<(Bytes, Option<Bytes>)>, Unreadable> {
        let [kind] = self.number()?;
        match kind {
            END => {
                let count = u64::from_le_bytes(self.number()?);
                let over = self.at == self.buffer.len() && self.pieces.next().is_none();
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
