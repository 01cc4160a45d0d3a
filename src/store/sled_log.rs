//! A second home of the log: sled, for those who want one storage engine, and as a mirror of
//! the first in tests. The default is the log in segments ([`quorate_core::wal`]).
//!
//! Everything between two syncs is one record, and one batch for sled, which applies it
//! atomically:
//!
//! ```text
//!   i                        whose log it is
//!   m                        where it begins, term and vote, the number and checksum of the last record
//!   r NUMBER PIECE           checksum 8 │ chain 8 │ length 4 │ entries and truncations
//!   watermark                (a file of its own) the last record that was durable, term and vote
//! ```
//!
//! * `chain` is the checksum of the record before: records cannot be missing, old or swapped
//!   without being found out.
//! * That the *end* is missing no chain tells, and sled does not, either: the
//!   module `watermark` does.
//! * Trimming removes whole records from the front; one that began the log anew behind a
//!   snapshot lets go of all before it.
//!
//! What it costs: each entry is written twice or more (sled's own collection of segments), and
//! sled's batches and flushes exclude each other in the whole process, so a log in sled waits
//! for a checkpoint's batch. See `sled_db.rs` for what is not relied on.

mod format;
mod read;

use std::collections::VecDeque;
use std::path::Path;

use quorate_core::store::{LogStore, StoreError};
use quorate_core::types::{Entry, HardState, Index, Position};
use quorate_core::wal::{Identity, Recovered};

use self::format::{Extent, META, Meta, Staged};
use super::sled_db::{Db, quietly};
use super::watermark::{Mark, Watermark};

/// sled's memory for a log that is read at the start only.
const CACHE_BYTES: u64 = 16 << 20;
/// So many removals are one batch.
const REMOVALS: usize = 1_000;

/// A log in sled.
pub struct SledLog {
    db: Db,
    watermark: Watermark,
    /// What is durable.
    meta: Meta,
    /// The durable records, oldest first.
    extents: VecDeque<Extent>,
    staged: Staged,
    /// The log's state with everything staged.
    base: Position,
    last: Position,
    /// Terms of the entries: runs of (first index, term).
    terms: Vec<Position>,
    syncs: u64,
    bytes: u64,
    failed: Option<StoreError>,
}

impl SledLog {
    /// Opens the log in a directory, or begins one, and reads it back.
    ///
    /// # Errors
    /// `Foreign` where it is somebody else's, `Damaged` where it cannot be read, or something
    /// that was durable once is not there any more, `Io` where the disk fails.
    pub fn open(path: &Path, identity: Identity) -> Result<(Self, Recovered), StoreError> {
        let opening = || read::open(path, CACHE_BYTES, &identity);
        quietly(opening).unwrap_or_else(|panic| Err(read::damaged(path, format!("sled: {panic}"))))
    }

    /// Whether a directory holds such a log.
    #[must_use]
    pub fn is_in(path: &Path) -> bool {
        path.join(read::DATABASE).exists() || path.join(read::WATERMARK).exists()
    }

    fn usable(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn went_on(&mut self, position: Position) {
        if self.terms.last().is_none_or(|run| run.term != position.term) {
            self.terms.push(position);
        }
        self.last = position;
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let staged = std::mem::take(&mut self.staged);
        let number = self.meta.last + 1;
        let mut batch = sled::Batch::default();
        let (checksum, pieces) =
            format::record(&mut batch, number, self.meta.checksum, &staged.payload);
        let before = staged.before.unwrap_or(self.last);
        let mut meta = Meta { last: number, checksum, ..self.meta };
        meta.hard_state = staged.hard_state.unwrap_or(meta.hard_state);
        if staged.begins_anew {
            (meta.first, meta.base) = (number, before);
        }
        batch.insert(META, meta.encode());
        self.db.db.apply_batch(batch).map_err(|error| self.db.failed("write", error))?;
        self.db.sync()?;
        self.syncs += 1;
        self.meta = meta;
        let (last, hard_state) = (self.last.index, meta.hard_state);
        self.watermark.save(Mark { batch: number, checksum, last, hard_state })?;
        if staged.begins_anew {
            let gone = std::mem::take(&mut self.extents);
            self.remove(gone.into_iter().flat_map(Extent::keys))?;
        }
        let cuts_from = staged.cuts_from;
        self.extents.push_back(Extent { number, pieces, base: before, cuts_from });
        self.bytes = self.db.bytes()?;
        Ok(())
    }

    /// Removes pieces of records that count no more.
    fn remove(&self, keys: impl IntoIterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        for some in keys.chunks(REMOVALS) {
            let mut batch = sled::Batch::default();
            some.iter().for_each(|key| batch.remove(key.as_slice()));
            self.db.db.apply_batch(batch).map_err(|error| self.db.failed("write", error))?;
        }
        Ok(())
    }

    /// How many of the oldest records the log can be read without: the one behind them begins
    /// at or below `through`, and nothing from it on reaches back before that.
    fn needless(&self, through: Index) -> usize {
        let mut cuts_from = self.staged.cuts_from;
        for (place, extent) in self.extents.iter().enumerate().rev() {
            cuts_from = [cuts_from, extent.cuts_from].into_iter().flatten().min();
            let whole = cuts_from.is_none_or(|from| from > extent.base.index);
            if whole && extent.base.index <= through {
                return place;
            }
        }
        0
    }

    fn trim_until(&mut self, through: Index) -> Result<(), StoreError> {
        let count = self.needless(through);
        let Some(first) = self.extents.get(count).copied().filter(|_| count > 0) else {
            return Ok(());
        };
        // Durably said before anything goes.
        self.meta.first = first.number;
        self.meta.base = first.base;
        let said = self.db.db.insert(META, self.meta.encode());
        said.map_err(|error| self.db.failed("write", error))?;
        self.db.sync()?;
        let gone: Vec<Extent> = self.extents.drain(..count).collect();
        self.remove(gone.into_iter().flat_map(Extent::keys))?;
        self.base = first.base;
        let older = self.terms.iter().filter(|run| run.index <= first.base.index).count();
        self.terms.drain(..older.saturating_sub(1));
        Ok(())
    }

    fn position_of(&self, index: Index) -> Position {
        let run = self.terms.iter().rev().find(|run| run.index <= index);
        match run {
            Some(run) if index > self.base.index => Position { term: run.term, index },
            Some(_) | None => self.base,
        }
    }
}

impl LogStore for SledLog {
    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.usable()?;
        for entry in entries {
            let (position, last) = (entry.position(), self.last);
            assert!(position.index == last.index.next(), "{position} after {last} leaves a gap");
            assert!(position.term >= last.term, "{position} after {last}: the term falls");
            self.staged.entry(last, entry);
            self.went_on(position);
        }
        Ok(())
    }

    fn truncate_from(&mut self, from: Index) -> Result<(), StoreError> {
        self.usable()?;
        assert!(from > self.base.index, "truncation of the removed prefix at {from}");
        if from > self.last.index {
            return Ok(());
        }
        self.staged.truncate(self.last, from);
        self.terms.retain(|run| run.index < from);
        self.last = self.position_of(from.previous());
        Ok(())
    }

    fn save_hard_state(&mut self, hard_state: HardState) -> Result<(), StoreError> {
        self.usable()?;
        let term = self.staged.hard_state.unwrap_or(self.meta.hard_state).term;
        assert!(hard_state.term >= term, "the term falls");
        self.staged.before.get_or_insert(self.last);
        self.staged.hard_state = Some(hard_state);
        Ok(())
    }

    fn reset(&mut self, base: Position) -> Result<(), StoreError> {
        self.usable()?;
        self.staged.begin_anew(base);
        self.terms.clear();
        (self.base, self.last) = (base, base);
        Ok(())
    }

    fn trim(&mut self, through: Index) -> Result<(), StoreError> {
        self.usable()?;
        if self.staged.begins_anew {
            // All of it goes with the next sync.
            return Ok(());
        }
        let trimmed = self.trim_until(through);
        self.failed = trimmed.clone().err();
        trimmed
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if self.staged.before.is_none() {
            return Ok(());
        }
        let flushed = self.flush();
        self.failed = flushed.clone().err();
        flushed
    }

    fn last_index(&self) -> Index {
        self.last.index
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn syncs(&self) -> u64 {
        self.syncs
    }
}
