//! A second state machine: naive, and written from what the operations are documented to do,
//! not from the code that does it. It executes what is committed, once, and every node's
//! results are compared with its.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_core::kv::{Command, WriteOp};
use quorate_core::types::Payload;
use quorate_core::wire::client::{
    Append, CompareAndSwap, Delete, ErrorCode, Expect, Failure, Increment, KeyValue, Op, OpResult,
    Put, Success,
};

use crate::history::witness::LoggedWrite;

/// What an entry did.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The session of its write; 0 where it bears none.
    pub session: u64,
    /// The request's id there.
    pub id: u64,
    /// Its write.
    pub op: Option<WriteOp>,
    /// The write was executed here, and was not a repetition of an earlier one or refused for
    /// its session.
    pub fresh: bool,
    /// What it gave; `None` for an entry that bears no command.
    pub result: Option<OpResult>,
}

#[derive(Clone, Debug, Default)]
struct Session {
    ttl_ms: u64,
    window: usize,
    deadline_ms: u64,
    /// Every reply up to here is forgotten.
    forgotten: u64,
    /// The replies that are kept, with the place of their execution.
    replies: BTreeMap<u64, OpResult>,
}

/// The model.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    executions: Vec<Execution>,
    data: BTreeMap<Bytes, KeyValue>,
    sessions: BTreeMap<u64, Session>,
    clock_ms: u64,
    /// One below the store's revision.
    writes: u64,
}

fn refused(code: ErrorCode) -> OpResult {
    Err(Failure::new(code, "as the oracle has it"))
}

impl Oracle {
    /// Everything executed, from index 1.
    #[must_use]
    pub fn executions(&self) -> &[Execution] {
        &self.executions
    }

    /// What the entry at an index did.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<&Execution> {
        self.executions.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// The writes that took effect, as the checkers of histories want them.
    #[must_use]
    pub fn logged_writes(&self) -> Vec<LoggedWrite> {
        let fresh = self.executions.iter().filter(|done| done.fresh);
        let worked = fresh.filter(|done| matches!(done.result, Some(Ok(_))));
        worked
            .filter_map(|done| {
                Some(LoggedWrite { index: done.index, op: op_of(done.op.as_ref()?) })
            })
            .collect()
    }

    /// Executes the next entry.
    ///
    /// # Panics
    /// When entries are skipped, or one cannot be read.
    pub fn execute(&mut self, index: u64, term: u64, payload: &Payload) {
        assert!(index == self.executions.len() as u64 + 1, "the oracle skips an entry");
        let mut execution =
            Execution { index, term, session: 0, id: 0, op: None, fresh: false, result: None };
        if let Payload::Command(bytes) = payload {
            let command = Command::decode(bytes).expect("committed commands can be read");
            execution.result = Some(self.command(&mut execution, command));
        }
        self.executions.push(execution);
    }

    fn command(&mut self, execution: &mut Execution, command: Command) -> OpResult {
        match command {
            Command::OpenSession { ttl_ms, window, max_sessions } => {
                if self.sessions.len() as u64 >= max_sessions {
                    return refused(ErrorCode::Overloaded);
                }
                let window = usize::try_from(window.max(1)).unwrap_or(usize::MAX);
                let deadline_ms = self.clock_ms + ttl_ms;
                let session = Session { ttl_ms, window, deadline_ms, ..Session::default() };
                self.sessions.insert(execution.index, session);
                Ok(Success::Empty)
            }
            Command::KeepAlive { session } => match self.touch(session) {
                true => Ok(Success::Empty),
                false => refused(ErrorCode::SessionExpired),
            },
            Command::CloseSession { session } => {
                self.sessions.remove(&session);
                Ok(Success::Empty)
            }
            Command::Clock { advance_ms } => {
                self.clock_ms += advance_ms;
                let now = self.clock_ms;
                self.sessions.retain(|_, session| session.deadline_ms > now);
                Ok(Success::Empty)
            }
            Command::Write { session, id, acked, value_bytes, op } => {
                (execution.session, execution.id) = (session, id);
                execution.op = Some(op.clone());
                self.write(execution, acked, value_bytes, op)
            }
        }
    }

    fn touch(&mut self, session: u64) -> bool {
        let now = self.clock_ms;
        let found = self.sessions.get_mut(&session);
        found.map(|session| session.deadline_ms = now + session.ttl_ms).is_some()
    }

    fn write(
        &mut self,
        execution: &mut Execution,
        acked: u64,
        value_bytes: u64,
        op: WriteOp,
    ) -> OpResult {
        let (index, session, id) = (execution.index, execution.session, execution.id);
        if session == 0 {
            execution.fresh = true;
            return self.operate(op, value_bytes, index);
        }
        if !self.touch(session) {
            return refused(ErrorCode::SessionExpired);
        }
        if id == 0 {
            return refused(ErrorCode::BadRequest);
        }
        let known = self.sessions.get(&session);
        if known.is_some_and(|known| id <= known.forgotten) {
            return refused(ErrorCode::StaleRequest);
        }
        let result = match known.and_then(|known| known.replies.get(&id).cloned()) {
            Some(reply) => reply,
            None => {
                execution.fresh = true;
                self.operate(op, value_bytes, index)
            }
        };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.replies.insert(id, result.clone());
            session.forgotten = session.forgotten.max(acked.min(id - 1));
            session.forget();
        }
        result
    }

    fn operate(&mut self, op: WriteOp, value_bytes: u64, index: u64) -> OpResult {
        match op {
            WriteOp::Put { key, value, return_previous } => {
                let before = self.data.get(&key).cloned();
                let revision = self.set(key, value);
                let previous = return_previous.then_some(before);
                Ok(Success::Put { revision, index, previous })
            }
            WriteOp::Append { key, value } => {
                let mut whole =
                    self.data.get(&key).map(|old| old.value.to_vec()).unwrap_or_default();
                whole.extend_from_slice(&value);
                let length = whole.len() as u64;
                if length > value_bytes {
                    return refused(ErrorCode::TooLarge);
                }
                let revision = self.set(key, whole.into());
                Ok(Success::Append { revision, index, length })
            }
            WriteOp::Delete { key, return_previous } => {
                let before = self.unset(&key);
                let deleted = u64::from(before.is_some());
                let previous = return_previous.then_some(before);
                Ok(Success::Delete { revision: self.writes + 1, index, deleted, previous })
            }
            WriteOp::CompareAndSwap { key, expect, value } => {
                let swapped = self.is_as_expected(&key, &expect);
                match value {
                    Some(value) if swapped => drop(self.set(key.clone(), value)),
                    None if swapped => drop(self.unset(&key)),
                    Some(_) | None => {}
                }
                let (entry, revision) = (self.data.get(&key).cloned(), self.writes + 1);
                Ok(Success::CompareAndSwap { revision, index, swapped, entry })
            }
            WriteOp::Increment { key, by } => self.increment(key, by, index),
        }
    }

    fn is_as_expected(&self, key: &Bytes, expect: &Expect) -> bool {
        let found = self.data.get(key);
        match expect {
            Expect::Absent | Expect::ModRevision(0) => found.is_none(),
            Expect::Value(value) => found.is_some_and(|entry| entry.value == *value),
            Expect::ModRevision(at) => found.is_some_and(|entry| entry.mod_revision == *at),
        }
    }

    fn increment(&mut self, key: Bytes, by: i64, index: u64) -> OpResult {
        let number = match self.data.get(&key) {
            None => Some(0),
            Some(entry) => number(&entry.value),
        };
        let Some(number) = number.and_then(|number| number.checked_add(by)) else {
            return refused(ErrorCode::BadRequest);
        };
        let revision = self.set(key, Bytes::from(number.to_string()));
        Ok(Success::Increment { revision, index, number })
    }

    fn set(&mut self, key: Bytes, value: Bytes) -> u64 {
        self.writes += 1;
        let revision = self.writes + 1;
        let before = self.data.get(&key);
        let entry = KeyValue {
            key: key.clone(),
            value,
            create_revision: before.map_or(revision, |old| old.create_revision),
            mod_revision: revision,
            version: before.map_or(1, |old| old.version + 1),
            lease: 0,
        };
        self.data.insert(key, entry);
        revision
    }

    fn unset(&mut self, key: &Bytes) -> Option<KeyValue> {
        let before = self.data.remove(key);
        self.writes += u64::from(before.is_some());
        before
    }
}

impl Session {
    /// Of the replies above what was forgotten, the newest `window` are kept; what was let go
    /// is forgotten for good.
    fn forget(&mut self) {
        self.replies = self.replies.split_off(&(self.forgotten + 1));
        while self.replies.len() > self.window {
            if let Some((id, _)) = self.replies.pop_first() {
                self.forgotten = self.forgotten.max(id);
            }
        }
    }
}

/// A decimal number, written as the store writes it.
fn number(text: &[u8]) -> Option<i64> {
    if text.starts_with(b"+") {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The client's operation behind a write.
fn op_of(op: &WriteOp) -> Op {
    match op.clone() {
        WriteOp::Put { key, value, return_previous } => {
            Op::Put(Put { key, value, lease: 0, return_previous })
        }
        WriteOp::Append { key, value } => Op::Append(Append { key, value }),
        WriteOp::Delete { key, return_previous } => Op::Delete(Delete { key, return_previous }),
        WriteOp::CompareAndSwap { key, expect, value } => {
            Op::CompareAndSwap(CompareAndSwap { key, expect, value })
        }
        WriteOp::Increment { key, by } => Op::Increment(Increment { key, by }),
    }
}

/// Whether two results are the same but for their words.
#[must_use]
pub fn same(one: &OpResult, other: &OpResult) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => one == other,
        (Err(one), Err(other)) => one.code == other.code,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}
