//! How far a log was durable, in a small file beside it.
//!
//! sled may open a damaged file and give less than it held, without a word. So after each sync
//! the log says here what it has made durable; at the start it must hold at least that.
//!
//! Two slots are written in turns, so that one that is torn leaves the other. A slot is written
//! after the sync that it tells of, hence it never says too much, whenever it reaches the disk.
//! It is synced where term or vote change, and now and then: what it may miss after a loss of
//! power is a few batches of entries, never a vote.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use quorate_core::store::StoreError;
use quorate_core::types::{HardState, Index, NodeId, Term};
use xxhash_rust::xxh3::xxh3_64;

use super::sled_db::io_error;

/// A slot has a block of its own.
const SLOT: u64 = 4_096;
const WORDS: usize = 6;
/// So many slots are written for one sync of them.
const SYNC_EVERY: u64 = 64;

/// What was durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the last batch; 0 before the first.
    pub(super) batch: u64,
    /// Its checksum.
    pub(super) checksum: u64,
    /// The last entry's index.
    pub(super) last: Index,
    /// The term and vote.
    pub(super) hard_state: HardState,
}

/// The file.
pub(super) struct Watermark {
    path: PathBuf,
    file: File,
    newest: Mark,
}

impl Watermark {
    /// Makes the file, which says that nothing was durable yet. Durable on return.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| io_error("create", path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        let newest = Mark::default();
        for slot in 0..2 {
            file.write_all_at(&encode(newest), slot * SLOT).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|directory| directory.sync_all()).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, newest })
    }

    /// Opens the file; `None` where there is none.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, StoreError> {
        let failed = |error: io::Error| io_error("open", path, &error);
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut newest = None::<Mark>;
        for slot in 0..2 {
            let mut bytes = [0; 8 * (WORDS + 1)];
            match file.read_exact_at(&mut bytes, slot * SLOT) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(failed(error)),
            }
            let found = decode(&bytes);
            newest = match (newest, found) {
                (Some(a), Some(b)) => Some(if b.batch > a.batch { b } else { a }),
                (a, b) => a.or(b),
            };
        }
        let Some(newest) = newest else {
            return Err(StoreError::Damaged {
                path: path.display().to_string(),
                offset: 0,
                what: "neither of its two slots can be read".to_owned(),
            });
        };
        Ok(Some(Self { path: path.to_owned(), file, newest }))
    }

    pub(super) fn newest(&self) -> Mark {
        self.newest
    }

    /// Notes what has just become durable.
    pub(super) fn save(&mut self, mark: Mark) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&encode(mark), mark.batch % 2 * SLOT);
        written.map_err(|error| io_error("write", &self.path, &error))?;
        let votes = mark.hard_state != self.newest.hard_state;
        self.newest = mark;
        if votes || mark.batch.is_multiple_of(SYNC_EVERY) {
            let synced = self.file.sync_data();
            synced.map_err(|error| io_error("sync", &self.path, &error))?;
        }
        Ok(())
    }
}

fn encode(mark: Mark) -> Vec<u8> {
    let Mark { batch, checksum, last, hard_state: HardState { term, vote } } = mark;
    let vote = vote.map_or(0, |vote| vote.0);
    let words: [u64; WORDS] = [1, batch, checksum, last.0, term.0, vote];
    let body = words.map(u64::to_le_bytes).concat();
    [xxh3_64(&body).to_le_bytes().as_slice(), &body].concat()
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (checksum, body) = bytes.split_at_checked(8)?;
    if xxh3_64(body).to_le_bytes() != checksum {
        return None;
    }
    let mut words = body.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    let mut word = || words.next();
    if word()? != 1 {
        return None;
    }
    let (batch, checksum, last) = (word()?, word()?, Index(word()?));
    let (term, vote) = (Term(word()?), word()?);
    let vote = (vote != 0).then_some(NodeId(vote));
    Some(Mark { batch, checksum, last, hard_state: HardState { term, vote } })
}
