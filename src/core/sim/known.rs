//! What is known of a run from its facts: each node's log in memory and on disk, what was ever
//! committed, what was executed. The invariants read it and never write it.

use std::collections::{BTreeMap, VecDeque};

use quorate_core::raft::{Persist, RoleKind};
use quorate_core::types::{
    Entry, HardState, Index, Member, Membership, NodeId, Payload, Position, Term,
};
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
            Payload::Membership(membership) => xxh3_64(format!("{membership:?}").as_bytes()),
        };
        Self { term: entry.term, hash }
    }
}

/// A log as digests; place 0 is index 1. What a node has let go of is committed, so it is taken from
/// what is known to be committed: a log never looks shorter for having been trimmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogImage {
    entries: Vec<Digest>,
    /// The memberships in it.
    memberships: BTreeMap<Index, Membership>,
}

impl LogImage {
    /// The beginning of this log up to and including `base`. Where this log is shorter, or has another
    /// entry there, the last one is of `base`'s term and equal to no other.
    #[must_use]
    pub fn prefix(&self, base: Position) -> Self {
        let mut prefix = self.clone();
        let length = usize::try_from(base.index.0).unwrap_or(usize::MAX);
        prefix.truncate_from(base.index.next());
        if base.index.0 > 0 && prefix.last() != base {
            prefix.entries.resize(length, Digest { term: base.term, hash: 0 });
            if let Some(last) = prefix.entries.last_mut() {
                *last = Digest { term: base.term, hash: 0 };
            }
        }
        prefix
    }

    /// This log, and entries behind it.
    #[must_use]
    pub fn with(mut self, entries: &[Entry]) -> Self {
        for entry in entries {
            self.push(entry);
        }
        self
    }

    /// The memberships in it.
    #[must_use]
    pub fn memberships(&self) -> &BTreeMap<Index, Membership> {
        &self.memberships
    }

    /// The newest membership in it.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.memberships.last_key_value().map(|(_, membership)| membership)
    }

    /// Where the newest membership is.
    #[must_use]
    pub fn membership_index(&self) -> Index {
        self.memberships.last_key_value().map_or(Index(0), |(index, _)| *index)
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
        self.memberships.split_off(&from);
    }

    /// Adds an entry behind the last; whether it fits there.
    pub fn push(&mut self, entry: &Entry) -> bool {
        let fits = entry.index == self.last().index.next();
        self.entries.push(Digest::of(entry));
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.insert(entry.index, membership.clone());
        }
        fits
    }

    /// Takes in what a `Persist` says of the log.
    pub fn take(&mut self, persist: &Persist, committed: &LogImage) {
        if let Some(base) = persist.reset {
            *self = committed.prefix(base);
        }
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
    /// The newest term in which it said that it leads, in this incarnation or before.
    pub led_in: Option<Term>,
    /// The term it last told of. What a drain hands out was decided in this term, even where the
    /// same drain then went on to a later one.
    pub term: Term,
    /// The commit index it last told of, in this incarnation.
    pub commit: Index,
    /// The last index its state machine applied, or its checkpoint held.
    pub applied: Index,
    /// The newest checkpoint on its disk holds everything up to here.
    pub checkpoint: Position,
    /// Everything up to here may be gone from its disk's log.
    pub let_go: Index,
    /// Counts its disks: a node that was replaced is another one.
    pub disk: u64,
    /// What was on its earlier disks when they were lost or replaced. What they had acknowledged
    /// was promised, and their leaders may go by it.
    pub earlier_logs: Vec<LogImage>,
    /// Members added by entries up to here are not it, but bore its name before its disk came.
    pub not_before: Index,
    /// The memberships that it went by while it led in `led_in`.
    pub led_with: Vec<Membership>,
    /// The membership that it goes by, and the one that it went by when it last told of itself:
    /// whatever it decides within a drain, it decides by one of them.
    pub memberships: [Membership; 2],
}

impl NodeImage {
    /// Whether these are a quorum by the members that the node goes by, or went by just before.
    #[must_use]
    pub fn is_quorum(&self, of: impl Fn(NodeId) -> bool) -> bool {
        self.memberships.iter().any(|membership| is_quorum(membership, &of))
    }
}

impl NodeImage {
    /// Whether a quorum, by any of the members that it went by as a leader, is of these.
    #[must_use]
    pub fn was_quorum(&self, of: impl Fn(NodeId) -> bool) -> bool {
        self.led_with.iter().any(|membership| is_quorum(membership, &of))
    }

    /// Whether a disk of that name holds, or held, this entry at an index.
    #[must_use]
    pub fn has_promised(&self, index: Index, entry: Option<Digest>) -> bool {
        let holds = |log: &LogImage| log.get(index) == entry;
        holds(&self.durable_log) || self.earlier_logs.iter().any(holds)
    }

    /// Whether the member of its name in this membership is it, and not who bore the name before.
    #[must_use]
    pub fn is_member(&self, membership: &Membership, id: NodeId) -> bool {
        let added = |member: &Member| member.added > self.not_before || self.not_before.0 == 0;
        membership.member(id).is_some_and(added)
    }
}

/// Whether these are a majority of the voters, and of the voters before the change that is under way.
#[must_use]
pub fn is_quorum(membership: &Membership, of: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: Vec<NodeId>| {
        let all = voters.len();
        2 * voters.into_iter().filter(|voter| of(*voter)).count() > all
    };
    let outgoing = membership.outgoing.clone();
    majority(membership.voters().collect()) && (outgoing.is_empty() || majority(outgoing))
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
    /// The log that the newest `Started` found, whether or not it counts.
    pub found: LogImage,
}

impl Known {
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
            Fact::Started { .. } => self.started(fact),
            Fact::Stopped { node, for_good } => {
                let node = self.node_mut(*node);
                node.up = false;
                node.lost |= *for_good;
                node.role = None;
            }
            Fact::Staged { node, persist } => {
                let node = self.nodes.entry(*node).or_default();
                node.log.take(persist, &self.committed);
                node.hard_state = persist.hard_state.unwrap_or(node.hard_state);
                let then = vec![];
                node.waiting.push_back(Persist { then, ..(*persist).clone() });
            }
            Fact::Durable { node, persist } => {
                let node = self.nodes.entry(*node).or_default();
                node.waiting.pop_front();
                node.durable_log.take(persist, &self.committed);
                node.let_go = node.let_go.max(persist.reset.map_or(Index(0), |base| base.index));
                node.durable_hard_state = persist.hard_state.unwrap_or(node.durable_hard_state);
            }
            Fact::Drained { node, status, .. } => {
                let image = self.nodes.entry(*node).or_default();
                image.role = Some(status.role);
                if status.role == RoleKind::Leader {
                    if image.led_in != Some(status.term) {
                        image.led_with = image.memberships[..1].to_vec();
                    }
                    image.led_in = Some(status.term);
                }
                image.term = status.term;
                image.commit = status.commit;
                while self.committed.last().index < image.commit
                    && let Some(entry) = image.log.get(self.committed.last().index.next())
                {
                    let index = self.committed.last().index.next();
                    self.committed.entries.push(entry);
                    if let Some(membership) = image.log.memberships.get(&index) {
                        self.committed.memberships.insert(index, membership.clone());
                    }
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
            Fact::Members { node, membership } => {
                let image = self.node_mut(*node);
                if image.role == Some(RoleKind::Leader) {
                    image.led_with.push((*membership).clone());
                }
                let [current, before] = &mut image.memberships;
                *before = std::mem::replace(current, (*membership).clone());
            }
            Fact::Replaced { node } => self.replaced(*node),
            Fact::Captured { node, position } => self.node_mut(*node).checkpoint = *position,
            Fact::Trimmed { node, to } => {
                let node = self.node_mut(*node);
                node.let_go = node.let_go.max(*to);
            }
            Fact::Installed { node, position, .. } => {
                self.node_mut(*node).applied = position.index;
            }
            Fact::Asked { .. }
            | Fact::Ordered { .. }
            | Fact::Done { .. }
            | Fact::Sent { .. }
            | Fact::Released { .. }
            | Fact::Refused { .. }
            | Fact::Invoked { .. }
            | Fact::Posted { .. }
            | Fact::Completed { .. } => {}
        }
    }

    /// The node that bears this name from now on has an empty disk.
    fn replaced(&mut self, node: NodeId) {
        let not_before = self.committed.last().index;
        let image = self.node_mut(node);
        let mut earlier_logs = std::mem::take(&mut image.earlier_logs);
        earlier_logs.push(std::mem::take(&mut image.durable_log));
        let (led_in, led_with) = (image.led_in, std::mem::take(&mut image.led_with));
        let disk = image.disk + 1;
        *image =
            NodeImage { disk, earlier_logs, not_before, led_in, led_with, ..NodeImage::default() };
    }

    fn started(&mut self, fact: &Fact<'_>) {
        let Fact::Started { node, raised, base, log, state, reset, .. } = fact else { return };
        self.found = self.committed.prefix(*base).with(log);
        let hard_state = *raised;
        let kept = match reset {
            Some(base) => self.committed.prefix(*base),
            None => self.found.clone(),
        };
        let node = self.nodes.entry(*node).or_default();
        let membership = kept.membership().cloned().unwrap_or_default();
        let started = NodeImage {
            up: true,
            lost: false,
            incarnation: node.incarnation + 1,
            hard_state,
            durable_hard_state: hard_state,
            log: kept.clone(),
            durable_log: kept,
            applied: state.index,
            led_in: node.led_in,
            led_with: std::mem::take(&mut node.led_with),
            disk: node.disk,
            earlier_logs: std::mem::take(&mut node.earlier_logs),
            not_before: node.not_before,
            checkpoint: *state,
            let_go: node.let_go.max(base.index).max(reset.map_or(Index(0), |base| base.index)),
            memberships: [membership.clone(), membership],
            ..NodeImage::default()
        };
        self.previous = std::mem::replace(node, started);
    }
}
