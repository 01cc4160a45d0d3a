//! What can be said of an operation without executing it.

use bytes::Bytes;

use super::{Consistency, ErrorCode, Op};

impl Op {
    /// The names of all operations of this version, as the wire bears them.
    pub const NAMES: &[&str] = &[
        "hello",
        "ping",
        "bye",
        "put",
        "append",
        "get",
        "delete",
        "compare_and_swap",
        "increment",
        "status",
        "members",
        "add_member",
        "promote_member",
        "remove_member",
        "move_member",
        "transfer_leadership",
        "snapshot",
    ];

    /// The operation's name, as the wire bears it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Op::Hello(_) => "hello",
            Op::Ping => "ping",
            Op::Bye => "bye",
            Op::Put(_) => "put",
            Op::Append(_) => "append",
            Op::Get(_) => "get",
            Op::Delete(_) => "delete",
            Op::CompareAndSwap(_) => "compare_and_swap",
            Op::Increment(_) => "increment",
            Op::Status => "status",
            Op::Members => "members",
            Op::Admin(admin) => admin.name(),
        }
    }

    /// Whether it goes through the log under the session's protection: executed at most once.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Op::Put(_)
            | Op::Append(_)
            | Op::Delete(_)
            | Op::CompareAndSwap(_)
            | Op::Increment(_) => true,
            Op::Hello(_)
            | Op::Ping
            | Op::Bye
            | Op::Get(_)
            | Op::Status
            | Op::Members
            | Op::Admin(_) => false,
        }
    }

    /// The key it is about, where it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Op::Put(put) => Some(&put.key),
            Op::Append(append) => Some(&append.key),
            Op::Get(get) => Some(&get.key),
            Op::Delete(delete) => Some(&delete.key),
            Op::CompareAndSwap(swap) => Some(&swap.key),
            Op::Increment(increment) => Some(&increment.key),
            Op::Hello(_) | Op::Ping | Op::Bye | Op::Status | Op::Members | Op::Admin(_) => None,
        }
    }
}

impl Consistency {
    /// The word for it on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::Linearizable => "linearizable",
            Consistency::Lease => "lease",
            Consistency::Stale => "stale",
        }
    }

    /// The consistency of that word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Consistency::Linearizable, Consistency::Lease, Consistency::Stale]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}

impl ErrorCode {
    /// Whether it says that this sending was not executed, and that another may be.
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(self, ErrorCode::NotLeader | ErrorCode::NoLeader | ErrorCode::Overloaded)
    }
}
