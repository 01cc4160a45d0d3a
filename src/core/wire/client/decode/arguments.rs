//! The arguments of each operation: which there are, what each must be, what it defaults to.

use bytes::Bytes;

use super::{bad, scan};
use crate::types::NodeId;
use crate::wire::client::{
    Admin, Append, CompareAndSwap, Consistency, Delete, ErrorCode, Expect, Failure, Get, Hello,
    Increment, Limits, MAX_DEPTH, Op, Put,
};
use crate::wire::scan::{Reader, Token};

/// How much of a name that a client made up is repeated to it.
const ECHOED_CHARS: usize = 40;
/// The version whose operations these are.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An argument as it lies in the message; for optional ones absent and nil are the same.
type Raw<'a> = Option<&'a [u8]>;

/// A map of arguments whose head has been read.
pub(super) struct Arguments<'a, 'r> {
    /// The operation's name, for messages.
    pub(super) op: &'static str,
    /// How many arguments follow.
    pub(super) pairs: usize,
    /// Where they are read from.
    pub(super) reader: &'r mut Reader<'a>,
    /// The message of which keys and values become slices.
    pub(super) frame: &'r Bytes,
    /// How long those may be.
    pub(super) limits: &'r Limits,
}

impl<'a> Arguments<'a, '_> {
    /// The operation with its arguments.
    pub(super) fn decode(mut self) -> Result<Op, Failure> {
        match self.op {
            "hello" => self.hello(),
            "put" => self.put(),
            "append" => self.append(),
            "get" => self.get(),
            "delete" => self.delete(),
            "compare_and_swap" => self.compare_and_swap(),
            "increment" => self.increment(),
            "ping" => self.nothing(Op::Ping),
            "bye" => self.nothing(Op::Bye),
            "status" => self.nothing(Op::Status),
            "members" => self.nothing(Op::Members),
            "add_member" => self.add_member(),
            "promote_member" => self.forced(|id, force| Admin::PromoteMember { id, force }),
            "remove_member" => self.forced(|id, force| Admin::RemoveMember { id, force }),
            "move_member" => self.move_member(),
            "transfer_leadership" => {
                let [to] = self.pick(["to"])?;
                let to = NodeId(uint(self.op, "to", to)?);
                Ok(Op::Admin(Admin::TransferLeadership { to }))
            }
            "snapshot" => self.nothing(Op::Admin(Admin::Snapshot)),
            other => Err(unknown_operation(other.as_bytes())),
        }
    }

    fn nothing(&mut self, op: Op) -> Result<Op, Failure> {
        let [] = self.pick([])?;
        Ok(op)
    }

    fn add_member(&mut self) -> Result<Op, Failure> {
        let [id, peer, client, standby] = self.pick(["id", "peer", "client", "standby"])?;
        let id = self.member(id)?;
        let (peer, client) = (self.address("peer", peer)?, self.address("client", client)?);
        let standby = self.flag("standby", standby)?;
        Ok(Op::Admin(Admin::AddMember { id, peer, client, standby }))
    }

    fn move_member(&mut self) -> Result<Op, Failure> {
        let [id, peer, client] = self.pick(["id", "peer", "client"])?;
        let id = self.member(id)?;
        let address = |name, raw| given(raw).map(|_| self.address(name, raw)).transpose();
        let (peer, client) = (address("peer", peer)?, address("client", client)?);
        Ok(Op::Admin(Admin::MoveMember { id, peer, client }))
    }

    fn forced(&mut self, make: impl FnOnce(NodeId, bool) -> Admin) -> Result<Op, Failure> {
        let [id, force] = self.pick(["id", "force"])?;
        Ok(Op::Admin(make(self.member(id)?, self.flag("force", force)?)))
    }

    fn member(&self, raw: Raw<'a>) -> Result<NodeId, Failure> {
        match uint(self.op, "id", raw)? {
            id @ 1..=65_535 => Ok(NodeId(id)),
            id => Err(bad(format!("{}: `id` is {id}, and is from 1 to 65535", self.op))),
        }
    }

    fn address(&self, name: &str, raw: Raw<'a>) -> Result<String, Failure> {
        let text = self.text(name, raw)?.unwrap_or_default();
        let host_port = text.rsplit_once(':');
        let fine = text.len() <= 255
            && host_port
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if fine {
            return Ok(text);
        }
        Err(bad(format!(
            "{}: `{name}` is \"{}\", and must be host:port",
            self.op,
            echo(text.as_bytes())
        )))
    }

    fn hello(&mut self) -> Result<Op, Failure> {
        let [session, token, client] = self.pick(["session", "token", "client"])?;
        let session = match given(session) {
            None => None,
            Some(_) => Some(uint(self.op, "session", session)?),
        };
        let (token, client) = (self.text("token", token)?, self.text("client", client)?);
        Ok(Op::Hello(Hello { session, token, client }))
    }

    fn put(&mut self) -> Result<Op, Failure> {
        let [key, value, lease, previous] =
            self.pick(["key", "value", "lease", "return_previous"])?;
        let (key, value) = (self.key(key)?, self.value("value", value)?);
        let lease = uint(self.op, "lease", lease)?;
        if lease != 0 {
            return Err(not_in_this_version("put: `lease`"));
        }
        let return_previous = self.flag("return_previous", previous)?;
        Ok(Op::Put(Put { key, value, lease, return_previous }))
    }

    fn append(&mut self) -> Result<Op, Failure> {
        let [key, value] = self.pick(["key", "value"])?;
        Ok(Op::Append(Append { key: self.key(key)?, value: self.value("value", value)? }))
    }

    fn get(&mut self) -> Result<Op, Failure> {
        let [key, consistency, revision, min_revision, max_age_ms] =
            self.pick(["key", "consistency", "revision", "min_revision", "max_age_ms"])?;
        let key = self.key(key)?;
        let consistency = self.consistency(consistency)?;
        let revision = uint(self.op, "revision", revision)?;
        if revision != 0 {
            return Err(not_in_this_version("get: reading at an old `revision`"));
        }
        let min_revision = uint(self.op, "min_revision", min_revision)?;
        let max_age_ms = match given(max_age_ms) {
            None => None,
            Some(_) => Some(uint(self.op, "max_age_ms", max_age_ms)?),
        };
        if consistency != Consistency::Stale {
            for (name, set) in
                [("min_revision", min_revision != 0), ("max_age_ms", max_age_ms.is_some())]
            {
                if set {
                    return Err(bad(format!("get: `{name}` needs `consistency` \"stale\"")));
                }
            }
        }
        Ok(Op::Get(Get { key, consistency, revision, min_revision, max_age_ms }))
    }

    fn delete(&mut self) -> Result<Op, Failure> {
        let [key, previous] = self.pick(["key", "return_previous"])?;
        let return_previous = self.flag("return_previous", previous)?;
        Ok(Op::Delete(Delete { key: self.key(key)?, return_previous }))
    }

    /// Nil means something in both `expect` and `value`, so both must be there.
    fn compare_and_swap(&mut self) -> Result<Op, Failure> {
        let [key, expect, value] = self.pick(["key", "expect", "value"])?;
        let key = self.key(key)?;
        let expect = self.expect(self.present("expect", expect)?)?;
        let raw = self.present("value", value)?;
        let value =
            if given(Some(raw)).is_none() { None } else { Some(self.value("value", Some(raw))?) };
        Ok(Op::CompareAndSwap(CompareAndSwap { key, expect, value }))
    }

    fn expect(&self, raw: &'a [u8]) -> Result<Expect, Failure> {
        let mut reader = Reader::new(raw);
        let token = reader.token().map_err(scan)?;
        if token == Token::Nil {
            return Ok(Expect::Absent);
        }
        let wrong = |found: &str| {
            bad(format!(
                "compare_and_swap: `expect` must be nil, {{value}} or {{mod_revision}}, not {found}"
            ))
        };
        let Token::Map(pairs) = token else {
            return Err(wrong(token.kind()));
        };
        let [value, revision] =
            reader.pick(pairs, ["value", "mod_revision"], MAX_DEPTH).map_err(scan)?;
        match (given(value).is_some(), given(revision).is_some()) {
            (true, false) => Ok(Expect::Value(self.value("expect.value", value)?)),
            (false, true) => {
                Ok(Expect::ModRevision(uint(self.op, "expect.mod_revision", revision)?))
            }
            (true, true) => Err(wrong("both")),
            (false, false) => Err(wrong("a map with neither")),
        }
    }

    fn increment(&mut self) -> Result<Op, Failure> {
        let [key, by] = self.pick(["key", "by"])?;
        let key = self.key(key)?;
        let by = match given(by) {
            None => 1,
            Some(token) => token.int().ok_or_else(|| {
                mistyped(self.op, "by", "a signed integer of 64 bits", token.kind())
            })?,
        };
        Ok(Op::Increment(Increment { key, by }))
    }

    fn pick<const N: usize>(&mut self, names: [&str; N]) -> Result<[Raw<'a>; N], Failure> {
        self.reader.pick(self.pairs, names, MAX_DEPTH).map_err(scan)
    }

    fn present(&self, name: &str, raw: Raw<'a>) -> Result<&'a [u8], Failure> {
        raw.ok_or_else(|| bad(format!("{}: `{name}` is missing", self.op)))
    }

    fn bytes(&self, name: &str, raw: Raw<'a>) -> Result<Bytes, Failure> {
        let token = Reader::new(self.present(name, raw)?).token().map_err(scan)?;
        let bytes = token
            .bytes()
            .ok_or_else(|| mistyped(self.op, name, "bytes (bin or str)", token.kind()))?;
        Ok(self.frame.slice_ref(bytes))
    }

    fn key(&self, raw: Raw<'a>) -> Result<Bytes, Failure> {
        let key = self.bytes("key", raw)?;
        if key.is_empty() {
            return Err(bad(format!("{}: key is empty, the shortest is 1 byte", self.op)));
        }
        self.bounded("key", key, self.limits.key_bytes)
    }

    fn value(&self, name: &str, raw: Raw<'a>) -> Result<Bytes, Failure> {
        let value = self.bytes(name, raw)?;
        self.bounded(name, value, self.limits.value_bytes)
    }

    fn bounded(&self, name: &str, bytes: Bytes, limit: u64) -> Result<Bytes, Failure> {
        if bytes.len() as u64 <= limit {
            return Ok(bytes);
        }
        let message = format!("{}: {name} is {} bytes, the limit is {limit}", self.op, bytes.len());
        Err(Failure::new(ErrorCode::TooLarge, message))
    }

    fn flag(&self, name: &str, raw: Raw<'a>) -> Result<bool, Failure> {
        match given(raw) {
            None => Ok(false),
            Some(Token::Bool(truth)) => Ok(truth),
            Some(token) => Err(mistyped(self.op, name, "a boolean", token.kind())),
        }
    }

    fn text(&self, name: &str, raw: Raw<'a>) -> Result<Option<String>, Failure> {
        given(raw)
            .map(|token| {
                let wrong = || mistyped(self.op, name, "a string of UTF-8", token.kind());
                token.text().map(str::to_owned).ok_or_else(wrong)
            })
            .transpose()
    }

    fn consistency(&self, raw: Raw<'a>) -> Result<Consistency, Failure> {
        let Some(text) = self.text("consistency", raw)? else {
            return Ok(Consistency::default());
        };
        Consistency::parse(&text).ok_or_else(|| {
            bad(format!(
                "get: `consistency` must be \"linearizable\", \"lease\" or \"stale\", not \"{}\"",
                echo(text.as_bytes())
            ))
        })
    }
}

/// An argument's first token; nothing where it is absent or nil.
fn given(raw: Raw<'_>) -> Option<Token<'_>> {
    raw.and_then(|bytes| Reader::new(bytes).token().ok()).filter(|token| *token != Token::Nil)
}

/// An unsigned integer, 0 where it is absent or nil.
pub(super) fn uint(op: &str, name: &str, raw: Raw<'_>) -> Result<u64, Failure> {
    match given(raw) {
        None => Ok(0),
        Some(Token::Uint(number)) => Ok(number),
        Some(token) => Err(mistyped(op, name, "an unsigned integer", token.kind())),
    }
}

fn mistyped(op: &str, name: &str, wanted: &str, found: &str) -> Failure {
    bad(format!("{op}: `{name}` must be {wanted}, not {found}"))
}

fn not_in_this_version(what: &str) -> Failure {
    let message = format!("{what} is not in this version ({VERSION}); leave it out");
    Failure::new(ErrorCode::Unsupported, message)
}

pub(super) fn unknown_operation(name: &[u8]) -> Failure {
    let message = format!(
        "operation `{}` is not in this version ({VERSION}); it has {}",
        echo(name),
        Op::NAMES.join(", ")
    );
    Failure::new(ErrorCode::Unsupported, message)
}

fn echo(name: &[u8]) -> String {
    let head = name.get(..ECHOED_CHARS * 4).unwrap_or(name);
    let text: String = String::from_utf8_lossy(head).chars().take(ECHOED_CHARS).collect();
    if text.len() < name.len() { format!("{text}...") } else { text }
}
