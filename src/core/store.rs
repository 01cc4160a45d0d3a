//! The seam between whoever persists the log and what it is persisted on.

use std::fmt;

use crate::kv::{Changes, StateMachine};
use crate::types::{Entry, HardState, Index, Position};

/// Where a node's log and hard state live. Owned by one LogStoreActor (or one simulated node).
///
/// Calls between two `sync`s only stage; `sync` makes all of them durable, in order, at once.
/// After any error the store is unusable and the process must end (never a second sync:
/// the kernel may have dropped the pages that it failed to write).
pub trait LogStore: Send {
    /// Stages entries behind the last one.
    ///
    /// # Errors
    /// The disk's error; fatal.
    ///
    /// # Panics
    /// When `entries` do not follow the last entry without a gap.
    fn append(&mut self, entries: &[Entry]) -> Result<(), StoreError>;

    /// Stages the removal of the entry at `from` and of all after it.
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn truncate_from(&mut self, from: Index) -> Result<(), StoreError>;

    /// Stages a new term and vote.
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn save_hard_state(&mut self, hard_state: HardState) -> Result<(), StoreError>;

    /// Stages: all entries are gone, and the log begins anew behind `base`: a snapshot was
    /// installed. Term and vote stay; entries appended after it follow `base`.
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn reset(&mut self, base: Position) -> Result<(), StoreError>;

    /// Lets go of entries up to and including `through`: they are in a durable checkpoint. It
    /// may keep more of them than it must. Happens at once, and is safe to crash in. Their space
    /// may be left to [`LogStore::reclaim`].
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn trim(&mut self, through: Index) -> Result<(), StoreError>;

    /// Frees up to `most` bytes of the disk that trimming left over, and says whether there is
    /// more to free. A file system takes long to remove what is large, so whoever also syncs does
    /// it in small steps. Where `all` is, the disk is short of space: nothing is kept for later.
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn reclaim(&mut self, _most: u64, _all: bool) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Makes everything staged durable: one write and one `fdatasync`, or none where nothing
    /// is staged.
    ///
    /// # Errors
    /// The disk's error; fatal.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// The index of the last entry, staged ones included; 0 when there is none.
    fn last_index(&self) -> Index;

    /// The bytes that the log occupies on disk.
    fn bytes(&self) -> u64;

    /// How many `fdatasync`s of the log there were since it was opened.
    fn syncs(&self) -> u64;
}

/// Where a node's checkpoints live: its state as of one entry, at any time exactly one.
pub trait CheckpointStore: Send {
    /// Replaces the checkpoint, atomically: after a crash it is the old one or the new one.
    /// Durable on return. With `changes`, which are all since the last `save`, no more than
    /// those is written; without, everything (a first checkpoint, or a snapshot that came in). The
    /// state is let go as early as can be: while it lives, the original copies what it changes.
    ///
    /// # Errors
    /// The disk's error; fatal, and the store is of no more use.
    fn save(&mut self, state: StateMachine, changes: Option<Changes>) -> Result<(), StoreError>;

    /// About how many bytes `save` would write: what must be free for it.
    fn room(&self, state: &StateMachine, changes: Option<&Changes>) -> u64;

    /// The bytes that it occupies on disk.
    fn bytes(&self) -> u64;
}

/// Why the log could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The operating system refused: what was tried, on which file, and its answer.
    Io {
        /// What was tried: `open`, `write`, `sync`, ...
        action: &'static str,
        /// The file.
        path: String,
        /// The operating system's answer.
        error: String,
        /// The disk is full (`ENOSPC`).
        full: bool,
    },
    /// What is on disk is not what was written: damage before the log's tail.
    Damaged {
        /// The file.
        path: String,
        /// The byte offset of the damage; 0 also where none can be told.
        offset: u64,
        /// What was found.
        what: String,
    },
    /// The files belong to another node, cluster or incarnation, or are of another format.
    Foreign {
        /// The file.
        path: String,
        /// Whose it is, and whose was expected.
        what: String,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { action, path, error, .. } => {
                write!(f, "cannot {action} {path}: {error}")
            }
            StoreError::Damaged { path, offset: 0, what } => write!(f, "{path} is damaged: {what}"),
            StoreError::Damaged { path, offset, what } => {
                write!(f, "{path} is damaged at byte {offset}: {what}")
            }
            StoreError::Foreign { path, what } => write!(f, "{path} does not belong here: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}
