//! The clients' wire format: what is accepted, what is refused and how, and that nothing a
//! stranger sends can panic or cost more than its bytes.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::client::*;
use super::pack;
use super::scan::{Reader, ScanError, Token, value_len};
use crate::types::NodeId;

mod peer;
mod properties;

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The one thing decoded from `write`'s bytes.
fn decode(write: impl FnOnce(&mut BytesMut)) -> Result<Decoded, Malformed> {
    let mut out = BytesMut::new();
    write(&mut out);
    let mut requests = Requests::new(&out.freeze(), &Limits::default());
    let first = requests.next().expect("one value was written");
    assert_eq!(requests.next(), None);
    first
}

/// The refusal of `[7, {op: {arguments...}}]`.
fn refused(op: &str, pairs: usize, write: impl FnOnce(&mut BytesMut)) -> Failure {
    match decode(|out| call(out, op, pairs, write)) {
        Ok(Decoded::Refused { id: 7, failure }) => failure,
        other => panic!("not refused: {other:?}"),
    }
}

fn accepted(op: &str, pairs: usize, write: impl FnOnce(&mut BytesMut)) -> Op {
    match decode(|out| call(out, op, pairs, write)) {
        Ok(Decoded::Request(Request { id: 7, op, acked: 0 })) => op,
        other => panic!("not accepted: {other:?}"),
    }
}

fn call(out: &mut BytesMut, op: &str, pairs: usize, write: impl FnOnce(&mut BytesMut)) {
    pack::array(out, 2);
    pack::uint(out, 7);
    pack::map(out, 1);
    pack::text(out, op);
    pack::map(out, pairs);
    write(out);
}

fn argument(out: &mut BytesMut, name: &str, bytes: &[u8]) {
    pack::text(out, name);
    pack::binary(out, bytes);
}

#[track_caller]
fn says(failure: &Failure, code: ErrorCode, message: &str) {
    assert_eq!((failure.code, failure.message.as_str()), (code, message));
}

#[test]
fn a_put_is_read_without_copying() {
    let mut out = BytesMut::new();
    let op = Op::Put(Put { key: bytes("key"), value: bytes("value"), ..Put::default() });
    encode_request(&mut out, 9, &op, 8);
    let frame = out.freeze();
    let Some(Ok(Decoded::Request(request))) = Requests::new(&frame, &Limits::default()).next()
    else {
        panic!("not decoded");
    };
    assert_eq!(request, Request { id: 9, op: op.clone(), acked: 8 });
    let range = frame.as_ptr_range();
    assert!(range.contains(&request.op.key().unwrap().as_ptr()));
}

#[test]
fn a_message_bears_many_requests_and_ends_at_the_first_malformed_one() {
    let mut out = BytesMut::new();
    encode_request(&mut out, 1, &Op::Ping, 0);
    encode_request(&mut out, 2, &Op::Status, 1);
    out.extend_from_slice(&[0xc1]);
    encode_request(&mut out, 3, &Op::Ping, 0);
    let mut requests = Requests::new(&out.freeze(), &Limits::default());
    assert!(matches!(requests.next(), Some(Ok(Decoded::Request(Request { id: 1, .. })))));
    assert!(matches!(requests.next(), Some(Ok(Decoded::Request(Request { id: 2, acked: 1, .. })))));
    let malformed = requests.next().unwrap().unwrap_err();
    assert_eq!(malformed.close_code, 1007);
    assert_eq!(requests.next(), None);
}

#[test]
fn what_has_no_id_ends_the_connection() {
    for (hex, reason) in [
        (&[0xc0][..], "a request is an array [id, op] or [id, op, acked], not nil"),
        (&[0x90], "a request is an array [id, op] or [id, op, acked], not an empty array"),
        (&[0x92, 0xff, 0xc0], "a request's id must be an unsigned integer, not a negative integer"),
        (&[0x92, 0xa1, b'1', 0xc0], "a request's id must be an unsigned integer, not a string"),
        (&[0x92, 0x01], "the MessagePack value is cut short"),
        (&[0x92, 0x01, 0xc1], "the byte 0xc1 is not MessagePack"),
    ] {
        let malformed = decode(|out| out.extend_from_slice(hex)).unwrap_err();
        assert_eq!((malformed.close_code, malformed.reason.as_str()), (1007, reason));
    }
}

#[test]
fn a_request_that_is_no_request_is_refused_under_its_id() {
    for (hex, message) in [
        (&[0x91, 7][..], "a request is [id, op] or [id, op, acked], not an array of 1"),
        (&[0x94, 7, 1, 1, 1], "a request is [id, op] or [id, op, acked], not an array of 4"),
        (
            &[0x92, 7, 0x80],
            "the operation must be a map with exactly one key, its name, not one of 0",
        ),
        (
            &[0x92, 7, 1],
            "the operation must be a map with exactly one key, its name, not an unsigned integer",
        ),
        (
            &[0x92, 7, 0x81, 1, 0x80],
            "the operation's name must be a string, not an unsigned integer",
        ),
    ] {
        match decode(|out| out.extend_from_slice(hex)) {
            Ok(Decoded::Refused { id: 7, failure }) => {
                says(&failure, ErrorCode::BadRequest, message);
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

#[test]
fn keys_and_values_have_bounds() {
    let failure = refused("put", 1, |out| argument(out, "value", b"1"));
    says(&failure, ErrorCode::BadRequest, "put: `key` is missing");
    let failure = refused("put", 1, |out| argument(out, "key", b"1"));
    says(&failure, ErrorCode::BadRequest, "put: `value` is missing");
    let failure = refused("delete", 1, |out| argument(out, "key", b""));
    says(&failure, ErrorCode::BadRequest, "delete: key is empty, the shortest is 1 byte");
    let failure = refused("get", 1, |out| argument(out, "key", &[1; 5000]));
    says(&failure, ErrorCode::TooLarge, "get: key is 5000 bytes, the limit is 4096");
    let failure = refused("append", 2, |out| {
        argument(out, "key", b"a");
        argument(out, "value", &[1; 1_048_577]);
    });
    says(&failure, ErrorCode::TooLarge, "append: value is 1048577 bytes, the limit is 1048576");
    let failure = refused("put", 2, |out| {
        pack::text(out, "key");
        pack::array(out, 0);
        argument(out, "value", b"1");
    });
    says(&failure, ErrorCode::BadRequest, "put: `key` must be bytes (bin or str), not an array");
    let failure = refused("put", 2, |out| {
        pack::text(out, "key");
        pack::nil(out);
        argument(out, "value", b"1");
    });
    says(&failure, ErrorCode::BadRequest, "put: `key` must be bytes (bin or str), not nil");
}

#[test]
fn a_request_above_the_limit_ends_the_connection() {
    let malformed = decode(|out| {
        call(out, "put", 3, |out| {
            argument(out, "key", b"a");
            argument(out, "value", b"1");
            argument(out, "more", &[0; 2_097_152]);
        });
    })
    .unwrap_err();
    assert_eq!(malformed.close_code, 1009);
    assert!(malformed.reason.ends_with("the limit is 2097152"), "{}", malformed.reason);
    assert!(malformed.reason.len() <= 123);
}

#[test]
fn operations_and_options_of_later_versions_are_unsupported() {
    let failure = refused("range", 0, |_| {});
    assert_eq!(failure.code, ErrorCode::Unsupported);
    let start = format!(
        "operation `range` is not in this version ({}); it has hello, ping, bye",
        env!("CARGO_PKG_VERSION")
    );
    assert!(failure.message.starts_with(&start), "{}", failure.message);
    let failure = refused(&"x".repeat(100_000), 0, |_| {});
    assert!(failure.message.len() < 300, "a name is not repeated at any length");
    for (op, pairs, name) in [("put", 3, "lease"), ("get", 2, "revision")] {
        let failure = refused(op, pairs, |out| {
            argument(out, "key", b"a");
            if op == "put" {
                argument(out, "value", b"1");
            }
            pack::text(out, name);
            pack::uint(out, 5);
        });
        assert_eq!(failure.code, ErrorCode::Unsupported);
        assert!(failure.message.contains(&format!("`{name}`")), "{}", failure.message);
    }
}

#[test]
fn hello_has_id_0_and_nothing_else_has() {
    let failure = refused("hello", 0, |_| {});
    says(&failure, ErrorCode::BadRequest, "hello: its id must be 0, not 7");
    let ping = [0x92, 0, 0x81, 0xa4, b'p', b'i', b'n', b'g', 0x80];
    match decode(|out| out.extend_from_slice(&ping)) {
        Ok(Decoded::Refused { id: 0, failure }) => {
            says(&failure, ErrorCode::BadRequest, "ping: id 0 is for `hello`, others begin at 1");
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn the_options_of_get_are_checked() {
    let get = |write: fn(&mut BytesMut)| {
        move |out: &mut BytesMut| {
            argument(out, "key", b"a");
            write(out);
        }
    };
    let failure = refused("get", 2, get(|out| argument(out, "consistency", b"eventual")));
    says(
        &failure,
        ErrorCode::BadRequest,
        "get: `consistency` must be \"linearizable\", \"lease\" or \"stale\", not \"eventual\"",
    );
    let failure = refused(
        "get",
        2,
        get(|out| {
            pack::text(out, "min_revision");
            pack::uint(out, 3);
        }),
    );
    says(&failure, ErrorCode::BadRequest, "get: `min_revision` needs `consistency` \"stale\"");
    let failure = refused(
        "get",
        2,
        get(|out| {
            pack::text(out, "max_age_ms");
            pack::uint(out, 0);
        }),
    );
    says(&failure, ErrorCode::BadRequest, "get: `max_age_ms` needs `consistency` \"stale\"");
    let op = accepted(
        "get",
        4,
        get(|out| {
            argument(out, "consistency", b"stale");
            pack::text(out, "max_age_ms");
            pack::nil(out);
            pack::text(out, "min_revision");
            out.extend_from_slice(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 9]);
        }),
    );
    let expected =
        Get { key: bytes("a"), consistency: Consistency::Stale, min_revision: 9, ..Get::default() };
    assert_eq!(op, Op::Get(expected));
}

#[test]
fn nil_means_something_to_compare_and_swap() {
    let op = accepted("compare_and_swap", 3, |out| {
        argument(out, "key", b"a");
        for name in ["expect", "value"] {
            pack::text(out, name);
            pack::nil(out);
        }
    });
    let expected = CompareAndSwap { key: bytes("a"), expect: Expect::Absent, value: None };
    assert_eq!(op, Op::CompareAndSwap(expected));
    let failure = refused("compare_and_swap", 2, |out| {
        argument(out, "key", b"a");
        argument(out, "value", b"1");
    });
    says(&failure, ErrorCode::BadRequest, "compare_and_swap: `expect` is missing");
    let failure = refused("compare_and_swap", 3, |out| {
        argument(out, "key", b"a");
        argument(out, "value", b"1");
        pack::text(out, "expect");
        pack::map(out, 0);
    });
    says(
        &failure,
        ErrorCode::BadRequest,
        "compare_and_swap: `expect` must be nil, {value} or {mod_revision}, not a map with neither",
    );
}

#[test]
fn what_is_optional_unknown_or_twice() {
    let op = accepted("increment", 5, |out| {
        pack::uint(out, 1);
        pack::array(out, 0);
        pack::text(out, "by");
        pack::int(out, -5);
        argument(out, "key", b"first");
        pack::text(out, "key");
        pack::text(out, "last");
        argument(out, "unknown", b"x");
    });
    assert_eq!(op, Op::Increment(Increment { key: bytes("last"), by: -5 }));
    let failure = refused("increment", 2, |out| {
        argument(out, "key", b"a");
        pack::text(out, "by");
        pack::uint(out, u64::MAX);
    });
    assert_eq!(failure.code, ErrorCode::BadRequest);
}

#[test]
fn a_frame_cut_short_anywhere_is_malformed() {
    let mut out = BytesMut::new();
    let swap = CompareAndSwap {
        key: bytes("key"),
        expect: Expect::Value(bytes("old")),
        value: Some(bytes("new")),
    };
    encode_request(&mut out, 300, &Op::CompareAndSwap(swap), 299);
    for len in 1..out.len() {
        let cut = Bytes::copy_from_slice(&out[..len]);
        let mut requests = Requests::new(&cut, &Limits::default());
        let malformed = requests.next().unwrap().unwrap_err();
        assert_eq!(malformed.reason, "the MessagePack value is cut short");
        assert_eq!(requests.next(), None);
    }
}

#[test]
fn lengths_that_lie_cost_nothing() {
    for tag in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        let hostile = [0x92, 0x01, tag, 0xff, 0xff, 0xff, 0xff, 0x00];
        assert_eq!(value_len(&hostile, MAX_DEPTH), Err(ScanError::Truncated));
    }
}

#[test]
fn nesting_has_a_bound() {
    let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert_eq!(value_len(&nested(32), MAX_DEPTH), Ok(33));
    assert_eq!(value_len(&nested(33), MAX_DEPTH), Err(ScanError::TooDeep));
    assert_eq!(value_len(&nested(1_000_000), MAX_DEPTH), Err(ScanError::TooDeep));
    assert_eq!(value_len(&[0xc0], 0), Ok(1));
}

#[test]
fn every_tag_is_read_as_it_is_written() {
    let mut out = BytesMut::new();
    let numbers = [0, 127, 128, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX];
    for number in numbers {
        pack::uint(&mut out, number);
    }
    let negative = [-1, -32, -33, -128, -129, -32_768, -32_769, i64::from(i32::MIN), i64::MIN];
    for number in negative {
        pack::int(&mut out, number);
    }
    let lengths = [0, 31, 32, 255, 256, 65_535, 65_536];
    for len in lengths {
        pack::binary(&mut out, &vec![1; len]);
        pack::text(&mut out, &"x".repeat(len));
    }
    let mut reader = Reader::new(&out);
    for number in numbers {
        assert_eq!(reader.token(), Ok(Token::Uint(number)));
    }
    for number in negative {
        assert_eq!(reader.token(), Ok(Token::Negative(number)));
    }
    for len in lengths {
        assert_eq!(reader.token(), Ok(Token::Bin(&vec![1; len])));
        assert_eq!(reader.token(), Ok(Token::Str("x".repeat(len).as_bytes())));
    }
    assert_eq!(reader.token(), Err(ScanError::Truncated));
}

#[test]
fn an_error_code_of_a_later_version_promises_nothing() {
    let mut out = BytesMut::new();
    let failure = Failure::new(ErrorCode::NotLeader, "go away");
    encode_reply(&mut out, 1, &encode_result(&Err(failure)));
    let text = out.iter().position(|byte| *byte == b'n').unwrap();
    out[text..text + 10].copy_from_slice(b"new_reason");
    let reply = Replies::new(&out.freeze()).next().unwrap().unwrap();
    says(&reply.result.unwrap_err(), ErrorCode::Internal, "new_reason: go away");
}

#[test]
fn a_success_without_its_fields_is_an_error() {
    let get = Op::Get(Get::default());
    assert_eq!(decode_success(&get, &[0x80]).unwrap_err(), "`revision` is missing");
    assert_eq!(decode_success(&get, &[0xc0]).unwrap_err(), "a map was expected, not nil");
    assert_eq!(decode_success(&Op::Ping, &[0x80]), Ok(Success::Empty));
}
