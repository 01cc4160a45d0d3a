//! The client's protocol, version 1, as types. `docs/protocol.md` is its contract.
//!
//! A websocket message carries one or more MessagePack values. Client to node, each is a
//! request `[id, op]` or `[id, op, acked]`; node to client, each is a reply `[id, result]`.

use std::fmt;

use bytes::Bytes;

use crate::types::NodeId;

mod admin;
mod decode;
mod encode;
mod op;
mod replies;

pub use admin::Admin;
pub use decode::{Decoded, Malformed, Requests};
pub use encode::{encode_answer, encode_reply, encode_request, encode_result};
pub use replies::{RawReply, Replies, decode_success};

/// The sub-protocol's path on the client address.
pub const SESSION_PATH: &str = "/v1/session";

/// Values nested deeper than this are refused.
pub const MAX_DEPTH: usize = 32;

/// The bounds that a node tells in `hello` and enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest key, in bytes; the shortest is 1.
    pub key_bytes: u64,
    /// The longest value, in bytes.
    pub value_bytes: u64,
    /// The longest request, in bytes of MessagePack; also the longest websocket message.
    pub request_bytes: u64,
    /// How many writes of a session may be unanswered.
    pub window: u64,
    /// How long a session lives without a sign of its client, in milliseconds.
    pub session_ttl_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes: 4_096,
            value_bytes: 1_048_576,
            request_bytes: 2_097_152,
            window: 1_024,
            session_ttl_ms: 60_000,
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, strictly rising within a session; 0 is `hello`'s.
    pub id: u64,
    /// What is asked.
    pub op: Op,
    /// Every id up to this one has been answered; 0 says nothing.
    pub acked: u64,
}

/// An operation and its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// The first request on a connection.
    Hello(Hello),
    /// Keeps the session alive.
    Ping,
    /// Ends the session.
    Bye,
    /// Sets a key.
    Put(Put),
    /// Adds bytes at the end of a key's value.
    Append(Append),
    /// Reads a key.
    Get(Get),
    /// Removes a key.
    Delete(Delete),
    /// Sets or removes a key if it is as expected.
    CompareAndSwap(CompareAndSwap),
    /// Adds to a decimal number.
    Increment(Increment),
    /// This node's state.
    Status,
    /// The cluster's members.
    Members,
    /// What an operator asks for.
    Admin(Admin),
}

/// Arguments of `hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// `None` makes a session, 0 means sessionless, another number resumes.
    pub session: Option<u64>,
    /// A bearer token.
    pub token: Option<String>,
    /// The client's `name/version`.
    pub client: Option<String>,
}

/// Arguments of `put`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease it hangs on; 0 for none.
    pub lease: u64,
    /// Whether the reply bears the entry that was there before.
    pub return_previous: bool,
}

/// Arguments of `append`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// The key; one that is absent counts as empty.
    pub key: Bytes,
    /// The bytes to add.
    pub value: Bytes,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// The read takes effect between its call and its reply (dissertation §6.4).
    #[default]
    Linearizable,
    /// As linearizable, by a leader's lease where the cluster allows it.
    Lease,
    /// What this node has applied.
    Stale,
}

/// Arguments of `get`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Get {
    /// The key.
    pub key: Bytes,
    /// How fresh.
    pub consistency: Consistency,
    /// The revision to read at; 0 is now.
    pub revision: u64,
    /// With `stale`: not older than this revision.
    pub min_revision: u64,
    /// With `stale`: not older than this, in milliseconds.
    pub max_age_ms: Option<u64>,
}

/// Arguments of `delete`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delete {
    /// The key.
    pub key: Bytes,
    /// Whether the reply bears the entry that was there before.
    pub return_previous: bool,
}

/// What `compare_and_swap` expects to find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No such key.
    Absent,
    /// Exactly this value.
    Value(Bytes),
    /// An entry written last at this revision; 0 is as `Absent`.
    ModRevision(u64),
}

/// Arguments of `compare_and_swap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareAndSwap {
    /// The key.
    pub key: Bytes,
    /// What must be there.
    pub expect: Expect,
    /// The new value; `None` removes the key.
    pub value: Option<Bytes>,
}

/// Arguments of `increment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increment {
    /// The key; one that is absent counts as 0.
    pub key: Bytes,
    /// What is added.
    pub by: i64,
}

/// A key, its value and their numbers, as replies bear them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The revision that created it.
    pub create_revision: u64,
    /// The revision that last wrote it.
    pub mod_revision: u64,
    /// How often it was written since its creation.
    pub version: u64,
    /// The lease it hangs on; 0 for none (then absent on the wire).
    pub lease: u64,
}

/// What an operation gives when it succeeds: the map behind `ok`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// Of `hello`.
    Hello(Welcome),
    /// Of `ping` and `bye`.
    Empty,
    /// Of `put`.
    Put {
        /// The store's revision afterwards.
        revision: u64,
        /// The log index of the write.
        index: u64,
        /// Present where asked for: the entry before, or nil.
        previous: Option<Option<KeyValue>>,
    },
    /// Of `append`.
    Append {
        /// The store's revision afterwards.
        revision: u64,
        /// The log index of the write.
        index: u64,
        /// The value's new length in bytes.
        length: u64,
    },
    /// Of `get`.
    Get {
        /// The store's revision at the read.
        revision: u64,
        /// The log index of the read point.
        index: u64,
        /// The entry, or nil.
        entry: Option<KeyValue>,
    },
    /// Of `delete`.
    Delete {
        /// The store's revision afterwards.
        revision: u64,
        /// The log index of the write.
        index: u64,
        /// How many entries went: 0 or 1.
        deleted: u64,
        /// Present where asked for: the entry before, or nil.
        previous: Option<Option<KeyValue>>,
    },
    /// Of `compare_and_swap`.
    CompareAndSwap {
        /// The store's revision afterwards.
        revision: u64,
        /// The log index of the write.
        index: u64,
        /// Whether it was as expected.
        swapped: bool,
        /// The entry now, or nil.
        entry: Option<KeyValue>,
    },
    /// Of `increment`.
    Increment {
        /// The store's revision afterwards.
        revision: u64,
        /// The log index of the write.
        index: u64,
        /// The number now.
        number: i64,
    },
    /// Of `status`.
    Status(Box<Status>),
    /// Of `members`.
    Members(Vec<MemberInfo>),
}

/// The reply to `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The session's number; 0 where sessionless.
    pub session: u64,
    /// The node that answers.
    pub node: NodeId,
    /// The leader, where known.
    pub leader: Option<Leader>,
    /// The cluster's name.
    pub cluster: String,
    /// The node's version.
    pub version: String,
    /// The node's limits.
    pub limits: Limits,
}

/// Who leads, and its client address.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Leader {
    /// Its id.
    pub id: NodeId,
    /// Its client address, `host:port`.
    pub address: String,
}

/// One row of `members`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MemberInfo {
    /// Its id.
    pub id: NodeId,
    /// Where nodes reach it.
    pub peer: String,
    /// Where clients reach it.
    pub client: String,
    /// `voter` or `learner`.
    pub role: String,
}

/// A node's state, as `status` and `GET /v1/status` give it. Field names are the wire's.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The node that answers.
    pub node: u64,
    /// Its version.
    pub version: String,
    /// `leader`, `follower`, `candidate`, `pre-candidate` or `learner`.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// The leader it knows.
    pub leader: Option<Leader>,
    /// Its commit index.
    pub commit_index: u64,
    /// Its applied index.
    pub applied_index: u64,
    /// The first index in its log.
    pub first_index: u64,
    /// The last index in its log.
    pub last_index: u64,
    /// The index of its newest snapshot.
    pub snapshot_index: u64,
    /// Bytes of its log on disk.
    pub log_bytes: u64,
    /// Bytes that are left on the disk of its data.
    pub free_bytes: u64,
    /// What is wrong with it, a word each: `low_space` while it takes no writes.
    pub alarms: Vec<String>,
    /// Bytes of its newest snapshot.
    pub snapshot_bytes: u64,
    /// Bytes of the state in memory.
    pub state_bytes: u64,
    /// The store's revision here.
    pub revision: u64,
    /// How many keys there are.
    pub keys: u64,
    /// How many sessions there are.
    pub sessions: u64,
    /// How long the process has run, in milliseconds.
    pub uptime_ms: u64,
    /// The hash of the replicated state at an applied index.
    pub state_hash: StateHash,
    /// The followers, filled on the leader.
    pub peers: Vec<PeerStatus>,
}

/// The hash of the replicated state: equal on all nodes at equal index.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StateHash {
    /// The applied index.
    pub index: u64,
    /// Sixteen hexadecimal digits.
    pub hash: String,
}

/// A follower, as the leader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Its id.
    pub id: u64,
    /// Its peer address.
    pub address: String,
    /// `voter` or `learner`.
    pub role: String,
    /// The highest index known to be durable there.
    pub match_index: u64,
    /// The next entry to send.
    pub next_index: u64,
    /// `probe`, `replicate` or `snapshot`.
    pub state: String,
    /// Whether a connection to it stands.
    pub connected: bool,
    /// Milliseconds since it was last heard of.
    pub last_contact_ms: u64,
}

/// Why an operation failed: the map behind `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its kind.
    pub code: ErrorCode,
    /// One sentence for a person that says what to do.
    pub message: String,
    /// The leader, where the node knows it.
    pub leader: Option<Leader>,
    /// With `compacted`: the oldest revision kept.
    pub revision: Option<u64>,
}

impl Failure {
    /// A failure without a leader.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), leader: None, revision: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What a request ends with.
pub type OpResult = Result<Success, Failure>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kinds of failure. Each says whether the request was executed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code as the wire bears it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$name => $text,)* }
            }

            /// The code of that name.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(ErrorCode::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// Not executed; go to the leader.
    NotLeader = "not_leader",
    /// Not executed; retry after a pause.
    NoLeader = "no_leader",
    /// Not executed; back off and retry.
    Overloaded = "overloaded",
    /// Perhaps executed; retry with the same session and id.
    UnknownOutcome = "unknown_outcome",
    /// Perhaps executed; as `unknown_outcome`.
    Timeout = "timeout",
    /// Not executed now; if sent before under this id, unknown.
    SessionExpired = "session_expired",
    /// Answered before, and its reply is forgotten.
    StaleRequest = "stale_request",
    /// Not executed; fix the request.
    BadRequest = "bad_request",
    /// Not executed; send less.
    TooLarge = "too_large",
    /// Not executed; present a token.
    Unauthenticated = "unauthenticated",
    /// Not executed; ask for the right.
    PermissionDenied = "permission_denied",
    /// Not executed; the revision asked for is compacted.
    Compacted = "compacted",
    /// Executed; what it names does not exist.
    NotFound = "not_found",
    /// Not executed; unknown to this version.
    Unsupported = "unsupported",
    /// Perhaps executed; report it.
    Internal = "internal",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
