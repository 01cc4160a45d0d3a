//! What a node says of itself.

use super::node::{Node, Role};
use super::progress::ProgressState;
use crate::types::{Index, Membership, Moment, NodeId, Term};

/// A node's state, for people, metrics and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub id: NodeId,
    /// Its role.
    pub role: RoleKind,
    /// Its term.
    pub term: Term,
    /// The leader it knows.
    pub leader: Option<NodeId>,
    /// Its commit index.
    pub commit: Index,
    /// Its applied index.
    pub applied: Index,
    /// The first index in its log, on disk.
    pub first_index: Index,
    /// The last index in its log.
    pub last_index: Index,
    /// Everything up to here is on its disk.
    pub durable_index: Index,
    /// The members.
    pub membership: Membership,
    /// What this node knows of the entry that added it: its index, 0 where it is no member or one
    /// of the first start; nothing where it knows no members. Where its removal is the newest in
    /// the log and not known to be committed, it still counts as the member that it was: the others
    /// may lack the removal, and need this node to complete it.
    pub added: Option<Index>,
    /// Whether that membership is committed.
    pub membership_committed: bool,
    /// When it last heard of the leader; as a leader: when a quorum last heard of it.
    pub leader_contact: Option<Moment>,
    /// Whether it leads and has committed an entry of its term.
    pub settled: bool,
    /// Its followers, filled on a leader.
    pub followers: Vec<Follower>,
    /// The newest durable checkpoint holds everything up to here; 0 before the first.
    pub checkpoint_index: Index,
    /// The bytes of the log in memory.
    pub log_bytes: usize,
    /// The first index that a snapshot from another member must hold to be of use here.
    pub snapshot_floor: Index,
    /// There is no state under the log: nothing is applied before a snapshot comes.
    pub lacks_state: bool,
    /// To whom leadership is being handed over.
    pub transfers_to: Option<NodeId>,
}

/// The names of the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleKind {
    /// Follows.
    Follower,
    /// Asks for pre-votes.
    PreCandidate,
    /// Campaigns.
    Candidate,
    /// Leads.
    Leader,
}

impl RoleKind {
    /// The name in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RoleKind::Follower => "follower",
            RoleKind::PreCandidate => "pre-candidate",
            RoleKind::Candidate => "candidate",
            RoleKind::Leader => "leader",
        }
    }
}

/// A follower, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The follower.
    pub id: NodeId,
    /// The highest index known to be durable there.
    pub match_index: Index,
    /// The next entry to send.
    pub next_index: Index,
    /// How appends go there.
    pub state: ProgressState,
    /// Whether a connection to it stands.
    pub connected: bool,
    /// When it was last heard of.
    pub last_contact: Moment,
}

impl Status {
    pub(super) fn of(node: &Node) -> Self {
        let (role, followers, settled) = match &node.role {
            Role::Follower => (RoleKind::Follower, vec![], false),
            Role::PreCandidate(_) => (RoleKind::PreCandidate, vec![], false),
            Role::Candidate(_) => (RoleKind::Candidate, vec![], false),
            Role::Leader(leader) => {
                (RoleKind::Leader, leader.followers(), node.commit >= leader.term_start)
            }
        };
        Self {
            id: node.config.id,
            role,
            term: node.term(),
            leader: node.leader,
            commit: node.commit,
            applied: node.applied_index(),
            first_index: node.log.first_index(),
            last_index: node.log.last().index,
            durable_index: node.log.durable(),
            membership: node.membership.clone(),
            added: node.added(),
            membership_committed: node.log.membership_index() <= node.commit,
            leader_contact: node.contact(),
            settled,
            followers,
            checkpoint_index: node.compaction.checkpoint,
            log_bytes: node.log.bytes(),
            snapshot_floor: node.snapshot_floor(),
            lacks_state: node.lacks_state(),
            transfers_to: match &node.role {
                Role::Leader(leader) => leader.transfer.as_ref().map(|transfer| transfer.to),
                Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => None,
            },
        }
    }
}
