//! The segment that is written: one file of the log.

use std::io;

use super::Options;
use super::format::{self, HEADER, Header, Kind, RECORD, encode_record, record_size};
use super::recover::{Extent, Tail, checksum_of_header, io};
use crate::fs::{File, Fs};
use crate::store::StoreError;
use crate::types::{Index, Position};

/// The segment that is written.
pub(super) struct Segment {
    pub(super) sequence: u64,
    /// The last entry before it.
    pub(super) base: Position,
    /// The lowest truncation in it.
    pub(super) cuts_from: Option<Index>,
    pub(super) path: String,
    pub(super) file: Box<dyn File>,
    /// Where the next record goes, and what it is chained to.
    pub(super) end: u64,
    pub(super) chain: u64,
    /// Durable up to here.
    pub(super) synced: u64,
    /// The file's length: zeros from `end` on.
    pub(super) length: u64,
    pub(super) seed: u64,
}

/// A file that was a segment.
pub(super) struct Spare {
    pub(super) path: String,
    pub(super) bytes: u64,
}

impl Segment {
    /// Makes a segment: its header and its first zeros are durable before it is used, and so is
    /// its name.
    pub(super) fn create(
        fs: &dyn Fs,
        options: &Options,
        header: &Header,
        spare: Option<&Spare>,
    ) -> Result<Self, StoreError> {
        let path = format::path(header.sequence);
        let header = &Header { reused: spare.is_some(), ..*header };
        let failed = |error: std::io::Error| io("create", &path, &error);
        let (file, length) = match spare {
            Some(spare) => Self::reuse(fs, header, spare, &path).map_err(failed)?,
            None => Self::begin(fs, options, header, &path).map_err(failed)?,
        };
        if !mutant!(WalSegmentNameIsNotSynced) {
            fs.sync_dir(format::DIR).map_err(failed)?;
        }
        let (end, chain) = (HEADER as u64, checksum_of_header(&header.encode()));
        let seed = format::seed(&options.identity, header.sequence);
        let (sequence, base) = (header.sequence, header.base);
        Ok(Self {
            sequence,
            base,
            cuts_from: None,
            path,
            file,
            end,
            chain,
            synced: end,
            length,
            seed,
        })
    }

    /// A new file of zeros behind a header.
    fn begin(
        fs: &dyn Fs,
        options: &Options,
        header: &Header,
        path: &str,
    ) -> io::Result<(Box<dyn File>, u64)> {
        let mut file = fs.open(path, true)?;
        // A file whose making was cut short may hold anything.
        file.set_len(0)?;
        file.write_at(0, &header.encode())?;
        let length = options.preallocate_bytes.max(HEADER as u64);
        write_zeros(&mut *file, HEADER as u64, length)?;
        file.sync()?;
        Ok((file, length))
    }

    /// An old segment's file behind a new header. It gets its name once the header is durable:
    /// under that name there is never another segment's header. The records of the old one stay
    /// where they are; their checksums begin with another seed, so that none passes for a record
    /// of the new one.
    fn reuse(
        fs: &dyn Fs,
        header: &Header,
        spare: &Spare,
        path: &str,
    ) -> io::Result<(Box<dyn File>, u64)> {
        let mut file = fs.open(&spare.path, false)?;
        let first = [header.encode().as_slice(), &[0; RECORD]].concat();
        file.write_at(0, &first)?;
        file.sync()?;
        fs.rename(&spare.path, path)?;
        Ok((fs.open(path, false)?, spare.bytes))
    }

    pub(super) fn extent(&self) -> Extent {
        let Self { sequence, base, cuts_from, length: bytes, .. } = *self;
        Extent { sequence, base, bytes, cuts_from }
    }

    pub(super) fn cuts(&mut self, from: Index) {
        self.cuts_from = Some(self.cuts_from.map_or(from, |lowest| lowest.min(from)));
    }

    /// Makes the last segment durable as it was read, and goes on with it unless it is sealed.
    ///
    /// A torn tail is cleared, so that no later crash can bring a part of it back. What no
    /// record vouches for is written again: it may be in the kernel's memory only, and after a
    /// sync that failed the kernel takes it for written, so that syncing again does nothing.
    pub(super) fn reopen(
        fs: &dyn Fs,
        options: &Options,
        tail: &Tail,
        extent: &Extent,
    ) -> Result<Option<Self>, StoreError> {
        let path = format::path(tail.sequence);
        let failed = |error: std::io::Error| io("open", &path, &error);
        let mut file = fs.open(&path, false).map_err(failed)?;
        let mut length = tail.length;
        if tail.dirty && !mutant!(WalOldTailComesBack) {
            file.set_len(tail.end).map_err(failed)?;
            length = tail.end;
        }
        if !mutant!(WalTrustsWhatItReads) {
            let unsure = usize::try_from(tail.end - tail.vouched).unwrap_or(usize::MAX);
            let mut bytes = vec![0; unsure];
            let read = file.read_at(tail.vouched, &mut bytes).map_err(failed)?;
            assert!(read == unsure, "{path} is shorter than it was a moment ago");
            file.write_at(tail.vouched, &bytes).map_err(failed)?;
            file.sync().map_err(failed)?;
        }
        fs.sync_dir(format::DIR).map_err(failed)?;
        let seed = format::seed(&options.identity, tail.sequence);
        let (end, chain) = (tail.end, tail.chain);
        let Extent { sequence, base, cuts_from, .. } = *extent;
        let segment =
            Self { sequence, base, cuts_from, path, file, end, chain, synced: end, length, seed };
        Ok((!tail.sealed).then_some(segment))
    }

    /// Makes room for `bytes` more, in steps of zeros.
    pub(super) fn grow(&mut self, bytes: u64, step: u64) -> Result<(), StoreError> {
        // The mark follows, and an empty header.
        let wanted = self.end + bytes + 2 * record_size(0) as u64;
        if wanted <= self.length {
            return Ok(());
        }
        let new = wanted.next_multiple_of(step.max(4_096));
        let written = write_zeros(&mut *self.file, self.length, new);
        written.map_err(|error| io("write", &self.path, &error))?;
        self.length = new;
        Ok(())
    }

    /// Writes whole records, and behind them the empty header that an end is told by.
    pub(super) fn write(&mut self, bytes: &mut Vec<u8>, chain: u64) -> Result<(), StoreError> {
        let end = bytes.len();
        bytes.extend_from_slice(&[0; RECORD]);
        let written = self.file.write_at(self.end, bytes);
        written.map_err(|error| io("write", &self.path, &error))?;
        self.length = self.length.max(self.end + bytes.len() as u64);
        self.end += end as u64;
        self.chain = chain;
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), StoreError> {
        if !mutant!(WalDoesNotSync) {
            self.file.sync().map_err(|error| io("sync", &self.path, &error))?;
        }
        self.synced = self.end;
        Ok(())
    }

    /// Vouches for what was just synced.
    pub(super) fn mark(&mut self) -> Result<(), StoreError> {
        let mut mark = Vec::new();
        let (chain, synced) = (self.chain, self.synced);
        let chain = encode_record(&mut mark, Kind::Mark, &[], chain, synced, self.seed);
        self.write(&mut mark, chain)
    }
}

/// Writes zeros from an offset to another, from one buffer.
fn write_zeros(file: &mut dyn File, from: u64, to: u64) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let mut at = from;
    while at < to {
        let count = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS.len());
        file.write_at(at, ZEROS.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
    Ok(())
}
