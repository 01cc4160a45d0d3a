//! What the pure core costs, without a disk, a socket or a thread: `cargo bench -p quorate-core`.
//!
//! Timings depend on the machine; compare two builds side by side, in one run.

mod group;

use std::hint::black_box;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate_core::fs::memory::MemoryFs;
use quorate_core::kv::{Command, StateMachine, WriteOp};
use quorate_core::raft::Message;
use quorate_core::store::LogStore;
use quorate_core::types::{Entry, Index, NodeId, Payload, Position, Term};
use quorate_core::wal::{Identity, Options, Wal};
use quorate_core::wire::peer::{decode_messages, encode_message};

use group::Group;

/// Keys that are written, and the size of a value.
const KEYS: u64 = 10_000;
const VALUE_BYTES: usize = 256;
/// The session that writes; the index of the entry that opens it.
const SESSION: u64 = 1;

fn put(number: u64, keys: u64) -> Command {
    let key = Bytes::from(format!("{:08}", number.wrapping_mul(7_919_317) % keys));
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let op = WriteOp::Put { key, value, return_previous: false };
    let acked = number.saturating_sub(256);
    Command::Write { session: SESSION, id: number, acked, value_bytes: 1 << 20, op }
}

fn entries(first: u64, count: u64, keys: u64) -> Vec<Entry> {
    let numbers = first..first + count;
    let entry = |number| Entry {
        term: Term(1),
        index: Index(number),
        payload: Payload::Command(put(number, keys).encode()),
    };
    numbers.map(entry).collect()
}

/// Three nodes, one thread: from the proposal to the leader's apply.
fn commit(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("commit, three nodes");
    for outstanding in [1, 64, 256, 1_024] {
        let mut nodes = Group::of_three();
        let command = put(1, KEYS).encode();
        bench.throughput(Throughput::Elements(outstanding));
        bench.bench_function(format!("{outstanding} outstanding"), |bench| {
            bench.iter(|| nodes.commit(outstanding, &command));
        });
    }
    bench.finish();
}

/// What a leader sends and a follower reads.
fn codec(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("appends of 64 entries");
    bench.throughput(Throughput::Elements(64));
    let (prev, commit) = (Position { term: Term(1), index: Index(0) }, Index(0));
    let message =
        Message::AppendEntries { term: Term(1), prev, commit, entries: entries(1, 64, KEYS) };
    let encoded = || {
        let mut out = BytesMut::new();
        encode_message(&mut out, &message);
        out.freeze()
    };
    bench.bench_function("encode", |bench| bench.iter(|| black_box(encoded())));
    let frame = encoded();
    bench.bench_function("decode", |bench| {
        bench.iter(|| decode_messages(black_box(&frame)).expect("it was just encoded"));
    });
    bench.finish();
    let mut bench = criterion.benchmark_group("a put's command");
    bench.throughput(Throughput::Elements(1));
    let command = put(1, KEYS);
    bench.bench_function("encode", |bench| bench.iter(|| black_box(&command).encode()));
    let encoded = command.encode();
    bench.bench_function("decode", |bench| {
        bench.iter(|| Command::decode(black_box(&encoded)).expect("it was just encoded"));
    });
    bench.finish();
}

/// Puts of one session, beside what a checkpoint does now and then.
fn apply(criterion: &mut Criterion) {
    let mut bench = criterion.benchmark_group("apply");
    bench.throughput(Throughput::Elements(64));
    for keys in [KEYS, 1_000_000] {
        let mut state = StateMachine::new();
        let open = Command::OpenSession { ttl_ms: u64::MAX / 2, window: 1_024, max_sessions: 10 };
        let opened = Payload::Command(open.encode());
        state.apply(&Entry { term: Term(1), index: Index(SESSION), payload: opened });
        let mut next = SESSION + 1;
        for _ in 0..keys {
            entries(next, 1, keys).iter().for_each(|entry| drop(state.apply(entry)));
            next += 1;
        }
        let mut checkpoint = None;
        bench.bench_function(format!("64 puts, {keys} keys"), |bench| {
            let batch = || {
                next += 64;
                entries(next - 64, 64, keys)
            };
            let run = |entries: Vec<Entry>| {
                if entries[0].index.0 % 65_536 < 64 {
                    checkpoint = Some(state.take_changes().records(&state.point_in_time()));
                }
                state.apply_all(&entries, |_, result| drop(black_box(result)));
            };
            bench.iter_batched(batch, run, BatchSize::NumIterations(1));
        });
        drop(checkpoint);
    }
    bench.finish();
}

/// Into memory: what staging and checksums cost, without a disk.
fn log(criterion: &mut Criterion) {
    let identity = Identity { cluster: 1, node: NodeId(1), incarnation: 1 };
    let options = Options { segment_bytes: 64 << 20, preallocate_bytes: 64 << 20, identity };
    let mut bench = criterion.benchmark_group("log, in memory");
    bench.throughput(Throughput::Elements(64));
    bench.bench_function("64 entries, one sync", |bench| {
        let open = || Wal::open(Arc::new(MemoryFs::default()), options).expect("an empty log").0;
        let (mut wal, mut next) = (open(), 1);
        bench.iter(|| {
            if next > 65_536 {
                (wal, next) = (open(), 1);
            }
            wal.append(&entries(next, 64, KEYS)).expect("it follows");
            wal.sync().expect("memory does not fail");
            next += 64;
        });
    });
    bench.finish();
}

criterion_group!(benches, commit, codec, apply, log);
criterion_main!(benches);
