//! Checkpoints: what was saved comes back, or the directory is refused.

mod layout;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use quorate_core::kv::{Command, StateMachine, WriteOp};
use quorate_core::store::{CheckpointStore, StoreError};
use quorate_core::types::{Entry, Payload, Position, Term};
use tempfile::TempDir;

use crate::store::checkpoint::{CheckpointError, SledCheckpoints};

const CACHE: u64 = 4 << 20;

/// Opens the checkpoints; a sled that was just closed lets go of its lock from a thread of its
/// own.
fn open(path: &Path) -> Result<(SledCheckpoints, Option<StateMachine>), CheckpointError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match SledCheckpoints::open(path, CACHE) {
            Err(CheckpointError::Store(StoreError::Io { error, .. }))
                if error.contains("lock") && Instant::now() < deadline =>
            {
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

fn apply(state: &mut StateMachine, command: &Command) {
    let index = state.applied().next();
    state.apply(&Entry { term: Term(1), index, payload: Payload::Command(command.encode()) });
}

fn write(state: &mut StateMachine, session: u64, id: u64, op: WriteOp) {
    let command = Command::Write { session, id, acked: 0, value_bytes: 64 << 20, op };
    apply(state, &command);
}

fn put(state: &mut StateMachine, key: u64, bytes: usize) {
    let index = state.applied().0;
    let value = (0..bytes).map(|place| (place as u64 ^ index).to_le_bytes()[place % 2]).collect();
    let key = Bytes::from(format!("key/{key}"));
    write(state, 0, 0, WriteOp::Put { key, value, return_previous: false });
}

fn delete(state: &mut StateMachine, key: u64) {
    let key = Bytes::from(format!("key/{key}"));
    write(state, 0, 0, WriteOp::Delete { key, return_previous: false });
}

fn same(found: Option<&StateMachine>, expected: &StateMachine) {
    let found = found.unwrap();
    assert_eq!((found.position(), found.hash()), (expected.position(), expected.hash()));
    assert_eq!(found.recompute_hash(), expected.recompute_hash());
    let nothing = Bytes::new();
    assert!(found.records(&nothing).eq(expected.records(&nothing)));
}

fn save(store: &mut SledCheckpoints, state: &mut StateMachine) {
    let changes = state.take_changes();
    store.save(state.point_in_time(), Some(changes)).unwrap();
}

#[test]
fn values_of_many_pieces_grow_shrink_and_go() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state");
    let (mut store, nothing) = open(&path).unwrap();
    assert!(nothing.is_none());
    let mut state = StateMachine::new();
    for bytes in [0, 1, 32_756, 32_768, 1 << 20, 100_000, 5, 300_000] {
        put(&mut state, 1, bytes);
        put(&mut state, bytes as u64, bytes);
        save(&mut store, &mut state);
        drop(store);
        let (again, found) = open(&path).unwrap();
        same(found.as_ref(), &state);
        store = again;
    }
    delete(&mut state, 1);
    delete(&mut state, 1 << 20);
    save(&mut store, &mut state);
    drop(store);
    same(open(&path).unwrap().1.as_ref(), &state);
    let blobs = std::fs::read_dir(path.join("blobs")).map_or(0, Iterator::count);
    assert_eq!(blobs, 0, "sled never syncs those");
}

#[test]
fn what_is_on_disk_stays_within_bounds_however_often_it_is_overwritten() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    let mut most = 0;
    for round in 0..40 {
        for key in 0..4_000 {
            put(&mut state, key, 250);
        }
        save(&mut store, &mut state);
        if round == 10 {
            most = store.bytes();
        }
    }
    // A megabyte of values. sled gives segments back from a thread of its own.
    assert!(store.bytes() <= most.max(40 << 20) * 2, "{} bytes after {most}", store.bytes());
    drop(store);
    same(open(dir.path()).unwrap().1.as_ref(), &state);
}

#[test]
fn checkpoints_that_are_in_use_are_not_taken_for_damaged() {
    let dir = TempDir::new().unwrap();
    let (_held, _) = open(dir.path()).unwrap();
    let refused = SledCheckpoints::open(dir.path(), CACHE).map(drop);
    assert!(matches!(refused, Err(CheckpointError::Store(_))), "{refused:?}");
}

#[test]
fn a_snapshot_that_came_in_replaces_everything() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let (mut old, mut new) = (StateMachine::new(), StateMachine::new());
    for key in 0..100 {
        put(&mut old, key, 50);
        put(&mut new, key + 50, 70_000);
    }
    save(&mut store, &mut old);
    store.save(new.point_in_time(), None).unwrap();
    drop(store);
    let (mut store, found) = open(dir.path()).unwrap();
    same(found.as_ref(), &new);
    let mut new = found.unwrap();
    delete(&mut new, 60);
    save(&mut store, &mut new);
    drop(store);
    same(open(dir.path()).unwrap().1.as_ref(), &new);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u64, usize),
    Delete(u64),
    Session(u64, u64),
    Save,
    Whole,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![4 => 0usize..300, 1 => 30_000usize..100_000];
    let step = prop_oneof![
        8 => (0u64..20, bytes).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        3 => (0u64..20).prop_map(Step::Delete),
        3 => (1u64..40, 1u64..6).prop_map(|(session, id)| Step::Session(session, id)),
        3 => Just(Step::Save),
        1 => Just(Step::Whole),
        2 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    // Each opening of sled takes milliseconds.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_saved_comes_back(steps in steps()) {
        let dir = TempDir::new().unwrap();
        let (mut store, _) = open(dir.path()).unwrap();
        let mut state = StateMachine::new();
        let mut saved = None::<StateMachine>;
        apply(&mut state, &Command::OpenSession { ttl_ms: 500, window: 3, max_sessions: 9 });
        for step in steps {
            match step {
                Step::Put(key, bytes) => put(&mut state, key, bytes),
                Step::Delete(key) => delete(&mut state, key),
                Step::Session(session, id) => {
                    if session % 4 == 0 {
                        let open =
                            Command::OpenSession { ttl_ms: 100, window: 2, max_sessions: 9 };
                        apply(&mut state, &open);
                        apply(&mut state, &Command::Clock { advance_ms: 20 });
                    }
                    let key = Bytes::from_static(b"key/7");
                    write(&mut state, session, id, WriteOp::Increment { key, by: 1 });
                }
                Step::Save => {
                    save(&mut store, &mut state);
                    saved = Some(state.point_in_time());
                }
                Step::Whole => {
                    state.take_changes();
                    store.save(state.point_in_time(), None).unwrap();
                    saved = Some(state.point_in_time());
                }
                Step::Reopen => {
                    drop(store);
                    let found;
                    (store, found) = open(dir.path()).unwrap();
                    match &saved {
                        None => prop_assert!(found.is_none()),
                        Some(saved) => same(found.as_ref(), saved),
                    }
                    // As after a start: what was not saved is applied again.
                    state = found.unwrap_or_default();
                }
            }
        }
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    dirs.iter().for_each(|dir| files.extend(self::files(dir)));
    files
}

#[test]
fn a_damaged_checkpoint_is_a_saved_one_or_refused_and_no_panic_escapes() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path()).unwrap();
    let mut state = StateMachine::new();
    let mut saved = Vec::<(Position, u64)>::new();
    for round in 0..6 {
        for key in 0..60 {
            put(&mut state, key * (round + 1), 3_000);
        }
        save(&mut store, &mut state);
        saved.push((state.position(), state.hash()));
    }
    drop(store);
    drop(open(dir.path()).unwrap());
    let mut refused = 0;
    for file in files(dir.path()) {
        let content = std::fs::read(&file).unwrap();
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for part in 0..12 {
            let mut content = content.clone();
            let place = used * part / 12;
            if part % 3 == 2 {
                content.truncate(place);
            } else {
                content.iter_mut().skip(place).take(4).for_each(|byte| *byte ^= 0x5a);
            }
            let copy = TempDir::new().unwrap();
            for other in files(dir.path()) {
                let to = copy.path().join(other.strip_prefix(dir.path()).unwrap());
                std::fs::create_dir_all(to.parent().unwrap()).unwrap();
                std::fs::copy(&other, &to).unwrap();
            }
            let damaged = copy.path().join(file.strip_prefix(dir.path()).unwrap());
            std::fs::write(&damaged, content).unwrap();
            match open(copy.path()) {
                // Damage that hits nothing, or takes sled back to what was.
                Ok((_, None)) => {}
                Ok((_, Some(found))) => {
                    assert!(saved.contains(&(found.position(), found.recompute_hash())));
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 3, "only {refused}");
}

/// The environment variable that makes this test binary the child of the test below.
const CHILD: &str = "QUORATE_CHECKPOINT_CHILD";

/// Saves for ever; says which checkpoint is durable.
#[test]
fn child_that_saves_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let (mut store, found) = open(Path::new(&path)).unwrap();
    let mut state = found.unwrap_or_default();
    loop {
        for key in 0..50 {
            let key = (state.applied().0 * 7 + key) % 300;
            put(&mut state, key, 4_000);
        }
        // A whole one now and then.
        let changes = state.take_changes();
        let changes = (!state.applied().0.is_multiple_of(400)).then_some(changes);
        store.save(state.point_in_time(), changes).unwrap();
        // What the parent judges by; each line is one write.
        eprintln!("saved {} {:016x}", state.applied(), state.hash());
    }
}

fn child(path: &Path) -> Child {
    let mut child = Process::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "--nocapture",
        "store::tests::checkpoint::child_that_saves_until_it_is_killed",
    ]);
    child.env(CHILD, path).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_process_killed_while_it_saves_leaves_a_checkpoint_that_is_no_older_than_it_said() {
    let dir = TempDir::new().unwrap();
    let mut newest = 0;
    for kill in 0..10u64 {
        let mut child = child(dir.path());
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        while said.len() < 2 + usize::try_from(kill).unwrap() {
            let line = lines.next().expect("it ends only when it is killed").unwrap();
            said.extend(line.strip_prefix("saved ").map(str::to_owned));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(
            lines
                .map_while(Result::ok)
                .filter_map(|line| Some(line.strip_prefix("saved ")?.to_owned())),
        );
        let (store, found) = open(dir.path()).unwrap();
        let found = found.unwrap();
        let (index, hash) = (found.applied().0, format!("{:016x}", found.recompute_hash()));
        let last = said.last().unwrap().split_once(' ').unwrap();
        let last_index: u64 = last.0.parse().unwrap();
        assert!(index >= last_index, "{index} after {last_index} was said to be durable");
        // It is the one that was said, or the one that was being saved.
        assert!(index == last_index + 50 || hash == last.1, "at {index}: {hash}, not {}", last.1);
        assert!(index <= last_index + 50);
        assert!(index > newest);
        newest = index;
        drop(store);
    }
}
