//! What is the same wherever sled is used: opening without a panic, a sync that is one, errors.
//!
//! * Damage it answers with a panic or with silence. Opening is done where a panic is caught;
//!   silence is the business of whoever stores something in it.
//! * Its `flush` ends in `sync_file_range` on Linux, which empties no disk's cache and writes no
//!   file's size. [`Db::sync`] therefore ends with an `fdatasync` of sled's file of our own.
//! * What is longer than a quarter of a segment goes into files that it never syncs. That is not a
//!   value but all of a node of a tree, which it writes as one when it moves or splits it, and the
//!   list of all trees. Segments are [`SEGMENT_BYTES`]; what is stored sees to it that no node and no
//!   list becomes as long.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quorate_core::store::StoreError;

/// The length of a value that sled is given. With a checksum and sled's count of references before it,
/// it fills the 32 KiB that allocators have a size for; the next one is 40 KiB.
pub(super) const PIECE: usize = (32 << 10) - ROUNDED;

/// Room for a checksum and sled's count of references.
pub(super) const ROUNDED: usize = 64;

/// sled's file grows by so much at a time, and it has a buffer as long as that in memory.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;

/// An opened database.
pub(super) struct Db {
    pub(super) path: PathBuf,
    pub(super) db: sled::Db,
    /// sled's file, to sync it.
    file: File,
}

/// Why a database does not open.
pub(super) enum NotOpened {
    /// What it holds cannot be used.
    Damaged(String),
    /// The operating system refuses.
    Store(StoreError),
}

impl Db {
    /// Opens a directory, or makes it. May panic: see [`quietly`].
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self, NotOpened> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            // Only the thread that flushes collects segments that are free.
            .flush_every_ms(Some(1_000));
        let db = config.open().map_err(|error| NotOpened::of(path, error))?;
        let opened = File::open(path.join("db"));
        let file = opened.map_err(|error| NotOpened::Store(io_error("open", path, &error)))?;
        // The names that sled made, and its own directory's.
        for directory in [Some(path), path.parent()].into_iter().flatten() {
            let synced = File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|error| NotOpened::Store(io_error("sync", directory, &error)))?;
        }
        Ok(Self { path: path.to_owned(), db, file })
    }

    /// Flushes sled's buffers, and then the file: only that survives a loss of power.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| self.failed("flush", error))?;
        self.file.sync_data().map_err(|error| io_error("sync", &self.path, &error))
    }

    /// The bytes of sled's file.
    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let found = self.file.metadata();
        found.map(|found| found.len()).map_err(|error| io_error("measure", &self.path, &error))
    }

    /// What sled says while it is used; fatal, whatever it is.
    pub(super) fn failed(&self, action: &'static str, error: sled::Error) -> StoreError {
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

impl NotOpened {
    /// The disk's errors are the disk's; all else that sled says at the start is about what it
    /// found.
    pub(super) fn of(path: &Path, error: sled::Error) -> Self {
        match error {
            // Somebody else has it open, which sled says in words only. That is no damage.
            sled::Error::Io(error)
                if error.kind() != io::ErrorKind::Other
                    || error.to_string().contains("could not acquire lock") =>
            {
                NotOpened::Store(io_error("open", path, &error))
            }
            other => NotOpened::Damaged(format!("sled: {other}")),
        }
    }
}

/// An operating system's error.
pub(super) fn io_error(action: &'static str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Io {
        action,
        path: path.display().to_string(),
        error: error.to_string(),
        full: error.kind() == io::ErrorKind::StorageFull,
    }
}

/// Runs what may panic, without the panic's lines on stderr; what it said then.
pub(super) fn quietly<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    // The hook is the process's, so one at a time, or one of them would put back another's.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| log::debug!("sled: {info}")));
    let done = catch_unwind(AssertUnwindSafe(act));
    std::panic::set_hook(hook);
    done.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "it panicked".to_owned())
    })
}
