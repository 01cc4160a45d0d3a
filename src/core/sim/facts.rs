//! What happens in a simulated cluster, as the invariants hear of it.
//!
//! The world tells one [`Fact`] after the other, in the order of true time, to
//! [`crate::invariants::Invariants`]; it keeps [`crate::known::Known`] up to date with each
//! and asks every invariant. Facts are about what left a process or reached a disk, never
//! about what a process intends.

use std::time::Duration;

use bytes::Bytes;
use quorate_core::client::Outcome;
use quorate_core::raft::{Message, Persist, Refusal, Status};
use quorate_core::types::{Entry, HardState, Index, Membership, Moment, NodeId, Position, Ticket};
use quorate_core::wire::client::{Op, OpResult};

/// What a lease is where it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When the read came, by the node's own clock.
    pub now: Moment,
    /// How long a lease may last, from when its round was sent.
    pub length: Duration,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// A node's process starts, from what it found on its disk. All nodes start once at the
    /// beginning, with equal first entries.
    Started {
        /// The node.
        node: NodeId,
        /// The term and vote it recovered.
        hard_state: HardState,
        /// The entry before the first one of its log; zero when nothing was removed.
        base: Position,
        /// The log it recovered, behind `base`.
        log: &'a [Entry],
        /// The checkpoint it found holds everything up to here; zero where there is none.
        state: Position,
        /// The term and vote, raised where the log or the checkpoint is of a later term; durable.
        raised: HardState,
        /// That checkpoint made the log obsolete: this is where the log begins anew, durably.
        reset: Option<Position>,
    },
    /// A node's process ended: it answers nobody any more, and every ticket of it is void.
    Stopped {
        /// The node.
        node: NodeId,
        /// Its disk is lost, too (wiped, or damaged beyond what recovery may accept): the
        /// node does not come back.
        for_good: bool,
    },
    /// A node that does not run has another disk now, an empty one: from here on it is another
    /// node that bears its name.
    Replaced {
        /// The node.
        node: NodeId,
    },
    /// A node was asked for something by one of its clients.
    Asked {
        /// The node.
        node: NodeId,
        /// How the node names the request.
        ticket: Ticket,
        /// The command to append; `None` for a linearizable read.
        command: Option<&'a Bytes>,
        /// A read that may be answered under a lease.
        lease: Option<Lease>,
    },
    /// A node was asked for something by an operator.
    Ordered {
        /// The node.
        node: NodeId,
        /// How the node names the request.
        ticket: Ticket,
        /// It is a change of the members, which ends with its entry.
        changes: bool,
    },
    /// An operator's request is done, and no entry of the log.
    Done {
        /// The node.
        node: NodeId,
        /// The request.
        ticket: Ticket,
    },
    /// A drain handed out what is to be made durable. From here on this is the node's log in
    /// memory, and its term and vote.
    Staged {
        /// The node.
        node: NodeId,
        /// What.
        persist: &'a Persist,
    },
    /// A drain is over, and this is what the node says of itself.
    Drained {
        /// The node.
        node: NodeId,
        /// Its own clock.
        now: Moment,
        /// Its word.
        status: &'a Status,
    },
    /// A staged `Persist` is durable; told in order of `seq`, before its `then` leaves.
    Durable {
        /// The node.
        node: NodeId,
        /// What.
        persist: &'a Persist,
    },
    /// Another membership is in effect on a node; told before anything else of that drain.
    Members {
        /// The node.
        node: NodeId,
        /// Which.
        membership: &'a Membership,
    },
    /// A checkpoint is durable.
    Captured {
        /// The node.
        node: NodeId,
        /// Its last entry.
        position: Position,
    },
    /// A node lets go of the entries up to and including this one.
    Trimmed {
        /// The node.
        node: NodeId,
        /// The last one.
        to: Index,
    },
    /// A node's state is now that of a snapshot, which is its durable checkpoint.
    Installed {
        /// The node.
        node: NodeId,
        /// The snapshot's last entry.
        position: Position,
        /// The hash of the state.
        hash: u64,
    },
    /// A message leaves a node. It may never arrive.
    Sent {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
        /// The message.
        message: &'a Message,
    },
    /// A node's state machine applied an entry.
    Applied {
        /// The node.
        node: NodeId,
        /// The entry.
        entry: &'a Entry,
        /// Who waited for it on this node.
        waiter: Option<Ticket>,
        /// What the command gave; `None` for an entry that bears none.
        result: Option<&'a OpResult>,
        /// The hash of the node's state afterwards.
        hash: u64,
    },
    /// A node allows a read, as soon as it has applied `index`.
    Released {
        /// The node.
        node: NodeId,
        /// The read.
        ticket: Ticket,
        /// The read point.
        index: Index,
    },
    /// A node refuses a request.
    Refused {
        /// The node.
        node: NodeId,
        /// The request.
        ticket: Ticket,
        /// Why.
        why: Refusal,
    },
    /// A client calls.
    Invoked {
        /// The client.
        client: u64,
        /// The call: unique in the run.
        call: u64,
        /// What it asks.
        op: &'a Op,
    },
    /// A client sends a call's request, for the first time or again.
    Posted {
        /// The client.
        client: u64,
        /// The call.
        call: u64,
        /// The session in which it asks; 0 is sessionless.
        session: u64,
        /// The request's id there.
        id: u64,
        /// Up to where it acknowledges answers.
        acked: u64,
        /// The number of the message that bears it; one message may bear many.
        message: u64,
    },
    /// A client's call ends.
    Completed {
        /// The client.
        client: u64,
        /// The call.
        call: u64,
        /// How.
        outcome: &'a Outcome,
    },
}
