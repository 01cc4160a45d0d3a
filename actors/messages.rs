//! Every message between actors. Commands are imperatives, events past participles.
//!
//! | message | from → to |
//! |---|---|
//! | [`Tick`] | clock → raft |
//! | [`Propose`], [`Read`], [`LeaseRead`] | client session, HTTP → raft |
//! | [`Received`], [`Silenced`] | accepted peer connection → raft |
//! | [`Connected`], [`Disconnected`] | peer → raft |
//! | [`Persist`] | raft → log store |
//! | [`Persisted`] | log store → raft |
//! | [`Transmit`] | raft, log store → peer |
//! | [`LinkUp`], [`LinkDown`] | dialling task → peer |
//! | [`Apply`], [`Query`] | raft → state machine (stale queries: client session, HTTP) |
//! | [`Applied`] | state machine → raft |
//! | [`Answered`] | raft, state machine → client session |
//! | [`Frame`], [`SocketClosed`], [`Written`] | socket tasks → client session |
//! | [`Close`] | node → client session |
//! | [`Stop`], [`CountWaiting`], [`HandOver`] | node → raft |
//! | [`Flush`] | node → log store |
//! | [`Command`] | client session, HTTP → raft |
//! | [`Introduced`] | accepted peer connection → raft |
//! | [`Peers`], [`Trim`] | raft → log store |
//! | [`Retire`] | raft → peer |
//! | [`Capture`] | raft, snapshot → state machine |
//! | [`Save`] | state machine, snapshot → checkpoint |
//! | [`Captured`] | checkpoint → raft |
//! | [`Serve`], [`Install`] | raft → snapshot |
//! | [`Taken`] | state machine → snapshot |
//! | [`Offered`], [`PieceCame`] | accepted snapshot connection → snapshot |
//! | [`SnapshotStarted`], [`SnapshotSent`] | sending task → raft, snapshot |
//! | [`SnapshotReceived`] | snapshot → raft |
//! | [`Saved`] | checkpoint → snapshot |
//! | [`Replace`] | snapshot → state machine |
//! | [`Installed`] | state machine → raft, snapshot |
//! | [`Drain`] | an actor → itself |

use actix::Message;
use bytes::Bytes;
use quorate_core::kv::{Listing, Page, StateMachine};
use quorate_core::raft;
use quorate_core::types::{Entry, Index, Moment, NodeId};
use quorate_core::wire::client::{Failure, Get};
use tokio::sync::{mpsc, oneshot};

use crate::reply::{Outcome, Reply};

mod compaction;
mod members;

pub use compaction::*;
pub use members::*;

/// Time has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Tick;

/// Act on everything absorbed so far.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

/// Append these commands to the log.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Propose(pub Vec<Proposal>);

/// A command and who waits for its result.
pub struct Proposal {
    /// The encoded command.
    pub command: Bytes,
    /// Who waits.
    pub reply: Reply,
}

/// Answer these reads linearizably.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Read(pub Vec<Question>);

/// Answer these reads under a lease, where there is one; else linearizably.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LeaseRead(pub Vec<Question>);

/// A read and who waits for its answer.
pub enum Question {
    /// One key.
    Get {
        /// Which, and how.
        get: Get,
        /// When it was asked, where its answer is to be linearizable.
        asked: Option<Moment>,
        /// Who waits.
        reply: Reply,
    },
    /// A page of keys.
    List {
        /// Keys that begin so.
        prefix: Bytes,
        /// Keys behind this one.
        after: Option<Bytes>,
        /// How many.
        page: Page,
        /// Who waits.
        reply: oneshot::Sender<Result<Listing, Failure>>,
    },
    /// The whole state, for a backup.
    State {
        /// Who waits.
        reply: oneshot::Sender<Result<StateMachine, Failure>>,
    },
    /// This node's state in numbers.
    Status {
        /// Who waits.
        reply: Reply,
    },
}

impl Question {
    /// The one key that is read.
    #[must_use]
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            Question::Get { get, .. } => Some(&get.key),
            Question::List { .. } | Question::State { .. } | Question::Status { .. } => None,
        }
    }

    /// Ends it without an answer.
    pub fn refuse(self, failure: Failure) {
        match self {
            Question::Get { reply, .. } | Question::Status { reply } => reply.fail(failure),
            Question::List { reply, .. } => drop(reply.send(Err(failure))),
            Question::State { reply } => drop(reply.send(Err(failure))),
        }
    }
}

/// Messages of Raft came in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Received {
    /// Who sent them; its identity is proven by the handshake.
    pub from: NodeId,
    /// The messages.
    pub messages: Vec<raft::Message>,
}

/// Make this durable, then send its messages.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Persist(pub raft::Persist);

/// Everything up to that number is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Persisted {
    /// The number.
    pub seq: u64,
}

/// Send these messages to the peer; each is an encoded message of Raft.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Transmit(pub Vec<Bytes>);

/// A connection to the peer stands, and takes messages here.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkUp(pub mpsc::UnboundedSender<Bytes>);

/// The connection to the peer is gone, or none came about.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkDown;

/// Apply these entries and answer who waits.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply {
    /// Committed entries, in order.
    pub entries: Vec<Entry>,
    /// Who waits for which, in order.
    pub waiting: Vec<(Index, Reply)>,
}

/// Answer each once everything up to its index is applied.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Query(pub Vec<(Index, Question)>);

/// Everything up to that index is applied.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Applied {
    /// The applied index.
    pub index: Index,
    /// How many sessions there are now.
    pub sessions: usize,
    /// Whether a `Clock` command was among it.
    pub clock: bool,
}

/// Requests of one connection have their outcomes.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Answered(pub Vec<(u64, Outcome)>);

/// A websocket message of a client came in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Frame(pub Bytes);

/// The client's socket is gone, or is to be closed for a reason.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SocketClosed {
    /// The close code and reason to send; `None` where the client closed.
    pub refusal: Option<(u16, String)>,
}

/// So many bytes of replies went out to the client's socket.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Written(pub usize);

/// End the connection: the node stops.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Close;

/// Take no more requests; lead no longer once `waiting` is answered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// Fail what still waits, too.
    pub now: bool,
}

/// How many requests wait for an answer.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CountWaiting;

/// Sync what is staged.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Flush;
