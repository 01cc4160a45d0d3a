//! Who watches a run: the invariants, the counters, the trace and, for people, the story.

use std::collections::BTreeMap;

use quorate_core::raft::{
    AppendOutcome, Message, Note, Persist, Refusal, RoleKind, StepDownReason,
};
use quorate_core::types::{Index, MemberRole, Membership, NodeId, Term};
use quorate_core::wire::client::{ErrorCode, OpResult, Success};

use crate::coverage::{Coverage, Sometimes};
use crate::facts::Fact;
use crate::invariants::{Invariants, Violation};
use crate::known::Known;
use crate::story::Story;

/// What a run was made of, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events of the simulation.
    pub events: u64,
    /// Facts that the invariants looked at.
    pub facts: u64,
    /// Messages that left a node.
    pub messages: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, doubled.
    pub doubled: u64,
    /// Messages that arrived again after long.
    pub replayed: u64,
    /// Clients' calls that ended as done.
    pub done: u64,
    /// Clients' calls that ended otherwise.
    pub not_done: u64,
    /// Entries committed.
    pub committed: u64,
    /// Starts of nodes.
    pub starts: u64,
    /// Faults of the plan, by kind and by the role of the node they struck.
    pub faults: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    /// Adds another run's.
    pub fn add(&mut self, other: &Tally) {
        self.events += other.events;
        self.facts += other.facts;
        self.messages += other.messages;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.replayed += other.replayed;
        self.done += other.done;
        self.not_done += other.not_done;
        self.committed += other.committed;
        self.starts += other.starts;
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }

    /// The plan's faults that struck.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// The watch over one run.
pub struct Watch {
    invariants: Invariants,
    /// What happened at least once.
    pub coverage: Coverage,
    /// The run in numbers.
    pub tally: Tally,
    /// A hash of everything that happened, in order.
    pub trace: u64,
    /// The first claim that did not hold.
    pub violation: Option<Violation>,
    /// What people read; kept only where asked for.
    pub story: Option<Story>,
    leaders: BTreeMap<NodeId, Term>,
    campaigned: BTreeMap<NodeId, u64>,
}

impl Watch {
    /// A watch; `story` where a person wants to read it.
    #[must_use]
    pub fn new(story: bool) -> Self {
        Self {
            invariants: Invariants::new(),
            coverage: Coverage::default(),
            tally: Tally::default(),
            trace: 0,
            violation: None,
            story: story.then(Story::default),
            leaders: BTreeMap::new(),
            campaigned: BTreeMap::new(),
        }
    }

    /// What the invariants know.
    #[must_use]
    pub fn known(&self) -> &crate::known::Known {
        self.invariants.known()
    }

    /// It happened.
    pub fn sometimes(&mut self, what: Sometimes) {
        self.coverage.hit(what);
    }

    /// A claim does not hold. The first one counts.
    pub fn violated(&mut self, invariant: &str, what: impl Into<String>) {
        if self.violation.is_none() {
            let violation = Violation { invariant: invariant.to_owned(), what: what.into() };
            self.violation = Some(violation);
        }
    }

    /// Mixes a number into the trace.
    pub fn mix(&mut self, number: u64) {
        let mixed = (self.trace ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.trace = mixed ^ (mixed >> 29);
    }

    /// A fact, at a true time.
    pub fn tell(&mut self, now: u64, fact: &Fact<'_>) {
        if self.violation.is_some() {
            return;
        }
        self.tally.facts += 1;
        self.mix(now);
        self.mix(mark(fact));
        if let Some(story) = &mut self.story {
            story.fact(now, fact);
        }
        if let Fact::Staged { node, persist } = fact {
            self.cover_truncation(*node, persist);
        }
        match self.invariants.observe(fact) {
            Ok(()) => self.cover(fact),
            Err(violation) => self.violation = Some(violation),
        }
    }

    /// The run is over, and these nodes are well again.
    pub fn end(&mut self, whole: &[NodeId]) {
        if self.violation.is_none() {
            self.violation = self.invariants.end(whole).err();
        }
    }

    fn cover(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::Sent { message, .. } => self.cover_message(message),
            Fact::Refused { why: Refusal::Overloaded, .. } => {
                self.sometimes(Sometimes::Overloaded);
            }
            Fact::Drained { node, status, .. } => {
                if status.role == RoleKind::Leader {
                    self.leaders.insert(*node, status.term);
                    if self.leaders.values().any(|term| *term != status.term) {
                        self.sometimes(Sometimes::TwoLeadersAlive);
                    }
                } else {
                    self.leaders.remove(node);
                }
                self.cover_members();
            }
            Fact::Stopped { node, .. } => {
                self.leaders.remove(node);
                self.campaigned.remove(node);
            }
            Fact::Done { .. } => self.sometimes(Sometimes::LeadershipTransferred),
            Fact::Applied { result, .. } => self.cover_execution(*result),
            Fact::Replaced { .. } => self.sometimes(Sometimes::NodeReplaced),
            Fact::Refused { why: Refusal::Change(_), .. } => {
                self.sometimes(Sometimes::ChangeRefused);
            }
            Fact::Started { .. }
            | Fact::Asked { .. }
            | Fact::Ordered { .. }
            | Fact::Members { .. }
            | Fact::Captured { .. }
            | Fact::Trimmed { .. }
            | Fact::Installed { .. }
            | Fact::Staged { .. }
            | Fact::Durable { .. }
            | Fact::Released { .. }
            | Fact::Refused { .. }
            | Fact::Invoked { .. }
            | Fact::Posted { .. }
            | Fact::Completed { .. } => {}
        }
    }

    /// Memberships that were committed with the newest fact.
    fn cover_members(&mut self) {
        let Known { committed, newly_committed: (from, to), .. } = self.invariants.known();
        if from == to {
            return;
        }
        let term = |at: &Index| committed.get(*at).map(|entry| entry.term);
        let mut hits = Vec::new();
        for (at, new) in committed.memberships().range(from.next()..=*to) {
            let Some((before, old)) = committed.memberships().range(..at).next_back() else {
                continue;
            };
            let role = |of: &Membership, id| of.member(id).map(|member| member.role);
            let became =
                |from, to| new.ids().any(|id| (role(old, id), role(new, id)) == (from, to));
            let voter = Some(MemberRole::Voter);
            hits.extend([
                (new.is_joint(), Sometimes::JointCommitted),
                (old.is_joint() && term(at) > term(before), Sometimes::ChangeCompletedByAnother),
                (became(Some(MemberRole::Learner), voter), Sometimes::LearnerPromoted),
                (became(voter, Some(MemberRole::Standby)), Sometimes::VoterDemoted),
            ]);
        }
        for (_, what) in hits.into_iter().filter(|(hit, _)| *hit) {
            self.sometimes(what);
        }
    }

    /// What sessions did for a retried write, and when they ended.
    fn cover_execution(&mut self, result: Option<&OpResult>) {
        let oracle = &self.invariants.known().oracle;
        let newest = self.invariants.known().newly_executed.and_then(|at| oracle.at(at));
        let Some(newest) = newest else { return };
        let code = match result {
            Some(Err(failure)) => Some(failure.code),
            Some(Ok(_)) | None => None,
        };
        let repeated = newest.op.is_some() && !newest.fresh && code.is_none();
        let first = newest.result.as_ref().and_then(first_index).and_then(|at| oracle.at(at));
        let later = repeated && first.is_some_and(|first| first.term < newest.term);
        let opens = newest.op.is_none() && code == Some(ErrorCode::Overloaded);
        let hits = [
            (repeated, Sometimes::RetryAnswered),
            (later, Sometimes::RetryAnsweredInALaterTerm),
            (code == Some(ErrorCode::SessionExpired), Sometimes::SessionExpired),
            (opens, Sometimes::SessionsFull),
        ];
        for (_, what) in hits.into_iter().filter(|(hit, _)| *hit) {
            self.sometimes(what);
        }
    }

    fn cover_message(&mut self, message: &Message) {
        match message {
            Message::PreVoteReply { granted: false, .. } => {
                self.sometimes(Sometimes::PreVoteRefused);
            }
            Message::RequestVoteReply { granted: false, .. } => {
                self.sometimes(Sometimes::VoteRefused);
            }
            Message::AppendEntriesReply { outcome: AppendOutcome::Rejected(_), .. } => {
                self.sometimes(Sometimes::AppendRejected);
            }
            Message::PreVote { .. }
            | Message::PreVoteReply { .. }
            | Message::RequestVote { .. }
            | Message::RequestVoteReply { .. }
            | Message::AppendEntries { .. }
            | Message::AppendEntriesReply { .. }
            | Message::Heartbeat { .. }
            | Message::HeartbeatReply { .. }
            | Message::TimeoutNow { .. }
            | Message::ReadIndex { .. }
            | Message::ReadIndexReply { .. }
            | Message::WantSnapshot { .. } => {}
        }
    }

    fn cover_truncation(&mut self, node: NodeId, persist: &Persist) {
        let Some(from) = persist.truncate_from else { return };
        let Some(image) = self.invariants.known().nodes.get(&node) else { return };
        let first = image.log.get(from).map(|entry| entry.term);
        let overwritten = image.log.membership_index() >= from;
        let several = first.is_some_and(|term| term < image.log.last().term);
        let durable = image.durable_log.last().index >= from;
        if overwritten {
            self.sometimes(Sometimes::MembershipOverwritten);
        }
        if several {
            self.sometimes(Sometimes::SeveralTermsTruncated);
        }
        if durable {
            self.sometimes(Sometimes::DurableTailTruncated);
        }
    }

    /// A node has something to say.
    pub fn note(&mut self, now: u64, node: NodeId, note: &Note) {
        if let Some(story) = &mut self.story {
            story.note(now, node, note);
        }
        match note {
            Note::Leads { from, .. } => {
                self.campaigned.remove(&node);
                self.sometimes(Sometimes::LeaderElected);
                if from.0 > 3 {
                    self.sometimes(Sometimes::LeaderChanged);
                }
            }
            Note::Campaigns { .. } => {
                let times = self.campaigned.entry(node).or_default();
                *times += 1;
                if *times > 1 {
                    self.sometimes(Sometimes::ElectionRepeated);
                }
            }
            Note::SteppedDown { why, unknown, .. } => {
                self.sometimes(match why {
                    StepDownReason::NoQuorum => Sometimes::NoQuorumStepDown,
                    StepDownReason::DiskStalled => Sometimes::DiskStalledStepDown,
                    StepDownReason::Asked => Sometimes::AskedStepDown,
                    StepDownReason::HigherTerm => Sometimes::HigherTermStepDown,
                    StepDownReason::Removed => Sometimes::LeaderRemovedItself,
                });
                if *unknown > 0 {
                    self.sometimes(Sometimes::WritesEndedUnknown);
                }
            }
            Note::Follows { .. } => {
                self.campaigned.remove(&node);
            }
            Note::Truncated { .. } => self.sometimes(Sometimes::ConflictTruncated),
            Note::AsksPreVotes { .. }
            | Note::Voted { .. }
            | Note::Dropped { .. }
            | Note::NeedsSnapshot { .. }
            | Note::Members { .. }
            | Note::Transfers { .. } => {}
            Note::TransferFailed { .. } => self.sometimes(Sometimes::TransferFailed),
            Note::SnapshotSent { .. } => self.sometimes(Sometimes::SnapshotSent),
            Note::Installed { reset: true, .. } => self.sometimes(Sometimes::InstallReplacedTheLog),
            Note::Installed { reset: false, .. } => self.sometimes(Sometimes::InstallKeptTheLog),
        }
    }
}

/// The index of the first execution, as a write's answer names it.
fn first_index(result: &OpResult) -> Option<u64> {
    match result {
        Ok(
            Success::Put { index, .. }
            | Success::Append { index, .. }
            | Success::Delete { index, .. }
            | Success::CompareAndSwap { index, .. }
            | Success::Increment { index, .. },
        ) => Some(*index),
        Ok(_) | Err(_) => None,
    }
}

/// A fact as a number, for the trace.
fn mark(fact: &Fact<'_>) -> u64 {
    let join = |kind: u64, a: u64, b: u64| (kind << 56) ^ (a << 40) ^ b;
    match fact {
        Fact::Started { node, hard_state, base, log, .. } => {
            join(1, node.0, hard_state.term.0 << 20 ^ base.index.0 << 30 ^ log.len() as u64)
        }
        Fact::Stopped { node, .. } => join(2, node.0, 0),
        Fact::Asked { node, ticket, .. } => join(3, node.0, ticket.0),
        Fact::Staged { node, persist } => join(4, node.0, persist.seq),
        Fact::Drained { node, status, now } => {
            let state = (status.commit.0 << 32) ^ (status.last_index.0 << 8) ^ status.role as u64;
            join(5, node.0, state ^ (now.0 << 16) ^ (status.term.0 << 50))
        }
        Fact::Durable { node, persist } => join(6, node.0, persist.seq),
        Fact::Sent { from, to, message } => {
            let kind =
                crate::story::kind(message).bytes().fold(0, |sum, byte| sum + u64::from(byte));
            join(7, from.0 * 256 + to.0, (message.term().0 << 12) ^ kind)
        }
        Fact::Applied { node, entry, hash, result, .. } => {
            join(8, node.0, entry.index.0 ^ hash.rotate_left(8) ^ outcome_mark(*result))
        }
        Fact::Released { node, ticket, index } => join(9, node.0, ticket.0 ^ (index.0 << 16)),
        Fact::Refused { node, ticket, .. } => join(10, node.0, ticket.0),
        Fact::Invoked { client, call, .. } => join(11, *client, *call),
        Fact::Posted { client, call, session, id, .. } => {
            join(12, *client, call ^ (session << 24) ^ (id << 32))
        }
        Fact::Completed { client, call, .. } => join(13, *client, *call),
        Fact::Replaced { node } => join(20, node.0, 0),
        Fact::Ordered { node, ticket, .. } => join(18, node.0, ticket.0),
        Fact::Done { node, ticket } => join(19, node.0, ticket.0),
        Fact::Members { node, membership } => join(14, node.0, membership.members.len() as u64),
        Fact::Captured { node, position } => join(15, node.0, position.index.0),
        Fact::Trimmed { node, to } => join(16, node.0, to.0),
        Fact::Installed { node, position, hash } => join(17, node.0, position.index.0 ^ hash >> 9),
    }
}

fn outcome_mark(result: Option<&OpResult>) -> u64 {
    result.map_or(0, |result| 1 + u64::from(result.is_ok()))
}
