//! The disk, as the log sees it: a small trait with one real implementation (in the package
//! `quorate`, `src/store`) and one in memory that injects faults ([`memory`]).

use std::io;

pub mod memory;

/// A directory tree of one node. Paths are relative, with `/` between names.
///
/// Durability is explicit, as on POSIX: written bytes survive a loss of power only after
/// [`File::sync`] of the file, and a created, renamed or removed name only after
/// [`Fs::sync_dir`] of its directory.
pub trait Fs: Send + Sync {
    /// Opens a file for reading and writing; creates it, empty, where `create` says so.
    ///
    /// # Errors
    /// The operating system's; `NotFound` where it is absent and `create` is false.
    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn File>>;

    /// The names of the files in a directory, sorted. A directory that is absent has none.
    ///
    /// # Errors
    /// The operating system's.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Renames a file, over an existing one where there is one.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory and its parents, where absent.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// An open file. Reads and writes name their offset, so there is no cursor to lose.
pub trait File: Send {
    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes`, extending the file where needed.
    ///
    /// # Errors
    /// The operating system's; how much was written is then unknown.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the written bytes durable (`fdatasync`: the size too, where it grew).
    ///
    /// # Errors
    /// The operating system's. The caller must not try again.
    fn sync(&mut self) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    ///
    /// # Errors
    /// The operating system's.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) the file to `len` bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}
