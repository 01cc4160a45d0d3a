//! How much space the file system of a data directory has left, and what is set aside of it.
//!
//! A disk that others have filled to the last byte would keep a node that is restarted from
//! opening sled, which completes a segment whenever it is opened. So a file of that size lies in
//! the data directory as long as there is space for it, and is given up at a start without space.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use quorate_actors::space::FreeSpace;
use rustix::fs::FallocateFlags;

use super::sled_db::SEGMENT_BYTES;

/// A segment for sled, and one for the log.
const RESERVE_BYTES: u64 = 2 * SEGMENT_BYTES as u64;

/// The file system that a data directory is on.
#[derive(Debug)]
pub struct FileSystem {
    path: PathBuf,
    /// Something is set aside, or cannot be.
    settled: AtomicBool,
}

impl FileSystem {
    /// That of a directory that exists and that this process has locked. Where it is full, what
    /// was set aside is given up.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let disk = Self { path: path.to_owned(), settled: AtomicBool::new(false) };
        let full = disk.free_bytes().is_ok_and(|free| free < RESERVE_BYTES);
        if full && std::fs::remove_file(disk.reserve()).is_ok() {
            log::warn!(
                "disk: it is full: the node starts on the {} MiB set aside",
                RESERVE_BYTES >> 20
            );
        }
        disk
    }

    fn reserve(&self) -> PathBuf {
        self.path.join("reserve")
    }

    fn make_reserve(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        let file: File = options.open(self.reserve())?;
        Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, RESERVE_BYTES)?)
    }
}

impl FreeSpace for FileSystem {
    /// What a process without privileges may still use.
    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::statvfs(&self.path)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn keep_reserve(&self, spare: u64) {
        if self.settled.load(Ordering::Relaxed) || spare < RESERVE_BYTES {
            return;
        }
        self.settled.store(true, Ordering::Relaxed);
        if let Err(error) = self.make_reserve() {
            log::info!("disk: nothing can be set aside in {}: {error}", self.path.display());
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
