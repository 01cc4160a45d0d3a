//! Encodes results, replies and requests, straight into the bytes that are sent.
//!
//! A node encodes a result once, keeps it with the session, and puts it behind the id of every
//! retry. Optional arguments and fields that have their default are left out, so that of each
//! request there is one encoding.

use bytes::{Bytes, BytesMut};

use super::{
    Admin, Consistency, Expect, Failure, KeyValue, Leader, Limits, Op, OpResult, Success, Welcome,
};
use crate::wire::pack;

/// The `result` map of a reply: `{ok: {...}}` or `{error: {...}}`.
#[must_use]
pub fn encode_result(result: &OpResult) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    put_result(&mut out, result);
    out.freeze()
}

fn put_result(out: &mut BytesMut, result: &OpResult) {
    pack::map(out, 1);
    match result {
        Ok(success) => {
            pack::text(out, "ok");
            put_success(out, success);
        }
        Err(failure) => {
            pack::text(out, "error");
            put_failure(out, failure);
        }
    }
}

/// Adds the reply `[id, result]`, straight from the result.
pub fn encode_answer(out: &mut BytesMut, id: u64, result: &OpResult) {
    pack::array(out, 2);
    pack::uint(out, id);
    put_result(out, result);
}

/// Adds the reply `[id, result]`; `result` is what [`encode_result`] gave.
pub fn encode_reply(out: &mut BytesMut, id: u64, result: &[u8]) {
    out.reserve(10 + result.len());
    pack::array(out, 2);
    pack::uint(out, id);
    out.extend_from_slice(result);
}

/// Adds the request `[id, op]`, or `[id, op, acked]` where `acked` is not 0.
pub fn encode_request(out: &mut BytesMut, id: u64, op: &Op, acked: u64) {
    pack::array(out, if acked == 0 { 2 } else { 3 });
    pack::uint(out, id);
    pack::map(out, 1);
    pack::text(out, op.name());
    put_arguments(out, op);
    if acked != 0 {
        pack::uint(out, acked);
    }
}

fn put_arguments(out: &mut BytesMut, op: &Op) {
    match op {
        Op::Ping | Op::Bye | Op::Status | Op::Members => pack::map(out, 0),
        Op::Admin(admin) => put_admin(out, admin),
        Op::Hello(hello) => {
            let (token, client) = (hello.token.as_deref(), hello.client.as_deref());
            pack::map(out, 1 + count([token.is_some(), client.is_some()]));
            pack::text(out, "session");
            match hello.session {
                None => pack::nil(out),
                Some(session) => pack::uint(out, session),
            }
            for (name, text) in [("token", token), ("client", client)] {
                if let Some(text) = text {
                    pack::text(out, name);
                    pack::text(out, text);
                }
            }
        }
        Op::Put(put) => {
            pack::map(out, 2 + count([put.lease != 0, put.return_previous]));
            binary(out, "key", &put.key);
            binary(out, "value", &put.value);
            uint_unless_0(out, "lease", put.lease);
            flag(out, "return_previous", put.return_previous);
        }
        Op::Append(append) => {
            pack::map(out, 2);
            binary(out, "key", &append.key);
            binary(out, "value", &append.value);
        }
        Op::Get(get) => put_get(out, get),
        Op::Delete(delete) => {
            pack::map(out, 1 + count([delete.return_previous]));
            binary(out, "key", &delete.key);
            flag(out, "return_previous", delete.return_previous);
        }
        Op::CompareAndSwap(swap) => {
            pack::map(out, 3);
            binary(out, "key", &swap.key);
            pack::text(out, "expect");
            put_expect(out, &swap.expect);
            pack::text(out, "value");
            match &swap.value {
                None => pack::nil(out),
                Some(value) => pack::binary(out, value),
            }
        }
        Op::Increment(increment) => {
            pack::map(out, 1 + count([increment.by != 1]));
            binary(out, "key", &increment.key);
            if increment.by != 1 {
                pack::text(out, "by");
                pack::int(out, increment.by);
            }
        }
    }
}

fn put_admin(out: &mut BytesMut, admin: &Admin) {
    match admin {
        Admin::AddMember { id, peer, client, standby } => {
            pack::map(out, 3 + count([*standby]));
            uint(out, "id", id.0);
            text(out, "peer", peer);
            text(out, "client", client);
            flag(out, "standby", *standby);
        }
        Admin::PromoteMember { id, force } | Admin::RemoveMember { id, force } => {
            pack::map(out, 1 + count([*force]));
            uint(out, "id", id.0);
            flag(out, "force", *force);
        }
        Admin::MoveMember { id, peer, client } => {
            pack::map(out, 1 + count([peer.is_some(), client.is_some()]));
            uint(out, "id", id.0);
            for (name, address) in [("peer", peer), ("client", client)] {
                if let Some(address) = address {
                    text(out, name, address);
                }
            }
        }
        Admin::TransferLeadership { to } => {
            pack::map(out, count([to.0 != 0]));
            uint_unless_0(out, "to", to.0);
        }
        Admin::Snapshot => pack::map(out, 0),
    }
}

fn put_get(out: &mut BytesMut, get: &super::Get) {
    let named = get.consistency != Consistency::default();
    let optional = [named, get.revision != 0, get.min_revision != 0, get.max_age_ms.is_some()];
    pack::map(out, 1 + count(optional));
    binary(out, "key", &get.key);
    if named {
        pack::text(out, "consistency");
        pack::text(out, get.consistency.as_str());
    }
    uint_unless_0(out, "revision", get.revision);
    uint_unless_0(out, "min_revision", get.min_revision);
    if let Some(age) = get.max_age_ms {
        uint(out, "max_age_ms", age);
    }
}

fn put_expect(out: &mut BytesMut, expect: &Expect) {
    match expect {
        Expect::Absent => pack::nil(out),
        Expect::Value(value) => {
            pack::map(out, 1);
            binary(out, "value", value);
        }
        Expect::ModRevision(revision) => {
            pack::map(out, 1);
            uint(out, "mod_revision", *revision);
        }
    }
}

fn put_success(out: &mut BytesMut, success: &Success) {
    match success {
        Success::Hello(welcome) => put_welcome(out, welcome),
        Success::Empty => pack::map(out, 0),
        Success::Put { revision, index, previous } => {
            place(out, count([previous.is_some()]), *revision, *index);
            put_previous(out, previous.as_ref());
        }
        Success::Append { revision, index, length } => {
            place(out, 1, *revision, *index);
            uint(out, "length", *length);
        }
        Success::Get { revision, index, entry } => {
            place(out, 1, *revision, *index);
            put_entry(out, "entry", entry.as_ref());
        }
        Success::Delete { revision, index, deleted, previous } => {
            place(out, 1 + count([previous.is_some()]), *revision, *index);
            uint(out, "deleted", *deleted);
            put_previous(out, previous.as_ref());
        }
        Success::CompareAndSwap { revision, index, swapped, entry } => {
            place(out, 2, *revision, *index);
            pack::text(out, "swapped");
            pack::boolean(out, *swapped);
            put_entry(out, "entry", entry.as_ref());
        }
        Success::Increment { revision, index, number } => {
            place(out, 1, *revision, *index);
            pack::text(out, "number");
            pack::int(out, *number);
        }
        Success::Status(status) => {
            let named = rmp_serde::to_vec_named(status).expect("a status is numbers and texts");
            out.extend_from_slice(&named);
        }
        Success::Members(members) => {
            let named = rmp_serde::to_vec_named(members).expect("a member is numbers and texts");
            pack::map(out, 1);
            pack::text(out, "members");
            out.extend_from_slice(&named);
        }
    }
}

/// The head of a map with `more` fields after its revision and its index.
fn place(out: &mut BytesMut, more: usize, revision: u64, index: u64) {
    pack::map(out, 2 + more);
    uint(out, "revision", revision);
    uint(out, "index", index);
}

fn put_previous(out: &mut BytesMut, previous: Option<&Option<KeyValue>>) {
    if let Some(previous) = previous {
        put_entry(out, "previous", previous.as_ref());
    }
}

fn put_entry(out: &mut BytesMut, name: &str, entry: Option<&KeyValue>) {
    pack::text(out, name);
    let Some(entry) = entry else {
        return pack::nil(out);
    };
    pack::map(out, 5 + count([entry.lease != 0]));
    binary(out, "key", &entry.key);
    binary(out, "value", &entry.value);
    uint(out, "create_revision", entry.create_revision);
    uint(out, "mod_revision", entry.mod_revision);
    uint(out, "version", entry.version);
    uint_unless_0(out, "lease", entry.lease);
}

fn put_welcome(out: &mut BytesMut, welcome: &Welcome) {
    pack::map(out, 6);
    uint(out, "session", welcome.session);
    uint(out, "node", welcome.node.0);
    pack::text(out, "leader");
    match &welcome.leader {
        None => pack::nil(out),
        Some(leader) => put_leader(out, leader),
    }
    for (name, text) in [("cluster", &welcome.cluster), ("version", &welcome.version)] {
        pack::text(out, name);
        pack::text(out, text);
    }
    pack::text(out, "limits");
    let Limits { key_bytes, value_bytes, request_bytes, window, session_ttl_ms } = welcome.limits;
    pack::map(out, 5);
    uint(out, "key_bytes", key_bytes);
    uint(out, "value_bytes", value_bytes);
    uint(out, "request_bytes", request_bytes);
    uint(out, "window", window);
    uint(out, "session_ttl_ms", session_ttl_ms);
}

fn put_leader(out: &mut BytesMut, leader: &Leader) {
    pack::map(out, 2);
    uint(out, "id", leader.id.0);
    pack::text(out, "address");
    pack::text(out, &leader.address);
}

fn put_failure(out: &mut BytesMut, failure: &Failure) {
    pack::map(out, 2 + count([failure.leader.is_some(), failure.revision.is_some()]));
    pack::text(out, "code");
    pack::text(out, failure.code.as_str());
    pack::text(out, "message");
    pack::text(out, &failure.message);
    if let Some(leader) = &failure.leader {
        pack::text(out, "leader");
        put_leader(out, leader);
    }
    if let Some(revision) = failure.revision {
        uint(out, "revision", revision);
    }
}

fn count<const N: usize>(present: [bool; N]) -> usize {
    present.into_iter().filter(|present| *present).count()
}

fn uint(out: &mut BytesMut, name: &str, number: u64) {
    pack::text(out, name);
    pack::uint(out, number);
}

fn uint_unless_0(out: &mut BytesMut, name: &str, number: u64) {
    if number != 0 {
        uint(out, name, number);
    }
}

fn text(out: &mut BytesMut, name: &str, value: &str) {
    pack::text(out, name);
    pack::text(out, value);
}

fn flag(out: &mut BytesMut, name: &str, set: bool) {
    if set {
        pack::text(out, name);
        pack::boolean(out, true);
    }
}

fn binary(out: &mut BytesMut, name: &str, bytes: &[u8]) {
    out.reserve(16 + bytes.len());
    pack::text(out, name);
    pack::binary(out, bytes);
}
