//! The state machine against a model that is too simple to be wrong: a map of values, and per
//! session every reply ever given, none forgotten.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::hash::any_log;
use super::*;

#[derive(Default)]
struct Model {
    index: u64,
    revision: u64,
    clock_ms: u64,
    data: BTreeMap<Bytes, KeyValue>,
    sessions: BTreeMap<u64, ModelSession>,
}

#[derive(Default)]
struct ModelSession {
    ttl_ms: u64,
    window: usize,
    deadline_ms: u64,
    acked: u64,
    executed: BTreeMap<u64, Result<Success, ErrorCode>>,
}

impl ModelSession {
    /// The largest id whose reply is not kept: the newest `window` above `acked` are.
    fn mark(&self) -> u64 {
        let kept = self.executed.range(self.acked + 1..).rev();
        kept.map(|(id, _)| *id).nth(self.window).unwrap_or(0).max(self.acked)
    }
}

impl Model {
    fn new() -> Self {
        Self { revision: 1, ..Self::default() }
    }

    fn apply(&mut self, command: &Command) -> Result<Success, ErrorCode> {
        self.index += 1;
        match command.clone() {
            Command::OpenSession { ttl_ms, window, max_sessions } => {
                if self.sessions.len() as u64 >= max_sessions {
                    return Err(ErrorCode::Overloaded);
                }
                let window = usize::try_from(window.max(1)).unwrap();
                let deadline_ms = self.clock_ms + ttl_ms;
                let session = ModelSession { ttl_ms, window, deadline_ms, ..Default::default() };
                self.sessions.insert(self.index, session);
            }
            Command::KeepAlive { session } => self.touch(session)?,
            Command::CloseSession { session } => drop(self.sessions.remove(&session)),
            Command::Clock { advance_ms } => {
                self.clock_ms += advance_ms;
                self.sessions.retain(|_, session| session.deadline_ms > self.clock_ms);
            }
            Command::Write { session: 0, op, .. } => return self.execute(op),
            Command::Write { session, id, acked, op, .. } => {
                return self.once(session, id, acked, op);
            }
        }
        Ok(Success::Empty)
    }

    fn touch(&mut self, session: u64) -> Result<(), ErrorCode> {
        let session = self.sessions.get_mut(&session).ok_or(ErrorCode::SessionExpired)?;
        session.deadline_ms = self.clock_ms + session.ttl_ms;
        Ok(())
    }

    fn once(
        &mut self,
        id: u64,
        request: u64,
        acked: u64,
        op: WriteOp,
    ) -> Result<Success, ErrorCode> {
        self.touch(id)?;
        if request == 0 {
            return Err(ErrorCode::BadRequest);
        }
        if request <= self.sessions[&id].mark() {
            return Err(ErrorCode::StaleRequest);
        }
        let known = self.sessions[&id].executed.get(&request).cloned();
        let result = known.unwrap_or_else(|| self.execute(op));
        let session = self.sessions.get_mut(&id).unwrap();
        session.executed.insert(request, result.clone());
        // A mark never falls, also when ids arrive between it and the newest ones.
        session.acked = session.mark().max(acked.min(request - 1));
        result
    }

    fn execute(&mut self, op: WriteOp) -> Result<Success, ErrorCode> {
        let index = self.index;
        match op {
            WriteOp::Put { key, value, return_previous } => {
                let before = self.data.get(&key).cloned();
                self.set(&key, value);
                let previous = return_previous.then_some(before);
                Ok(Success::Put { revision: self.revision, index, previous })
            }
            WriteOp::Append { key, value } => {
                let head = self.data.get(&key).map(|entry| entry.value.to_vec());
                let value = [head.unwrap_or_default(), value.to_vec()].concat();
                let length = value.len() as u64;
                if length > VALUE_BYTES {
                    return Err(ErrorCode::TooLarge);
                }
                self.set(&key, value.into());
                Ok(Success::Append { revision: self.revision, index, length })
            }
            WriteOp::Delete { key, return_previous } => {
                let before = self.unset(&key);
                let deleted = u64::from(before.is_some());
                let previous = return_previous.then_some(before);
                Ok(Success::Delete { revision: self.revision, index, deleted, previous })
            }
            WriteOp::CompareAndSwap { key, expect, value } => {
                let found = self.data.get(&key);
                let swapped = match expect {
                    Expect::Absent | Expect::ModRevision(0) => found.is_none(),
                    Expect::Value(value) => found.is_some_and(|entry| entry.value == value),
                    Expect::ModRevision(at) => found.is_some_and(|entry| entry.mod_revision == at),
                };
                match value {
                    Some(value) if swapped => self.set(&key, value),
                    None if swapped => drop(self.unset(&key)),
                    Some(_) | None => {}
                }
                let (revision, entry) = (self.revision, self.data.get(&key).cloned());
                Ok(Success::CompareAndSwap { revision, index, swapped, entry })
            }
            WriteOp::Increment { key, by } => {
                let found = self.data.get(&key).map_or(&b"0"[..], |entry| &entry.value);
                let text = std::str::from_utf8(found).map_err(|_| ErrorCode::BadRequest)?;
                let wide: i128 = text.parse().map_err(|_| ErrorCode::BadRequest)?;
                let found = i64::try_from(wide).map_err(|_| ErrorCode::BadRequest)?;
                let number = found.checked_add(by).ok_or(ErrorCode::BadRequest)?;
                self.set(&key, number.to_string().into());
                Ok(Success::Increment { revision: self.revision, index, number })
            }
        }
    }

    fn set(&mut self, key: &Bytes, value: Bytes) {
        self.revision += 1;
        let (create_revision, version) =
            self.data.get(key).map_or((self.revision, 0), |e| (e.create_revision, e.version));
        let (mod_revision, version) = (self.revision, version + 1);
        let key = key.clone();
        let entry = KeyValue { key, value, create_revision, mod_revision, version, lease: 0 };
        self.data.insert(entry.key.clone(), entry);
    }

    fn unset(&mut self, key: &Bytes) -> Option<KeyValue> {
        let before = self.data.remove(key);
        self.revision += u64::from(before.is_some());
        before
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_state_machine_answers_as_the_model_does(log in any_log()) {
        let (mut replica, mut model) = (Replica::default(), Model::new());
        for command in &log {
            let (given, expected) = (replica.apply(command), model.apply(command));
            prop_assert_eq!(given.map_err(|failure| failure.code), expected, "{:?}", command);
            let summary = replica.state.summary();
            prop_assert_eq!(summary.revision, model.revision);
            prop_assert_eq!(summary.clock_ms, model.clock_ms);
            prop_assert_eq!(summary.sessions, model.sessions.len() as u64);
        }
        let entries: Vec<_> = model.data.into_values().collect();
        prop_assert_eq!(replica.state.list(b"", None, at_most(usize::MAX)).entries, entries);
    }

    /// Increments sent in any order and any number of times, each acknowledged only once its
    /// reply could have come: the sum is that of the distinct ids.
    #[test]
    fn retried_and_shuffled_writes_count_once(
        sends in prop::collection::vec(1..40_u64, 1..200),
    ) {
        let mut replica = Replica::default();
        let session = replica.open(1_000, 64);
        let mut seen = std::collections::BTreeSet::new();
        for id in sends {
            seen.insert(id);
            let acked = (1..).take_while(|id| seen.contains(id)).last().unwrap_or(0);
            let _ = replica.write_as(session, id, acked, increment("n", 1));
        }
        prop_assert_eq!(replica.value("n"), Some(seen.len().to_string()));
    }
}
