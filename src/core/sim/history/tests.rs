//! Histories as a store makes them, and as it must not.

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::kv::{Command, StateMachine, WriteOp};
use quorate_core::types::{Entry, Payload, Term};
use quorate_core::wire::client::{
    Append, CompareAndSwap, Delete, ErrorCode, Expect, Failure, Get, Increment, KeyValue, Op,
    OpResult, Put, Success,
};

use super::wgl::{self, Verdict};
use super::witness::{self, LoggedWrite, Rule};
use super::{Fate, Operation};

mod bad;
mod good;
mod naive;
mod printed;
mod random;

/// Steps that every search of these tests gets.
const BUDGET: u64 = 200_000;

/// Clients of the servers' own state machine. Operations take effect in the order of the calls
/// of this; the times are what the clients saw.
#[derive(Clone)]
struct Run {
    machine: StateMachine,
    history: Vec<Operation>,
    log: Vec<LoggedWrite>,
}

impl Run {
    fn new() -> Self {
        Self { machine: StateMachine::new(), history: Vec::new(), log: Vec::new() }
    }

    /// An entry that writes nothing.
    fn noop(&mut self) {
        let index = self.machine.applied().next();
        self.machine.apply(&Entry { term: Term(1), index, payload: Payload::Noop });
    }

    /// Executes an operation now.
    fn execute(&mut self, op: &Op) -> OpResult {
        if let Op::Get(get) = op {
            return self.machine.get(get);
        }
        let index = self.machine.applied().next();
        let op = op.clone();
        let write = WriteOp::from_op(&op).unwrap();
        let command = Command::Write { session: 0, id: 1, acked: 0, value_bytes: 1_000, op: write };
        let payload = Payload::Command(command.encode());
        let result = self.machine.apply(&Entry { term: Term(1), index, payload }).unwrap();
        if result.is_ok() {
            self.log.push(LoggedWrite { index: index.0, op });
        }
        result
    }

    fn record(
        &mut self,
        client: u64,
        times: (u64, Option<u64>),
        op: Op,
        outcome: Option<Outcome>,
    ) -> usize {
        let (invoked, ended) = times;
        self.history.push(Operation { client, invoked, ended, op, outcome });
        self.history.len() - 1
    }

    /// An operation that takes effect now, and is answered.
    fn done(&mut self, client: u64, times: (u64, u64), op: Op) -> usize {
        let outcome = match self.execute(&op) {
            Ok(success) => Outcome::Done(success),
            Err(failure) => Outcome::NotExecuted(failure),
        };
        self.record(client, (times.0, Some(times.1)), op, Some(outcome))
    }

    /// An operation of which the client never learns more.
    fn unknown(&mut self, client: u64, times: (u64, u64), op: Op) -> usize {
        let outcome = Outcome::Unknown { session: 0, id: 1, reason: String::new() };
        self.record(client, (times.0, Some(times.1)), op, Some(outcome))
    }

    fn pending(&mut self, client: u64, invoked: u64, op: Op) -> usize {
        self.record(client, (invoked, None), op, None)
    }

    /// An operation that a server says is not executed.
    fn refused(&mut self, client: u64, times: (u64, u64), op: Op) -> usize {
        let failure = Failure::new(ErrorCode::Overloaded, "later");
        self.record(client, (times.0, Some(times.1)), op, Some(Outcome::NotExecuted(failure)))
    }

    /// An operation that was recorded takes effect now (again, perhaps).
    fn takes_effect(&mut self, operation: usize) {
        let op = self.history[operation].op.clone();
        self.execute(&op).unwrap();
    }

    /// What clients do with a store that is then lost; they were answered all the same.
    fn elsewhere(&mut self, act: impl FnOnce(&mut Self)) {
        let (machine, log) = (self.machine.clone(), self.log.clone());
        act(self);
        (self.machine, self.log) = (machine, log);
    }

    /// What an operation was told, to falsify it.
    fn told(&mut self, operation: usize) -> &mut Success {
        match &mut self.history[operation].outcome {
            Some(Outcome::Done(success)) => success,
            other => panic!("not answered: {other:?}"),
        }
    }

    /// The entry that an operation was shown, to falsify it.
    fn shown(&mut self, operation: usize) -> &mut KeyValue {
        match self.told(operation) {
            Success::Get { entry: Some(entry), .. }
            | Success::CompareAndSwap { entry: Some(entry), .. }
            | Success::Put { previous: Some(Some(entry)), .. }
            | Success::Delete { previous: Some(Some(entry)), .. } => entry,
            other => panic!("shows nothing: {other:?}"),
        }
    }

    fn wgl(&self) -> Verdict {
        wgl::check(&self.history, BUDGET)
    }

    /// All checks agree that nothing is wrong; gives how many unknown writes took effect by the
    /// log, and at least by the answers.
    #[track_caller]
    fn passes(&self) -> (u64, u64) {
        let exact = witness::check_with_log(&self.history, &self.log).unwrap();
        let found = witness::check(&self.history).unwrap();
        assert_eq!(self.wgl(), Verdict::Linearizable);
        (exact.unknown_applied, found.unknown_applied)
    }

    /// Which rules the two witness checks see broken, and whether the search finds no order.
    fn broken(&self) -> (Option<Rule>, Option<Rule>, bool) {
        let found = witness::check(&self.history).err().map(|violation| violation.rule);
        let exact = witness::check_with_log(&self.history, &self.log);
        let exact = exact.err().map(|violation| violation.rule);
        (found, exact, matches!(self.wgl(), Verdict::Violation(_)))
    }

    /// All checks see it: the witness check by this rule, and the one with the log by that.
    #[track_caller]
    fn fails(&self, found: Rule, exact: Rule) {
        assert_eq!(self.broken(), (Some(found), Some(exact), true));
    }

    /// Only the servers' own numbers are wrong, so another order may explain the answers.
    #[track_caller]
    fn fails_by_numbers(&self, found: Rule, exact: Rule) {
        assert_eq!(self.broken(), (Some(found), Some(exact), false));
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(value: &str) -> Op {
    put_to("k", value)
}

fn put_to(key: &str, value: &str) -> Op {
    Op::Put(Put { key: bytes(key), value: bytes(value), ..Put::default() })
}

/// A put that asks for what was there.
fn replace(value: &str) -> Op {
    Op::Put(Put { key: bytes("k"), value: bytes(value), return_previous: true, ..Put::default() })
}

fn append(value: &str) -> Op {
    Op::Append(Append { key: bytes("k"), value: bytes(value) })
}

fn get() -> Op {
    get_of("k")
}

fn get_of(key: &str) -> Op {
    Op::Get(Get { key: bytes(key), ..Get::default() })
}

fn delete() -> Op {
    Op::Delete(Delete { key: bytes("k"), return_previous: false })
}

fn increment(by: i64) -> Op {
    Op::Increment(Increment { key: bytes("k"), by })
}

fn swap(expect: Expect, value: Option<&str>) -> Op {
    Op::CompareAndSwap(CompareAndSwap { key: bytes("k"), expect, value: value.map(bytes) })
}

fn holds(value: &str) -> Expect {
    Expect::Value(bytes(value))
}
