//! What the checkpoints themselves cost, without a cluster around them: time, disk and memory.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate::store::checkpoint::SledCheckpoints;
use quorate_core::kv::{Command, StateMachine, WriteOp};
use quorate_core::store::CheckpointStore;
use quorate_core::types::{Entry, Payload, Term};
use quorate_harness::bare::resident_kib;
use tempfile::TempDir;

use crate::load::as_float;

/// Of sled's cache, as a node has it.
const CACHE_BYTES: u64 = 64 << 20;
const VALUE_BYTES: usize = 256;

/// A small state that is overwritten again and again; then one of so many keys: whole, a tenth of
/// it, and a start with it.
pub(crate) fn run(keys: u64) {
    let dir = TempDir::new().expect("a directory");
    let (mut store, mut state) = (open(dir.path()).0, StateMachine::new());
    for round in 1..=50 {
        (0..40_000).for_each(|key| put(&mut state, key));
        save(&mut store, &mut state);
        if round % 10 == 0 {
            let (disk, memory) = (
                megabytes(store.bytes()),
                megabytes(resident_kib(rustix::process::getpid()) << 10),
            );
            println!(
                "10 MB overwritten {round} times: {disk:.0} MB on disk, {memory:.0} MB of memory"
            );
        }
    }
    drop((store, state));
    let dir = TempDir::new().expect("a directory");
    let (mut store, mut state) = (open(dir.path()).0, StateMachine::new());
    // In no order, as clients do.
    (0..keys).for_each(|key| put(&mut state, key * 7_919 % keys));
    let whole = save(&mut store, &mut state);
    (0..keys / 10).for_each(|key| put(&mut state, key * 10));
    let tenth = save(&mut store, &mut state);
    let disk = megabytes(store.bytes());
    drop(store);
    let started = Instant::now();
    let (_store, found) = open(dir.path());
    let read = started.elapsed();
    assert_eq!(found.map(|found| found.hash()), Some(state.hash()), "it comes back");
    println!(
        "{keys} keys of {VALUE_BYTES} bytes: saved whole in {whole:.1?}, a tenth of them in {tenth:.1?}, read in {read:.1?}, {disk:.0} MB on disk"
    );
}

fn open(path: &Path) -> (SledCheckpoints, Option<StateMachine>) {
    // sled closes from a thread of its own.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match SledCheckpoints::open(path, CACHE_BYTES) {
            Err(error) if error.to_string().contains("lock") && Instant::now() < deadline => {
                std::thread::yield_now();
            }
            opened => return opened.expect("it opens"),
        }
    }
}

fn put(state: &mut StateMachine, key: u64) {
    let index = state.applied().next();
    let (key, value) = (Bytes::from(format!("{key:08}")), Bytes::from(vec![b'x'; VALUE_BYTES]));
    let op = WriteOp::Put { key, value, return_previous: false };
    let command = Command::Write { session: 0, id: 0, acked: 0, value_bytes: 1 << 20, op };
    state.apply(&Entry { term: Term(1), index, payload: Payload::Command(command.encode()) });
}

fn save(store: &mut SledCheckpoints, state: &mut StateMachine) -> Duration {
    let changes = state.take_changes();
    let started = Instant::now();
    store.save(state.point_in_time(), Some(changes)).expect("the disk takes it");
    started.elapsed()
}

fn megabytes(bytes: u64) -> f64 {
    as_float(bytes) / 1e6
}
