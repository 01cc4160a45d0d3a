//! Histories as files, for checkers that share nothing with this project.
//!
//! With `QUORATE_HISTORY=DIR` the tests that record calls (`tests/torture.rs`, `tests/mit_kv.rs`)
//! write each history to `DIR/TEST.N.jsonl`, named after the test, `N` being the first number that
//! is free. A relative `DIR` is one below the workspace's root.
//!
//! The format is stable. Each line is a JSON object, one call of a client, in any order:
//!
//! | field | what it is |
//! |---|---|
//! | `client` | who called; a client may have several calls under way |
//! | `op` | `put`, `append`, `get`, `delete`, `compare_and_swap` or `increment` |
//! | `key` | a text |
//! | the operation's arguments | by the names of `docs/protocol.md`: `value`, `by`, `expect` (null, `{"value"}` or `{"mod_revision"}`), `consistency`, `return_previous` |
//! | `invoked_ns` | when it was called, in nanoseconds on one monotonic clock of all clients, cut to microseconds |
//! | `ended_ns` | when it was answered or given up, on the same clock; null if the run ended before |
//! | `outcome` | `ok`: it took effect once, between the two times. `failed`: it did not and never will; a read failed that nobody learned from. `unknown`: a write that took effect once at any time after its call, or does later, or never |
//! | `result` | with `ok`: the answer, by the names of `docs/protocol.md` |
//! | `reason` | otherwise: why, for people |
//!
//! Keys and values that are not UTF-8 are `{"hex": "00ff"}`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::wire::client::{Expect, KeyValue, Op, Success};
use quorate_sim::history::Operation;
use serde_json::{Map, Value, json};

/// Writes a history where `QUORATE_HISTORY` asks for it, under the name of the running test.
pub fn keep_if_asked(history: &[Operation]) {
    let Some(dir) = std::env::var_os("QUORATE_HISTORY").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&dir).expect("the folder of histories can be made");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("history").replace("::", ".");
    let paths = (1_u32..).map(|number| dir.join(format!("{test}.{number}.jsonl")));
    for path in paths {
        match File::create_new(&path) {
            Ok(file) => return write_to(file, history),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

/// Writes a history to a file.
pub fn write(path: &Path, history: &[Operation]) {
    write_to(File::create(path).expect("the history can be written"), history);
}

fn write_to(file: File, history: &[Operation]) {
    let mut file = BufWriter::new(file);
    for operation in history {
        if let Some(line) = line(operation) {
            writeln!(file, "{line}").expect("the history can be written");
        }
    }
    file.flush().expect("the history can be written");
}

/// A call as a line; `None` for what is about no key.
fn line(operation: &Operation) -> Option<Value> {
    let mut line = arguments(&operation.op)?;
    line.insert("client".into(), operation.client.into());
    line.insert("op".into(), operation.op.name().into());
    line.insert("key".into(), text(operation.op.key()?));
    line.insert("invoked_ns".into(), (operation.invoked * 1_000).into());
    line.insert("ended_ns".into(), operation.ended.map(|ended| ended * 1_000).into());
    let is_write = operation.op.is_write();
    let (outcome, reason) = match &operation.outcome {
        Some(Outcome::Done(success)) => {
            line.insert("result".into(), result(success)?);
            ("ok", None)
        }
        Some(Outcome::NotExecuted(failure)) => ("failed", Some(failure.to_string())),
        Some(Outcome::Unreachable { reason }) => ("failed", Some(reason.clone())),
        Some(Outcome::Unknown { reason, .. }) => {
            (if is_write { "unknown" } else { "failed" }, Some(reason.clone()))
        }
        None => (if is_write { "unknown" } else { "failed" }, Some("the run ended".into())),
    };
    line.insert("outcome".into(), outcome.into());
    if let Some(reason) = reason {
        line.insert("reason".into(), reason.into());
    }
    Some(Value::Object(line))
}

fn arguments(op: &Op) -> Option<Map<String, Value>> {
    let arguments = match op {
        Op::Put(put) => {
            json!({ "value": text(&put.value), "return_previous": put.return_previous })
        }
        Op::Append(append) => json!({ "value": text(&append.value) }),
        Op::Get(get) => json!({ "consistency": get.consistency.as_str() }),
        Op::Delete(delete) => json!({ "return_previous": delete.return_previous }),
        Op::CompareAndSwap(swap) => {
            let expect = match &swap.expect {
                Expect::Absent => Value::Null,
                Expect::Value(value) => json!({ "value": text(value) }),
                Expect::ModRevision(revision) => json!({ "mod_revision": revision }),
            };
            json!({ "expect": expect, "value": swap.value.as_ref().map(text) })
        }
        Op::Increment(increment) => json!({ "by": increment.by }),
        Op::Hello(_) | Op::Ping | Op::Bye | Op::Status | Op::Members | Op::Admin(_) => {
            return None;
        }
    };
    let Value::Object(arguments) = arguments else { return None };
    Some(arguments)
}

fn result(success: &Success) -> Option<Value> {
    let mut previous_entry = None;
    let mut result = match success {
        Success::Put { revision, index, previous } => {
            previous_entry = previous.as_ref();
            json!({ "revision": revision, "index": index })
        }
        Success::Append { revision, index, length } => {
            json!({ "revision": revision, "index": index, "length": length })
        }
        Success::Get { revision, index, entry: found } => {
            json!({ "revision": revision, "index": index, "entry": found.as_ref().map(entry) })
        }
        Success::Delete { revision, index, deleted, previous } => {
            previous_entry = previous.as_ref();
            json!({ "revision": revision, "index": index, "deleted": deleted })
        }
        Success::CompareAndSwap { revision, index, swapped, entry: now } => {
            let now = now.as_ref().map(entry);
            json!({ "revision": revision, "index": index, "swapped": swapped, "entry": now })
        }
        Success::Increment { revision, index, number } => {
            json!({ "revision": revision, "index": index, "number": number })
        }
        Success::Hello(_) | Success::Empty | Success::Status(_) | Success::Members(_) => {
            return None;
        }
    };
    if let Some(previous) = previous_entry {
        result["previous"] = previous.as_ref().map(entry).into();
    }
    Some(result)
}

fn entry(entry: &KeyValue) -> Value {
    json!({
        "key": text(&entry.key),
        "value": text(&entry.value),
        "create_revision": entry.create_revision,
        "mod_revision": entry.mod_revision,
        "version": entry.version,
        "lease": entry.lease,
    })
}

fn text(bytes: &Bytes) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::wire::client::{CompareAndSwap, ErrorCode, Failure, Get, Increment};

    fn line_of(op: Op, ended: Option<u64>, outcome: Option<Outcome>) -> String {
        line(&Operation { client: 3, invoked: 5, ended, op, outcome }).unwrap().to_string()
    }

    #[test]
    fn an_answered_read_is_a_line_with_its_answer() {
        let key_value = KeyValue {
            key: "k".into(),
            value: vec![0, 255].into(),
            create_revision: 2,
            mod_revision: 4,
            version: 2,
            lease: 0,
        };
        let done = Success::Get { revision: 9, index: 11, entry: Some(key_value) };
        let get = Op::Get(Get { key: "k".into(), ..Get::default() });
        assert_eq!(
            line_of(get, Some(7), Some(Outcome::Done(done))),
            r#"{"client":3,"consistency":"linearizable","ended_ns":7000,"invoked_ns":5000,"#
                .to_owned()
                + r#""key":"k","op":"get","outcome":"ok","result":{"entry":{"create_revision":2,"#
                + r#""key":"k","lease":0,"mod_revision":4,"value":{"hex":"00ff"},"version":2},"#
                + r#""index":11,"revision":9}}"#
        );
    }

    #[test]
    fn a_write_without_an_answer_is_unknown_and_a_refused_one_failed() {
        let increment = Op::Increment(Increment { key: "n".into(), by: -2 });
        assert_eq!(
            line_of(increment, None, None),
            r#"{"by":-2,"client":3,"ended_ns":null,"invoked_ns":5000,"key":"n","#.to_owned()
                + r#""op":"increment","outcome":"unknown","reason":"the run ended"}"#
        );
        let swap = CompareAndSwap {
            key: "k".into(),
            expect: Expect::ModRevision(4),
            value: Some("v".into()),
        };
        let refused = Outcome::NotExecuted(Failure::new(ErrorCode::Overloaded, "full"));
        let line = line_of(Op::CompareAndSwap(swap), Some(6), Some(refused));
        assert!(line.contains(r#""expect":{"mod_revision":4}"#), "{line}");
        assert!(line.contains(r#""outcome":"failed""#), "{line}");
    }

    #[test]
    fn a_read_without_an_answer_tells_nothing() {
        let get = Op::Get(Get { key: "k".into(), ..Get::default() });
        assert!(line_of(get, None, None).contains(r#""outcome":"failed""#));
    }
}
