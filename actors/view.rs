//! What everyone on a node may look at without asking an actor: the newest role, leader and
//! indexes, at most a few milliseconds old. Nothing that must be exact is decided by it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_core::raft::{RoleKind, Status};
use quorate_core::types::{Index, Membership, NodeId};
use quorate_core::wire::client::{Leader, MemberInfo};

use crate::age::Age;
pub use crate::clock::Clock;
use crate::settings::Settings;
use crate::space::Space;

mod rows;

use rows::leader_of;
pub(crate) use rows::member_rows;

/// What [`View::receiving`] is where no snapshot comes in.
pub const NOT_RECEIVING: u64 = 101;

/// The shared view.
#[derive(Debug)]
pub struct View {
    /// The node's clock.
    pub clock: Clock,
    /// As of when the state is complete.
    pub age: Age,
    /// Bytes of the log on disk.
    pub log_bytes: AtomicU64,
    /// What is left of the disk.
    pub space: Space,
    /// Bytes of the checkpoint on disk.
    pub checkpoint_bytes: AtomicU64,
    /// Snapshots on their way to others: how far each is, in percent.
    pub sending: Mutex<BTreeMap<NodeId, u64>>,
    /// How far a snapshot that comes in is, in percent; 101 where none does.
    pub receiving: AtomicU64,
    /// Set once the node takes no more requests.
    pub stopping: AtomicBool,
    cluster: String,
    cluster_id: u64,
    version: String,
    raft: Mutex<Status>,
    members_changed: AtomicU64,
}

impl View {
    /// A view of a node that starts.
    #[must_use]
    pub fn new(clock: Clock, settings: &Settings, raft: Status, space: Space) -> Self {
        Self {
            clock,
            age: Age::default(),
            log_bytes: AtomicU64::new(0),
            space,
            checkpoint_bytes: AtomicU64::new(0),
            sending: Mutex::default(),
            receiving: AtomicU64::new(NOT_RECEIVING),
            stopping: AtomicBool::new(false),
            cluster: settings.cluster.clone(),
            cluster_id: settings.cluster_id,
            version: settings.version.clone(),
            raft: Mutex::new(raft),
            members_changed: AtomicU64::new(0),
        }
    }

    /// Looks how much space there is, which may block.
    pub(crate) fn look_at_disk(&self) {
        self.space.look(self.log_bytes.load(Ordering::Relaxed));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Status> {
        self.raft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows a new state.
    pub fn update(&self, status: Status) {
        let mut raft = self.lock();
        let same = raft.membership_committed == status.membership_committed
            && raft.membership == status.membership;
        *raft = status;
        if !same {
            self.members_changed.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How often the members, or whether they are committed, have changed since the start.
    pub fn members_changed(&self) -> u64 {
        self.members_changed.load(Ordering::SeqCst)
    }

    /// The newest state shown.
    pub fn raft(&self) -> Status {
        self.lock().clone()
    }

    /// Whether the membership in effect is committed, and the membership.
    pub fn membership(&self) -> (bool, Membership) {
        let raft = self.lock();
        (raft.membership_committed, raft.membership.clone())
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
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

    /// What this node knows of the entry that added it; see `PeerHello::added`.
    pub fn added(&self) -> Option<Index> {
        self.lock().added
    }

    /// The members, as rows of `members`.
    pub fn members(&self) -> Vec<MemberInfo> {
        member_rows(&self.lock().membership)
    }

    /// Why this node is not ready; `None` when it knows a leader and has caught up.
    pub fn not_ready(&self) -> Option<String> {
        let raft = self.lock();
        if self.stopping.load(Ordering::Relaxed) {
            return Some("the node is stopping".to_owned());
        }
        if raft.lacks_state {
            return Some("the state was lost, and a snapshot has not come yet".to_owned());
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
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
