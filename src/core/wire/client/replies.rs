//! Decodes replies: what a client does with a message from a node.
//!
//! A reply is split into its id and the raw map behind `ok`; what that map holds depends on the
//! operation, which only the client knows, and [`decode_success`] reads it then.

use bytes::Bytes;

use super::decode::Malformed;
use super::{
    Admin, ErrorCode, Failure, KeyValue, Leader, Limits, MAX_DEPTH, MemberInfo, Op, Status,
    Success, Welcome,
};
use crate::types::NodeId;
use crate::wire::scan::{Reader, Token, value_len};

/// A reply whose result has not been read further than its success or failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawReply {
    /// The request's id.
    pub id: u64,
    /// The bytes of the map behind `ok`, or the failure.
    pub result: Result<Bytes, Failure>,
}

/// The replies of one websocket message, in order; ends after a [`Malformed`].
#[derive(Clone, Debug)]
pub struct Replies {
    frame: Bytes,
    at: usize,
}

impl Replies {
    /// The replies in `frame`. Their raw maps are slices of it.
    #[must_use]
    pub fn new(frame: &Bytes) -> Self {
        Self { frame: frame.clone(), at: 0 }
    }

    fn decode(&mut self) -> Result<RawReply, Malformed> {
        let mut reader = Reader::new(self.frame.get(self.at..).unwrap_or_default());
        self.at += value_len(reader.rest(), MAX_DEPTH)?;
        let wrong = |what: &str| Malformed::new(format!("a reply {what}"));
        let Token::Array(2..) = reader.token()? else {
            return Err(wrong("must be an array [id, result]"));
        };
        let id = reader.token()?.uint().ok_or_else(|| wrong("must have an unsigned id"))?;
        let Token::Map(pairs) = reader.token()? else {
            return Err(wrong("must have a map as its result"));
        };
        let result = match reader.pick(pairs, ["ok", "error"], MAX_DEPTH)? {
            [_, Some(error)] => Err(failure(error).map_err(|what| wrong(&what))?),
            [Some(ok), None] => Ok(self.frame.slice_ref(ok)),
            [None, None] => return Err(wrong("must have `ok` or `error`")),
        };
        Ok(RawReply { id, result })
    }
}

impl Iterator for Replies {
    type Item = Result<RawReply, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.frame.len() {
            return None;
        }
        let item = self.decode();
        if item.is_err() {
            self.at = self.frame.len();
        }
        Some(item)
    }
}

/// Reads the map behind `ok` as the success of `op`. Unknown keys are ignored.
///
/// # Errors
/// The field that is missing or has the wrong type.
pub fn decode_success(op: &Op, ok: &[u8]) -> Result<Success, String> {
    let whole = value_len(ok, MAX_DEPTH).map_err(|error| error.to_string())?;
    let ok = Map(ok.get(..whole).unwrap_or_default());
    match op {
        Op::Hello(_) => welcome(ok).map(Success::Hello),
        Op::Ping | Op::Bye => ok.pick([]).map(|[]| Success::Empty),
        Op::Put(_) => {
            let [revision, index, previous] = ok.pick(["revision", "index", "previous"])?;
            let (revision, index) = (uint(revision)?, uint(index)?);
            Ok(Success::Put { revision, index, previous: previous_entry(previous)? })
        }
        Op::Append(_) => {
            let [revision, index, length] = ok.pick(["revision", "index", "length"])?;
            let (revision, index) = (uint(revision)?, uint(index)?);
            Ok(Success::Append { revision, index, length: uint(length)? })
        }
        Op::Get(_) => {
            let [revision, index, value] = ok.pick(["revision", "index", "entry"])?;
            let (revision, index) = (uint(revision)?, uint(index)?);
            Ok(Success::Get { revision, index, entry: entry(value)? })
        }
        Op::Delete(_) => {
            let [revision, index, deleted, previous] =
                ok.pick(["revision", "index", "deleted", "previous"])?;
            let (revision, index, deleted) = (uint(revision)?, uint(index)?, uint(deleted)?);
            let previous = previous_entry(previous)?;
            Ok(Success::Delete { revision, index, deleted, previous })
        }
        Op::CompareAndSwap(_) => {
            let [revision, index, swapped, value] =
                ok.pick(["revision", "index", "swapped", "entry"])?;
            let (revision, index) = (uint(revision)?, uint(index)?);
            let Token::Bool(swapped) = swapped.token()? else {
                return Err(swapped.must_be("a boolean"));
            };
            Ok(Success::CompareAndSwap { revision, index, swapped, entry: entry(value)? })
        }
        Op::Increment(_) => {
            let [revision, index, number] = ok.pick(["revision", "index", "number"])?;
            let (revision, index) = (uint(revision)?, uint(index)?);
            let number = number.token()?.int().ok_or_else(|| number.must_be("an integer"))?;
            Ok(Success::Increment { revision, index, number })
        }
        Op::Status => {
            let status: Status =
                rmp_serde::from_slice(ok.0).map_err(|error| format!("status: {error}"))?;
            Ok(Success::Status(Box::new(status)))
        }
        Op::Admin(Admin::TransferLeadership { .. } | Admin::Snapshot) => {
            ok.pick([]).map(|[]| Success::Empty)
        }
        Op::Members | Op::Admin(_) => {
            let [members] = ok.pick(["members"])?;
            let rows: Vec<MemberInfo> = rmp_serde::from_slice(members.present()?)
                .map_err(|error| format!("members: {error}"))?;
            Ok(Success::Members(rows))
        }
    }
}

/// The bytes of a value that should be a map.
#[derive(Clone, Copy)]
struct Map<'a>(&'a [u8]);

impl<'a> Map<'a> {
    fn pick<const N: usize>(self, names: [&'static str; N]) -> Result<[Field<'a>; N], String> {
        let mut reader = Reader::new(self.0);
        let token = reader.token().map_err(|error| error.to_string())?;
        let Token::Map(pairs) = token else {
            return Err(format!("a map was expected, not {}", token.kind()));
        };
        let found = reader.pick(pairs, names, MAX_DEPTH).map_err(|error| error.to_string())?;
        let mut fields = names.map(|name| Field { name, raw: None });
        for (field, raw) in fields.iter_mut().zip(found) {
            field.raw = raw;
        }
        Ok(fields)
    }
}

/// A field of a map, which may be absent.
#[derive(Clone, Copy)]
struct Field<'a> {
    name: &'static str,
    raw: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    fn present(self) -> Result<&'a [u8], String> {
        self.raw.ok_or_else(|| format!("`{}` is missing", self.name))
    }

    fn token(self) -> Result<Token<'a>, String> {
        Reader::new(self.present()?).token().map_err(|error| error.to_string())
    }

    fn is_nil(self) -> bool {
        self.token().is_ok_and(|token| token == Token::Nil)
    }

    fn must_be(self, wanted: &str) -> String {
        let found = self.token().map_or("nothing", |token| token.kind());
        format!("`{}` must be {wanted}, not {found}", self.name)
    }
}

fn uint(field: Field<'_>) -> Result<u64, String> {
    field.token()?.uint().ok_or_else(|| field.must_be("an unsigned integer"))
}

fn uint_or(field: Field<'_>, default: u64) -> Result<u64, String> {
    if field.raw.is_none() || field.is_nil() { Ok(default) } else { uint(field) }
}

fn text(field: Field<'_>) -> Result<String, String> {
    field.token()?.text().map(str::to_owned).ok_or_else(|| field.must_be("a string"))
}

fn bytes(field: Field<'_>) -> Result<Bytes, String> {
    let bytes = field.token()?.bytes().ok_or_else(|| field.must_be("bytes"))?;
    Ok(Bytes::copy_from_slice(bytes))
}

fn previous_entry(field: Field<'_>) -> Result<Option<Option<KeyValue>>, String> {
    if field.raw.is_none() { Ok(None) } else { entry(field).map(Some) }
}

fn entry(field: Field<'_>) -> Result<Option<KeyValue>, String> {
    if field.is_nil() {
        return Ok(None);
    }
    let names = ["key", "value", "create_revision", "mod_revision", "version", "lease"];
    let [key, value, create_revision, mod_revision, version, lease] =
        Map(field.present()?).pick(names)?;
    Ok(Some(KeyValue {
        key: bytes(key)?,
        value: bytes(value)?,
        create_revision: uint(create_revision)?,
        mod_revision: uint(mod_revision)?,
        version: uint(version)?,
        lease: uint_or(lease, 0)?,
    }))
}

fn welcome(ok: Map<'_>) -> Result<Welcome, String> {
    let names = ["session", "node", "leader", "cluster", "version", "limits"];
    let [session, node, leader, cluster, version, limits] = ok.pick(names)?;
    Ok(Welcome {
        session: uint(session)?,
        node: NodeId(uint(node)?),
        leader: leader_of(leader)?,
        cluster: text(cluster)?,
        version: text(version)?,
        limits: limits_of(limits)?,
    })
}

/// A node that tells no limit has the default one.
fn limits_of(field: Field<'_>) -> Result<Limits, String> {
    let default = Limits::default();
    if field.raw.is_none() || field.is_nil() {
        return Ok(default);
    }
    let names = ["key_bytes", "value_bytes", "request_bytes", "window", "session_ttl_ms"];
    let [key, value, request, window, ttl] = Map(field.present()?).pick(names)?;
    Ok(Limits {
        key_bytes: uint_or(key, default.key_bytes)?,
        value_bytes: uint_or(value, default.value_bytes)?,
        request_bytes: uint_or(request, default.request_bytes)?,
        window: uint_or(window, default.window)?,
        session_ttl_ms: uint_or(ttl, default.session_ttl_ms)?,
    })
}

fn leader_of(field: Field<'_>) -> Result<Option<Leader>, String> {
    if field.raw.is_none() || field.is_nil() {
        return Ok(None);
    }
    let [id, address] = Map(field.present()?).pick(["id", "address"])?;
    Ok(Some(Leader { id: NodeId(uint(id)?), address: text(address)? }))
}

/// A code that this version does not know becomes `internal`, which promises nothing.
fn failure(raw: &[u8]) -> Result<Failure, String> {
    let [code, message, leader, revision] =
        Map(raw).pick(["code", "message", "leader", "revision"])?;
    let name = text(code)?;
    let told = if message.raw.is_none() { String::new() } else { text(message)? };
    let (code, message) = match ErrorCode::parse(&name) {
        Some(code) => (code, told),
        None => (ErrorCode::Internal, format!("{name}: {told}")),
    };
    let revision =
        if revision.raw.is_none() || revision.is_nil() { None } else { Some(uint(revision)?) };
    Ok(Failure { code, message, leader: leader_of(leader)?, revision })
}
