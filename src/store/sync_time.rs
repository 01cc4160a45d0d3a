//! How long a disk takes to make 4 KiB durable: what every write waits for.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// What is written at a time: a page.
const BYTES: usize = 4_096;
/// Zeros are written in pieces of so many pages.
const PIECE: u64 = 256;

/// Where the pages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// To the end of a file: its size and its blocks become durable, too.
    Fresh,
    /// Over zeros that are there already, as the log's are.
    ZeroFilled,
}

/// The times of up to `count` writes in a directory, each followed by `fdatasync`; fewer where they
/// take longer than `within` together. The file has no name once it is open, so nothing is left
/// behind however this ends.
///
/// # Errors
/// The operating system's.
pub fn sync_times(
    directory: &Path,
    space: Space,
    count: u32,
    within: Duration,
) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!(".quorate-fsync-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    if space == Space::ZeroFilled {
        fill(&file, count.into())?;
    }
    let (page, started) = ([0xa5; BYTES], Instant::now());
    let mut times = Vec::new();
    for number in 0..u64::from(count) {
        let before = Instant::now();
        file.write_all_at(&page, number * BYTES as u64)?;
        file.sync_data()?;
        times.push(before.elapsed());
        if started.elapsed() > within {
            break;
        }
    }
    Ok(times)
}

fn fill(file: &File, pages: u64) -> io::Result<()> {
    let piece_bytes = PIECE * BYTES as u64;
    let zeros = vec![0; usize::try_from(piece_bytes).unwrap_or(BYTES)];
    for piece in 0..pages.div_ceil(PIECE) {
        file.write_all_at(&zeros, piece * piece_bytes)?;
    }
    file.sync_all()
}

/// Whether a directory is in memory and not on a disk, where the system tells.
#[must_use]
pub fn is_in_memory(directory: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        /// statfs(2): `TMPFS_MAGIC` and `RAMFS_MAGIC`.
        const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
        let found = rustix::fs::statfs(directory);
        found.is_ok_and(|found| {
            u64::try_from(found.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind))
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_write_is_measured_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        for space in [Space::Fresh, Space::ZeroFilled] {
            let times = sync_times(directory.path(), space, 30, Duration::from_secs(60)).unwrap();
            assert_eq!(times.len(), 30);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_slow_disk_is_not_measured_for_ever_and_a_missing_directory_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let times = sync_times(directory.path(), Space::Fresh, 30, Duration::ZERO).unwrap();
        assert_eq!(times.len(), 1);
        let none = directory.path().join("none");
        let error = sync_times(&none, Space::Fresh, 1, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
