//! What operators ask for.

use crate::types::NodeId;

/// An operator's command. The leader carries it out and answers when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// `add_member`: a node that receives the log, and votes once it has caught up.
    AddMember {
        /// Its id.
        id: NodeId,
        /// Where the other nodes reach it.
        peer: String,
        /// Where clients reach it.
        client: String,
        /// It stays without a vote.
        standby: bool,
    },
    /// `promote_member`: gives a member a vote.
    PromoteMember {
        /// Which.
        id: NodeId,
        /// Also when it lags, or a quorum may not be reachable.
        force: bool,
    },
    /// `remove_member`.
    RemoveMember {
        /// Which.
        id: NodeId,
        /// Also when a quorum of the rest may not be reachable.
        force: bool,
    },
    /// `move_member`: other addresses.
    MoveMember {
        /// Which.
        id: NodeId,
        /// Where the other nodes reach it from now on.
        peer: Option<String>,
        /// Where clients reach it from now on.
        client: Option<String>,
    },
    /// `transfer_leadership`.
    TransferLeadership {
        /// To whom; 0: to whoever lacks least.
        to: NodeId,
    },
    /// `snapshot`: a checkpoint now, on the node that is asked.
    Snapshot,
}

impl Admin {
    /// The operation's name, as the wire bears it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Admin::AddMember { .. } => "add_member",
            Admin::PromoteMember { .. } => "promote_member",
            Admin::RemoveMember { .. } => "remove_member",
            Admin::MoveMember { .. } => "move_member",
            Admin::TransferLeadership { .. } => "transfer_leadership",
            Admin::Snapshot => "snapshot",
        }
    }
}
