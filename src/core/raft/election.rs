//! Elections: pre-votes, votes, and who may ask for them (Raft §5.2, §5.4.1; dissertation
//! §9.6 for pre-vote, §6.2 and §4.2.3 for why a live leader is not voted away).

use std::time::Duration;

use super::effects::{Note, StepDownReason};
use super::message::Message;
use super::node::{Node, Role, Votes};
use crate::types::{HardState, Index, Membership, Moment, NodeId, Position, Term};

impl Node {
    /// The election timeout has passed: would a campaign succeed? Term and vote stay as they
    /// are (B2.1).
    pub(super) fn ask_pre_votes(&mut self, now: Moment) {
        self.reset_election_deadline(now);
        if !self.may_campaign(now) {
            if self.leader.is_some() && !self.hears_a_leader(now) {
                self.follow(now, self.term(), None);
            }
            return;
        }
        self.leader = None;
        self.stop_asking();
        self.campaign_asked = false;
        let term = self.term().next();
        self.note(Note::AsksPreVotes { term });
        self.role = Role::PreCandidate(Votes::from([(self.config.id, true)]));
        for peer in self.other_voters() {
            self.ask_for_vote(peer);
        }
        self.count_votes(now);
    }

    /// Whether this node could lead: it is not removed, its disk saves its vote, and it has the
    /// state that it would have to apply to (B1.14).
    pub(super) fn may_campaign(&self, now: Moment) -> bool {
        (self.membership.votes(self.config.id) || self.removal_is_pending())
            && self.disk_waits(now) < self.config.election_timeout
            && !self.awaits_state()
    }

    /// Its removal is in its log and not committed as far as it knows: until it is, the group may
    /// need this node to lead, as the only one that has the entry (dissertation §4.2.2). Its own
    /// vote does not count.
    fn removal_is_pending(&self) -> bool {
        self.uncommitted_change().is_some_and(|old| old.votes(self.config.id))
            && !mutant!(RemovedNodesNeverCampaign)
    }

    /// The membership that is replaced by one that is not known to be committed.
    fn uncommitted_change(&self) -> Option<&Membership> {
        let pending = self.log.membership_index() > self.commit;
        self.log.replaced_membership().filter(|_| pending)
    }

    /// What this node knows of the entry that added it; see [`Status::added`](super::Status).
    pub(super) fn added(&self) -> Option<Index> {
        if self.membership.members.is_empty() {
            return None;
        }
        let id = self.config.id;
        let before = || self.uncommitted_change()?.member(id);
        let before = || before().filter(|_| !mutant!(RemovedNodesForgetTheyWereAdded));
        let own = self.membership.member(id).or_else(before);
        Some(own.map_or(Index(0), |own| own.added))
    }

    /// A quorum would vote for this node: raise the term, vote for itself, and ask, all of it
    /// only when that is durable (B1.3).
    pub(super) fn campaign(&mut self, now: Moment) {
        self.hard_state = HardState { term: self.term().next(), vote: Some(self.config.id) };
        if mutant!(CandidateForgetsItsOwnVote) {
            self.hard_state.vote = None;
        }
        self.leader = None;
        self.stop_asking();
        self.reset_election_deadline(now);
        self.note(Note::Campaigns { term: self.term() });
        self.role = Role::Candidate(Votes::new());
        if mutant!(CandidateDoesNotAwaitItsSync) {
            self.role = Role::Candidate(Votes::from([(self.config.id, true)]));
        }
        for peer in self.other_voters() {
            self.ask_for_vote(peer);
        }
    }

    /// (Re)sends this node's question to a peer: on campaigning, and when a connection comes
    /// up in the middle of it.
    pub(super) fn ask_for_vote(&mut self, peer: NodeId) {
        let last = self.log.last();
        match &self.role {
            Role::PreCandidate(votes) if !votes.contains_key(&peer) => {
                self.send(peer, Message::PreVote { term: self.term().next(), last });
            }
            Role::Candidate(votes) if !votes.contains_key(&peer) => {
                let transfer = self.campaign_asked;
                let request = Message::RequestVote { term: self.term(), last, transfer };
                if mutant!(CandidateDoesNotAwaitItsSync) {
                    return self.send(peer, request);
                }
                self.send_when_durable(peer, request);
            }
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Follower | Role::Leader(_) => {}
        }
    }

    /// A candidate counts its own vote only after its own sync (rule 2).
    pub(super) fn own_vote_durable(&mut self, now: Moment) {
        if self.disk.durable != self.hard_state {
            return;
        }
        let own = self.config.id;
        if let Role::Candidate(votes) = &mut self.role {
            votes.insert(own, true);
            self.count_votes(now);
        }
    }

    fn count_votes(&mut self, now: Moment) {
        let (Role::PreCandidate(votes) | Role::Candidate(votes)) = &self.role else { return };
        if self.membership.reached(|id| u8::from(votes.get(&id) == Some(&true))) == 0 {
            return;
        }
        match &self.role {
            Role::PreCandidate(_) => self.campaign(now),
            Role::Candidate(_) => self.become_leader(now),
            Role::Follower | Role::Leader(_) => {}
        }
    }

    /// Whether this node hears a live leader, so that no election is due (check-quorum's other
    /// half, B3.2). A leader counts as live: it steps down by itself when it should.
    pub(super) fn hears_a_leader(&self, now: Moment) -> bool {
        if matches!(self.role, Role::Leader(_)) {
            return true;
        }
        self.leader.is_some()
            && self
                .leader_contact
                .is_some_and(|contact| now.since(contact) < self.config.election_timeout)
    }

    /// The leader's connection broke, as when its process ends. A leader that lives is back
    /// within a heartbeat or two; else the election is called then, not a whole timeout later.
    /// Pre-votes keep this harmless: whoever still hears the leader refuses.
    pub(super) fn peer_silenced(&mut self, now: Moment, peer: NodeId) {
        // With leases, the promise not to elect anybody stands until its time is over.
        let promised = self.config.lease_reads && !mutant!(PromiseEndsWithTheConnection);
        if self.leader != Some(peer) || promised {
            return;
        }
        self.leader_contact = None;
        let heartbeat = u64::try_from(self.config.heartbeat.as_micros()).unwrap_or(u64::MAX / 4);
        let wait = Duration::from_micros(heartbeat + self.random.below(heartbeat));
        self.election_deadline = self.election_deadline.min(now + wait);
    }

    pub(super) fn pre_vote_asked(&mut self, now: Moment, from: NodeId, term: Term, last: Position) {
        // Whom this node believes to be leader may ask: it has stepped down (B2.6).
        let live = self.hears_a_leader(now) && self.leader != Some(from);
        let live = live && !mutant!(PreVoteWhileTheLeaderLives);
        let granted = !live && term > self.term() && self.is_up_to_date(last);
        let term = if granted { term } else { self.term() };
        self.send(from, Message::PreVoteReply { term, granted });
    }

    pub(super) fn pre_vote_answered(
        &mut self,
        now: Moment,
        from: NodeId,
        term: Term,
        granted: bool,
    ) {
        let asked = self.term().next();
        if let Role::PreCandidate(votes) = &mut self.role
            && (!granted || term == asked)
        {
            votes.entry(from).or_insert(granted);
            self.count_votes(now);
        }
    }

    pub(super) fn vote_asked(
        &mut self,
        now: Moment,
        from: NodeId,
        term: Term,
        last: Position,
        transfer: bool,
    ) {
        let promised = now < self.no_vote_before;
        if term > self.term() {
            let heard = self.hears_a_leader(now) && self.leader != Some(from);
            if (heard || promised) && !transfer {
                return; // neither a vote nor a new term (B3.2)
            }
            self.follow(now, term, None);
        }
        let free = match self.hard_state.vote {
            None => self.leader.is_none(),
            Some(voted) => voted == from || mutant!(VotesTwiceInATerm),
        };
        let free = free && (!promised || transfer);
        let granted = term == self.term() && free && self.is_up_to_date(last);
        if granted && self.hard_state.vote.is_none() {
            self.hard_state.vote = Some(from);
            self.reset_election_deadline(now);
            self.note(Note::Voted { term, candidate: from });
        }
        let reply = Message::RequestVoteReply { term: self.term(), granted };
        if mutant!(VoteLeavesBeforeItsSync) {
            return self.send(from, reply);
        }
        self.send_when_durable(from, reply);
    }

    /// Whether a candidate's log lacks nothing that this one has (Raft §5.4.1).
    fn is_up_to_date(&self, last: Position) -> bool {
        let own = self.log.last();
        last >= own
            || mutant!(ComparesLastIndexOnly) && last.index >= own.index
            || mutant!(ComparesLastTermOnly) && last.term >= own.term
    }

    pub(super) fn vote_answered(&mut self, now: Moment, from: NodeId, granted: bool) {
        if let Role::Candidate(votes) = &mut self.role {
            votes.entry(from).or_insert(granted);
            self.count_votes(now);
        }
    }

    /// With leases: the leader that this node heard last may answer reads for an election timeout
    /// from then, in whatever term this node is by now (dissertation §6.4.1).
    fn keep_promise(&mut self) {
        if let Some(contact) = self.leader_contact
            && self.config.lease_reads
            && !mutant!(PromiseEndsWithTheTerm)
        {
            let until = contact + self.config.election_timeout;
            self.no_vote_before = self.no_vote_before.max(until);
        }
    }

    /// Becomes a follower in `term`, which is this node's or a later one. Everyone who waits
    /// on it as a leader is answered.
    pub(super) fn follow(&mut self, now: Moment, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.term(), "terms never fall");
        let changed = term > self.term() || self.leader != leader;
        if term > self.term() {
            if matches!(self.role, Role::Leader(_)) {
                self.resign(StepDownReason::HigherTerm);
            }
            self.hard_state = HardState { term, vote: None };
            self.reset_election_deadline(now);
            self.keep_promise();
        } else if mutant!(VoteErasedOnStepDown) {
            self.hard_state.vote = None;
        }
        self.role = Role::Follower;
        self.leader = leader;
        if changed {
            self.stop_asking();
            self.note(Note::Follows { term, leader });
        }
    }
}
