//! Messages about checkpoints, trimming and snapshots.

use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use quorate_core::kv::{Changes, StateMachine};
use quorate_core::raft;
use quorate_core::types::{Index, Membership, NodeId, Position};
use quorate_core::wire::peer::SnapshotMessage;
use tokio::sync::oneshot;

/// The log may let go of everything up to that index.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Trim(pub Index);

/// Take the state as it is now, behind everything that was handed over to be applied.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Capture {
    /// For whom.
    pub purpose: Purpose,
}

/// What a state is captured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The next checkpoint.
    Checkpoint,
    /// Followers that need a snapshot.
    Snapshot,
}

/// Make this the checkpoint.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Save {
    /// The state, as of now.
    pub state: StateMachine,
    /// All that changed since the last one; `None`: everything.
    pub changes: Option<Changes>,
    /// It is a snapshot that came in.
    pub install: bool,
}

/// Nobody needs this state any more. To let go of a large one takes a while.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Discard(pub StateMachine);

/// A checkpoint is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Captured {
    /// Its last entry.
    pub position: Position,
    /// How long the next one may wait, if it is not urgent.
    pub rest: Duration,
}

/// The snapshot that came in is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Saved;

/// These followers need a snapshot, and no others.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Serve(pub Vec<(NodeId, String)>);

/// The verdict on a snapshot that came in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Install(pub raft::Install);

/// The state was captured, for a snapshot.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Taken(pub StateMachine);

/// A peer offers a snapshot.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Offered {
    /// Who.
    pub from: NodeId,
    /// Its last entry.
    pub position: Position,
    /// How many records it has.
    pub records: u64,
    /// The number of the connection, on which its pieces come.
    pub lane: u64,
    /// Who waits for the answer.
    pub reply: oneshot::Sender<SnapshotMessage>,
}

/// A piece of the snapshot that a peer offered.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PieceCame {
    /// Who sent it.
    pub from: NodeId,
    /// The number of the connection on which it came.
    pub lane: u64,
    /// The piece.
    pub bytes: Bytes,
    /// Who waits for the answer.
    pub reply: oneshot::Sender<SnapshotMessage>,
}

/// The sending of a snapshot has begun.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SnapshotStarted {
    /// To whom.
    pub peer: NodeId,
    /// Its last index.
    pub index: Index,
}

/// A follower has the snapshot.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SnapshotSent {
    /// Who.
    pub peer: NodeId,
    /// Its last index.
    pub index: Index,
}

/// A snapshot has come in whole.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SnapshotReceived {
    /// Its last entry.
    pub position: Position,
    /// The membership in effect there.
    pub membership: Membership,
}

/// The state is this from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Replace(pub StateMachine);

/// The state was replaced by a snapshot.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub struct Installed {
    /// Its last entry.
    pub position: Position,
    /// How many sessions there are now.
    pub sessions: usize,
}
