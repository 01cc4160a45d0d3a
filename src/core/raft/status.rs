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
    /// The first index in its log.
    pub first_index: Index,
    /// The last index in its log.
    pub last_index: Index,
    /// Everything up to here is on its disk.
    pub durable_index: Index,
    /// The members.
    pub membership: Membership,
    /// When it last heard of the leader; as a leader: when a quorum last heard of it.
    pub leader_contact: Option<Moment>,
    /// Whether it leads and has committed an entry of its term.
    pub settled: bool,
    /// Its followers, filled on a leader.
    pub followers: Vec<Follower>,
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
            leader_contact: node.contact(),
            settled,
            followers,
        }
    }
}
