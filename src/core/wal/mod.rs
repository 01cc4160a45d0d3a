//! The write-ahead log: where a node's entries, term and vote live on disk.
//!
//! Segments of one directory, numbered without a gap. Each begins with a header that says whose
//! it is and where the log stood, and goes on with records, written once, in order:
//!
//! ```text
//!  log/00000000000000000001.wal
//!  ┌────────────┬────────┬────────┬─────┬──────┬────────────────────────┐
//!  │ header 4096│ record │ record │ ... │ seal │ zeros, or old bytes    │
//!  └────────────┴────────┴────────┴─────┴──────┴────────────────────────┘
//!  record:  length 4 │ kind 1 │ 0 3 │ chain 8 │ synced 8 │ checksum 8 │ payload, padded to 8
//! ```
//!
//! * `chain` is the checksum of the record before (of the header, for the first), so a record
//!   is valid only behind the one it was written behind.
//! * `synced` is the offset up to which this segment was known to be durable when the record
//!   was written. It tells a torn tail from damage: a hole *below* some later record's
//!   `synced` was durable once and has been lost; a hole above all of them never was.
//! * After each sync a *mark* (an empty record) follows, written and not synced, so that even
//!   the last batch is usually vouched for.
//! * A segment that is full ends with a *seal*, synced before the next one is made.
//! * A *reset* says that a snapshot was installed: what was before it does not count, and the
//!   log goes on behind the snapshot's last entry.
//! * Behind whatever was written last there is an empty record header, 32 zeros. Behind that are
//!   more zeros, written in advance so that a sync changes no metadata; or, where the file was
//!   another segment before and was trimmed, the bytes of that one. They cannot pass for records
//!   of this one, because the checksums of a segment begin with a seed of its own.
//! * Once the log has been *trimmed*, the file `log/first` names the first segment. It is
//!   replaced durably before anything is removed, so a crash between two removals leaves
//!   segments that do not count, and a missing first segment is noticed. The removal itself is
//!   in small steps: a file system takes many milliseconds for a whole segment, and syncs wait.
//!
//! # What it promises
//!
//! * After `sync` returns, everything staged before survives a loss of power.
//! * One write and one `fdatasync` for each `sync`, however much is staged; none for nothing.
//! * Recovery gives exactly what was synced, and perhaps some of what was staged after it, in
//!   order; or it says what is damaged and where. It never shortens what was synced.
//! * After an error the log is of no more use: every later call gives that error (the kernel
//!   may have dropped the pages that it could not write).
//!
//! # What it leaves out
//!
//! * Trimming within a segment: whole segments go, and only where none behind them removes
//!   entries from before its own beginning.
//! * The last segment as a whole: if its file is removed, or cut inside its header, the log ends
//!   with the seal before it, as if the segment had never been made. Nothing else names it.
//! * One kind of damage is taken for a torn tail: if the last batch before a loss of power rots
//!   *and* its mark had not reached the disk, nothing vouches for it.

mod format;
mod recover;
mod segment;
#[cfg(test)]
mod tests;
mod write;

use crate::types::{Entry, HardState, NodeId, Position};

pub use format::{decode_entry, encode_entry};
pub use write::Wal;

/// Whose log it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: u64,
    /// The node's id.
    pub node: NodeId,
    /// The incarnation of the node's disk.
    pub incarnation: u64,
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment is ended at about this size; one batch may go beyond it.
    pub segment_bytes: u64,
    /// Segments grow by this many bytes of zeros at a time, so that most syncs change no
    /// metadata.
    pub preallocate_bytes: u64,
    /// Whose log it is.
    pub identity: Identity,
}

/// What was found on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The newest term and vote.
    pub hard_state: HardState,
    /// The entry before the first one here; zero when nothing was removed.
    pub base: Position,
    /// The entries behind `base`.
    pub entries: Vec<Entry>,
    /// The tail that was cut, if one was.
    pub torn: Option<TornTail>,
}

/// Reads a log as [`Wal::open`] does, and changes nothing.
///
/// # Errors
/// As [`Wal::open`].
pub fn inspect(
    fs: &dyn crate::fs::Fs,
    options: &Options,
) -> Result<Recovered, crate::store::StoreError> {
    recover::recover(fs, options).map(|found| found.recovered)
}

/// A tail that was being written when the node ended. Nothing in it was ever acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub path: String,
    /// Where it was cut.
    pub offset: u64,
}
