//! What a file of a history says: its lines as calls, by their keys.
//!
//! The format is that of the harness's `history` module. What tells nothing is left out here:
//! calls that failed for certain, reads without an answer, and reads that may be stale.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

/// Why a history cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// A line is no call.
    #[error("line {line}: {reason}")]
    NoCall { line: usize, reason: String },
    /// To judge nothing would be to say nothing.
    #[error("there is nothing to judge")]
    Empty,
}

/// A call and its times; what never returned may take effect for ever.
#[derive(Clone, Debug)]
pub(crate) struct Timed {
    pub(crate) client: u64,
    pub(crate) invoked_ns: u64,
    pub(crate) ended_ns: Option<u64>,
    pub(crate) call: Arc<Call>,
}

/// A call and its answer; `None` if its outcome is unknown.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) key: Bytes,
    pub(crate) op: Op,
    pub(crate) answer: Option<Answer>,
}

/// An operation and its arguments.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Op {
    Put {
        value: Text,
        #[serde(default)]
        return_previous: bool,
    },
    Append {
        value: Text,
    },
    Get {
        #[serde(default)]
        consistency: Option<String>,
    },
    Delete {
        #[serde(default)]
        return_previous: bool,
    },
    CompareAndSwap {
        expect: Option<Expect>,
        value: Option<Text>,
    },
    Increment {
        by: i64,
    },
}

/// What a compare-and-swap expects of a key that is there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    Value(Text),
    ModRevision(u64),
}

/// An answer. Which fields there are depends on the operation.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) revision: u64,
    pub(crate) index: u64,
    pub(crate) entry: Option<Shown>,
    /// Absent, nil or an entry.
    #[serde(default, deserialize_with = "present")]
    pub(crate) previous: Option<Option<Shown>>,
    pub(crate) length: Option<u64>,
    pub(crate) deleted: Option<u64>,
    pub(crate) swapped: Option<bool>,
    pub(crate) number: Option<i64>,
}

/// An entry as an answer shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Shown {
    pub(crate) key: Text,
    pub(crate) value: Text,
    pub(crate) create_revision: u64,
    pub(crate) mod_revision: u64,
    pub(crate) version: u64,
}

/// Bytes: a text, or `{"hex"}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawText")]
pub(crate) struct Text(pub(crate) Bytes);

#[derive(Deserialize)]
#[serde(untagged)]
enum RawText {
    Text(String),
    Hex { hex: String },
}

impl TryFrom<RawText> for Text {
    type Error = String;

    fn try_from(raw: RawText) -> Result<Self, String> {
        let digits = match raw {
            RawText::Text(text) => return Ok(Self(text.into())),
            RawText::Hex { hex } => hex,
        };
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        };
        let bytes: Option<Vec<u8>> = pairs.map(byte).collect();
        bytes.map(|bytes| Self(bytes.into())).ok_or_else(|| format!("{digits:?} is not in hex"))
    }
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    client: u64,
    key: Text,
    invoked_ns: u64,
    ended_ns: Option<u64>,
    outcome: Outcome,
    result: Option<Answer>,
    #[serde(flatten)]
    op: Op,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Ok,
    Failed,
    Unknown,
}

/// A field that is there, be it null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<Shown>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl Op {
    fn is_read(&self) -> bool {
        matches!(self, Op::Get { .. })
    }

    fn may_be_stale(&self) -> bool {
        let Op::Get { consistency } = self else { return false };
        consistency.as_deref() == Some("stale")
    }
}

impl Line {
    /// What of it is to be judged; an error if it contradicts itself.
    fn timed(self) -> Result<Option<Timed>, &'static str> {
        let Self { client, key, invoked_ns, ended_ns, outcome, result, op } = self;
        let (ended_ns, answer) = match outcome {
            Outcome::Failed => return Ok(None),
            _ if op.may_be_stale() => return Ok(None),
            Outcome::Unknown if op.is_read() => return Ok(None),
            Outcome::Unknown => (None, None),
            Outcome::Ok => {
                let answer = result.ok_or("an answered call without an answer")?;
                (Some(ended_ns.ok_or("an answered call without an end")?), Some(answer))
            }
        };
        if ended_ns.is_some_and(|ended_ns| ended_ns < invoked_ns) {
            return Err("a call ends before it begins");
        }
        let call = Arc::new(Call { key: key.0, op, answer });
        Ok(Some(Timed { client, invoked_ns, ended_ns, call }))
    }
}

/// Reads a history, by key.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<Bytes, Vec<Timed>>, HistoryError> {
    parse(&std::fs::read_to_string(path)?)
}

/// The same of a text.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<Bytes, Vec<Timed>>, HistoryError> {
    let mut keys: BTreeMap<Bytes, Vec<Timed>> = BTreeMap::new();
    for (line, text) in text.lines().enumerate() {
        let no_call = |reason: String| HistoryError::NoCall { line: line + 1, reason };
        let parsed: Line =
            serde_json::from_str(text).map_err(|error| no_call(error.to_string()))?;
        if let Some(timed) = parsed.timed().map_err(|reason| no_call(reason.into()))? {
            keys.entry(timed.call.key.clone()).or_default().push(timed);
        }
    }
    if keys.is_empty() { Err(HistoryError::Empty) } else { Ok(keys) }
}

impl Timed {
    /// The same call before its answer came; `None` for a read, which then tells nothing.
    pub(crate) fn unanswered(&self) -> Option<Self> {
        let Call { key, op, .. } = &*self.call;
        let call = Call { key: key.clone(), op: op.clone(), answer: None };
        let open = Self { ended_ns: None, call: Arc::new(call), ..self.clone() };
        (!op.is_read()).then_some(open)
    }
}
