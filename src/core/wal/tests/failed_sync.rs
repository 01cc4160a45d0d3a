//! After a sync that failed, the kernel takes its pages for written: a process that starts again
//! reads from memory what the disk never got, and a second sync does nothing for it.

use super::*;

/// Everything that is acknowledged after such a start survives a loss of power.
fn survives(segment_bytes: u64, failing: u64) {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, segment_bytes).unwrap();
    wal.append(&[entry(1, 1, 300)]).unwrap();
    wal.sync().unwrap();
    fs.set_faults(Faults { sync_error_in: failing, ..Faults::default() });
    wal.save_hard_state(hard(2, 1)).unwrap();
    wal.append(&[entry(2, 2, 700)]).unwrap();
    wal.sync().unwrap_err();
    drop(wal);
    fs.set_faults(Faults::default());

    let (mut wal, found) = open(&fs, segment_bytes).unwrap();
    wal.append(&[entry(found.entries.len() as u64 + 1, 2, 20)]).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    let (_, again) = open(&fs, segment_bytes).unwrap();
    assert_eq!(again.hard_state, found.hard_state);
    assert_eq!(again.entries.len(), found.entries.len() + 1);
}

#[test]
fn a_failed_sync_is_not_trusted_after_a_restart() {
    survives(1 << 20, 1);
}

#[test]
fn nor_is_a_failed_sync_of_a_seal_or_of_a_new_segment() {
    // The second batch does not fit: the seal is synced, then the new segment, then the batch.
    for failing in 1..=3 {
        survives(4_500, failing);
    }
}
