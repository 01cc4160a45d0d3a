//! Decodes requests, by hand over slices of the message they came in.
//!
//! Called by a node's client connection with each binary message. Three things can come of a value:
//! a [`Request`]; a request that is refused under its id, with the field and the limit that it
//! breaks; or bytes of which no id can be told, which end the connection.
//!
//! Lenient where nothing is lost: unknown keys are ignored, of a key that is there twice the last
//! counts, a `str` stands for bytes and a UTF-8 `bin` for a string, an integer may be encoded in
//! any width, nil for an optional argument means its default. Strict otherwise.

use std::fmt;

use bytes::Bytes;

use super::{ErrorCode, Failure, Limits, MAX_DEPTH, Op, Request};
use crate::wire::scan::{Reader, ScanError, Token, value_len};
use arguments::{Arguments, uint};

mod arguments;

/// The close code for what is no MessagePack, or no request (RFC 6455 §7.4.1).
const INVALID_DATA: u16 = 1007;
/// The close code for what is too big to read.
const TOO_BIG: u16 = 1009;

/// What a value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A request that may be executed.
    Request(Request),
    /// A request that is wrong in itself; it is answered and the connection goes on.
    Refused {
        /// The request's id.
        id: u64,
        /// What is wrong with it.
        failure: Failure,
    },
}

/// Bytes that end the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The websocket's close code: 1007 or 1009.
    pub close_code: u16,
    /// What was wrong; at most 123 bytes, as a close frame allows.
    pub reason: String,
}

impl Malformed {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { close_code: INVALID_DATA, reason: reason.into() }
    }
}

impl From<ScanError> for Malformed {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::TooDeep => Self::new(format!("{error}: the limit is {MAX_DEPTH} levels")),
            ScanError::Truncated | ScanError::Reserved => Self::new(error.to_string()),
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.close_code)
    }
}

impl std::error::Error for Malformed {}

/// The requests of one websocket message, in order; ends after a [`Malformed`].
#[derive(Clone, Debug)]
pub struct Requests {
    frame: Bytes,
    at: usize,
    limits: Limits,
}

impl Requests {
    /// The requests in `frame`. Their keys and values are slices of it.
    #[must_use]
    pub fn new(frame: &Bytes, limits: &Limits) -> Self {
        Self { frame: frame.clone(), at: 0, limits: *limits }
    }

    fn decode(&mut self) -> Result<Decoded, Malformed> {
        let mut reader = Reader::new(self.frame.get(self.at..).unwrap_or_default());
        let len = value_len(reader.rest(), MAX_DEPTH)?;
        if len as u64 > self.limits.request_bytes {
            let reason =
                format!("a request is {len} bytes, the limit is {}", self.limits.request_bytes);
            return Err(Malformed { close_code: TOO_BIG, reason });
        }
        self.at += len;
        let token = reader.token()?;
        let Token::Array(elements @ 1..) = token else {
            return Err(Malformed::new(not_a_request(token)));
        };
        let token = reader.token()?;
        let Some(id) = token.uint() else {
            let reason =
                format!("a request's id must be an unsigned integer, not {}", token.kind());
            return Err(Malformed::new(reason));
        };
        Ok(match self.request(id, elements, &mut reader) {
            Ok(request) => Decoded::Request(request),
            Err(failure) => Decoded::Refused { id, failure },
        })
    }

    /// Reads what follows the id.
    fn request(
        &self,
        id: u64,
        elements: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Request, Failure> {
        if !(2..=3).contains(&elements) {
            return Err(bad(format!(
                "a request is [id, op] or [id, op, acked], not an array of {elements}"
            )));
        }
        let op = self.operation(reader)?;
        let acked = if elements == 3 { Some(reader.raw(MAX_DEPTH).map_err(scan)?) } else { None };
        let acked = uint("request", "acked", acked)?;
        match (&op, id) {
            (Op::Hello(_), 0) => {}
            (Op::Hello(_), _) => return Err(bad(format!("hello: its id must be 0, not {id}"))),
            (op, 0) => {
                return Err(bad(format!("{}: id 0 is for `hello`, others begin at 1", op.name())));
            }
            _ => {}
        }
        Ok(Request { id, op, acked })
    }

    fn operation(&self, reader: &mut Reader<'_>) -> Result<Op, Failure> {
        one_pair(reader.token().map_err(scan)?)?;
        let name = Reader::new(reader.raw(MAX_DEPTH).map_err(scan)?).token().map_err(scan)?;
        let Some(name) = name.bytes() else {
            let kind = name.kind();
            return Err(bad(format!("the operation's name must be a string, not {kind}")));
        };
        let Some(op) = Op::NAMES.iter().find(|known| known.as_bytes() == name) else {
            return Err(arguments::unknown_operation(name));
        };
        let Token::Map(pairs) = reader.token().map_err(scan)? else {
            return Err(bad(format!("{op}: the arguments must be a map")));
        };
        Arguments { op, pairs, reader, frame: &self.frame, limits: &self.limits }.decode()
    }
}

impl Iterator for Requests {
    type Item = Result<Decoded, Malformed>;

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

fn not_a_request(token: Token<'_>) -> String {
    let kind = if token == Token::Array(0) { "an empty array" } else { token.kind() };
    format!("a request is an array [id, op] or [id, op, acked], not {kind}")
}

fn bad(message: String) -> Failure {
    Failure::new(ErrorCode::BadRequest, message)
}

/// Unreachable once the value has been walked, yet never a panic.
fn scan(error: ScanError) -> Failure {
    bad(error.to_string())
}

fn one_pair(token: Token<'_>) -> Result<(), Failure> {
    let found = if let Token::Map(count) = token {
        if count == 1 {
            return Ok(());
        }
        format!("one of {count}")
    } else {
        token.kind().to_owned()
    };
    Err(bad(format!("the operation must be a map with exactly one key, its name, not {found}")))
}
