//! Writing the log: staging, one write and one sync, rolling to the next segment.

use std::collections::VecDeque;
use std::sync::Arc;

use super::format::{
    self, HEADER, Header, Kind, encode_entry, encode_hard_state, encode_position, encode_record,
    record_size,
};
use super::recover::{Extent, Found, io, recover};
use super::segment::{Segment, Spare};
use super::{Options, Recovered};
use crate::fs::Fs;
use crate::store::{LogStore, StoreError};
use crate::types::{Entry, HardState, Index, Position};

/// So many trimmed segments are kept to be used again: about as many as one trim lets go of where
/// checkpoints are dear.
const SPARES: usize = 3;

/// An opened log.
pub struct Wal {
    fs: Arc<dyn Fs>,
    options: Options,
    segment: Segment,
    next_sequence: u64,
    /// The segments before this one, oldest first.
    sealed: VecDeque<Extent>,
    syncs: u64,
    /// The log's state with everything staged.
    last: Position,
    base: Position,
    hard_state: HardState,
    /// Terms of the entries, to know the last position after a truncation: runs of
    /// (first index, term).
    terms: Vec<Position>,
    staged: Staged,
    /// Kept for its room.
    out: Vec<u8>,
    /// Segments that were trimmed, to be used again.
    spares: Vec<Spare>,
    /// Segments that were trimmed, oldest first, whose space is still to be freed.
    gone: VecDeque<Spare>,
    failed: Option<StoreError>,
}

/// Records that wait for the next sync, unchained.
#[derive(Default)]
struct Staged {
    payloads: Vec<u8>,
    records: Vec<(Kind, usize)>,
    /// The bytes that they will take.
    size: usize,
    /// The log's state before them, for a header that comes before them.
    before: Option<(Position, HardState)>,
    /// The lowest truncation among them.
    cuts_from: Option<Index>,
}

impl Wal {
    /// Opens the log of a directory, or begins one, and reads it back.
    ///
    /// # Errors
    /// `Foreign` where it is somebody else's, `Damaged` where something that was durable once
    /// is not there any more, `Io` where the disk fails. Nothing is changed then.
    pub fn open(fs: Arc<dyn Fs>, options: Options) -> Result<(Self, Recovered), StoreError> {
        fs.create_dir(format::DIR).map_err(|error| io("create", format::DIR, &error))?;
        let Found { recovered, tail, next_sequence, mut segments, leftovers } =
            recover(&*fs, &options)?;
        let last = recovered.entries.last().map_or(recovered.base, Entry::position);
        let reopened = match (&tail, segments.last()) {
            (Some(tail), Some(extent)) => Segment::reopen(&*fs, &options, tail, extent)?,
            (_, _) => None,
        };
        let (segment, next_sequence) = match reopened {
            Some(segment) => {
                segments.pop();
                (segment, next_sequence)
            }
            None => {
                let header = header(&options, next_sequence, last, recovered.hard_state);
                (Segment::create(&*fs, &options, &header, None)?, next_sequence + 1)
            }
        };
        let mut wal = Self {
            fs,
            options,
            segment,
            next_sequence,
            sealed: segments.into(),
            syncs: 0,
            last: recovered.base,
            base: recovered.base,
            hard_state: recovered.hard_state,
            terms: vec![],
            staged: Staged::default(),
            out: vec![],
            spares: vec![],
            gone: VecDeque::new(),
            failed: None,
        };
        for entry in &recovered.entries {
            wal.went_on(entry.position());
        }
        leftovers.iter().try_for_each(|path| wal.remove(path))?;
        Ok((wal, recovered))
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

    fn stage(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        let before = (self.last, self.hard_state);
        let staged = &mut self.staged;
        staged.before.get_or_insert(before);
        let start = staged.payloads.len();
        write(&mut staged.payloads);
        let length = staged.payloads.len() - start;
        staged.records.push((kind, length));
        staged.size += record_size(length);
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let room = self.segment.end + (self.staged.size + 2 * record_size(0)) as u64;
        if room > self.options.segment_bytes && self.segment.end > HEADER as u64 {
            self.roll()?;
        }
        let Staged { payloads, records, size, before, cuts_from } = &mut self.staged;
        if let Some(from) = cuts_from.take() {
            self.segment.cuts(from);
        }
        let out = &mut self.out;
        out.clear();
        out.reserve(*size);
        let Segment { mut chain, synced, seed, .. } = self.segment;
        let mut rest = payloads.as_slice();
        for (kind, length) in records.drain(..) {
            let (payload, after) = rest.split_at(length);
            rest = after;
            chain = encode_record(out, kind, payload, chain, synced, seed);
        }
        self.segment.grow(out.len() as u64, self.options.preallocate_bytes)?;
        payloads.clear();
        (*size, *before) = (0, None);
        self.segment.write(out, chain)?;
        self.segment.sync()?;
        self.syncs += 1;
        self.segment.mark()
    }

    /// Seals the segment and begins the next one.
    fn roll(&mut self) -> Result<(), StoreError> {
        let mut seal = Vec::new();
        let Segment { chain, synced, seed, .. } = self.segment;
        let chain = encode_record(&mut seal, Kind::Seal, &[], chain, synced, seed);
        self.segment.write(&mut seal, chain)?;
        if !mutant!(WalSealIsNotSynced) {
            self.segment.sync()?;
        }
        let now = (self.last, self.hard_state);
        let before = self.staged.before.filter(|_| !mutant!(WalHeaderTellsWhatIsStaged));
        let (last, hard_state) = before.unwrap_or(now);
        let vote = hard_state.vote.filter(|_| !mutant!(WalHeaderForgetsTheVote));
        let hard_state = HardState { vote, ..hard_state };
        let header = header(&self.options, self.next_sequence, last, hard_state);
        let spare = self.spares.pop();
        let next = Segment::create(&*self.fs, &self.options, &header, spare.as_ref())?;
        let full = std::mem::replace(&mut self.segment, next);
        self.sealed.push_back(full.extent());
        self.next_sequence += 1;
        Ok(())
    }

    fn remove_until(&mut self, through: Index) -> Result<(), StoreError> {
        let current = self.segment.extent();
        let mut keep = 0;
        let mut cuts_from = None::<Index>;
        let all = self.sealed.iter().chain([&current]).enumerate();
        for (place, extent) in all.collect::<Vec<_>>().into_iter().rev() {
            cuts_from = match (cuts_from, extent.cuts_from) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let whole = cuts_from.is_none_or(|from| from > extent.base.index);
            let covered = extent.base.index <= through && (place == 0 || extent.base.index.0 > 0);
            if covered && (whole || mutant!(WalTrimIgnoresTruncations)) {
                keep = place;
                break;
            }
        }
        if keep == 0 {
            return Ok(());
        }
        let gone: Vec<Extent> = self.sealed.drain(..keep).collect();
        let first = self.sealed.front().copied().unwrap_or(current);
        self.name_first(first.sequence)?;
        self.let_go(&gone)?;
        if first.base.index > self.base.index {
            self.base = first.base;
            let older = self.terms.iter().filter(|run| run.index <= first.base.index).count();
            self.terms.drain(..older.saturating_sub(1));
        }
        Ok(())
    }

    /// Says durably where the log begins, before anything of it goes: from then on what is
    /// before it does not count, in whatever order it disappears.
    fn name_first(&self, sequence: u64) -> Result<(), StoreError> {
        let failed = |error: std::io::Error| io("write", format::FIRST, &error);
        let mut file = self.fs.open(format::NEW_FIRST, true).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        let content = format::encode_first(&self.options.identity, sequence);
        file.write_at(0, &content).map_err(failed)?;
        file.sync().map_err(failed)?;
        // Its content is found by its name only, so that is durable before it is given another.
        self.fs.sync_dir(format::DIR).map_err(failed)?;
        self.fs.rename(format::NEW_FIRST, format::FIRST).map_err(failed)?;
        self.fs.sync_dir(format::DIR).map_err(failed)
    }

    /// Segments that do not count any more. Some files are kept to become the next segments: they
    /// need not be filled with zeros, and their blocks are there, in the kernel's memory as a rule.
    fn let_go(&mut self, gone: &[Extent]) -> Result<(), StoreError> {
        let before = self.spares.len();
        for extent in gone {
            let (path, bytes) = (format::path(extent.sequence), extent.bytes);
            if self.spares.len() == SPARES || bytes > 2 * self.options.segment_bytes {
                self.gone.push_back(Spare { path, bytes });
                continue;
            }
            let spare = format::spare_path(extent.sequence);
            self.fs.rename(&path, &spare).map_err(|error| io("rename", &path, &error))?;
            self.spares.push(Spare { path: spare, bytes });
        }
        if self.spares.len() > before {
            // What is written into them is found by their names, so those are durable first.
            let renamed = self.fs.sync_dir(format::DIR);
            renamed.map_err(|error| io("rename", format::DIR, &error))?;
        }
        Ok(())
    }

    /// Frees up to `most` bytes of what is gone, file by file, each from its end.
    fn free(&mut self, mut most: u64) -> Result<(), StoreError> {
        while most > 0
            && let Some(Spare { path, bytes }) = self.gone.front_mut()
        {
            if *bytes > most {
                let failed = |error: std::io::Error| io("shorten", path, &error);
                *bytes -= most;
                return self
                    .fs
                    .open(path, false)
                    .and_then(|mut file| file.set_len(*bytes))
                    .map_err(failed);
            }
            most -= *bytes;
            let path = std::mem::take(path);
            self.gone.pop_front();
            self.remove(&path)?;
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.fs.remove(path).map_err(|error| io("remove", path, &error))
    }

    fn term_at(&self, index: Index) -> Position {
        let run = self.terms.iter().rev().find(|run| run.index <= index);
        run.map_or(self.base, |run| Position { term: run.term, index })
    }
}

fn header(options: &Options, sequence: u64, base: Position, hard_state: HardState) -> Header {
    Header { identity: options.identity, sequence, base, hard_state, reused: false }
}

impl LogStore for Wal {
    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        self.usable()?;
        for entry in entries {
            let (position, last) = (entry.position(), self.last);
            assert!(position.index == last.index.next(), "{position} after {last} leaves a gap");
            assert!(position.term >= last.term, "{position} after {last}: the term falls");
            self.stage(Kind::Entry, |out| encode_entry(out, entry));
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
        self.stage(Kind::Truncate, |out| out.extend_from_slice(&from.0.to_le_bytes()));
        let lowest = self.staged.cuts_from.map_or(from, |lowest| lowest.min(from));
        self.staged.cuts_from = Some(lowest);
        self.terms.retain(|run| run.index < from);
        self.last = self.term_at(from.previous());
        Ok(())
    }

    fn reset(&mut self, base: Position) -> Result<(), StoreError> {
        self.usable()?;
        self.stage(Kind::Reset, |out| out.extend_from_slice(&encode_position(base)));
        self.terms.clear();
        (self.base, self.last) = (base, base);
        Ok(())
    }

    /// Removes the oldest segments, as many as the log can be read without: the next one begins
    /// at or below `through`, and nothing in it or behind it reaches back before that.
    fn trim(&mut self, through: Index) -> Result<(), StoreError> {
        self.usable()?;
        let removed = self.remove_until(through);
        self.failed = removed.clone().err();
        removed
    }

    /// A crash in between leaves files that do not count; the next start removes them.
    fn reclaim(&mut self, most: u64, all: bool) -> Result<bool, StoreError> {
        self.usable()?;
        if all {
            self.gone.extend(self.spares.drain(..));
        }
        let freed = self.free(most);
        self.failed = freed.clone().err();
        freed.map(|()| !self.gone.is_empty())
    }

    fn save_hard_state(&mut self, hard_state: HardState) -> Result<(), StoreError> {
        self.usable()?;
        assert!(hard_state.term >= self.hard_state.term, "the term falls");
        self.stage(Kind::HardState, |out| {
            out.extend_from_slice(&encode_hard_state(hard_state));
        });
        self.hard_state = hard_state;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        let waits = |(kind, _): &(Kind, usize)| {
            !mutant!(WalTermAloneIsNotSynced) || *kind != Kind::HardState
        };
        if !self.staged.records.iter().any(waits) {
            return Ok(());
        }
        let flushed = self.flush();
        if mutant!(WalSwallowsAnError) {
            return Ok(());
        }
        self.failed = flushed.clone().err();
        flushed
    }

    fn last_index(&self) -> Index {
        self.last.index
    }

    fn bytes(&self) -> u64 {
        let left = self.spares.iter().chain(&self.gone).map(|file| file.bytes).sum::<u64>();
        self.sealed.iter().map(|extent| extent.bytes).sum::<u64>() + self.segment.length + left
    }

    fn syncs(&self) -> u64 {
        self.syncs
    }
}
