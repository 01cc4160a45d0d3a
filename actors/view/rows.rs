//! A node's state as clients are shown it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use quorate_core::kv::Summary;
use quorate_core::raft::{Follower, RoleKind, Status};
use quorate_core::types::{MemberRole, Membership, NodeId};
use quorate_core::wire::client::{self, Leader, MemberInfo, PeerStatus, StateHash};

use super::{View, millis};
use crate::space::LOW_SPACE;

impl View {
    /// How entries go to a follower, and how far its snapshot is.
    fn way_to(&self, follower: &Follower) -> String {
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        match sending.get(&follower.id) {
            Some(percent) => format!("snapshot {percent}%"),
            None => follower.state.as_str().to_owned(),
        }
    }

    /// The whole of `status`.
    pub fn status(&self, summary: &Summary) -> client::Status {
        let raft = self.raft();
        let now = self.clock.now();
        let log_bytes = self.log_bytes.load(Ordering::Relaxed);
        let low = self.space.is_low(log_bytes).then(|| LOW_SPACE.to_owned());
        let followers = raft.followers.iter().map(|follower| PeerStatus {
            id: follower.id.0,
            address: peer_address(&raft, follower.id),
            role: role_of(&raft, follower.id),
            match_index: follower.match_index.0,
            next_index: follower.next_index.0,
            state: self.way_to(follower),
            connected: follower.connected,
            last_contact_ms: millis(now.since(follower.last_contact)),
        });
        client::Status {
            cluster: self.cluster.clone(),
            cluster_id: self.cluster_id,
            node: raft.id.0,
            version: self.version.clone(),
            role: own_role(&raft).to_owned(),
            term: raft.term.0,
            leader: raft.leader.and_then(|id| leader_of(&raft, id)),
            commit_index: raft.commit.0.max(summary.applied.0),
            applied_index: summary.applied.0,
            first_index: raft.first_index.0,
            last_index: raft.last_index.0.max(summary.applied.0),
            snapshot_index: raft.checkpoint_index.0,
            log_bytes,
            free_bytes: self.space.free_bytes(log_bytes),
            alarms: low.into_iter().collect(),
            snapshot_bytes: self.checkpoint_bytes.load(Ordering::Relaxed),
            state_bytes: summary.state_bytes,
            revision: summary.revision,
            keys: summary.keys,
            sessions: summary.sessions,
            uptime_ms: millis(self.clock.elapsed()),
            state_hash: StateHash {
                index: summary.applied.0,
                hash: format!("{:016x}", summary.hash),
            },
            peers: followers.collect(),
        }
    }
}

/// A membership as rows of `members`.
pub(crate) fn member_rows(membership: &Membership) -> Vec<MemberInfo> {
    let rows = membership.members.iter().map(|member| MemberInfo {
        id: member.id,
        peer: member.peer.clone(),
        client: member.client.clone(),
        role: member.role.as_str().to_owned(),
    });
    rows.collect()
}

/// A node's role in its term; `learner` where it has no vote.
fn own_role(raft: &Status) -> &'static str {
    if raft.role == RoleKind::Leader || raft.membership.votes(raft.id) {
        raft.role.as_str()
    } else {
        "learner"
    }
}

fn role_of(raft: &Status, id: NodeId) -> String {
    let role = raft.membership.member(id).map(|member| member.role);
    role.map_or("leaving", MemberRole::as_str).to_owned()
}

pub(super) fn leader_of(raft: &Status, id: NodeId) -> Option<Leader> {
    raft.membership.member(id).map(|member| Leader { id, address: member.client.clone() })
}

fn peer_address(raft: &Status, id: NodeId) -> String {
    raft.membership.member(id).map(|member| member.peer.clone()).unwrap_or_default()
}
