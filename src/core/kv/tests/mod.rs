//! Tests of the state machine, by claim.

mod batches;
mod command;
mod data;
mod hash;
mod model;
mod numbers;
mod pacemaker;
mod read;
mod sessions;
mod snapshot;

use bytes::Bytes;

use super::{Command, Page, StateMachine, WriteOp};
use crate::types::{Entry, Index, Payload, Term};
use crate::wire::client::{ErrorCode, Expect, KeyValue, OpResult, Success};

/// The value limit of the tests.
const VALUE_BYTES: u64 = 64;

/// A page of so many entries, however long they are.
fn at_most(entries: usize) -> Page {
    Page { entries, bytes: usize::MAX }
}

/// A state machine that is fed a log of its own.
#[derive(Clone, Default)]
struct Replica {
    state: StateMachine,
}

impl Replica {
    fn apply(&mut self, command: &Command) -> OpResult {
        let index = self.state.applied().next();
        let result = self.state.apply(&at(index.0, Payload::Command(command.encode())));
        result.expect("a command has a result")
    }

    /// A sessionless write.
    fn write(&mut self, op: WriteOp) -> OpResult {
        self.write_as(0, 0, 0, op)
    }

    fn write_as(&mut self, session: u64, id: u64, acked: u64, op: WriteOp) -> OpResult {
        self.apply(&Command::Write { session, id, acked, value_bytes: VALUE_BYTES, op })
    }

    /// A session of that time to live and window.
    fn open(&mut self, ttl_ms: u64, window: u64) -> u64 {
        let opened = self.apply(&Command::OpenSession { ttl_ms, window, max_sessions: 100 });
        assert_eq!(opened, Ok(Success::Empty));
        self.state.applied().0
    }

    fn advance(&mut self, advance_ms: u64) {
        assert_eq!(self.apply(&Command::Clock { advance_ms }), Ok(Success::Empty));
    }

    fn keep_alive(&mut self, session: u64) -> OpResult {
        self.apply(&Command::KeepAlive { session })
    }

    /// The entry of a key.
    fn entry(&self, key: &str) -> Option<KeyValue> {
        let listing = self.state.list(key.as_bytes(), None, at_most(1));
        listing.entries.into_iter().find(|entry| entry.key == key)
    }

    /// The value of a key, as text.
    fn value(&self, key: &str) -> Option<String> {
        self.entry(key).map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
    }

    fn revision(&self) -> u64 {
        self.state.revision()
    }
}

fn at(index: u64, payload: Payload) -> Entry {
    Entry { term: Term(1), index: Index(index), payload }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, value: &str) -> WriteOp {
    WriteOp::Put { key: bytes(key), value: bytes(value), return_previous: false }
}

fn append(key: &str, value: &str) -> WriteOp {
    WriteOp::Append { key: bytes(key), value: bytes(value) }
}

fn delete(key: &str) -> WriteOp {
    WriteOp::Delete { key: bytes(key), return_previous: false }
}

fn increment(key: &str, by: i64) -> WriteOp {
    WriteOp::Increment { key: bytes(key), by }
}

fn swap(key: &str, expect: Expect, value: Option<&str>) -> WriteOp {
    WriteOp::CompareAndSwap { key: bytes(key), expect, value: value.map(bytes) }
}

fn code(result: &OpResult) -> Option<ErrorCode> {
    result.as_ref().err().map(|failure| failure.code)
}

/// The number that an increment gave.
fn number(result: &OpResult) -> Option<i64> {
    if let Ok(Success::Increment { number, .. }) = result { Some(*number) } else { None }
}

#[test]
fn entries_without_a_command_only_move_the_applied_index() {
    let mut state = StateMachine::new();
    assert_eq!(state.apply(&at(1, Payload::Noop)), None);
    assert_eq!(state.apply(&at(2, Payload::Membership(Default::default()))), None);
    assert_eq!(state.applied(), Index(2));
    assert_eq!(state.revision(), 1);
}

#[test]
#[should_panic(expected = "entry 3 is applied after entry 1")]
fn a_gap_in_the_log_stops_the_replica() {
    let mut state = StateMachine::new();
    state.apply(&at(1, Payload::Noop));
    state.apply(&at(3, Payload::Noop));
}

#[test]
#[should_panic(expected = "committed entry 1 cannot be applied")]
fn a_command_that_cannot_be_read_stops_the_replica() {
    StateMachine::new().apply(&at(1, Payload::Command(Bytes::from_static(&[9, 9, 9]))));
}

#[test]
fn a_clone_is_a_point_in_time() {
    let mut replica = Replica::default();
    let session = replica.open(1_000, 8);
    replica.write_as(session, 1, 0, put("a", "1")).unwrap();
    let (earlier, summary) = (replica.clone(), replica.state.summary());
    replica.write_as(session, 2, 1, put("a", "2")).unwrap();
    replica.write(put("b", "3")).unwrap();
    replica.advance(5_000);
    assert_eq!(earlier.value("a").as_deref(), Some("1"));
    assert_eq!(earlier.state.summary(), summary);
    assert_eq!(earlier.state.hash(), earlier.state.recompute_hash());
}

#[test]
fn the_state_may_move_and_be_shared_between_threads() {
    fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<StateMachine>();
}
