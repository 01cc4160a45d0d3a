//! The log against every cut, every flipped byte, crashes of every kind and failing disks.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::fs::memory::{Crash, Faults, MemoryFs, Traced};
use crate::store::{LogStore, StoreError};
use crate::types::{Index, Member, Membership, Payload, Term};

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
    let member = Member { id: NodeId(1), peer: "p:1".into(), client: "c:1".into() };
    let membership = Payload::Membership(Membership { members: vec![member] });
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
    assert!(matches!(trace.as_slice(), [Traced::Write(..), Traced::Sync(_), Traced::Write(_, 32)]));
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

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize),
    Truncate(u64),
    Term,
    Sync,
    Crash(Crash),
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
    ];
    prop::collection::vec(step, 1..60)
}

/// What the log must hold: every state it passed through, oldest first. What was synced is
/// the floor below which no crash may fall.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: Vec<Entry>,
    hard_state: HardState,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_crash_loses_what_was_synced(steps in steps(), segment_bytes in 4_300u64..7_000) {
        let fs = MemoryFs::default();
        let (mut wal, _) = open(&fs, segment_bytes).unwrap();
        let mut model = Model::default();
        // The states that a crash may leave: the one synced last, and all since.
        let mut possible = vec![model.clone()];
        for step in steps {
            match step {
                Step::Append(count, bytes) => {
                    for _ in 0..count {
                        let index = model.entries.len() as u64 + 1;
                        let new = entry(index, model.hard_state.term.0, bytes);
                        wal.append(std::slice::from_ref(&new)).unwrap();
                        model.entries.push(new);
                        possible.push(model.clone());
                    }
                }
                Step::Truncate(from) => {
                    wal.truncate_from(Index(from)).unwrap();
                    model.entries.retain(|entry| entry.index.0 < from);
                    possible.push(model.clone());
                }
                Step::Term => {
                    model.hard_state = hard(model.hard_state.term.0 + 1, 1);
                    wal.save_hard_state(model.hard_state).unwrap();
                    possible.push(model.clone());
                }
                Step::Sync => {
                    wal.sync().unwrap();
                    possible = vec![model.clone()];
                }
                Step::Crash(crash) => {
                    drop(wal);
                    fs.crash(crash);
                    let (again, found) = open(&fs, segment_bytes).unwrap();
                    wal = again;
                    let found = Model { entries: found.entries, hard_state: found.hard_state };
                    prop_assert!(possible.contains(&found), "{:?}", found);
                    model = found;
                    possible = vec![model.clone()];
                }
            }
        }
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
