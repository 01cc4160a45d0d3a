//! What comes in: the check of terms that every message passes, and a follower's answers to
//! its leader (Raft §5.3).

use super::effects::Note;
use super::message::{AppendOutcome, Message};
use super::node::{Node, Role};
use crate::types::{Entry, Index, Moment, NodeId, Position, Term};

impl Node {
    pub(super) fn received(&mut self, now: Moment, from: NodeId, message: Message) {
        if self.disturbs(from, &message) {
            self.note(Note::Dropped { from, what: "the sender was removed" });
            return;
        }
        if from == self.config.id || from == NodeId(0) {
            self.note(Note::Dropped { from, what: "the sender is not another node" });
            return;
        }
        if !message.is_plausible() {
            self.note(Note::Dropped { from, what: "a number that no cluster reaches" });
            return;
        }
        if !self.passes_terms(now, from, &message) {
            return;
        }
        match message {
            Message::PreVote { term, last } => self.pre_vote_asked(now, from, term, last),
            Message::PreVoteReply { granted, .. }
                if mutant!(PreVoteCountsAsVote) && matches!(self.role, Role::Candidate(_)) =>
            {
                self.vote_answered(now, from, granted);
            }
            Message::PreVoteReply { term, granted } => {
                self.pre_vote_answered(now, from, term, granted);
            }
            Message::RequestVote { term, last, transfer } => {
                self.vote_asked(now, from, term, last, transfer);
            }
            Message::RequestVoteReply { granted, .. } => self.vote_answered(now, from, granted),
            Message::AppendEntries { term, prev, commit, entries } => {
                self.hear_leader(now, from, term);
                self.append_entries(from, prev, commit, entries);
            }
            Message::AppendEntriesReply { prev, outcome, .. } => {
                self.append_answered(now, from, prev, outcome);
            }
            Message::Heartbeat { term, commit, round, all_hold } => {
                self.hear_leader(now, from, term);
                self.set_commit(commit.min(self.log.last().index));
                self.compaction.all_hold = all_hold;
                let last = self.log.last().index;
                self.send(from, Message::HeartbeatReply { term, round, last });
                if self.lacks_state() && self.compaction.installing.is_none() {
                    self.send(from, Message::WantSnapshot { term });
                }
            }
            Message::HeartbeatReply { round, last, .. } => {
                self.heartbeat_answered(now, from, round, last);
            }
            Message::TimeoutNow { .. } => self.timeout_now(now, from),
            Message::ReadIndex { id, .. } => self.read_index_asked(from, id),
            Message::ReadIndexReply { id, index, .. } => self.read_index_answered(id, index),
            Message::WantSnapshot { .. } => self.snapshot_wanted(from),
        }
    }

    /// Whether who was removed campaigns, which could only disturb (B10.8). Not only members are
    /// heard: this node's membership may be an old one, and who is no member counts in no
    /// quorum. So a sender that was removed may be a member again, and even lead; a log longer
    /// than this node's may say so.
    fn disturbs(&self, from: NodeId, message: &Message) -> bool {
        let (Message::PreVote { last, .. } | Message::RequestVote { last, .. }) = message else {
            return false;
        };
        let settled = self.log.membership_index() <= self.commit;
        settled
            && self.membership.removed.contains(&from)
            && *last <= self.log.last()
            && !mutant!(RemovedNodesAreHeard)
    }

    /// Raft §5.1: a higher term makes a follower; a lower one is answered with ours, so that
    /// its sender learns it, or ignored where it is an answer. Says whether to go on.
    fn passes_terms(&mut self, now: Moment, from: NodeId, message: &Message) -> bool {
        let (theirs, ours) = (message.term(), self.term());
        match message {
            // These look at the terms themselves: they may have to change nothing.
            Message::PreVote { .. } | Message::RequestVote { .. } => true,
            Message::PreVoteReply { granted: true, .. } => true,
            Message::PreVoteReply { granted: false, .. }
            | Message::RequestVoteReply { .. }
            | Message::AppendEntriesReply { .. }
            | Message::HeartbeatReply { .. }
            | Message::WantSnapshot { .. }
            | Message::ReadIndexReply { .. }
            | Message::ReadIndex { .. }
            | Message::TimeoutNow { .. } => {
                if theirs > ours && !mutant!(HigherTermInRepliesIsIgnored) {
                    self.follow(now, theirs, None);
                }
                // A refused pre-vote of an older term still counts as an answer.
                theirs == ours
                    || matches!(message, Message::PreVoteReply { .. })
                    || mutant!(CountsVotesOfOlderTerms)
                        && matches!(message, Message::RequestVoteReply { .. })
                    || mutant!(AcksOfOlderTermsCount)
                        && matches!(message, Message::AppendEntriesReply { .. })
                    || mutant!(RoundsOfOlderTermsConfirm)
                        && matches!(message, Message::HeartbeatReply { .. })
            }
            Message::AppendEntries { .. } if theirs < ours => {
                // Of no place: what it says is the term, and nothing of this log.
                let outcome = AppendOutcome::Rejected(Position::default());
                let reply = Message::AppendEntriesReply { term: ours, prev: Index(0), outcome };
                self.send_when_durable(from, reply);
                false
            }
            Message::Heartbeat { round, .. } if theirs < ours => {
                // No round: it was one of another term. If its sender leads this one, too, the
                // number may be of a round that has not begun, and would confirm reads (B6.4).
                let (mut term, mut answered) = (ours, 0);
                if mutant!(AnswersOldRounds) {
                    answered = *round;
                }
                if mutant!(DeposedLeaderIsConfirmed) {
                    (term, answered) = (theirs, *round);
                }
                let (last, round) = (self.log.last().index, answered);
                self.send(from, Message::HeartbeatReply { term, round, last });
                false
            }
            Message::AppendEntries { .. } | Message::Heartbeat { .. } => true,
        }
    }

    /// A message of the term's leader.
    fn hear_leader(&mut self, now: Moment, from: NodeId, term: Term) {
        let second = matches!(self.role, Role::Leader(_)) && term == self.term();
        assert!(!second, "two leaders in term {term}: this node and node {from}");
        assert!(
            term > self.term() || self.leader.is_none_or(|leader| leader == from),
            "two leaders in term {term}: {:?} and node {from}",
            self.leader
        );
        let follows = matches!(self.role, Role::Follower) && self.leader == Some(from);
        if term > self.term() || !follows {
            self.follow(now, term, Some(from));
        }
        self.leader_contact = Some(now);
        self.reset_election_deadline(now);
    }

    fn append_entries(&mut self, from: NodeId, prev: Position, commit: Index, entries: Vec<Entry>) {
        if !well_formed(prev, self.term(), &entries) {
            self.note(Note::Dropped { from, what: "entries with a gap or a falling term" });
            return;
        }
        let matched = Index(prev.index.0 + entries.len() as u64);
        let outcome = if self.matches(prev) {
            self.store(entries);
            // Not its last index: what lies behind may conflict (B5.3).
            if mutant!(FollowerCommitIsUnclamped) {
                self.set_commit(commit.min(self.log.last().index));
            }
            self.set_commit(commit.min(matched));
            let last = self.log.last().index;
            AppendOutcome::Accepted(if mutant!(AcksItsLastIndex) { last } else { matched })
        } else {
            AppendOutcome::Rejected(
                self.log
                    .last_at_or_below(Position { index: prev.index.previous(), term: prev.term }),
            )
        };
        let reply = Message::AppendEntriesReply { term: self.term(), prev: prev.index, outcome };
        if mutant!(AcksBeforeItsSync) {
            return self.send(from, reply);
        }
        self.send_when_durable(from, reply);
    }

    /// Whether the log holds `prev`; the compacted prefix is committed and so matches (B4.1).
    fn matches(&self, prev: Position) -> bool {
        prev.index <= self.log.base().index
            || self.log.term_at(prev.index) == Some(prev.term)
            || mutant!(MatchesByIndexOnly) && prev.index <= self.log.last().index
    }

    /// Adds what is new. Entries that are there already stay, and so does what lies behind
    /// them, unless one truly conflicts (B4.2, B4.3).
    fn store(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if entry.index <= self.log.base().index {
                continue;
            }
            match self.log.term_at(entry.index) {
                Some(term) if term == entry.term && !mutant!(TruncatesAlways) => continue,
                Some(_) if mutant!(TruncatesAlways) && entry.index <= self.commit => continue,
                Some(_) if mutant!(KeepsConflictingEntries) => continue,
                Some(_) => self.truncate(entry.index),
                None => {}
            }
            let reconfigures = matches!(entry.payload, crate::types::Payload::Membership(_));
            self.log.append(entry);
            if reconfigures {
                self.adopt_membership();
            }
        }
    }
}

/// Entries follow `prev` without a gap, and their terms do not fall or exceed the leader's.
fn well_formed(prev: Position, term: Term, entries: &[Entry]) -> bool {
    let mut last = prev;
    entries.iter().all(|entry| {
        let follows = entry.index == last.index.next() && entry.term >= last.term;
        last = entry.position();
        follows && entry.term <= term
    })
}
