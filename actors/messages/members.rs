//! Messages about members and leadership.

use std::collections::BTreeMap;

use actix::{Message, Recipient};
use quorate_core::types::{Change, NodeId};

use super::Transmit;
use crate::reply::Reply;

/// The outgoing connection to a peer stands.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Connected {
    /// The peer.
    pub peer: NodeId,
}

/// The outgoing connection to a peer is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Disconnected {
    /// The peer.
    pub peer: NodeId,
}

/// A connection on which a peer's messages came in is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Silenced {
    /// The peer.
    pub peer: NodeId,
}

/// Hand leadership over, if this node has it; done when it has it no more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HandOver;

/// An operator's command.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Command {
    /// What to do.
    pub what: Operation,
    /// Who waits until it is done.
    pub reply: Reply,
}

/// What operators ask for.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Change the members.
    ChangeMembers {
        /// As one change.
        changes: Vec<Change>,
        /// Also where a quorum may not be reachable afterwards.
        force: bool,
    },
    /// Hand leadership over.
    TransferLeadership {
        /// To whom; `None`: to whoever lacks least.
        to: Option<NodeId>,
    },
    /// Make a checkpoint.
    Checkpoint,
}

/// A peer has connected, and is reached at that address.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Introduced {
    /// The peer.
    pub peer: NodeId,
    /// Its peer address.
    pub address: String,
}

/// Whoever messages go to, from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Peers(pub BTreeMap<NodeId, Recipient<Transmit>>);

/// The peer is no member any more: end the connection.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Retire;
