//! Leading: appending, replicating, committing (Raft §5.3, §5.4.2), and knowing when to stop
//! (dissertation §6.2).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::effects::{Note, Refusal, StepDownReason};
use super::message::{AppendOutcome, Message};
use super::node::{Node, Role};
use super::progress::{Progress, ProgressState};
use super::reads::Reads;
use super::status::Follower;
use super::transfer::Transfer;
use crate::types::{Entry, Index, Moment, NodeId, Payload, Ticket};

/// A leader's own state, made anew in each term.
#[derive(Debug)]
#[cfg_attr(feature = "search", derive(Clone))]
pub(super) struct Leader {
    pub(super) progress: BTreeMap<NodeId, Progress>,
    /// The index of this term's no-op; until it is committed, no read is served (rule 6).
    pub(super) term_start: Index,
    /// Who waits for which entry of this term, in order.
    pub(super) waiting: VecDeque<(Index, Ticket)>,
    /// Bytes of entries of this term that are not committed.
    pub(super) uncommitted_bytes: usize,
    pub(super) reads: Reads,
    /// The number of the newest round of heartbeats.
    pub(super) round: u64,
    heartbeat_due: Moment,
    /// Where the log ended at the last two heartbeats, the older one first.
    pub(super) ends: [Index; 2],
    /// Not judged before this moment: the node itself was absent.
    grace: Moment,
    /// Leadership is being handed over.
    pub(super) transfer: Option<Transfer>,
    /// Who waits for the change of members that is under way, while it is joint.
    pub(super) change: Option<Ticket>,
    /// When the newest rounds were sent, oldest first.
    sent: VecDeque<(u64, Moment)>,
    /// Rounds before this moment give no lease: the node was absent, or handed leadership over.
    pub(super) lease_from: Moment,
}

/// Of so many rounds at most a leader knows when it sent them, and of none that is older than a
/// lease lasts; an answer to an older one gives no lease.
const ROUNDS_KNOWN: usize = 1 << 14;

impl Leader {
    pub(super) fn followers(&self) -> Vec<Follower> {
        self.progress
            .iter()
            .map(|(id, progress)| Follower {
                id: *id,
                match_index: progress.match_index,
                next_index: progress.next_index,
                state: progress.state,
                connected: progress.connected,
                last_contact: progress.last_contact,
            })
            .collect()
    }
}

impl Node {
    pub(super) fn become_leader(&mut self, now: Moment) {
        let last = self.log.last().index;
        let others = self.others();
        let progress = others.iter().map(|id| {
            let connected = self.connected.get(id).copied().unwrap_or(true);
            (*id, Progress::new(last, now, connected))
        });
        self.role = Role::Leader(Box::new(Leader {
            progress: progress.collect(),
            term_start: last.next(),
            waiting: VecDeque::new(),
            uncommitted_bytes: 0,
            reads: Reads::default(),
            round: 0,
            heartbeat_due: now,
            ends: [Index(u64::MAX); 2],
            grace: now,
            transfer: None,
            change: None,
            sent: VecDeque::new(),
            lease_from: now,
        }));
        self.stop_asking();
        self.leader = Some(self.config.id);
        self.note(Note::Leads { term: self.term(), from: last.next() });
        // Entries of earlier terms commit with this one, never by counting (Raft §5.4.2).
        if !mutant!(NoNoop) {
            self.append_own(Payload::Noop);
        }
    }

    pub(super) fn append_own(&mut self, payload: Payload) -> Entry {
        let index = self.log.last().index.next();
        let entry = Entry { term: self.term(), index, payload };
        self.log.append(entry.clone());
        entry
    }

    pub(super) fn propose(&mut self, proposals: Vec<(Ticket, Bytes)>) {
        for (ticket, command) in proposals {
            let bytes = command.len() + Entry::OVERHEAD;
            let refusal = match (&self.role, self.leader) {
                (Role::Leader(leader), _) => self.not_now(leader, bytes),
                (_, Some(leader)) => Some(Refusal::NotLeader(leader)),
                (_, None) => Some(Refusal::NoLeader),
            };
            if let Some(refusal) = refusal {
                self.out.refused.push((ticket, refusal));
                continue;
            }
            let entry = self.append_own(Payload::Command(command));
            if let Role::Leader(leader) = &mut self.role {
                leader.uncommitted_bytes += entry.weight();
                leader.waiting.push_back((entry.index, ticket));
            }
        }
    }

    /// Why a leader takes no command now. A single one always goes through, however large, when
    /// nothing else waits.
    fn not_now(&self, leader: &Leader, bytes: usize) -> Option<Refusal> {
        if let Some(transfer) = &leader.transfer {
            return Some(Refusal::Transferring(transfer.to));
        }
        if !self.membership.votes(self.config.id) {
            // Its removal is appended: it leads no longer than that needs.
            return Some(self.best_successor().map_or(Refusal::NoLeader, Refusal::Transferring));
        }
        let full = leader.uncommitted_bytes > 0
            && leader.uncommitted_bytes + bytes > self.config.uncommitted_bytes;
        full.then_some(Refusal::Overloaded)
    }

    /// A leader's part of the drain: read rounds, heartbeats, appends.
    pub(super) fn lead(&mut self, now: Moment) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        if self.other_voters().is_empty() {
            self.advance_commit();
        }
        self.lead_members(now);
        self.drive_transfer(now);
        self.start_read_round(now);
        self.beat_when_due(now);
        self.confirm_reads();
        for peer in self.others() {
            self.replicate_to(now, peer);
        }
    }

    fn beat_when_due(&mut self, now: Moment) {
        let interval = self.config.heartbeat;
        let last = self.log.last().index;
        if let Role::Leader(leader) = &mut self.role
            && now >= leader.heartbeat_due
        {
            leader.heartbeat_due = now + interval;
            leader.ends = [leader.ends[1], last];
            self.beat(now);
        }
    }

    /// One round of heartbeats to everyone.
    pub(super) fn beat(&mut self, now: Moment) {
        let term = self.term();
        let commit = self.commit;
        let all_hold = self.all_hold();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.round += 1;
        let round = leader.round;
        leader.sent.push_back((round, now));
        let known = now - self.config.election_timeout;
        while leader.sent.len() > ROUNDS_KNOWN
            || leader.sent.front().is_some_and(|(_, sent)| *sent < known)
        {
            leader.sent.pop_front();
        }
        for (peer, progress) in &leader.progress {
            let known =
                if mutant!(HeartbeatCommitIsUnclamped) { commit } else { progress.match_index };
            let commit = commit.min(known);
            self.out.messages.push((*peer, Message::Heartbeat { term, commit, round, all_hold }));
        }
    }

    /// Sends what the follower's window allows.
    fn replicate_to(&mut self, now: Moment, peer: NodeId) {
        let term = self.term();
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round;
        let Some(progress) = leader.progress.get_mut(&peer) else { return };
        let config = &self.config;
        // Nobody's commit waits for it: fewer and larger appends cost the voters less.
        let hurries = self.membership.votes(peer);
        let pause = config.learner_pause;
        if !hurries && progress.may_wait(now, pause, last, config.batch_entries) {
            return;
        }
        while progress.may_send(config.inflight_batches, config.inflight_bytes) {
            let behind = progress.next_index <= last;
            // A follower that matches is left alone until there is something to say.
            if !behind
                && (progress.state == ProgressState::Replicate || progress.match_index == last)
            {
                break;
            }
            let prev_index = progress.next_index.previous();
            // A node that bore this id before may be a voter of an old membership: the log from
            // before its last coming is not replayed to it, or it would take itself for that one.
            let added = self.membership.member(peer).map_or(Index(0), |member| member.added);
            let known = self
                .log
                .term_at(prev_index)
                .filter(|_| prev_index >= added || mutant!(ReplaysFromBeforeItWasAdded));
            let Some(prev_term) = known else {
                progress.state = ProgressState::Snapshot;
                self.out.notes.push(Note::NeedsSnapshot { peer });
                break;
            };
            let prev = crate::types::Position { term: prev_term, index: prev_index };
            let (most, most_bytes) = (config.batch_entries, config.batch_bytes);
            let entries = self.log.slice(prev_index, last, most, most_bytes);
            let sent_last = entries.last().map_or(prev_index, |entry| entry.index);
            let bytes = entries.iter().map(Entry::weight).sum();
            progress.sent(sent_last, bytes, round, now);
            let commit = self.commit;
            self.out.messages.push((peer, Message::AppendEntries { term, prev, commit, entries }));
        }
    }

    fn contacted(&mut self, now: Moment, from: NodeId) -> Option<&mut Progress> {
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.progress.get_mut(&from)?;
        progress.last_contact = now;
        Some(progress)
    }

    pub(super) fn append_answered(
        &mut self,
        now: Moment,
        from: NodeId,
        prev: Index,
        outcome: AppendOutcome,
    ) {
        let (last, base) = (self.log.last().index, self.log.base().index);
        let Some(progress) = self.contacted(now, from) else { return };
        match outcome {
            AppendOutcome::Accepted(index) => {
                assert!(
                    index <= last,
                    "node {from} acknowledges {index}, beyond this log's {last}"
                );
                let sent = progress.next_index.previous();
                progress.accepted(if mutant!(MatchIsWhatWasSent) {
                    index.max(sent)
                } else {
                    index
                });
                // What follows is in the log: it needs no snapshot any more (B7.10).
                if progress.state == ProgressState::Snapshot && progress.match_index >= base {
                    progress.snapshot_installed(index);
                }
                self.advance_commit();
            }
            AppendOutcome::Rejected(hint) => {
                if mutant!(RejectionRaisesMatch) {
                    progress.match_index = progress.match_index.max(hint.index.min(last));
                }
                if !progress.is_current_rejection(prev) {
                    return;
                }
                let next = self.log.last_at_or_below(hint).index.next();
                let compacted = hint.index < self.log.base().index;
                let Some(progress) = self.contacted(now, from) else { return };
                progress.probe_from(next);
                if compacted {
                    progress.state = ProgressState::Snapshot;
                    self.note(Note::NeedsSnapshot { peer: from });
                }
            }
        }
    }

    pub(super) fn heartbeat_answered(
        &mut self,
        now: Moment,
        from: NodeId,
        round: u64,
        last: Index,
    ) {
        let overdue = now - self.config.election_timeout;
        let Role::Leader(leader) = &self.role else { return };
        let newest = leader.round;
        let place = leader.sent.binary_search_by_key(&round, |(number, _)| *number);
        let sent = place.ok().and_then(|place| leader.sent.get(place)).map(|(_, sent)| *sent);
        if let Some(progress) = self.contacted(now, from) {
            if round > newest && !mutant!(AnswersOldRounds) {
                self.note(Note::Dropped { from, what: "an answer to a round that has not begun" });
                return;
            }
            let from = if mutant!(LeaseCountsFromTheAnswer) { Some(now) } else { sent };
            progress.acked_sent = progress.acked_sent.max(from.unwrap_or_default());
            progress.answered_round(round, last, overdue);
            self.confirm_reads();
        }
    }

    /// Commits what a quorum holds durably, counting only entries of this term (rule 5).
    pub(super) fn advance_commit(&mut self) {
        let durable = self.log.durable();
        let durable =
            if mutant!(LeaderCountsItselfUnsynced) { self.log.last().index } else { durable };
        let own = self.config.id;
        let Role::Leader(leader) = &mut self.role else { return };
        let reached = self.membership.reached(|id| match leader.progress.get(&id) {
            _ if id == own => durable,
            Some(progress) => progress.match_index,
            None => Index(0),
        });
        let own_term = self.log.term_at(reached) == Some(self.hard_state.term);
        if reached <= self.commit || !(own_term || mutant!(CommitsOldTermsByCounting)) {
            return;
        }
        // Only what this leader was asked to append counts: neither the tail of earlier terms
        // nor its no-op.
        let counted = self.commit.max(leader.term_start).min(reached);
        let bytes = self.log.weight(counted, reached);
        leader.uncommitted_bytes -= if mutant!(UncommittedIsNeverReleased) { 0 } else { bytes };
        self.set_commit(reached);
    }

    /// The tickets of everything up to `index`, which is about to be applied.
    pub(super) fn take_waiting(&mut self, index: Index) -> Vec<(Index, Ticket)> {
        #[cfg(feature = "mutants")]
        if !self.kept.is_empty() {
            let later = self.kept.split_off(&index.next());
            return std::mem::replace(&mut self.kept, later).into_iter().collect();
        }
        let Role::Leader(leader) = &mut self.role else { return vec![] };
        let count = leader.waiting.partition_point(|(waits_for, _)| *waits_for <= index);
        leader.waiting.drain(..count).collect()
    }

    /// Check-quorum, and the disk's part of it (rule 7).
    pub(super) fn judge_leadership(&mut self, now: Moment, absent: bool) {
        let timeout = self.config.election_timeout;
        if self.disk_waits(now) >= timeout && !mutant!(LeadsWithAStalledDisk) {
            self.step_down(now, StepDownReason::DiskStalled);
            return;
        }
        let heard = self.contact().unwrap_or(now);
        let grace = now + self.config.heartbeat;
        let Role::Leader(leader) = &mut self.role else { return };
        if absent {
            leader.grace = grace;
            leader.lease_from = leader.lease_from.max(now);
        }
        if now.since(heard) >= timeout && now >= leader.grace && !mutant!(NoCheckQuorum) {
            self.step_down(now, StepDownReason::NoQuorum);
        }
    }

    /// A leader: when a quorum, itself included, was last heard of. Others: when the leader
    /// was.
    pub(super) fn contact(&self) -> Option<Moment> {
        let Role::Leader(leader) = &self.role else { return self.leader_contact };
        Some(self.membership.reached(|id| match leader.progress.get(&id) {
            _ if id == self.config.id => Moment(u64::MAX),
            Some(progress) => progress.last_contact,
            None => Moment(0),
        }))
    }

    /// The process is about to stop: nobody is left waiting.
    pub(super) fn step_down_as_asked(&mut self, now: Moment) {
        if matches!(self.role, Role::Leader(_)) {
            self.step_down(now, StepDownReason::Asked);
        }
        self.forget_successor();
    }

    pub(super) fn step_down(&mut self, now: Moment, why: StepDownReason) {
        self.resign(why);
        self.reset_election_deadline(now);
        self.leader_contact = None;
        self.follow(now, self.term(), None);
    }

    /// Answers everyone who waits on this leadership: writes may yet be committed by the next
    /// leader, reads were not executed.
    pub(super) fn resign(&mut self, why: StepDownReason) {
        let Role::Leader(leader) = std::mem::replace(&mut self.role, Role::Follower) else {
            return;
        };
        let leader = *leader;
        #[cfg(feature = "mutants")]
        if mutant!(WaiterIsKnownByIndexOnly) {
            self.kept.extend(leader.waiting.clone());
        }
        let unknown = leader.waiting.len();
        self.note(Note::SteppedDown { term: self.term(), why, unknown });
        let says = if mutant!(LostWritesAreRefused) { Refusal::NoLeader } else { Refusal::Unknown };
        let writes = leader.waiting.into_iter().map(|(_, ticket)| (ticket, says));
        let writes = writes.filter(|_| !mutant!(WaitersAreForgotten));
        self.out.refused.extend(writes.filter(|_| !mutant!(WaiterIsKnownByIndexOnly)));
        let reads = leader.reads.into_tickets().into_iter();
        self.out.refused.extend(reads.map(|ticket| (ticket, Refusal::NoLeader)));
        self.out.refused.extend(leader.change.map(|ticket| (ticket, Refusal::Unknown)));
        if let Some(transfer) = leader.transfer {
            self.await_successor(transfer, why);
        }
    }

    pub(super) fn peer_connected(&mut self, peer: NodeId) {
        self.connected.insert(peer, true);
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.connected = !mutant!(ReturningPeerIsNotServed);
            if progress.state != ProgressState::Snapshot {
                progress.probe_from(progress.next_index);
            }
        }
        self.ask_for_vote(peer);
    }

    pub(super) fn peer_disconnected(&mut self, peer: NodeId) {
        self.connected.insert(peer, false);
        let base = self.log.base().index;
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.connected = false;
            let next = progress.match_index.next();
            match progress.state {
                // Nothing may be known to match yet: that is no reason for a snapshot.
                ProgressState::Probe if next <= base => progress.probe_from(progress.next_index),
                // What was in flight may be lost.
                ProgressState::Probe | ProgressState::Replicate => progress.probe_from(next),
                ProgressState::Snapshot => {}
            }
        }
    }
}
