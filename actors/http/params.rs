//! What a request says beside its body: percent-encoded keys and parameters, as bytes.

use actix_web::HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate_core::wire::client::{Consistency, ErrorCode, Failure};
use serde_json::{Map, Value};

/// A query string, decoded to bytes.
pub(super) struct Params(Vec<(String, Vec<u8>)>);

impl Params {
    pub(super) fn of(request: &HttpRequest) -> Result<Self, Failure> {
        let pairs = request.query_string().split('&').filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((name.to_owned(), percent_decode(&value.replace('+', " "))?))
        });
        decoded.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Bytes> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| Bytes::copy_from_slice(value))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            bad_request(format!("`{name}` is to be an unsigned integer, not \"{text}\""))
        })
    }

    pub(super) fn consistency(&self) -> Result<Consistency, Failure> {
        match self.text("consistency") {
            None | Some("linearizable") => Ok(Consistency::Linearizable),
            Some("lease") => Ok(Consistency::Lease),
            Some("stale") => Ok(Consistency::Stale),
            Some(other) => Err(bad_request(format!(
                "`consistency` is \"linearizable\", \"lease\" or \"stale\", not \"{other}\""
            ))),
        }
    }
}

/// The key in the path, as it was sent: percent-encoded, any bytes.
pub(super) fn key_of(request: &HttpRequest) -> Result<Bytes, Failure> {
    let raw = request.uri().path();
    let encoded = raw.strip_prefix("/v1/kv/").unwrap_or_default();
    percent_decode(encoded).map(Bytes::from)
}

/// `Idempotency-Key: SESSION/ID`; without one, sessionless.
pub(super) fn idempotency(request: &HttpRequest) -> Result<(u64, u64), Failure> {
    let Some(header) = request.headers().get("Idempotency-Key") else { return Ok((0, 0)) };
    let parsed = header.to_str().ok().and_then(|text| {
        let (session, id) = text.split_once('/')?;
        Some((session.trim().parse().ok()?, id.trim().parse().ok()?))
    });
    match parsed {
        Some((session, id)) if session > 0 && id > 0 => Ok((session, id)),
        _ => Err(bad_request(
            "`Idempotency-Key` is SESSION/ID, two positive integers; POST /v1/session gives the session",
        )),
    }
}

/// `NAME_base64` always, and `NAME` where the bytes are UTF-8.
pub(super) fn text_or_base64(row: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        row.insert(name.to_owned(), text.into());
    }
    row.insert(format!("{name}_base64"), STANDARD.encode(bytes).into());
}

fn percent_decode(text: &str) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        let Some(decoded) = decoded else {
            return Err(bad_request(format!(
                "a `%` is followed by two hexadecimal digits: \"{text}\""
            )));
        };
        out.push(decoded);
        rest = rest.get(2..).unwrap_or_default();
    }
    Ok(out)
}

fn bad_request(text: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadRequest, text)
}
