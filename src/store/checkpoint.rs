//! The state's durable home: checkpoints in sled.
//!
//! The records of one state ([`quorate_core::kv::Record`]) are a run, in pieces in trees of their own
//! (`pieces.rs`), and behind it is a run of what changed for each checkpoint since. The default tree says
//! which generation and how many runs count. It is written last, so a crash in the middle of anything
//! leaves the checkpoint before.
//!
//! ```text
//!   default tree   "current" → generation 7, and 2 runs of changes count
//!   state-7.0.*    the whole state, when the generation began
//!   state-7.1.*    what changed until the next checkpoint
//!   state-7.2.*    ...
//! ```
//!
//! Where the changes would become three quarters as long as the state was, or there are very many
//! runs, a checkpoint writes the whole state as a new generation, and the old one goes. How long they will be is estimated by the
//! mean length of a record. So what is on disk, and in sled's memory, is about twice the state at
//! most; three times where the records that change are much longer than the others, and once more
//! while a whole one is written.
//!
//! Why not a key in sled for each record, and a batch for each checkpoint: with 10 MB of small
//! values overwritten again and again its memory grew by 90 MB for each checkpoint and its file
//! by 25 MB, without an end (docs/architecture.md has the figures). A few large values it keeps
//! well.
//!
//! What of sled is not relied on is said in `sled_db.rs`. It does not tell when it has lost
//! something, so every piece has a checksum, and the state's hash must come out right.
//!
//! A checkpoint that is damaged is no loss: the caller moves it aside, and the node asks its
//! leader for a snapshot.

mod pieces;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_core::kv::{Builder, Change, Changes, StateMachine};
use quorate_core::store::{CheckpointStore, StoreError};
use xxhash_rust::xxh3::xxh3_64;

use self::pieces::{Part, Reader, Run, Unreadable, Writer};
use super::sled_db::{Db, NotOpened, SEGMENT_BYTES, quietly};

/// Changes of so many bytes are kept, also where the state is smaller.
const LEAST_CHANGES: u64 = 1 << 20;
/// So many runs of changes are kept: each is at least one tree, and sled's list of them must not
/// grow without a bound.
const MOST_RUNS: u64 = 256;

const CURRENT: &[u8] = b"current";

/// Checkpoints in a directory of sled's.
pub struct SledCheckpoints {
    db: Db,
    /// Which checkpoint counts.
    current: Current,
    /// It is in one tree, as an earlier version wrote it.
    in_one_tree: bool,
    /// The bytes of the whole state, and of the changes since.
    whole: u64,
    changed: u64,
    bytes: u64,
    rests: bool,
}

/// The checkpoint that counts.
#[derive(Clone, Copy, Default)]
struct Current {
    /// The number in its trees' names; 0 where there is no checkpoint yet.
    generation: u64,
    /// How many runs of changes follow the whole state.
    runs: u64,
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
            store.drop_others().map_err(|error| store.unreadable(Unreadable::Sled(error)))?;
            Ok((store, state))
        };
        quietly(opening).unwrap_or_else(|panic| Err(damaged(path, format!("sled: {panic}"))))
    }

    /// Checkpoints that are written beside other work, on a node that serves: they rest for as
    /// long as they work, so that the log's syncs find the disk free.
    #[must_use]
    pub fn beside_other_work(self) -> Self {
        Self { rests: true, ..self }
    }

    fn open_db(path: &Path, cache_bytes: u64) -> Result<Self, CheckpointError> {
        let opened = |error| not_opened(path, NotOpened::of(path, error));
        let db = Db::open(path, cache_bytes).map_err(|error| not_opened(path, error))?;
        let current = db.db.get(CURRENT).map_err(opened)?;
        let current = current.as_deref().map_or(Some(Current::default()), Current::decode);
        let current = current.ok_or_else(|| damaged(path, "it names no state".to_owned()))?;
        let in_one_tree = db.db.tree_names().iter().any(|name| current.is_one_tree(name));
        Ok(Self { db, current, in_one_tree, whole: 0, changed: 0, bytes: 0, rests: false })
    }

    /// Reads the state back; `None` where there never was one.
    fn load(&mut self) -> Result<Option<StateMachine>, CheckpointError> {
        if self.current.generation == 0 {
            return Ok(None);
        }
        let mut changes = BTreeMap::new();
        let mut readers = self.readers()?.into_iter();
        let mut whole = readers.next().ok_or_else(|| self.unreadable("no state".into()))?;
        for mut reader in readers {
            for record in &mut reader {
                let (name, value) = record.map_err(|error| self.unreadable(error))?;
                changes.insert(name, value);
            }
            self.changed += reader.bytes();
        }
        let mut builder = Builder::new();
        let mut progress = Progress::new();
        let mut add = |name: &Bytes, value: &Bytes| {
            let added = builder.add(name, value);
            progress.one_more(builder.records());
            added.map_err(|error| damaged(&self.db.path, error.to_string()))
        };
        for record in &mut whole {
            let (name, value) = record.map_err(|error| self.unreadable(error))?;
            while let Some(first) = changes.first_entry()
                && *first.key() < name
            {
                let (name, value) = first.remove_entry();
                value.map_or(Ok(()), |value| add(&name, &value))?;
            }
            // What is newer counts.
            let value = changes.remove(&name).unwrap_or(value);
            value.map_or(Ok(()), |value| add(&name, &value))?;
        }
        for (name, value) in changes {
            value.map_or(Ok(()), |value| add(&name, &value))?;
        }
        self.whole = whole.bytes();
        let state = builder.finish();
        let state = state.map_err(|error| damaged(&self.db.path, error.to_string()))?;
        self.bytes = self.db.bytes()?;
        Ok(Some(state))
    }

    /// A reader of each run that counts, the whole state's first.
    fn readers(&self) -> Result<Vec<Reader>, CheckpointError> {
        let open = |name: &[u8]| {
            let opened = self.db.db.open_tree(name);
            opened.map_err(|error| self.unreadable(Unreadable::Sled(error)))
        };
        let runs = (0..=self.current.runs).map(|number| self.current.run(number));
        if self.in_one_tree {
            let tree = open(self.current.one_tree().as_bytes())?;
            return Ok(runs.map(|run| Reader::of_one_tree(run, &tree)).collect());
        }
        let mut parts = BTreeMap::<u64, BTreeMap<u32, sled::Tree>>::new();
        for name in self.db.db.tree_names() {
            if let Some(part) = Part::of_tree(&name).filter(|part| self.current.counts(part.run)) {
                parts.entry(part.run.number).or_default().insert(part.number, open(&name)?);
            }
        }
        let mut parts_of = |run: Run| parts.remove(&run.number).unwrap_or_default();
        Ok(runs.map(|run| Reader::new(run, parts_of(run).into_values().collect())).collect())
    }

    fn unreadable(&self, error: Unreadable) -> CheckpointError {
        let path = &self.db.path;
        match error {
            Unreadable::Sled(error) => not_opened(path, NotOpened::of(path, error)),
            Unreadable::Damaged(what) => damaged(path, what),
        }
    }

    /// Removes what does not count: of a checkpoint that was cut short, or replaced.
    fn drop_others(&self) -> Result<(), sled::Error> {
        for name in self.db.db.tree_names() {
            let counts = match Part::of_tree(&name) {
                Some(part) => self.current.counts(part.run),
                None => !name.starts_with(b"state-") || self.current.is_one_tree(&name),
            };
            if !counts {
                self.db.db.drop_tree(&name)?;
            }
        }
        Ok(())
    }

    /// Whether the next checkpoint may be a run of these changes. One of most of the state is no
    /// cheaper than a whole one, which lets all before it go.
    fn takes(&self, state: &StateMachine, changes: &Changes) -> bool {
        let usual = self.whole / state.record_count().max(1);
        let all = self.changed.saturating_add(changes.noted().saturating_mul(usual));
        let has_room = self.current.runs < MOST_RUNS && !self.in_one_tree;
        self.current.generation > 0 && has_room && all < self.whole.max(LEAST_CHANGES) / 4 * 3
    }

    /// Writes what changed as one more run.
    fn save_changes(&mut self, state: StateMachine, changes: Changes) -> Result<(), StoreError> {
        let next = Current { runs: self.current.runs + 1, ..self.current };
        let changed = changes.records(&state);
        drop(state);
        let mut run = Writer::new(&self.db.db, next.run(next.runs), self.rests);
        for change in changed {
            let written = match change {
                Change::Now(record) => run.put(&record),
                Change::Gone(name) => run.gone(&name),
            };
            written.map_err(|error| self.failed(error))?;
        }
        self.changed += run.finish().map_err(|error| self.failed(error))?;
        self.count(next)
    }

    /// Writes the whole state.
    fn save_all(&mut self, state: &StateMachine) -> Result<(), StoreError> {
        let next = Current { generation: self.current.generation + 1, runs: 0 };
        let mut run = Writer::new(&self.db.db, next.run(0), self.rests);
        for record in state.records(&Bytes::new()) {
            run.put(&record).map_err(|error| self.failed(error))?;
        }
        self.whole = run.finish().map_err(|error| self.failed(error))?;
        self.changed = 0;
        self.count(next)?;
        self.in_one_tree = false;
        self.drop_others().map_err(|error| self.failed(error))
    }

    /// Lets what was written count, once all of it is durable.
    fn count(&mut self, next: Current) -> Result<(), StoreError> {
        self.db.sync()?;
        self.db.db.insert(CURRENT, next.encode()).map_err(|error| self.failed(error))?;
        self.current = next;
        self.db.sync()
    }

    fn failed(&self, error: sled::Error) -> StoreError {
        self.db.failed("write", error)
    }
}

impl CheckpointStore for SledCheckpoints {
    fn save(&mut self, state: StateMachine, changes: Option<Changes>) -> Result<(), StoreError> {
        match changes {
            Some(changes) if self.takes(&state, &changes) => self.save_changes(state, changes)?,
            Some(_) | None => self.save_all(&state)?,
        }
        self.bytes = self.db.bytes()?;
        Ok(())
    }

    /// The whole state, or as many records of the usual size as changed; and what sled rounds up.
    fn room(&self, state: &StateMachine, changes: Option<&Changes>) -> u64 {
        let all = state.summary();
        let written = match changes {
            Some(changes) if self.takes(state, changes) => {
                let usual = all.state_bytes / (all.keys + all.sessions).max(1);
                changes.noted().saturating_mul(usual).min(all.state_bytes)
            }
            Some(_) | None => all.state_bytes,
        };
        written + SEGMENT_BYTES as u64
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Current {
    fn run(self, number: u64) -> Run {
        Run { generation: self.generation, number }
    }

    fn counts(self, run: Run) -> bool {
        run.generation == self.generation && run.number <= self.runs
    }

    /// The tree that an earlier version had it in.
    fn one_tree(self) -> String {
        format!("state-{}", self.generation)
    }

    fn is_one_tree(self, name: &[u8]) -> bool {
        name == self.one_tree().as_bytes()
    }

    fn encode(self) -> Vec<u8> {
        let body = [self.generation.to_le_bytes(), self.runs.to_le_bytes()].concat();
        [xxh3_64(&body).to_le_bytes().as_slice(), &body].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (checksum, body) = bytes.split_first_chunk::<8>()?;
        let (generation, runs) = body.split_first_chunk::<8>()?;
        let (generation, runs) =
            (u64::from_le_bytes(*generation), u64::from_le_bytes(runs.try_into().ok()?));
        (xxh3_64(body).to_le_bytes() == *checksum).then_some(Self { generation, runs })
    }
}

fn damaged(path: &Path, what: String) -> CheckpointError {
    CheckpointError::Damaged { path: path.display().to_string(), what }
}

fn not_opened(path: &Path, error: NotOpened) -> CheckpointError {
    match error {
        NotOpened::Damaged(what) => damaged(path, what),
        NotOpened::Store(error) => CheckpointError::Store(error),
    }
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
