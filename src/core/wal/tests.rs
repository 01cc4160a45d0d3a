//! The log against every cut, every flipped byte, crashes of every kind and failing disks.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::fs::memory::{Crash, Faults, MemoryFs, Traced};
use crate::store::{LogStore, StoreError};
use crate::types::{Index, Member, Membership, Payload, Term};

mod cuts;
mod damage;
mod failed_sync;
mod model;

use model::Model;

const IDENTITY: Identity = Identity { cluster: 9, node: NodeId(2), incarnation: 77 };

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, preallocate_bytes: 512, identity: IDENTITY }
}

fn open(fs: &MemoryFs, segment_bytes: u64) -> Result<(Wal, Recovered), StoreError> {
    Wal::open(Arc::new(fs.clone()), options(segment_bytes))
}

fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let command = Bytes::from(vec![u8::try_from(index % 251).unwrap(); bytes]);
    Entry { term: Term(term), index: Index(index), payload: Payload::Command(command) }
}

fn hard(term: u64, vote: u64) -> HardState {
    HardState { term: Term(term), vote: (vote > 0).then_some(NodeId(vote)) }
}

#[test]
fn what_was_synced_comes_back() {
    let fs = MemoryFs::default();
    let member = Member::voter(NodeId(1), "p:1", "c:1");
    let membership = Payload::Membership(Membership::of(vec![member]));
    let entries = vec![
        Entry { term: Term(1), index: Index(1), payload: membership },
        Entry { term: Term(2), index: Index(2), payload: Payload::Noop },
        entry(3, 2, 0),
        entry(4, 3, 1000),
    ];
    let (mut wal, new) = open(&fs, 1 << 20).unwrap();
    assert_eq!(new, Recovered::default());
    wal.save_hard_state(hard(3, 2)).unwrap();
    wal.append(&entries).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    let (wal, again) = open(&fs, 1 << 20).unwrap();
    assert_eq!((again.hard_state, again.entries), (hard(3, 2), entries));
    assert_eq!((again.torn, wal.last_index()), (None, Index(4)));
}

#[test]
fn many_appends_share_one_write_and_one_sync_and_nothing_staged_costs_none() {
    let fs = MemoryFs::default();
    let roomy = Options { preallocate_bytes: 1 << 16, ..options(1 << 20) };
    let (mut wal, _) = Wal::open(Arc::new(fs.clone()), roomy).unwrap();
    wal.append(&[entry(1, 1, 300)]).unwrap();
    wal.sync().unwrap();
    let before = (fs.counts(), fs.trace().len());
    for index in 2..=3 {
        wal.append(&[entry(index, 1, 10)]).unwrap();
    }
    assert_eq!(fs.counts(), before.0, "staging touches nothing");
    wal.sync().unwrap();
    let after = fs.counts();
    assert_eq!(after.syncs - before.0.syncs, 1);
    // The batch, then its sync, then the mark that vouches for it.
    let trace = fs.trace().split_off(before.1);
    assert!(matches!(trace.as_slice(), [Traced::Write(..), Traced::Sync(_), Traced::Write(_, 64)]));
    wal.sync().unwrap();
    assert_eq!(fs.counts(), after, "nothing staged, nothing synced");
    assert_eq!(wal.syncs(), 2);
}

#[test]
fn segments_roll_and_are_read_as_one_log() {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, 6_000).unwrap();
    for index in 1..=40 {
        wal.save_hard_state(hard(index, 1)).unwrap();
        wal.append(&[entry(index, index, 200)]).unwrap();
        wal.sync().unwrap();
    }
    wal.append(&[entry(41, 41, 20_000)]).unwrap();
    wal.save_hard_state(hard(41, 0)).unwrap();
    wal.sync().unwrap();
    let names = crate::fs::Fs::list(&fs, "log").unwrap();
    assert!(names.len() > 5, "{names:?}");
    fs.crash(Crash::SyncedOnly);
    let (_, found) = open(&fs, 6_000).unwrap();
    assert_eq!(found.entries.len(), 41);
    assert_eq!(found.hard_state, hard(41, 0));
    // Any middle segment missing is damage, not a shorter log.
    crate::fs::Fs::remove(&fs, &format!("log/{}", names[2])).unwrap();
    assert!(matches!(open(&fs, 6_000), Err(StoreError::Damaged { .. })));
}

/// A log of so many entries in small segments.
fn long_log(fs: &MemoryFs, entries: u64) -> Wal {
    let (mut wal, _) = open(fs, 5_000).unwrap();
    for index in 1..=entries {
        wal.save_hard_state(hard(index, 1)).unwrap();
        wal.append(&[entry(index, index, 200)]).unwrap();
        wal.sync().unwrap();
    }
    wal
}

fn names(fs: &MemoryFs) -> Vec<String> {
    crate::fs::Fs::list(fs, "log").unwrap()
}

#[test]
fn a_trimmed_log_keeps_what_is_behind_the_checkpoint_and_its_term_and_vote() {
    let fs = MemoryFs::default();
    let mut wal = long_log(&fs, 40);
    let (before, bytes) = (names(&fs).len(), wal.bytes());
    wal.trim(Index(30)).unwrap();
    reclaim(&mut wal, 1_000);
    assert!(names(&fs).len() < before - 3 && wal.bytes() < bytes / 2);
    fs.crash(Crash::SyncedOnly);
    let (mut wal, found) = open(&fs, 5_000).unwrap();
    let base = found.base.index;
    assert!(base <= Index(30) && base > Index(20), "{base}");
    assert_eq!(found.base.term, Term(base.0));
    assert_eq!(found.entries.len() as u64, 40 - base.0);
    assert_eq!(found.hard_state, hard(40, 1));
    wal.append(&[entry(41, 41, 1)]).unwrap();
    wal.sync().unwrap();
    assert_eq!(open(&fs, 5_000).unwrap().1.entries.len() as u64, 41 - base.0);
}

fn reclaim(wal: &mut Wal, step: u64) {
    while wal.reclaim(step, false).unwrap() {}
}

#[test]
fn what_was_trimmed_is_freed_in_small_steps_and_counted_until_then() {
    let fs = MemoryFs::default();
    let mut wal = long_log(&fs, 40);
    let on_disk = || -> u64 {
        let wals = names(&fs).into_iter().filter(|name| name != "first");
        wals.map(|name| fs.contents(&format!("log/{name}")).unwrap().len() as u64).sum()
    };
    wal.trim(Index(30)).unwrap();
    let mut before = wal.bytes();
    assert_eq!(before, on_disk());
    let mut steps = 0;
    while wal.reclaim(1_500, false).unwrap() {
        assert_eq!(wal.bytes(), before - 1_500);
        assert_eq!(wal.bytes(), on_disk());
        before = wal.bytes();
        steps += 1;
    }
    assert!(steps > 10, "{steps}");
    let spares = || names(&fs).iter().filter(|name| name.ends_with("spare")).count();
    assert_eq!(spares(), 3);
    // Where space is short nothing is kept.
    assert!(!wal.reclaim(u64::MAX, true).unwrap());
    assert_eq!((spares(), wal.bytes()), (0, on_disk()));
    wal.append(&[entry(41, 41, 5_000)]).unwrap();
    wal.sync().unwrap();
    let (wal, found) = open(&fs, 5_000).unwrap();
    assert_eq!(wal.bytes(), on_disk());
    assert_eq!(found.entries.last(), Some(&entry(41, 41, 5_000)));
}

#[test]
fn a_crash_between_any_two_removals_of_a_trim_leaves_a_log() {
    for mask in 0..64u64 {
        let fs = MemoryFs::default();
        let mut wal = long_log(&fs, 30);
        wal.trim(Index(25)).unwrap();
        reclaim(&mut wal, 3_000);
        fs.crash(Crash::Subset(mask));
        let (_, found) = open(&fs, 5_000).unwrap();
        assert_eq!(found.entries.last(), Some(&entry(30, 30, 200)));
    }
}

#[test]
fn a_segment_stays_while_a_later_one_reaches_back_before_its_own_beginning() {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, 5_000).unwrap();
    let entries: Vec<Entry> = (1..=8).map(|index| entry(index, 1, 200)).collect();
    wal.append(&entries).unwrap();
    wal.sync().unwrap();
    let mut index = 3;
    while names(&fs).len() < 2 {
        // What replaces the tail is the first thing in the second segment.
        wal.truncate_from(Index(index)).unwrap();
        wal.append(&[entry(index, 2, 600)]).unwrap();
        wal.sync().unwrap();
        index += 1;
    }
    for index in wal.last_index().0 + 1..=40 {
        wal.append(&[entry(index, 2, 200)]).unwrap();
        wal.sync().unwrap();
    }
    for through in 1..=40 {
        wal.trim(Index(through)).unwrap();
        reclaim(&mut wal, 10_000);
        let copy = fs.copy();
        let (_, found) = open(&copy, 5_000).unwrap();
        assert!(found.base.index.0 <= through);
        assert_eq!(found.entries.len() as u64, 40 - found.base.index.0);
    }
    let segments = names(&fs).iter().filter(|name| name.ends_with("wal")).count();
    assert_eq!(segments, 1, "{:?}", names(&fs));
}

#[test]
fn a_log_that_began_anew_behind_a_snapshot_does_so_after_a_restart() {
    let fs = MemoryFs::default();
    let mut wal = long_log(&fs, 20);
    let base = Position { term: Term(20), index: Index(500) };
    wal.reset(base).unwrap();
    wal.append(&[entry(501, 21, 10)]).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    let (mut wal, found) = open(&fs, 5_000).unwrap();
    assert_eq!((found.base, found.entries), (base, vec![entry(501, 21, 10)]));
    assert_eq!(found.hard_state, hard(20, 1));
    // The old segments go once what is behind is checkpointed, too.
    for index in 502..=540 {
        wal.append(&[entry(index, 21, 200)]).unwrap();
        wal.sync().unwrap();
    }
    wal.trim(Index(535)).unwrap();
    let (_, found) = open(&fs, 5_000).unwrap();
    assert!(found.base.index > Index(501));
    assert_eq!(found.entries.last(), Some(&entry(540, 21, 200)));
}

#[test]
fn a_truncation_and_what_replaces_it_survive_together() {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, 1 << 20).unwrap();
    wal.append(&[entry(1, 1, 8), entry(2, 1, 8), entry(3, 1, 8)]).unwrap();
    wal.sync().unwrap();
    wal.truncate_from(Index(2)).unwrap();
    wal.append(&[entry(2, 2, 9)]).unwrap();
    wal.sync().unwrap();
    fs.crash(Crash::SyncedOnly);
    let (_, found) = open(&fs, 1 << 20).unwrap();
    assert_eq!(found.entries, vec![entry(1, 1, 8), entry(2, 2, 9)]);
}

#[test]
fn the_log_of_another_node_cluster_or_incarnation_is_refused() {
    let fs = MemoryFs::default();
    drop(open(&fs, 1 << 20).unwrap());
    for identity in [
        Identity { cluster: 8, ..IDENTITY },
        Identity { node: NodeId(3), ..IDENTITY },
        Identity { incarnation: 1, ..IDENTITY },
    ] {
        let options = Options { identity, ..options(1 << 20) };
        let opened = Wal::open(Arc::new(fs.clone()), options);
        assert!(matches!(opened, Err(StoreError::Foreign { .. })));
    }
}

#[test]
fn after_an_error_every_call_gives_it_and_nothing_is_tried_again() {
    for faults in [
        Faults { write_error_in: 1, ..Faults::default() },
        Faults { sync_error_in: 1, ..Faults::default() },
        Faults { space_left: Some(100), ..Faults::default() },
    ] {
        let fs = MemoryFs::default();
        let (mut wal, _) = open(&fs, 1 << 20).unwrap();
        wal.append(&[entry(1, 1, 10)]).unwrap();
        wal.sync().unwrap();
        fs.set_faults(faults);
        wal.append(&[entry(2, 1, 200)]).unwrap();
        let error = wal.sync().unwrap_err();
        assert_eq!(matches!(error, StoreError::Io { full: true, .. }), faults.space_left.is_some());
        let counts = fs.counts();
        assert_eq!(wal.sync(), Err(error.clone()));
        assert_eq!(wal.append(&[entry(3, 1, 1)]), Err(error));
        assert_eq!(fs.counts(), counts);
        fs.crash(Crash::SyncedOnly);
        let (_, found) = open(&fs, 1 << 20).unwrap();
        assert_eq!(found.entries.first(), Some(&entry(1, 1, 10)));
    }
}

/// Four batches; the entries that are durable after each.
fn small_log(segment_bytes: u64) -> (MemoryFs, Vec<Vec<Entry>>) {
    let fs = MemoryFs::default();
    let (mut wal, _) = open(&fs, segment_bytes).unwrap();
    let mut durable = vec![vec![]];
    for batch in 0..4u64 {
        wal.save_hard_state(hard(batch + 1, 1)).unwrap();
        let entries = [entry(2 * batch + 1, batch + 1, 20), entry(2 * batch + 2, batch + 1, 3)];
        wal.append(&entries).unwrap();
        wal.sync().unwrap();
        let mut all = durable.last().unwrap().clone();
        all.extend(entries);
        durable.push(all);
    }
    (fs, durable)
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix_of_what_was_written() {
    let (fs, durable) = small_log(1 << 20);
    let all = durable.last().unwrap();
    let path = format!("log/{:020}.wal", 1);
    let length = fs.contents(&path).unwrap().len();
    for cut in 0..length {
        let copy = fs.copy();
        copy.cut(&path, cut);
        let (_, found) = open(&copy, 1 << 20).unwrap();
        assert!(all.starts_with(&found.entries), "cut at {cut}");
        // And it can be gone on with.
        let (mut wal, found) = open(&copy, 1 << 20).unwrap();
        let next = found.entries.len() as u64 + 1;
        wal.append(&[entry(next, 9, 5)]).unwrap();
        wal.sync().unwrap();
        copy.crash(Crash::SyncedOnly);
        assert_eq!(open(&copy, 1 << 20).unwrap().1.entries.len() as u64, next);
    }
}

#[test]
fn any_flipped_byte_is_found_and_never_shortens_what_was_synced() {
    for segment_bytes in [1 << 20, 4_600] {
        let (fs, durable) = small_log(segment_bytes);
        let all = durable.last().unwrap();
        for name in crate::fs::Fs::list(&fs, "log").unwrap() {
            let path = format!("log/{name}");
            let file = fs.contents(&path).unwrap();
            for offset in 0..file.len() {
                let copy = fs.copy();
                copy.flip(&path, offset, 0x40);
                match open(&copy, segment_bytes) {
                    // Behind the last record, where it is cut away; or in the last mark, which
                    // vouches for the rest and is itself nothing.
                    Ok((_, found)) => assert_eq!(found.entries, *all, "{path} at {offset}"),
                    Err(StoreError::Damaged { .. } | StoreError::Foreign { .. }) => {}
                    Err(other) => panic!("{path} at {offset}: {other}"),
                }
            }
        }
    }
}

/// A log whose last segment was another one before, and has that one's records behind its own.
fn reusing_log() -> (MemoryFs, Vec<Entry>) {
    let fs = MemoryFs::default();
    let mut wal = long_log(&fs, 30);
    wal.trim(Index(28)).unwrap();
    reclaim(&mut wal, u64::MAX);
    let (mut index, before) = (wal.last_index().0, names(&fs));
    while names(&fs) == before {
        index += 1;
        wal.append(&[entry(index, 30, 200)]).unwrap();
        wal.sync().unwrap();
    }
    let (_, found) = open(&fs.copy(), 5_000).unwrap();
    assert_eq!(found.torn, None, "old bytes are no torn tail");
    let last = format!("log/{}", names(&fs).iter().rfind(|name| name.ends_with("wal")).unwrap());
    let file = fs.contents(&last).unwrap();
    assert!(format::Header::decode(&file).unwrap().reused, "{:?}", names(&fs));
    assert!(file.iter().skip(4_600).any(|byte| *byte != 0), "no old bytes behind its own");
    (fs, found.entries)
}

#[test]
fn any_flipped_byte_of_a_reused_segment_is_found_and_never_shortens_what_was_synced() {
    let (fs, all) = reusing_log();
    for name in names(&fs) {
        let path = format!("log/{name}");
        for offset in 0..fs.contents(&path).unwrap().len() {
            let copy = fs.copy();
            copy.flip(&path, offset, 0x40);
            match open(&copy, 5_000) {
                Ok((_, found)) => assert_eq!(found.entries, all, "{path} at {offset}"),
                Err(StoreError::Damaged { .. } | StoreError::Foreign { .. }) => {}
                Err(other) => panic!("{path} at {offset}: {other}"),
            }
        }
    }
}

#[test]
fn a_reused_segment_is_gone_on_with_after_any_crash() {
    for mask in 0..64 {
        let (fs, all) = reusing_log();
        fs.crash(Crash::Subset(mask));
        let (mut wal, found) = open(&fs, 5_000).unwrap();
        assert_eq!(found.entries, all);
        let next = wal.last_index().0 + 1;
        wal.append(&[entry(next, 31, 7)]).unwrap();
        wal.sync().unwrap();
        fs.crash(Crash::SyncedOnly);
        assert_eq!(open(&fs, 5_000).unwrap().1.entries.last(), Some(&entry(next, 31, 7)));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Append(usize, usize),
    Truncate(u64),
    Term,
    Sync,
    Crash(Crash),
    /// The log may let go of so many tenths of what is synced.
    Trim(u64),
    /// A snapshot is installed so far behind the last entry.
    Reset(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let crash = prop_oneof![
        Just(Crash::SyncedOnly),
        (0usize..8).prop_map(Crash::Prefix),
        any::<u64>().prop_map(Crash::Subset),
        (0usize..8, 0usize..400).prop_map(|(count, bytes)| Crash::Torn(count, bytes)),
    ];
    let step = prop_oneof![
        4 => (1usize..4, 0usize..300).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        1 => (1u64..12).prop_map(Step::Truncate),
        1 => Just(Step::Term),
        3 => Just(Step::Sync),
        2 => crash.prop_map(Step::Crash),
        1 => (0u64..11).prop_map(Step::Trim),
        1 => (1u64..5).prop_map(Step::Reset),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_loses_what_was_synced(steps in steps(), segment_bytes in 4_300u64..7_000) {
        let mut tried = cuts::Tried::new(segment_bytes, usize::MAX);
        steps.iter().for_each(|step| tried.step(step));
    }

    /// A crash in the middle of a sync: the batch's write, the sync and the roll are cut short
    /// by an error, and any part of what was under way may have reached the disk.
    #[test]
    fn a_crash_inside_a_sync_loses_nothing_older(
        fail_write in 0u64..4, fail_sync in 0u64..3, mask in any::<u64>(), bytes in 0usize..900,
    ) {
        let fs = MemoryFs::default();
        let (mut wal, _) = open(&fs, 5_000).unwrap();
        wal.append(&[entry(1, 1, 300), entry(2, 1, 200)]).unwrap();
        wal.sync().unwrap();
        let faults = Faults {
            write_error_in: fail_write,
            sync_error_in: fail_sync,
            ..Faults::default()
        };
        fs.set_faults(faults);
        wal.append(&[entry(3, 1, bytes)]).unwrap();
        let synced = wal.sync().is_ok();
        drop(wal);
        fs.crash(Crash::Subset(mask));
        let (_, found) = open(&fs, 5_000).unwrap();
        let all = [entry(1, 1, 300), entry(2, 1, 200), entry(3, 1, bytes)];
        prop_assert!(all.starts_with(&found.entries));
        let floor = 2 + usize::from(synced);
        prop_assert!(found.entries.len() >= floor);
    }

    #[test]
    fn random_bytes_are_never_taken_for_a_log(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let fs = MemoryFs::default();
        let path = format!("log/{:020}.wal", 1);
        let mut file = crate::fs::Fs::open(&fs, &path, true).unwrap();
        file.write_at(0, &bytes).unwrap();
        file.sync().unwrap();
        crate::fs::Fs::sync_dir(&fs, "log").unwrap();
        if let Ok((_, found)) = open(&fs, 1 << 20) {
            prop_assert_eq!(found, Recovered::default());
        }
    }
}
