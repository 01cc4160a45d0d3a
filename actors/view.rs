//! What everyone on a node may look at without asking an actor: the newest role, leader and
//! indexes, at most a few milliseconds old. Nothing that must be exact is decided by it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quorate_core::kv::Summary;
use quorate_core::raft::{RoleKind, Status};
use quorate_core::types::{Moment, NodeId};
use quorate_core::wire::client::{self, Leader, MemberInfo, PeerStatus, StateHash};

/// A node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock whose origin is now. Moments start at an hour, so that "a while ago" exists.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The moment it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(3_600_000_000) + self.0.elapsed()
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The shared view.
#[derive(Debug)]
pub struct View {
    /// The node's clock.
    pub clock: Clock,
    /// Bytes of the log on disk.
    pub log_bytes: AtomicU64,
    /// Set once the node takes no more requests.
    pub stopping: AtomicBool,
    cluster: String,
    version: String,
    raft: Mutex<Status>,
}

impl View {
    /// A view of a node that starts.
    #[must_use]
    pub fn new(clock: Clock, cluster: String, version: String, raft: Status) -> Self {
        Self {
            clock,
            log_bytes: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            cluster,
            version,
            raft: Mutex::new(raft),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.raft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a new state.
    pub fn update(&self, status: Status) {
        *self.lock() = status;
    }

    /// The newest state shown.
    pub fn raft(&self) -> Status {
        self.lock().clone()
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The binary's version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// This node's id.
    pub fn node(&self) -> NodeId {
        self.lock().id
    }

    /// Whether this node leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.lock().role == RoleKind::Leader
    }

    /// The leader and its client address, where known.
    pub fn leader(&self) -> Option<Leader> {
        let raft = self.lock();
        raft.leader.and_then(|id| leader_of(&raft, id))
    }

    /// How long ago the leader was last heard of; on the leader: a quorum.
    pub fn contact_age(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.lock().leader_contact.map(|contact| now.since(contact))
    }

    /// The members, as rows of `members`.
    pub fn members(&self) -> Vec<MemberInfo> {
        let raft = self.lock();
        let rows = raft.membership.members.iter().map(|member| MemberInfo {
            id: member.id,
            peer: member.peer.clone(),
            client: member.client.clone(),
            role: "voter".to_owned(),
        });
        rows.collect()
    }

    /// Why this node is not ready; `None` when it knows a leader and has caught up.
    pub fn not_ready(&self) -> Option<String> {
        let raft = self.lock();
        if self.stopping.load(Ordering::Relaxed) {
            return Some("the node is stopping".to_owned());
        }
        if raft.leader.is_none() {
            return Some(format!("no leader is known ({})", raft.role.as_str()));
        }
        if raft.role == RoleKind::Leader && !raft.settled {
            return Some("the leader has not committed in its term yet".to_owned());
        }
        if raft.role != RoleKind::Leader && raft.leader_contact.is_none() {
            return Some("the leader has not been heard of yet".to_owned());
        }
        (raft.applied < raft.commit)
            .then(|| format!("applied {} of {} committed", raft.applied, raft.commit))
    }

    /// The whole of `status`.
    pub fn status(&self, summary: &Summary) -> client::Status {
        let raft = self.raft();
        let now = self.clock.now();
        let followers = raft.followers.iter().map(|follower| PeerStatus {
            id: follower.id.0,
            address: peer_address(&raft, follower.id),
            role: "voter".to_owned(),
            match_index: follower.match_index.0,
            next_index: follower.next_index.0,
            state: follower.state.as_str().to_owned(),
            connected: follower.connected,
            last_contact_ms: millis(now.since(follower.last_contact)),
        });
        client::Status {
            cluster: self.cluster.clone(),
            node: raft.id.0,
            version: self.version.clone(),
            role: raft.role.as_str().to_owned(),
            term: raft.term.0,
            leader: raft.leader.and_then(|id| leader_of(&raft, id)),
            commit_index: raft.commit.0.max(summary.applied.0),
            applied_index: summary.applied.0,
            first_index: raft.first_index.0,
            last_index: raft.last_index.0.max(summary.applied.0),
            snapshot_index: raft.first_index.previous().0,
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            snapshot_bytes: 0,
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

fn leader_of(raft: &Status, id: NodeId) -> Option<Leader> {
    raft.membership.member(id).map(|member| Leader { id, address: member.client.clone() })
}

fn peer_address(raft: &Status, id: NodeId) -> String {
    raft.membership.member(id).map(|member| member.peer.clone()).unwrap_or_default()
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
