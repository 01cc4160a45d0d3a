//! The two homes of a log, and which of them a data directory has.

use std::path::Path;
use std::sync::Arc;

use quorate_core::store::{LogStore, StoreError};
use quorate_core::wal::{self, Options, Recovered, Wal};

use super::disk::Disk;
use super::sled_log::SledLog;

/// Which home the log of a data directory has, in the words of `storage.log`; `None` where there
/// is no log.
#[must_use]
pub fn kept_in(data_dir: &Path) -> Option<&'static str> {
    let path = data_dir.join("log");
    if SledLog::is_in(&path) {
        return Some("sled");
    }
    let mut names = std::fs::read_dir(path).ok()?.flatten();
    names.any(|entry| entry.path().extension() == Some("wal".as_ref())).then_some("segments")
}

/// Opens the log of a data directory, or begins one, in the home that `storage.log` names.
///
/// # Errors
/// As [`Wal::open`] and [`SledLog::open`].
pub fn open(
    data_dir: &Path,
    home: &str,
    options: Options,
) -> Result<(Box<dyn LogStore>, Recovered), StoreError> {
    if home == "sled" {
        let (log, found) = SledLog::open(&data_dir.join("log"), options.identity)?;
        return Ok((Box::new(log), found));
    }
    let (log, found) = Wal::open(Arc::new(Disk::new(data_dir)), options)?;
    Ok((Box::new(log), found))
}

/// Reads the log of a data directory, wherever it is. Nothing in it is changed, but for what
/// sled does whenever it is opened.
///
/// # Errors
/// As [`open`].
pub fn inspect(data_dir: &Path, options: Options) -> Result<Recovered, StoreError> {
    if kept_in(data_dir) == Some("sled") {
        return open(data_dir, "sled", options).map(|(_, found)| found);
    }
    wal::inspect(&Disk::new(data_dir), &options)
}
