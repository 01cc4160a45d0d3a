//! A copy of a directory, to look into: sled changes its files whenever it opens them.

use std::io;
use std::path::{Path, PathBuf};

/// A copy that is removed when it is dropped.
#[derive(Debug)]
pub struct Copied(PathBuf);

impl Copied {
    /// Copies a directory in the data directory `data_dir` to a temporary one beside that.
    ///
    /// # Errors
    /// `StorageFull` where less is free than it takes; and the disk's.
    pub fn of(data_dir: &Path, name: &str) -> io::Result<Self> {
        let from = data_dir.join(name);
        let data_dir: PathBuf = data_dir.components().collect();
        let mut beside = data_dir.as_os_str().to_owned();
        beside.push(format!(".looked-at-{}", std::process::id()));
        let (needed, beside) = (bytes(&from)?, PathBuf::from(beside));
        std::fs::create_dir(&beside)?;
        let copied = Self(beside);
        let disk = rustix::fs::statvfs(&copied.0)?;
        if needed > disk.f_bavail.saturating_mul(disk.f_frsize) {
            let text = format!("a copy of its {} MiB does not fit on the disk", needed >> 20);
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        copy(&from, &copied.0.join(name))?;
        Ok(copied)
    }

    /// Where the copy is: a directory that holds the one that was copied.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn bytes(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let (path, found) = {
            let entry = entry?;
            (entry.path(), entry.metadata()?)
        };
        sum += if found.is_dir() { bytes(&path)? } else { found.len() };
    }
    Ok(sum)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) = {
            let entry = entry?;
            (entry.path(), entry.file_name())
        };
        if path.is_dir() {
            copy(&path, &to.join(name))?;
        } else {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_whole_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("n1");
        std::fs::create_dir_all(data.join("state/inner")).unwrap();
        std::fs::write(data.join("state/inner/file"), "bytes").unwrap();
        let copied = Copied::of(&data, "state").unwrap();
        let read = std::fs::read(copied.path().join("state/inner/file")).unwrap();
        assert_eq!((read, bytes(copied.path()).unwrap()), (b"bytes".to_vec(), 5));
        drop(copied);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
