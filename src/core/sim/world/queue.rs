//! What will happen, in order of true time; at equal times in the order of its making.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;
use quorate_core::raft::Message;
use quorate_core::types::NodeId;

use super::faults::Lift;
use super::snapshots::Parcel;

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A node looks at its deadlines. Void after the node's next start, as all that bear an epoch.
    Tick { node: NodeId, epoch: u64 },
    /// A node drains what it has absorbed.
    Drain { node: NodeId, epoch: u64 },
    /// A node's log has been written and synced.
    Sync { node: NodeId, epoch: u64 },
    /// A node's state machine gets to the next batch.
    Apply { node: NodeId, epoch: u64 },
    /// A node's checkpoint is written.
    Stored { node: NodeId, epoch: u64 },
    /// A piece of a snapshot is sent again, if it was the newest.
    Resend { node: NodeId, epoch: u64, peer: NodeId, number: u64 },
    /// A piece of a snapshot, or an answer to one, arrives.
    Parcel(Parcel),
    /// A node's process starts.
    Start { node: NodeId },
    /// A message arrives.
    Deliver(Packet),
    /// A node opens its connection to another.
    Dial { from: NodeId, to: NodeId },
    /// The end of the connection from a peer is noticed by the one who listened on it.
    Silence { node: NodeId, epoch: u64, peer: NodeId },
    /// An operator looks after what he wants.
    Errand { number: u64 },
    /// A fault of the plan.
    Fault(usize),
    /// A fault is over.
    Lift(Lift),
    /// A client's session wants to be woken.
    Wake { client: u64 },
    /// A client calls.
    Call { client: u64 },
    /// A client's attempt to connect reaches a node.
    Open { conn: u64 },
    /// The answer to it: the connection stands, or does not.
    Opened { conn: u64, stands: bool },
    /// Bytes reach the node.
    ToNode { conn: u64, frame: Bytes },
    /// Bytes reach the client.
    ToClient { conn: u64, frame: Bytes },
    /// The client notices that its connection is gone.
    Lost { conn: u64 },
    /// The node notices that a connection is gone.
    Closed { conn: u64 },
}

/// A message on its way between nodes.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// The connection's number; 0 where there is none.
    pub(super) connection: u64,
    /// The incarnations of both, as they met.
    pub(super) disks: (u64, u64),
    pub(super) message: Message,
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// All of it.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Scheduled>,
    order: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.heap.push(Scheduled { at, order: self.order, event });
    }

    /// The next one, with its time.
    pub(super) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|next| (next.at, next.event))
    }
}
