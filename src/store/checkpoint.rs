//! The state's durable home: checkpoints in sled.
//!
//! One tree holds one state, a key for each of its records ([`Record`]); the default tree names
//! the tree that counts. A checkpoint of what changed is one batch, which sled applies
//! atomically. A whole new state goes into a tree of its own, and counts once its name is
//! written, so a crash in the middle leaves the old one.
//!
//! ```text
//!   default tree   "current" → "state-7"
//!   state-7        NAME           → checksum 8 │ length 4 │ value, its first 32 KiB
//!                  80 NAME piece  → the next 32 KiB, ...
//! ```
//!
//! What of sled is not relied on:
//!
//! * Its `flush` ends in `sync_file_range` on Linux, which empties no disk's cache and writes no
//!   file's size. Each save therefore ends with an `fdatasync` of sled's file of our own.
//! * What is larger than a quarter of a segment goes into files that it never syncs. Segments
//!   are 8 MiB, and no value is longer than 32 KiB.
//! * Damage it answers with a panic or with silence. Opening is done where a panic is caught;
//!   every record has a checksum, and the state's hash must come out right.
//!
//! A checkpoint that is damaged is no loss: the caller moves it aside, and the node asks its
//! leader for a snapshot.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::kv::{Builder, Changes, Record, StateMachine};
use quorate_core::store::{CheckpointStore, StoreError};
use xxhash_rust::xxh3::Xxh3;

/// The longest value that sled is given.
const PIECE: usize = 32 << 10;
/// The first byte of the key of a further piece; names of records begin with less.
const FURTHER: u8 = 0x80;
/// What comes before a record's value.
const HEAD: usize = 12;
/// So much of a whole state is written in one batch.
const BATCH_BYTES: usize = 1 << 20;
const CURRENT: &[u8] = b"current";

/// Checkpoints in a directory of sled's.
pub struct SledCheckpoints {
    path: PathBuf,
    db: sled::Db,
    tree: sled::Tree,
    /// The number in the tree's name.
    generation: u64,
    /// Records of several pieces, and how many.
    pieces: BTreeMap<Bytes, u32>,
    /// sled's file, to sync it.
    file: File,
    bytes: u64,
}

/// Why a directory holds no usable checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It is damaged: sled says so or panics, or the records do not make a state.
    #[error("the checkpoint in {path} cannot be used: {what}")]
    Damaged {
        /// The directory.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The operating system refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SledCheckpoints {
    /// Opens a directory, or makes it, and loads the state of its checkpoint, if there is one.
    ///
    /// # Errors
    /// `Damaged` where the directory is to be moved aside, `Store` where the disk refuses.
    pub fn open(
        path: &Path,
        cache_bytes: u64,
    ) -> Result<(Self, Option<StateMachine>), CheckpointError> {
        let opening = || {
            let mut store = Self::open_db(path, cache_bytes)?;
            let state = store.load()?;
            store.drop_others()?;
            Ok((store, state))
        };
        quietly(opening).unwrap_or_else(|panic| Err(damaged(path, format!("sled: {panic}"))))
    }

    fn open_db(path: &Path, cache_bytes: u64) -> Result<Self, CheckpointError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(8 << 20)
            .flush_every_ms(Some(1_000));
        let db = config.open().map_err(|error| opening(path, error))?;
        let file = File::open(path.join("db")).map_err(|error| io_error("open", path, &error))?;
        // The names that sled made, and its own directory's.
        for directory in [Some(path), path.parent()].into_iter().flatten() {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| io_error("sync", directory, &error))?;
        }
        let name = db.get(CURRENT).map_err(|error| opening(path, error))?;
        let generation = name.as_deref().map_or(Some(0), generation_of);
        let generation = generation.ok_or_else(|| damaged(path, "it names no state".to_owned()))?;
        let tree = db.open_tree(tree_name(generation)).map_err(|error| opening(path, error))?;
        let (path, pieces) = (path.to_owned(), BTreeMap::new());
        Ok(Self { path, db, tree, generation, pieces, file, bytes: 0 })
    }

    /// Reads the state back; `None` where there never was one.
    fn load(&mut self) -> Result<Option<StateMachine>, CheckpointError> {
        if self.generation == 0 {
            return Ok(None);
        }
        let mut builder = Builder::new();
        let mut progress = Progress::new();
        for found in &self.tree {
            let (name, stored) = found.map_err(|error| opening(&self.path, error))?;
            if name.first() == Some(&FURTHER) {
                break;
            }
            let name = Bytes::copy_from_slice(&name);
            let (value, pieces) =
                self.value(&name, &stored).map_err(|what| damaged(&self.path, what))?;
            if pieces > 1 {
                self.pieces.insert(name.clone(), pieces);
            }
            let added = builder.add(&name, &value);
            added.map_err(|error| damaged(&self.path, error.to_string()))?;
            progress.one_more(builder.records());
        }
        let state = builder.finish().map_err(|error| damaged(&self.path, error.to_string()))?;
        self.measure()?;
        Ok(Some(state))
    }

    /// A record's value, put together and checked, and the number of its pieces.
    fn value(&self, name: &Bytes, stored: &[u8]) -> Result<(Vec<u8>, u32), String> {
        let short = || "a record is cut short".to_owned();
        let (head, first) = stored.split_at_checked(HEAD).ok_or_else(short)?;
        let (checksum, length) = head.split_at(8);
        let length = u32::from_le_bytes(length.try_into().map_err(|_| short())?) as usize;
        let mut value = first.to_vec();
        let mut pieces = 1;
        while value.len() < length {
            let piece =
                self.tree.get(piece_key(name, pieces)).map_err(|error| error.to_string())?;
            value.extend_from_slice(&piece.ok_or_else(short)?);
            pieces += 1;
        }
        if value.len() != length || checksum != checksum_of(name, &value).to_le_bytes() {
            return Err("a record's checksum is wrong".to_owned());
        }
        Ok((value, pieces))
    }

    /// Removes states that do not count: of a replacement that was cut short, or replaced.
    fn drop_others(&self) -> Result<(), CheckpointError> {
        let current = tree_name(self.generation);
        for name in self.db.tree_names() {
            if name.starts_with(b"state-") && name != current.as_bytes() {
                self.db.drop_tree(&name).map_err(|error| opening(&self.path, error))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, batch: &mut sled::Batch, Record { name, value }: &Record) -> usize {
        let mut rest = value.as_ref();
        let first = rest.split_off(..rest.len().min(PIECE)).unwrap_or_default();
        let mut stored = Vec::with_capacity(HEAD + first.len());
        stored.extend_from_slice(&checksum_of(name, value).to_le_bytes());
        stored.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        stored.extend_from_slice(first);
        batch.insert(name.as_ref(), stored);
        let mut pieces = 1;
        for piece in rest.chunks(PIECE) {
            batch.insert(piece_key(name, pieces), piece);
            pieces += 1;
        }
        self.set_pieces(batch, name, pieces);
        name.len() + value.len() + HEAD
    }

    fn remove(&mut self, batch: &mut sled::Batch, name: &Bytes) {
        batch.remove(name.as_ref());
        self.set_pieces(batch, name, 0);
    }

    /// Notes how many pieces a record has now, and removes those that it has no more.
    fn set_pieces(&mut self, batch: &mut sled::Batch, name: &Bytes, pieces: u32) {
        let before = match pieces > 1 {
            true => self.pieces.insert(name.clone(), pieces),
            false => self.pieces.remove(name),
        };
        for gone in pieces.max(1)..before.unwrap_or(0) {
            batch.remove(piece_key(name, gone));
        }
    }

    fn save_changes(&mut self, state: &StateMachine, changes: Changes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for name in changes.names() {
            match state.record(&name) {
                Some(record) => drop(self.put(&mut batch, &record)),
                None => self.remove(&mut batch, &name),
            }
        }
        self.tree.apply_batch(batch).map_err(|error| self.failed("write", error))?;
        self.sync()
    }

    fn save_all(&mut self, state: &StateMachine) -> Result<(), StoreError> {
        let old = self.tree.name();
        self.generation += 1;
        let name = tree_name(self.generation);
        // Of an earlier attempt.
        self.db.drop_tree(&name).map_err(|error| self.failed("write", error))?;
        self.tree = self.db.open_tree(&name).map_err(|error| self.failed("write", error))?;
        self.pieces.clear();
        let (mut batch, mut bytes) = (sled::Batch::default(), 0);
        for record in state.records(&Bytes::new()) {
            bytes += self.put(&mut batch, &record);
            if bytes >= BATCH_BYTES {
                let full = std::mem::take(&mut batch);
                self.tree.apply_batch(full).map_err(|error| self.failed("write", error))?;
                bytes = 0;
            }
        }
        self.tree.apply_batch(batch).map_err(|error| self.failed("write", error))?;
        self.sync()?;
        self.db.insert(CURRENT, name.as_bytes()).map_err(|error| self.failed("write", error))?;
        self.sync()?;
        self.db.drop_tree(old).map_err(|error| self.failed("write", error)).map(drop)
    }

    /// Flushes sled's buffers, and then the file: only that survives a loss of power.
    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| self.failed("flush", error))?;
        self.file.sync_data().map_err(|error| io_error("sync", &self.path, &error))
    }

    fn measure(&mut self) -> Result<(), StoreError> {
        self.bytes = self.db.size_on_disk().map_err(|error| self.failed("measure", error))?;
        Ok(())
    }

    fn failed(&self, action: &'static str, error: sled::Error) -> StoreError {
        match error {
            sled::Error::Io(error) => io_error(action, &self.path, &error),
            other => StoreError::Io {
                action,
                path: self.path.display().to_string(),
                error: other.to_string(),
                full: false,
            },
        }
    }
}

impl CheckpointStore for SledCheckpoints {
    fn save(&mut self, state: &StateMachine, changes: Option<Changes>) -> Result<(), StoreError> {
        match changes {
            Some(changes) if self.generation > 0 => self.save_changes(state, changes)?,
            Some(_) | None => self.save_all(state)?,
        }
        self.measure()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

fn tree_name(generation: u64) -> String {
    format!("state-{generation}")
}

fn generation_of(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix("state-")?.parse().ok()
}

fn piece_key(name: &[u8], piece: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 5);
    key.push(FURTHER);
    key.extend_from_slice(name);
    key.extend_from_slice(&piece.to_be_bytes());
    key
}

fn checksum_of(name: &[u8], value: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&(name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(value);
    hash.digest()
}

fn damaged(path: &Path, what: String) -> CheckpointError {
    CheckpointError::Damaged { path: path.display().to_string(), what }
}

fn io_error(action: &'static str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        action,
        path: path.display().to_string(),
        error: error.to_string(),
        full: error.kind() == io::ErrorKind::StorageFull,
    }
}

/// The disk's errors are the disk's; all else that sled says at the start is about what it found.
fn opening(path: &Path, error: sled::Error) -> CheckpointError {
    match error {
        sled::Error::Io(error) if error.kind() != io::ErrorKind::Other => {
            CheckpointError::Store(io_error("open", path, &error))
        }
        other => damaged(path, format!("sled: {other}")),
    }
}

/// Runs what may panic, without the panic's lines on stderr; what it said then.
fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| log::debug!("checkpoint: {info}")));
    let done = catch_unwind(AssertUnwindSafe(act));
    std::panic::set_hook(hook);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "it panicked".to_owned())
    })
}

/// A line every second while a large state is loaded.
struct Progress {
    done: u64,
    said: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { done: 0, said: Instant::now() }
    }

    fn one_more(&mut self, all: Option<u64>) {
        self.done += 1;
        if self.done.is_multiple_of(1_024) && self.said.elapsed() >= Duration::from_secs(1) {
            self.said = Instant::now();
            let all = all.unwrap_or(self.done);
            let percent = self.done * 100 / all.max(1);
            log::info!("checkpoint: loaded {} of {all} records ({percent} %)", self.done);
        }
    }
}
