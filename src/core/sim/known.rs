//! What is known of a run from its facts: each node's log in memory and on disk, what was ever
//! committed, what was executed. The invariants read it and never write it.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::raft::{Persist, RoleKind};
use quorate_core::types::{Entry, HardState, Index, NodeId, Payload, Position, Term};
use xxhash_rust::xxh3::xxh3_64;

use crate::facts::Fact;
use crate::oracle::Oracle;

/// An entry in a few bytes: two entries are equal where these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The entry's term.
    pub term: Term,
    /// A hash of its payload.
    pub hash: u64,
}

impl Digest {
    /// Of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let hash = match &entry.payload {
            Payload::Noop => 1,
            Payload::Command(bytes) => xxh3_64(bytes),
            Payload::Membership(membership) => {
                membership.members.iter().fold(2, |hash, member| hash * 65_537 + member.id.0)
            }
        };
        Self { term: entry.term, hash }
    }
}

/// A log as digests; place 0 is index 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogImage {
    entries: Vec<Digest>,
}

impl LogImage {
    /// Of entries from index 1.
    #[must_use]
    pub fn of(log: &[Entry]) -> Self {
        Self { entries: log.iter().map(Digest::of).collect() }
    }

    /// The entry at an index.
    #[must_use]
    pub fn get(&self, index: Index) -> Option<Digest> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.entries.get(place).copied()
    }

    /// The index and term of the last entry; zero when there is none.
    #[must_use]
    pub fn last(&self) -> Position {
        let index = Index(self.entries.len() as u64);
        Position { term: self.get(index).map(|entry| entry.term).unwrap_or_default(), index }
    }

    /// Removes the entry at `from` and all behind it.
    pub fn truncate_from(&mut self, from: Index) {
        let keep = usize::try_from(from.0.saturating_sub(1)).unwrap_or(usize::MAX);
        self.entries.truncate(keep);
    }

    /// Adds an entry behind the last; whether it fits there.
    pub fn push(&mut self, entry: &Entry) -> bool {
        let fits = entry.index == self.last().index.next();
        self.entries.push(Digest::of(entry));
        fits
    }

    /// Takes in what a `Persist` says of the log.
    pub fn take(&mut self, persist: &Persist) {
        if let Some(from) = persist.truncate_from {
            self.truncate_from(from);
        }
        for entry in &persist.entries {
            self.push(entry);
        }
    }
}

/// One node, as it is known from outside.
#[derive(Clone, Debug, Default)]
pub struct NodeImage {
    /// Whether its process runs.
    pub up: bool,
    /// Its disk is lost for good.
    pub lost: bool,
    /// Counts its starts.
    pub incarnation: u64,
    /// Its term and vote as handed out, durable or not.
    pub hard_state: HardState,
    /// Its log as handed out, durable or not.
    pub log: LogImage,
    /// Its term and vote on its disk.
    pub durable_hard_state: HardState,
    /// Its log on its disk. It outlives the process.
    pub durable_log: LogImage,
    /// What is handed out and not durable, in order. Kept when the process ends, until it
    /// starts again: any beginning of it, record by record, may have reached the disk.
    pub waiting: VecDeque<Persist>,
    /// What it last said of itself.
    pub role: Option<RoleKind>,
    /// The commit index it last told of, in this incarnation.
    pub commit: Index,
    /// The last index its state machine applied, in this incarnation.
    pub applied: Index,
}

/// Everything known of a run.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The nodes.
    pub nodes: BTreeMap<NodeId, NodeImage>,
    /// What was ever committed, by anyone, from index 1.
    pub committed: LogImage,
    /// In which term each of these was committed first, from index 1.
    pub committed_in: Vec<Term>,
    /// Committed with the newest fact: `(from, to]`; empty where nothing was.
    pub newly_committed: (Index, Index),
    /// What the committed entries do, executed once, by a second state machine.
    pub oracle: Oracle,
    /// The entry that the oracle executed with the newest fact.
    pub newly_executed: Option<u64>,
    /// The node of the newest `Started`, as it was known before.
    pub previous: NodeImage,
}

impl Known {
    /// How many nodes make a quorum.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// A node. One that was never told of is empty.
    pub fn node_mut(&mut self, id: NodeId) -> &mut NodeImage {
        self.nodes.entry(id).or_default()
    }

    /// Takes in a fact.
    pub fn absorb(&mut self, fact: &Fact<'_>) {
        let committed = self.committed.last().index;
        self.newly_committed = (committed, committed);
        self.newly_executed = None;
        match fact {
            Fact::Started { node, hard_state, log } => {
                let node = self.node_mut(*node);
                let log = LogImage::of(log);
                let incarnation = node.incarnation + 1;
                let started = NodeImage {
                    up: true,
                    lost: false,
                    incarnation,
                    hard_state: *hard_state,
                    log: log.clone(),
                    durable_hard_state: *hard_state,
                    durable_log: log,
                    ..NodeImage::default()
                };
                let previous = std::mem::replace(node, started);
                self.previous = previous;
            }
            Fact::Stopped { node, for_good } => {
                let node = self.node_mut(*node);
                node.up = false;
                node.lost |= *for_good;
                node.role = None;
            }
            Fact::Staged { node, persist } => {
                let node = self.node_mut(*node);
                node.log.take(persist);
                node.hard_state = persist.hard_state.unwrap_or(node.hard_state);
                let then = vec![];
                node.waiting.push_back(Persist { then, ..(*persist).clone() });
            }
            Fact::Durable { node, persist } => {
                let node = self.node_mut(*node);
                node.waiting.pop_front();
                node.durable_log.take(persist);
                node.durable_hard_state = persist.hard_state.unwrap_or(node.durable_hard_state);
            }
            Fact::Drained { node, status, .. } => {
                let image = self.nodes.entry(*node).or_default();
                image.role = Some(status.role);
                image.commit = status.commit;
                while self.committed.last().index < image.commit
                    && let Some(entry) = image.log.get(self.committed.last().index.next())
                {
                    self.committed.entries.push(entry);
                    self.committed_in.push(status.term);
                }
                self.newly_committed.1 = self.committed.last().index;
            }
            Fact::Applied { node, entry, .. } => {
                self.node_mut(*node).applied = entry.index;
                if entry.index.0 == self.oracle.executions().len() as u64 + 1 {
                    self.oracle.execute(entry.index.0, entry.term.0, &entry.payload);
                    self.newly_executed = Some(entry.index.0);
                }
            }
            Fact::Asked { .. }
            | Fact::Sent { .. }
            | Fact::Released { .. }
            | Fact::Refused { .. }
            | Fact::Invoked { .. }
            | Fact::Posted { .. }
            | Fact::Completed { .. } => {}
        }
    }
}
