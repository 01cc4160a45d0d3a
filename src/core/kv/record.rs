//! The state as records: what a checkpoint keeps, and what a snapshot sends.
//!
//! ```text
//!   name                          value (MessagePack, compact)
//!   01                            the header: applied entry, membership, counts, hash
//!   02 key                        value, create_revision, mod_revision, version, lease
//!   03 session (8 bytes)          time to live, window, deadline, mark
//!   04 session, id (8 bytes each) a reply
//! ```
//!
//! Names sort in this order, so whatever a record needs is before it. Numbers in names are
//! big-endian. The header's format number says how all of it is to be read.

use std::{fmt, io};

use bytes::{BufMut, Bytes, BytesMut};
use rmp_serde::decode::Error::InvalidMarkerRead;
use serde::{Deserialize, Serialize, Serializer};

use crate::types::{Membership, NodeId, Position};
use crate::wire::client::{ErrorCode, Failure, KeyValue, Leader, OpResult, Success};

/// The format that this version writes, and the only one that it reads.
pub(super) const FORMAT: u64 = 1;

/// A key's numbers and the lengths around its value are never longer.
const NUMBERS_BYTES: usize = 48;

const HEADER: u8 = 1;
const KEY: u8 = 2;
const SESSION: u8 = 3;
const REPLY: u8 = 4;

/// One record of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name, unique within a state.
    pub name: Bytes,
    /// What it says.
    pub value: Bytes,
}

/// Why records are not a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError(pub String);

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

/// What a name names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Header,
    Key(&'a [u8]),
    Session(u64),
    Reply(u64, u64),
}

impl<'a> Name<'a> {
    pub(super) fn parse(name: &'a [u8]) -> Option<Self> {
        let rest = name.get(1..)?;
        let number = |at: usize| {
            let bytes = rest.get(at..at + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        match (*name.first()?, rest.len()) {
            (HEADER, 0) => Some(Name::Header),
            (KEY, _) => Some(Name::Key(rest)),
            (SESSION, 8) => Some(Name::Session(number(0)?)),
            (REPLY, 16) => Some(Name::Reply(number(0)?, number(8)?)),
            (_, _) => None,
        }
    }
}

pub(super) fn header_name() -> Bytes {
    Bytes::from_static(&[HEADER])
}

pub(super) fn key_name(key: &[u8]) -> Bytes {
    let mut name = BytesMut::with_capacity(1 + key.len());
    name.put_u8(KEY);
    name.extend_from_slice(key);
    name.freeze()
}

pub(super) fn session_name(session: u64) -> Bytes {
    let mut name = BytesMut::with_capacity(9);
    name.put_u8(SESSION);
    name.put_u64(session);
    name.freeze()
}

pub(super) fn reply_name(session: u64, id: u64) -> Bytes {
    let mut name = BytesMut::with_capacity(17);
    name.put_u8(REPLY);
    name.put_u64(session);
    name.put_u64(id);
    name.freeze()
}

/// What belongs to no item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u64,
    pub(super) applied: Position,
    pub(super) membership: Option<Membership>,
    pub(super) revision: u64,
    pub(super) clock_ms: u64,
    pub(super) keys: u64,
    pub(super) sessions: u64,
    pub(super) replies: u64,
    pub(super) hash: u64,
}

/// A key's value and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyRecord<Value> {
    pub(super) value: Value,
    pub(super) create_revision: u64,
    pub(super) mod_revision: u64,
    pub(super) version: u64,
    pub(super) lease: u64,
}

/// Bytes as [`Bytes`] are written, without being ones.
pub(super) struct RawBytes<'a>(pub(super) &'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A session's numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionRecord {
    pub(super) ttl_ms: u64,
    pub(super) window: u64,
    pub(super) deadline_ms: u64,
    pub(super) forgotten: u64,
}

/// A cached reply. Names and order are part of the format.
#[derive(Serialize, Deserialize)]
enum ReplyRecord {
    #[serde(rename = "e")]
    Empty,
    #[serde(rename = "p")]
    Put { revision: u64, index: u64, asked: bool, previous: Option<Item> },
    #[serde(rename = "a")]
    Append { revision: u64, index: u64, length: u64 },
    #[serde(rename = "d")]
    Delete { revision: u64, index: u64, deleted: u64, asked: bool, previous: Option<Item> },
    #[serde(rename = "c")]
    CompareAndSwap { revision: u64, index: u64, swapped: bool, entry: Option<Item> },
    #[serde(rename = "i")]
    Increment { revision: u64, index: u64, number: i64 },
    #[serde(rename = "f")]
    Failure { code: String, message: String, leader: Option<(u64, String)>, revision: Option<u64> },
}

/// An entry, within a reply.
#[derive(Serialize, Deserialize)]
struct Item {
    key: Bytes,
    value: Bytes,
    numbers: [u64; 4],
}

impl From<&KeyValue> for Item {
    fn from(from: &KeyValue) -> Self {
        let numbers = [from.create_revision, from.mod_revision, from.version, from.lease];
        Self { key: from.key.clone(), value: from.value.clone(), numbers }
    }
}

impl From<Item> for KeyValue {
    fn from(Item { key, value, numbers }: Item) -> Self {
        let [create_revision, mod_revision, version, lease] = numbers;
        Self { key, value, create_revision, mod_revision, version, lease }
    }
}

/// A record's value.
pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    encode_with_room(value, 0)
}

/// A record's value that bears so many bytes beside some numbers.
pub(super) fn encode_with_room<T: Serialize>(value: &T, bytes: usize) -> Bytes {
    let mut out = Vec::with_capacity(NUMBERS_BYTES + bytes);
    rmp_serde::encode::write(&mut out, value).expect("writes into memory cannot fail");
    out.into()
}

/// What a record's value says; all of it is read. Not through a reader, which would copy what it
/// reads once more.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(16);
    let value = T::deserialize(&mut reader).map_err(|error| RecordError(error.to_string()))?;
    // Nothing more can be read then, not even a first byte. What has a first byte is no unit, and
    // nothing within it is looked at.
    match <()>::deserialize(&mut reader) {
        Err(InvalidMarkerRead(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(value),
        Ok(_) | Err(_) => Err(RecordError("bytes behind a record".to_owned())),
    }
}

pub(super) fn encode_reply(reply: &OpResult) -> Bytes {
    let item = |entry: &KeyValue| Item::from(entry);
    encode(&match reply {
        Ok(Success::Empty) => ReplyRecord::Empty,
        Ok(Success::Put { revision, index, previous }) => ReplyRecord::Put {
            revision: *revision,
            index: *index,
            asked: previous.is_some(),
            previous: previous.iter().flatten().next().map(item),
        },
        Ok(Success::Append { revision, index, length }) => {
            ReplyRecord::Append { revision: *revision, index: *index, length: *length }
        }
        Ok(Success::Delete { revision, index, deleted, previous }) => ReplyRecord::Delete {
            revision: *revision,
            index: *index,
            deleted: *deleted,
            asked: previous.is_some(),
            previous: previous.iter().flatten().next().map(item),
        },
        Ok(Success::CompareAndSwap { revision, index, swapped, entry }) => {
            ReplyRecord::CompareAndSwap {
                revision: *revision,
                index: *index,
                swapped: *swapped,
                entry: entry.as_ref().map(item),
            }
        }
        Ok(Success::Increment { revision, index, number }) => {
            ReplyRecord::Increment { revision: *revision, index: *index, number: *number }
        }
        Ok(
            other @ (Success::Hello(_)
            | Success::Get { .. }
            | Success::Status(_)
            | Success::Members(_)),
        ) => unreachable!("no write ends with {other:?}"),
        Err(Failure { code, message, leader, revision }) => ReplyRecord::Failure {
            code: code.as_str().to_owned(),
            message: message.clone(),
            leader: leader.as_ref().map(|leader| (leader.id.0, leader.address.clone())),
            revision: *revision,
        },
    })
}

pub(super) fn decode_reply(bytes: &[u8]) -> Result<OpResult, RecordError> {
    let asked = |asked: bool, item: Option<Item>| asked.then(|| item.map(KeyValue::from));
    Ok(match decode::<ReplyRecord>(bytes)? {
        ReplyRecord::Empty => Ok(Success::Empty),
        ReplyRecord::Put { revision, index, asked: was, previous } => {
            Ok(Success::Put { revision, index, previous: asked(was, previous) })
        }
        ReplyRecord::Append { revision, index, length } => {
            Ok(Success::Append { revision, index, length })
        }
        ReplyRecord::Delete { revision, index, deleted, asked: was, previous } => {
            Ok(Success::Delete { revision, index, deleted, previous: asked(was, previous) })
        }
        ReplyRecord::CompareAndSwap { revision, index, swapped, entry } => {
            Ok(Success::CompareAndSwap { revision, index, swapped, entry: entry.map(Into::into) })
        }
        ReplyRecord::Increment { revision, index, number } => {
            Ok(Success::Increment { revision, index, number })
        }
        ReplyRecord::Failure { code, message, leader, revision } => {
            let unknown = || RecordError(format!("an error code {code:?}"));
            let code = ErrorCode::parse(&code).ok_or_else(unknown)?;
            let leader = leader.map(|(id, address)| Leader { id: NodeId(id), address });
            Err(Failure { code, message, leader, revision })
        }
    })
}
