//! Keeping the log short: checkpoints, trimming, and snapshots for followers that are too far
//! behind (Raft §7, dissertation §5.1).
//!
//! ```text
//!   enough applied ─► capture ─► Captured (durable) ─► trim: the log keeps a tail behind it
//!         └── after a rest, if the last one took long
//!
//!   applied ─► forget: memory keeps a tail, too, and what a follower lacks
//!
//!   a follower's next entry is compacted ─► snapshots: [it] ─► ... ─► SnapshotSent ─► probe on
//!
//!   SnapshotReceived ─► install ─► Installed: durable, and the state ─► reset of the log, if it
//!   does not hold the snapshot's last entry ─► acknowledged once that is durable
//! ```
//!
//! The order is what makes each step safe to crash in: the snapshot is this node's durable
//! checkpoint before its log changes, and a checkpoint that the log does not hold makes the
//! log obsolete at the next start ([`Boot::reconciled`](super::Boot::reconciled)).
//!
//! A snapshot is of committed entries, so it does not matter who sent it, or in which term.

use std::time::Duration;

use super::effects::{Install, Note};
use super::message::{AppendOutcome, Message};
use super::node::{Node, Role};
use super::progress::Progress;
use crate::types::{Index, Membership, Moment, NodeId, Position};

/// Where this node is with its checkpoints, and with a snapshot that it gets.
#[derive(Debug, Default)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Compaction {
    /// The newest durable checkpoint holds everything up to here.
    pub(super) checkpoint: Index,
    pub(super) capturing: bool,
    pub(super) asked: bool,
    /// Before that a checkpoint is due only where there is much for it.
    pub(super) rests_until: Moment,
    /// Bytes of entries handed out since the last capture.
    pub(super) bytes: usize,
    /// The snapshot that is being installed.
    pub(super) installing: Option<(Position, Membership)>,
    /// Every member holds the log up to here, as the leader said last.
    pub(super) all_hold: Index,
    /// Who was last said to need a snapshot; nothing once that must be said again.
    pub(super) told: Option<Vec<NodeId>>,
}

/// The rest after a checkpoint ends early once so many times as many entries or bytes are there
/// as ask for one.
const AT_MOST: u64 = 4;

impl Node {
    /// Whether there is a log and no state under it: the checkpoint was lost. Nothing can be
    /// applied before a snapshot comes; votes and acknowledgements are as good as ever.
    pub(super) fn lacks_state(&self) -> bool {
        self.applying.handed < self.log.base().index
    }

    /// Nothing is applied meanwhile: the state below is about to be replaced, or missing.
    pub(super) fn awaits_state(&self) -> bool {
        self.compaction.installing.is_some() || self.lacks_state()
    }

    pub(super) fn checkpoint_asked(&mut self) {
        self.compaction.asked = true;
    }

    /// Whether to make a checkpoint behind what is handed out with this drain.
    pub(super) fn capture(&mut self, now: Moment) -> bool {
        let entries = self.applying.handed.0.saturating_sub(self.compaction.checkpoint.0);
        let waits = self.awaits_state();
        let reached = |times: u64, bytes: usize| {
            let bytes = bytes as u64;
            entries >= self.config.snapshot_entries.saturating_mul(times)
                || bytes >= (self.config.snapshot_bytes as u64).saturating_mul(times)
        };
        let Compaction { capturing, asked, bytes, rests_until, .. } = &mut self.compaction;
        let due = reached(if now < *rests_until { AT_MOST } else { 1 }, *bytes);
        if *capturing || waits || !(due || *asked) {
            return false;
        }
        *asked = false;
        *bytes = 0;
        *capturing = entries > 0;
        *capturing
    }

    pub(super) fn captured(&mut self, now: Moment, position: Position, rest: Duration) {
        assert!(position.index <= self.applying.handed, "a checkpoint of what was not handed out");
        let compaction = &mut self.compaction;
        compaction.capturing = false;
        compaction.rests_until = now + rest;
        compaction.checkpoint = compaction.checkpoint.max(position.index);
        self.trim();
    }

    /// Lets go of what a durable checkpoint holds, but for a tail.
    fn trim(&mut self) {
        let applied = self.applying.applied;
        // A snapshot may hold what the log has in memory and the disk has not got yet.
        let limit = self.compaction.checkpoint.min(applied).min(self.disk.handed_last);
        let limit = if mutant!(TrimsBeyondTheCheckpoint) { applied } else { limit };
        let last = self.log.last().index;
        let (entries, bytes) = (self.config.trailing_entries, self.config.snapshot_bytes);
        // What is not even in memory is of use to no follower.
        let tail = Index(last.0.saturating_sub(entries)).max(self.log.base().index);
        let mut to = tail.min(limit);
        let mut kept = self.log.weight(to, last);
        while kept > bytes && to < limit {
            kept -= self.log.weight(to, to.next());
            to = to.next();
        }
        to = to.min(self.held_for_snapshots());
        if to >= self.log.first_index() && !self.awaits_state() {
            self.log.compact(to);
            self.out.trim = Some(to);
        }
    }

    /// Drops from memory what is applied and handed to the disk, and what no member lacks, but for
    /// the tail that is kept behind a checkpoint, too. What a member lacks is kept by all, until it
    /// is in a checkpoint or is too much: whoever leads next must have it.
    pub(super) fn forget(&mut self) {
        if self.awaits_state() {
            return;
        }
        let limit = self.applying.applied.min(self.disk.handed_last);
        let limit = if mutant!(ForgetsWhatIsNotApplied) { self.commit } else { limit };
        let lacked_by_none = if mutant!(ForgetsWhatAMemberLacks) { limit } else { self.all_hold() };
        let (entries, bytes) = (self.config.trailing_entries, self.config.snapshot_bytes);
        self.log.forget(limit.min(lacked_by_none), entries, bytes);
        // Twice what asks for a checkpoint is enough: whoever lacks more gets a snapshot.
        let held = self.held_for_snapshots();
        self.log.forget(limit.min(held), u64::MAX, bytes.saturating_mul(2));
    }

    /// Up to where every member holds the log, as far as this node knows.
    pub(super) fn all_hold(&self) -> Index {
        let Role::Leader(leader) = &self.role else { return self.compaction.all_hold };
        let own = self.applying.applied;
        leader.progress.values().map(Progress::holds).min().unwrap_or(own)
    }

    /// A follower that gets a snapshot now is to find what follows it; within reason.
    fn held_for_snapshots(&self) -> Index {
        let Role::Leader(leader) = &self.role else { return Index(u64::MAX) };
        let reason = self.config.snapshot_bytes.saturating_mul(4);
        let of_use = |sent: &Index| *sent >= self.log.base().index && self.log.bytes() <= reason;
        let sent = leader.progress.values().filter_map(|progress| progress.snapshot);
        sent.filter(of_use).min().unwrap_or(Index(u64::MAX))
    }

    // ---- the leader's side ----

    pub(super) fn snapshot_started(&mut self, peer: NodeId, index: Index) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
            && progress.needs_snapshot()
        {
            progress.snapshot = Some(index);
        }
    }

    pub(super) fn snapshot_sent(&mut self, peer: NodeId, index: Index) {
        let last = self.log.last().index;
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
            && progress.needs_snapshot()
            && index <= last
        {
            progress.snapshot_installed(index);
            // Whether it needs another one at once or none any more is said again.
            self.compaction.told = None;
            self.note(Note::SnapshotSent { peer, index });
        }
    }

    pub(super) fn snapshot_wanted(&mut self, from: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&from)
            && !progress.wants_snapshot
        {
            progress.wants_snapshot = true;
            self.note(Note::NeedsSnapshot { peer: from });
        }
    }

    /// Who is to be sent a snapshot, if that has changed.
    pub(super) fn snapshots_due(&mut self) -> Option<Vec<NodeId>> {
        // A snapshot from before a member was added is of no use to it.
        let applied = self.applying.applied;
        let comes =
            |id: NodeId| self.membership.member(id).is_none_or(|member| applied >= member.added);
        let due: Vec<NodeId> = match &self.role {
            Role::Leader(leader) => {
                let needing = leader.progress.iter().filter(|(_, p)| p.needs_snapshot());
                needing.map(|(id, _)| *id).filter(|id| comes(*id)).collect()
            }
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => vec![],
        };
        let news = self.compaction.told.as_ref() != Some(&due);
        news.then(|| self.compaction.told.insert(due).clone())
    }

    // ---- the follower's side ----

    /// The first index that a snapshot must hold to be of any use here. An older one would
    /// move the state back, or leave a gap below the log.
    pub(super) fn snapshot_floor(&self) -> Index {
        if self.lacks_state() { self.log.base().index } else { self.commit.next() }
    }

    pub(super) fn snapshot_received(&mut self, position: Position, membership: Membership) {
        // Who campaigns may win: a leader's log is never replaced.
        let follows = matches!(self.role, Role::Follower);
        let useful = position.index >= self.snapshot_floor() || mutant!(InstallsOldSnapshots);
        let accept = useful && follows && self.compaction.installing.is_none();
        if accept {
            self.compaction.installing = Some((position, membership));
        }
        self.out.install = Some(Install { position, accept });
    }

    /// The snapshot is this node's checkpoint and state. The log goes on where it holds the
    /// snapshot's last entry, and is replaced where it does not (Raft §7).
    pub(super) fn installed(&mut self, now: Moment, position: Position) {
        let Some((expected, membership)) = self.compaction.installing.take() else {
            panic!("a snapshot up to {position} was installed, and none was accepted");
        };
        assert!(expected == position, "installed {position} instead of {expected}");
        assert!(!matches!(self.role, Role::Leader(_)), "a leader installs a snapshot");
        // It may come before any message of its term: a log is never newer than the term.
        if position.term > self.term() {
            self.follow(now, position.term, None);
        }
        let keeps =
            self.log.term_at(position.index) == Some(position.term) || mutant!(InstallKeepsTheLog);
        if !keeps {
            let commit = self.commit;
            assert!(position.index > commit, "{position} conflicts with the commit {commit}");
            self.log.reset(position);
            self.disk.reset(position.index);
            self.out.truncate_from = None;
            self.out.reset = Some(position);
        }
        if !mutant!(SnapshotKeepsTheOldMembers) {
            self.log.set_base_membership(membership);
        }
        self.commit = self.commit.max(position.index);
        self.applying.jump(position.index);
        self.compaction.checkpoint = self.compaction.checkpoint.max(position.index);
        self.compaction.bytes = 0;
        self.adopt_membership();
        self.note(Note::Installed { position, reset: !keeps });
        if let Some(leader) = self.leader {
            let outcome = AppendOutcome::Accepted(position.index);
            let prev = Index(0);
            let reply = Message::AppendEntriesReply { term: self.term(), prev, outcome };
            self.send_when_durable(leader, reply);
        }
    }
}
